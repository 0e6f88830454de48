"""The order of pictures in shards: a pure function of (seed, epoch, position), nearly in sequence where they are read.

Blocks, runs of neighbours that are read together, are permuted; then, of so many blocks at a time (a window), all
pictures. Any position is reached without those before it, so that a training that goes on reads what it would have
read; and at no time are more blocks open than a window has. Numbers come from SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014) and a sort, so that no library's version has a part in it.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

WINDOW = 64
"""Blocks that are mixed with each other."""
_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


class BlockOrder:
    """An epoch's order of pictures that lie in blocks of these `sizes`, one behind the other.

    >>> BlockOrder([2, 3, 2], seed=0, epoch=0, window=2).indices().tolist()
    [3, 4, 1, 2, 0, 6, 5]
    """

    def __init__(self, sizes: ArrayLike, seed: int, epoch: int, window: int = WINDOW) -> None:
        self.sizes = np.asarray(sizes, np.int64).reshape(-1)
        self.window = max(1, window)
        self._seed = (seed, epoch)
        self._firsts = np.concatenate([[0], np.cumsum(self.sizes)])  # (blocks + 1,): where each begins in DATA
        self.blocks = _permutation((*self._seed, 0), len(self.sizes))
        ends = np.cumsum(self.sizes[self.blocks])
        last = np.arange(self.window - 1, len(ends) + self.window - 1, self.window).clip(max=len(ends) - 1)
        self._starts = np.concatenate([[0], ends[last] if len(ends) else []]).astype(np.int64)  # (windows + 1,)
        self._within = lru_cache(maxsize=4)(self._read_window)

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, position: int) -> int:
        """The picture at a position. Raises `IndexError` beyond the end."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        window = int(np.searchsorted(self._starts, position, side="right")) - 1
        return int(self._within(window)[position - int(self._starts[window])])

    def indices(self) -> NDArray[np.int64]:
        """(pictures,) all of them in order."""
        windows = [self._read_window(window) for window in range(len(self._starts) - 1)]
        return np.concatenate(windows) if windows else np.zeros(0, np.int64)

    def _read_window(self, window: int) -> NDArray[np.int64]:
        """The pictures of a window, in order."""
        blocks = self.blocks[window * self.window : (window + 1) * self.window]
        pictures = [np.arange(self._firsts[block], self._firsts[block + 1]) for block in blocks]
        together = np.concatenate(pictures)
        return together[_permutation((*self._seed, 1 + window), len(together))]


def runs_of(blocks: Sequence[object]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The block of each picture → the pictures by block, in order of their first; how many each block has."""
    numbers: dict[object, int] = {}
    ids = np.array([numbers.setdefault(block, len(numbers)) for block in blocks], np.int64)
    return np.argsort(ids, kind="stable"), np.bincount(ids, minlength=len(numbers)).astype(np.int64)


def _permutation(seed: Sequence[int], count: int) -> NDArray[np.int64]:
    """0 to `count` - 1, sorted by numbers of SplitMix64, which are all different."""
    key = 0
    for part in seed:
        key = _mix(key ^ (part & _MASK))
    numbers = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_STEP)) + np.uint64(key)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(numbers ^ (numbers >> np.uint64(31)), kind="stable")


def _mix(value: int) -> int:
    """The next number of SplitMix64 from a state."""
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
