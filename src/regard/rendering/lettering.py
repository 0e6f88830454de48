"""Text in pictures: a font that comes with matplotlib, measured, wrapped and cut to a width in pixels."""

import re
from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of the text around them
    "\u2028\u2029\ufeff\ufff9-\ufffb]"
)
_BROKEN = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """Text in which nothing acts unseen: control and direction characters as `<U+202E>`, broken ones as `�`.

    A file's name may hold marks that reverse what is written around them, or bytes that are no characters at all
    (lone surrogates in Python), which no page could be saved with.
    """
    return _BROKEN.sub("\N{REPLACEMENT CHARACTER}", _HIDDEN.sub(lambda match: f"<U+{ord(match[0]):04X}>", text))


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at a size in pixels: Latin, Greek, Cyrillic, Arabic and Hebrew letters, mathematical signs."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def shorten(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """One line no wider than `width` pixels: the middle is left out, as names often differ at their ends."""
    text = " ".join(visible(text[:400]).split())
    if letters.getlength(text) <= width:
        return text
    low = 0  # characters that surely fit
    high = len(text)
    while low < high:
        count = (low + high + 1) // 2
        if letters.getlength(_without_middle(text, count)) <= width:
            low = count
        else:
            high = count - 1
    return _without_middle(text, low)


def wrap(text: str, letters: ImageFont.FreeTypeFont, width: float, lines: int = 4) -> list[str]:
    """At most `lines` lines no wider than `width` pixels, broken at spaces, the last one cut where need be."""
    words = visible(text).split()
    wrapped = [""]
    for place, word in enumerate(words):
        longer = f"{wrapped[-1]} {word}".strip()
        if letters.getlength(longer) <= width:
            wrapped[-1] = longer
        elif len(wrapped) == lines:
            wrapped[-1] = shorten(" ".join([wrapped[-1], *words[place:]]), letters, width)
            break
        else:
            wrapped.append(shorten(word, letters, width))
    return [line for line in wrapped if line]


def _without_middle(text: str, count: int) -> str:
    """`count` characters of a text, half of them from either end."""
    return f"{text[: (count + 1) // 2]}…{text[len(text) - count // 2 :]}"


def number(value: float) -> str:
    """A value for a scale's end: three significant digits, no exponent where a short number does."""
    return f"{value:.3g}" if value == value else "–"
