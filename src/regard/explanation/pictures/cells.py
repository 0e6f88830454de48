"""Values as a map: summed over cells, with what they sum to, in plain arrays."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.explanation import Maps, Target
from regard.networks.cells import cells
from regard.networks.network import Network
from regard.records import Completeness


def summed(network: Network, values: Tensor) -> Tensor:
    """(batch, 3, height, width) of pixels → (batch, rows, columns): the sum over the pixels of each cell."""
    rows, columns = cells(network, values)
    plane = values.sum(dim=1)  # (batch, height, width)
    if plane.shape[1] % rows or plane.shape[2] % columns:
        down = _overlaps(plane.shape[1], rows).to(plane)
        across = _overlaps(plane.shape[2], columns).to(plane)
        return down @ plane @ across.T
    return plane.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).sum(dim=(2, 4))


def _overlaps(pixels: int, count: int) -> Tensor:
    """(count, pixels): how much of each pixel lies in each cell, so that all of them count once."""
    edges = torch.arange(count + 1) * pixels / count
    left = torch.arange(pixels)
    return (torch.minimum(edges[1:, None], left + 1) - torch.maximum(edges[:-1, None], left)).clamp(min=0)


def completeness_of(
    values: Tensor,
    logits: Tensor,
    baseline: Tensor | float = 0.0,
    prefix: Tensor | float = 0.0,
    biases: Tensor | float = 0.0,
) -> tuple[Completeness, ...]:
    """What maps (batch, rows, columns) and the rest of what is shared out sum to; all others are (batch,) or one for
    all pictures."""
    zeros = torch.zeros(len(values), dtype=torch.float64)
    start, tokens, others = (zeros + torch.as_tensor(each).cpu().double() for each in (baseline, prefix, biases))
    total = values.detach().cpu().double().sum(dim=(1, 2)) + tokens + others
    columns = (logits.detach().cpu().double(), start, total, tokens, others)
    return tuple(Completeness(*row) for row in torch.stack(columns, dim=1).tolist())


def as_maps(
    values: Tensor,
    targets: Sequence[Target] | None = None,
    error: Tensor | None = None,
    logits: Tensor | None = None,
    completeness: tuple[Completeness, ...] | None = None,
) -> Maps:
    """(batch, rows, columns) of any type and device as a method's result; `logits` tell the predicted classes."""
    predicted = None if logits is None else tuple(map(int, logits.argmax(dim=1)))
    errors = None if error is None else _plain(error)
    return Maps(_plain(values), tuple(targets or [None] * len(values)), errors, predicted, completeness)


def _plain(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().cpu().numpy()
