"""A planted map that games one measure: built greedily for MIF under one occluder, and held against all others.

Where a measure alone says which method is best, a map can be made for it. What such a map gains must be gone on what
it was not made for; whether it is, is measured (docs/audit.md has the rule).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.measurement.faithfulness.curves import Floats, probabilities
from regard.measurement.faithfulness.deletion import coarse_cells
from regard.measurement.faithfulness.occluders import TOKENS, occluding
from regard.networks.cells import cells
from regard.networks.network import Network
from regard.records import Score

COST = 70.0
"""In forwards a picture, where tokens can be left out: of 135 subsets of 16 cells, half the patches in the mean."""
COARSE = " on 4 × 4 cells"
"""What the name of a method ends with whose map was made as coarse as the adversary's, so that they can be compared."""
OBJECTIVE = "deletion"
HELD_OUT = ("insertion", "srg", "deletion, held out", "srg, held out")
"""The measures by which its gain is looked for again: LIF, SRG, and both under an occluder it was not made for."""


def adversary(
    network: Network,
    pixels: Tensor,
    targets: Sequence[int] | NDArray[Any] | Tensor,
    *,
    occluder: str = TOKENS,
    donors: Tensor | None = None,
) -> Floats:
    """Maps (pictures, rows, columns) whose 4 × 4 cells go in the order that lowers the probability most at each step.

    The first cell to go has the highest value, 1, the last the lowest, 1 / cells. Of equals the first. 136 forwards of
    parts of a picture.
    """
    rows, columns = cells(network, pixels)
    cell = torch.from_numpy(coarse_cells(rows, columns))
    count = int(cell.max()) + 1
    classes = torch.as_tensor(np.asarray(targets), dtype=torch.int64)
    values = np.zeros((len(pixels), count))
    with occluding(network, pixels, occluder, donors) as occluded:
        gone = torch.zeros(len(pixels), count, dtype=torch.bool)
        for step in range(count - 1):
            pictures, tried = torch.nonzero(~gone, as_tuple=True)  # each picture has as many cells left
            left = np.empty(len(tried))
            without = gone[pictures].clone()
            without[torch.arange(len(tried)), tried] = True
            patches = ~without[:, cell]  # (tries, patches): what remains
            sizes = patches.sum(dim=1)
            for size in sizes.unique().tolist():
                same = sizes == size
                remaining = torch.nonzero(patches[same])[:, 1].reshape(-1, size)
                logits = occluded.logits(pictures[same], remaining)
                left[same.numpy()] = probabilities(network, logits, classes[pictures[same]])
            of = left.reshape(len(pixels), count - step)
            best = tried.reshape(len(pixels), count - step)[torch.arange(len(pixels)), torch.from_numpy(of.argmin(1))]
            gone[torch.arange(len(pixels)), best] = True
            values[np.arange(len(pixels)), best.numpy()] = 1 - step / count
        values[values == 0] = 1 / count
    return values[:, cell.numpy()].reshape(len(pixels), rows, columns)


def coarse(maps: NDArray[Any]) -> Floats:
    """Maps (pictures, rows, columns) as the mean over each of 4 × 4 cells of what is a number, NaN where nothing is."""
    pictures, rows, columns = maps.shape
    cell = coarse_cells(rows, columns)
    finite = np.isfinite(maps).reshape(pictures, -1)
    values = np.where(finite, maps.reshape(pictures, -1), 0.0)
    of_cell = np.eye(int(cell.max()) + 1)[cell]  # (patches, cells)
    count = finite @ of_cell
    means = np.divide(values @ of_cell, count, out=np.full_like(count, np.nan), where=count > 0)
    return np.asarray(means[:, cell].reshape(maps.shape), np.float64)


@dataclass(frozen=True)
class Gain:
    """By how much the adversary is better than the method that MIF alone would have called best: D on the measure it
    was made for, or on one other, and what became of the gain: "kept", "vanished", "not decidable", or "none", where
    there was no gain; "" on its own."""

    measure: str
    score: Score
    status: str = ""


def gains(adversary: Mapping[str, Floats], best: Mapping[str, Floats], interval: Any) -> tuple[Gain, ...]:
    """What is gained on each measure, from (pictures,) by measure, NaN left out; `interval` of differences is a Score.

    Deletion areas are the better the lower. A gain on the measure it was made for that is not above 0 cannot vanish.
    """
    differences = {
        name: (best[name] - adversary[name] if name.startswith("deletion") else adversary[name] - best[name])
        for name in (OBJECTIVE, *HELD_OUT)
        if name in adversary and name in best
    }
    aimed = interval(differences.pop(OBJECTIVE))
    results = [Gain(OBJECTIVE, aimed)]
    for name, values in differences.items():
        score = interval(values)
        if not aimed.low > 0:
            status = "none"
        elif score.low > 0:
            status = "kept"
        else:
            status = "vanished" if score.high < aimed.value / 2 else "not decidable"
        results.append(Gain(name, score, status))
    return tuple(results)
