"""The best map that is to be had: what a measure must tell from a control before it is believed on anything else.

On drawn scenes it is the map of the planted truth; on photographs, where nobody knows, Shapley values of coarse cells
from the network's answers to these cells alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import UsageError
from regard.measurement.chance import generator_of
from regard.measurement.faithfulness.curves import Floats, probabilities
from regard.measurement.faithfulness.deletion import coarse_cells
from regard.measurement.faithfulness.occluders import TOKENS, occluding
from regard.measurement.localisation.objects import input_cover
from regard.networks.cells import cells
from regard.networks.network import Network

SAMPLES = 8
"""Orders of the cells, each with its reverse."""
COST = SAMPLES * 16.0
"""In forwards a picture, where tokens can be left out."""


def oracle(masks: NDArray[np.bool_], rows: int, columns: int) -> Floats:
    """Masks (pictures, height, width) of the planted truth → (pictures, rows, columns), the share of a patch on it."""
    covers = [input_cover(mask, rows, columns) for mask in masks]
    return np.stack([cover.inside / cover.area for cover in covers])


def cell_shapley(
    network: Network,
    pixels: Tensor,
    targets: Sequence[int] | NDArray[Any] | Tensor,
    *,
    occluder: str = TOKENS,
    donors: Tensor | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Floats:
    """(pictures, rows, columns) float64: Shapley values, in probability, of the at most 4 × 4 cells of patches.

    Of `samples` orders drawn from the seed and the picture's own pixels, each with its reverse (Castro et al. 2009,
    eq. 4; antithetic). A cell's value is shared evenly by its patches; all of a picture sum to its probability less
    that with nothing left. Each answer is a forward of its own, which no other measure shares.
    """
    if samples < 1:
        raise UsageError(f"samples is {samples}; give a number from 1 on")
    rows, columns = cells(network, pixels)
    cell = coarse_cells(rows, columns)
    count = int(cell.max()) + 1
    classes = torch.as_tensor(np.asarray(targets), dtype=torch.int64)
    sizes = np.bincount(cell)
    values = np.zeros((len(pixels), count))
    orders = np.empty((len(pixels), samples, count), np.int64)
    for place, picture in enumerate(pixels):
        generator = generator_of(picture, seed, "ceiling")
        for order in orders[place]:
            order[:] = generator.permutation(count)
    both = np.concatenate([orders, orders[..., ::-1]], axis=1).reshape(-1, count)  # (pictures · 2 samples, cells)
    of = np.repeat(np.arange(len(pixels)), 2 * samples)
    nothing = torch.empty(len(pixels), 0, dtype=torch.int64)
    with occluding(network, pixels, occluder, donors) as occluded:
        before = probabilities(network, occluded.logits(torch.arange(len(pixels)), nothing), classes)[of]
        whole = probabilities(network, occluded.whole, classes)[of]
        for step in range(count):
            after = whole.copy()
            if step < count - 1:
                present = np.zeros((len(both), count), bool)
                np.put_along_axis(present, both[:, : step + 1], True, axis=1)
                patches = present[:, cell]
                lengths = patches.sum(axis=1)
                for length in np.unique(lengths):
                    same = np.flatnonzero(lengths == length)
                    remaining = torch.from_numpy(np.nonzero(patches[same])[1].reshape(-1, length))
                    pictures = torch.from_numpy(of[same])
                    logits = occluded.logits(pictures, remaining)
                    after[same] = probabilities(network, logits, classes[pictures])
            np.add.at(values, (of, both[:, step]), (after - before) / (2 * samples))
            before = after
    return np.asarray((values / sizes)[:, cell].reshape(len(pixels), rows, columns), np.float64)
