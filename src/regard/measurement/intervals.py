"""95 % intervals: Wilson's for shares, Tango's for paired differences of shares, Hall's for means and their like.

What varies is the unit: a picture, or a whole group of them, of which the jackknife leaves out each in turn. Means over
classes and areas have Wilson's of as many trials as would have their standard error, with Student's t of the units'
number in place of the normal's quantile, as Korn and Graubard 1998 do for surveys. How often each holds the truth is
simulated by bench/coverage.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.records import Score

Z = 1.959963984540054
"""The standard normal quantile of a two-sided 95 % interval."""

NOWHERE = Score(float("nan"), float("nan"), float("nan"), 0)
"""The score of nothing at all."""

ALIKE = "no interval: the pictures do not differ"
"""The note of a score of which nothing varies."""

Array = NDArray[Any]
Floats = NDArray[np.float64]


def wilson(right: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share `right` / `n`, in [0, 1]; NaN when `n` is 0. Both may be fractions.

    Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4. It stays honest at 0 of n and n of n.
    """
    if n <= 0:
        return float("nan"), float("nan")
    share = right / n
    squared = Z * Z
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = Z / (1 + squared / n) * np.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    return (0.0 if right == 0 else float(centre - half)), (1.0 if right == n else float(centre + half))


def share(hits: Array, groups: Array | None = None) -> Score:
    """The share of `hits` (n,) bool with Wilson's interval; by group from the effective number of pictures."""
    n = len(hits)
    if n == 0:
        return NOWHERE
    value = np.count_nonzero(hits) / n
    number = n if groups is None else effective(hits, groups)
    return Score(value, *wilson(value * number, number), n)


def effective(hits: Array, groups: Array) -> float:
    """How many independent pictures tell as much about a share as these (n,) in their groups; at most n.

    n over the design effect (Kish 1965) with Student's t in place of the normal's quantile, as Korn and Graubard 1998
    do for surveys. Where all hit or all miss, each group counts once.
    """
    n = len(hits)
    value = float(np.mean(hits))
    _, of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(of)
    if len(sizes) < 2 or value in (0.0, 1.0):
        return float(len(sizes))
    residuals = np.bincount(of, weights=hits) - value * sizes
    units = equal_units(sizes)
    variance = units / (units - 1) * float(residuals @ residuals) / n**2
    alike = value * (1 - value) / variance if variance > value * (1 - value) / n else n
    return float(alike * student(units))


def equal_units(sizes: Array) -> float:
    """How many units of one size tell as much as these of several: (Σ m)² / Σ m² (Kish 1965)."""
    weights = sizes.astype(np.float64)
    return float(weights.sum() ** 2 / (weights @ weights))


def student(units: float) -> float:
    """By what a number of trials shrinks where its variance is known from so few units: (z / t)²."""
    return (Z / _quantile(units)) ** 2


def _quantile(units: float) -> float:
    """Student's two-sided 95 % quantile where so many units are known."""
    from scipy.special import stdtrit  # late: what only counts has no use for it

    return float(stdtrit(max(units - 1, 1.0), 0.975))


def paired(gained: float, lost: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a paired difference of shares (`gained` − `lost`) / n, in [-1, 1]; counts may be fractions.

    Tango 1998, Statistics in Medicine 17:891: the differences that a score test does not reject. It looks at the pairs
    that changed alone, and of none has Wilson's width: z² / (n + z²) to either side.
    """
    value = (gained - lost) / n
    ends = []
    for refused in (-1.0, 1.0):
        accepted = value
        while abs(refused - accepted) > 1e-9:
            middle = (refused + accepted) / 2
            if abs(n * (value - middle)) > Z * _paired_error(gained, lost, n, middle):
                refused = middle
            else:
                accepted = middle
        ends.append(accepted)
    return ends[0], ends[1]


def _paired_error(gained: float, lost: float, n: float, difference: float) -> float:
    """The standard error of `gained` − `lost` where the true difference of shares is this (Tango 1998, eq. 9)."""
    linear = (2 * n - gained + lost) * difference - gained - lost
    root = max(linear * linear + 8 * n * lost * difference * (1 - difference), 0.0)
    losing = (math.sqrt(root) - linear) / (4 * n)  # the likeliest share of pairs that are lost
    return math.sqrt(max(n * (2 * losing + difference * (1 - difference)), 0.0))


@dataclass(frozen=True)
class Jackknife:
    """A statistic's `value`, and its `errors` (units,): by how much each unit moves it, as if it were a mean of units.

    `units` is how many of them there are, of one size: groups of several sizes count as fewer. As all pictures of a
    group may be alike, each adds to the spread by its size squared, so that the large ones alone know it (Satterthwaite
    1946).
    """

    value: float
    errors: Floats
    units: float

    @property
    def error(self) -> float:
        """The standard error; NaN of a single unit."""
        n = len(self.errors)
        return float(np.sqrt(self.errors @ self.errors / (n * (n - 1)))) if n > 1 else float("nan")

    @property
    def skewness(self) -> float:
        """That of one unit, corrected for few of them; 0 where it is not defined."""
        n = len(self.errors)
        squares = float(self.errors @ self.errors) / n
        if n < 3 or not squares > 0:
            return 0.0
        return float(np.mean(self.errors**3)) / squares**1.5 * math.sqrt(n * (n - 1)) / (n - 2)


def jackknifed(sums: Array, statistic: Callable[[Floats], Floats], groups: Array | None = None) -> Jackknife:
    """A statistic of sums over pictures, with each unit left out in turn (Efron and Tibshirani 1993, eq. 11.5).

    `sums` (k, n) is what each picture adds to k sums; `statistic` maps (k, any) sums to (any,) values. Units are the
    `groups` (n,) or single pictures.
    """
    per_unit = np.asarray(sums, np.float64)
    units = float(per_unit.shape[1])
    if groups is not None:
        unit = np.unique(groups, return_inverse=True)[1]
        per_unit = np.stack([np.bincount(unit, weights=row) for row in per_unit])  # (k, units)
        units = equal_units(np.bincount(unit) ** 2)
    whole = per_unit.sum(axis=1, keepdims=True)
    count = per_unit.shape[1]
    left_out = statistic(whole - per_unit) if count > 1 else np.zeros(1)  # (units,)
    return Jackknife(float(statistic(whole)[0]), (count - 1) * (left_out.mean() - left_out), units)


def unskewed(
    estimate: Jackknife, n: int, *, least: float = 0.0, most: float = 1.0, error: float = 0.0, trials: float = np.inf
) -> Score:
    """The interval of a statistic between `least` and `most`: Student's, with the skewness of its units taken off.

    Hall 1992, Journal of the Royal Statistical Society B 54:221, the cubic of eq. 2.3, whose inverse is in closed form:
    of few units, of which some stand far off, Student's own would reach too little to their side. Its standard error
    is at least `error`. It is no wider than Wilson's of `trials`, and where units do not differ it is that of `units`.
    """
    count = len(estimate.errors)
    error = max(estimate.error, error)
    if not error > 1e-9 * (most - least):
        return bounded(estimate.value, 0.0, estimate.units, n, least=least, most=most)
    quantile = _quantile(estimate.units) / math.sqrt(count)
    skewness = estimate.skewness
    spread = error * math.sqrt(count)

    def cubed(place: float) -> float:
        """The inverse of x + γ x² / 3 + γ² x³ / 27 + γ / (6 n), Hall's g of a studentized mean divided by √n."""
        if abs(skewness) < 1e-6:
            return place
        return 3 / skewness * (float(np.cbrt(1 + skewness * (place - skewness / (6 * count)))) - 1)

    low, high = (estimate.value - spread * cubed(end) for end in (quantile, -quantile))
    if np.isfinite(trials):
        widest = bounded(estimate.value, 0.0, estimate.units, n, least=least, most=most, trials=trials)
        low = max(low, widest.low)
        high = min(high, widest.high)
    return Score(estimate.value, min(max(low, least), estimate.value), max(min(high, most), estimate.value), n)


def bounded(
    value: float,
    error: float,
    units: float,
    n: int,
    *,
    least: float = 0.0,
    most: float = 1.0,
    trials: float = np.inf,
    fewest: float = 0.0,
) -> Score:
    """The interval of a value between `least` and `most` from its standard error over so many units.

    It is never that of more than `trials` or less than `fewest`. Where units do not differ (all are hit, say) it is
    that of as many trials as there are units.
    """
    place = min(max((value - least) / (most - least), 0.0), 1.0)
    spread = error / (most - least)
    number = min(float(units), trials)
    if np.isfinite(spread) and spread > 1e-9 and 0 < place < 1:
        number = max(min(place * (1 - place) / spread**2 * student(units), trials), fewest)
    low, high = (least + (most - least) * end for end in wilson(place * number, number))
    return Score(value, min(low, value), max(high, value), n)


def mean(values: Array, groups: Array | None = None, *, least: float = 0.0, most: float = 1.0) -> Score:
    """The mean of those `values` (n,) between `least` and `most` that are known (no NaN), by `groups` (n,) or singly;
    its `n` counts these units. It is no wider than Wilson's of a share of them, which varies more than any mean."""
    known = np.isfinite(values)
    if not known.any():
        return NOWHERE
    among = None if groups is None else groups[known]
    estimate = averaged(values[known], among)
    count = int(known.sum()) if among is None else len(np.unique(among))
    return unskewed(estimate, count, least=least, most=most, trials=estimate.units)


def averaged(values: Array, groups: Array | None = None) -> Jackknife:
    """`jackknifed` of the mean of `values` (n,)."""
    return jackknifed(np.stack([values, np.ones(len(values))]), lambda totals: totals[0] / totals[1], groups)


def worth(values: Array, groups: Array) -> float:
    """How many independent pictures each of these (n,) in their groups is worth to a mean, at most 1.

    Where the values do not differ, each group counts once.
    """
    estimate = averaged(values, groups)
    if not estimate.error > 0:
        return estimate.units / len(values)
    return min(1.0, float(np.var(values)) / len(values) / estimate.error**2) * student(estimate.units)
