"""Carrying relevance through attention, from what the head reads down to the patches, a row at a time.

Most methods that use attention multiply matrices of all layers and then keep one row. That row times the matrices,
from the last layer down, is the same and needs no product of two N × N matrices.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import UsageError
from regard.networks.attention.recorder import LayerAttention
from regard.networks.attention.trace import indices, layer_count, recording
from regard.networks.attention.windows import Windows
from regard.networks.network import Network

Query = tuple[int, int] | None
Weights = Callable[[Tensor | None], Tensor]


def collect(
    network: Network,
    pixels: Tensor,
    start: int = 0,
    stop: int | None = None,
    *,
    gradients: bool = False,
    also: Callable[[list[Any]], None] | None = None,
) -> tuple[list[LayerAttention], Tensor]:
    """The attention of the layers from `start` up to `stop` in one forward, and the logits (batch, classes).

    `gradients`: with them, which begin at the first of these layers; else without any. `also` may hook more. Raises
    `UsageError` for a layer that does not exist.
    """
    network.check(pixels)
    count = layer_count(network)
    indices("layer to start from", start, count)
    layers: list[LayerAttention] = []
    numbers = range(start, count if stop is None else stop)
    with (
        recording(network, numbers, layers.append, gradients=gradients, frozen=True) as hooks,
        torch.set_grad_enabled(gradients),
    ):
        if also is not None:
            also(hooks)
        return layers, network.forward(pixels.detach())


class Flow:
    """Rows of relevance over tokens, (batch, sources, tokens), carried from layer to layer.

    They begin at what the network's head reads: CLS, or every patch where patches are averaged, or the pooling's own
    query; or at one patch, `query`. `each`: patches that are averaged stay apart, one source each.
    """

    def __init__(self, network: Network, pixels: Tensor, query: Query = None, each: bool = False) -> None:
        self.network = network
        self.batch = len(pixels)
        self.grid = network.anatomy.grid(int(pixels.shape[-2]), int(pixels.shape[-1]))
        self.patches = self.grid[0] * self.grid[1]
        self.query = query
        self.each = each
        self.rows: Tensor | None = None
        if query is not None and not (0 <= query[0] < self.grid[0] and 0 <= query[1] < self.grid[1]):
            raise UsageError(
                f"there is no patch {query}; (row, column) goes from (0, 0) to ({self.grid[0] - 1}, {self.grid[1] - 1})"
            )

    def down(self, layers: list[LayerAttention]) -> Iterator[LayerAttention]:
        """The layers from the last down, without those that relevance does not pass."""
        last = self.last_layer()
        yield from (layer for layer in reversed(layers) if layer.layer <= last)

    def last_layer(self) -> int:
        """The last layer that relevance passes: the pooling's only where the head reads through it."""
        through = self.query is None and self.network.anatomy.reads != "patches"
        return layer_count(self.network) - 1 - (0 if through else self.network.anatomy.readers)

    def source_tokens(self, layer: LayerAttention) -> Tensor | None:
        """Which rows of a layer's attention relevance begins in; None for all, as in a layer with its own query."""
        _, queries, keys = layer.shape
        if queries != keys or layer.shape[0] != self.batch:
            return None
        return self._rows_over(keys, layer).sum(dim=(0, 1)).nonzero()[:, 0]

    def mix(
        self, layer: LayerAttention, weights: Weights, keep: float, add: float, columns: Tensor | None = None
    ) -> None:
        """rows ← `keep` · rows + `add` · rows · M, M the mean over heads of what `weights` gives for some rows.

        `columns` (batch, tokens) multiplies M's columns. A pooling's row has no residual: rows become M's.
        """
        count, queries, keys = layer.shape
        if queries != keys:
            self._read(layer, weights(None).mean(dim=1), keep, add, columns)
            return
        windows = Windows.of(*self.grid, count // self.batch, keys, self.network.anatomy.prefix)
        rows = self._rows_over(keys if windows is None else self.patches, layer)
        if windows is not None:
            matrix = weights(None).mean(dim=1)  # (batch · windows, side², side²)
            cut = windows.cut(rows.transpose(1, 2)).transpose(1, 2)  # (batch · windows, sources, side²)
            carried = windows.join((cut @ matrix).transpose(1, 2)).transpose(1, 2)  # (batch, sources, patches)
        else:
            # Tokens on which no row has relevance add nothing: where few have any, the others' attention is not needed.
            active = (rows != 0).flatten(0, 1).any(dim=0).nonzero()[:, 0]
            if 2 * len(active) < rows.shape[-1]:
                matrix = weights(active).mean(dim=1)  # (batch, active tokens, tokens)
                carried = rows[:, :, active].to(matrix.dtype) @ matrix
            else:
                matrix = weights(None).mean(dim=1)  # (batch, tokens, tokens)
                carried = rows.to(matrix.dtype) @ matrix
        if columns is not None:
            carried = carried * columns[:, None, -carried.shape[-1] :]
        self.rows = keep * rows + add * carried

    def _read(self, layer: LayerAttention, matrix: Tensor, keep: float, add: float, columns: Tensor | None) -> None:
        """A layer that has its own query: a class token's, whose own share stays, or the pooling's."""
        row = matrix.mean(dim=1, keepdim=True)  # (batch, 1, keys); several latents count alike
        row = row if columns is None else row * columns[:, None, -row.shape[-1] :]
        if self.network.anatomy.reads == "pool":
            self.rows = row
            return
        rows = self.rows if self.rows is not None else _one_hot(self.batch, row.shape[-1], 0, row)
        self.rows = keep * rows + add * rows[:, :, :1] * row

    def _rows_over(self, tokens: int, like: LayerAttention) -> Tensor:
        """The rows over this many tokens: new ones, or those of the layer above less what is no token here."""
        if self.rows is not None:
            missing = tokens - self.rows.shape[-1]  # a pooling may leave prefix tokens out, class attention adds one
            return F.pad(self.rows, (missing, 0)) if missing > 0 else self.rows[:, :, -tokens:]
        prefix = max(tokens - self.patches, 0)
        value = like.handle
        if self.query is not None:
            place = prefix + self.query[0] * self.grid[1] + self.query[1]
            return _one_hot(self.batch, tokens, place, value)
        if self.network.anatomy.reads == "cls" and prefix:
            return _one_hot(self.batch, tokens, 0, value)
        patches = torch.eye(tokens, device=value.device, dtype=_wide(value))[prefix:]  # (patches, tokens)
        patches = patches if self.each else patches.mean(dim=0, keepdim=True)
        return patches.expand(self.batch, -1, -1)

    def map(self) -> Tensor:
        """(batch, rows, columns): the relevance of the patches, sources added up."""
        return self.folded(self.patch_rows().sum(dim=1))

    def patch_rows(self) -> Tensor:
        """(batch, sources, patches)."""
        if self.rows is None:
            raise UsageError("no layer was left to carry relevance through; start at a lower one")
        return self.rows[:, :, -self.patches :]

    def folded(self, values: Tensor) -> Tensor:
        """(batch, patches) → (batch, rows, columns)."""
        return values.unflatten(-1, self.grid)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _one_hot(batch: int, tokens: int, place: int, like: Tensor) -> Tensor:
    row = torch.zeros(batch, 1, tokens, device=like.device, dtype=_wide(like))
    row[:, :, place] = 1
    return row
