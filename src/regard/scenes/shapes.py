"""Plane shapes from which everything in a scene is built: outlines as points, x to the right, y up, 1 about an animal.

Only `math` and exact numpy operations are used, and the painter rounds points to whole sub-pixels, so that a scene
comes out the same on every machine.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Pair = tuple[float, float]
Colour = tuple[int, int, int]
Fill = str | Colour
"""A role ("base", "shade", "light", "accent", ...: see `paint.palette`) or a fixed colour."""


@dataclass(frozen=True)
class Shape:
    """A filled outline: `points` (n, 2), not closed, in either sense of rotation.

    `discs` (k, 3), x, y and radius, are filled too: the bends of a limb, whose outline crosses itself there.
    """

    points: Points
    fill: Fill = "base"
    discs: Points = field(default_factory=lambda: np.zeros((0, 3)))

    def moved(self, scale: Pair = (1.0, 1.0), turn: float = 0.0, by: Pair = (0.0, 0.0)) -> "Shape":
        """Scaled in x and y, turned about the origin, then shifted."""

        def move(points: Points) -> Points:
            return np.asarray(rotated(points * scale, turn) + np.array(by))

        radius = self.discs[:, 2:] * abs(scale[1])
        return Shape(move(self.points), self.fill, np.concatenate([move(self.discs[:, :2]), radius], 1))

    @cached_property
    def normals(self) -> Points:
        """(n, 2): how far each point moves for an outline one unit outside, longer at corners (twice at most)."""
        along = np.roll(self.points, -1, 0) - self.points
        length = np.sqrt((along**2).sum(1, keepdims=True))
        along = along / np.maximum(length, 1e-9)
        x, y = self.points.T
        sense = 1.0 if float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) > 0 else -1.0
        after = np.stack([along[:, 1], -along[:, 0]], 1) * sense
        both = after + np.roll(after, 1, 0)
        return np.asarray(both / np.maximum((both**2).sum(1, keepdims=True) / 2, 1.0))


@dataclass(frozen=True)
class Part:
    """A named part: `solids` make its outline and mask, `details` are painted on it, `fur` takes the pattern."""

    name: str
    solids: tuple[Shape, ...]
    details: tuple[Shape, ...] = ()
    fur: bool = False


def part(name: str, *solids: Shape, details: Iterable[Shape] = (), fur: bool = False) -> Part:
    return Part(name, solids, tuple(details), fur)


def polygon(points: Sequence[Pair], fill: Fill = "base") -> Shape:
    return Shape(np.array(points, float), fill)


def rectangle(left: float, bottom: float, right: float, top: float, fill: Fill = "base") -> Shape:
    return polygon([(left, bottom), (right, bottom), (right, top), (left, top)], fill)


_ROUND = np.array([(math.cos(math.tau * k / 36), math.sin(math.tau * k / 36)) for k in range(36)])


def ellipse(x: float, y: float, wide: float, high: float, fill: Fill = "base", turn: float = 0.0) -> Shape:
    """An ellipse about (x, y) with half-axes `wide` and `high`, turned by `turn` degrees counter-clockwise."""
    return Shape(_ROUND, fill).moved((wide, high), turn, (x, y))


def blob(points: Sequence[Pair], fill: Fill = "base", steps: int = 6) -> Shape:
    """A smooth closed outline through the points (a uniform Catmull-Rom spline)."""
    corners = np.array(points, float)
    knots = np.concatenate([corners[-1:], corners, corners[:2]])
    return Shape(_spline(knots, steps), fill)


def limb(points: Sequence[Pair], radii: Sequence[float], fill: Fill = "base", steps: int = 5) -> Shape:
    """A smooth stroke through the points, `radii` wide at each, with round ends: legs, tails, necks, trunks."""
    way = np.array([(*point, radius) for point, radius in zip(points, radii, strict=True)], float)
    knots = np.concatenate([2 * way[:1] - way[1:2], way, 2 * way[-1:] - way[-2:-1]])
    path = np.concatenate([_spline(knots, steps), way[-1:]])
    centre = path[:, :2]
    radius = path[:, 2:]
    along = np.gradient(centre, axis=0)
    along = along / np.maximum(np.sqrt((along**2).sum(1, keepdims=True)), 1e-9)
    aside = np.stack([-along[:, 1], along[:, 0]], 1)
    last = _cap(centre[-1], along[-1], float(radius[-1, 0]))
    first = _cap(centre[0], -along[0], float(radius[0, 0]))
    sides = centre + aside * radius, centre - aside * radius
    bends = _backward(sides[0], along) | _backward(sides[1], along)
    return Shape(np.concatenate([sides[0], last, sides[1][::-1], first]), fill, path[bends])


def _backward(side: Points, along: Points) -> NDArray[np.bool_]:
    """(n,) bool: where a side of a limb runs against its way, or a neighbour does: the inside of a sharp bend."""
    against = (np.gradient(side, axis=0) * along).sum(1) < 0
    return np.asarray(np.convolve(against, np.ones(5), "same") > 0)


def _cap(centre: Points, along: Points, radius: float) -> Points:
    """The half circle around an end, clockwise from the left of the way out."""
    turns = [math.pi / 2 - math.pi * k / 8 for k in range(1, 8)]
    x = float(along[0])
    y = float(along[1])
    out = [(x * math.cos(t) - y * math.sin(t), x * math.sin(t) + y * math.cos(t)) for t in turns]
    return np.asarray(centre + radius * np.array(out))


def _spline(knots: Points, steps: int) -> Points:
    """Catmull-Rom through all knots but the first and the last, `steps` points a piece, the end not included."""
    t = (np.arange(steps) / steps)[:, None, None]
    a = knots[:-3]
    b = knots[1:-2]
    c = knots[2:-1]
    d = knots[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t * t * t)
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, knots.shape[1]))


def rotated(points: Points, turn: float) -> Points:
    """Turned about the origin by `turn` degrees counter-clockwise."""
    cos = math.cos(math.radians(turn))
    sin = math.sin(math.radians(turn))
    x = points[:, 0]
    y = points[:, 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], 1)


def placed(parts: Iterable[Part], x: float = 0.0, y: float = 0.0, turn: float = 0.0, scale: float = 1.0) -> list[Part]:
    """The parts scaled and turned about the origin, then moved to (x, y)."""

    def move(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        return tuple(shape.moved((scale, scale), turn, (x, y)) for shape in shapes)

    return [replace(one, solids=move(one.solids), details=move(one.details)) for one in parts]
