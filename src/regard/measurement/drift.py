"""A mean over any number of pictures and what it changed by between two dates, from sums by shard alone.

What varies is the shard where there are enough: pictures of one shard often come from one place and day, and are no
independent draws. With fewer it is the picture, which is said. Where both dates have the same pictures, the difference
is taken of each.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.measurement.intervals import ALIKE, NOWHERE
from regard.records import Score

SHARDS = 10
"""So many shards vary by themselves; of fewer their spread is not known well enough."""
BY_PICTURE = "interval by picture: fewer than 10 shards"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Of each shard (shards,): how many values, their sum, and that of their squares."""

    counts: Floats
    sums: Floats
    squares: Floats

    @classmethod
    def of(cls, rows: "list[tuple[float, float, float]]") -> "Sums":
        """From (count, sum, sum of squares) of each shard."""
        counts, sums, squares = np.array(rows, np.float64).reshape(-1, 3).T
        return cls(counts, sums, squares)

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def is_by_shard(self) -> bool:
        return int((self.counts > 0).sum()) >= SHARDS

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.n) if self.n else math.nan

    def variance(self, by_shard: bool) -> tuple[float, float]:
        """Of the mean, and the degrees of freedom that it is known with; NaN where nothing can vary.

        By shard it is that of a ratio of sums (Cochran 1977, eq. 6.13, without the finite correction).
        """
        units = float((self.counts > 0).sum()) if by_shard else float(self.n)
        if units < 2:
            return math.nan, math.nan
        residuals = self.sums - self.mean * self.counts
        spread = residuals @ residuals if by_shard else max(0.0, self.squares.sum() - self.n * self.mean**2)
        return float(units / (units - 1) * spread / self.n**2), units - 1


def mean_of(sums: Sums) -> Score:
    """The mean with its 95 % interval, Student's t."""
    if not sums.n:
        return NOWHERE
    variance, freedom = sums.variance(sums.is_by_shard)
    return _score(sums.mean, variance, freedom, sums.n, sums.is_by_shard)


def drift_of(now: Sums, before: Sums) -> Score:
    """How much the mean has changed, of other pictures: Welch's interval."""
    if not (now.n and before.n):
        return NOWHERE
    by_shard = now.is_by_shard and before.is_by_shard
    parts = [each.variance(by_shard) for each in (now, before)]
    variance = sum(each for each, _ in parts)
    below = sum(each**2 / freedom for each, freedom in parts)
    freedom = variance**2 / below if below else math.inf
    return _score(now.mean - before.mean, variance, freedom, now.n + before.n, by_shard)


def _score(value: float, variance: float, freedom: float, n: int, by_shard: bool) -> Score:
    if not variance > 0:
        return Score(value, math.nan, math.nan, n, note=ALIKE)
    from scipy.special import stdtrit  # late: what only counts has no use for it

    half = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    return Score(value, value - half, value + half, n, note="" if by_shard else BY_PICTURE)
