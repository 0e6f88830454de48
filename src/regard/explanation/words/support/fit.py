"""Fit a support model to judged words, and measure it on words that it was not fitted to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from regard.errors import UsageError
from regard.explanation.words.support.judged import ERRORS, JudgedWord, columns_of
from regard.explanation.words.support.kinds import CONTENT
from regard.explanation.words.support.model import ALL, SupportModel, SupportScore, standardised
from regard.explanation.words.support.scores import support_score, units_of

Floats = NDArray[np.float64]
FEWEST = 20
"""Right words, and wrong ones, without which nothing is fitted, and a kind has nothing of its own."""
FOLDS = 10
CUT = 4.0
SHRINKAGE = 1.0
"""The ridge of the coefficients that all kinds have in common."""
KIND_SHRINKAGE = 5.0
"""The ridge of what a kind adds to them: a kind of few words stays near the others."""
_STEPS = 50
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class _Fitted:
    """Coefficients (checks + 1,) by kind, over checks around their `centre` in units of `scale` (checks,)."""

    centre: Floats
    scale: Floats
    coefficients: Mapping[str, Floats]

    def probabilities(self, columns: Floats, kinds: Sequence[str]) -> Floats:
        """(words,) of checks (words, checks)."""
        values = standardised(columns, self.centre, self.scale, CUT)
        weights = np.stack([self.coefficients.get(kind, self.coefficients[ALL]) for kind in kinds])
        return _logistic(weights[:, 0] + (values * weights[:, 1:]).sum(1))


def fit(
    words: Sequence[JudgedWord], *, checks: Sequence[str] | None = None, data: str = "", seed: int = 0
) -> SupportModel:
    """The support model of judged words, by all their checks or by these alone; `data` says in a few words what they
    were judged on.

    Penalised maximum likelihood of a logistic regression over standardised checks, in which each kind of word adds its
    own coefficients, shrunk to 0, to those that all have in common. What it `measured` is of out-of-fold probabilities:
    sentences are split into ten parts, and each part is judged by a model of the others (see `cross_fitted`). Captions
    that are given have a fit of their own, to planted errors, where there are enough; where there are too few natural
    ones, that is all there is. Raises `UsageError` unless there are 20 right words and 20 wrong ones of one sort.
    """
    content = _content(words)
    names = tuple(columns_of(content) if checks is None else checks)
    natural, planted = ([word for word in content if word.errors == errors] for errors in ERRORS)
    of_made = natural if _enough(natural) or not planted else planted
    if not _enough(of_made):
        counts = sum(word.right for word in of_made), sum(not word.right for word in of_made)
        raise UsageError(
            f"there are {counts[0]} right words and {counts[1]} wrong ones, and a support model takes at least "
            f"{FEWEST} of each; judge more"
        )
    made = _fitted(of_made, names)
    aligned = _fitted(planted, names, made) if _enough(planted) else None
    return SupportModel(
        checks=names,
        centre=tuple(made.centre.tolist()),
        scale=tuple(made.scale.tolist()),
        coefficients=_plain(made),
        aligned={} if aligned is None else _plain(aligned),
        measured=_measured(of_made, names, seed),
        planted={} if aligned is None else _measured(planted, names, seed, made),
        errors=of_made[0].errors,
        networks=tuple(sorted({word.network for word in content})),
        data=data,
        version=version("regard"),
        cut=CUT,
    )


def cross_fitted(words: Sequence[JudgedWord], *, checks: Sequence[str] | None = None, seed: int = 0) -> Floats:
    """(words,): the probability of each word by a model that had no part of its sentence; NaN for `other` words.

    Ten folds of sentences, drawn by `seed`. Natural and planted errors are fitted together: give those of one sort.
    """
    claims = np.array([word.kind in CONTENT for word in words], bool)
    content = _content(words)
    probabilities = np.full(len(words), np.nan)
    if content:
        probabilities[claims] = _out_of_fold(content, tuple(columns_of(content) if checks is None else checks), seed)
    return probabilities


def _content(words: Sequence[JudgedWord]) -> list[JudgedWord]:
    return [word for word in words if word.kind in CONTENT]


def _enough(words: Sequence[JudgedWord]) -> bool:
    right = sum(word.right for word in words)
    return min(right, len(words) - right) >= FEWEST


def _plain(fitted: _Fitted) -> dict[str, tuple[float, ...]]:
    return {kind: tuple(values.tolist()) for kind, values in fitted.coefficients.items()}


def _measured(
    words: Sequence[JudgedWord], names: Sequence[str], seed: int, standard: _Fitted | None = None
) -> dict[str, SupportScore]:
    """Of all, and by each kind of which there are enough; checks are standardised as in the model that is measured."""
    probabilities = _out_of_fold(words, names, seed, standard)
    kinds = np.array([word.kind for word in words])
    rows = {kind: kinds == kind for kind in CONTENT if _enough([word for word in words if word.kind == kind])}
    rows = {ALL: np.full(len(words), True), **rows}
    return {
        kind: support_score([word for word, inside in zip(words, of, strict=True) if inside], probabilities[of])
        for kind, of in rows.items()
    }


def _out_of_fold(
    words: Sequence[JudgedWord], names: Sequence[str], seed: int, standard: _Fitted | None = None
) -> Floats:
    units = units_of(words)
    count = int(units.max()) + 1
    fold = np.random.default_rng(seed).permutation(count)[units] % min(FOLDS, count)
    probabilities = np.full(len(words), np.nan)
    for number in range(int(fold.max()) + 1):
        inside = [word for word, of in zip(words, fold, strict=True) if of == number]
        others = [word for word, of in zip(words, fold, strict=True) if of != number]
        fitted = _fitted(others or inside, names, standard)
        kinds = [word.kind for word in inside]
        probabilities[fold == number] = fitted.probabilities(_columns(inside, names), kinds)
    return probabilities


def _columns(words: Sequence[JudgedWord], names: Sequence[str]) -> Floats:
    """(words, checks), NaN where one is missing."""
    rows = [[word.checks.get(name, np.nan) for name in names] for word in words]
    return np.array(rows, np.float64).reshape(len(words), len(names))


def _fitted(words: Sequence[JudgedWord], names: Sequence[str], standard: _Fitted | None = None) -> _Fitted:
    """The coefficients of these words; checks are standardised by them, or as `standard` does."""
    columns = _columns(words, names)
    centre, scale = _standard(columns) if standard is None else (standard.centre, standard.scale)
    values = np.hstack([np.ones((len(words), 1)), standardised(columns, centre, scale, CUT)])  # the intercept first
    kinds = np.array([word.kind for word in words])
    present = [kind for kind in CONTENT if _enough([word for word in words if word.kind == kind])]
    blocks = [values, *(values * (kinds == kind)[:, None] for kind in present)]
    shrinkage = np.concatenate(
        [[1e-6], np.full(len(names), SHRINKAGE), np.full(values.shape[1] * len(present), KIND_SHRINKAGE)]
    )
    right = np.array([word.right for word in words], np.float64)
    solution = _newton(np.hstack(blocks), right, shrinkage).reshape(1 + len(present), -1)
    of_kinds = {kind: solution[0] + solution[1 + place] for place, kind in enumerate(present)}
    return _Fitted(centre, scale, {ALL: solution[0], **of_kinds})


def _standard(columns: Floats) -> tuple[Floats, Floats]:
    """(checks,) mean and standard deviation of what there is; 0 and 1 of a check that no word has or that is alike."""
    known = np.isfinite(columns)
    count = np.maximum(known.sum(0), 1)
    centre = np.where(known, columns, 0).sum(0) / count
    spread = np.sqrt((np.where(known, columns - centre, 0) ** 2).sum(0) / count)
    return centre, np.where(spread > 0, spread, 1.0)


def _newton(values: Floats, right: Floats, shrinkage: Floats) -> Floats:
    """(features,): where -log-likelihood + ½ Σ shrinkage · coefficient² is least; it is convex and has one minimum.

    A step that does not lead down is halved.
    """
    solution = np.zeros(values.shape[1])
    loss = _loss(values, right, shrinkage, solution)
    for _ in range(_STEPS):
        probability = _logistic(values @ solution)
        slope = values.T @ (probability - right) + shrinkage * solution
        curvature = (values * (probability * (1 - probability))[:, None]).T @ values + np.diag(shrinkage)
        step = np.linalg.solve(curvature, slope)
        size = 1.0
        while (following := _loss(values, right, shrinkage, solution - size * step)) > loss and size > _TOLERANCE:
            size /= 2
        solution = solution - size * step
        if loss - following < _TOLERANCE * (1 + abs(loss)):
            break
        loss = following
    return solution


def _loss(values: Floats, right: Floats, shrinkage: Floats, solution: Floats) -> float:
    logits = values @ solution
    return float((np.logaddexp(0, logits) - right * logits).sum() + (shrinkage * solution**2).sum() / 2)


def _logistic(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))), np.float64)
