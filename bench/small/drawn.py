"""The scenes that the small captioners learn from, without five combinations that they never see."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.scenes import ANIMALS, Item, Scene, captions, render, sample

SEED = "small captioners"
HELD_OUT: dict[str, Callable[[Scene, Item], bool]] = {
    "blue cat": lambda scene, item: (item.kind, item.colour) == ("cat", "blue"),
    "red dog": lambda scene, item: (item.kind, item.colour) == ("dog", "red"),
    "yellow car": lambda scene, item: (item.kind, item.colour) == ("car", "yellow"),
    "jumping rabbit": lambda scene, item: (item.kind, item.pose) == ("rabbit", "jumping"),
    "elephant in the water": lambda scene, item: (item.kind, scene.ground) == ("elephant", "water"),
}
"""Combinations that no scene of the training has, by their names."""


def held_out(scene: Scene) -> tuple[str, ...]:
    """The combinations of `HELD_OUT` that a scene shows.

    >>> held_out(sample(1, kind="elephant", ground="water"))
    ('elephant in the water',)
    """
    return tuple(name for name, has in HELD_OUT.items() if any(has(scene, item) for item in scene.items))


def seen_scenes(count: int, seed: str = SEED) -> list[Scene]:
    """So many scenes by chance without any of them, as many of each animal as can be."""
    kinds = sorted(ANIMALS)
    found: list[Scene] = []
    for number in range(2 * count):
        scene = sample(f"{seed}/{number}", kind=kinds[len(found) % len(kinds)])
        if not held_out(scene):
            found.append(scene)
        if len(found) == count:
            break
    return found


def held_out_scenes(count: int, seed: str) -> Iterator[tuple[str, Scene]]:
    """So many scenes that show one each, in turn, with its name; looked for among those by chance."""
    names = list(HELD_OUT)
    number = 0
    for place in range(count):
        name = names[place % len(names)]
        while name not in held_out(scene := sample(f"{seed}/{number}", kind=_kind(name), ground=_ground(name))):
            number += 1
        number += 1
        yield name, scene


def _kind(name: str) -> str | None:
    return next((kind for kind in ANIMALS if kind in name.split()), None)


def _ground(name: str) -> str | None:
    return "water" if name.endswith("water") else None


@dataclass(frozen=True)
class Drawn:
    """Pictures (n, 224, 224, 3) uint8 with up to five captions each; a picture may be mirrored."""

    pictures: NDArray[np.uint8]
    texts: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int) -> "Drawn":
        return Drawn(self.pictures[:count], self.texts[:count])


def mirrored(text: str) -> str:
    """What is said of a picture, said of its mirror image: left and right change places.

    >>> mirrored("a cat raises its left paw right of a ball")
    'a cat raises its right paw left of a ball'
    """
    swap = {"left": "right", "right": "left"}
    return " ".join(swap.get(word, word) for word in text.split())


def draw(scenes: Sequence[Scene], folder: Path) -> Drawn:
    """The pictures of scenes and their captions, drawn once and kept in `folder`."""
    pictures = folder / "pictures.npy"
    texts = folder / "captions.json"
    if not texts.exists():
        folder.mkdir(parents=True, exist_ok=True)
        drawn = np.lib.format.open_memmap(pictures, "w+", np.uint8, (len(scenes), 224, 224, 3))
        for number, scene in enumerate(scenes):
            drawn[number] = render(scene).picture
        drawn.flush()
        texts.write_text(json.dumps([[caption.text for caption in captions(scene)] for scene in scenes]))
    stored = json.loads(texts.read_text())
    return Drawn(np.load(pictures, mmap_mode="r"), tuple(tuple(each) for each in stored))
