"""Attention inside windows of the patch grid (SAM's): cut into windows, and put together again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """`down` × `across` square windows of `side` patches over a grid of `rows` × `columns`, padded at its ends."""

    rows: int
    columns: int
    side: int
    down: int
    across: int

    @classmethod
    def of(cls, rows: int, columns: int, count: int, tokens: int, prefix: int = 0) -> Self | None:
        """The windows of a layer that attends in `count` groups a picture, of `tokens` each.

        None where it has none: it sees all patches at once, or has `prefix` tokens, which would be in no window.
        """
        if prefix or (count == 1 and tokens == rows * columns):
            return None
        side = math.isqrt(tokens)
        down = -(-rows // max(side, 1))
        across = -(-columns // max(side, 1))
        return cls(rows, columns, side, down, across) if down * across == count and side * side == tokens else None

    def cut(self, x: Tensor) -> Tensor:
        """(batch, patches, ...) → (batch · windows, side², ...), zero where a window reaches beyond the grid."""
        grid = x.unflatten(1, (self.rows, self.columns))
        padded = grid.new_zeros(len(x), self.down * self.side, self.across * self.side, *x.shape[2:])
        padded[:, : self.rows, : self.columns] = grid
        parts = padded.unflatten(2, (self.across, self.side)).unflatten(1, (self.down, self.side))
        # (batch, down, side, across, side, ...)
        return parts.transpose(2, 3).flatten(3, 4).flatten(0, 2)

    def join(self, x: Tensor) -> Tensor:
        """(batch · windows, side², ...) → (batch, patches, ...): what lies beyond the grid is dropped."""
        parts = x.unflatten(0, (-1, self.down, self.across)).unflatten(3, (self.side, self.side))
        grid = parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)  # (batch, rows and more, columns and more, ...)
        return grid[:, : self.rows, : self.columns].flatten(1, 2)

    def full(self, weights: Tensor, batch: int) -> Tensor:
        """(batch · windows, heads, side², side²) → (batch, heads, patches, patches), zero between windows.

        Rows sum to less than one where a window reaches beyond the grid and attends to its padding.
        """
        patches = self.rows * self.columns
        parts = weights.unflatten(0, (batch, -1))  # (batch, windows, heads, side², side²)
        whole = weights.new_zeros(batch, weights.shape[1], patches + 1, patches + 1)  # place 0 is beyond the grid
        for window, tokens in enumerate(self._places(weights.device)):
            whole[:, :, tokens[:, None], tokens[None]] = parts[:, window]
        return whole[:, :, 1:, 1:]

    def some(self, weights: Tensor, batch: int, patches: Sequence[int]) -> Tensor:
        """The rows (batch, heads, patches, all patches) of `full` at some patches, without making it."""
        places = self._places(weights.device)
        parts = weights.unflatten(0, (batch, -1))
        rows = weights.new_zeros(batch, weights.shape[1], len(patches), self.rows * self.columns + 1)
        for index, patch in enumerate(patches):
            window, token = (places == patch + 1).nonzero()[0].tolist()
            rows[:, :, index, places[window]] = parts[:, window, :, token]
        return rows[..., 1:]

    def mean(self, weights: Tensor, batch: int) -> Tensor:
        """(batch, heads, 1, patches): the mean over the rows of `full`, without making it."""
        inside = (self._places(weights.device) > 0).repeat(batch, 1)[:, None, :, None]  # queries that are no padding
        total = (weights * inside).sum(dim=2)  # (batch · windows, heads, side²)
        return self.join(total.transpose(1, 2)).transpose(1, 2)[:, :, None] / (self.rows * self.columns)

    def _places(self, device: torch.device) -> Tensor:
        """(windows, side²): which patch, counted from 1, lies there; 0 is beyond the grid."""
        patches = torch.arange(1, self.rows * self.columns + 1, device=device)
        return self.cut(patches[None, :, None])[..., 0]
