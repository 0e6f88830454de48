"""Single deletion: cells of a coarse grid are deleted one at a time, and the drops held against the map."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.measurement.faithfulness.curves import Floats, on_grid, probabilities
from regard.measurement.faithfulness.occluders import TOKENS, occluding
from regard.measurement.ranks import spearman
from regard.networks.cells import cells
from regard.networks.network import Network

SIDE = 4
"""Cells of the grid along each side, or as many as there are patches."""


def single_deletion(
    network: Network,
    pixels: Tensor,
    maps: NDArray[Any],
    targets: Sequence[int] | NDArray[Any] | Tensor,
    *,
    occluder: str = TOKENS,
    donors: Tensor | None = None,
) -> Floats:
    """(methods, pictures) float64, -1 to 1, random is 0, higher is better: the rank correlation of drops and sums.

    The patches of a grid of 4 × 4 cells are deleted cell by cell; a drop is the probability of the class of `targets`
    (pictures,) less that with the cell gone, a sum is of a map's values in the cell. Spearman's correlation over cells,
    as in the single deletion of Hesse et al. 2023 (arXiv 2308.06248) and IDSDS (Hesse et al. 2024), whose network
    was trained with cells deleted, which this one was not. 0 for a map whose sums are all alike; NaN where all drops
    are. `maps` are (methods, pictures, rows, columns); values that are not numbers add nothing. 16 forwards a picture.
    """
    rows, columns = cells(network, pixels)
    values = np.nan_to_num(on_grid(maps, rows, columns), nan=0.0)
    cell = coarse_cells(rows, columns)
    with occluding(network, pixels, occluder, donors) as occluded:
        every = torch.arange(len(pixels))
        classes = torch.as_tensor(np.asarray(targets), dtype=torch.int64)
        count = int(cell.max()) + 1
        left = np.empty((count, len(pixels)))
        sizes = np.bincount(cell)
        for size in np.unique(sizes):  # of as many patches: one batch
            same = np.flatnonzero(sizes == size)
            remaining = torch.from_numpy(np.stack([np.flatnonzero(cell != each) for each in same]))
            of = every.repeat(len(same))
            logits = occluded.logits(of, remaining.repeat_interleave(len(pixels), dim=0))
            left[same] = probabilities(network, logits, classes[of]).reshape(len(same), -1)
        drops = probabilities(network, occluded.whole, classes) - left  # (cells, pictures)
    sums = np.stack([values.reshape(*values.shape[:2], -1)[..., cell == each].sum(-1) for each in range(count)], -1)
    return spearman(sums, drops.T)  # a map first: where it says nothing, that is 0


def coarse_cells(rows: int, columns: int) -> NDArray[np.int64]:
    """(patches,): the cell of a grid of at most 4 × 4 that each patch is in."""
    down = np.arange(rows) * min(SIDE, rows) // rows
    across = np.arange(columns) * min(SIDE, columns) // columns
    return (down[:, None] * min(SIDE, columns) + across).ravel()
