"""The cells a map is made of: a network's patches or, where it has none, squares of 16 pixels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from regard.explanation import Maps, Target
from regard.networks.network import Network

SIDE = 16


def cells(network: Network, x: Tensor) -> tuple[int, int]:
    """(rows, columns) of the map of pictures (batch, 3, height, width)."""
    height, width = map(int, x.shape[-2:])
    if network.anatomy.patch is not None:
        return network.anatomy.grid(height, width)
    return max(1, round(height / SIDE)), max(1, round(width / SIDE))


def summed(network: Network, values: Tensor) -> Tensor:
    """(batch, 3, height, width) of pixels → (batch, rows, columns): the sum over the pixels of each cell."""
    rows, columns = cells(network, values)
    plane = values.sum(dim=1)  # (batch, height, width)
    if plane.shape[1] % rows or plane.shape[2] % columns:
        area = plane.shape[1] * plane.shape[2] / (rows * columns)
        return F.adaptive_avg_pool2d(plane[:, None], (rows, columns))[:, 0] * area
    return plane.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).sum(dim=(2, 4))


def as_maps(
    values: Tensor,
    targets: Sequence[Target] | None = None,
    error: Tensor | None = None,
    logits: Tensor | None = None,
) -> Maps:
    """(batch, rows, columns) of any type and device as a method's result; `logits` tell the predicted classes."""
    predicted = None if logits is None else tuple(map(int, logits.argmax(dim=1)))
    errors = None if error is None else _plain(error)
    return Maps(_plain(values), tuple(targets or [None] * len(values)), errors, predicted)


def _plain(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().cpu().numpy()
