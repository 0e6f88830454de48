"""True sentences about a drawn scene, in several wordings, and for every word where in the picture it belongs.

telling (what a wording speaks of, by chance) → template (in which order) → words with their regions → `SceneCaption`

Every wording has the main animal with its colour, what it does, and the ground; most have another item too. `left`
and `right` turn into each other when the picture is mirrored, of paws as well: see `facts`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from regard.errors import UsageError
from regard.scenes.facts import AIRBORNE, Item, Scene, relation
from regard.scenes.kinds import acting_part
from regard.scenes.lexicon import COUNTS, RELATION_WORDS, THIRD_PERSON, article, plural, prepositions
from regard.scenes.sampling import Chance

T = TypeVar("T")
_THRESHOLDS = (0.3, 0.42)
"""The scales at which `Item.size` changes."""


@dataclass(frozen=True)
class SaidWord:
    """A word of a caption. `regions` are names of `Rendering.masks`: "0", "0.left front leg" or "background".

    `part` is noun, adjective, verb, relation, count or other; the last, function words, have no region.
    """

    text: str
    regions: tuple[str, ...]
    part: str


@dataclass(frozen=True)
class SceneCaption:
    """A sentence, lower case and without punctuation: its words joined by spaces."""

    text: str
    words: tuple[SaidWord, ...]


_Words = tuple[SaidWord, ...]


@dataclass(frozen=True)
class _Telling:
    """What one wording speaks of: the `main` animal, the `other` item it is related to, the kinds that are `listed`.

    `sized` and `patterned` say whether sizes and patterns are told.
    """

    scene: Scene
    main: int
    other: int | None
    listed: tuple[str, ...]
    sized: bool
    patterned: bool

    @property
    def animal(self) -> Item:
        return self.scene.items[self.main]

    @property
    def alone(self) -> bool:
        """Whether "the cat" can only be the main animal."""
        return _count(self.scene, self.animal.kind) == 1

    def relation(self, one: int, other: int) -> str | None:
        return relation(self.scene.items[one], self.scene.items[other])


def captions(scene: Scene, n: int = 5, seed: int = 0) -> tuple[SceneCaption, ...]:
    """Up to `n` different wordings, of different order as far as there are, the same for the same arguments.

    Raises `UsageError` for an `n` under 1, or a scene without an animal.
    """
    if n < 1:
        raise UsageError(f"the number of captions must be at least 1; got {n}")
    main = next((index for index, item in enumerate(scene.items) if item.is_animal), None)
    if main is None:
        raise UsageError("a caption tells of an animal, and there is none among the items of this scene; add one")
    chance = Chance(f"captions {seed} {scene.seed}")
    found: dict[str, SceneCaption] = {}
    for _ in range(n + 8):  # a scene of one animal has hardly more wordings than templates: do not look for ever
        for template in _shuffled(_TEMPLATES, chance):
            words = template(_telling(scene, main, chance))
            text = " ".join(word.text for word in words)
            if words:
                found.setdefault(text, SceneCaption(text, words))
            if len(found) == n:
                return tuple(found.values())
    return tuple(found.values())


def _telling(scene: Scene, main: int, chance: Chance) -> _Telling:
    """What to speak of, by chance; what the animal stands on is never kept quiet."""
    others = [index for index in range(len(scene.items)) if index != main]
    ties = {index: relation(scene.items[main], scene.items[index]) for index in others}
    below = [index for index in others if ties[index] == "on"]
    related = below or [index for index in others if ties[index]]
    mentioned = bool(below) or chance.random() < 0.85
    other = chance.one_of(related) if related and mentioned else None
    return _Telling(scene, main, other, _listed(scene, main, chance), chance.random() < 1 / 3, chance.random() < 0.85)


def _listed(scene: Scene, main: int, chance: Chance) -> tuple[str, ...]:
    """One or two kinds of other items; none of the main animal's kind, or of more than can be counted.

    In any order, but first of which there are several: counts are rare enough.
    """
    own = scene.items[main].kind
    kinds = sorted({item.kind for item in scene.items if item.kind != own})
    countable = [kind for kind in _shuffled(kinds, chance) if _count(scene, kind) <= len(COUNTS)]
    return tuple(sorted(countable, key=lambda kind: _count(scene, kind) == 1)[:2])


def _shuffled(several: Sequence[T], chance: Chance) -> list[T]:
    return [several[place] for _, place in sorted((chance.random(), place) for place in range(len(several)))]


# pieces of sentences


def _function(text: str) -> _Words:
    return tuple(SaidWord(word, (), "other") for word in text.split())


def _described(telling: _Telling, index: int, briefly: bool = False) -> _Words:
    """ "a small spotted brown cat"; briefly "a brown cat"."""
    item = telling.scene.items[index]
    named = [item.colour, item.kind] if briefly else [*_qualities(telling, item), item.colour, item.kind]
    return (*_function(article(named[0])), *_named(named, index))


def _qualities(telling: _Telling, item: Item) -> list[str]:
    """Size and pattern, where they are told."""
    seen = all(abs(item.scale / edge - 1) > 0.08 for edge in _THRESHOLDS)  # nobody sees on which side of one it lies
    size = [item.size] if telling.sized and seen and item.size != "medium" else []
    return size + ([item.pattern] if telling.patterned and item.pattern != "plain" else [])


def _named(words: Sequence[str], index: int) -> _Words:
    """Adjectives and at last the noun of one item."""
    parts = ["adjective"] * (len(words) - 1) + ["noun"]
    return tuple(SaidWord(word, (str(index),), part) for word, part in zip(words, parts, strict=True))


def _doing(telling: _Telling) -> _Words:
    """ "sitting", "raising its left paw": of what acts."""
    pose, kind = telling.animal.pose, telling.animal.kind
    acting = acting_part(pose, kind)
    region = f"{telling.main}.{acting}" if acting else str(telling.main)
    verb, *limb = pose.split()
    return SaidWord(verb, (region,), "verb"), *_limb(limb, region)


def _limb(words: Sequence[str], region: str) -> _Words:
    """ "its left paw", or nothing."""
    parts = {"its": "other", "left": "adjective", "right": "adjective"}
    said = [(word, parts.get(word, "noun")) for word in words]
    return tuple(SaidWord(word, () if part == "other" else (region,), part) for word, part in said)


def _does(telling: _Telling) -> _Words:
    """ "sits", "raises its left paw"."""
    verb, *limb = _doing(telling)
    return SaidWord(THIRD_PERSON[verb.text], verb.regions, verb.part), *limb


def _ground(telling: _Telling, indices: Sequence[int]) -> _Words:
    """ "on the grass", of one or several items."""
    ground = telling.scene.ground
    word = prepositions(telling.scene.items[indices[0]], ground)[0]
    regions = (*(str(index) for index in indices), "background")
    return SaidWord(word, regions, "relation"), *_function("the"), SaidWord(ground, ("background",), "noun")


def _related(telling: _Telling, one: int, other: int) -> _Words:
    """ "in front of a red ball", of one item to another: nothing where neither has a relation to the other."""
    name = telling.relation(one, other)
    both = (str(one), str(other))
    said = [
        SaidWord(word, both, "relation") if word in RELATION_WORDS else SaidWord(word, (), "other")
        for word in (name or "").split()
    ]
    return (*said, *_described(telling, other)) if name else ()


def _where(telling: _Telling) -> _Words:
    """The ground, and a relation to the other item where there is one."""
    main, other = telling.main, telling.other
    if other is None:
        return _ground(telling, [main])
    related = _related(telling, main, other)
    if telling.relation(main, other) == "on":  # it is the other item that touches the ground
        return related + _ground(telling, [other])
    return _ground(telling, [main]) + related


def _list(telling: _Telling) -> _Words:
    """ "a red ball and two trees"."""
    first, *second = (_counted(telling, kind) for kind in telling.listed)
    return (*first, *_function("and"), *second[0]) if second else first


def _counted(telling: _Telling, kind: str) -> _Words:
    """ "two trees", or where there is one alone "a green tree"."""
    indices = _indices(telling.scene, [kind])
    if len(indices) == 1:
        return _described(telling, indices[0], briefly=True)
    regions = tuple(map(str, indices))
    number = next(word for word, count in COUNTS.items() if count == len(indices))
    return SaidWord(number, regions, "count"), SaidWord(plural(kind), regions, "noun")


def _count(scene: Scene, kind: str) -> int:
    return len(_indices(scene, [kind]))


def _indices(scene: Scene, kinds: Sequence[str]) -> list[int]:
    return [index for index, item in enumerate(scene.items) if item.kind in kinds]


def _on_the_ground(scene: Scene, indices: Sequence[int]) -> bool:
    """Whether all of them touch it: none in the air, or on something."""
    items = [scene.items[index] for index in indices]
    return not any(item.pose in AIRBORNE or _raised(scene, item) for item in items)


def _raised(scene: Scene, item: Item) -> bool:
    return any(relation(item, other) == "on" for other in scene.items if other is not item)


# templates: each gives a sentence, or nothing where it would not be true


def _is_doing(telling: _Telling) -> _Words:
    """A brown cat is sitting on the grass left of a red ball."""
    return (*_described(telling, telling.main), *_function("is"), *_doing(telling), *_where(telling))


def _simply_does(telling: _Telling) -> _Words:
    """A brown cat sits on the grass left of a red ball."""
    return (*_described(telling, telling.main), *_does(telling), *_where(telling))


def _there_is(telling: _Telling) -> _Words:
    """There is a brown cat sitting on the grass left of a red ball."""
    return (*_function("there is"), *_described(telling, telling.main), *_doing(telling), *_where(telling))


def _ground_first(telling: _Telling) -> _Words:
    """On the grass a brown cat is sitting left of a red ball."""
    main, other = telling.main, telling.other
    related = _related(telling, main, other) if other is not None else ()
    animal = (*_described(telling, main), *_function("is"), *_doing(telling))
    return (*_ground(telling, [main]), *animal, *related)


def _colour_last(telling: _Telling) -> _Words:
    """The cat is brown and sits on the grass left of a red ball."""
    item, main = telling.animal, telling.main
    colour = SaidWord(item.colour, (str(main),), "adjective")
    named = _function("the") + _named([*_qualities(telling, item), item.kind], main)
    whole = (*named, *_function("is"), colour, *_function("and"), *_does(telling), *_where(telling))
    return whole if telling.alone else ()


def _other_first(telling: _Telling) -> _Words:
    """A red ball is right of a brown cat sitting on the grass."""
    main, other = telling.main, telling.other
    if other is None or not telling.relation(other, main):
        return ()
    related = _described(telling, other) + _function("is") + _related(telling, other, main)
    return (*related, *_doing(telling), *_ground(telling, [main]))


def _together(telling: _Telling) -> _Words:
    """A brown cat and a red ball are on the grass and the cat sits."""
    main, other = telling.main, telling.other
    if other is None or not telling.alone or not _on_the_ground(telling.scene, [main, other]):
        return ()
    both = _described(telling, main) + _function("and") + _described(telling, other) + _function("are")
    animal = _function("and the") + _named([telling.animal.kind], main)
    return (*both, *_ground(telling, [main, other]), *animal, *_does(telling))


def _with_a_list(telling: _Telling) -> _Words:
    """A brown cat sits on the grass with a red ball and two trees."""
    if not telling.listed or _raised(telling.scene, telling.animal):
        return ()
    animal = (*_described(telling, telling.main), *_does(telling), *_ground(telling, [telling.main]))
    return (*animal, *_function("with"), *_list(telling))


def _list_first(telling: _Telling) -> _Words:
    """There are two trees and a red ball on the grass and a brown cat sits."""
    indices = _indices(telling.scene, telling.listed)
    if not indices or _raised(telling.scene, telling.animal) or not _on_the_ground(telling.scene, indices):
        return ()
    several = _count(telling.scene, telling.listed[0]) > 1
    listed = _function("there are" if several else "there is") + _list(telling) + _ground(telling, indices)
    return (*listed, *_function("and"), *_described(telling, telling.main), *_does(telling))


_TEMPLATES: tuple[Callable[[_Telling], _Words], ...] = (
    _is_doing,
    _simply_does,
    _there_is,
    _ground_first,
    _colour_last,
    _other_first,
    _together,
    _with_a_list,
    _list_first,
)
