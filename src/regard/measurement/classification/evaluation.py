"""How good a classifier is: every classification row of METRICS, class by class, slice by slice, and what to look at.

Measures that need probabilities are left out, not made up, where only names are known. docs/scores.md says what each
number means and how its interval is made.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError, UsageError
from regard.measurement import METRICS, Metric
from regard.measurement.classification.scores import BINS, auroc, bins_of, confidence, right
from regard.measurement.intervals import share
from regard.records import ClassScores, Evaluation, Predictions, ReliabilityBin, Score, SliceScore

SHOWN = 100
"""How many pictures each list of those to look at names, at most."""

LEAST = 10
"""How many pictures a slice needs to be called the worst: with fewer, chance picks it."""

SUM_TOLERANCE = 1e-2


def evaluate(
    predictions: Predictions,
    *,
    note: str = "",
    seed: int = 0,
    resamples: int = 2000,
    threshold: float | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure everything of METRICS that these predictions allow, class by class and slice by slice.

    `threshold` in [0, 1] is the probability from which a class is said of a picture, for sensitivity and specificity;
    by default it is said where it is the predicted one. `note` is "" or "seen in training" or "selected on"; label
    errors are not looked for in pictures that were learnt. `seed` and `resamples` are the bootstrap's.

    Raises `DataError` for no pictures, labels outside of the classes and probabilities that are none, and `UsageError`
    for a threshold or a number of resamples that cannot be.
    """
    check(predictions)
    _check_settings(predictions, threshold, resamples)
    return Evaluation(
        predictions=predictions,
        scores=scores(predictions, seed=seed, resamples=resamples),
        per_class=per_class(predictions, threshold),
        confusion=confusion(predictions),
        reliability=reliability(predictions),
        slices=slices(predictions),
        mistakes=mistakes(predictions),
        uncertain=uncertain(predictions),
        suspects=() if note == "seen in training" else suspects(predictions),
        note=note,
        provenance=provenance or {},
    )


def scores(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> dict[str, Score]:
    """Every classification metric of METRICS that has what it needs here and is defined, by name."""
    rows = [row for row in METRICS if row.kind == "classification" and set(row.needs) <= _known(predictions)]
    found = {row.name: _measured(row, predictions, seed, resamples) for row in rows}
    return {name: score for name, score in found.items() if np.isfinite(score.value)}


def _measured(row: Metric, predictions: Predictions, seed: int, resamples: int) -> Score:
    score = METRICS.load(row.name)(predictions, seed=seed, resamples=resamples)
    if not isinstance(score, Score):
        raise UsageError(
            f"metric {row.name!r} ({row.target}) returned {type(score).__name__}; it must return a records.Score"
        )
    return score


def _known(predictions: Predictions) -> set[str]:
    there = {
        "confidence": confidence(predictions) is not None,
        "probabilities": predictions.probabilities is not None,
        "groups": predictions.groups is not None,
    }
    return {"labels", *(name for name, known in there.items() if known)}


def check(predictions: Predictions) -> None:
    """Raise `DataError` for predictions that cannot be scored: none, of other lengths, or out of range."""
    n, count = len(predictions), len(predictions.classes)
    if n == 0:
        raise DataError("there are no pictures to score; give some with labels")
    columns = {"label": predictions.labels, "prediction": predictions.predicted, "group": predictions.groups}
    columns |= {"confidence": predictions.confidence}
    columns |= {f"value of {name!r}": values for name, values in predictions.slices.items()}
    for what, values in columns.items():
        if values is not None and len(values) != n:
            raise DataError(f"{len(values)} times a {what} for {n} pictures; each must have one")
    for what, values in (("label", predictions.labels), ("prediction", predictions.predicted)):
        outside = (values < 0) | (values >= count)
        if outside.any():
            first = int(np.argmax(outside))
            raise DataError(
                f"{predictions.names[first]!r} has the {what} {int(values[first])}, which is none of 0 to {count - 1} "
                f"({int(outside.sum())} pictures have such a one); leave out pictures without a {what}"
            )
    _check_probabilities(predictions, n, count)


def _check_probabilities(predictions: Predictions, n: int, count: int) -> None:
    values = predictions.probabilities
    if values is not None and values.shape != (n, count):
        raise DataError(
            f"the probabilities are {values.shape}; with these pictures and classes, {(n, count)} is needed"
        )
    given = [each for each in (values, predictions.confidence) if each is not None]
    if not all(bool(((each >= 0) & (each <= 1 + 1e-6)).all()) for each in given):
        raise DataError("there are probabilities outside of 0 to 1, or NaN; give those after a softmax")
    if values is not None and np.abs(values.sum(axis=1) - 1).max() > SUM_TOLERANCE:
        worst = int(np.abs(values.sum(axis=1) - 1).argmax())
        raise DataError(
            f"the probabilities of {predictions.names[worst]!r} sum to {values[worst].sum():.4g}, not 1; "
            "give those after a softmax"
        )


def _check_settings(predictions: Predictions, threshold: float | None, resamples: int) -> None:
    if resamples < 1:
        raise UsageError(f"resamples is {resamples}; it must be 1 or more (2000 is usual)")
    if threshold is None:
        return
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold is {threshold}; it is a probability and must lie in 0 to 1")
    if predictions.probabilities is None:
        raise UsageError("a threshold needs the probability of every class, which these predictions lack; leave it out")


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """(true class, predicted class) counts."""
    count = len(predictions.classes)
    flat = np.bincount(predictions.labels * count + predictions.predicted, minlength=count * count)
    return flat.reshape(count, count).astype(np.int64)


def per_class(predictions: Predictions, threshold: float | None = None) -> tuple[ClassScores, ...]:
    """Each class against the rest, in the order of the classes; NaN where there is nothing to count."""
    return tuple(_of_class(predictions, index, threshold) for index in range(len(predictions.classes)))


def _of_class(predictions: Predictions, index: int, threshold: float | None) -> ClassScores:
    true, said = predictions.labels == index, predictions.predicted == index
    values = None if predictions.probabilities is None else predictions.probabilities[:, index]
    found = said if threshold is None or values is None else values >= np.float32(threshold)
    total = int(true.sum() + said.sum())
    return ClassScores(
        name=predictions.classes[index],
        n=int(true.sum()),
        precision=_share_of(true, said, predictions),
        recall=_share_of(said, true, predictions),
        f1=2 * int((true & said).sum()) / total if total else float("nan"),
        auroc=float("nan") if values is None else auroc(values, true),
        threshold=float("nan") if threshold is None else threshold,
        sensitivity=_share_of(found, true, predictions),
        specificity=_share_of(~found, ~true, predictions),
    )


def _share_of(hits: NDArray[np.bool_], among: NDArray[np.bool_], predictions: Predictions) -> Score:
    groups = predictions.groups
    return share(hits[among], None if groups is None else groups[among])


def reliability(predictions: Predictions) -> tuple[ReliabilityBin, ...]:
    """The 15 bins (low, high] of equal width of ECE; NaN in bins without pictures. Empty without confidences."""
    sure = confidence(predictions)
    if sure is None:
        return ()
    place, edges = bins_of(sure), np.linspace(0, 1, BINS + 1)
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, weights=sure, minlength=BINS) / counts
        shares = np.bincount(place, weights=right(predictions), minlength=BINS) / counts
    return tuple(
        ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(means[i]), float(shares[i]))
        for i in range(BINS)
    )


def slices(predictions: Predictions) -> tuple[SliceScore, ...]:
    """The accuracy of each value of each slice column, the worst of a column first; "" counts as no value."""
    hits, rows = right(predictions), []
    for column, values in predictions.slices.items():
        texts = np.asarray(values).astype(np.str_)
        found = [
            SliceScore(column, str(value), _share_of(hits, texts == value, predictions))
            for value in np.unique(texts[texts != ""])
        ]
        rows += sorted(found, key=lambda row: row.top1.value)
    return tuple(rows)


def worst_slice(evaluation: Evaluation) -> SliceScore | None:
    """The slice with the lowest accuracy of those with ten pictures or more, of equals the larger; None without any.

    It is the worst of several: chance alone makes one of them look bad, so read its interval, not its value.
    """
    large = [row for row in evaluation.slices if row.top1.n >= LEAST]
    return min(large, key=lambda row: (row.top1.value, -row.top1.n), default=None)


def mistakes(predictions: Predictions) -> tuple[int, ...]:
    """Up to 100 pictures with a wrong answer, the surest first; in their order where no confidence is known."""
    wrong, sure = np.flatnonzero(~right(predictions)), confidence(predictions)
    if sure is not None:
        wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    return tuple(wrong[:SHOWN].tolist())


def margins(predictions: Predictions) -> NDArray[np.float32] | None:
    """(n,) the most probable class's probability less the second's; the confidence where only that is known."""
    values = predictions.probabilities
    if values is None or values.shape[1] < 2:
        return confidence(predictions)
    two = np.partition(values, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


def uncertain(predictions: Predictions) -> tuple[int, ...]:
    """Up to 100 pictures, the smallest margin first; empty where no confidence is known."""
    margin = margins(predictions)
    return () if margin is None else tuple(np.argsort(margin, kind="stable")[:SHOWN].tolist())


def suspects(predictions: Predictions) -> tuple[int, ...]:
    """Up to 100 likely label errors, the likeliest first, by confident learning; for pictures that were not learnt.

    Northcutt et al. 2021 (arXiv 1911.00068), eq. 1 and 2: a class's threshold is the mean probability of it over the
    pictures with its label. Suspect is a picture whose own class lies below its threshold while another reaches its
    own, and is answered with another class. The order is by the margin of the label's class to that other one.
    """
    values, labels = predictions.probabilities, predictions.labels
    if values is None:
        return ()
    rows, counts = np.arange(len(labels)), np.bincount(labels, minlength=values.shape[1])
    own = values[rows, labels].astype(np.float64)
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(labels, weights=own, minlength=values.shape[1]) / counts  # NaN is never reached
    others = np.where(values >= thresholds, values, -1.0)
    others[rows, labels] = -1.0
    best = others.max(axis=1)
    doubted = np.flatnonzero((own < thresholds[labels]) & (best >= 0) & ~right(predictions))
    order = np.argsort(own[doubted] - best[doubted], kind="stable")
    return tuple(doubted[order][:SHOWN].tolist())


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON: each score as `{"value", "low", "high"}` under its name, `n`, `note`, and all the rest.

    `confusion` lists the cells that are not empty; pictures to look at are names. There is no NaN: null instead.
    """
    names, worst = evaluation.predictions.names, worst_slice(evaluation)
    return {
        **{name: score.as_json() for name, score in evaluation.scores.items()},
        "n": evaluation.n,
        "note": evaluation.note,
        "classes": list(evaluation.predictions.classes),
        "per_class": [_plain(vars(each)) for each in evaluation.per_class],
        "confusion": _cells(evaluation),
        "reliability": [_plain(vars(each)) for each in evaluation.reliability],
        "slices": [_slice_json(each) for each in evaluation.slices],
        "worst_slice": None if worst is None else _slice_json(worst),
        **{
            field: [names[index] for index in getattr(evaluation, field)]
            for field in ("mistakes", "uncertain", "suspects")
        },
        "provenance": dict(evaluation.provenance),
    }


def _slice_json(row: SliceScore) -> dict[str, Any]:
    return {"column": row.column, "value": row.value, "n": row.top1.n, "top1": row.top1.as_json()}


def _cells(evaluation: Evaluation) -> list[dict[str, Any]]:
    classes, counts = evaluation.predictions.classes, evaluation.confusion
    return [
        {"label": classes[true], "predicted": classes[said], "n": int(counts[true, said])}
        for true, said in np.argwhere(counts)
    ]


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record for JSON: scores as theirs, null for what is not defined."""
    return {name: _plain_value(value) for name, value in fields.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Score):
        return value.as_json()
    return None if isinstance(value, float) and not np.isfinite(value) else value
