"""Audits of captioners held against each other: of the very same pictures, differences paired by caption; intervals
draw pictures, with all captions that they have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from regard.measurement.audits import APART, OTHERS, compare_audits
from regard.measurement.intervals import averaged, unskewed
from regard.records import Audit, AuditComparison, AuditDifference, Score, WordAudit, WordAuditComparison
from regard.records.audits.words import CLAIMS

RIGHT = "right_words"
"""The share of words that are right, of those that say something of their picture."""
TEXTS = "{} has other words than {}: a difference may be of what is said, and not of where it looks"
FEWEST = 10
"""Of fewer captions that both have no difference is given, as no verdict is."""
MOST = 50.0
"""No number of a word, in nats, is taken to be more."""
Numbers = Mapping[tuple[str, str, str], Mapping[str, float]]
"""By claim, which words and measure, the mean over the words of each caption."""


def compare_any_audits(
    audits: Mapping[str, Audit] | Mapping[str, WordAudit],
) -> AuditComparison | WordAuditComparison:
    """Audits of one kind side by side."""
    if all(isinstance(each, WordAudit) for each in audits.values()):
        return compare_word_audits(cast("Mapping[str, WordAudit]", audits))
    return compare_audits(cast("Mapping[str, Audit]", audits))


def compare_word_audits(audits: Mapping[str, WordAudit]) -> WordAuditComparison:
    """Audits of captioners side by side, with what each later one has more than the first where both have the very
    same pictures: the mean of a caption's words in the one less that in the other, of captions that have such in both.
    """
    (first, base), *others = audits.items()
    before = _numbers(base)
    differences: list[AuditDifference] = []
    notes = [APART]
    for name, audit in others:
        if audit.provenance.get("data") != base.provenance.get("data") or "data" not in audit.provenance:
            notes.append(OTHERS.format(name, first))
            continue
        if _texts(audit) != _texts(base):
            notes.append(TEXTS.format(name, first))
        now = _numbers(audit)
        pictures = {word.unit: word.picture or word.unit for word in audit.words}
        labels = {**{each.measure: each.score.label for each in audit.findings}, RIGHT: "Share of right words"}
        differences += [
            AuditDifference(
                name, first, measure, ", ".join(filter(None, (claim, words))), replace(score, label=labels[measure])
            )
            for claim, words, measure in now
            if (score := _score(now[claim, words, measure], before.get((claim, words, measure), {}), measure, pictures))
        ]
    return WordAuditComparison(dict(audits), tuple(differences), tuple(notes))


def _texts(audit: WordAudit) -> set[tuple[str, int, str]]:
    return {(each.unit, each.place, each.text) for each in audit.words}


def _numbers(audit: WordAudit) -> Numbers:
    """Of what the audit has findings of, and the share of right words, right and wrong words apart."""
    measured = {(each.part, each.subject, each.measure) for each in audit.findings}
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for word in audit.words:
        right = {True: "right", False: "wrong", None: "unjudged"}[word.right]
        which = "all" if word.claim in ("anywhere", "words_before") else right  # as the findings have it
        rows = [((word.claim, which, name), value) for name, value in word.numbers.items()]
        if word.claim == "anywhere":  # what is measured of these words stands with either claim on them
            rows += [(("words_before", "all", name), value) for name, value in word.numbers.items()]
        rows = [(key, value) for key, value in rows if key in measured]
        if word.claim and word.right is not None:
            rows.append(((word.claim, "", RIGHT), float(word.right)))
        for key, value in rows:
            values.setdefault(key, {}).setdefault(word.unit, []).append(value)
    order = list(CLAIMS)
    return {
        key: {unit: float(np.mean(each)) for unit, each in values[key].items()}
        for key in sorted(values, key=lambda key: (order.index(key[0]), key[1:]))
    }


def _score(
    now: Mapping[str, float], before: Mapping[str, float], measure: str, pictures: Mapping[str, str]
) -> Score | None:
    """The mean of differences by caption; None where those that have both are of fewer than FEWEST `pictures`."""
    both = [name for name in now if name in before]
    values = np.array([now[name] - before[name] for name in both])
    groups = np.unique([pictures[name] for name in both], return_inverse=True)[1]
    count = len(np.unique(groups))
    if count < FEWEST:
        return None
    if np.ptp(values) == 0:
        return Score(float(values[0]), np.nan, np.nan, count, note="all alike")
    most = 1.0 if measure == RIGHT or measure.startswith("map") else MOST
    return unskewed(averaged(values, groups), count, least=-most, most=most)
