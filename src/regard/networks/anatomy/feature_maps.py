"""The last map of features that a network makes over a picture, and only where it is one: what looks like it may be
tokens by tokens, or heads by tokens.

A map of features lies over the picture as the picture does: it has its aspect, and where a half of the picture is made
grey, that half of the map changes most.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from regard.networks.network import Network

LOCAL = 0.53
"""The share of all change that the half which was made grey must have, on the mean of two halves: tokens by tokens have
0.5 in one of the two directions, networks of convolutions at random 0.6 and more."""

Shape = tuple[int, ...]


class FeatureRecorder:
    """What the parts of a network give in a forward of a batch, by the order of their calls, where it may be a map of
    features; nothing where tokens in a row come behind, since then the network goes on with these."""

    def __init__(self, network: Network, hooks: list[Any], batch: int) -> None:
        self.outputs: list[Tensor] = []
        self.tokens: list[Tensor] = []
        self._batch = batch
        hooks.extend(part.register_forward_hook(self._store) for part in network.module.modules())

    def _store(self, part: Any, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or len(output) != self._batch:
            return
        if output.ndim == 4 and min(output.shape[1:]) > 1:
            self.outputs.append(output)
        elif output.ndim == 3 and min(output.shape[1:]) > 1:
            self.tokens.append(output)
            self.outputs.clear()


def orders(shape: Shape, height: int, width: int) -> Iterator[bool]:
    """Whether features (batch, ...) have their width last, for each of the two orders in which a grid of a picture of
    this size may stand there."""
    for last, (rows, columns) in ((False, shape[2:]), (True, shape[1:3])):
        stride = height / rows
        if 1 < rows <= height and 1 < columns <= width and abs(width / stride - columns) <= 1:
            yield last


def grid_of_features(network: Network, height: int, width: int) -> tuple[int, bool] | None:
    """Which of the outputs of a forward (from the end, -1 the last) is the last map of features, and whether its width
    is the last dimension; None where there is none. Found with one picture of noise and its four grey halves."""
    device = network.device
    noise = torch.randn(1, network.preparation.channels, height, width, generator=torch.Generator().manual_seed(0))
    halves = noise.repeat(4, 1, 1, 1)
    halves[0, :, : height // 2] = 0
    halves[1, :, height // 2 :] = 0
    halves[2, :, :, : width // 2] = 0
    halves[3, :, :, width // 2 :] = 0
    pictures = torch.cat([noise, halves]).to(device)
    with network.borrow() as hooks, torch.no_grad():
        recorder = FeatureRecorder(network, hooks, len(pictures))
        network.forward(pictures)
    for place in range(-1, -len(recorder.outputs) - 1, -1):
        features = recorder.outputs[place]
        for last in orders(tuple(features.shape), height, width):
            if _lies_over(features.movedim(3, 1) if last else features):
                return place, last
    return None


def _lies_over(features: Tensor) -> bool:
    """Whether features (5, width, rows, columns) of a picture and of its grey halves change where the picture does."""
    change = (features[1:] - features[:1]).float().abs().sum(dim=1)  # (4, rows, columns)
    rows, columns = change.shape[1:]
    down = (torch.arange(rows, device=change.device) < rows / 2).float()[:, None]
    across = (torch.arange(columns, device=change.device) < columns / 2).float()[None]
    shares = []
    for (first, second), half in zip((change[:2], change[2:]), (down, across), strict=True):
        inside = (first * half).sum() + (second * (1 - half)).sum()
        # halves of an odd number differ: what an even change would give is set against it
        even = first.sum() * half.expand_as(first).mean() + second.sum() * (1 - half).expand_as(second).mean()
        shares.append(float(0.5 * inside / even.clamp_min(torch.finfo(torch.float32).tiny)))
    return min(shares) > LOCAL
