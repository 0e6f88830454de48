"""Captions of pictures as a piece of work: one by one, and all that is to be said of each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from regard.app.common import provenance, skipper
from regard.data.dataset import Dataset, Picture
from regard.data.opening import open_picture
from regard.errors import DataError, NetworkError
from regard.explanation.words import focus, read_words, shown
from regard.networks.captioner import Captioner, Kept, Prepared
from regard.networks.decoding import Decoding
from regard.networks.pieces import Pieces
from regard.networks.wordpiece import Span
from regard.records import Caption, Float, Heatmap, PatchGrid, Word
from regard.rendering.caption import LONGEST
from regard.rendering.figure import fitted

ALTERNATIVES = 5
"""What else might have been said is noted at each step, that many, the likeliest first."""


@dataclass(frozen=True)
class Described:
    """A picture, small, with its caption and how it came about; `places` are the steps of each word."""

    image: Image.Image
    caption: Caption
    decoding: Decoding
    pieces: Pieces
    places: tuple[Span | None, ...]
    grid: PatchGrid

    @property
    def maps(self) -> Float:
        """(words, rows, columns) float32."""
        values = [word.heatmap.values for word in self.caption.words if word.heatmap is not None]
        return np.stack(values) if values else np.zeros((0, self.grid.rows, self.grid.columns), np.float32)


@dataclass(frozen=True)
class Captioning:
    """What is to be done: a captioner, with its settings, over pictures."""

    captioner: Captioner
    pictures: Dataset
    kept: Kept
    prompt: str | None
    beams: int
    limit: int
    row: str
    batch_size: int
    skip_bad: bool

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is said and shown, as JSON."""
        named = {name: getattr(self, name) for name in ("prompt", "beams", "limit", "row")}
        return {**named, "layer": self.kept.layer, "head": self.kept.head}

    @property
    def provenance(self) -> dict[str, Any]:
        network = self.captioner
        known = {"network": network.name, "architecture": network.architecture}
        return {**known, "weights_sha256": network.weights_hash(), **provenance(transformers=version("transformers"))}

    def described(self) -> Iterator[Described]:
        """The captions in the pictures' order, as they come; never more than a batch of pictures is held."""
        ready = self._ready()
        while batch := list(islice(ready, self.batch_size)):
            said = self.captioner.say(
                [prepared for _, _, prepared in batch],
                beams=self.beams,
                limit=self.limit,
                kept=self.kept,
                alternatives=ALTERNATIVES,
            )
            for (name, image, prepared), decoding in zip(batch, said, strict=True):
                yield self._described(name, image, prepared.grid, decoding)

    def _ready(self) -> Iterator[tuple[str, Image.Image, Prepared]]:
        """Each picture that can be read, small, and as the network takes it."""
        skip = skipper(self.skip_bad)
        for picture in self.pictures.pictures:
            try:
                image = open_picture(picture.path)
                prepared = self._prepared(picture, image)
            except DataError as error:
                if skip is None:
                    raise
                skip(picture.path, error)
                continue
            yield picture.name, fitted(image, LONGEST), prepared

    def _prepared(self, picture: Picture, image: Image.Image) -> Prepared:
        try:
            return self.captioner.prepare(image, self.prompt)
        except (DataError, NetworkError) as error:
            raise DataError(f"{picture.name}: {error}") from error

    def _described(self, name: str, image: Image.Image, grid: PatchGrid, decoding: Decoding) -> Described:
        pieces = self.captioner.pieces(decoding.tokens)
        words = read_words(decoding, pieces, grid, name, self.row)
        caption = Caption(name, self.captioner.text(decoding.tokens), words)
        places: tuple[Span | None, ...] = shown(decoding, pieces)
        if self.row == "reading":
            places = (None, *places)  # the start, which no step says
        return Described(image, caption, decoding, pieces, places, grid)


def entry_of(described: Described, captioner: Captioner, files: dict[str, str]) -> dict[str, Any]:
    """What `captions.json` says of a picture; `files` are those that were made of it."""
    decoding, caption = described.decoding, described.caption
    words = zip(caption.words, described.places, strict=True)
    return {
        "name": caption.name,
        "text": caption.text,
        "limit_reached": not decoding.finished,
        "log_probability": _number(decoding.log_probabilities.sum()),
        **files,
        "grid": asdict(described.grid),
        "words": [_word(word, place, decoding) for word, place in words],
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


def _looks(heatmap: Heatmap | None) -> dict[str, Any]:
    """How narrowly a map looks, and where most."""
    narrow = None if heatmap is None else focus(heatmap.values)
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


def _steps(described: Described, captioner: Captioner) -> list[dict[str, Any]]:
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


def _choices(captioner: Captioner, tokens: Sequence[int], logs: Any) -> list[dict[str, Any]]:
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
