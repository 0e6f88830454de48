"""From what was measured of each word to verdicts on what is claimed, and to every number beside its control."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from regard.audit.rules import Difference, differences
from regard.audit.summary import Digests
from regard.audit.words import rules
from regard.audit.words.gathered import Floats, Gathered
from regard.audit.words.measures import MEASURES, RIGHT
from regard.audit.words.rules import NATS, SHARE, Evidence, Ruling
from regard.measurement.intervals import NOWHERE, averaged, mean, unskewed
from regard.records import Finding, Score, Verdict
from regard.records.audits.words import CLAIMS, PLANTED

Key = tuple[str, str, str]
"""Claim, words and evidence."""
Controls = Mapping[str, Floats]
OF_REGIONS = ("nouns", "adjectives", "verbs")
TRUTHS = ("right", "wrong", "unjudged")
MOST_NATS = 50.0
"""No difference of log-probabilities is taken to be more."""
EVIDENCE: Mapping[str, Evidence] = {"map": rules.MAP, "part": rules.PART, "removal": rules.REMOVAL}
CONTENT: Key = ("words_before", "all", "content")
"""What the picture adds to words of content over what it adds to other words: no verdict of its own."""


@dataclass(frozen=True)
class Table:
    """By key, the scores (words,) of those that are asked about and of each control, NaN for all others."""

    scores: dict[Key, Floats] = field(default_factory=dict)
    controls: dict[Key, dict[str, Floats]] = field(default_factory=dict)

    def add(self, key: Key, scores: Floats, controls: Controls, chosen: NDArray[np.bool_]) -> None:
        """Nothing where no word has both. A control that no word has is left out."""
        among = {name: np.where(chosen, values, np.nan) for name, values in controls.items()}
        among = {name: values for name, values in among.items() if np.isfinite(values).any()}
        scores = np.where(chosen, scores, np.nan)
        if among and np.isfinite(scores + sum(among.values())).any():
            self.scores[key] = scores
            self.controls[key] = among


def table_of(gathered: Gathered) -> Table:
    """What is compared with what; of claims that nothing is to be seen the margin is taken off beforehand."""
    table = Table()
    maps = gathered.maps
    fall = gathered.column("fall")
    elsewhere = {"elsewhere": gathered.column("fall:elsewhere")}
    for claim in OF_REGIONS:
        for words in TRUTHS:
            chosen = gathered.of_claim(claim, words)
            table.add((claim, words, "map"), maps["map_share"], _controls(maps, "map_share"), chosen)
            table.add((claim, words, "removal"), fall, elsewhere, chosen)
            if claim == "verbs":
                animal = {"animal": maps["map_share:animal"]}
                table.add((claim, words, "part"), maps["map_share"], animal, chosen)
    others = gathered.of_claim("anywhere")
    near = maps["map_nearness"] - SHARE
    table.add(("anywhere", "all", "map"), near, _controls(maps, "map_nearness"), others)
    table.add(("anywhere", "all", "removal"), fall - NATS, elsewhere, others)
    gains = {name: gathered.column(f"gain_over_{name}") for name in ("another", "none")}
    content = {name: gains[name] - gathered.sentence_means(f"gain_over_{name}") for name in gains}
    flat = np.full(len(gathered), NATS)
    table.add(("words_before", "all", "gain"), flat, gains, others)
    table.add(CONTENT, np.zeros(len(gathered)), content, others)
    return table


def verdicts(
    gathered: Gathered, method: str, settings: Mapping[str, object], digests: Digests, seed: int
) -> tuple[Verdict, ...]:
    """On each claim, by each kind of evidence, and on nouns by planted maps; they share the error among them."""
    table = table_of(gathered)
    if not table.scores:
        return ()
    compared = differences(table.scores, table.controls, gathered.pictures, seed=seed)
    on_claims = []
    for key in table.scores:
        if key != CONTENT:
            ruling = _ruling(key, compared)
            on_claims.append(_verdict(key, method, _unshifted(key, compared[key]), ruling, settings, digests))
    return (*on_claims, *_planted(gathered, settings, digests, seed))


def _ruling(key: Key, compared: Mapping[Key, Difference]) -> Ruling:
    claim, _, by = key
    if claim == "words_before":
        return rules.follows(compared[key], compared.get(CONTENT, compared[key]))
    if claim == "anywhere":
        nouns = compared.get(("nouns", "right", by)) or compared.get(("nouns", "unjudged", by))
        content = "" if nouns is None else rules.looks(nouns, EVIDENCE[by]).status
        return rules.looks_nowhere(compared[key], rules.NEARNESS if by == "map" else rules.FALL, content)
    return rules.looks(compared[key], EVIDENCE[by])


def _unshifted(key: Key, difference: Difference) -> tuple[float, float, float, int]:
    """Value, interval and count as they are read: with the margin, and what is bad for a claim upwards."""
    if key[0] == "words_before":
        return NATS - difference.value, NATS - difference.high, NATS - difference.low, difference.n
    margin = {"map": SHARE, "removal": NATS}[key[2]] if key[0] == "anywhere" else 0.0
    return difference.value + margin, difference.low + margin, difference.high + margin, difference.n


def _verdict(
    key: Key,
    method: str,
    numbers: tuple[float, float, float, int],
    ruling: Ruling,
    settings: Mapping[str, object],
    digests: Digests,
) -> Verdict:
    claim, words, by = key
    about = {"claim": claim, "words": words, "by": by, **settings}
    return Verdict(CLAIMS[claim], method, about, digests.model, digests.data, ruling.status, ruling.why, *numbers)


def _planted(gathered: Gathered, settings: Mapping[str, object], digests: Digests, seed: int) -> Iterator[Verdict]:
    """The first claim, of right words, by maps that do not look at the word: noise, the centre, and the map of such a
    word in yet another picture."""
    chosen = gathered.of_claim("nouns", "right") | gathered.of_claim("nouns", "unjudged")
    table = Table()
    for name in PLANTED:
        key = ("nouns", name, "map")
        table.add(key, gathered.maps[f"map_share:planted {name}"], _controls(gathered.maps, "map_share"), chosen)
    if table.scores:
        compared = differences(table.scores, table.controls, gathered.pictures, seed=seed)
        for key, each in compared.items():
            numbers = (each.value, each.low, each.high, each.n)
            about = ("nouns", "right", "map")
            yield _verdict(about, key[1], numbers, rules.looks(each, rules.MAP), settings, digests)


def _controls(maps: Mapping[str, Floats], measure: str) -> dict[str, Floats]:
    return {name: maps[f"{measure}:{name}"] for name in ("random", "centre", "shuffled")}


# findings


def findings(gathered: Gathered) -> tuple[Finding, ...]:
    """Every number: of the words of each claim what their maps have on the region, what they lose without it, and what
    the picture adds, each beside its best control and, paired, over each."""
    return tuple(each for each in _findings(gathered) if np.isfinite(each.score.value))


def _findings(gathered: Gathered) -> Iterator[Finding]:
    maps = gathered.maps
    for claim in OF_REGIONS:
        right = gathered.of_claim(claim, "right")
        judged = right | gathered.of_claim(claim, "wrong")
        yield Finding(claim, RIGHT, "", _score(RIGHT, right.astype(np.float64), judged, gathered))
        for words in TRUTHS:
            chosen = gathered.of_claim(claim, words)
            for measure in ("map_share", "map_pointing"):
                controls = {**_controls(maps, measure)}
                if measure == "map_share":
                    controls |= {"sentence": maps["map_share:sentence"]}
                    controls |= {"animal": maps["map_share:animal"]} if claim == "verbs" else {}
                yield from _beside(gathered, claim, measure, words, maps[measure], controls, chosen)
            fall = {"elsewhere": gathered.column("fall:elsewhere")}
            yield from _beside(gathered, claim, "fall", words, gathered.column("fall"), fall, chosen)
            yield from _gains(gathered, claim, words, chosen)
    others = gathered.of_claim("anywhere")
    near = _controls(maps, "map_nearness")
    yield from _beside(gathered, "anywhere", "map_nearness", "all", maps["map_nearness"], near, others)
    fall = {"elsewhere": gathered.column("fall:elsewhere")}
    yield from _beside(gathered, "anywhere", "fall", "all", gathered.column("fall"), fall, others)
    yield from _gains(gathered, "words_before", "all", others)
    content = np.array([word.entry["kind"] != "other" for word in gathered.words], bool)
    most = np.fmax(*(gathered.column(f"gain_over_{name}") for name in ("another", "none")))
    follow = np.where(np.isnan(most), np.nan, (most < NATS).astype(np.float64))  # 1: the picture adds nothing
    scores = [_score("follows", follow, chosen, gathered) for chosen in (others, content)]
    yield Finding("words_before", "follows", "all", scores[0], scores[1], "content words")


def _gains(gathered: Gathered, claim: str, words: str, chosen: NDArray[np.bool_]) -> Iterator[Finding]:
    for measure in ("gain_over_another", "gain_over_none", "text_attention"):
        controls = {"content words": gathered.sentence_means(measure)} if claim == "words_before" else {}
        yield from _beside(gathered, claim, measure, words, gathered.column(measure), controls, chosen)


def _beside(
    gathered: Gathered,
    claim: str,
    measure: str,
    words: str,
    values: Floats,
    controls: Controls,
    chosen: NDArray[np.bool_],
) -> Iterator[Finding]:
    """One number beside the best of its controls, and what it has more than each of them."""
    score = _score(measure, values, chosen, gathered)
    of = {name: _score(measure, each, chosen & np.isfinite(values), gathered) for name, each in controls.items()}
    of = {name: each for name, each in of.items() if np.isfinite(each.value)}
    plain = [name for name in of if name != "sentence"] or list(of)
    best = max(plain, key=lambda name: of[name].value, default="")
    yield Finding(claim, measure, words, score, of.get(best), best)
    for name in of:
        yield Finding(claim, measure, words, _score(measure, values - controls[name], chosen, gathered, -1.0), None,
                      condition=f"over {name}")  # fmt: skip


def _score(measure: str, values: Floats, chosen: NDArray[np.bool_], gathered: Gathered, least: float = 0.0) -> Score:
    """The mean with its interval; `least` is the least that a share can be."""
    measured = chosen & np.isfinite(values)
    if not measured.any():
        return replace(NOWHERE, n=0)
    pictures = gathered.pictures[measured]
    if measure in (RIGHT, "follows"):
        score = mean(values[measured], pictures)
    elif measure.startswith("map"):
        score = mean(values[measured], pictures, least=-1.0 if measure == "map_nearness" else least)
    else:
        count = len(np.unique(pictures))
        score = unskewed(averaged(values[measured], pictures), count, least=-MOST_NATS, most=MOST_NATS)
    label, description = MEASURES[measure]
    return replace(score, label=label, description=description)
