"""Maps that do not look at the network: what any method must beat before it has found anything."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from regard.explanation import Maps
from regard.explanation.pictures.cells import as_maps, cells, summed
from regard.networks.network import Network


def random(network: Network, pixels: Tensor, *, seed: int = 0) -> Maps:
    """Uniform noise in [0, 1), a function of the seed and the picture alone, so that batches do not matter."""
    rows, columns = cells(network, pixels)
    maps = []
    for picture in pixels:
        digest = hashlib.sha256(picture.detach().float().cpu().contiguous().numpy().tobytes()).digest()
        generator = np.random.default_rng((seed, int.from_bytes(digest[:8], "little")))
        maps.append(generator.random((rows, columns)))
    return as_maps(torch.from_numpy(np.stack(maps)))


def centre(network: Network, pixels: Tensor) -> Maps:
    """One at the centre of the input, falling linearly to zero at its corners; its height and width count alike."""
    rows, columns = cells(network, pixels)
    down = (torch.arange(rows) + 0.5) / rows * 2 - 1
    across = (torch.arange(columns) + 0.5) / columns * 2 - 1
    distance = torch.hypot(down[:, None], across[None]) / 2**0.5
    return as_maps((1 - distance).expand(len(pixels), -1, -1))


def edges(network: Network, pixels: Tensor) -> Maps:
    """The mean length of the Sobel gradient of grey in each cell, in units of the network's normalised values."""
    grey = pixels.detach().float().mean(dim=1, keepdim=True)
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=grey.device) / 8
    padded = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    both = torch.nn.functional.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])  # (batch, 2, height, width)
    rows, columns = cells(network, pixels)
    area = pixels.shape[-2] * pixels.shape[-1] / (rows * columns)
    return as_maps(summed(network, both.norm(dim=1, keepdim=True)) / area)
