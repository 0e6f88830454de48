"""Runs of neighbours in a shard that are read together, a few megabytes each: the blocks of a training's order."""

import numpy as np
from numpy.typing import NDArray

SPAN = 2 << 20
"""Bytes that are read at once; a picture that is larger stands alone."""


def spans(offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """For each picture of a shard the (start, stop) bytes of the run that it lies in; runs depend on nothing else."""
    runs: list[tuple[int, int]] = [(0, 0)] * len(offsets)
    group: list[int] = []
    start = 0
    for place in np.argsort(offsets, kind="stable").tolist():
        stop = int(offsets[place] + sizes[place])
        if group and stop - start > SPAN:
            last = group[-1]
            _fill(runs, group, start, int(offsets[last] + sizes[last]))
            group = []
        if not group:
            start = int(offsets[place])
        group.append(place)
    if group:
        _fill(runs, group, start, int(offsets[group[-1]] + sizes[group[-1]]))
    return runs


def _fill(runs: list[tuple[int, int]], group: list[int], start: int, stop: int) -> None:
    for place in group:
        runs[place] = (start, stop)
