"""Removal curves: the probability of a class while patches go, the most influential first and the least first.

SRG, the symmetric relevance gain, is the area between the two (Blücher et al. 2024, arXiv 2401.06654): 0 for a map that
says nothing, whatever the occluder.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import UsageError
from regard.measurement.chance import generator_of
from regard.measurement.faithfulness.occluders import TOKENS, Occluded, occluding
from regard.networks.cells import cells
from regard.networks.network import Network

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Curves:
    """Probabilities (methods, pictures, steps + 1) float64 of each picture's class after each step.

    `mif`: most influential first; `lif`: least influential first. Areas are by trapezoids over the share removed, 0
    to 1.
    """

    mif: Floats
    lif: Floats

    @property
    def deletion(self) -> Floats:
        """(methods, pictures), 0 to 1, lower is better: the area under `mif` (Petsiuk et al. 2018)."""
        return area(self.mif)

    @property
    def insertion(self) -> Floats:
        """(methods, pictures), 0 to 1, higher is better: the area while the most influential patches come first.

        It is the area under `lif`: what is left when the least influential are gone is what came first.
        """
        return area(self.lif)

    @property
    def srg(self) -> Floats:
        """(methods, pictures), -1 to 1, random is 0, higher is better: LIF - MIF (arXiv 2401.06654)."""
        return self.insertion - self.deletion


def removal_curves(
    network: Network,
    pixels: Tensor,
    maps: NDArray[Any],
    targets: Sequence[int] | NDArray[Any] | Tensor,
    *,
    occluder: str = TOKENS,
    steps: int = 10,
    seed: int = 0,
    donors: Tensor | None = None,
) -> Curves:
    """The removal curves of maps (methods, pictures, rows, columns) of pictures (pictures, 3, height, width).

    After step k of `steps`, round(patches · k / steps) patches are gone; CLS and other prefix tokens stay. `targets`
    (pictures,) are the classes whose probability is followed. Ties are broken at random from the seed and the picture's
    own pixels, alike for all methods, so that batches do not matter. Values that are not numbers (beyond a crop) count
    as the least influential. A map of another shape than the grid of patches is averaged over each patch. For
    `occluder` and `donors` see `occluders`. Costs about steps forwards a map where tokens can be left out, else twice
    as many.
    """
    if steps < 1:
        raise UsageError(f"steps is {steps}; give a number from 1 on")
    rows, columns = cells(network, pixels)
    values = on_grid(maps, rows, columns).reshape(len(maps), len(pixels), -1)  # (methods, pictures, patches)
    orders = np.stack([influence(values[:, place], pixels[place], seed) for place in range(len(pixels))], axis=1)
    with occluding(network, pixels, occluder, donors) as occluded:
        mif, lif = curves_of(network, occluded, np.stack([orders, orders[..., ::-1]]), targets, steps)
    return Curves(mif, lif)


def curves_of(
    network: Network, occluded: Occluded, orders: Ints, targets: Sequence[int] | NDArray[Any] | Tensor, steps: int
) -> Floats:
    """(any ..., pictures, steps + 1): the probabilities while patches go in `orders` (any ..., pictures, patches)."""
    *shape, pictures, patches = orders.shape
    classes = torch.as_tensor(np.asarray(targets), dtype=torch.int64)
    curves = np.empty((math.prod(shape), pictures, steps + 1))
    for step, logits in enumerate(_answers(occluded, orders.reshape(-1, pictures, patches), steps)):
        of = classes.repeat(len(logits) // pictures)
        curves[..., step] = probabilities(network, logits, of).reshape(-1, pictures)
    return curves.reshape(*shape, pictures, steps + 1)


def class_curves(
    network: Network,
    pixels: Tensor,
    maps: NDArray[Any],
    classes: Sequence[int],
    *,
    occluder: str = TOKENS,
    steps: int = 10,
    seed: int = 0,
) -> Floats:
    """(classes, 2, maps, steps + 1): of several classes the removal curves of maps (maps, rows, columns) of one picture
    (1, 3, height, width), the most influential patches first and the least first; as `removal_curves` has them, for the
    price of one class."""
    rows, columns = cells(network, pixels)
    orders = influence(on_grid(maps, rows, columns).reshape(len(maps), -1), pixels[0], seed)  # (maps, patches)
    both = np.concatenate([orders, orders[:, ::-1]])[:, None]  # (2 · maps, 1, patches)
    chosen = list(classes)
    curves = np.empty((2 * len(maps), steps + 1, len(chosen)))
    with occluding(network, pixels, occluder) as occluded:
        for step, logits in enumerate(_answers(occluded, both, steps)):
            curves[:, step] = network.probabilities(logits.double()).cpu().numpy()[:, chosen]
    return curves.reshape(2, len(maps), steps + 1, len(chosen)).transpose(3, 0, 1, 2)


def _answers(occluded: Occluded, orders: Ints, steps: int) -> Iterator[Tensor]:
    """After each step the logits (orders · pictures, classes) while patches go in `orders` (orders, pictures, patches),
    or (pictures, classes) where they are the same for all."""
    pictures, patches = orders.shape[1:]
    flat = torch.from_numpy(np.ascontiguousarray(orders))
    every = torch.arange(pictures)
    for step in range(steps + 1):
        gone = round(patches * step / steps)
        if gone == 0:
            yield occluded.whole
        elif gone == patches:
            yield occluded.logits(every, torch.empty(pictures, 0, dtype=torch.int64))
        else:
            yield occluded.logits(every.repeat(len(flat)), flat[..., gone:].flatten(0, 1))


def probabilities(network: Network, logits: Tensor, classes: Tensor) -> Floats:
    """(n,) float64: the probability in each row of logits (n, classes) of its class (n,)."""
    chosen = network.probabilities(logits.double()).cpu().gather(1, classes[:, None])
    return np.asarray(chosen[:, 0].numpy(), np.float64)


def area(curves: Floats) -> Floats:
    """(..., points) → (...): the area by trapezoids over 0 to 1."""
    return np.asarray(np.trapezoid(curves, dx=1 / (curves.shape[-1] - 1), axis=-1), np.float64)


def influence(values: NDArray[Any], picture: Tensor, seed: int) -> Ints:
    """(methods, patches) → the patches from the most influential to the least, ties at random."""
    ties = generator_of(picture, seed, "ties").random(values.shape[-1])
    numbers = np.where(np.isnan(values), -np.inf, values)
    return np.stack([np.lexsort((ties, -each)) for each in numbers])


def on_grid(maps: NDArray[Any], rows: int, columns: int) -> Floats:
    """Maps (..., height, width) float64 as (..., rows, columns): the mean over each cell of what is a number."""
    values = np.asarray(maps, np.float64)
    height, width = values.shape[-2:]
    if (height, width) == (rows, columns):
        return values
    finite = np.isfinite(values)
    down = _shares(height, rows)
    across = _shares(width, columns)
    weights = down @ finite @ across.T
    sums = down @ np.where(finite, values, 0) @ across.T
    return np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)


def _shares(count: int, cells: int) -> Floats:
    """(cells, count): how much of each of `count` places lies in each of `cells`."""
    edges = np.arange(cells + 1) * (count / cells)
    left = np.arange(count)
    return np.clip(np.minimum(edges[1:, None], left + 1) - np.maximum(edges[:-1, None], left), 0, None)
