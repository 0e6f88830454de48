"""What kind of claim a word makes of the picture: by its tag and the words beside it, and by lists of words."""

from collections.abc import Sequence

from regard.scenes.lexicon import ACTIONS, LEXICON, SIDES
from regard.scenes.lexicon import COUNTS as SCENES_COUNTS

KINDS = ("noun", "adjective", "colour", "count", "relation", "verb", "side", "other")
"""Every kind of word; `other` claims nothing of the picture. A `side` is a thing's own ("its left paw"), an `adjective`
any that is no colour, side or count."""
CONTENT = KINDS[:-1]
"""The kinds that claim something: those that a picture can support."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COLOURS = _words(
    "beige black blond blonde blue brown crimson cyan dark gold golden gray green grey indigo ivory khaki lavender "
    "lilac magenta maroon navy olive orange pink purple red scarlet silver tan teal turquoise violet white yellow"
)
_COUNTS = _words("seven eight nine ten eleven twelve dozen several many few both single") | {*SCENES_COUNTS}
_RELATIONS = _words(
    "above across against along alongside among around atop behind below beneath beside between beyond front in inside "
    "into near next on onto outside over past through toward towards under underneath upon within"
)
"""Words of place; "left" and "right" are such before "of"."""
_NO_CLAIM = _words(
    "am are be been being can could did do does had has have is may might must shall should was were will would"
)
"""Verbs that help others or link: what follows them claims something."""
_OWNERS = _words("a an her his its my our the their your")
"""What stands before a side, where a tagger takes "left" for a verb: "its left paw"."""


def kind_of(text: str, tag: str | None) -> str:
    """The kind of a word that stands alone, with its Penn tag or None: one of KINDS. See `kinds_of`.

    >>> [kind_of(word, tag) for word, tag in (("cat", "NN"), ("grey", "JJ"), ("two", "CD"), ("the", "DT"))]
    ['noun', 'colour', 'count', 'other']
    """
    return kinds_of([text], [tag])[0]


def kinds_of(texts: Sequence[str], tags: Sequence[str | None]) -> tuple[str, ...]:
    """The kind of each word of an English sentence, as it stands beside the others; letters may be capitals.

    Colours, counts and words of place are lists. "Left" and "right" are a relation before "of", a side after an owner
    ("its left paw") or as an adjective, and else the verb's ("turned left", "he left"). Without tags (no tagger is
    installed) only these and the words of drawn scenes have a kind; all others are `other`.

    >>> kinds_of("its left paw is left of two red dogs".split(), "PRP$ JJ NN VBZ VBD IN CD JJ NNS".split())
    ('other', 'side', 'noun', 'other', 'relation', 'other', 'count', 'colour', 'noun')
    """
    words = [text.lower() for text in texts]
    return tuple(_kind(words, tags, place) for place in range(len(words)))


def _kind(words: Sequence[str], tags: Sequence[str | None], place: int) -> str:
    word = words[place]
    tag = tags[place]
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if not any(char.isalnum() for char in word) or word.startswith("<") or word in _NO_CLAIM:
        return "other"
    if word in SIDES:
        return _of_side(tag, before, after)
    if word in _COUNTS or (tag == "CD" and word != "one") or word.isdecimal():
        return "count"
    if word in _RELATIONS and tag != "RP":
        return "other" if (word, after) == ("in", "front") else "relation"
    next_tag = tags[place + 1] if place + 1 < len(tags) else None
    is_thing = (tag or "").startswith("NN") and not (next_tag or "").startswith(("NN", "JJ"))
    if word in _COLOURS and not is_thing:  # a thing as in "an orange on a plate", but not in "an orange cat"
        return "colour"
    if tag is None:
        kind = LEXICON.get(word, "other")
        return kind if kind in KINDS else "other"
    return _by_tag(word, tag, tags[place - 1] if place else None)


def _of_side(tag: str | None, before: str, after: str) -> str:
    if after == "of":
        return "relation"
    is_verbs = before not in _OWNERS and (tag or "").startswith(("VB", "RB"))
    return "verb" if is_verbs else "side"


def _by_tag(word: str, tag: str, before: str | None) -> str:
    if tag.startswith("NN"):
        # "flies" and "jumps" behind a noun, which a tagger takes for more of such
        return "verb" if tag == "NNS" and word in ACTIONS and (before or "").startswith("NN") else "noun"
    if tag.startswith("VB"):
        return "verb"
    return "adjective" if tag.startswith("JJ") else "other"
