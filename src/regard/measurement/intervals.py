"""95 % intervals: Wilson's for shares, and for all else between two bounds that of as many trials as tell as much.

What varies is the unit: a picture, or a whole group of them. A value's standard error is the jackknife's over units;
the interval is Wilson's of as many trials as would have that error, with Student's t of the units' number in place of
the normal's quantile, as Korn and Graubard 1998 do for surveys. So it is wider towards the middle near either bound,
and never leaves them. How often each holds the truth is simulated by bench/coverage.py.
"""

from collections.abc import Callable
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
    return float(sizes.sum() ** 2 / (sizes.astype(np.float64) @ sizes))


def student(units: float) -> float:
    """By what a number of trials shrinks where its variance is known from so few units: (z / t)²."""
    from scipy.special import stdtrit  # late: what only counts has no use for it

    return float((Z / stdtrit(max(units - 1, 1.0), 0.975)) ** 2)


def newcombe(both: float, first: float, second: float, neither: float) -> tuple[float, float]:
    """The 95 % interval of a paired difference of shares (`first` − `second`) / n, in [-1, 1].

    Counts of pairs: right in both, in the first only, in the second only, in neither. Newcombe 1998, Statistics in
    Medicine 17:2635, method 10: Wilson's two intervals joined with a correlation that is corrected for continuity.
    """
    n = both + first + second + neither
    one = (both + first) / n
    other = (both + second) / n
    low1, high1 = wilson(both + first, n)
    low2, high2 = wilson(both + second, n)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    excess = both * neither - first * second
    corrected = max(excess - n / 2, 0) if excess > 0 else excess
    phi = corrected / np.sqrt(margins) if margins else 0.0
    down = _joined(one - low1, high2 - other, phi)
    up = _joined(high1 - one, other - low2, phi)
    return max(one - other - down, -1.0), min(one - other + up, 1.0)


def _joined(a: float, b: float, phi: float) -> float:
    return float(np.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0)))


def jackknifed(
    sums: Array, statistic: Callable[[Floats], Floats], groups: Array | None = None
) -> tuple[float, float, float]:
    """A statistic of sums over pictures, its standard error (NaN of a single unit), and how many units there are.

    `sums` (k, n) is what each picture adds to k sums; `statistic` maps (k, any) sums to (any,) values. Units are the
    `groups` (n,) or single pictures; each is left out in turn (Efron and Tibshirani 1993, eq. 11.5). Groups of several
    sizes count as fewer of one size.
    """
    per_unit = np.asarray(sums, np.float64)
    units = float(per_unit.shape[1])
    if groups is not None:
        unit = np.unique(groups, return_inverse=True)[1]
        per_unit = np.stack([np.bincount(unit, weights=row) for row in per_unit])  # (k, units)
        units = equal_units(np.bincount(unit))
    whole = per_unit.sum(axis=1, keepdims=True)
    value = float(statistic(whole)[0])
    count = per_unit.shape[1]
    if count < 2:
        return value, float("nan"), units
    left_out = statistic(whole - per_unit)  # (units,)
    return value, float(np.sqrt((count - 1) * np.var(left_out))), units


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
    its `n` counts these units."""
    known = np.isfinite(values)
    if not known.any():
        return NOWHERE
    among = None if groups is None else groups[known]
    value, error, units = averaged(values[known], among)
    count = int(known.sum()) if among is None else len(np.unique(among))
    return bounded(value, error * (1 + 1 / units), units, count, least=least, most=most)


def averaged(values: Array, groups: Array | None = None) -> tuple[float, float, float]:
    """`jackknifed` of the mean of `values` (n,)."""
    return jackknifed(np.stack([values, np.ones(len(values))]), lambda totals: totals[0] / totals[1], groups)


def worth(values: Array, groups: Array) -> float:
    """How many independent pictures each of these (n,) in their groups is worth to a mean, at most 1.

    Where the values do not differ, each group counts once.
    """
    _, error, units = averaged(values, groups)
    if not error > 0:
        return units / len(values)
    return min(1.0, float(np.var(values)) / len(values) / error**2) * student(units)
