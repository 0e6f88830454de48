"""Grid pointing game, which needs no mask: does a map of one class find its picture among three of other classes?

The montage has the size of the network's input; its cells are whole numbers of patches, so that none has two pictures.
Where a side has an odd number of patches the middle one is left grey, and counts for no cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import DataError
from regard.measurement.chance import generator_of_name
from regard.measurement.localisation.measures import Floats, Ints

CELLS = 4
CHANCE = 1 / CELLS
CONFIDENT = 0.9
"""A picture takes part where the network gives its own class at least this probability."""
FEWEST = 30
"""With fewer montages nothing can be decided."""


@dataclass(frozen=True)
class Montages:
    """Which pictures make each montage, `pictures` (montages, 4) indices, row by row; `cell` (montages,) is the place
    of the one whose class is explained, `targets` (montages,) that class."""

    pictures: Ints
    cell: Ints
    targets: Ints

    def __len__(self) -> int:
        return len(self.cell)


def montages(
    names: Sequence[str],
    predicted: NDArray[Any],
    confidence: NDArray[Any],
    labels: NDArray[Any] | None = None,
    *,
    seed: int = 0,
    confident: float = CONFIDENT,
) -> Montages:
    """A montage for each picture that is classified with at least this confidence, beside three of other classes.

    `predicted` (pictures,) are classes, `confidence` (pictures,) their probabilities; where there are `labels`
    (pictures,), pictures that are classified wrongly take no part. Which three, and where, is drawn from the seed and
    the picture's name. Fewer than `FEWEST` decide nothing; there are none with fewer than four classes.
    """
    sure = np.asarray(confidence) >= confident
    if labels is not None:
        sure &= np.asarray(labels) == predicted
    order = sorted(np.flatnonzero(sure).tolist(), key=lambda index: names[index])
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(int(predicted[index]), []).append(index)
    rows = []
    cells = []
    for index in order:
        others = sorted(set(members) - {int(predicted[index])})
        if len(others) < CELLS - 1:
            continue
        generator = generator_of_name(names[index], seed, "montage")
        row = [int(generator.choice(members[each])) for each in generator.choice(others, CELLS - 1, replace=False)]
        cells.append(int(generator.integers(CELLS)))
        row.insert(cells[-1], index)
        rows.append(row)
    pictures = np.array(rows, np.int64).reshape(-1, CELLS)
    place = np.array(cells, np.int64)
    targets = np.asarray(predicted, np.int64)[pictures[np.arange(len(place)), place]]
    return Montages(pictures, place, targets)


def montage(pictures: Tensor, rows: int, columns: int, background: Tensor | float = 0.5) -> Tensor:
    """Pictures (montages, 4, 3, height, width) in [0, 1] → (montages, 3, height, width), each shrunk into its cell.

    `rows` × `columns` are the network's patches; what is in no cell is `background`, a number or (3,). Raises
    `DataError` for fewer than two patches a side.
    """
    height, width = pictures.shape[-2:]
    down = _spans(rows, height)
    across = _spans(columns, width)
    colour = torch.as_tensor(background, dtype=pictures.dtype, device=pictures.device).expand(3)
    whole = colour[None, :, None, None].repeat(len(pictures), 1, height, width)
    for place in range(CELLS):
        (top, bottom), (left, right) = down[place // 2], across[place % 2]
        small = torch.nn.functional.interpolate(
            pictures[:, place], (bottom - top, right - left), mode="bilinear", antialias=True, align_corners=False
        )
        whole[:, :, top:bottom, left:right] = small
    return whole


def _spans(patches: int, pixels: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and stop, in pixels, of the two cells along a side of so many patches."""
    if patches < 2:
        raise DataError(
            f"a side of {patches} patch cannot hold two pictures; a montage needs a network of 2 × 2 patches"
        )
    half = patches // 2
    patch = pixels / patches
    return (0, round(half * patch)), (round((patches - half) * patch), pixels)


def grid_pointing(maps: NDArray[Any], cell: NDArray[Any]) -> Floats:
    """Share of positive values in the explained class's `cell` (montages,), from 0, row by row.

    Maps are (methods, montages, rows, columns), the shares (methods, montages). Chance is 0.25, which a map without
    positive values has, as it speaks of no place. Values that are not finite count as none, and so do those of the
    middle row or column of an odd number.
    """
    positive = np.where(np.isfinite(maps), np.maximum(maps, 0), 0).astype(np.float64)
    half_rows = maps.shape[2] // 2
    half_columns = maps.shape[3] // 2
    upper = (positive[:, :, :half_rows], positive[:, :, maps.shape[2] - half_rows :])
    sums = np.stack(
        [
            half[..., part].sum(axis=(2, 3))
            for half in upper
            for part in (slice(0, half_columns), slice(maps.shape[3] - half_columns, None))
        ]
    )  # (cells, methods, montages)
    total = sums.sum(axis=0)
    inside = np.take_along_axis(sums, np.asarray(cell)[None, None, :], axis=0)[0]
    return np.divide(inside, total, out=np.full_like(total, CHANCE), where=total > 0)
