"""Where patches lie in a picture: the way from a network's grid back to the user's own pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.records.display import Readable, counted

Box = tuple[float, float, float, float]
Float = NDArray[np.float32]


@dataclass(frozen=True, repr=False)
class PatchGrid(Readable):
    """Where a network's patch tokens lie in the user's own picture.

    `rows` × `columns` patches cover `box` evenly; `prefix` tokens (CLS, registers, distillation) come before them.
    `picture` is (height, width) in pixels. `box` is the part of it that the network saw, (left, top, right, bottom) in
    its pixels: the whole of it when it was squashed, less when cropped, more (beyond the edges) when padded.

    >>> grid = PatchGrid(rows=2, columns=3, prefix=1, picture=(20, 60), box=(10.0, 0.0, 40.0, 20.0))
    >>> grid
    2 × 3 patches after 1 other token, over pixels 10 to 40 × 0 to 20 of 60 × 20
    >>> grid.patches, grid.tokens
    (6, 7)
    >>> grid.fold(np.arange(7)).tolist()
    [[1, 2, 3], [4, 5, 6]]
    >>> grid.cell(0, 0), grid.cell_at(25, 15)
    ((10.0, 0.0, 20.0, 10.0), (1, 1))
    >>> np.isnan(grid.to_picture(np.ones((2, 3)))).any(axis=0).sum()  # columns of pixels outside of the crop
    np.int64(30)
    """

    rows: int
    columns: int
    prefix: int
    picture: tuple[int, int]
    box: Box

    def __str__(self) -> str:
        height, width = self.picture
        left, top, right, bottom = (f"{edge:.4g}" for edge in self.box)
        prefix = f" after {counted(self.prefix, 'other token')}" if self.prefix else ""
        place = f"pixels {left} to {right} × {top} to {bottom} of {width} × {height}"
        return f"{self.rows} × {self.columns} patches{prefix}, over {place}"

    @classmethod
    def whole(cls, rows: int, columns: int, prefix: int = 0, picture: tuple[int, int] | None = None) -> Self:
        """A grid over a whole picture, by default one of a pixel a patch."""
        height, width = picture or (rows, columns)
        return cls(rows, columns, prefix, (height, width), (0.0, 0.0, float(width), float(height)))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From the JSON of `dataclasses.asdict`, in which tuples are lists."""
        return cls(stored["rows"], stored["columns"], stored["prefix"], tuple(stored["picture"]), tuple(stored["box"]))

    @property
    def patches(self) -> int:
        """How many patches there are."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """How many tokens there are: prefix and patches."""
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
        wide = (right - left) / self.columns
        high = (bottom - top) / self.rows
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
        row = (y - top) / (bottom - top) * self.rows
        column = (x - left) / (right - left) * self.columns
        return min(int(row), self.rows - 1), min(int(column), self.columns - 1)

    def to_picture(self, values: NDArray[Any], size: tuple[int, int] | None = None, nearest: bool = False) -> Float:
        """(rows, columns) → the picture's (height, width), bilinear between patch centres, NaN outside of `box`.

        `values` may be finer than the patches, (m, n) that cover `box` evenly: what is said here of patches holds of
        these. `size` gives another (height, width) for the whole picture, a thumbnail's say. Beyond the outermost patch
        centres the nearest patch's value goes on; `nearest` draws patches as squares everywhere. A patch without a
        finite value is NaN where it would have more than half of the weight, and takes no part elsewhere.
        """
        height, width = size or self.picture
        left, top, right, bottom = self.box
        values = self._checked(values)
        down = _weights(height, self.picture[0], top, bottom, values.shape[0], nearest)
        across = _weights(width, self.picture[1], left, right, values.shape[1], nearest)
        finite = np.isfinite(values)
        if finite.all():
            return (down @ values @ across.T).astype(np.float32)  # (height, width)
        share = down @ finite.astype(np.float32) @ across.T  # of each pixel's weight
        sums = down @ np.where(finite, values, 0).astype(np.float32) @ across.T
        return np.divide(sums, share, out=np.full_like(sums, np.nan), where=share >= 0.5).astype(np.float32)

    def on_patches(self, values: NDArray[Any]) -> Float:
        """Values that are finer than the patches, (m, n) over `box`, → (rows, columns): the sum in each patch.

        A value goes into patches by the shares that lie there. NaN counts nothing; a patch of nothing else is NaN.
        """
        values = self._checked(values)
        if values.shape == (self.rows, self.columns):
            return values
        down = _overlaps(values.shape[0], self.rows)
        across = _overlaps(values.shape[1], self.columns)
        finite = np.isfinite(values)
        sums = down @ np.where(finite, values, 0).astype(np.float64) @ across.T
        return np.where(down @ finite @ across.T > 0, sums, np.nan).astype(np.float32)

    def _checked(self, values: NDArray[Any]) -> Float:
        values = np.asarray(values, np.float32)
        if values.ndim != 2 or values.shape[0] < self.rows or values.shape[1] < self.columns:
            raise DataError(
                f"values of shape {values.shape} do not lie on a grid of {self.rows} × {self.columns} patches; there "
                "must be one for each patch, or a finer map of at least as many rows and columns"
            )
        return values


def _overlaps(count: int, patches: int) -> NDArray[np.float64]:
    """(patches, count): which share of each of `count` values, side by side, lies in each patch."""
    edges = np.arange(patches + 1) * count / patches
    start = np.arange(count)
    return np.clip(np.minimum(edges[1:, None], start + 1) - np.maximum(edges[:-1, None], start), 0, None)


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
