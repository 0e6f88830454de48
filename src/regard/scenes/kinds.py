"""The kinds there are, their poses, and their shapes in one common measure: every kind is about 1 wide and high."""

from functools import cache

import numpy as np

from regard.scenes.animals import ANIMALS, raised
from regard.scenes.shapes import Part, Shape
from regard.scenes.things import COVERS, THINGS, TOPS, Flat

KINDS = (*ANIMALS, *THINGS)
Extent = tuple[float, float, float, float]
"""(left, bottom, right, top) in the kind's own measure, y up."""


def poses(kind: str) -> tuple[str, ...]:
    """The poses a kind knows; a thing only stands."""
    return ANIMALS[kind][1] if kind in ANIMALS else ("standing",)


@cache
def geometry(kind: str, pose: str, mirrored: bool) -> tuple[Part, ...]:
    """The parts from back to front; mirrored, x is negated and every "left" in a name becomes "right"."""
    parts = _unscaled(kind, _swapped(pose) if mirrored else pose)
    factor = _measure(kind)
    across = (-factor, factor) if mirrored else (factor, factor)

    def scaled(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        return tuple(shape.moved(across) for shape in shapes)

    return tuple(
        Part(_swapped(one.name) if mirrored else one.name, scaled(one.solids), scaled(one.details), one.fur)
        for one in parts
    )


@cache
def extent(kind: str, pose: str, mirrored: bool) -> Extent:
    """The box around all parts."""
    return _extent(geometry(kind, pose, mirrored))


@cache
def feet(kind: str, pose: str, mirrored: bool) -> tuple[float, float]:
    """From where to where the shadow falls: the width of the whole."""
    left, _, right, _ = extent(kind, pose, mirrored)
    return left, right


def top(kind: str) -> Flat | None:
    """What can be stood on, if anything."""
    return _in_measure(kind, TOPS.get(kind))


def cover(kind: str) -> Flat | None:
    """What can be stood under, if anything."""
    return _in_measure(kind, COVERS.get(kind))


def acting_part(pose: str, kind: str) -> str | None:
    """The part that does what the pose says ("raising its left paw": the left front leg); None where all of it does."""
    side = raised(pose)
    if side is None:
        return None
    return f"{side} wing" if kind == "bird" else f"{side} front leg"


def _unscaled(kind: str, pose: str) -> list[Part]:
    return ANIMALS[kind][0](pose) if kind in ANIMALS else THINGS[kind](pose)


def _swapped(words: str) -> str:
    """Left for right and right for left."""
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in words.split())


@cache
def _measure(kind: str) -> float:
    """What brings a kind in its first pose to an area of 1."""
    left, bottom, right, high = _extent(_unscaled(kind, poses(kind)[0]))
    return float(1 / np.sqrt((right - left) * (high - bottom)))


def _extent(parts: tuple[Part, ...] | list[Part]) -> Extent:
    points = np.concatenate([shape.points for one in parts for shape in one.solids])
    left, bottom = points.min(0)
    right, high = points.max(0)
    return float(left), float(bottom), float(right), float(high)


def _in_measure(kind: str, flat: Flat | None) -> Flat | None:
    factor = _measure(kind)
    return flat and Flat(flat.left * factor, flat.right * factor, flat.y * factor)
