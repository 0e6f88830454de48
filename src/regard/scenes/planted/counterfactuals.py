"""The same scene drawn again with one thing changed: its ground, its animal, or parts that are left undrawn."""

from dataclasses import replace

from regard.errors import UsageError, unknown
from regard.scenes.animals import ANIMALS
from regard.scenes.facts import GROUNDS, Item, Scene
from regard.scenes.kinds import acting_part, poses
from regard.scenes.sampling import Chance

EDGE = 0.02
"""How near to the picture's edge an animal may be drawn."""


def with_ground(scene: Scene, ground: str) -> Scene:
    """The scene on another ground: what no item covers changes, and no item's pixel does.

    Raises `UsageError` for a ground there is not.
    """
    return replace(scene, ground=ground)


def other_grounds(scene: Scene) -> dict[str, Scene]:
    """The scene on each of the grounds that it does not stand on, by their names."""
    return {ground: with_ground(scene, ground) for ground in GROUNDS if ground != scene.ground}


def with_animal(scene: Scene, kind: str) -> Scene:
    """The scene with another kind of animal in the place of the main one, of the same colours, size and pattern.

    It has the same pose where its kind knows that, else one that its kind knows; it is moved or made smaller where it
    would not be wholly in the picture. Parts of the former animal that were left undrawn are left undrawn of this one
    where it has them too. Raises `UsageError` for a kind there is not, or a scene without an animal.
    """
    if kind not in ANIMALS:
        raise unknown("kind of animal", kind, ANIMALS)
    place = next((place for place, item in enumerate(scene.items) if item.is_animal), None)
    if place is None:
        raise UsageError("there is no animal in this scene to put another in the place of; add one to its items")
    former = scene.items[place]
    fitting = [pose for pose in poses(kind) if pose != "swimming" or scene.ground == "water"]
    pose = former.pose if former.pose in fitting else fitting[0]
    items = list(scene.items)
    items[place] = _inside(replace(former, kind=kind, pose=pose))
    names = replace(scene, items=tuple(items), missing=()).names
    missing = tuple(name for name in scene.missing if name in names)
    return replace(scene, items=tuple(items), missing=missing)


def _inside(item: Item) -> Item:
    """The item where it stands, smaller where it would be too high or wide, and aside as far as it must."""
    left, high, right, _ = item.box
    most = min(1.0, (1 - 2 * EDGE) / (right - left), (item.y - EDGE) / max(item.y - high, 1e-9))
    if 0 < most < 1:
        item = replace(item, scale=max(round(item.scale * most - 5e-5, 4), 0.05))
        left, high, right, _ = item.box
    aside = max(EDGE - left, 0.0) - max(right - (1 - EDGE), 0.0)
    return replace(item, x=round(item.x + aside, 4)) if aside else item


def without_parts(scene: Scene, share: float = 0.5, seed: int = 0) -> Scene:
    """The scene with some of its main animal's parts left undrawn, each by chance in this `share` of draws.

    At least one is drawn, and so is the part that acts (a raised paw), of which captions speak. A network that is to
    be asked about scenes whose parts are missing should have been trained on such. Raises `UsageError` for a share
    that is not in [0, 1], or a scene without an animal.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"the share of parts that are left undrawn must lie in [0, 1]; got {share}")
    place = next((place for place, item in enumerate(scene.items) if item.is_animal), None)
    if place is None:
        raise UsageError("there is no animal in this scene whose parts could be left undrawn; add one to its items")
    item = scene.items[place]
    chance = Chance(f"parts {seed} {scene.seed}")
    stays = acting_part(item.pose, item.kind) or chance.one_of(item.parts)
    draws = [(part, chance.random()) for part in item.parts]
    missing = tuple(f"{place}.{part}" for part, draw in draws if draw < share and part != stays)
    others = tuple(name for name in scene.missing if not name.startswith(f"{place}."))
    return replace(scene, missing=(*others, *missing))
