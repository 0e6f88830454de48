"""Backgrounds: a sky or a wall above the horizon, a ground below, drawn from a seed and nothing else."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regard.scenes.paint import Frame
from regard.scenes.shapes import Colour

Pixels = NDArray[np.floating[Any]]
_SKIES: dict[str, tuple[Colour, Colour]] = {
    "clear": ((96, 164, 226), (206, 230, 244)),
    "cloudy": ((150, 164, 180), (214, 218, 222)),
    "sunset": ((118, 108, 168), (250, 186, 138)),
}


@dataclass(frozen=True)
class Backdrop:
    """What a ground's painter needs: the frame, the row of the horizon, the sky's name, and chance from the seed."""

    frame: Frame
    row: int
    sky: str
    seed: int

    def chance(self, what: str) -> random.Random:
        """A stream of random numbers for one purpose, the same wherever and whenever."""
        return random.Random(f"{what} {self.seed}")

    def clouds(self, what: str, cell: tuple[float, float], height: int | None = None) -> Pixels:
        """(height, width, 1) smooth noise from -1 to 1; `cell` is (down, across) in sides of the unit square."""
        height = self.frame.height if height is None else height
        unit = self.frame.unit
        shape = [max(round(n / unit / c), 1) + 1 for n, c in zip((height, self.frame.width), cell, strict=True)]
        draws = np.random.RandomState(self.chance(what).getrandbits(32)).randint(0, 256, shape)
        image = Image.fromarray(draws.astype(np.uint8))
        smooth = image.resize((self.frame.width, height), Image.Resampling.BICUBIC)
        return np.asarray(smooth, np.float32)[..., None] / 127.5 - 1

    def tint(self, colour: Colour, spread: float = 12) -> Colour:
        """The colour, a little off."""
        chance = self.chance(f"tint {colour}")
        red, green, blue = (min(max(round(c + spread * (2 * chance.random() - 1)), 0), 255) for c in colour)
        return red, green, blue


def background(ground: str, sky: str, horizon: float, seed: int, frame: Frame) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: the ground with its sky, or one of `PLAIN`."""
    if ground in PLAIN:
        return PLAIN[ground](seed, frame)
    row = min(max(round(frame.corner[1] + horizon * frame.unit), 1), frame.height - 1)
    drop = Backdrop(frame, row, sky, seed)
    above = _wall(drop) if ground == "room" else _sky(drop)
    below, far = _PAINTERS[ground]
    pixels = np.clip(np.rint(np.concatenate([above[:row], below(drop)])), 0, 255).astype(np.uint8)
    return far(np.asarray(pixels), drop)


def _rgb(colour: Colour) -> Pixels:
    return np.array(colour, np.float32)


def _fade(height: int, above: Colour, below: Colour, width: int) -> Pixels:
    """(height, width, 3): from one colour down to another."""
    down = (np.arange(height, dtype=np.float32) / max(height - 1, 1))[:, None, None]
    column = _rgb(above) + (_rgb(below) - _rgb(above)) * down
    return np.asarray(np.broadcast_to(column, (height, width, 3)), np.float32)


def _sky(drop: Backdrop) -> Pixels:
    """A gradient with soft clouds."""
    above, below = _SKIES[drop.sky]
    base = _fade(drop.row, drop.tint(above), drop.tint(below), drop.frame.width)
    noise = drop.clouds("cloud", (0.14, 0.36), drop.row) + 0.5 * drop.clouds("wisp", (0.05, 0.12), drop.row)
    veil = np.clip(noise * 0.9 - (0.0 if drop.sky == "cloudy" else 0.25), 0, 0.85)
    return np.asarray(base + (_rgb((252, 248, 244)) - base) * veil)


def _wall(drop: Backdrop) -> Pixels:
    """A painted wall, striped or plain."""
    chance = drop.chance("wall")
    paint = [(226, 208, 180), (178, 204, 196), (208, 190, 212), (236, 220, 160), (190, 204, 226), (226, 182, 168)]
    colour = drop.tint(paint[int(chance.random() * len(paint))])
    base = _fade(drop.row, colour, (colour[0] - 18, colour[1] - 18, colour[2] - 18), drop.frame.width)
    if chance.random() < 0.6:
        period = drop.frame.unit * (0.05 + 0.06 * chance.random())
        band = (np.arange(drop.frame.width, dtype=np.float32) / np.float32(period)).astype(int) % 2
        base = base - 9 * band[None, :, None]
    return base + 2 * drop.clouds("plaster", (0.03, 0.03), drop.row)


def _depth(drop: Backdrop) -> Pixels:
    """(rows of ground, 1, 1): 0 at the horizon to 1 at the lower edge."""
    rows = drop.frame.height - drop.row
    return ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None, None]


def _texture(drop: Backdrop, what: str, cell: tuple[float, float]) -> Pixels:
    """(rows, width, 1): rows of noise packed denser towards the horizon, so that it lies flat."""
    noise = drop.clouds(what, cell)
    rows = drop.frame.height - drop.row
    down = (np.arange(rows) + 0.5) / rows
    return np.asarray(noise[((len(noise) - 1) * np.sqrt(down)).astype(int)])


def _grass(drop: Backdrop) -> Pixels:
    base = _fade(drop.frame.height - drop.row, drop.tint((148, 186, 96)), drop.tint((82, 140, 58)), drop.frame.width)
    blades = _texture(drop, "blades", (0.035, 0.007)) * (4 + 16 * _depth(drop))
    return base + blades + 12 * _texture(drop, "patches", (0.12, 0.2))


def _sand(drop: Backdrop) -> Pixels:
    base = _fade(drop.frame.height - drop.row, drop.tint((240, 222, 176)), drop.tint((218, 184, 124)), drop.frame.width)
    ripples = _texture(drop, "ripples", (0.02, 0.2)) * (3 + 9 * _depth(drop))
    return base + ripples + 4 * _texture(drop, "grains", (0.006, 0.006)) + 7 * _texture(drop, "dunes", (0.12, 0.3))


def _snow(drop: Backdrop) -> Pixels:
    base = _fade(
        drop.frame.height - drop.row, drop.tint((226, 234, 246), 6), drop.tint((246, 248, 252), 6), drop.frame.width
    )
    drifts = _texture(drop, "drifts", (0.1, 0.34))
    return base + _rgb((9, 7, 3)) * drifts + 2 * _texture(drop, "flakes", (0.008, 0.008))


def _water(drop: Backdrop) -> Pixels:
    base = _fade(drop.frame.height - drop.row, drop.tint((150, 204, 222)), drop.tint((38, 112, 160)), drop.frame.width)
    waves = _texture(drop, "waves", (0.016, 0.16)) + 0.6 * _texture(drop, "swell", (0.04, 0.3))
    crests = np.clip(waves - 0.55, 0, 1) * 90
    return base + waves * (5 + 14 * _depth(drop)) + crests


def _street(drop: Backdrop) -> Pixels:
    base = _fade(
        drop.frame.height - drop.row, drop.tint((150, 150, 154), 6), drop.tint((104, 104, 110), 6), drop.frame.width
    )
    return base + 5 * _texture(drop, "gravel", (0.008, 0.006)) + 6 * _texture(drop, "stains", (0.1, 0.2))


def _floor(drop: Backdrop) -> Pixels:
    wood = [(178, 132, 88), (150, 104, 70), (206, 172, 128), (128, 110, 100)]
    colour = drop.tint(wood[int(drop.chance("wood").random() * len(wood))])
    dim = (round(colour[0] * 0.82), round(colour[1] * 0.8), round(colour[2] * 0.78))
    base = _fade(drop.frame.height - drop.row, dim, colour, drop.frame.width)
    return base + 8 * _texture(drop, "wood grain", (0.01, 0.22))


class _Pencil:
    """Draws smooth polygons in unit coordinates on a copy of the picture, at twice the size, within some rows."""

    def __init__(self, picture: NDArray[np.uint8], drop: Backdrop, top: float, bottom: float) -> None:
        self.frame = drop.frame
        self.picture = picture
        self.first = max(int(drop.row + top * drop.frame.unit), 0)
        self.last = min(int(drop.row + bottom * drop.frame.unit) + 1, drop.frame.height)
        strip = Image.fromarray(picture[self.first : self.last])
        self.image = strip.resize((strip.width * 2, strip.height * 2), Image.Resampling.NEAREST)
        self.draw = ImageDraw.Draw(self.image)
        self.origin = drop.frame.corner[0] * 2, (drop.row - self.first) * 2

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """x from the unit square's left edge, y from the horizon down, in its sides."""
        unit = self.frame.unit * 2
        place = [(round(self.origin[0] + x * unit), round(self.origin[1] + y * unit)) for x, y in points]
        self.draw.polygon(place, colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    @property
    def edges(self) -> tuple[float, float]:
        """The picture's left and right edge in unit coordinates."""
        beyond = self.frame.corner[0] / self.frame.unit
        return -beyond, 1 + beyond

    def done(self) -> NDArray[np.uint8]:
        return np.concatenate([self.picture[: self.first], np.asarray(self.image.reduce(2)), self.picture[self.last :]])


def _hills(picture: NDArray[np.uint8], drop: Backdrop, colours: tuple[Colour, ...], high: float) -> NDArray[np.uint8]:
    """Ranges of soft hills on the horizon, the far ones first."""
    pencil = _Pencil(picture, drop, -high * 1.6, 0.0)
    left, right = pencil.edges
    for number, colour in enumerate(colours):
        chance = drop.chance(f"hills {number}")
        peak = high * (1.5 - number / len(colours))
        # the knots lie on a lattice that does not depend on the picture's width
        knots = {k: peak * (0.25 + 0.75 * chance.random()) for k in range(-8, 17)}
        steps = [left + (right - left) * k / 64 for k in range(65)]
        ridge = [(x, -_smooth(knots, x / 0.25)) for x in steps]
        pencil.polygon([(left, 0.02), *ridge, (right, 0.02)], drop.tint(colour))
    return pencil.done()


def _smooth(knots: dict[int, float], x: float) -> float:
    """Between knots at whole numbers, level at each."""
    k = min(max(int(x // 1), -8), 15)
    t = min(max(x - k, 0.0), 1.0)
    return knots[k] + (knots[k + 1] - knots[k]) * t * t * (3 - 2 * t)


def _far_snow(picture: NDArray[np.uint8], drop: Backdrop) -> NDArray[np.uint8]:
    """White mountains and dark firs."""
    picture = _hills(picture, drop, ((188, 202, 222), (216, 226, 240)), 0.13)
    pencil = _Pencil(picture, drop, -0.14, 0.03)
    chance = drop.chance("firs")
    for _ in range(16):
        x = chance.random() * 3 - 1
        high = 0.05 + 0.07 * chance.random()
        green = drop.tint((70, 108, 100), 4)
        for k in range(3):
            low = 0.012 - high * 0.28 * k
            wide = high * (0.3 - 0.07 * k)
            pencil.polygon([(x - wide, low), (x, low - high * 0.5), (x + wide, low)], green)
    return pencil.done()


def _far_street(picture: NDArray[np.uint8], drop: Backdrop) -> NDArray[np.uint8]:
    """A row of buildings with windows, a pavement and the line in the middle of the road."""
    pencil = _Pencil(picture, drop, -0.42, 1.0)
    chance = drop.chance("buildings")
    walls = [(196, 160, 140), (170, 178, 188), (206, 196, 170), (164, 142, 150), (184, 190, 176)]
    x = -1.0
    while x < 2.0:
        wide = 0.12 + 0.14 * chance.random()
        high = 0.14 + 0.24 * chance.random()
        colour = walls[int(chance.random() * len(walls))]
        _building(pencil, x, wide, high, colour, lit=chance.random())
        x += wide
    pencil.rectangle(-2, -0.002, 3, 0.035, (186, 182, 176))
    pencil.rectangle(-2, 0.035, 3, 0.043, (120, 118, 118))
    start = -1 - 0.2 * chance.random()
    for k in range(16):
        left = start + 0.2 * k
        pencil.polygon(
            [(left, 0.215), (left + 0.1, 0.215), (left + 0.095, 0.235), (left - 0.01, 0.235)], (226, 222, 204)
        )
    return pencil.done()


def _building(pencil: _Pencil, x: float, wide: float, high: float, colour: Colour, lit: float) -> None:
    pencil.rectangle(x, -high, x + wide, 0, colour)
    pane = (112, 132, 152) if lit < 0.6 else (244, 226, 160)
    across = max(int(wide / 0.055), 1)
    down = int(high / 0.07)
    gap = wide / across
    for i in range(across):
        for j in range(down):
            left = x + gap * (i + 0.28)
            top = -high + 0.025 + 0.07 * j
            pencil.rectangle(left, top, left + gap * 0.44, top + 0.036, pane)


def _far_room(picture: NDArray[np.uint8], drop: Backdrop) -> NDArray[np.uint8]:
    """Boards on the floor, a skirting, and a picture or a window on the wall."""
    pencil = _Pencil(picture, drop, -0.45, 2.0)
    chance = drop.chance("room")
    bottom = (drop.frame.height - drop.row) / drop.frame.unit
    for k in range(-14, 29):  # boards run towards a point above the horizon
        near = 0.5 + (k / 7 - 1) * 1.6
        far = 0.5 + (k / 7 - 1) * 0.9
        pencil.polygon([(far, 0), (far + 0.003, 0), (near + 0.007, bottom), (near, bottom)], (96, 70, 52))
    pencil.rectangle(-2, -0.03, 3, 0.0, (240, 236, 228))
    pencil.rectangle(-2, -0.001, 3, 0.006, (120, 100, 84))
    left = 0.05 + 0.6 * chance.random()
    wide = 0.16 + 0.14 * chance.random()
    high = 0.14 + 0.1 * chance.random()
    low = -0.10 - 0.05 * chance.random()
    pencil.rectangle(left, low - high, left + wide, low, (112, 84, 62))
    inner = left + 0.015, low - high + 0.015, left + wide - 0.015, low - 0.015
    if chance.random() < 0.5:
        pencil.rectangle(*inner, (190, 220, 240))
        pencil.rectangle(left + wide / 2 - 0.006, inner[1], left + wide / 2 + 0.006, inner[3], (112, 84, 62))
    else:
        pencil.rectangle(*inner, drop.tint((214, 206, 190), 30))
        pencil.polygon(
            [(inner[0], inner[3]), ((inner[0] + inner[2]) / 2, inner[1] + 0.03), (inner[2], inner[3])],
            drop.tint((110, 140, 130), 50),
        )
    return pencil.done()


def _grey(seed: int, frame: Frame) -> NDArray[np.uint8]:
    return np.full((frame.height, frame.width, 3), 127, np.uint8)


def _noise(seed: int, frame: Frame) -> NDArray[np.uint8]:
    state = np.random.RandomState(random.Random(f"noise {seed}").getrandbits(32))
    return np.asarray(state.randint(0, 256, (frame.height, frame.width, 3)).astype(np.uint8))


_Below = Callable[[Backdrop], Pixels]
_Far = Callable[[NDArray[np.uint8], Backdrop], NDArray[np.uint8]]
_PAINTERS: dict[str, tuple[_Below, _Far]] = {
    "grass": (_grass, partial(_hills, colours=((158, 190, 172), (124, 168, 110)), high=0.09)),
    "room": (_floor, _far_room),
    "sand": (_sand, partial(_hills, colours=((226, 200, 160), (236, 214, 166)), high=0.07)),
    "snow": (_snow, _far_snow),
    "street": (_street, _far_street),
    "water": (_water, partial(_hills, colours=((150, 172, 186),), high=0.035)),
}
PLAIN: dict[str, Callable[[int, Frame], NDArray[np.uint8]]] = {"grey": _grey, "noise": _noise}
"""Backgrounds that are no place: an even grey, and noise in every pixel and channel."""
