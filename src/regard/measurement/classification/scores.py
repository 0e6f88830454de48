"""The classification rows of METRICS: one plain function each, from predictions to a score with its 95 % interval.

Every function takes `(predictions, *, seed=0, resamples=2000)`; `seed` and `resamples` are the bootstrap's. The value
is NaN where the measure is not defined.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.special import expit, logit

from regard.measurement.intervals import NOWHERE, Z, basic, bootstrapped, percentile, share
from regard.records import Predictions, Score

BINS = 15
"""Bins of equal width of the reliability diagram and ECE, as in Guo et al. 2017."""

SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities count as at least this in the log-likelihood: one sure mistake costs at most 15.9 nats."""

Floats = NDArray[np.float64]


def top1(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Accuracy: Wilson's interval; by group where there are groups, from a bootstrap of whole groups."""
    return _share(predictions.right, predictions, seed, resamples)


def top5(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Share of pictures whose true class is among the five most probable; NaN unless there are more than five.

    A class as probable as the true one counts as before it only when its index is lower, as in argmax.
    """
    values = predictions.probabilities
    if values is None or values.shape[1] <= 5:
        return NOWHERE
    labelled = values[np.arange(len(values)), predictions.labels][:, None]  # (n, 1)
    earlier = np.arange(values.shape[1]) < predictions.labels[:, None]
    before = ((values > labelled) | ((values == labelled) & earlier)).sum(axis=1)
    return _share(before < 5, predictions, seed, resamples)


def balanced_accuracy(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean recall of the classes that have pictures. Brodersen et al. 2010, section II, for any number of classes."""
    count = len(predictions.classes)
    sums = vstack([_by(predictions.labels, predictions.right, count), _by(predictions.labels, None, count)])

    def statistic(totals: Floats) -> Floats:
        return _mean_ratio(totals[:count], totals[count:], totals[count:])

    return _within_classes(predictions, sums, statistic, seed, resamples)


def macro_f1(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean F1 = 2 TP / (2 TP + FP + FN) of the classes that have pictures. Opitz and Burst 2019, eq. 1."""
    count = len(predictions.classes)
    sums = vstack(
        [
            _by(predictions.labels, predictions.right, count),
            _by(predictions.labels, None, count),
            _by(predictions.predicted, None, count),
        ]
    )

    def statistic(totals: Floats) -> Floats:
        hits, true, predicted = np.split(totals, 3)  # (classes, resamples) each
        return _mean_ratio(2 * hits, true + predicted, true)

    return _within_classes(predictions, sums, statistic, seed, resamples)


def macro_auroc(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean area under the ROC curve, one class against the rest, of the classes for which it is defined.

    The interval is symmetric in the logit, from the variance of DeLong et al. 1988 over all classes at once; whole
    groups vary together as in Obuchowski 1997. A bootstrap of a thousand classes would take hours and say the same.
    """
    areas = []
    pull = np.zeros(len(predictions))
    for area, influence in _areas(predictions):
        areas.append(area)
        pull += influence
    if not areas:
        return NOWHERE
    value = float(np.mean(areas))
    spread = _spread(pull / len(areas), predictions.groups)
    if not 0 < value < 1 or spread == 0:
        return percentile(value, np.empty(0), len(predictions), _independent(predictions))
    ends = expit(logit(value) + np.array([-Z, Z]) * spread / (value * (1 - value)))
    return Score(value, float(ends[0]), float(ends[1]), len(predictions))


def _areas(predictions: Predictions) -> Iterator[tuple[float, Floats]]:
    """The area of each class where it is defined, and what each picture (n,) pulls it by."""
    if predictions.probabilities is None:
        return
    grouped = predictions.groups is not None
    for index in np.unique(predictions.labels):
        positive = predictions.labels == index
        if not positive.all():
            place = placements(predictions.probabilities[:, index], positive)
            area = float(place[positive].mean())
            yield area, _influence(place - area, positive, grouped)


def _influence(offset: Floats, positive: NDArray[np.bool_], grouped: bool) -> Floats:
    """(n,) whose squares sum to DeLong's variance; with groups the correction for small samples is theirs."""
    ones = int(positive.sum())
    zeros = int((~positive).sum())
    correct = [1.0 if grouped or count == 1 else np.sqrt(count / (count - 1)) for count in (ones, zeros)]
    return np.where(positive, offset * correct[0] / ones, offset * correct[1] / zeros)


def _spread(pull: Floats, groups: NDArray[Any] | None) -> float:
    """The standard error from what each picture pulls a value by, or from what each group does together."""
    if groups is None:
        return float(np.sqrt(pull @ pull))
    together = np.bincount(np.unique(groups, return_inverse=True)[1], weights=pull)
    count = len(together)
    return float(np.sqrt(together @ together * count / (count - 1))) if count > 1 else 0.0


def placements(values: NDArray[Any], positive: NDArray[np.bool_]) -> Floats:
    """(n,) in [0, 1]: the share of negatives below each positive, and of positives above each negative; ties half.

    Their mean over positives, as over negatives, is the area under the ROC curve (Hanley and McNeil 1982; DeLong et
    al. 1988, eq. 3 and 4).
    """
    _, tied = np.unique(values, return_inverse=True)
    ones, zeros = (np.bincount(tied[chosen], minlength=tied.max() + 1) for chosen in (positive, ~positive))
    below = (np.cumsum(zeros) - zeros / 2) / max(zeros.sum(), 1)
    above = (positive.sum() - np.cumsum(ones) + ones / 2) / max(ones.sum(), 1)
    return np.where(positive, below[tied], above[tied])


def auroc(values: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve of `values` (n,) for `positive` (n,); NaN without positives or without negatives."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(placements(values, positive)[positive].mean())


def bins_of(sure: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin (n,) from 0 of each confidence; bins are (low, high], and 0 itself belongs to the first."""
    edges = np.linspace(0, 1, BINS + 1).astype(np.float32)  # as exact as the confidence is, or 0.2 would not be 3/15
    return np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, BINS - 1)


def ece(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Expected calibration error, 15 bins of equal width. Guo et al. 2017, eq. 3.

    It is biased upwards, and resampling adds the same bias again: the interval is the basic bootstrap's.
    """
    sure = predictions.certainty
    if sure is None:
        return NOWHERE
    gaps = _by(bins_of(sure), predictions.right - sure.astype(np.float64), BINS)
    sums = vstack([gaps, csr_array(np.ones((1, len(sure))))])
    value, values = bootstrapped(
        sums,
        lambda totals: np.abs(totals[:BINS]).sum(axis=0) / totals[BINS],
        groups=predictions.groups,
        seed=seed,
        resamples=resamples,
    )
    return basic(value, values, len(sure))


def nll(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean negative log-likelihood of the true class in nats. Guo et al. 2017, eq. 4, divided by n."""
    if predictions.probabilities is None:
        return NOWHERE
    labelled = predictions.probabilities[np.arange(len(predictions)), predictions.labels].astype(np.float64)
    return _mean(-np.log(np.clip(labelled, SMALLEST, 1)), predictions, seed, resamples)


def brier(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over pictures of the squared error of the probabilities, summed over classes: 0 to 2. Brier 1950, eq. 2."""
    if predictions.probabilities is None:
        return NOWHERE
    values = predictions.probabilities
    labelled = values[np.arange(len(predictions)), predictions.labels].astype(np.float64)
    squares = np.einsum("ij,ij->i", values, values, dtype=np.float64)
    return _mean(squares - 2 * labelled + 1, predictions, seed, resamples)


def _mean(each: Floats, predictions: Predictions, seed: int, resamples: int) -> Score:
    value, values = _bootstrapped_mean(each, predictions, seed, resamples)
    return percentile(value, values, len(each))


def _share(hits: NDArray[np.bool_], predictions: Predictions, seed: int, resamples: int) -> Score:
    if predictions.groups is None:
        return share(hits)
    value, values = _bootstrapped_mean(hits, predictions, seed, resamples)
    return percentile(value, values, len(hits), effective=len(np.unique(predictions.groups)))


def _bootstrapped_mean(each: NDArray[Any], predictions: Predictions, seed: int, resamples: int) -> tuple[float, Floats]:
    sums = np.stack([each, np.ones(len(each))])
    return bootstrapped(
        sums, lambda totals: totals[0] / totals[1], groups=predictions.groups, seed=seed, resamples=resamples
    )


def _within_classes(predictions: Predictions, sums: csr_array, statistic: Any, seed: int, resamples: int) -> Score:
    value, values = bootstrapped(
        sums, statistic, groups=predictions.groups, strata=predictions.labels, seed=seed, resamples=resamples
    )
    return percentile(value, values, len(predictions), _independent(predictions))


def _independent(predictions: Predictions) -> float:
    """How many pictures of one class tell as much as the mean over classes: C² / Σ 1/n, of groups where given."""
    units = np.arange(len(predictions)) if predictions.groups is None else predictions.groups
    codes = np.unique(units, return_inverse=True)[1]
    pairs = np.unique(np.stack([predictions.labels, codes]), axis=1)
    counts = np.unique(pairs[0], return_counts=True)[1]
    return float(min(len(counts) ** 2 / (1 / counts).sum(), codes.max() + 1))


def _by(codes: NDArray[np.int64], values: NDArray[Any] | None, count: int) -> csr_array:
    """(count, n): each picture's value (by default 1) in the row of its code."""
    n = len(codes)
    filled = np.ones(n) if values is None else np.asarray(values, np.float64)
    return csr_array((filled, (codes, np.arange(n))), shape=(count, n))


def _mean_ratio(over: Floats, under: Floats, present: Floats) -> Floats:
    """(classes, any) → (any,): the mean of the ratios of those classes that are `present`; NaN where none is."""
    counted = present > 0
    ratios = np.divide(over, under, out=np.zeros_like(over), where=counted)
    classes = counted.sum(axis=0)
    return np.where(classes > 0, ratios.sum(axis=0) / np.maximum(classes, 1), np.nan)
