"""The classification rows of METRICS: one plain function each, from predictions to a score with its 95 % interval.

Every function takes `(predictions, *, seed=0, resamples=2000)`; `seed` and `resamples` are for what is drawn. The value
is NaN where the measure is not defined.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from regard.measurement.intervals import (
    ALIKE,
    NOWHERE,
    Z,
    averaged,
    bounded,
    equal_units,
    share,
    student,
    unskewed,
    worth,
)
from regard.records import Predictions, Score

BINS = 15
"""Bins of equal width of the reliability diagram and ECE, as in Guo et al. 2017."""

SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities count as at least this in the log-likelihood: one sure mistake costs at most 15.9 nats."""

FEWEST = 10
"""A mean over classes that rests on fewer pictures' worth than this, as some class has one or two, has no interval."""

ALIKE_SIZES = 0.9
"""Classes are of about one size where a mean over them rests on this share of the pictures' worth or more."""

PRIOR = 2.0
"""So many pictures of the mean over classes (or of the confidence, in a bin) are added to each to find its variance."""

Floats = NDArray[np.float64]


def top1(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Accuracy: Wilson's interval; by group where there are groups."""
    return share(predictions.right, predictions.groups)


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
    return share(before < 5, predictions.groups)


def balanced_accuracy(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean recall of the classes that have pictures. Brodersen et al. 2010, section II, for any number of classes."""
    labels = predictions.labels
    value = _mean_by_class(predictions.right.astype(np.float64), labels)
    return _over_classes(value, predictions.right.astype(np.float64), predictions)


def macro_f1(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean F1 = 2 TP / (2 TP + FP + FN) of the classes that have pictures. Opitz and Burst 2019, eq. 1.

    In classes of few pictures it is biased; the interval is moved by what `_f1_drawn` finds.
    """
    count = len(predictions.classes)
    true = np.bincount(predictions.labels, minlength=count).astype(np.float64)
    said = np.bincount(predictions.predicted, minlength=count)
    hits = np.bincount(predictions.labels, weights=predictions.right, minlength=count)
    present = true > 0
    whole = np.maximum(true + said, 1)
    value = float((2 * hits / whole)[present].mean())
    gain = 2 * (true + said - hits) * true / whole**2  # (classes,) of a right answer, times the class's pictures
    cost = np.where(present, -2 * hits / whole**2, 0.0)  # (classes,) of a wrong answer that names this class
    pull = np.where(
        predictions.right, gain[predictions.labels], (cost[predictions.predicted] * true[predictions.labels])
    )
    bias, spread = _f1_drawn(hits[present], true[present], (said - hits)[present], seed, resamples)
    return _over_classes(value, pull, predictions, bias, spread)


def _mean_by_class(values: Floats, labels: NDArray[np.int64]) -> float:
    counts = np.bincount(labels)
    present = counts > 0
    return float((np.bincount(labels, weights=values)[present] / counts[present]).mean())


def _over_classes(
    value: float, pull: Floats, predictions: Predictions, bias: float = 0.0, spread: float | None = None
) -> Score:
    """The interval of a mean over classes, to whose class mean each picture (n,) brings `pull`.

    Its ends are moved by `bias`; its standard error is at least `spread`, or that of recalls which are all alike.

    A class's own mean is drawn towards that of all, as a class of one picture does not vary about itself; the pull is
    then scaled so that the variance is right where classes are alike. By group, whole groups vary together.
    """
    labels = np.unique(predictions.labels, return_inverse=True)[1]
    units = (
        np.arange(len(labels)) if predictions.groups is None else np.unique(predictions.groups, return_inverse=True)[1]
    )
    counts = np.bincount(labels)  # (classes,) pictures
    pairs = np.unique(labels * (units.max() + 1) + units) // (units.max() + 1)
    groups = np.bincount(pairs)  # (classes,) units
    overall = _mean_by_class(pull, labels)
    size = counts / groups
    middle = (np.bincount(labels, weights=pull) + PRIOR * size * overall) / (counts + PRIOR * size)
    unbiased = 1 - 2 / (groups + PRIOR) + groups / (groups + PRIOR) ** 2
    offset = (pull - middle[labels]) / np.sqrt(unbiased[labels]) / (len(counts) * counts[labels])
    together = np.bincount(units, weights=offset)
    error = float(np.sqrt(together @ together))
    trials = len(counts) ** 2 / float((1 / counts).sum())
    number = equal_units(np.bincount(units))
    if trials < min(FEWEST, len(labels) / 2):
        note = f"no interval: its smallest classes weigh so much that it rests on {trials:.0f} pictures' worth"
        return Score(value, np.nan, np.nan, len(labels), note=note)
    if spread is not None and trials < len(labels) / 2 and np.mean(counts == 1) > 0.1:
        note = "no interval: too many of its classes have one picture, and others many"
        return Score(value, np.nan, np.nan, len(labels), note=note)
    if error == 0:
        trials = min(trials, number)
    elif predictions.groups is None and counts.min() > 1 and trials > ALIKE_SIZES * len(labels):
        trials = np.inf  # each class tells of its own spread, and where recalls differ that is less than of all
    if spread is not None:
        error = float(np.hypot(max(error, spread), 1.25 * bias))
        trials = np.inf if error else trials
    moved = bounded(min(max(value - bias, 0.0), 1.0), error, number, len(labels), trials=trials)
    return Score(value, min(moved.low, value), max(moved.high, value), len(labels))


def _f1_drawn(hits: NDArray[Any], true: Floats, wrong: NDArray[Any], seed: int, resamples: int) -> tuple[float, float]:
    """By how much macro F1 of so few pictures lies off that of many, with recalls and wrong answers like these, and how
    much it varies.

    `hits`, `true` and `wrong` (classes,) count right answers, pictures, and pictures that are wrongly said to be of the
    class. Recalls and shares of the wrong answers are drawn towards their mean.
    """
    recall = (hits + PRIOR * (hits / true).mean()) / (true + PRIOR)
    often = (wrong + wrong.mean()) / 2
    generator = np.random.default_rng(seed)
    shape = (max(1, resamples // 4), len(true))
    drawn = generator.binomial(true.astype(np.int64), recall, shape)
    off = generator.poisson(often, shape)
    sample = (2 * drawn / (true + drawn + off)).mean(axis=1)
    whole = float((2 * recall * true / (true + recall * true + often)).mean())
    return float(sample.mean()) - whole, float(sample.std())


def macro_auroc(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean area under the ROC curve, one class against the rest, of the classes for which it is defined.

    The variance is that of DeLong et al. 1988 over all classes at once; whole groups vary together as in Obuchowski
    1997. Of few pictures in a class it leans on what Hanley and McNeil 1982 expect of such an area.
    """
    if predictions.probabilities is None:
        return NOWHERE
    sides = [
        (predictions.probabilities[:, index], predictions.labels == index) for index in np.unique(predictions.labels)
    ]
    return mean_area(sides, predictions.groups, mirrored=len(sides) == 2)


def mean_area(
    sides: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]], groups: NDArray[Any] | None, mirrored: bool = False
) -> Score:
    """The mean area under the ROC curves of `sides`, each (values (n,), positive (n,)), as `macro_auroc` has it;
    `mirrored`: there are two, of which one is the other turned around. Those that are all positive are left out."""
    areas = []
    sizes = []
    pull: Any = 0.0
    for values, positive in sides:
        if positive.all():
            continue
        n = len(positive)
        units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        place = placements(values, positive)
        areas.append(float(place[positive].mean()))
        size = np.array([len(np.unique(units[side])) for side in (positive, ~positive)])
        scale = np.sqrt(size / (size - 1 + PRIOR)) / (positive.sum(), (~positive).sum())
        each = (place - areas[-1]) * np.where(positive, *scale)
        pull = pull + each
        sizes.append(
            (size, (positive.sum(), (~positive).sum()), [each[side] @ each[side] for side in (positive, ~positive)])
        )
    if not areas:
        return NOWHERE
    value = float(np.mean(areas))
    expected = np.array([value / (2 - value), 2 * value**2 / (1 + value)]) - value**2
    prior = PRIOR if groups is None else 0.0
    size, pictures, spread = np.array(sizes, np.float64).transpose(1, 0, 2)  # (classes, positive or negative)
    leaning = prior / (size - 1 + PRIOR) * expected / pictures
    added = leaning.sum()
    together = np.bincount(units, weights=pull)
    error = float(np.sqrt(together @ together + (2 if mirrored else 1.5) * added)) / len(areas)
    trials = (2 if mirrored else 4) * len(areas) ** 2 / float((1 / size.min(axis=1)).sum())
    number = equal_units(np.bincount(units))
    if error < 1e-9:
        trials = min(len(areas) ** 2 / float((1 / size[:, 0]).sum()), number)
    else:
        spread += leaning
        freedom = spread.sum() ** 2 / (spread**2 / (size + PRIOR)).sum()  # Satterthwaite 1946
        number = min(number, freedom + 1)
    return bounded(value, error, number, n, trials=trials)


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

    It is biased upwards; see `_ece_interval`.
    """
    sure = predictions.certainty
    if sure is None:
        return NOWHERE
    counts, right, mean_sure = _filled_bins(sure, predictions.right)
    value = ece_value(predictions)
    groups = predictions.groups
    each = 1.0
    quantile = Z
    if groups is not None:
        shrunk = student(equal_units(np.unique(groups, return_counts=True)[1]))
        each = worth(predictions.right - sure.astype(np.float64), groups) / shrunk
        quantile = Z / np.sqrt(shrunk)
    return _ece_interval(value, counts, mean_sure, right / counts, each, quantile)


def ece_value(predictions: Predictions) -> float:
    """`ece` without its interval, which costs a thousand times as much."""
    if predictions.certainty is None:
        return float("nan")
    counts, right, mean_sure = _filled_bins(predictions.certainty, predictions.right)
    return float(np.abs(right - counts * mean_sure).sum() / len(predictions))


def _filled_bins(sure: NDArray[np.float32], right: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """(bins,) each, of those that have any: pictures, right answers, mean confidence."""
    place = bins_of(sure)
    counts = np.bincount(place, minlength=BINS)
    filled = counts > 0
    hits = np.bincount(place, weights=right, minlength=BINS)[filled].astype(np.float64)
    return (
        counts[filled].astype(np.int64),
        hits,
        np.bincount(place, weights=sure, minlength=BINS)[filled] / counts[filled],
    )


def _ece_interval(
    value: float, counts: NDArray[np.int64], sure: Floats, right: Floats, each: float, quantile: float
) -> Score:
    """The calibration errors that `value` is likely of, where gaps between `sure` and `right` (bins,) lie as here.

    Of few pictures the value is biased upwards, as every gap counts as positive: of each error that may be true, the
    value's mean and ends are those of `_ece_moments`, of pictures that are worth `each`. Shares are as large as the
    error in question makes them: for the lower end first none at all, then the one found. The upper end leaves out half
    of the bias, so as to lie on the safe side.
    """
    true = np.linspace(0, 1, 201)

    def error_at(end: Floats) -> float:
        return float(np.interp(value, np.maximum.accumulate(end), true))

    low = 0.0
    for _ in range(2):
        chance = sure + (right - sure) * (low / value if value > 0 else 0)
        expected, _, up = _ece_moments(true, counts, right - sure, chance, each, quantile)
        low = error_at(expected + up)
        if low == 0:
            break
    chance = (counts * right + PRIOR * sure) / (counts + PRIOR)
    expected, down, _ = _ece_moments(true, counts, right - sure, chance, each, quantile)
    unbiased, safe = error_at(expected + down), error_at(true + down)
    high = max((unbiased + safe) / 2, value + (safe - value) / 3)
    return Score(value, min(low, value), max(high, value), int(counts.sum()))


def _ece_moments(
    true: Floats, counts: NDArray[np.int64], gaps: Floats, chance: Floats, each: float, quantile: float
) -> tuple[Floats, Floats, Floats]:
    """Of each error that may be `true` (errors,): the mean of the value, and how far below and above it is likely.

    From binomial counts with `chance`, bin by bin (bins,), of pictures that are worth `each`, and from how much errors
    differ between bins; with their skewness, as Cornish and Fisher 1938 take it into a `quantile`.
    """
    weight = counts / counts.sum()
    chance = np.clip(chance, 0.0, 1.0)  # a mean of float32 may lie above 1 by its rounding
    value = float(weight @ np.abs(gaps))
    shape = np.abs(gaps) / value if value > 0 else np.ones_like(gaps)
    number = np.maximum(counts * each, 1.0)
    trials = np.minimum(np.round(number), 200).astype(np.int64)
    at = np.repeat(np.arange(len(trials)), trials + 1)  # (hits,) the bin: 0 to all of its trials may be hit
    hits = np.arange(len(at)) - np.searchsorted(at, at)
    mass = binom.pmf(hits, trials[at], chance[at])
    likely = mass > 1e-9
    at, hits, mass = at[likely], hits[likely], mass[likely]
    starts = np.searchsorted(at, np.arange(len(trials)))
    off = (hits / trials[at] - chance[at]) * np.sqrt(trials / number)[at]
    distance = np.abs(off + shape[at] * true[:, None])  # (errors, hits)
    middle = np.add.reduceat(distance * mass, starts, axis=1)  # (errors, bins)
    distance -= middle[:, at]
    spread = np.add.reduceat(distance**2 * mass, starts, axis=1)
    skewed = np.add.reduceat(distance**3 * mass, starts, axis=1) @ weight**3
    between = max(float(weight @ ((np.abs(gaps) - value) ** 2 - spread[0])), 0.0)
    error = np.sqrt(spread @ weight**2 + between / (counts.sum() * each))
    lean = skewed / np.maximum(error, 1e-12) ** 3 * (quantile**2 - 1) / 6
    return middle @ weight, error * (lean - quantile), error * (lean + quantile)


def nll(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean negative log-likelihood of the true class in nats. Guo et al. 2017, eq. 4, divided by n."""
    if predictions.probabilities is None:
        return NOWHERE
    chances = predictions.probabilities.astype(np.float64)
    return _proper(chances, -np.log(np.clip(chances, SMALLEST, 1)), predictions, float(-np.log(SMALLEST)))


def brier(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over pictures of the squared error of the probabilities, summed over classes: 0 to 2. Brier 1950, eq. 2."""
    if predictions.probabilities is None:
        return NOWHERE
    values = predictions.probabilities.astype(np.float64)
    return _proper(values, np.einsum("ij,ij->i", values, values)[:, None] - 2 * values + 1, predictions, 2.0)


def _proper(chances: Floats, losses: Floats, predictions: Predictions, most: float) -> Score:
    """The mean loss up to `most`, of the losses (n, classes) that each class would cost by its `chances`.

    Few pictures with a large loss may be missing by chance, and with them the spread: its variance is at least what it
    is with `PRIOR` more pictures, of the variance that the probabilities themselves lead to expect.
    """
    n = len(predictions)
    loss = averaged(losses[np.arange(n), predictions.labels], predictions.groups)
    expected = np.einsum("ij,ij->i", chances, losses)
    square = np.einsum("ij,ij,ij->i", chances, losses, losses)
    likely = max(float(square.mean() - expected.mean() ** 2), 0.0) / n
    error = float(np.sqrt((loss.units * loss.error**2 + PRIOR * likely) / (loss.units + PRIOR)))
    if not error > 1e-9:
        return Score(loss.value, np.nan, np.nan, n, note=ALIKE)
    return unskewed(loss, n, most=most, error=error)
