"""Text in pictures: a font that comes with matplotlib, measured, wrapped and cut to a width in pixels."""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of the text around them
    "\u2028\u2029\ufeff\ufff9-\ufffb]"
)
END = 2000
"""Characters of either end of a text that are looked at."""
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
    package = find_spec("matplotlib")  # where it lies: importing it takes longer than drawing a panel
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


def shorten(text: str, letters: ImageFont.FreeTypeFont, width: float) -> str:
    """One line no wider than `width` pixels: the middle is left out, as names often differ at their ends."""
    return distinct([text], lambda line: letters.getlength(line) <= width)[0]


def distinct(names: Sequence[str], fits: Callable[[str], bool]) -> list[str]:
    """Each name in one line that `fits`, and no two different ones alike.

    Left out is the middle, or, of names that would then be alike, what they have in common; where their differences
    are too long for that, they are numbered.

    >>> names = ["scan_of_patient_1_visited_in_spring.png", "scan_of_patient_2_visited_in_spring.png"]
    >>> distinct(names, lambda line: len(line) <= 16)
    ['…ient_1_visited…', '…ient_2_visited…']
    """
    texts = [name if len(name) <= 2 * END else f"{name[:END]}…{name[-END:]}" for name in names]
    texts = [" ".join(visible(text).split()) for text in texts]
    lines = [_fitted(text, fits) for text in texts]
    for last in (False, True):
        alike: dict[str, list[str]] = {}
        for text, line in dict(zip(texts, lines, strict=True)).items():
            alike.setdefault(line, []).append(text)
        clearer: dict[str, str] = {}
        for each in alike.values():
            if len(each) > 1:
                numbered = {text: _fitted(text, fits, f" ({place})") for place, text in enumerate(each, 1)}
                clearer |= numbered if last else _around(each, fits)
        lines = [clearer.get(text, line) for text, line in zip(texts, lines, strict=True)]
    return lines


def _fitted(text: str, fits: Callable[[str], bool], mark: str = "") -> str:
    """As much of a text as fits, half of it from either end, and a mark behind it."""
    if fits(text + mark):
        return text + mark
    count = _most(lambda count: fits(_without_middle(text, count) + mark), len(text))
    return _without_middle(text, count) + mark


def _around(texts: Sequence[str], fits: Callable[[str], bool]) -> dict[str, str]:
    """What is different in these texts, with as much of what surrounds it as fits."""

    def common(texts: Sequence[str]) -> int:
        pairs = enumerate(zip(*texts, strict=False))  # letters in the same place
        return next((place for place, letters in pairs if len({*letters}) > 1), min(map(len, texts)))

    start = common(texts)
    end = common([text[start:][::-1] for text in texts])

    def window(text: str, more: int) -> str:
        left = max(0, start - more)
        right = min(len(text), len(text) - end + more)
        return f"{'…' if left else ''}{text[left:right]}{'…' if right < len(text) else ''}"

    lines = {}
    for text in texts:
        line = window(text, _most(lambda more, text=text: fits(window(text, more)), len(text)))  # type: ignore[misc]
        lines[text] = line if fits(line) else _fitted(line, fits)
    return lines


def _most(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number up to a limit for which something holds that holds for all smaller ones; 0 where none does."""
    return max(0, bisect_left(range(limit + 1), True, key=lambda count: not holds(count)) - 1)


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


def share_text(share: float) -> str:
    """A probability with two digits, and a third where two would say 0 or 1 of what is not."""
    return f"{share:.3f}" if share >= 0.995 or share < 0.005 else f"{share:.2f}"
