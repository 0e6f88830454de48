"""The cells a map is made of: a network's patches or, where it has none, squares of 16 pixels."""

import torch
from torch import Tensor

from regard.networks.network import Network

SIDE = 16


def cells(network: Network, x: Tensor) -> tuple[int, int]:
    """(rows, columns) of the map of pictures (batch, 3, height, width)."""
    height, width = map(int, x.shape[-2:])
    if network.anatomy.patch is not None:
        return network.anatomy.grid(height, width)
    return max(1, round(height / SIDE)), max(1, round(width / SIDE))


def cell_of_pixels(network: Network, x: Tensor) -> Tensor:
    """(height, width) int64: the cell over each pixel, row by row from 0, or -1 where the network cuts the edge off."""
    rows, columns = cells(network, x)
    height, width = map(int, x.shape[-2:])
    if network.anatomy.patch is None:
        down = torch.arange(height) * rows // height
        across = torch.arange(width) * columns // width
    else:
        tall, wide = network.anatomy.patch
        down = torch.arange(height) // tall
        across = torch.arange(width) // wide
    inside = (down < rows)[:, None] & (across < columns)
    return torch.where(inside, down[:, None] * columns + across, -1)
