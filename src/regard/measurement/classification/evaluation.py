"""How good a classifier is: every classification row of METRICS, class by class, slice by slice, and what to look at.

Measures that need probabilities are left out, not made up, where only names are known. docs/scores.md says what each
number means and how its interval is made.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError, UsageError
from regard.measurement.classification.optimism import corrected
from regard.measurement.classification.scores import BINS, auroc, bins_of
from regard.measurement.intervals import share
from regard.measurement.measure import measure
from regard.records import ClassScores, Evaluation, Predictions, ReliabilityBin, Score, SliceScore

LISTED = 100
"""How many pictures each list of those to look at names, at most."""

SUM_TOLERANCE = 1e-2


def evaluate(
    predictions: Predictions,
    *,
    note: str = "",
    seed: int = 0,
    resamples: int = 2000,
    threshold: float | None = None,
    provenance: Mapping[str, Any] | None = None,
    optimism: Mapping[str, float] | None = None,
) -> Evaluation:
    """Measure everything of METRICS that these predictions allow, class by class and slice by slice.

    `threshold` in [0, 1] is the probability from which a class is said of a picture, for sensitivity and specificity;
    by default it is said where it is the predicted one. `note` is "", "seen in training", "selected on" or
    "cross-validated"; label errors are not looked for in pictures that were learnt. `optimism` by score is taken off
    it: what choosing by the same pictures brought. `seed` and `resamples` are those of what is drawn.

    Raises `DataError` for no pictures, labels outside of the classes and probabilities that are none, and `UsageError`
    for a threshold or a number of resamples that cannot be.
    """
    check(predictions)
    _check_settings(predictions, threshold, resamples)
    measured = scores(predictions, seed=seed, resamples=resamples)
    optimism = {name: value for name, value in (optimism or {}).items() if name in measured}
    return Evaluation(
        predictions=predictions,
        scores=measured | {name: corrected(measured[name], value) for name, value in optimism.items()},
        per_class=per_class(predictions, threshold),
        confusion=confusion(predictions),
        reliability=reliability(predictions),
        slices=slices(predictions),
        mistakes=mistakes(predictions),
        uncertain=uncertain(predictions),
        suspects=() if note == "seen in training" else suspects(predictions),
        note=note,
        provenance=provenance or {},
        optimism=optimism,
    )


def scores(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> dict[str, Score]:
    """Every classification metric of METRICS that has what it needs here and is defined, by name."""
    needs = {"labels"}
    needs |= set() if predictions.certainty is None else {"confidence"}
    needs |= set() if predictions.probabilities is None else {"probabilities"}
    measured = measure("classification", predictions, needs, seed=seed, resamples=resamples)
    return {name: score for name, score in measured.items() if np.isfinite(score.value)}


def check(predictions: Predictions) -> None:
    """Raise `DataError` for predictions that cannot be scored: none, of other lengths, or out of range."""
    n = len(predictions)
    count = len(predictions.classes)
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
    shares = [each for each in (values, predictions.confidence) if each is not None]
    if not all(bool(((each >= 0) & (each <= 1 + 1e-6)).all()) for each in shares):
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
    true = predictions.labels == index
    predicted = predictions.predicted == index
    values = None if predictions.probabilities is None else predictions.probabilities[:, index]
    positive = predicted if threshold is None or values is None else values >= np.float32(threshold)
    total = int(true.sum() + predicted.sum())
    return ClassScores(
        name=predictions.classes[index],
        n=int(true.sum()),
        precision=_share_of(true, predicted, predictions),
        recall=_share_of(predicted, true, predictions),
        f1=2 * int((true & predicted).sum()) / total if total else float("nan"),
        auroc=float("nan") if values is None else auroc(values, true),
        threshold=float("nan") if threshold is None else threshold,
        sensitivity=_share_of(positive, true, predictions),
        specificity=_share_of(~positive, ~true, predictions),
    )


def _share_of(hits: NDArray[np.bool_], among: NDArray[np.bool_], predictions: Predictions) -> Score:
    groups = predictions.groups
    return share(hits[among], None if groups is None else groups[among])


def reliability(predictions: Predictions) -> tuple[ReliabilityBin, ...]:
    """The 15 bins (low, high] of equal width of ECE; NaN in bins without pictures. Empty without confidences."""
    certainty = predictions.certainty
    if certainty is None:
        return ()
    place = bins_of(certainty)  # (n,) the bin of each picture
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, weights=certainty, minlength=BINS) / counts
        shares = np.bincount(place, weights=predictions.right, minlength=BINS) / counts
    return tuple(
        ReliabilityBin(float(edges[i]), float(edges[i + 1]), int(counts[i]), float(means[i]), float(shares[i]))
        for i in range(BINS)
    )


def slices(predictions: Predictions) -> tuple[SliceScore, ...]:
    """The accuracy of each value of each slice column, the worst of a column first; "" counts as no value."""
    rows: list[SliceScore] = []
    for column, values in predictions.slices.items():
        texts = np.asarray(values).astype(np.str_)
        scores = [
            SliceScore(column, str(value), _share_of(predictions.right, texts == value, predictions))
            for value in np.unique(texts[texts != ""])
        ]
        rows += sorted(scores, key=lambda row: row.top1.value)
    return tuple(rows)


def mistakes(predictions: Predictions) -> tuple[int, ...]:
    """Up to 100 pictures with a wrong answer, the surest first; in their order where no confidence is known."""
    wrong = np.flatnonzero(~predictions.right)
    certainty = predictions.certainty
    if certainty is not None:
        wrong = wrong[np.argsort(-certainty[wrong], kind="stable")]
    return tuple(wrong[:LISTED].tolist())


def margins(predictions: Predictions) -> NDArray[np.float32] | None:
    """(n,) the most probable class's probability less the second's; the confidence where only that is known."""
    values = predictions.probabilities
    if values is None or values.shape[1] < 2:
        return predictions.certainty
    two = np.partition(values, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0], np.float32)


def uncertain(predictions: Predictions) -> tuple[int, ...]:
    """Up to 100 pictures, the smallest margin first; empty where no confidence is known."""
    margin = margins(predictions)
    return () if margin is None else tuple(np.argsort(margin, kind="stable")[:LISTED].tolist())


def suspects(predictions: Predictions) -> tuple[int, ...]:
    """Up to 100 likely label errors, the likeliest first, by confident learning; for pictures that were not learnt.

    Northcutt et al. 2021 (arXiv 1911.00068), eq. 1 and 2: a class's threshold is the mean probability of it over the
    pictures with its label. Suspect is a picture whose own class lies below its threshold while another reaches its
    own, and is answered with another class. The order is by the margin of the label's class to that other one.
    """
    values = predictions.probabilities
    labels = predictions.labels
    if values is None:
        return ()
    rows = np.arange(len(labels))
    counts = np.bincount(labels, minlength=values.shape[1])
    label_probability = values[rows, labels].astype(np.float64)
    with np.errstate(invalid="ignore"):
        sums = np.bincount(labels, weights=label_probability, minlength=values.shape[1])
        thresholds = sums / counts  # (classes,); NaN, of a class without pictures, is never reached
    others = np.where(values >= thresholds, values, -1.0)
    others[rows, labels] = -1.0
    best = others.max(axis=1)
    doubted = np.flatnonzero((label_probability < thresholds[labels]) & (best >= 0) & ~predictions.right)
    order = np.argsort(label_probability[doubted] - best[doubted], kind="stable")
    return tuple(doubted[order][:LISTED].tolist())
