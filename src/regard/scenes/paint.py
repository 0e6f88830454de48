"""From shapes to pixels: one part at a time, with its exact mask.

A part is drawn alone at three times the size and brought down, its own outline colour around it; its mask is where
at least half a pixel is covered. Parts are then laid over one another without blending. So a pixel belongs to one
part or to the background and takes nothing from what lies under it: leaving a part out, or changing the background,
changes no other pixel.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regard.scenes.facts import COLOURS, Item
from regard.scenes.kinds import geometry
from regard.scenes.shapes import Colour, Fill, Part, Points, Shape

FINE = 3
"""Sub-pixels a pixel, in each direction."""

_Random = Callable[[], float]


@dataclass(frozen=True)
class Frame:
    """Where the unit square lies in a picture of `height` × `width` pixels: in the middle, as large as it fits."""

    height: int
    width: int

    @property
    def unit(self) -> int:
        """The pixels of a side of the unit square."""
        return min(self.height, self.width)

    @property
    def corner(self) -> tuple[float, float]:
        """(x, y) of the unit square's left upper corner, in pixels."""
        return (self.width - self.unit) / 2, (self.height - self.unit) / 2


@dataclass(frozen=True)
class Layer:
    """A painted part: its `mask` (h, w) bool and `colours` (h, w, 3) uint8 with the left upper corner at (x, y)."""

    name: str
    x: int
    y: int
    mask: NDArray[np.bool_]
    colours: NDArray[np.uint8]

    def lay(self, picture: NDArray[np.uint8], owner: NDArray[np.int16], number: int) -> None:
        """Put the part over the picture (H, W, 3), and its number into `owner` (H, W)."""
        height, width = self.mask.shape
        window = np.s_[self.y : self.y + height, self.x : self.x + width]
        np.copyto(picture[window], self.colours, where=self.mask[..., None])
        np.copyto(owner[window], np.int16(number), where=self.mask)

    def clipped(self, frame: "Frame") -> "Layer | None":
        """What of it lies in the picture, if anything."""
        left = max(self.x, 0)
        top = max(self.y, 0)
        right = min(self.x + self.mask.shape[1], frame.width)
        bottom = min(self.y + self.mask.shape[0], frame.height)
        if left >= right or top >= bottom:
            return None
        here = np.s_[top - self.y : bottom - self.y, left - self.x : right - self.x]
        return Layer(self.name, left, top, self.mask[here], self.colours[here])

    def whole(self, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width) bool: the part's full extent, hidden or not."""
        mask = np.zeros((height, width), bool)
        mask[self.y : self.y + self.mask.shape[0], self.x : self.x + self.mask.shape[1]] = self.mask
        return mask


def layers(item: Item, frame: Frame, light: float) -> list[Layer]:
    """The item's parts, painted, from back to front; those outside of the picture are left out."""
    colours = palette(item)
    parts = geometry(item.kind, item.pose, item.mirrored)
    painted = (_layer(part, item, frame, colours, light).clipped(frame) for part in parts)
    return [layer for layer in painted if layer is not None]


def palette(item: Item) -> dict[str, Colour]:
    """The item's colours by role, shaded a little by its seed so that no two reds are the same."""
    chance = random.Random(f"palette {item.seed}")
    shift = [chance.random() * 22 - 11 for _ in range(6)]
    base = _clipped(COLOURS[item.colour], shift[:3])
    accent = _clipped(COLOURS[item.accent], shift[3:])
    return {
        "base": base,
        "accent": accent,
        "light": _mixed(base, (255, 252, 244), 0.42),
        "shade": _mixed(base, (30, 24, 40), 0.22),
        "dark": _mixed(base, (28, 22, 34), 0.68),
    }


def _clipped(colour: Colour, shift: list[float]) -> Colour:
    red, green, blue = (min(max(round(c + s), 0), 255) for c, s in zip(colour, shift, strict=True))
    return red, green, blue


def _mixed(colour: Colour, other: Colour, part: float) -> Colour:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(colour, other, strict=True))
    return red, green, blue


class _Pen:
    """Draws shapes of one part, in sub-pixels of a window of the picture."""

    def __init__(self, part: Part, item: Item, frame: Frame) -> None:
        x, y = frame.corner
        self.zoom = frame.unit * FINE
        self.across = item.scale * item.stretch * self.zoom
        self.up = -item.scale * self.zoom
        self.place = (x * FINE + item.x * self.zoom, y * FINE + item.y * self.zoom)
        self.stroke = max(0.7 * FINE, 0.011 * item.scale**0.5 * self.zoom)
        self.cache: dict[tuple[int, float], Points] = {}
        outlines = np.concatenate([self.points(shape, self.stroke) for shape in part.solids])
        self.left, self.top = (int(edge) for edge in outlines.min(0) // FINE)
        self.right, self.bottom = (int(edge) for edge in outlines.max(0) // FINE + 1)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the window in pixels; it may reach beyond the picture."""
        return self.right - self.left, self.bottom - self.top

    def points(self, shape: Shape, grow: float = 0.0) -> Points:
        """The outline in sub-pixels of the picture, `grow` sub-pixels larger all round."""
        key = id(shape), grow
        if key not in self.cache:
            points = shape.points * (self.across, self.up) + self.place
            self.cache[key] = points + shape.normals * (grow, -grow) if grow else points
        return self.cache[key]

    def fill(self, draw: ImageDraw.ImageDraw, shape: Shape, colour: Colour | int, grow: float = 0.0) -> None:
        """Draw the shape at whole sub-pixels of the window."""
        corner = self.left * FINE, self.top * FINE
        draw.polygon(np.rint(self.points(shape, grow) - corner).ravel().tolist(), colour)
        for x, y, radius in shape.discs:
            middle = np.array((x * self.across, y * self.up)) + self.place - corner
            reach = np.array((abs(self.across), abs(self.up))) * radius + grow
            draw.ellipse(np.rint(np.concatenate([middle - reach, middle + reach])).tolist(), colour)


def _layer(part: Part, item: Item, frame: Frame, colours: dict[str, Colour], light: float) -> Layer:
    """Paint one part in its own window."""
    pen = _Pen(part, item, frame)
    width, height = pen.size
    edge = _mixed(_colour(part.solids[0].fill, colours), (24, 18, 30), 0.62)
    image = Image.new("RGB", (width * FINE, height * FINE), edge)
    cover = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(image)
    stencil = ImageDraw.Draw(cover)
    for shape in part.solids:
        pen.fill(stencil, shape, 255, pen.stroke)
        pen.fill(draw, shape, _colour(shape.fill, colours))
    if part.fur and item.pattern != "plain":
        _pattern(image, part, item, pen, colours, edge)
    for shape in part.details:
        pen.fill(draw, shape, _colour(shape.fill, colours))
    mask = np.asarray(cover.reduce(FINE)) >= 128
    return Layer(part.name, pen.left, pen.top, mask, _shaded(image.reduce(FINE), light))


def _colour(fill: Fill, colours: dict[str, Colour]) -> Colour:
    if isinstance(fill, str):
        return colours[fill]
    return fill


def _pattern(image: Image.Image, part: Part, item: Item, pen: _Pen, colours: dict[str, Colour], edge: Colour) -> None:
    """Stripes or spots over the fill, and the edge again around it."""
    colour = _mixed(colours["base"], colours["accent"], 0.75) if item.colour != item.accent else colours["shade"]
    step = 0.13 * item.scale * pen.zoom
    chance = random.Random(f"{item.pattern} {item.seed} {part.name}").random
    draw = ImageDraw.Draw(image)
    if item.pattern == "striped":
        start = (pen.place[0] - pen.left * FINE) % step
        _stripes(draw, image.size, start, step, chance, colour)
    else:
        _spots(draw, image.size, step, chance, colour)
    outside = Image.new("L", image.size, 255)
    hole = ImageDraw.Draw(outside)
    for shape in part.solids:
        pen.fill(hole, shape, 0)
    image.paste(edge, mask=outside)


def _stripes(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], start: float, step: float, chance: _Random, colour: Colour
) -> None:
    """Upright bands, each bent like an arrow head."""
    width, height = size
    for k in range(-2, int(width / step) + 3):
        x = start + k * step
        thick = step * (0.34 + 0.2 * chance())
        bend = x + step * (0.5 + 0.4 * chance())
        band = x, 0, x + thick, 0, bend + thick, height / 2, x + thick, height, x, height, bend, height / 2
        draw.polygon([round(c) for c in band], colour)


def _spots(draw: ImageDraw.ImageDraw, size: tuple[int, int], step: float, chance: _Random, colour: Colour) -> None:
    """Ellipses of several sizes anywhere."""
    width, height = size
    for _ in range(3 + int(width * height / (step * step * 1.6))):
        x = chance() * width
        y = chance() * height
        wide = step * (0.22 + 0.3 * chance())
        high = step * (0.22 + 0.3 * chance())
        draw.ellipse([round(x - wide), round(y - high), round(x + wide), round(y + high)], colour)


def _shaded(image: Image.Image, light: float) -> NDArray[np.uint8]:
    """Lighter above and on the side the light comes from, as if every part were round. (h, w, 3) uint8."""
    pixels = np.asarray(image).astype(np.float32)
    height, width = pixels.shape[:2]
    down = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    across = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    factor = 1.0 - 0.22 * down[:, None] - 0.2 * down[:, None] ** 2 + 0.18 * np.float32(light) * across[None]
    return np.asarray(np.minimum(np.rint(pixels * factor[..., None]), 255).astype(np.uint8))
