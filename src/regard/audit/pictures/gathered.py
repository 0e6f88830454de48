"""What the parts measured, of all pictures: arrays by what they are of, read from the entries one by one."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.audit.pictures.chunk import Floats, Ints, Key
from regard.measurement import METRICS
from regard.measurement.intervals import ALIKE, NOWHERE, averaged, mean, paired, unskewed
from regard.measurement.measure import labelled
from regard.records import Failure, Score

SPECIFIC = re.compile(r"\S*[\d/\\]\S*")
"""Words with a number or a file in them."""
NAMED = 5
"""Pictures that a failure names."""
FAR = 100.0
"""Beyond what any measure without bounds can be."""
RANGES: Mapping[str, tuple[float, float]] = {"endpoint": (-1.0, 1.0)}
"""Of measures that are no rows of METRICS, those that do not lie in [0, 1]."""


@dataclass
class Gathered:
    """The pictures that were measured, as `indices` (n,) into those that were asked for, in order.

    `numbers` (n,) by measure, subject and condition are NaN where there is none; `curves` (n, 2, points) by method and
    occluder; `changed` (n,) the class that is predicted where something was changed, -1 where nothing was.
    """

    indices: Ints
    predicted: Ints
    probabilities: NDArray[np.float32]
    numbers: dict[Key, Floats] = field(default_factory=dict)
    curves: dict[tuple[str, str], Floats] = field(default_factory=dict)
    changed: dict[str, Ints] = field(default_factory=dict)
    failures: dict[str, dict[int, str]] = field(default_factory=dict)
    masks: dict[int, str] = field(default_factory=dict)
    groups: NDArray[Any] | None = None

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]], count: int, classes: int, points: int) -> "Gathered":
        """From the `count` entries that chunks wrote; memory holds a number for each measure of each picture."""
        gathered = cls(np.empty(count, np.int64), np.empty(count, np.int64), np.empty((count, classes), np.float32))
        for row, entry in enumerate(entries):
            gathered.indices[row] = entry["index"]
            gathered.predicted[row] = entry["predicted"]
            gathered.probabilities[row] = entry["probabilities"]
            for key, value in entry["numbers"].items():
                measure, subject, condition = key.split("\x1f")
                gathered.numbers.setdefault((measure, subject, condition), np.full(count, np.nan))[row] = value
            for key, value in entry["curves"].items():
                name, occluder = key.split("\x1f")
                gathered.curves.setdefault((name, occluder), np.full((count, 2, points), np.nan))[row] = value
            for key, value in entry["changed"].items():
                gathered.changed.setdefault(key, np.full(count, -1, np.int64))[row] = value
            for key, value in entry["failures"].items():
                gathered.failures.setdefault(key, {})[row] = value
            if entry["mask"] is not None:
                gathered.masks[row] = entry["mask"]
        return gathered

    def __len__(self) -> int:
        return len(self.indices)

    def get(self, measure: str, subject: str = "", condition: str = "") -> Floats | None:
        """(n,): the numbers of this key; None where there are none."""
        return self.numbers.get((measure, subject, condition))

    def score(self, values: Floats | None, measure: str, signed: bool = False) -> Score:
        """The mean of numbers (n,) with its interval, by group where there are any; `signed` of a difference."""
        if values is None or not np.isfinite(values).any():
            return labelled(measure, NOWHERE)
        finite = values[np.isfinite(values)]
        groups = None if self.groups is None else self.groups[np.isfinite(values)]
        low, high = RANGES.get(measure, (0.0, 1.0))
        if measure in METRICS:
            least, most = METRICS[measure].range
            low, high = (-FAR if least is None else least), (FAR if most is None else most)
        if signed and low >= 0:
            low, high = low - high, high - low
        count = len(finite) if groups is None else len(np.unique(groups))
        if low >= 0 and high <= 1:
            return labelled(measure, mean(finite, groups, least=low, most=high))
        if groups is None and np.isin(finite, (-1.0, 0.0, 1.0)).all() and (low, high) == (-1.0, 1.0):
            ends = paired(float((finite > 0).sum()), float((finite < 0).sum()), count)
            return labelled(measure, Score(float(finite.mean()), *ends, count))
        if np.ptp(finite) == 0:
            return labelled(measure, Score(float(finite[0]), np.nan, np.nan, count, note=ALIKE))
        return labelled(measure, unskewed(averaged(finite, groups), count, least=low, most=high))

    def failed(self, names: tuple[str, ...]) -> list[Failure]:
        """What failed on some pictures, those that were skipped, and those whose mask is no use; `names` are all
        pictures'. Reasons that differ in numbers and files alone are one, the first."""
        failures = []
        unread = np.setdiff1d(np.arange(len(names)), self.indices)
        if len(unread):
            among = [names[index] for index in unread[:NAMED]]
            failures.append(Failure("reading", len(unread), tuple(among), "it is no picture that can be read"))
        for subject, failed in self.failures.items():
            among = [names[self.indices[row]] for row in failed]
            failures.append(Failure(subject, len(failed), tuple(among[:NAMED]), next(iter(failed.values()))))
        by_reason: dict[str, list[int]] = {}
        for row, reason in self.masks.items():
            by_reason.setdefault(SPECIFIC.sub("", reason), []).append(row)
        for rows in by_reason.values():
            among = [names[self.indices[row]] for row in rows]
            failures.append(Failure("the mask", len(rows), tuple(among[:NAMED]), self.masks[rows[0]]))
        return failures
