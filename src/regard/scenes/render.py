"""A scene as a picture with its exact masks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from regard.errors import UsageError, unknown
from regard.scenes.facts import GROUNDS, Item, Scene
from regard.scenes.grounds import PLAIN
from regard.scenes.grounds import background as paint_background
from regard.scenes.kinds import feet
from regard.scenes.paint import Frame, Layer, layers

Mask = NDArray[np.bool_]
Without = str | tuple[int, str] | Iterable[str | tuple[int, str]]
BACKGROUNDS = (*GROUNDS, *PLAIN)
VERSION = 1
"""Of what is sampled and how it is drawn, in every folder of scenes: whoever changes a pixel or a fact raises it."""


@dataclass(frozen=True)
class Rendering:
    """A drawn picture and where everything in it is.

    `picture` (H, W, 3) uint8. `masks` by name, (H, W) bool, of what is visible: "0" for item 0, "0.tail" for its
    part, "0.shadow" for its shadow on the ground, "background" for all that is no item. The parts' masks and the
    background are disjoint and cover the picture; an item's is the union of its parts'; shadows are background and may
    overlap. What is left out, hidden or outside of the picture has an empty mask. `parts` (H, W) int16 has index + 1
    into `names` at each pixel, 0 for the background; `layers` are the painted parts, as they were before being hidden.
    """

    picture: NDArray[np.uint8]
    masks: Mapping[str, Mask]
    parts: NDArray[np.int16]
    names: tuple[str, ...]
    layers: Mapping[str, Layer] = field(repr=False)

    @cached_property
    def extents(self) -> dict[str, Mask]:
        """By name, (H, W) bool: what an item or part would cover if nothing stood in front of it."""
        height, width = self.parts.shape
        whole = {name: layer.whole(height, width) for name, layer in self.layers.items()}
        masks = {name: whole[name] if name in whole else np.zeros((height, width), bool) for name in self.names}
        return {**_united(masks), **masks}


def render(
    scene: Scene, without: Without = (), background: str | None = None, size: int | tuple[int, int] = 224
) -> Rendering:
    """Draw a scene at `size` pixels (or (height, width)), the same bytes whenever and wherever.

    `without` names what is really not drawn: items ("0"), parts ("0.tail" or (0, "tail")), or several of them; what
    lies behind appears, and no pixel outside of the part's mask changes (of a left-out item: outside of its mask and
    its shadow's); parts that the scene has `missing` are left out too. `background` is another ground, "grey" or
    "noise"; items' pixels stay as they are, and on a plain background there are no shadows. Raises `UsageError` for an
    unknown name or a size under 16 or over 4096.
    """
    frame = frame_of(size)
    missing = _missing(scene, without) | {*scene.missing}
    ground = scene.ground if background is None else background
    if ground not in BACKGROUNDS:
        raise unknown("background", ground, BACKGROUNDS)
    picture = paint_background(ground, scene.sky, scene.horizon, scene.seed, frame)
    shadows = {} if ground in PLAIN else _shadows(scene, frame, missing)
    for amount in shadows.values():
        _darken(picture, amount)
    numbers = {name: number for number, name in enumerate(scene.names, 1)}
    parts = np.zeros((frame.height, frame.width), np.int16)
    painted: dict[str, Layer] = {}
    # far before near, and of those on the same ground the lower before what stands on it
    for index in sorted(range(len(scene.items)), key=lambda k: (scene.items[k].depth, -scene.items[k].y, k)):
        for layer in layers(scene.items[index], frame, scene.light):
            name = f"{index}.{layer.name}"
            if name not in missing:
                layer.lay(picture, parts, numbers[name])
                painted[name] = layer
    picture = _grained(picture, scene)
    masks = _masks(scene, parts, shadows)
    return Rendering(picture, masks, parts, scene.names, painted)


def frame_of(size: int | tuple[int, int]) -> Frame:
    """The frame for a side or (height, width). Raises `UsageError` under 16 and over 4096."""
    height, width = (size, size) if isinstance(size, int) else size
    if not (16 <= height <= 4096 and 16 <= width <= 4096):
        raise UsageError(f"size must lie between 16 and 4096 pixels; got {size}; give a number or (height, width)")
    return Frame(height, width)


def _missing(scene: Scene, without: Without) -> set[str]:
    """The names of all parts to be left out, and of items whose shadow goes with them."""
    missing: set[str] = set()
    for name in _named(without):
        if name in scene.names:
            missing.add(name)
        elif name.isdecimal() and int(name) < len(scene.items):
            missing |= {name} | {part for part in scene.names if part.startswith(f"{name}.")}
        else:
            items = [str(index) for index in range(len(scene.items))]
            raise unknown("item or part", name, [*items, *scene.names], "Scene.names lists the parts.")
    return missing


def _named(without: Without) -> list[str]:
    """One name or pair, or several, as names."""
    if isinstance(without, str):
        return [without]
    if isinstance(without, tuple) and len(without) == 2 and isinstance(without[0], int):
        return [f"{without[0]}.{without[1]}"]
    return [name for one in without for name in _named(cast(Without, one))]


def _shadows(scene: Scene, frame: Frame, missing: set[str]) -> dict[str, NDArray[np.float32]]:
    """(H, W) float32 from 0 to 0.4 for each item that stands over the ground: a soft ellipse, away from the light."""
    return {
        f"{index}.shadow": _shadow(item, scene.light, frame)
        for index, item in enumerate(scene.items)
        if str(index) not in missing and item.y == item.depth
    }


def _shadow(item: Item, light: float, frame: Frame) -> NDArray[np.float32]:
    left, right = feet(item.kind, item.pose, item.mirrored)
    wide = item.scale * item.stretch
    half = (right - left) / 2 * wide * frame.unit * 1.02
    high = 0.10 * item.scale * frame.unit
    x = frame.corner[0] + (item.x + (left + right) / 2 * wide - 0.08 * light * item.scale) * frame.unit
    y = frame.corner[1] + item.y * frame.unit
    across = (np.arange(frame.width, dtype=np.float32) + np.float32(0.5 - x)) / np.float32(half)
    down = (np.arange(frame.height, dtype=np.float32) + np.float32(0.5 - y)) / np.float32(high)
    return np.asarray(0.42 * np.clip(1.25 * (1 - across[None] ** 2 - down[:, None] ** 2), 0, 1), np.float32)


def _darken(picture: NDArray[np.uint8], amount: NDArray[np.float32]) -> None:
    """Lay a shadow on the picture, in the rows where there is any."""
    rows = np.flatnonzero(amount.any(1))
    if len(rows):
        band = slice(rows[0], rows[-1] + 1)
        picture[band] = (picture[band] * (1 - amount[band, :, None]) + np.float32(0.5)).astype(np.uint8)


def _grained(picture: NDArray[np.uint8], scene: Scene) -> NDArray[np.uint8]:
    """The picture with grain that depends on nothing but the scene's seed and the place."""
    if not scene.noise:
        return picture
    height, width = picture.shape[:2]
    state = np.random.RandomState(scene.seed)
    # the sum of two even draws: a triangle, near enough to a camera's noise and exact on every machine
    draws = np.frombuffer(state.bytes(2 * height * width), np.uint8).reshape(2, height, width)
    grain = (draws[0].astype(np.float32) + draws[1] - 255) * np.float32(scene.noise / 104.5)
    grainy = picture + np.rint(grain).astype(np.int16)[..., None]
    return np.asarray(np.clip(grainy, 0, 255, out=grainy).astype(np.uint8))


def _masks(scene: Scene, parts: NDArray[np.int16], shadows: Mapping[str, NDArray[np.float32]]) -> dict[str, Mask]:
    masks = {name: parts == number for number, name in enumerate(scene.names, 1)}
    open_ground = parts == 0
    whole = _united(masks)
    fallen = {
        f"{index}.shadow": (shadows[f"{index}.shadow"] > 0) & open_ground
        if f"{index}.shadow" in shadows
        else np.zeros(parts.shape, bool)
        for index in range(len(scene.items))
    }
    return {**whole, **masks, **fallen, "background": open_ground}


def _united(masks: Mapping[str, Mask]) -> dict[str, Mask]:
    """The union of its parts for each item."""
    whole: dict[str, Mask] = {}
    for name, mask in masks.items():
        item = name.split(".")[0]
        whole[item] = whole[item] | mask if item in whole else mask.copy()
    return whole
