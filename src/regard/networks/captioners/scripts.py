"""Scripts that write no spaces between words, and how their text is cut all the same: by letters with their signs."""

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

_UNSPACED = (
    *("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "IDEOGRAPHIC", "BOPOMOFO", "YI ", "TANGUT", "NUSHU"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "NEW TAI LUE", "TAI LE ", "TAI THAM", "TAI VIET"),
    *("JAVANESE", "BALINESE"),
)
"""How unicode names the letters of scripts that write no spaces: a piece of theirs is a word of its own."""
_STACKING = "\u17d2\u1039\u1a60\u200d"
"""What sets the letter behind it under the one before, or makes one sign of both (Khmer, Myanmar, Tai Tham; emoji)."""


@cache
def is_unspaced(char: str) -> bool:
    """Whether a letter is of a script without spaces."""
    return unicodedata.name(char, "").startswith(_UNSPACED)


@cache
def is_punctuation(char: str) -> bool:
    """Unicode's, and all of ASCII that is neither letter nor digit ("$", "+", "^" are none to unicode)."""
    return unicodedata.category(char).startswith("P") or (char.isascii() and char.isprintable() and not char.isalnum())


@cache
def _attaches(char: str) -> bool:
    """Whether a character belongs to the one before it: a vowel sign, an accent, a joiner, a mark of direction."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf")


def is_single(char: str) -> bool:
    """Whether a character is a part of its own, whatever stands beside it."""
    return is_punctuation(char) or is_unspaced(char)


def parts(word: str, is_single: Callable[[str], bool] = is_single) -> Iterator[str]:
    """A word cut around its single characters: by default punctuation, and letters of scripts without spaces.

    Joined they are the word again. Signs stay with their letters.
    """
    part = ""
    alone = False  # whether `part` is closed: nothing but signs may be added to it
    for char in word:
        if part and (_attaches(char) or part[-1] in _STACKING):
            part += char
            continue
        single = is_single(char)
        if part and (single or alone):
            yield part
            part = ""
        part += char
        alone = single
    if part:
        yield part
