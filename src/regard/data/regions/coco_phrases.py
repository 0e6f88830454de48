"""What adjectives and verbs beside a noun are of: the bus of "a big red bus", the man of "a man is riding".

Read from the order of words and their Penn tags, as COCO knows nothing of it: a phrase that is put otherwise is left
out, and so is a participle of the past ("filled with"), whose noun does not act.
"""

from collections.abc import Iterator, Mapping, Sequence

from regard.data.regions import TaggedWord

_HELPS = frozenset(
    (
        *("is", "are", "was", "were", "be", "been", "being", "am", "has", "have", "had", "do", "does", "did"),
        *("can", "could", "will", "would", "may", "might", "must", "should"),
    )
)
_JOINS = frozenset((",", "and"))
_INSIDE = frozenset(("JJ", "JJR", "JJS", "NN", "CD", "VBN", "VBG"))
"""Tags of what may stand between an adjective and its noun, which begins no other phrase."""


def described(words: Sequence[TaggedWord], nouns: Mapping[int, str]) -> Iterator[tuple[int, str, int]]:
    """(place, "adjective" or "verb", place of the noun) of each word that goes with one of the `nouns`, by place.

    >>> words = [("a", "DT"), ("red", "JJ"), ("bus", "NN"), ("is", "VBZ"), ("slowly", "RB"), ("turning", "VBG")]
    >>> list(described(words, {2: "bus"}))
    [(1, 'adjective', 2), (5, 'verb', 2)]
    """
    for place, (text, tag) in enumerate(words):
        if place in nouns or tag is None:
            continue
        if tag.startswith("JJ"):
            noun = _described_noun(words, nouns, place)
            part = "adjective"
        elif tag.startswith("VB") and tag != "VBN" and text.lower() not in _HELPS:
            noun = _before(words, nouns, place, is_linked=False)
            part = "verb"
        else:
            continue
        if noun is not None:
            yield place, part, noun


def _described_noun(words: Sequence[TaggedWord], nouns: Mapping[int, str], place: int) -> int | None:
    """The noun that an adjective stands before, with others and parts of a compound between, or behind ("is red")."""
    for after in range(place + 1, len(words)):
        text, tag = words[after]
        if after in nouns:
            return after
        if not (text.lower() in _JOINS or tag in _INSIDE):
            break
    return _before(words, nouns, place, is_linked=True)


def _before(words: Sequence[TaggedWord], nouns: Mapping[int, str], place: int, is_linked: bool) -> int | None:
    """The noun that a word stands behind, with adverbs and verbs that help between; of these one at least, where the
    word `is_linked`."""
    linked = False
    for at in range(place - 1, -1, -1):
        text, tag = words[at]
        if at in nouns:
            return at if linked or not is_linked else None
        if text.lower() in _HELPS:
            linked = True
        elif not (tag or "").startswith("RB"):
            return None
    return None
