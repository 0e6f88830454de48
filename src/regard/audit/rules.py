"""The rules by which a method's verdict follows from its scores; docs/audit.md says them in words.

They were fixed before any number was seen. The primary measure is D: the SRG of a method less that of the best of its
controls (centre, edges, and the same method on a randomised network), paired by picture. What D is, and each of its
controls' differences δ, is estimated by the mean; D is the lowest of the δ.

    lower end of D's interval   the lowest lower end of the δ: a method must beat each of its controls
    upper end                   the lowest upper end of the δ, each with the error shared among the controls

so that neither end flatters, whichever control happens to be the best: taking the best of these pictures and testing
against it alone would reach too high, and taking the best anew in each draw too low. The ends of a δ are those of the
studentized bootstrap (Efron and Tibshirani 1993, section 12.5) over pictures or, where they are given, over groups;
methods share the draws, and Holm 1979 the error.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from regard.measurement.intervals import mean
from regard.records import Choice

Floats = NDArray[np.float64]
Name = TypeVar("Name", bound=Hashable)

ALPHA = 0.05
"""The share of audits in which any of the methods may be called better, or worse, than its controls by chance."""
MARGIN = 0.05
"""A difference of SRG that is none: an interval within it is "no better than a control"."""
DRAWS = 10_000
"""Bootstrap draws, so that the corrected error can still be resolved."""
MOST_FAILED = 0.1
"""The share of pictures a method may fail on: what is left of more may not be like the others."""
CHUNK = 500_000
"""Weights of draws that are in memory at once."""


@dataclass(frozen=True)
class Difference:
    """What scores are more than those of the best of their controls: `value` D with its corrected interval, over `n`
    units that have such. `control` is the best one, `twin` one whose scores are the same in every unit ("" for none).
    `of` has by control what they are more than it, with both ends at the corrected error."""

    value: float
    low: float
    high: float
    n: int
    control: str
    twin: str
    of: Mapping[str, tuple[float, float, float]]

    @property
    def smallest(self) -> float:
        """The least D that would have been shown; NaN where so few units can show none."""
        return self.value - self.low if math.isfinite(self.low) else math.nan


@dataclass(frozen=True)
class Judgement:
    """What the rules say of one method: `status` and `why` as a verdict's, D with its corrected interval, over `n`
    pictures or groups; `control` is the best one, `smallest` the least D that would have been called supported (NaN
    where so few can show none)."""

    status: str
    why: str
    value: float
    low: float
    high: float
    n: int
    control: str
    smallest: float


def judge(
    scores: Mapping[str, Floats],
    controls: Mapping[str, Mapping[str, Floats]],
    groups: NDArray[Any] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    unit: str = "picture",
) -> dict[str, Judgement]:
    """The judgement on each method by its `scores` (pictures,) of SRG, NaN where it failed, and those of its controls.

    Pictures count that method and controls have. `groups` (pictures,) hold those together that are not independent.
    """
    compared = differences(scores, controls, groups, seed=seed, draws=draws)
    failed = {method: float(np.mean(np.isnan(values))) for method, values in scores.items()}
    return {method: _judgement(each, failed[method], unit) for method, each in compared.items()}


def differences(
    scores: Mapping[Name, Floats],
    controls: Mapping[Name, Mapping[str, Floats]],
    groups: NDArray[Any] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[Name, Difference]:
    """By name, what `scores` (items,) are more than the best of their `controls`; the error is shared by Holm's steps.

    A mean is over the items that both have; `groups` (items,) hold those together that are not independent.
    """
    of = np.arange(len(next(iter(scores.values())))) if groups is None else np.unique(groups, return_inverse=True)[1]
    pairs = [(method, control) for method in scores for control in controls[method]]
    rows = np.stack([scores[method] - controls[method][control] for method, control in pairs])  # (pairs, items)
    for place, (method, _) in enumerate(pairs):
        for other in controls[method].values():
            rows[place, np.isnan(other)] = np.nan
    ends = _Bootstrap(rows, of, seed, draws)
    of_method = {method: [place for place, pair in enumerate(pairs) if pair[0] == method] for method in scores}
    levels = _holm({method: ends.p(places) for method, places in of_method.items()})
    by_method = {}
    for method, places in of_method.items():
        low, high = ends.interval(places, levels[method])
        best = places[int(np.argmin(ends.means[places]))]
        twin = next((pairs[place][1] for place in places if ends.units[place] > 2 and ends.is_zero(place)), "")
        each = {
            pairs[place][1]: (float(ends.means[place]), *ends.interval([place], levels[method])) for place in places
        }
        by_method[method] = Difference(
            float(ends.means[best]), low, high, int(ends.units[best]), pairs[best][1], twin, each
        )
    return by_method


def _judgement(difference: Difference, failed: float, unit: str) -> Judgement:
    """`failed` is a share."""
    low, high, control, smallest = difference.low, difference.high, difference.control, difference.smallest
    several = f"{difference.n} {unit}{'' if difference.n == 1 else 's'}"
    detectable = f"a difference of {smallest:.3f} or more" if math.isfinite(smallest) else "no difference"
    if failed > MOST_FAILED:
        status = "not decidable"
        why = f"it failed on {failed:.0%} of the pictures, and the others may not be like those"
    elif low > 0:
        status = "supported"
        why = f"its SRG is higher than that of the best control, {control}: all of the interval is above 0"
    elif high < 0:
        status = "contradicted"
        why = f"its SRG is lower than that of the best control, {control}: all of the interval is below 0"
    elif difference.twin:
        status = "no better than a control"
        why = f"its map is that of a control, {difference.twin}: their SRG is the same on every picture"
    elif low >= -MARGIN and high <= MARGIN:
        status = "no better than a control"
        why = f"its SRG is that of the best control, {control}: all of the interval is within ± {MARGIN}"
    else:
        status = "not decidable"
        why = f"the interval holds 0 and reaches beyond ± {MARGIN} of {control}; {several} can show {detectable}"
    return Judgement(status, why, difference.value, low, high, difference.n, control, smallest)


def _holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """At what error each method is tested, two-sided: Holm's steps, the last of them for all that are not shown."""
    levels = {}
    level = 0.0
    stopped = False
    for place, method in enumerate(sorted(p, key=lambda name: p[name])):
        level = level if stopped else ALPHA / (len(p) - place)
        stopped = stopped or p[method] > level
        levels[method] = level
    return levels


class _Bootstrap:
    """The studentized bootstrap of the means of `rows` (pairs, pictures), NaN left out, over units (pictures,) int.

    `means` (pairs,), `errors` (pairs,) their standard errors, `units` (pairs,) how many there are; `t` (pairs, draws)
    is by how many standard errors of its own each draw's mean is off, sorted.
    """

    def __init__(self, rows: Floats, of: NDArray[np.int64], seed: int, draws: int) -> None:
        finite = np.isfinite(rows)
        count = int(of.max()) + 1
        sizes = np.stack([np.bincount(of, row, count) for row in finite.astype(np.float64)])  # (pairs, units)
        sums = np.stack([np.bincount(of, row, count) for row in np.where(finite, rows, 0.0)])
        totals = sizes.sum(axis=1)
        self.means = np.divide(sums.sum(axis=1), totals, out=np.full(len(rows), np.nan), where=totals > 0)
        self.units = (sizes > 0).sum(axis=1)
        off = sums - self.means[:, None] * sizes  # what each unit adds to the error of the mean
        off = np.where(np.isfinite(off), off, 0.0)
        off[np.abs(off) < 1e-12] = 0.0
        # The standard error is linear in these sums, in a draw as in the whole (a ratio's, Cochran 1977, eq. 6.13).
        features = np.stack([off, sizes, off * off, off * sizes, sizes * sizes]).reshape(-1, count).T
        whole = np.ones((1, count)) @ features
        self.errors = self._errors(whole.reshape(5, -1))[:, 0]
        rng = np.random.default_rng(seed)
        parts = []
        size = max(CHUNK // count, 1)
        for start in range(0, draws, size):
            part = rng.integers(0, count, (min(size, draws - start), count))
            part += np.arange(len(part))[:, None] * count
            weights = np.bincount(part.ravel(), minlength=part.size).reshape(part.shape).astype(np.float64)
            sums_of = (weights @ features).T.reshape(5, len(rows), -1)
            with np.errstate(divide="ignore", invalid="ignore"):
                t = sums_of[0] / sums_of[1] / self._errors(sums_of)
            # a draw whose units do not differ says nothing of the spread: it is off as far as can be, to its side
            parts.append(np.where(np.isnan(t), np.inf, t))
        self.t = np.sort(np.concatenate(parts, axis=1), axis=1)

    def _errors(self, sums: Floats) -> Floats:
        """(5, pairs, draws) sums over units → (pairs, draws) standard errors."""
        off, sizes, off_off, off_sizes, sizes_sizes = sums.reshape(5, len(self.means), -1)
        factor = (self.units / np.maximum(self.units - 1, 1))[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = off / sizes
            squares = off_off - 2 * shift * off_sizes + shift * shift * sizes_sizes
            error: Floats = np.sqrt(np.maximum(squares, 0.0) * factor) / sizes
        return np.where(squares > 1e-12 * np.maximum(off_off, 1e-300), error, 0.0)

    def is_zero(self, place: int) -> bool:
        """Whether there is no difference in any unit."""
        return bool(self.units[place] > 0 and self.errors[place] == 0 and self.means[place] == 0)

    def p(self, places: Sequence[int]) -> float:
        """Of D = 0, two-sided: how rarely draws are as far off as all controls are below, or as any is above."""
        below = max(self._tail(place, 1.0) for place in places)
        above = min(len(places) * min(self._tail(place, -1.0) for place in places), 1.0)
        return min(2 * min(below, above), 1.0)

    def _tail(self, place: int, sign: float) -> float:
        """The share of draws at least as far off as the mean is from 0, to the side of `sign`."""
        if not self.errors[place] > 0 or self.units[place] < 2:
            return 1.0
        t = self.t[place]
        observed = self.means[place] / self.errors[place]
        beyond = len(t) - np.searchsorted(t, observed) if sign > 0 else np.searchsorted(t, observed, side="right")
        return float(beyond + 1) / (len(t) + 1)

    def interval(self, places: Sequence[int], level: float) -> tuple[float, float]:
        """D's ends at this two-sided error."""
        low = min(self._end(place, level / 2, 1.0) for place in places)
        high = min(self._end(place, level / 2 / len(places), -1.0) for place in places)
        return low, high

    def _end(self, place: int, error: float, sign: float) -> float:
        """One end of a δ at this one-sided error: the lower one for a `sign` of 1; infinite where draws cannot say."""
        mean_of = float(self.means[place])
        if self.units[place] >= 2 and self.is_zero(place):
            return 0.0  # a map like the control's own: there is nothing to vary
        t = self.t[place]
        rank = math.floor(error * (len(t) + 1) + 1e-9)
        if rank < 1 or self.units[place] < 2 or not self.errors[place] > 0:
            return -sign * math.inf
        return mean_of - float(t[-rank] if sign > 0 else t[rank - 1]) * float(self.errors[place])


def best_of_halves(
    scores: Mapping[str, Floats], groups: NDArray[Any] | None = None, *, seed: int = 0
) -> tuple[Choice, ...]:
    """The method with the highest mean SRG on one half of the pictures, reported on the other; both ways round.

    Halves are drawn by the seed, of groups where they are given. None of fewer than two methods or
    four units, nor where all failed on one half.
    """
    count = len(next(iter(scores.values()), ()))
    of = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(of.max()) + 1 if count else 0
    if len(scores) < 2 or units < 4:
        return ()
    first = np.isin(of, np.random.default_rng(seed).permutation(units)[: units // 2])
    choices = []
    for name, half in (("first", first), ("second", ~first)):
        means = {
            method: np.nanmean(values[half]) for method, values in scores.items() if np.isfinite(values[half]).any()
        }
        if not means:
            return ()
        method = max(means, key=lambda each: means[each])
        picked, reported = (
            mean(scores[method][part], None if groups is None else groups[part], least=-1.0, most=1.0)
            for part in (half, ~half)
        )
        choices.append(Choice(name, method, picked, reported))
    return tuple(choices)
