"""What all draws share: groups, predictions, and what a draw is."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from regard.records import Predictions, Score

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]
Random = np.random.Generator
Drawn = tuple[float, Iterator[Score]]
"""The truth, and a score of each draw."""
Draw = Callable[[Random, float, int], Drawn]


@dataclass(frozen=True)
class Groups:
    """`count` groups whose sizes are `sizes`, repeated; `alike` is the correlation of two pictures of one group."""

    count: int
    sizes: tuple[int, ...]
    alike: float = 0.3

    def __str__(self) -> str:
        sizes = f"{self.sizes[0]}" if len(self.sizes) == 1 else f"{min(self.sizes)} to {max(self.sizes)}"
        return f"{self.count} of {sizes}"

    @property
    def units(self) -> Ints:
        """(n,) the group of each picture."""
        return np.repeat(np.arange(self.count), np.resize(self.sizes, self.count))

    def chances(self, random: Random, p: float, draws: int) -> Floats:
        """(draws, n) chance of each picture: one of its group's, drawn about `p`."""
        wide = 1 / self.alike - 1
        each = random.beta(p * wide, (1 - p) * wide, (draws, self.count))
        return np.clip(each, 1e-3, 1 - 1e-3)[:, self.units]


def predictions(
    labels: Ints,
    predicted: Ints,
    classes: int,
    units: Ints | None = None,
    probabilities: Singles | None = None,
    confidence: Singles | None = None,
) -> Predictions:
    names = numbered(len(labels))
    return Predictions(names, numbered(classes), predicted, labels, probabilities, units, {}, confidence)


@cache
def numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def answers(random: Random, labels: Ints, right: Bools, classes: int) -> Ints:
    """(draws, n) the label where `right`, else any other class."""
    wrong = random.integers(classes - 1, size=right.shape)
    return np.where(right, labels, wrong + (wrong >= labels))


Row = TypeVar("Row")


def once(function: Callable[[Row], Score], rows: Iterable[Row], keys: Iterable[Hashable]) -> Iterator[Score]:
    """The score of each, computed once of those with the same key: what the function looks at."""
    known: dict[Hashable, Score] = {}
    for row, key in zip(rows, keys, strict=True):
        if key not in known:
            known[key] = function(row)
        yield known[key]
