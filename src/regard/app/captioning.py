"""Captions of pictures as a piece of work: made or given, one by one, with a map for every word."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image

from regard.app.given import Item, tokens_of
from regard.app.looking import CAPTURED, Look
from regard.data.dataset import skipper
from regard.data.images.decode import open_picture
from regard.errors import DataError, NetworkError
from regard.explanation.words.alignment import read_words, shown
from regard.explanation.words.dependence import Dependence, dependence
from regard.networks.captioners.base import CaptionNetwork, Capture, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.wordpiece import Span
from regard.networks.provenance import provenance
from regard.records import Caption, Float, PatchGrid
from regard.rendering.figures.canvas import fitted
from regard.rendering.figures.caption_panels import LONGEST

ALTERNATIVES = 5
"""What else might have been said is noted at each step, that many, the likeliest first."""


@dataclass(frozen=True)
class Described:
    """A picture, small where it is to be drawn, with its caption and how it came about.

    `places` are the steps of each word, None of one that no step says; `depends` is how much the words that are said
    depend on the picture, where that was asked.
    """

    item: Item
    image: Image.Image | None
    caption: Caption
    decoding: Decoding
    pieces: Pieces
    places: tuple[Span | None, ...]
    grid: PatchGrid
    depends: Dependence | None = None

    @property
    def maps(self) -> Float:
        """(words, rows, columns) float32."""
        values = [word.heatmap.values for word in self.caption.words if word.heatmap is not None]
        return np.stack(values) if values else np.zeros((0, self.grid.rows, self.grid.columns), np.float32)


@dataclass(frozen=True)
class _Ready:
    """A picture that could be read, as the network takes it; `index` is its item's."""

    index: int
    item: Item
    image: Image.Image | None
    prepared: PreparedPicture
    tokens: tuple[int, ...]
    other: PreparedPicture | None


@dataclass(frozen=True)
class Captioning:
    """What is to be done: a captioner over pictures, and where to look.

    With `given`, the name of their file, the captions are the items' own. `drawn` says whether pictures are wanted
    beside them, `depends` whether each caption is also said of the next picture and of none.
    """

    captioner: CaptionNetwork
    items: tuple[Item, ...]
    look: Look
    prompt: str | None
    beams: int
    limit: int
    given: str | None
    which: str
    depends: bool
    batch_size: int
    skip_bad: bool
    drawn: bool

    @property
    def kept(self) -> Capture:
        """What is captured on the way: by default the last layer's mean over heads."""
        layer, head = self.look.layer, self.look.head
        return Capture(self.captioner.layers - 1 if layer is None else layer, "mean" if head is None else head)

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is said and shown, as JSON."""
        made, given = {"beams": self.beams, "limit": self.limit}, {"captions": self.given, "which": self.which}
        said = {"prompt": self.prompt, **(made if self.given is None else given)}
        asked = {"start": self.look.start, "layer": self.kept.layer, "head": self.kept.head}
        if self.look.start is not None:
            asked = {"start": self.look.start}
        looks = {name: value for name, value in asked.items() if name in self.look.method.settings}
        depends = {"depends": True} if self.depends else {}
        return {**said, "method": self.look.method.name, "row": self.look.row, **looks, **depends}

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return provenance(self.captioner, transformers=version("transformers"))

    def fingerprint(self, *more: Any) -> str:
        """A hash of all that decides the result's bytes; `more` is what decides how it looks."""
        items = [(item.name, item.caption, item.which) for item in self.items]
        about = [self.settings, self.provenance, str(self.captioner.device), self.batch_size, items, more]
        return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()

    def described(self, start: int = 0) -> Iterator[tuple[int, Described]]:
        """The captions from an item on, in order, as they come, each with the item's index.

        Batches begin at `start`; never more than one of them is held.
        """
        ready = self._ready(start)
        while batch := list(islice(ready, self.batch_size)):
            for each, decoding in zip(batch, self._said(batch), strict=True):
                yield each.index, self._described(each, decoding)

    def _ready(self, start: int) -> Iterator[_Ready]:
        skip = skipper(self.skip_bad)
        for index, item in islice(enumerate(self.items), start, None):
            try:
                image = open_picture(item.picture.opener)
                prepared = self._prepared(item, image)
            except DataError as error:
                if skip is None:
                    raise
                skip(item.picture, error)
                continue
            tokens = () if item.caption is None else tokens_of(self.captioner, item, prepared)
            small = fitted(image, LONGEST) if self.drawn else None
            yield _Ready(index, item, small, prepared, tokens, self._other(index) if self.depends else None)

    def _other(self, index: int) -> PreparedPicture:
        """The next picture that can be read, of all in a circle, as the network takes it."""
        own, after = self.items[index], [*self.items[index + 1 :], *self.items[:index]]
        for item in after:
            if item.picture.identity == own.picture.identity:
                continue
            try:
                return self._prepared(item, open_picture(item.picture.opener))
            except DataError:
                if not self.skip_bad:
                    raise
        raise DataError(f"there is no other picture that {own.name} could be compared with; leave --depends out")

    def _prepared(self, item: Item, image: Image.Image) -> PreparedPicture:
        try:
            return self.captioner.prepare(image, self.prompt)
        except (DataError, NetworkError) as error:
            raise DataError(f"{item.name}: {error}") from error

    def _said(self, batch: Sequence[_Ready]) -> list[Decoding]:
        """What is said of each picture, with attention that `read_words` makes the words' maps of."""
        captured = self.look.method.name == CAPTURED
        pictures, capture = [each.prepared for each in batch], self.kept if captured else None
        if self.given is None:
            said = self.captioner.generate(
                pictures, beams=self.beams, limit=self.limit, capture=capture, alternatives=ALTERNATIVES
            )
        else:
            captions = [each.tokens for each in batch]
            said = self.captioner.teacher_force(pictures, captions, capture=capture, alternatives=ALTERNATIVES)
        if captured:
            return said
        return [self._looked(picture, decoding) for picture, decoding in zip(pictures, said, strict=True)]

    def _looked(self, picture: PreparedPicture, decoding: Decoding) -> Decoding:
        """A finished caption with the maps of the method in the place of attention.

        By the reading rule the start has a map too: of the row that reads it, which predicts the first token.
        """
        maps = self.look.maps(self.captioner, picture, decoding.tokens, self.look.row)
        if self.look.row == "predicting":
            rows = torch.cat([maps, torch.zeros_like(maps[:1])])  # nobody asks what reads the last one
        else:
            rows = torch.cat([self.look.maps(self.captioner, picture, decoding.tokens[:1], "predicting"), maps])
        return replace(decoding, attention=rows[None, None])

    def _described(self, ready: _Ready, decoding: Decoding) -> Described:
        item, grid = ready.item, ready.prepared.grid
        pieces = self.captioner.pieces(decoding.tokens)
        words = read_words(decoding, pieces, grid, item.name, self.look.row)
        text = self.captioner.text(decoding.tokens) if item.caption is None else item.caption
        said = shown(decoding, pieces)
        places = said if self.look.row == "predicting" else (None, *said)  # the start, which no step says
        depends = None if ready.other is None else self._depends(ready, ready.other, decoding).of_words(said)
        return Described(item, ready.image, Caption(item.name, text, words), decoding, pieces, places, grid, depends)

    def _depends(self, ready: _Ready, other: PreparedPicture, decoding: Decoding) -> Dependence:
        asked = {"layer": self.kept.layer, "head": self.look.head, "row": self.look.row}
        return dependence(self.captioner, ready.prepared, other, decoding.tokens, **asked)  # type: ignore[arg-type]
