"""What is said of a caption in `captions.json` and in a table: each word with its numbers, and each step with what else
might have been said."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from regard.app.captioning import Described
from regard.app.given import unknown_words
from regard.explanation.words.alignment import focus
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.wordpiece import Span
from regard.records import Heatmap, Word

DEPENDS = ("over_other", "over_none", "moved_by_other", "moved_by_none")
"""What is noted of how a word depends on the picture: see `explanation.dependence.Dependence`."""


def entry_of(described: Described, captioner: CaptionNetwork, files: Mapping[str, str]) -> dict[str, Any]:
    """What `captions.json` says of a picture; `files` are those that were made of it."""
    decoding, caption, item = described.decoding, described.caption, described.item
    words = zip(zip(caption.words, described.places, strict=True), _depends(described), strict=True)
    given = {} if item.caption is None else {"unknown": unknown_words(captioner, item.caption)}
    return {
        "name": caption.name,
        **({} if item.which is None else {"which": item.which}),
        "text": caption.text,
        **given,
        "limit_reached": not decoding.finished,
        "log_probability": _number(decoding.log_probabilities.sum()),
        **files,
        "grid": asdict(described.grid),
        "words": [{**_word(word, place, decoding), **depends} for (word, place), depends in words],
        "steps": _steps(described, captioner),
    }


def _word(word: Word, place: Span | None, decoding: Decoding) -> dict[str, Any]:
    log = None if place is None else _number(decoding.log_probabilities[place.start : place.stop].sum())
    return {
        "text": word.text,
        "probability": None if log is None else math.exp(log),
        "log_probability": log,
        "part_of_speech": word.part_of_speech,
        "steps": None if place is None else [place.start, place.stop],
        **_looks(word.heatmap),
    }


def _depends(described: Described) -> list[dict[str, Any]]:
    """What each word gains from its picture, as `Dependence` has it, where that was asked."""
    found = described.depends
    if found is None:
        return [{} for _ in described.places]
    columns = [map(_number, getattr(found, name)) for name in DEPENDS]
    said = [dict(zip(DEPENDS, each, strict=True)) for each in zip(*columns, strict=True)]
    given = len(described.places) - len(said)  # the start, which no step says
    return [{"depends": each} for each in [*[None] * given, *said]]


def _looks(heatmap: Heatmap | None) -> dict[str, Any]:
    """How narrowly a map looks, and where most; a map with negative values has no share that lies anywhere."""
    narrow = None if heatmap is None or heatmap.values.min() < 0 else focus(heatmap.values)
    focused = None if narrow is None else {name: _number(value) for name, value in asdict(narrow).items()}
    return {"focus": focused, "peak": None if heatmap is None else peak(heatmap)}


def peak(heatmap: Heatmap) -> dict[str, Any] | None:
    """The patch with the highest value, and the part of the picture that it covers; None where all are alike."""
    values = heatmap.values
    if not values.max() > values.min():
        return None
    row, column = divmod(int(values.argmax()), values.shape[1])
    box = [round(edge, 2) for edge in heatmap.grid.cell_inside(row, column)]
    return {"row": row, "column": column, "value": _number(values[row, column]), "box": box}


def _steps(described: Described, captioner: CaptionNetwork) -> list[dict[str, Any]]:
    """Each piece that was said, and what might have been said in its place."""
    decoding = described.decoding
    found = zip(
        readable(described.pieces),
        decoding.log_probabilities,
        decoding.alternatives.tolist(),
        decoding.alternative_log_probabilities,
        strict=True,
    )
    return [
        {**_choice(piece, log), "alternatives": _choices(captioner, tokens, logs)} for piece, log, tokens, logs in found
    ]


def _choices(captioner: CaptionNetwork, tokens: Sequence[int], logs: Any) -> list[dict[str, Any]]:
    return [_choice(piece, log) for piece, log in zip(readable(captioner.pieces(tokens)), logs, strict=True)]


def _choice(piece: str, log: Any) -> dict[str, Any]:
    value = _number(log)
    return {"piece": piece, "probability": 0.0 if value is None else math.exp(value), "log_probability": value}


def readable(pieces: Pieces) -> list[str]:
    """Pieces as a person reads them, and sees where words begin: by a space before, or, for WordPiece, no "##"."""
    if pieces.marks == "wordpiece":
        return list(pieces.texts)
    return [pieces.content(place).decode("utf-8", "replace") for place in range(len(pieces.texts))]


def _number(value: Any) -> float | None:
    """Six significant digits, as float32 holds no more; None for what JSON lacks: impossible pieces have -inf."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None
