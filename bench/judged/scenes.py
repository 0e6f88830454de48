"""Scenes of a condition, drawn anew: the facts that words are judged by, and the picture.

In the *occluded* ones a thing stands before the main animal; of the *cropped* ones a part of the picture is left, and
the facts are of what a tenth or more of is still there; the *held-out* ones are of what a captioner's training never
had: the combinations that the small captioners were kept from, or, for `scenes-captioner`, two or three animals.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regard.scenes import COLOURS, THINGS, Item, Scene, render, sample

FIRST = {"plain": 7_000_000, "occluded": 7_100_000, "cropped": 7_200_000, "held-out": 7_300_000, "early": 7_400_000}
"""The first seed of each condition: no training had one of these. An early captioner's scenes are plain ones."""
SIDES_OF_CROPS = (0.4, 0.7)
"""From how much to how much of a side is left of a cropped picture."""
LEAST = 0.1
"""The share of an item that must be left for it to count."""


@dataclass(frozen=True)
class DrawnScene:
    """The facts that words are judged by, the picture (height, width, 3) uint8, and a `name` of its own."""

    name: str
    scene: Scene
    picture: NDArray[np.uint8]


def drawn_scenes(condition: str, first: int, count: int, combinations: bool) -> Iterator[DrawnScene]:
    """So many scenes of a condition, the `first` of them and those after it. `combinations` says whether held-out ones
    are those of the small captioners."""
    start = FIRST[condition] + first
    if condition == "held-out" and combinations:
        from small.drawn import held_out_scenes  # late: it is of the small captioners alone

        scenes = (scene for _, scene in held_out_scenes(count, f"checks of words {start}"))
        pictures = ((scene, render(scene).picture) for scene in scenes)
    else:
        draw = {"occluded": _occluded, "cropped": _cropped, "held-out": _several}.get(condition, _plain)
        pictures = (draw(seed) for seed in range(start, start + count))
    for number, pair in enumerate(pictures, start):
        yield DrawnScene(f"{condition} {number}", *pair)


def _plain(seed: int) -> tuple[Scene, NDArray[np.uint8]]:
    scene = sample(seed)
    return scene, render(scene).picture


def _several(seed: int) -> tuple[Scene, NDArray[np.uint8]]:
    chance = np.random.default_rng((seed, 3))
    scene = sample(seed, animals=int(chance.integers(2, 4)), things=int(chance.integers(1, 4)))
    return scene, render(scene).picture


def _occluded(seed: int) -> tuple[Scene, NDArray[np.uint8]]:
    """A thing that stands before the main animal, half to nine tenths as high as that is."""
    chance = np.random.default_rng((seed, 1))
    scene = sample(seed)
    left, top, right, bottom = scene.items[0].box
    y = round(max(min(0.97, max(item.depth for item in scene.items) + 0.02), bottom), 4)
    colour, accent = chance.permutation(list(COLOURS))[:2]
    thing = Item(
        str(chance.choice(list(THINGS))),
        str(colour),
        x=round(float(left + (right - left) * chance.uniform(0.2, 0.8)), 4),
        y=y,
        scale=round(float(np.clip((bottom - top) * chance.uniform(0.5, 0.9), 0.12, 0.5)), 4),
        depth=y,
        accent=str(accent),
        seed=int(chance.integers(2**31)),
    )
    scene = replace(scene, items=(*scene.items, thing))
    return scene, render(scene).picture


def _cropped(seed: int) -> tuple[Scene, NDArray[np.uint8]]:
    """A square around some place of the main animal, of a picture drawn at twice the size."""
    chance = np.random.default_rng((seed, 2))
    scene = sample(seed)
    rendering = render(scene, size=448)
    left, top, right, bottom = scene.items[0].box
    side = chance.uniform(*SIDES_OF_CROPS)
    corner = [
        np.clip(near + (far - near) * chance.uniform() - side / 2, 0, 1 - side)
        for near, far in ((left, right), (top, bottom))
    ]
    across, down = (slice(round(448 * edge), round(448 * (edge + side))) for edge in corner)
    masks = [rendering.masks[str(index)] for index in range(len(scene.items))]
    shares = [mask[down, across].sum() / max(mask.sum(), 1) for mask in masks]
    items = tuple(item for k, item in enumerate(scene.items) if k == 0 or shares[k] >= LEAST)
    return replace(scene, items=items), rendering.picture[down, across]
