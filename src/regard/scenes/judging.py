"""Whether a sentence is true of a drawn scene, word by word: also one that a network made up.

words → parts of speech → phrases (a noun and what is said of it) → the items they mean → what each word refers to

A word is true where it refers to something: then its regions say to what.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from string import punctuation

from regard.scenes.animals import ANIMALS
from regard.scenes.facts import GROUNDS, Scene, relation
from regard.scenes.kinds import acting_part
from regard.scenes.lexicon import (
    ACTIONS,
    COUNTS,
    ITEM_NOUNS,
    LIMBS,
    RELATION_WORDS,
    part_of_speech,
    prepositions,
)
from regard.scenes.things import THINGS

_READINGS = 1024
"""How many ways to understand a sentence are tried: all of them, but for babble of many nouns and many items."""


@dataclass(frozen=True)
class JudgedWord:
    """A word as it came; `true` by the scene's facts, None for a function word, which claims nothing.

    `part` is noun, adjective, verb, relation, count or other. `regions` are names of `Rendering.masks` for what a
    true word refers to, and empty for all else.
    """

    text: str
    part: str
    true: bool | None
    regions: tuple[str, ...]


@dataclass(frozen=True)
class _Phrase:
    """A noun at `place` in the sentence, and the places of the adjectives and counts that are said of it.

    One that is `new` ("a cat") is of another item than those before it; "the cat" may be one of them again.
    """

    noun: str
    place: int
    modifiers: tuple[int, ...]
    several: bool = False
    new: bool = True

    @property
    def kind(self) -> str | None:
        """The kind of its items; None for a limb or the ground."""
        return ITEM_NOUNS[self.noun][0] if self.noun in ITEM_NOUNS else None


def judge(text: str, scene: Scene) -> tuple[JudgedWord, ...]:
    """Each word of any text, in order, with whether it is true.

    - A noun is true where there is such an item, ground or raised limb; of several items a phrase means the one for
      which most of the sentence is true. "a cat and a cat" are two: where there is one, the other is nothing.
    - Adjectives are judged on the item of their noun, verbs and "its left paw" on the nearest animal before them,
      relations between what comes after and the item (or the verb's subject) before, counts by the number of items of
      that kind.
    - What is said of nothing is false, and so are words that are not in the `LEXICON`.
    """
    words = text.split()
    sentence = _Sentence(tuple(word.strip(punctuation).lower() for word in words), scene)
    regions = sentence.best()
    return tuple(
        JudgedWord(word, part or "other", None if part == "other" else bool(names), names)
        for word, part, names in zip(words, sentence.parts, regions, strict=True)
    )


_Reading = dict[int, tuple[int, ...]]
"""The items that a phrase, named by its noun's place, is taken to mean."""


@dataclass(frozen=True)
class _Sentence:
    """Words, lower case and without punctuation, and the scene that they are to be true of."""

    words: tuple[str, ...]
    scene: Scene

    @cached_property
    def parts(self) -> tuple[str | None, ...]:
        """The part of speech of each word; None where it is not known; punctuation alone claims nothing."""
        pairs = zip(self.words, (*self.words, "")[1:], strict=True)
        return tuple(part_of_speech(word, following) if word else "other" for word, following in pairs)

    @cached_property
    def phrases(self) -> tuple[_Phrase, ...]:
        """The noun phrases in order; an adjective that no noun follows ("is brown") is said of the last item."""
        phrases: list[_Phrase] = []
        waiting: list[int] = []
        for place, part in enumerate((*self.parts, None)):
            if part in ("adjective", "count"):
                waiting.append(place)
                continue
            if part == "noun":
                phrases.append(self._phrase(place, tuple(waiting)))
            else:
                _attach_to_last_item(phrases, waiting)
            waiting = []
        return tuple(phrases)

    def _phrase(self, place: int, modifiers: tuple[int, ...]) -> _Phrase:
        noun = self.words[place]
        counted = any(COUNTS.get(self.words[each], 1) > 1 for each in modifiers)
        first = min((place, *modifiers))
        definite = first > 0 and self.words[first - 1] == "the"
        return _Phrase(noun, place, modifiers, counted or ITEM_NOUNS.get(noun, ("", False))[1], not definite)

    @cached_property
    def items(self) -> tuple[_Phrase, ...]:
        """The phrases that are of animals or things."""
        return tuple(phrase for phrase in self.phrases if phrase.kind)

    @cached_property
    def phrase_at(self) -> dict[int, _Phrase]:
        """The phrase of each noun, adjective and count that has one, by place."""
        return {place: phrase for phrase in self.phrases for place in (phrase.place, *phrase.modifiers)}

    def best(self) -> list[tuple[str, ...]]:
        """What each word refers to, in the reading that makes most words, and of those adjectives, true."""
        readings = ([self._refer(place, reading) for place in range(len(self.words))] for reading in self._readings())
        return max(readings, key=self._truth)

    def _truth(self, regions: list[tuple[str, ...]]) -> tuple[int, int]:
        """How many words are true, and how many adjectives."""
        adjectives = [names for names, part in zip(regions, self.parts, strict=True) if part == "adjective"]
        return sum(map(bool, regions)), sum(map(bool, adjectives))

    def _readings(self) -> Iterator[_Reading]:
        """The ways to understand the phrases: a noun of several as all items of its kind, any other as one."""
        return islice(self._extend(self.items, {}, frozenset()), _READINGS)

    def _extend(self, phrases: tuple[_Phrase, ...], reading: _Reading, used: frozenset[int]) -> Iterator[_Reading]:
        """The ways to understand these phrases too; `taken` are the items that phrases before have brought up."""
        if not phrases:
            yield reading
            return
        phrase, *rest = phrases
        alone = phrase.new and not phrase.several
        for choice in self._candidates(phrase):
            if not (alone and used.intersection(choice)):
                now_used = used.union(choice) if alone else used
                yield from self._extend(tuple(rest), {**reading, phrase.place: choice}, now_used)

    def _candidates(self, phrase: _Phrase) -> list[tuple[int, ...]]:
        """The items that a phrase may mean: nothing, too, where more of them are brought up than there are."""
        members = self._members(phrase)
        if phrase.several or not members:
            return [members]
        alone = [each for each in self.items if each.kind == phrase.kind and each.new and not each.several]
        nothing: list[tuple[int, ...]] = [()] if phrase.new and len(alone) > len(members) else []
        return [*((index,) for index in members), *nothing]

    def _members(self, phrase: _Phrase) -> tuple[int, ...]:
        return tuple(index for index, item in enumerate(self.scene.items) if item.kind == phrase.kind)

    def _refer(self, place: int, reading: _Reading) -> tuple[str, ...]:
        """The regions that a word refers to; none where it is false, or claims nothing."""
        part = self.parts[place]
        phrase = self.phrase_at.get(place)
        if part == "verb":
            return self._acting(ACTIONS[self.words[place]], self._subject(place), reading)
        if part == "relation":
            return self._relation(place, reading)
        if phrase is None:
            return ()
        if phrase.noun in LIMBS:
            return self._acting(self.words[place], self._subject(phrase.place), reading)
        return self._quality(place, phrase, reading) if place in phrase.modifiers else self._noun(phrase, reading)

    def _noun(self, phrase: _Phrase, reading: _Reading) -> tuple[str, ...]:
        if phrase.kind is None:
            return ("background",) if phrase.noun == self.scene.ground else ()
        return _names(reading[phrase.place])

    def _quality(self, place: int, phrase: _Phrase, reading: _Reading) -> tuple[str, ...]:
        """Of an adjective or a count."""
        word = self.words[place]
        if word in COUNTS:
            members = self._members(phrase)
            return _names(members) if len(members) == COUNTS[word] else ()
        indices = reading.get(phrase.place, ())
        items = [self.scene.items[index] for index in indices]
        return _names(indices) if all(word in (item.colour, item.pattern, item.size) for item in items) else ()

    def _acting(self, word: str, subject: _Phrase | None, reading: _Reading) -> tuple[str, ...]:
        """Of a word of a pose, "raising" or "paw": what acts, of all that do so, or nothing."""
        indices = reading[subject.place] if subject else ()
        items = {index: self.scene.items[index] for index in indices}
        if not all(word in item.pose.split() for item in items.values()):
            return ()
        acting = {index: acting_part(item.pose, item.kind) for index, item in items.items()}
        return tuple(f"{index}.{part}" if part else str(index) for index, part in acting.items())

    def _subject(self, place: int) -> _Phrase | None:
        """The nearest animal before, for things do nothing; else the nearest item before, else the first after."""
        before = [phrase for phrase in self.items if phrase.place < place]
        animals = [phrase for phrase in before if phrase.kind in ANIMALS]
        return next(iter([*animals[::-1], *before[::-1], *self.items]), None)

    def _relation(self, place: int, reading: _Reading) -> tuple[str, ...]:
        """Of a relation: both sides of it; to the ground, the item and the background."""
        after = [phrase for phrase in self.phrases if phrase.place > place]
        rest = [phrase for phrase in after[1:] if phrase.kind]  # "on the grass a cat is sitting"
        one = self._before(place) or next(iter(rest), None)
        return self._both(self.words[place], reading[one.place], after[0], reading) if after and one else ()

    def _before(self, place: int) -> _Phrase | None:
        """The item before a relation; where a verb stands between them, the verb's subject."""
        items = {phrase.place: phrase for phrase in self.items}
        near = next((at for at in range(place - 1, -1, -1) if at in items or self.parts[at] == "verb"), None)
        return None if near is None else items.get(near) or self._subject(near)

    def _both(self, word: str, one: tuple[int, ...], phrase: _Phrase, reading: _Reading) -> tuple[str, ...]:
        items = self.scene.items
        ground = self.scene.ground
        if phrase.kind is None:
            fits = phrase.noun == ground and all(word in prepositions(items[index], ground) for index in one)
            return (*_names(one), "background") if one and fits else ()
        other = reading[phrase.place]
        name = RELATION_WORDS.get(word)
        fits = all(relation(items[a], items[b]) == name for a, b in product(one, other))
        return _names(dict.fromkeys((*one, *other))) if one and other and name and fits else ()


def _names(indices: Iterable[int]) -> tuple[str, ...]:
    return tuple(map(str, indices))


def _attach_to_last_item(phrases: list[_Phrase], places: list[int]) -> None:
    """Join adjectives to the last phrase that is of items, in place; without one they are said of nothing."""
    last = next((number for number in reversed(range(len(phrases))) if phrases[number].kind), None)
    if places and last is not None:
        phrases[last] = replace(phrases[last], modifiers=(*phrases[last].modifiers, *places))


def referents(judged: Sequence[JudgedWord], scene: Scene) -> list[tuple[str, ...]]:
    """The names of the regions that each word speaks of, of wrong ones too.

    A wrong animal (or thing) is said of the only animal (thing) that no right noun names, a wrong ground of the
    background, a wrong adjective or count of the next noun's, a wrong verb of that of the nearest animal before it, or
    else thing. What is left open has none.
    """
    places = [place for place, word in enumerate(judged) if word.part == "noun"]
    nouns = {place: judged[place].regions or _confused(judged[place], judged, scene) for place in places}
    return [nouns[place] if place in nouns else _of_noun(place, judged, nouns) for place in range(len(judged))]


def _confused(noun: JudgedWord, judged: Sequence[JudgedWord], scene: Scene) -> tuple[str, ...]:
    """What a wrong noun was used for, or nothing where that is not clear."""
    text = noun.text.strip(punctuation).lower()
    if text in GROUNDS:
        return ("background",)
    if text not in ITEM_NOUNS:
        return ()
    kinds = ANIMALS if _is_animal(noun) else THINGS
    right = {name for word in judged if word.part == "noun" for name in word.regions}
    free = [str(k) for k, item in enumerate(scene.items) if item.kind in kinds and str(k) not in right]
    return tuple(free) if len(free) == 1 else ()


def _is_animal(noun: JudgedWord) -> bool:
    return ITEM_NOUNS.get(noun.text.strip(punctuation).lower(), ("", False))[0] in ANIMALS


def _of_noun(place: int, judged: Sequence[JudgedWord], nouns: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    """The regions of a word that is no noun; a wrong one has those of the noun it goes with."""
    word = judged[place]
    if word.regions or word.true is None:
        return word.regions
    if word.part in ("adjective", "count"):
        return next((names for at, names in nouns.items() if at > place), ())
    if word.part == "verb":
        before = [at for at in nouns if at < place]
        animals = [at for at in before if _is_animal(judged[at])]
        return next((nouns[at] for at in [*animals[::-1], *before[::-1]]), ())
    return ()
