"""95 % intervals: Wilson's for shares, with an effective number by group; Newcombe's for pairs; the bootstrap.

What is drawn again is the unit: a picture, or a whole group of them. Of each stratum one unit fewer is drawn than there
are, so that the variance is unbiased in strata of two as well as of two thousand (McCarthy and Snowden 1985; Rao and
Wu 1988), and weighted so that the stratum keeps its size.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import stdtrit

from regard.records import Score

Z = 1.959963984540054
"""The standard normal quantile of a two-sided 95 % interval."""

NOWHERE = Score(float("nan"), float("nan"), float("nan"), 0)
"""The score of nothing at all."""

_CHUNK = 400_000  # weights held at a time: 3 MB, about what a cache holds

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

    n over the design effect (Kish 1965) with Student's t of the groups' number in place of the normal's quantile, as
    Korn and Graubard 1998 do for surveys. Where all hit or all miss, each group counts once.
    """
    n = len(hits)
    value = float(np.mean(hits))
    _, of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(of)
    count = len(sizes)
    if count < 2 or value in (0.0, 1.0):
        return float(count)
    residuals = np.bincount(of, weights=hits) - value * sizes
    variance = count / (count - 1) * float(residuals @ residuals) / n**2
    alike = value * (1 - value) / variance if variance > value * (1 - value) / n else n
    return float(alike * (Z / stdtrit(count - 1, 0.975)) ** 2)


def newcombe(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
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


def bootstrapped(
    sums: Array | csr_array,
    statistic: Callable[[Floats], Floats],
    *,
    groups: Array | None = None,
    strata: Array | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, Floats]:
    """A statistic of sums over pictures, and its values (resamples,) when units are drawn again.

    `sums` (k, n) is what each picture adds to k sums; `statistic` maps (k, any) sums to (any,) values. Units are the
    `groups` (n,) or single pictures; they are drawn within their `strata` (n,), unless a group lies in several.
    """
    per_picture = csr_array(sums)
    pictures = per_picture.shape[1]
    unit, places = _units(groups, strata, pictures)
    belongs = csr_array((np.ones(pictures), (np.arange(pictures), unit)), shape=(pictures, len(places)))
    per_unit = csr_array(per_picture @ belongs)  # (k, units)
    whole = np.asarray(per_unit.sum(axis=1), dtype=np.float64).reshape(-1, 1)
    values = [
        statistic(per_unit @ np.ascontiguousarray(weights.T)) for weights in _weights(places, seed, resamples)
    ]  # each (part of the resamples,)
    return float(statistic(whole)[0]), np.concatenate(values)


def mean(
    values: Array, groups: Array | None = None, *, signed: bool = False, seed: int = 0, resamples: int = 2000
) -> Score:
    """The mean of those `values` (n,) that are known (no NaN), with the interval from drawing `groups` (n,) or single
    ones again; `n` counts what is drawn.

    Values lie in [0, 1], with `signed` in [-1, 1]. Where resamples do not differ (all are hit, say) it is Wilson's
    interval, of as many trials as there are groups; of signed values that of their place between -1 and 1.
    """
    known = np.isfinite(values)
    if not known.any():
        return NOWHERE
    groups = np.arange(len(values)) if groups is None else groups
    count = len(np.unique(groups[known]))
    value, drawn = bootstrapped(
        np.stack([values[known], np.ones(known.sum())]),
        lambda totals: totals[0] / totals[1],
        groups=groups[known],
        seed=seed,
        resamples=resamples,
    )
    if not signed:
        return percentile(value, drawn, count, count)
    half = percentile((value + 1) / 2, (drawn + 1) / 2, count, count)
    return Score(2 * half.value - 1, 2 * half.low - 1, 2 * half.high - 1, count)


def _units(groups: Array | None, strata: Array | None, pictures: int) -> tuple[Array, Array]:
    """The unit (pictures,) that each picture belongs to, and the stratum (units,) of each unit, both from 0."""
    unit = np.arange(pictures) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(unit.max()) + 1
    if strata is None:
        return unit, np.zeros(count, np.int64)
    code = np.unique(strata, return_inverse=True)[1]
    of = np.zeros(count, np.int64)
    of[unit] = code
    if not np.array_equal(of[unit], code):  # a group with pictures of several classes
        return unit, np.zeros(count, np.int64)
    return unit, _pooled(of)


def _pooled(strata: Array) -> Array:
    """Strata in which something can be drawn: those of a single unit go together, a last one to the next smallest."""
    sizes = np.bincount(strata)
    order = np.argsort(sizes, kind="stable")
    single = order[: np.count_nonzero(sizes == 1)]
    if len(single) == 1:
        single = order[:2]
    to = np.arange(len(sizes))
    to[single] = single[0] if len(single) else 0
    return np.unique(to[strata], return_inverse=True)[1]


def _weights(strata: Array, seed: int, resamples: int) -> Iterator[Floats]:
    """Parts (some of the resamples, units) of the weights that a resample gives each unit."""
    generator = np.random.default_rng(seed)
    order = np.argsort(strata, kind="stable")
    sizes = np.bincount(strata)
    draws = np.maximum(sizes - 1, 1)
    high = np.repeat(sizes, draws).astype(np.float64)
    low = np.repeat(np.cumsum(sizes) - sizes, draws)
    scale = (sizes / draws)[strata]
    step = max(1, _CHUNK // len(strata))
    for start in range(0, resamples, step):
        part = np.empty((min(step, resamples - start), len(strata)))
        for row in part:
            picks = (generator.random(len(low)) * high).astype(np.int64) + low
            row[order] = np.bincount(picks, minlength=len(strata))
        yield part * scale


def percentile(value: float, values: Floats, n: int, effective: float | None = None) -> Score:
    """The percentile interval of bootstrap `values` (resamples,); see `_settled` for what it does without any."""
    values = values[np.isfinite(values)]
    if _still(values):
        return _constant_score(value, n, effective)
    low, high = np.percentile(values, (2.5, 97.5))
    return Score(value, min(float(low), value), max(float(high), value), n)


def basic(value: float, values: Floats, n: int, least: float = 0.0) -> Score:
    """The basic interval, mirrored at `value`: for a statistic that resampling pushes up, such as ECE.

    Davison and Hinkley 1997, eq. 5.6. It is cut at `least` and always holds the value.
    """
    values = values[np.isfinite(values)]
    if _still(values):
        return _constant_score(value, n, None)
    low, high = 2 * value - np.percentile(values, (97.5, 2.5))
    return Score(value, max(min(float(low), value), least), max(float(high), value), n)


def _still(values: Floats) -> bool:
    """Whether the resamples do not differ: a bootstrap then knows nothing."""
    return len(values) == 0 or float(np.ptp(values)) < 1e-9


def _constant_score(value: float, n: int, effective: float | None) -> Score:
    """Without any change between resamples: Wilson's interval of a share from `effective` pictures, else none."""
    if effective is None or not np.isfinite(value):
        return Score(value, float("nan"), float("nan"), n)
    number = min(max(value, 0.0), 1.0) * effective
    return Score(value, *wilson(number, effective), n)
