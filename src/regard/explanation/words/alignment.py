"""From word pieces to words, and from the rows of attention to a map for each word.

A word's map is the mean of its pieces' maps, its probability the product of theirs. Which row of the attention belongs
to a piece is a choice, `ROWS`: the one that predicts it, or the one whose input it is, a step later.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.errors import unknown
from regard.explanation.words import ROWS
from regard.explanation.words.tagging import parts_of_speech
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import UNKNOWN, Pieces
from regard.networks.captioners.scripts import is_unspaced
from regard.networks.captioners.wordpiece import Span
from regard.records import END, START, Float, Heatmap, PatchGrid, Word

_INNER = "'’-‑_"
"""Signs inside a word: "dog's", "black-and-white"."""


@dataclass(frozen=True)
class _Atom:
    """Pieces `start` to `stop` that make whole characters together."""

    text: str
    start: int
    stop: int
    begins: bool
    special: bool


def spans(pieces: Pieces) -> tuple[Span, ...]:
    """The words that pieces make, each with the places of its pieces; every piece is in exactly one.

    A word begins where the vocabulary says so, at punctuation (not at signs inside a word or a number), and at every
    piece of a script without spaces. Special pieces are words of their own. Pieces of one character stay together.
    """
    atoms = _atoms(pieces)
    words: list[Span] = []
    for place, atom in enumerate(atoms):
        before = atoms[place - 1] if place else None
        after = atoms[place + 1] if place + 1 < len(atoms) else None
        if before is not None and _goes_on(before, atom, after):
            words[-1] = Span((words[-1].text + atom.text).strip(), words[-1].start, atom.stop)
        else:
            words.append(Span(atom.text.strip(), atom.start, atom.stop))
    return tuple(words)


def _atoms(pieces: Pieces) -> list[_Atom]:
    atoms: list[_Atom] = []
    start = 0
    content = b""
    for place in range(len(pieces.texts)):
        content += pieces.content(place)
        special = pieces.special[place]
        last = place + 1 == len(pieces.texts) or pieces.begins(place + 1)
        if special or last or _is_whole(content):
            text = content.decode("utf-8", "replace")
            atoms.append(_Atom(text, start, place + 1, pieces.begins(start), special))
            start = place + 1
            content = b""
    return atoms


def _is_whole(content: bytes) -> bool:
    """Whether bytes end with a whole character; such as are no UTF-8 at all are whole after four."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return not (error.reason == "unexpected end of data" and len(content) - error.start < 4)
    return True


def _goes_on(before: _Atom, atom: _Atom, after: _Atom | None) -> bool:
    """Whether a word that had `before` goes on with `atom`."""
    if before.special or atom.special:
        return False
    if not before.text.strip():
        return True  # a space alone belongs to what follows it
    if atom.begins or not atom.text:
        return not atom.text
    last = before.text[-1]
    first = atom.text[0]
    if unicodedata.category(first).startswith("M"):
        return True  # a vowel sign or accent belongs to its letter
    if is_unspaced(last) or is_unspaced(first):
        return False
    return _is_sign(last) == _is_sign(first) or _in_number(before.text, atom.text, after)


def _is_sign(char: str) -> bool:
    """Punctuation or a symbol, but not one that stands inside words."""
    return unicodedata.category(char)[0] in "PS" and char not in _INNER


def _in_number(before: str, text: str, after: _Atom | None) -> bool:
    """Whether a full stop, comma or colon stands between digits: on either side of it."""
    marked = text in (".", ",", ":") and before[-1].isdigit()
    follows = after is not None and not after.begins and after.text[:1].isdigit()
    return (marked and follows) or (before in (".", ",", ":") and text[0].isdigit())


def word_maps(decoding: Decoding, words: Sequence[Span], row: str = "predicting") -> Float:
    """(words, rows, columns) float32: a word's map is the mean of its pieces', over layers and heads."""
    if row not in ROWS:
        raise unknown("row", row, ROWS)
    pieces = (decoding.predicting if row == "predicting" else decoding.reading).float().mean((0, 1)).numpy()
    maps = [pieces[word.start : word.stop].mean(0) for word in words]
    return np.stack(maps).astype(np.float32) if maps else np.zeros((0, *pieces.shape[1:]), np.float32)


def read_words(
    decoding: Decoding, pieces: Pieces, grid: PatchGrid, name: str, row: str = "predicting"
) -> tuple[Word, ...]:
    """The words of a caption of the picture called `name`, each with its map; the stop comes last as `<end>`.

    By the reading rule the start has a map too, that of the row whose input it is, and comes first as `<start>`. Pieces
    that show nothing (a line's end, padding, other special ones) are no words.
    """
    texts = word_spans(decoding, pieces)
    maps = word_maps(decoding, texts, row)
    tags = parts_of_speech([span.text if span.text != END else "" for span in texts])
    words = []
    if row == "reading":  # the row that reads the start is the one that predicts the first piece
        values = decoding.predicting[:, :, 0].float().mean((0, 1)).numpy().astype(np.float32)
        words.append(Word(START, 1.0, Heatmap(values, grid, name)))
    for span, values, tag in zip(texts, maps, tags, strict=True):
        log = float(decoding.log_probabilities[span.start : span.stop].sum())
        words.append(Word(span.text, math.exp(log), Heatmap(values, grid, name), tag, log, (span.start, span.stop)))
    return tuple(words)


def word_spans(decoding: Decoding, pieces: Pieces) -> tuple[Span, ...]:
    """The words of a caption as they are shown, the stop as `<end>`, without pieces that show nothing."""
    words = []
    for span in spans(pieces):
        text = span.text
        if pieces.special[span.start] and text not in UNKNOWN:  # a word stands where there is an unknown one
            text = END if decoding.finished and span.stop == len(pieces.texts) else ""
        if text:
            words.append(Span(text, span.start, span.stop))
    return tuple(words)


def source_panels(words: Sequence[Word]) -> list[tuple[str, Heatmap | None]]:
    """Titles and maps as the source shows them, of words whose maps are the predicting rows.

    The first panel is the bare picture, the first word has no map, a full stop at the end belongs to the word before
    it, and `<end>` shows the row that predicts that full stop.
    """
    plain = [word for word in words if word.text != END]
    ended = len(plain) < len(words)
    last = words[-1].heatmap if ended else None
    panels: list[tuple[str, Heatmap | None]] = [(word.text, word.heatmap) for word in plain]
    if len(plain) > 1 and plain[-1].text == ".":
        last = plain[-1].heatmap
        panels[-2:] = [(f"{plain[-2].text}.", plain[-2].heatmap)]
    panels = [(title, None if place == 0 else heatmap) for place, (title, heatmap) in enumerate(panels)]
    return [(START, None), *panels, *([(END, last)] if ended else [])]
