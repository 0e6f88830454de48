"""Whether the parts that a method shares a logit out among sum to it, and which of them lie on no patch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.records.display import Readable

INCOMPLETE = 0.01
"""The relative gap from which on it is said."""


@dataclass(frozen=True, repr=False)
class Completeness(Readable):
    """What a method shares out, for one map of it: `map.sum() + rest` is `sum`, and that is `logit - baseline` but for
    `gap`. All are in logits.

    `logit` is that of the map's class or, of one class against another, the difference of the two. `baseline` is the
    same number where the sharing out begins: of a grey picture (integrated gradients), of no patch at all (Shapley
    values), or 0 (LibraGrad). What no patch is given is `rest`: `prefix` lies on CLS, registers and all other tokens
    that are no patch, `biases` belong to no token at all (of the head, of a pooling).

    >>> share = Completeness(logit=3.0, baseline=0.5, sum=2.4, prefix=1.5, biases=0.25)
    >>> share.rest, round(share.gap, 6), round(share.relative_gap, 6)
    (1.75, -0.1, 0.04)
    >>> print(share)
    map 0.650 + rest 1.750 = 2.400 of 2.500 (logit 3.000 - baseline 0.500), off by 4.0 %
    """

    logit: float
    baseline: float
    sum: float
    prefix: float = 0.0
    biases: float = 0.0

    @property
    def rest(self) -> float:
        """What the map does not hold."""
        return self.prefix + self.biases

    @property
    def gap(self) -> float:
        """How far the sum is from what it should be; 0 where the method is complete."""
        return self.sum - (self.logit - self.baseline)

    @property
    def relative_gap(self) -> float:
        """The gap, without its sign, as a share of `logit - baseline`; infinite where that alone is 0."""
        whole = abs(self.logit - self.baseline)
        return abs(self.gap) / whole if whole else float("inf") if self.gap else 0.0

    def __str__(self) -> str:
        whole = f"logit {self.logit:.3f}"
        if self.baseline:
            whole = f"{self.logit - self.baseline:.3f} ({whole} - baseline {self.baseline:.3f})"
        parts = f"map {self.sum - self.rest:.3f} + rest {self.rest:.3f} = {self.sum:.3f}"
        return f"{parts} of {whole}, off by {100 * self.relative_gap:.1f} %"

    def as_json(self) -> dict[str, float | None]:
        """All numbers, those that follow from others too; null where one is not finite, as JSON has no NaN."""
        names = ("logit", "baseline", "prefix", "biases", "rest", "sum", "gap", "relative_gap")
        numbers = {name: float(getattr(self, name)) for name in names}
        return {name: value if np.isfinite(value) else None for name, value in numbers.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """From what `as_json` gave; None for None."""
        if stored is None:
            return None
        numbers = {each.name: stored[each.name] for each in fields(cls)}
        return cls(**{name: float("nan") if value is None else float(value) for name, value in numbers.items()})


def relative_gaps(records: Iterable[Completeness | None]) -> NDArray[np.float64]:
    """Those of all maps that have any."""
    return np.fromiter((each.relative_gap for each in records if each is not None), np.float64)


def gaps_in_words(gaps: NDArray[np.float64]) -> str:
    """ "7.1 %", or "7.1 % (median; at most 23.0 %)"; "" for none."""
    if len(gaps) > 1:
        return f"{100 * np.median(gaps):.1f} % (median; at most {100 * gaps.max():.1f} %)"
    return f"{100 * gaps[0]:.1f} %" if len(gaps) else ""
