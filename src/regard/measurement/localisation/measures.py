"""Does a map lie on a region: pointing, IoU, the share inside, average precision, area under the curve; by area.

A picture's pixels take the value of the patch that covers them (see `PatchGrid.to_picture`), and only pixels that the
network saw count.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.errors import DataError
from regard.records import Box, PatchGrid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ON_OBJECT = 0.5
"""A patch is on the object where at least this share of it is."""


@dataclass(frozen=True)
class Cover:
    """For each patch (rows, columns): how many pixels it covers, `area`, and how many in a region, `inside`."""

    area: NDArray[Any]
    inside: NDArray[Any]


def cover(grid: PatchGrid, region: Bools) -> Cover:
    """How the patches of `grid` lie on a `region` (H, W) of its picture. Raises `DataError` for one of another size."""
    if region.shape != grid.picture:
        raise DataError(
            f"a region is {region.shape[0]} × {region.shape[1]} and its picture {grid.picture[0]} × {grid.picture[1]} "
            "pixels; give regions at the size of the pictures that were captioned"
        )
    patch, area = _patches(grid)
    inside = np.bincount(patch[np.asarray(region, bool)], minlength=grid.patches + 1)[: grid.patches]
    return Cover(area, inside.reshape(area.shape))


def on_object(region: Bools, box: Box, rows: int, columns: int) -> Cover:
    """Whole patches, each one pixel: in the region where at least `ON_OBJECT` of the patch is.

    `box` is what the network sees of the `region` (H, W). Where that goes beyond the picture, the region is not,
    and patches that lie wholly there have no area.
    """
    left, top, right, bottom = box
    height, width = region.shape
    above, beside = math.ceil(max(0.0, -top)), math.ceil(max(0.0, -left))
    below, behind = math.ceil(max(0.0, bottom - height)), math.ceil(max(0.0, right - width))
    moved = (left + beside, top + above, right + beside, bottom + above)
    shares = []
    for part in (region, np.ones(region.shape, bool)):
        grey = Image.fromarray(np.pad(part, ((above, below), (beside, behind))).astype(np.uint8) * 255)
        patches = grey.resize((columns, rows), Image.Resampling.BOX, box=moved)
        shares.append(np.asarray(patches, np.float64) / 255)
    inside, picture = shares
    return Cover((picture > 0).astype(np.int64), (inside >= ON_OBJECT).astype(np.int64))


@lru_cache(maxsize=2)  # the words of a picture come together, and a picture may be large
def _patches(grid: PatchGrid) -> tuple[Ints, Ints]:
    """The patch (H, W) over each pixel, from 0, `grid.patches` where there is none; and the pixels of each patch."""
    numbers = np.arange(grid.patches).reshape(grid.rows, grid.columns)
    over = grid.to_picture(numbers, nearest=True)
    patch = np.where(np.isfinite(over), over, grid.patches).astype(np.int64)
    area = np.bincount(patch.ravel(), minlength=grid.patches + 1)[: grid.patches].reshape(numbers.shape)
    return patch, area


def pointing(values: NDArray[Any], over: Cover) -> float:
    """The chance that a pixel with the largest value lies in the region: 0 to 1, between where it cuts the patch.

    The pointing game of Zhang et al. 2018 (IJCV 126) without its margin; of several largest patches the pixels of all.
    """
    flat, area, inside = visible(values, over)
    top = flat == flat.max()
    return float(inside[top].sum() / area[top].sum())


def iou(values: NDArray[Any], over: Cover) -> float:
    """Intersection over union of the region and where the map exceeds Otsu's threshold: 0 to 1.

    A map that is the same everywhere exceeds it nowhere and has 0.
    """
    flat, area, inside = visible(values, over)
    hot = flat > otsu(flat, area)
    both = inside[hot].sum()
    return float(both / (area[hot].sum() + inside.sum() - both))


def share(values: NDArray[Any], over: Cover) -> float:
    """How much of the map's sum over pixels lies in the region: 0 to 1; negative values count as 0.

    A map without positive values says nothing of any place and counts as the same everywhere.
    """
    flat, area, inside = visible(values, over)
    positive = np.maximum(flat, 0)
    if not positive.any():
        positive = np.ones_like(flat)
    return float((positive * inside).sum() / (positive * area).sum())


def auc(values: NDArray[Any], over: Cover) -> float:
    """The chance that a patch in the region has a larger value than one beside it, ties counting half; 0.5 is chance.

    Of patches that are wholly in the region or not at all, as `on_object` gives them: Mann-Whitney's U over the number
    of pairs. NaN where all or no patches are in it.
    """
    from scipy.stats import rankdata  # late: it takes a second, and a caption without regions has no use for it

    flat, _, inside = visible(values, over)
    on = int(np.count_nonzero(inside))
    off = len(inside) - on
    if not on or not off:
        return float("nan")
    return float((rankdata(flat)[inside > 0].sum() - on * (on + 1) / 2) / (on * off))


def average_precision(values: NDArray[Any], over: Cover) -> float:
    """Average precision of pixels ranked by the map: 0 to 1; of a map that is the same everywhere the region's share.

    Σ over the distinct values, from the largest, of the recall that its pixels add × the precision so far: pixels of
    equal value come together, in no order. NaN where the region is nowhere.
    """
    flat, area, inside = visible(values, over)
    if not inside.sum() > 0:
        return float("nan")
    order = np.argsort(-flat, kind="stable")
    last = np.append(np.diff(flat[order]) != 0, True)  # of each group of equal values
    hits = np.cumsum(inside[order])[last]
    ranked = np.cumsum(area[order])[last]
    return float((np.diff(hits, prepend=0) * hits / ranked).sum() / hits[-1])


MEASURES: dict[str, Callable[[NDArray[Any], Cover], float]] = {"pointing": pointing, "iou": iou, "share": share}
"""Each measure of words by its name: of a map (rows, columns) and where its patches lie. NaN values do not count."""


def visible(values: NDArray[Any], over: Cover) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """Values, pixels and pixels in the region of each patch that the map speaks of."""
    covered = (over.area > 0) & np.isfinite(values)
    return np.asarray(values, np.float64)[covered], over.area[covered], over.inside[covered]


def otsu(values: Floats, weights: NDArray[Any]) -> float:
    """The threshold that values (n,) must exceed to be of the upper of two classes; infinite where all are alike.

    It is the value that makes the variance between the classes largest, of equals the least. Otsu 1979, eq. 18, over
    the values themselves instead of a histogram.
    """
    levels, at = np.unique(values, return_inverse=True)
    if len(levels) < 2:
        return float("inf")
    mass = np.bincount(at, weights) / np.sum(weights)
    lower = np.cumsum(mass)[:-1]
    mean = np.cumsum(mass * levels)[:-1]
    between = ((mass * levels).sum() * lower - mean) ** 2 / (lower * (1 - lower))
    return float(levels[np.argmax(between >= between.max() * (1 - 1e-9))])  # equal but for rounding


def centre(rows: int, columns: int) -> Floats:
    """One in the middle of the network's input, falling linearly to zero at its corners: (rows, columns)."""
    down = (np.arange(rows) + 0.5) / rows * 2 - 1
    across = (np.arange(columns) + 0.5) / columns * 2 - 1
    return np.asarray(1 - np.hypot(down[:, None], across[None]) / np.sqrt(2))
