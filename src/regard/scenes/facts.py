"""What is where in a drawn scene, as frozen facts; whatever is said of it (sizes, relations) follows from geometry.

Places are in a unit square, x to the right and y down, that is fitted into the middle of the picture: a picture that
is wider or higher than it shows more ground and sky, and the same scene.

**Left and right** in the names of parts and poses are the animal's own. An animal that faces the right edge of the
picture shows its right side, so its near legs are the right ones; one that faces left (`mirrored`) shows its left
side. Of a face that looks at the viewer (the cat's) the eye on the viewer's left is the right eye. So mirroring swaps
the names of all sides, and a mirrored animal that raises its left paw raises the near one. `left of` and `right of`
between objects, and `facing`, are the viewer's.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from regard.errors import DataError, UsageError, unknown
from regard.records import Box
from regard.scenes.animals import ANIMALS
from regard.scenes.kinds import KINDS, acting_part, cover, extent, geometry, poses, top

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (62, 60, 66),
    "blue": (66, 118, 200),
    "brown": (146, 96, 60),
    "green": (86, 160, 82),
    "grey": (146, 148, 154),
    "orange": (234, 144, 58),
    "pink": (240, 158, 182),
    "purple": (146, 98, 178),
    "red": (208, 66, 60),
    "white": (242, 240, 234),
    "yellow": (244, 208, 84),
}
PATTERNS = ("plain", "spotted", "striped")
GROUNDS = ("grass", "room", "sand", "snow", "street", "water")
SKIES = ("clear", "cloudy", "sunset")
AIRBORNE = ("flying", "jumping", "swimming")
"""The poses in which nothing is touched."""
RELATIONS = ("left of", "right of", "on", "under", "in front of", "behind")


@dataclass(frozen=True)
class Item:
    """An animal or thing. `x`, `y` is where it stands: the middle of its feet, in the unit square.

    `scale` is about its width and height in the unit square (0.05 to 1) and `stretch` how much wider it is drawn than
    its kind (0.7 to 1.4). `depth` is the y of the ground it stands on: the larger, the nearer; it differs from `y`
    for what stands on something. Without a `pose` it has its kind's first one. `accent` is the second colour (ears,
    mane, wings, a ball's stripes) and `pattern` the fur's. `seed` places spots and shades the colours a little.
    Raises `UsageError` for a name or value there is not.
    """

    kind: str
    colour: str
    x: float
    y: float
    scale: float = 0.35
    depth: float = -1.0
    mirrored: bool = False
    pose: str = ""
    pattern: str = "plain"
    accent: str = "white"
    stretch: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check("kind of animal or thing", self.kind, KINDS)
        if not self.pose:
            object.__setattr__(self, "pose", poses(self.kind)[0])
        _check(f"pose of a {self.kind}", self.pose, poses(self.kind))
        for colour in (self.colour, self.accent):
            _check("colour", colour, COLOURS)
        _check("pattern", self.pattern, PATTERNS)
        for name in ("x", "y"):
            _within(name, getattr(self, name), -1.0, 2.0)
        _within("scale", self.scale, 0.05, 1.0)
        _within("stretch", self.stretch, 0.7, 1.4)
        if self.depth < 0:
            object.__setattr__(self, "depth", self.y)

    @property
    def is_animal(self) -> bool:
        return self.kind in ANIMALS

    @property
    def size(self) -> str:
        """Small under 0.3, large from 0.42 of the picture's shorter side on."""
        return "small" if self.scale < 0.3 else "medium" if self.scale < 0.42 else "large"

    @property
    def facing(self) -> str:
        """The edge of the picture, the viewer's left or right, that it faces."""
        return "left" if self.mirrored else "right"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts, from back to front."""
        return tuple(part.name for part in geometry(self.kind, self.pose, self.mirrored))

    @property
    def box(self) -> Box:
        """(left, top, right, bottom) in the unit square, of the whole of it, hidden or not."""
        left, bottom, right, high = extent(self.kind, self.pose, self.mirrored)
        wide = self.scale * self.stretch
        return self.x + left * wide, self.y - high * self.scale, self.x + right * wide, self.y - bottom * self.scale


@dataclass(frozen=True)
class Scene:
    """What is where: the items (the main animal first), the ground, the sky (a room has none), horizon and light.

    `horizon` is the y where the ground begins (0.2 to 0.8); `light` from -1 (from the left) to 1; `noise` the
    grain of the picture, in grey levels (0 to 40); `seed` draws textures and grain; `missing` names parts ("0.tail")
    that are left undrawn. A scene is rendered to the same bytes every time and everywhere. Raises `UsageError` for a
    name or value there is not.
    """

    items: tuple[Item, ...]
    ground: str = "grass"
    sky: str = "clear"
    horizon: float = 0.45
    light: float = -0.5
    noise: float = 4.0
    seed: int = 0
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("ground", self.ground, GROUNDS)
        _check("sky", self.sky, SKIES)
        _within("horizon", self.horizon, 0.2, 0.8)
        _within("light", self.light, -1.0, 1.0)
        _within("noise", self.noise, 0.0, 40.0)
        _within("seed", self.seed, 0, 2**32 - 1)
        object.__setattr__(self, "missing", tuple(self.missing))  # JSON has lists
        for name in self.missing:
            _check("part", name, self.names)

    @property
    def label(self) -> str | None:
        """The class of the scene: the kind of its first animal, None where there is none."""
        return next((item.kind for item in self.items if item.is_animal), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every part of every item, as "INDEX.PART" ("0.left ear"), from back to front within an item."""
        return tuple(f"{index}.{part}" for index, item in enumerate(self.items) for part in item.parts)

    def facts(self) -> dict[str, Any]:
        """All there is to say, in JSON's types: label, ground, sky, counts by kind, items, relations.

        An item has kind, animal (true or false), colour, accent, pattern, size, pose, acting (the part which does
        what the pose says, or null), facing, parts (those that are drawn) and box; a relation is [index, relation,
        index].
        """
        return {
            "label": self.label,
            "ground": self.ground,
            "sky": None if self.ground == "room" else self.sky,
            "count": dict(Counter(item.kind for item in self.items)),
            "items": [_item_facts(item, index, self.missing) for index, item in enumerate(self.items)],
            "relations": [list(relation) for relation in relations(self)],
        }

    def as_json(self) -> dict[str, Any]:
        """The scene in JSON's types, from which `from_json` makes an equal one."""
        stored = {**asdict(self), "items": [asdict(item) for item in self.items], "missing": list(self.missing)}
        return stored if self.missing else {name: value for name, value in stored.items() if name != "missing"}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The scene that `as_json` gave. Raises `DataError` for anything else."""
        try:
            items = tuple(Item(**item) for item in stored["items"])
            return cls(**{**stored, "items": items})
        except (TypeError, KeyError, AttributeError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise DataError(
                f"not a drawn scene: {error}; there must be {names}, as Scene.as_json writes them"
            ) from error


def relations(scene: Scene) -> list[tuple[int, str, int]]:
    """(index, relation, index) for every ordered pair of items, as far as one of `RELATIONS` holds.

    Geometry decides: *on*, it stands on the other's top with the middle of its feet; *under*, the whole of it is
    below the other's cover (crown, canopy, table top) and its middle within it; else *left of* and *right of*, the
    boxes overlap by no more than a fifth of the narrower; else *in front of* and *behind*, by who stands nearer.
    """
    pairs = [(a, b) for a in range(len(scene.items)) for b in range(len(scene.items)) if a != b]
    triples = [(a, relation(scene.items[a], scene.items[b]), b) for a, b in pairs]
    return [(a, name, b) for a, name, b in triples if name]


def relation(one: Item, other: Item) -> str | None:
    """How `one` lies to `other`, one of `RELATIONS` or None: see `relations`."""
    if _on(one, other):
        return "on"
    if _under(one, other):
        return "under"
    if _on(other, one) or _under(other, one):
        return None
    left, right = one.box[0::2]
    other_left, other_right = other.box[0::2]
    slack = 0.2 * min(right - left, other_right - other_left)
    if right - other_left <= slack or other_right - left <= slack:
        return "left of" if right - other_left <= slack else "right of"
    if abs(one.depth - other.depth) < 0.01:
        return None
    return "in front of" if one.depth > other.depth else "behind"


def _on(one: Item, other: Item) -> bool:
    flat = top(other.kind)
    if flat is None or one.pose in AIRBORNE or abs(one.y - (other.y - flat.y * other.scale)) > 0.01:
        return False
    wide = other.scale * other.stretch
    return flat.left * wide <= one.x - other.x <= flat.right * wide


def _under(one: Item, other: Item) -> bool:
    flat = cover(other.kind)
    if flat is None or one.box[1] < other.y - flat.y * other.scale or one.depth < other.depth - 0.02:
        return False
    wide = other.scale * other.stretch
    middle = (one.box[0] + one.box[2]) / 2
    return flat.left * wide <= middle - other.x <= flat.right * wide and one.y <= other.y + 0.1


def _item_facts(item: Item, index: int, missing: tuple[str, ...]) -> dict[str, Any]:
    names = "kind", "colour", "accent", "pattern", "size", "pose", "facing"
    facts = {name: getattr(item, name) for name in names}
    more = {"animal": item.is_animal, "acting": acting_part(item.pose, item.kind)}
    parts = [part for part in item.parts if f"{index}.{part}" not in missing]
    return {**facts, **more, "parts": parts, "box": [round(edge, 4) for edge in item.box]}


def _check(what: str, value: object, allowed: Any) -> None:
    if value not in allowed:
        raise unknown(what, value, allowed)


def _within(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{what} must lie between {low} and {high}; got {value}")
