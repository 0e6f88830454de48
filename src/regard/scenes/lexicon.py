"""The words that drawn scenes are told in, and what each of them means: a hundred, for a small network to learn."""

from regard.scenes.facts import AIRBORNE, COLOURS, GROUNDS, PATTERNS, Item
from regard.scenes.kinds import KINDS

COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
SIDES = ("left", "right")
SIZES = ("small", "medium", "large")
LIMBS = ("leg", "paw", "wing")
THIRD_PERSON = {
    "flying": "flies",
    "jumping": "jumps",
    "lying": "lies",
    "raising": "raises",
    "sitting": "sits",
    "standing": "stands",
    "swimming": "swims",
}
"""The verb of each pose as its animal is said to do it: "sitting", "sits"."""
_PLURAL_VERBS = ("fly", "jump", "lie", "raise", "sit", "stand", "swim")
ACTIONS = {
    **{verb: verb for verb in THIRD_PERSON},
    **{form: verb for verb, form in THIRD_PERSON.items()},
    **dict(zip(_PLURAL_VERBS, THIRD_PERSON, strict=True)),
}
"""Each form of a verb, and the first word of the poses that it tells of."""
RELATION_WORDS = {
    "left": "left of",
    "right": "right of",
    "on": "on",
    "under": "under",
    "front": "in front of",
    "behind": "behind",
}
"""The one word of each relation that says which it is."""
FUNCTION_WORDS = ("a", "an", "and", "are", "is", "its", "of", "the", "there", "with")


def plural(kind: str) -> str:
    return "fish" if kind == "fish" else f"{kind}es" if kind.endswith("x") else f"{kind}s"


def article(word: str) -> str:
    """ "an" before a vowel, else "a": right for all words of the lexicon."""
    return "an" if word[0] in "aeiou" else "a"


ITEM_NOUNS = {**{plural(kind): (kind, True) for kind in KINDS}, **{kind: (kind, False) for kind in KINDS}}
"""Each noun for animals and things: its kind, and whether it must mean several ("fish" may)."""
LEXICON: dict[str, str] = {
    **dict.fromkeys((*ITEM_NOUNS, *GROUNDS, *LIMBS), "noun"),
    **dict.fromkeys((*COLOURS, *PATTERNS, *SIZES), "adjective"),
    **dict.fromkeys(ACTIONS, "verb"),
    **dict.fromkeys((*RELATION_WORDS, "in", "over"), "relation"),
    **dict.fromkeys(COUNTS, "count"),
    **dict.fromkeys(FUNCTION_WORDS, "other"),
}
"""Each word and its part of speech: noun, adjective, verb, relation, count or other.

Two depend on their neighbours, see `part_of_speech`.
"""


def part_of_speech(word: str, following: str) -> str | None:
    """What a word is before the `following` one ("" at the end); None for a word that scenes are not told in.

    "left" is a relation in "left of", else an adjective ("its left paw"); "in" belongs to "in front of", else it is
    the relation to the ground ("in the snow").
    """
    if word in SIDES and following != "of":
        return "adjective"
    return "other" if (word, following) == ("in", "front") else LEXICON.get(word)


def prepositions(item: Item, ground: str) -> tuple[str, ...]:
    """How an item may be said to be placed: "in" the room, "over" the grass while it jumps; the usual word first."""
    if ground == "room" or (ground == "water" and item.pose == "swimming"):
        return ("in",)
    if item.pose in AIRBORNE:
        return ("over",)
    return {"water": ("in",), "snow": ("in", "on")}.get(ground, ("on", "in"))
