"""Tables of judged words, in Markdown: AUROC and calibration error, intervals draw sentences again."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from regard.explanation.words.checks import WORD_CHECKS
from regard.explanation.words.support.fit import cross_fitted, fit
from regard.explanation.words.support.judged import CONDITIONS, JudgedWord
from regard.explanation.words.support.kinds import CONTENT
from regard.explanation.words.support.scores import JudgedUnits
from regard.records.scores import Score

Floats = NDArray[np.float64]
Words = Sequence[JudgedWord]
PUBLISHED = {"log_probability": ("log_probability",), "GLSim": ("glsim",), "VisER": ("viser", "viser_evidence")}
"""What the fit is held against; VisER's evidence stands for it where a network has no attention that picture and words
share, as the other part of it is of that."""
FAITHFUL = ("removal", "removal_over_random", "removal_over_centre", "removal_over_words")
SHARED = (
    "margin",
    "certainty",
    "gain_over_none",
    "gain_over_another",
    "text_attention",
    "repetition",
    "least_before",
    "least_after",
)
"""What a fit is carried over to another captioner by."""
AT_MOST = 3000
"""Words of each captioner in a fit on several, so that none of them speaks for all."""
FEWEST = 5
"""Right words, and wrong ones, without which nothing is said of them."""


def tables(captioners: Mapping[str, Words]) -> Iterator[str]:
    """All of them, of the words of captioners by their names."""
    natural = {name: [word for word in words if word.errors == "natural"] for name, words in captioners.items()}
    planted = {name: [word for word in words if word.errors == "planted"] for name, words in captioners.items()}
    fits = {name: cross_fitted(words) for name, words in natural.items()}
    yield _targets(natural, fits)
    yield _by(natural, fits, CONTENT, lambda word: word.kind, "natural errors by kind")
    yield _by(natural, fits, CONDITIONS, lambda word: word.condition, "natural errors by condition")
    yield _of_checks(natural, fits, "natural errors, all content words")
    yield _of_checks(*_nouns(natural, fits), "natural errors, nouns")
    if len(natural) > 1:
        yield _left_out(natural, fits)
    planted = {name: words for name, words in planted.items() if words}
    if planted:
        given = {name: cross_fitted(words) for name, words in planted.items()}
        yield _by(planted, given, CONTENT, lambda word: word.kind, "planted errors by kind, fitted to such")
        logs = {name: _values(words, "log_probability") for name, words in planted.items()}
        yield _by(planted, logs, CONTENT, lambda word: word.kind, "planted errors by kind, log-probability")
        yield _of_checks(planted, given, "planted errors, all content words")
    for name, words in natural.items():
        if any("removal" in word.checks for word in words):
            yield _faithfulness(name, words)


def _nouns(words: Mapping[str, Words], values: Mapping[str, Floats]) -> tuple[dict[str, Words], dict[str, Floats]]:
    chosen = {name: np.array([word.kind == "noun" for word in of]) for name, of in words.items()}
    kept = {name: [word for word, inside in zip(of, chosen[name], strict=True) if inside] for name, of in words.items()}
    return kept, {name: values[name][chosen[name]] for name in words}


def _targets(words: Mapping[str, Words], fits: Mapping[str, Floats]) -> str:
    """Of all content words and of nouns: the fit, what it has more than each published score, and its calibration."""
    head = ["captioner", "words", "right", "wrong", "AUROC of the fit"]
    rows = []
    for name in words:
        for label, (of, fitted) in {"all": ({name: words[name]}, fits), "nouns": _nouns(words, fits)}.items():
            units = JudgedUnits.of(of[name])
            if not _is_enough(units.right):
                continue
            over = [_over(of[name], units, fitted[name], checks) for checks in PUBLISHED.values()]
            row = [name, label, int(units.right.sum()), int((~units.right).sum()), _cell(units.auroc(fitted[name]))]
            rows.append([*row, *over, _cell(units.calibration_error(fitted[name]))])
    return _table("natural errors", [*head, *(f"… over {name}" for name in PUBLISHED), "calibration error"], rows)


def _over(words: Words, units: JudgedUnits, fitted: Floats, checks: Sequence[str]) -> str:
    """Of the first of the checks that these words have."""
    columns = (_values(words, check) for check in checks)
    values = next((each for each in columns if np.isfinite(each).any()), None)
    return "—" if values is None else _cell(units.difference(fitted, values), "+.3f")


def _by(
    words: Mapping[str, Words],
    values: Mapping[str, Floats],
    names: Sequence[str],
    key: Callable[[JudgedWord], str],
    title: str,
) -> str:
    rows = []
    for name, of in words.items():
        keys = np.array([key(word) for word in of])
        rows.append([name, *(_part(of, values[name], keys == column) for column in names)])
    return _table(title, ["captioner", *names], rows)


def _part(words: Words, values: Floats, inside: NDArray[np.bool_]) -> str:
    """AUROC with how many words are right and wrong."""
    if not inside.any():
        return "—"
    units = JudgedUnits.of([word for word, chosen in zip(words, inside, strict=True) if chosen])
    counts = f"({int(units.right.sum())}, {int((~units.right).sum())})"
    return f"{_cell(units.auroc(values[inside]))} {counts}" if _is_enough(units.right) else f"— {counts}"


def _of_checks(words: Mapping[str, Words], fits: Mapping[str, Floats], title: str) -> str:
    """AUROC of each check and of the fit, a column for each captioner."""
    units = {name: JudgedUnits.of(of) for name, of in words.items()}
    enough = [name for name in words if _is_enough(units[name].right)]
    checks = [row.name for row in WORD_CHECKS if row.level == "quick"]
    columns = {check: {name: _values(words[name], check) for name in enough} for check in checks}
    rows = [["the fit", *(_cell(units[name].auroc(fits[name])) for name in enough)]]
    for check in checks:
        cells = [
            _cell(units[name].auroc(values)) if np.isfinite(values).any() else "—"
            for name, values in columns[check].items()
        ]
        rows.append([f"`{check}`", *cells])
    return _table(title, ["AUROC", *enough], rows)


def _left_out(words: Mapping[str, Words], fits: Mapping[str, Floats]) -> str:
    """What is fitted on the other captioners, on the one that is left out, beside its own fit: by all checks as they
    are, and by `SHARED` ones in each captioner's own scale, which takes no truth."""
    scaled = {name: _scaled(of) for name, of in words.items()}
    rows = []
    for name, of in words.items():
        units = JudgedUnits.of(of)
        cells = [_cell(units.auroc(fits[name]))]
        for each, checks in ((words, None), (scaled, SHARED)):
            others = _by_others(each, name, checks)
            more = [units.difference(others, fits[name]), units.calibration_error(others)]
            cells += [_cell(units.auroc(others)), _cell(more[0], "+.3f"), _cell(more[1])]
        rows.append([name, *cells])
    kinds = ("all checks", "own scale")
    head = [
        f"{column}, {kind}" for kind in kinds for column in ("fit on the others", "less its own", "calibration error")
    ]
    title = "leave one captioner out: all content words, natural errors"
    return _table(title, ["left out", "own fit, cross-fitted", *head], rows)


def _by_others(words: Mapping[str, Words], name: str, checks: Sequence[str] | None) -> Floats:
    """(words,) of one captioner by a fit on `AT_MOST` words of each other one, sentences by chance."""
    others = [word for other, of in words.items() if other != name for word in _drawn(of)]
    model = fit(others, checks=checks)
    columns = {check: _values(words[name], check) for check in model.checks}
    return model.probabilities(columns, [word.kind for word in words[name]])


def _drawn(words: Words) -> list[JudgedWord]:
    units = JudgedUnits.of(words).units
    order = np.random.default_rng(0).permutation(int(units.max()) + 1)[units]  # a place for each sentence
    return [words[place] for place in np.argsort(order, kind="stable")[:AT_MOST]]


def _scaled(words: Words) -> list[JudgedWord]:
    """The words with each check around its mean in units of its spread over all of them.

    Attention to the words before is left out where one attention is shared by picture and words: there it is what the
    picture leaves, elsewhere what the words have among themselves, and a fit on the one misleads on the other.
    """
    columns = {check: _values(words, check) for check in SHARED}
    if np.isfinite(_values(words, "picture_attention")).any():
        columns["text_attention"][:] = np.nan
    scaled = {check: _in_own_scale(values) for check, values in columns.items()}
    return [
        replace(word, checks={check: float(values[place]) for check, values in scaled.items()})
        for place, word in enumerate(words)
    ]


def _in_own_scale(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    return (values - known.mean()) / known.std() if len(known) else values


def _faithfulness(name: str, words: Words) -> str:
    """The means of what words lose and keep by their maps."""
    whole = [word for word in words if math.isfinite(word.checks.get("removal", math.nan))]
    rows = []
    for kind in ("all", *CONTENT):
        for right in (True, False):
            of = [word for word in whole if kind in ("all", word.kind) and word.right is right]
            units = JudgedUnits.of(of) if of else None
            if units is not None and len(np.unique(units.units)) > 1:
                cells = [_cell(_mean(units, _values(of, check))) for check in FAITHFUL]
                rows.append([f"{kind}, {'right' if right else 'wrong'}", len(of), *cells])
    return _table(f"maps of {name}: nats", ["words", "n", *(f"`{check}`" for check in FAITHFUL)], rows)


def _mean(units: JudgedUnits, values: Floats) -> Score:
    known = np.isfinite(values)
    sums, counts = (
        np.bincount(units.units, weights, units.draws.shape[1]) for weights in (np.where(known, values, 0), known)
    )
    drawn = (units.draws @ sums) / np.maximum(units.draws @ counts, 1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Score(float(values[known].mean()), float(low), float(high), int(known.sum()))


def _values(words: Words, check: str) -> Floats:
    return np.array([word.checks.get(check, math.nan) for word in words], np.float64)


def _is_enough(right: NDArray[np.bool_]) -> bool:
    return min(int(right.sum()), int((~right).sum())) >= FEWEST


def _cell(score: Score, form: str = ".3f") -> str:
    return f"{score.value:{form}} [{score.low:{form}}, {score.high:{form}}]" if math.isfinite(score.value) else "—"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return f"**{title}**\n\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
