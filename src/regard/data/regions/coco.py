"""Masks of a COCO file as pixels: run lengths, plain or packed, polygons, or a box. Without pycocotools."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Picture
from regard.errors import DataError

Bools = NDArray[np.bool_]


def mask_of(annotation: Mapping[str, Any], picture: Picture, size: tuple[int, int]) -> Bools:
    """(H, W) bool of an annotation: run lengths, plain or packed, polygons, or else the box.

    Raises `DataError` naming the picture where it is none of these or of another size.
    """
    stored = picture.columns.get("height"), picture.columns.get("width")
    if None not in stored and stored != tuple(map(str, size)):
        raise DataError(
            f"{picture.name}: its masks are for {stored[0]} × {stored[1]} pixels and the captioned picture has "
            f"{size[0]} × {size[1]}; caption the pictures that the file describes"
        )
    try:
        return _drawn(annotation, size)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{picture.name}: a mask of {annotation['category']!r} cannot be read ({error}); there must be polygons, "
            "run lengths or a box, as COCO has them"
        ) from error


def _drawn(annotation: Mapping[str, Any], size: tuple[int, int]) -> Bools:
    found = annotation.get("segmentation")
    if isinstance(found, Mapping):
        return _runs(found["counts"], tuple(found["size"]), size)
    if found:
        return union((_filled(corners, size) for corners in found), size)
    left, top, width, height = map(float, annotation["bbox"])
    down, across = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    return np.logical_and.outer((down >= top) & (down < top + height), (across >= left) & (across < left + width))


def _filled(corners: Sequence[float], size: tuple[int, int]) -> Bools:
    """The pixels whose centre lies in a polygon [x, y, x, y, ...]."""
    points = np.asarray(corners, np.float64).reshape(-1, 2)
    left, top = np.clip(np.floor(points.min(axis=0)), 0, size[::-1]).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, size[::-1]).astype(int)
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = _odd(points - (left, top), bottom - top, right - left)
    return mask


def _odd(points: NDArray[np.float64], height: int, width: int) -> Bools:
    """The pixels (height, width) with an odd number of the polygon's edges to the left of their centre."""
    (x, y), (next_x, next_y) = points.T, np.roll(points, -1, axis=0).T
    centres = np.arange(height) + 0.5
    crossed = (centres[:, None] >= np.minimum(y, next_y)) & (centres[:, None] < np.maximum(y, next_y))  # (rows, edges)
    row, edge = np.nonzero(crossed)
    where = x[edge] + (centres[row] - y[edge]) * (next_x - x)[edge] / (next_y - y)[edge]
    column = np.clip(np.ceil(where - 0.5), 0, width).astype(np.int64)
    edges = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(edges.cumsum(axis=1)[:, :width] % 2 == 1)


def _runs(counts: Sequence[int] | str, stored: tuple[int, ...], size: tuple[int, int]) -> Bools:
    """The mask of alternating run lengths, outside first, down the columns."""
    lengths = np.array(unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if stored != size or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"run lengths of {lengths.sum()} pixels for a picture of {size[0]} × {size[1]}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size, order="F")


def unpacked(text: str) -> list[int]:
    """The run lengths in a string of COCO's: six bits a sign, five of them of the number, from the third on the change
    since the last but one (rleFrString in COCO's maskApi.c)."""
    counts: list[int] = []
    value = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts


def union(masks: Iterable[Bools], size: tuple[int, int]) -> Bools:
    """(H, W) bool: what is in any of these masks of that size."""
    found = np.zeros(size, bool)
    for mask in masks:
        found |= mask
    return found
