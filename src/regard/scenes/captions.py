"""True sentences about a drawn scene, in several wordings, and for every word where in the picture it belongs.

content (what a wording speaks of, by chance) → template (in which order) → words with their regions → `SceneCaption`

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
class CaptionWord:
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
    words: tuple[CaptionWord, ...]


_Words = tuple[CaptionWord, ...]


@dataclass(frozen=True)
class _Content:
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

    Raises `UsageError` for an `n` under 1, a scene without an animal, or one whose acting part is left undrawn.
    """
    if n < 1:
        raise UsageError(f"the number of captions must be at least 1; got {n}")
    main = next((index for index, item in enumerate(scene.items) if item.is_animal), None)
    if main is None:
        raise UsageError("a caption tells of an animal, and there is none among the items of this scene; add one")
    acting = f"{main}.{acting_part(scene.items[main].pose, scene.items[main].kind)}"
    if acting in scene.missing:
        raise UsageError(f"a caption tells of {acting}, which this scene leaves undrawn; take it out of its `missing`")
    chance = Chance(f"captions {seed} {scene.seed}")
    sentences: dict[str, SceneCaption] = {}
    for _ in range(n + 8):  # a scene of one animal has hardly more wordings than templates: do not look for ever
        for template in _shuffled(_TEMPLATES, chance):
            words = template(_sample_content(scene, main, chance))
            text = " ".join(word.text for word in words)
            if words:
                sentences.setdefault(text, SceneCaption(text, words))
            if len(sentences) == n:
                return tuple(sentences.values())
    return tuple(sentences.values())


def _sample_content(scene: Scene, main: int, chance: Chance) -> _Content:
    """What to speak of, by chance; what the animal stands on is never kept quiet."""
    others = [index for index in range(len(scene.items)) if index != main]
    ties = {index: relation(scene.items[main], scene.items[index]) for index in others}
    below = [index for index in others if ties[index] == "on"]
    related = below or [index for index in others if ties[index]]
    mentioned = bool(below) or chance.random() < 0.85
    other = chance.one_of(related) if related and mentioned else None
    return _Content(scene, main, other, _listed(scene, main, chance), chance.random() < 1 / 3, chance.random() < 0.85)


def _listed(scene: Scene, main: int, chance: Chance) -> tuple[str, ...]:
    """One or two kinds of other items; none of the main animal's kind, or of more than can be counted.

    In any order, but first of which there are several: counts are rare enough.
    """
    main_kind = scene.items[main].kind
    kinds = sorted({item.kind for item in scene.items if item.kind != main_kind})
    countable = [kind for kind in _shuffled(kinds, chance) if _count(scene, kind) <= len(COUNTS)]
    return tuple(sorted(countable, key=lambda kind: _count(scene, kind) == 1)[:2])


def _shuffled(several: Sequence[T], chance: Chance) -> list[T]:
    return [several[place] for _, place in sorted((chance.random(), place) for place in range(len(several)))]


# pieces of sentences


def _function(text: str) -> _Words:
    return tuple(CaptionWord(word, (), "other") for word in text.split())


def _described(content: _Content, index: int, briefly: bool = False) -> _Words:
    """ "a small spotted brown cat"; briefly "a brown cat"."""
    item = content.scene.items[index]
    named = [item.colour, item.kind] if briefly else [*_qualities(content, item), item.colour, item.kind]
    return (*_function(article(named[0])), *_named(named, index))


def _qualities(content: _Content, item: Item) -> list[str]:
    """Size and pattern, where they are told."""
    # nobody sees on which side of a threshold a size lies that is close to it
    distinct = all(abs(item.scale / edge - 1) > 0.08 for edge in _THRESHOLDS)
    size = [item.size] if content.sized and distinct and item.size != "medium" else []
    return size + ([item.pattern] if content.patterned and item.pattern != "plain" else [])


def _named(words: Sequence[str], index: int) -> _Words:
    """Adjectives and at last the noun of one item."""
    parts = ["adjective"] * (len(words) - 1) + ["noun"]
    return tuple(CaptionWord(word, (str(index),), part) for word, part in zip(words, parts, strict=True))


def _doing(content: _Content) -> _Words:
    """ "sitting", "raising its left paw": of what acts."""
    pose = content.animal.pose
    kind = content.animal.kind
    acting = acting_part(pose, kind)
    region = f"{content.main}.{acting}" if acting else str(content.main)
    verb, *limb = pose.split()
    return CaptionWord(verb, (region,), "verb"), *_limb(limb, region)


def _limb(words: Sequence[str], region: str) -> _Words:
    """ "its left paw", or nothing."""
    parts = {"its": "other", "left": "adjective", "right": "adjective"}
    tagged = [(word, parts.get(word, "noun")) for word in words]
    return tuple(CaptionWord(word, () if part == "other" else (region,), part) for word, part in tagged)


def _does(content: _Content) -> _Words:
    """ "sits", "raises its left paw"."""
    verb, *limb = _doing(content)
    return CaptionWord(THIRD_PERSON[verb.text], verb.regions, verb.part), *limb


def _ground(content: _Content, indices: Sequence[int]) -> _Words:
    """ "on the grass", of one or several items."""
    ground = content.scene.ground
    word = prepositions(content.scene.items[indices[0]], ground)[0]
    regions = (*(str(index) for index in indices), "background")
    return CaptionWord(word, regions, "relation"), *_function("the"), CaptionWord(ground, ("background",), "noun")


def _related(content: _Content, one: int, other: int) -> _Words:
    """ "in front of a red ball", of one item to another: nothing where neither has a relation to the other."""
    name = content.relation(one, other)
    both = (str(one), str(other))
    words = [
        CaptionWord(word, both, "relation") if word in RELATION_WORDS else CaptionWord(word, (), "other")
        for word in (name or "").split()
    ]
    return (*words, *_described(content, other)) if name else ()


def _where(content: _Content) -> _Words:
    """The ground, and a relation to the other item where there is one."""
    main = content.main
    other = content.other
    if other is None:
        return _ground(content, [main])
    related = _related(content, main, other)
    if content.relation(main, other) == "on":  # it is the other item that touches the ground
        return related + _ground(content, [other])
    return _ground(content, [main]) + related


def _list(content: _Content) -> _Words:
    """ "a red ball and two trees"."""
    first, *second = (_counted(content, kind) for kind in content.listed)
    return (*first, *_function("and"), *second[0]) if second else first


def _counted(content: _Content, kind: str) -> _Words:
    """ "two trees", or where there is one alone "a green tree"."""
    indices = _indices(content.scene, [kind])
    if len(indices) == 1:
        return _described(content, indices[0], briefly=True)
    regions = tuple(map(str, indices))
    number = next(word for word, count in COUNTS.items() if count == len(indices))
    return CaptionWord(number, regions, "count"), CaptionWord(plural(kind), regions, "noun")


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


def _is_doing(content: _Content) -> _Words:
    """A brown cat is sitting on the grass left of a red ball."""
    return (*_described(content, content.main), *_function("is"), *_doing(content), *_where(content))


def _simply_does(content: _Content) -> _Words:
    """A brown cat sits on the grass left of a red ball."""
    return (*_described(content, content.main), *_does(content), *_where(content))


def _existential(content: _Content) -> _Words:
    """There is a brown cat sitting on the grass left of a red ball."""
    return (*_function("there is"), *_described(content, content.main), *_doing(content), *_where(content))


def _ground_first(content: _Content) -> _Words:
    """On the grass a brown cat is sitting left of a red ball."""
    main = content.main
    other = content.other
    related = _related(content, main, other) if other is not None else ()
    animal = (*_described(content, main), *_function("is"), *_doing(content))
    return (*_ground(content, [main]), *animal, *related)


def _colour_last(content: _Content) -> _Words:
    """The cat is brown and sits on the grass left of a red ball."""
    item = content.animal
    main = content.main
    colour = CaptionWord(item.colour, (str(main),), "adjective")
    named = _function("the") + _named([*_qualities(content, item), item.kind], main)
    whole = (*named, *_function("is"), colour, *_function("and"), *_does(content), *_where(content))
    return whole if content.alone else ()


def _other_first(content: _Content) -> _Words:
    """A red ball is right of a brown cat sitting on the grass."""
    main = content.main
    other = content.other
    if other is None or not content.relation(other, main):
        return ()
    related = _described(content, other) + _function("is") + _related(content, other, main)
    return (*related, *_doing(content), *_ground(content, [main]))


def _together(content: _Content) -> _Words:
    """A brown cat and a red ball are on the grass and the cat sits."""
    main = content.main
    other = content.other
    if other is None or not content.alone or not _on_the_ground(content.scene, [main, other]):
        return ()
    both = _described(content, main) + _function("and") + _described(content, other) + _function("are")
    animal = _function("and the") + _named([content.animal.kind], main)
    return (*both, *_ground(content, [main, other]), *animal, *_does(content))


def _with_a_list(content: _Content) -> _Words:
    """A brown cat sits on the grass with a red ball and two trees."""
    if not content.listed or _raised(content.scene, content.animal):
        return ()
    animal = (*_described(content, content.main), *_does(content), *_ground(content, [content.main]))
    return (*animal, *_function("with"), *_list(content))


def _list_first(content: _Content) -> _Words:
    """There are two trees and a red ball on the grass and a brown cat sits."""
    indices = _indices(content.scene, content.listed)
    if not indices or _raised(content.scene, content.animal) or not _on_the_ground(content.scene, indices):
        return ()
    several = _count(content.scene, content.listed[0]) > 1
    listed = _function("there are" if several else "there is") + _list(content) + _ground(content, indices)
    return (*listed, *_function("and"), *_described(content, content.main), *_does(content))


_TEMPLATES: tuple[Callable[[_Content], _Words], ...] = (
    _is_doing,
    _simply_does,
    _existential,
    _ground_first,
    _colour_last,
    _other_first,
    _together,
    _with_a_list,
    _list_first,
)
