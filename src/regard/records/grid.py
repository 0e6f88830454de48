"""Where patches lie in a picture: the way from a network's grid back to the user's own pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError

Box = tuple[float, float, float, float]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class PatchGrid:
    """Where a network's patch tokens lie in the user's own picture.

    `rows` × `columns` patches cover `box` evenly; `prefix` tokens (CLS, registers, distillation) come before them.
    `box` is the part of the picture that the network saw: the whole of it when it was squashed, less when cropped,
    more (beyond the edges) when padded.
    """

    rows: int
    columns: int
    prefix: int
    picture: tuple[int, int]
    box: Box

    @classmethod
    def whole(cls, rows: int, columns: int, prefix: int = 0, picture: tuple[int, int] | None = None) -> Self:
        """A grid over a whole picture, by default one of a pixel a patch."""
        height, width = picture or (rows, columns)
        return cls(rows, columns, prefix, (height, width), (0.0, 0.0, float(width), float(height)))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` gave, whose tuples JSON made lists."""
        picture, box = stored["picture"], stored["box"]
        return cls(stored["rows"], stored["columns"], stored["prefix"], tuple(picture), tuple(box))

    @property
    def patches(self) -> int:
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        return self.prefix + self.patches

    def fold(self, values: NDArray[Any]) -> NDArray[Any]:
        """(..., tokens) or (..., patches) → (..., rows, columns); prefix tokens are dropped."""
        if values.shape[-1] == self.tokens:
            values = values[..., self.prefix :]
        if values.shape[-1] != self.patches:
            raise DataError(
                f"{values.shape[-1]} values do not fit a grid of {self.rows} × {self.columns} patches after "
                f"{self.prefix} prefix tokens; there must be {self.patches} or {self.tokens}"
            )
        return values.reshape(*values.shape[:-1], self.rows, self.columns)

    def cell(self, row: int, column: int) -> Box:
        """The part of the user's picture that a patch covers, as (left, top, right, bottom) in its pixels."""
        left, top, right, bottom = self.box
        wide, high = (right - left) / self.columns, (bottom - top) / self.rows
        return left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high

    def cell_inside(self, row: int, column: int) -> Box:
        """The same, cut at the edges of the picture."""
        height, width = self.picture
        left, top, right, bottom = self.cell(row, column)
        return max(0.0, left), max(0.0, top), min(float(width), right), min(float(height), bottom)

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        """The (row, column) of the patch that covers a point of the picture, or None outside of `box`."""
        left, top, right, bottom = self.box
        if not (left <= x < right and top <= y < bottom):
            return None
        row, column = (y - top) / (bottom - top) * self.rows, (x - left) / (right - left) * self.columns
        return min(int(row), self.rows - 1), min(int(column), self.columns - 1)

    def to_picture(self, values: NDArray[Any], size: tuple[int, int] | None = None, nearest: bool = False) -> Float:
        """(rows, columns) → the picture's (height, width), bilinear between patch centres, NaN outside of `box`.

        `size` gives another (height, width) for the whole picture, a thumbnail's say. Beyond the outermost patch
        centres the nearest patch's value is kept; `nearest` keeps patches as squares everywhere. A patch without a
        finite value is NaN where it would have more than half of the weight, and takes no part elsewhere.
        """
        height, width = size or self.picture
        left, top, right, bottom = self.box
        down = _weights(height, self.picture[0], top, bottom, self.rows, nearest)
        across = _weights(width, self.picture[1], left, right, self.columns, nearest)
        values = np.asarray(values, np.float32)
        known = np.isfinite(values)
        if known.all():
            return (down @ values @ across.T).astype(np.float32)  # (height, width)
        share = down @ known.astype(np.float32) @ across.T  # of each pixel's weight
        sums = down @ np.where(known, values, 0).astype(np.float32) @ across.T
        return np.divide(sums, share, out=np.full_like(sums, np.nan), where=share >= 0.5).astype(np.float32)


def _weights(pixels: int, extent: int, start: float, stop: float, patches: int, nearest: bool) -> Float:
    """(pixels, patches): how much of each patch a pixel's centre takes; a row of NaN where it lies outside."""
    centre = (np.arange(pixels) + 0.5) * (extent / pixels)
    place = (centre - start) / (stop - start) * patches - 0.5  # in patches: 0 is the first one's centre
    inside = (centre >= start) & (centre <= stop)
    place = np.clip(np.round(place) if nearest else place, 0, patches - 1)
    low = np.minimum(np.floor(place).astype(int), max(patches - 2, 0))
    weights = np.zeros((pixels, patches), np.float32)
    rows = np.arange(pixels)
    weights[rows, np.minimum(low + 1, patches - 1)] += place - low
    weights[rows, low] += 1 - (place - low)
    weights[~inside] = np.nan
    return weights
