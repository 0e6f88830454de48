"""How doubtful words are marked in figures: by a wavy line, which no colour is needed to see, and by why, in words."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from regard.records import WordSupport
from regard.rendering.figures.canvas import INK
from regard.rendering.lettering import share_text, visible, wrap

DOUBT = (176, 74, 4)
"""The wavy line below a doubtful word, and its number."""
Words = Sequence[tuple[str, WordSupport | None]]
"""The words of a caption in their order, each with its support where it has some."""
_FINER = 4  # a wave is drawn so many times larger, as lines of Pillow's have steps


def is_doubtful(support: WordSupport | None) -> bool:
    return support is not None and support.is_doubtful


def reasons_of(support: WordSupport) -> tuple[str, ...]:
    """What the picture supports better than a word, and why it has little support."""
    better = () if support.alternative is None else (f"better supported: {support.alternative}",)
    return (*better, *support.reasons)


def reason_lines(support: WordSupport, letters: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """The reasons in `most` lines at most."""
    lines = [line for text in reasons_of(support) for line in wrap(text, letters, width, most + 1)]
    return _first(lines, letters, width, most)


def draw_text(
    sheet: Image.Image,
    place: tuple[int, int],
    step: int,
    lines: Sequence[str],
    words: Words,
    letters: ImageFont.FreeTypeFont,
) -> None:
    """Lines of a caption from `place` (left, top) on, `step` pixels apart, with its doubtful words marked."""
    draw = ImageDraw.Draw(sheet)
    spans = [span for span, (_, support) in zip(_spans(lines, words), words, strict=True) if is_doubtful(support)]
    for number, line in enumerate(lines):
        top = place[1] + step * number
        draw.text((place[0], top), line, INK, letters, anchor="la")
        if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in line):
            continue  # where its words stand is known to the one who sets it alone
        for span in spans:
            if span is not None and span[0] == number:
                left, right = (place[0] + letters.getlength(line[:edge]) for edge in span[1:])
                draw_wave(sheet, left, right, top + round(1.16 * letters.size), round(letters.size / 7) or 1)


def draw_wave(sheet: Image.Image, left: float, right: float, middle: float, high: int = 2) -> None:
    """A wavy line from `left` to `right`, `high` pixels above and below its middle."""
    wide = max(1, round(right - left))
    sheet.paste(DOUBT, (round(left), round(middle) - high - 1), _wave(wide, high))


@lru_cache(maxsize=256)
def _wave(wide: int, high: int) -> Image.Image:
    """The share of each pixel that a wave covers, (2 · high + 3, wide) as an image."""
    size = wide * _FINER, (2 * high + 3) * _FINER
    mask = Image.new("L", size)
    across = np.arange(size[0])
    down = size[1] / 2 + high * _FINER * np.sin(2 * np.pi * across / (4 * high * _FINER))
    ImageDraw.Draw(mask).line(list(zip(across.tolist(), down.tolist(), strict=True)), 255, round(1.4 * _FINER))
    return mask.resize((wide, 2 * high + 3), Image.Resampling.BOX)


def doubt_lines(words: Words, letters: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """The doubtful words, the least supported first, each with its support, what the picture supports better, and the
    first reason; of more than `most`, which is as many as there are lines, the last line counts those left out."""
    doubtful = [(text, support) for text, support in words if support is not None and support.is_doubtful]
    counts: dict[str, int] = {}  # of a word that is said again with the same support, too
    for text, support in sorted(doubtful, key=lambda each: each[1].probability):
        better = "" if support.alternative is None else f" (rather {support.alternative})"
        why = f": {support.reasons[0]}" if support.reasons else ""
        entry = f"{text} {share_text(support.probability)}{better}{why}"
        counts[entry] = counts.get(entry, 0) + 1
    listed = list(counts) if len(counts) <= most else list(counts)[: most - 1]
    room = max(1, most // max(1, len(listed)))
    lines = [line for entry in listed for line in _first(wrap(entry, letters, width, room + 1), letters, width, room)]
    left = len(doubtful) - sum(counts[entry] for entry in listed)
    return [*lines, f"… and {left} doubtful words more"] if left else lines


def _first(lines: Sequence[str], letters: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """The first lines: what is left out is their end, not the middle, as a word stands before its reason."""
    if len(lines) <= most:
        return list(lines)
    last = lines[most - 1]
    cuts = (f"{last[:stop].rstrip()} …" for stop in range(len(last), -1, -1))
    return [*lines[: most - 1], next(cut for cut in cuts if letters.getlength(cut) <= width or cut == " …")]


def _spans(lines: Sequence[str], words: Words) -> list[tuple[int, int, int] | None]:
    """Where each word stands in the lines of its caption: line, start, stop; None for one that does not.

    A given caption is written as its author did, in capitals, say, and its words as the network reads them.
    """
    spans: list[tuple[int, int, int] | None] = []
    lowered = [line.lower() if len(line.lower()) == len(line) else line for line in lines]
    number = 0
    start = 0
    for text, _ in words:
        word = visible(text).lower()
        span = None
        for line in range(number, len(lowered)):
            at = _find(lowered[line], word, start if line == number else 0)
            if at is not None:
                span = (line, at, at + len(word))
                number = line
                start = span[2]
                break
        spans.append(span)
    return spans


def _find(line: str, word: str, start: int) -> int | None:
    """Where a word comes next: at once, as in scripts without spaces, or as a whole word further on."""
    next_letter = start + len(line[start:]) - len(line[start:].lstrip())
    if word and line.startswith(word, next_letter):
        return next_letter
    match = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)").search(line, start) if word else None
    return None if match is None else match.start()
