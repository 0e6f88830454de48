"""Scenes by chance: kind, colour, place, size, pose and ground are drawn independently of one another."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from regard.errors import UsageError, unknown
from regard.records import Box
from regard.scenes.animals import ANIMALS
from regard.scenes.facts import AIRBORNE, COLOURS, GROUNDS, PATTERNS, RELATIONS, SKIES, Item, Scene, relation
from regard.scenes.kinds import cover, poses, top
from regard.scenes.things import COVERS, THINGS, TOPS

_TRIES = 400
T = TypeVar("T")


class Chance:
    """Random numbers from a seed through `random.random` alone, whose numbers Python keeps for ever."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(f"scene {seed}").random

    def between(self, low: float, high: float) -> float:
        """Even between the two, with four decimals, so that files hold it exactly."""
        return round(low + (high - low) * self.random(), 4)

    def one_of(self, several: Sequence[T]) -> T:
        return several[int(self.random() * len(several))]


def sample(
    seed: int | str,
    *,
    kind: str | None = None,
    animals: int = 1,
    things: int | None = None,
    ground: str | None = None,
    relation: str | None = None,
) -> Scene:
    """A scene by chance, the same for the same arguments.

    By default it suits classification: one animal (`kind` or any) and none to three things which hide little of it.
    With `animals` or `things` there are that many, the main animal first. With `relation` the main animal, item 0, is
    in that relation to item 1 (an animal if there are several, else a thing). Raises `UsageError` for a name or number
    that is not possible.
    """
    chance = Chance(seed)
    if things is None:
        things = chance.one_of((0, 1, 1, 2, 2, 3)) if relation is None or animals > 1 else 1
    _check(kind, animals, things, ground, relation)
    ground = ground or chance.one_of(GROUNDS)
    horizon = chance.between(0.36, 0.56)
    kinds = [kind or chance.one_of(tuple(ANIMALS)), *(chance.one_of(tuple(ANIMALS)) for _ in range(animals - 1))]
    kinds += [chance.one_of(tuple(THINGS)) for _ in range(things)]
    if relation in ("on", "under"):
        kinds[1] = chance.one_of(tuple(TOPS if relation == "on" else COVERS))
    return Scene(
        tuple(_items(chance, kinds, ground, horizon, relation)),
        ground,
        chance.one_of(SKIES),
        horizon,
        light=chance.between(-1, 1),
        noise=chance.between(0, 6),
        seed=int(chance.random() * 2**32),
    )


def _check(kind: str | None, animals: int, things: int, ground: str | None, required: str | None) -> None:
    if kind is not None and kind not in ANIMALS:
        raise unknown("kind of animal", kind, ANIMALS)
    if ground is not None and ground not in GROUNDS:
        raise unknown("ground", ground, GROUNDS)
    if required is not None and required not in RELATIONS:
        raise unknown("relation", required, RELATIONS)
    if not (1 <= animals <= 4 and 0 <= things <= 6):
        raise UsageError(f"a scene has 1 to 4 animals and 0 to 6 things; got {animals} and {things}")
    if required is not None and animals + things < 2:
        raise UsageError(f"the relation {required!r} needs a second item; ask for things=1 or animals=2")


def _items(chance: Chance, kinds: list[str], ground: str, horizon: float, required: str | None) -> list[Item]:
    """The items, placed one after the other where they fit; the last ones are dropped when there is no room."""
    start = 1 if required is None else 2
    for number in range(_TRIES):
        room = round(1 - 0.5 * number / _TRIES, 4)  # two that do not fit beside each other become smaller
        placed = [_item(chance, kind, ground, horizon, room) for kind in kinds[:start]]
        if required is None or _related(placed, required, chance):
            break
    else:
        raise UsageError(f"found no place for a {kinds[0]} {required} a {kinds[1]}; try another seed")
    for kind in kinds[start:]:
        candidates = (_item(chance, kind, ground, horizon) for _ in range(40))
        fitting = next((one for one in candidates if all(_apart(one, other) for other in placed)), None)
        placed += [fitting] if fitting else []
    return placed


def _item(chance: Chance, kind: str, ground: str, horizon: float, room: float = 1.0) -> Item:
    """One item somewhere on the ground, wholly in the picture, `room` (0.5 to 1) of its size by chance."""
    animal = kind in ANIMALS
    colour = chance.one_of(tuple(COLOURS))
    fitting = poses(kind)
    if kind == "fish":  # which swims in water only, and there it does not lie about
        fitting = ("swimming", "jumping") if ground == "water" else ("jumping", "lying")
    item = Item(
        kind,
        colour,
        x=0.5,
        y=0.9,
        scale=round(room * (chance.between(0.24, 0.54) if animal else chance.between(0.14, 0.46)), 4),
        mirrored=chance.random() < 0.5,
        pose=chance.one_of(fitting),
        pattern=chance.one_of(PATTERNS) if animal else "plain",
        accent=chance.one_of([other for other in COLOURS if other != colour]),
        stretch=chance.between(0.92, 1.1),
        seed=int(chance.random() * 2**31),
    )
    return _inside(chance, item, horizon)


def _inside(chance: Chance, item: Item, horizon: float) -> Item:
    """Moved to a place where its box is in the picture, smaller if need be."""
    left, high, right, _ = item.box
    if right - left > 0.94 or item.y - high > 0.9:
        item = replace(item, scale=round(item.scale * min(0.94 / (right - left), 0.9 / (item.y - high)), 4))
        left, high, right, _ = item.box
    x = chance.between(0.02 + item.x - left, 0.98 - (right - item.x))
    lowest = 0.96
    highest = max(horizon + 0.06, 0.02 + item.y - high)
    y = chance.between(min(highest, lowest), lowest)
    return replace(item, x=x, y=y, depth=y)


def _apart(one: Item, other: Item) -> bool:
    """Whether neither hides much of the other: little of an animal, half of a thing at the most."""
    near, far = (one, other) if one.depth > other.depth else (other, one)
    share = _overlap(near.box, far.box) / _area(far.box)
    return share <= (0.12 if far.is_animal else 0.5) and abs(one.depth - other.depth) > 0.01


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _related(placed: list[Item], required: str, chance: Chance) -> bool:
    """Move the first into the wanted relation to the second, in place; False if that does not work out."""
    main, other = placed
    if required == "on":
        placed[0] = main = _put_on(main, other, chance)
    elif required == "under":
        placed[:] = main, other = _put_under(main, other, chance)
    elif required in ("left of", "right of") and not _apart(main, other):
        return False
    most = 0.65 if required in ("in front of", "behind") else 1.0
    near, far = (main, other) if main.depth > other.depth else (other, main)
    hidden = _overlap(near.box, far.box) / _area(far.box)
    fits = all(edge >= 0 for edge in (*main.box[:2], *other.box[:2])) and max(*main.box[2:], *other.box[2:]) <= 1
    return fits and relation(main, other) == required and hidden <= most


def _put_on(main: Item, other: Item, chance: Chance) -> Item:
    flat = top(other.kind)
    if flat is None:
        return main
    x = round(other.x + chance.between(-0.5, 0.5) * flat.right * other.scale * other.stretch, 4)
    y = round(other.y - flat.y * other.scale, 4)
    pose = main.pose if main.pose not in AIRBORNE else next(one for one in poses(main.kind) if one not in AIRBORNE)
    return replace(main, x=x, y=y, depth=other.depth, pose=pose, scale=min(main.scale, chance.between(0.2, 0.34)))


def _put_under(main: Item, other: Item, chance: Chance) -> tuple[Item, Item]:
    """A larger cover, and the animal small enough to fit below."""
    other = replace(other, scale=chance.between(0.46, 0.7), x=chance.between(0.35, 0.65))
    flat = cover(other.kind)
    if flat is None:
        return main, other
    space = flat.y * other.scale
    high = (main.y - main.box[1]) / main.scale
    scale = round(min(main.scale, 0.95 * space / high), 4)
    x = round(other.x + chance.between(-0.3, 0.3) * flat.right * other.scale, 4)
    y = round(other.y + 0.02, 4)
    main = replace(main, scale=max(scale, 0.05), x=x, y=y, depth=y)
    return main, other
