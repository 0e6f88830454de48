"""Captions of pictures, one by one: generated or given, each word with its map and what it owes to the picture."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from itertools import islice
from string import punctuation
from typing import Any

import torch
from PIL import Image

from regard.data.dataset import Picture
from regard.data.images.decode import drawable, open_picture
from regard.errors import DataError, NetworkError, UsageError
from regard.explanation.words.alignment import read_words, word_spans
from regard.explanation.words.checks.run import checks_of
from regard.explanation.words.dependence import dependence
from regard.explanation.words.finished import FinishedCaption
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.scripts import parts
from regard.networks.captioners.wordpiece import Span
from regard.networks.guard import lock_of
from regard.predictors.captions.options import CAPTURED, CaptionInput, CaptionOptions
from regard.predictors.captions.support import CaptionSupport
from regard.records.captions import Caption, Step, Word, WordDependence
from regard.records.display import counted

log = logging.getLogger("regard")

ALTERNATIVES = 5
"""How many tokens are listed at each step, the likeliest first."""


@dataclass(frozen=True)
class _PreparedInput:
    """An input that could be read, as the network takes it: `tokens` are of its given caption, `other` is the picture
    that it is compared with, `image` itself where patches are to be taken out of it, `preview` what the caller keeps of
    it."""

    index: int
    input: CaptionInput
    prepared: PreparedPicture
    tokens: tuple[int, ...]
    other: PreparedPicture | None
    image: Image.Image | None
    preview: Image.Image | None


@dataclass(frozen=True)
class CaptionJob:
    """A network over pictures: their captions come one by one, in order, and no more than a batch is held.

    With `source`, which says where from, the captions are the inputs' own. A picture that cannot be read is an error,
    unless `on_bad` takes it. `preview` makes what is handed on of each picture, beside its caption.
    """

    network: CaptionNetwork
    options: CaptionOptions
    provenance: Mapping[str, Any]
    source: Mapping[str, Any] | None = None
    batch_size: int = 8
    on_bad: Callable[[Picture, DataError], None] | None = None
    preview: Callable[[Image.Image], Image.Image] | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch size {self.batch_size} is out of range; it must be at least 1")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides captions and maps, as JSON; of checked words also what their support was measured on."""
        settings = self.options.as_json(self.network, self.source)
        if self.options.check is None:
            return settings
        return {**settings, "support": self.support.settings}

    @cached_property
    def support(self) -> CaptionSupport:
        """What makes probabilities of the checks of words, if there is something."""
        return CaptionSupport.of(self.network, self.options, self.source is not None)

    def captions(
        self, inputs: Iterable[CaptionInput], start: int = 0
    ) -> Iterator[tuple[int, Caption, Image.Image | None]]:
        """(index of its input, caption, preview) of each picture from the input `start` on, where batches begin."""
        prepared = self._prepared(inputs, start)
        while batch := list(islice(prepared, self.batch_size)):
            with lock_of(self.network.module):
                decodings = self._decode(batch)
            for each, decoding in zip(batch, decodings, strict=True):
                with lock_of(self.network.module):
                    caption = self._caption(each, decoding)
                yield each.index, caption, each.preview

    def _prepared(self, inputs: Iterable[CaptionInput], start: int) -> Iterator[_PreparedInput]:
        # What is checked goes without another picture where there is none.
        compared = self.options.depends or (self.options.check is not None and _several(inputs))
        for index, item in islice(enumerate(inputs), start, None):
            try:
                image = open_picture(item.picture.opener)
                prepared = self._prepare(item, image)
            except DataError as error:
                if self.on_bad is None:
                    raise
                self.on_bad(item.picture, error)
                continue
            tokens = () if item.caption is None else caption_tokens(self.network, item, prepared)
            other = self._other(inputs, index) if compared else None
            whole = image if self.options.check == "full" else None
            preview = None if self.preview is None else self.preview(image)
            yield _PreparedInput(index, item, prepared, tokens, other, whole, preview)

    def _prepare(self, item: CaptionInput, image: Image.Image) -> PreparedPicture:
        try:
            with lock_of(self.network.module):  # tokenizers are not made for two threads
                return self.network.prepare(image, self.options.prompt)
        except (DataError, NetworkError) as error:
            raise DataError(f"{item.name}: {error}") from error

    def _other(self, inputs: Iterable[CaptionInput], index: int) -> PreparedPicture | None:
        """The next picture that can be read, of all in a circle; without one, None for checks, which go without."""
        if not isinstance(inputs, Sequence):
            raise UsageError("depends compares each picture with the next one, in a circle; give a list of pictures")
        item = inputs[index]
        for distance in range(1, len(inputs)):
            other = inputs[(index + distance) % len(inputs)]
            if other.picture.identity == item.picture.identity:
                continue
            try:
                return self._prepare(other, open_picture(other.picture.opener))
            except DataError:
                if self.on_bad is None:
                    raise
        if not self.options.depends:
            return None
        raise DataError(f"there is no other picture that {item.name} could be compared with; leave --depends out")

    def _decode(self, batch: Sequence[_PreparedInput]) -> list[Decoding]:
        """The caption of each picture, with attention that `read_words` makes the words' maps of."""
        captured = self.options.method == CAPTURED
        how: dict[str, Any] = {
            "capture": self.options.capture(self.network) if captured else None,
            "alternatives": ALTERNATIVES,
        }
        pictures = [each.prepared for each in batch]
        if self.source is None:
            decodings = self.network.generate(pictures, beams=self.options.beams, limit=self.options.limit, **how)
        else:
            decodings = self.network.teacher_force(pictures, [each.tokens for each in batch], **how)
        if captured:
            return decodings
        return [self._with_maps(picture, decoding) for picture, decoding in zip(pictures, decodings, strict=True)]

    def _with_maps(self, picture: PreparedPicture, decoding: Decoding) -> Decoding:
        """A finished caption with the maps of the method in the place of attention.

        By the reading rule the start has a map too: of the row that reads it, which predicts the first token.
        """
        tokens = decoding.tokens
        maps = self.options.method_maps(self.network, picture, tokens, self.options.row)  # (tokens, rows, columns)
        if self.options.row == "predicting":
            rows = torch.cat([maps, torch.zeros_like(maps[:1])])  # the row that reads the last token is never used
        else:
            first = self.options.method_maps(self.network, picture, tokens[:1], "predicting")
            rows = torch.cat([first, maps])
        return replace(decoding, attention=rows[None, None])  # (layers, heads, tokens + 1, rows, columns)

    def _caption(self, each: _PreparedInput, decoding: Decoding) -> Caption:
        network = self.network
        item = each.input
        tokens = decoding.tokens
        text = None if item.caption is None else text_read(network, item.caption)
        pieces = network.pieces(tokens) if text is None else network.pieces_of(text, tokens)
        words = read_words(decoding, pieces, each.prepared.grid, item.name, self.options.row)
        finished = self._finished(each, decoding, pieces) if self.options.check is not None else None
        if each.other is not None and self.options.depends:
            words = self._with_dependence(words, each, each.other, finished or decoding.tokens)
        unknown = None if text is None else unknown_words(network, text)
        if finished is not None:
            words = self._with_checks(words, finished)
            words = self.support.words(words, finished, unknown or (), decoding.finished)
        return Caption(
            item.name,
            network.text(decoding.tokens) if item.caption is None else item.caption,
            words,
            self.provenance,
            self.settings,
            each.prepared.grid,
            _steps(network, decoding, pieces),
            float(decoding.log_probabilities.sum()),
            decoding.finished,
            item.which,
            unknown,
            partial(drawable, item.picture.opener),
        )

    def _finished(self, each: _PreparedInput, decoding: Decoding, pieces: Pieces) -> FinishedCaption:
        return FinishedCaption(
            self.network,
            each.prepared,
            decoding.tokens,
            word_spans(decoding, pieces),
            each.other,
            each.image,
            self.options.prompt,
            self.options.capture(self.network),
            self.options.row,
        )

    def _with_checks(self, words: Sequence[Word], finished: FinishedCaption) -> tuple[Word, ...]:
        """Words with their checks; `<start>`, which no step predicts, has none."""
        columns = checks_of(finished, self.settings["checks"])
        rows = (dict(zip(columns, values, strict=True)) for values in zip(*map(list, columns.values()), strict=True))
        return tuple(word if word.steps is None else replace(word, checks=next(rows)) for word in words)

    def _with_dependence(
        self,
        words: Sequence[Word],
        each: _PreparedInput,
        other: PreparedPicture,
        caption: FinishedCaption | Sequence[int],
    ) -> tuple[Word, ...]:
        """Words with what they owe to their picture; `<start>`, which no step predicts, owes nothing."""
        layer = self.options.capture(self.network).layer
        how: dict[str, Any] = {"layer": layer, "head": self.options.head, "row": self.options.row}
        if isinstance(caption, FinishedCaption):
            of_tokens = caption.dependence  # by the passes that its checks read, too
        else:
            of_tokens = dependence(self.network, each.prepared, other, caption, **how)
        of_words = of_tokens.of_words([Span(word.text, *word.steps) for word in words if word.steps is not None])
        columns = [getattr(of_words, each.name).tolist() for each in fields(WordDependence)]
        rows = zip(*columns, strict=True)
        return tuple(
            word if word.steps is None else replace(word, dependence=WordDependence(*next(rows))) for word in words
        )


def _steps(network: CaptionNetwork, decoding: Decoding, pieces: Pieces) -> tuple[Step, ...]:
    """Each token, and what else was likely in its place."""
    rows = zip(
        readable_pieces(pieces),
        decoding.log_probabilities.tolist(),
        decoding.alternatives.tolist(),
        decoding.alternative_log_probabilities.tolist(),
        strict=True,
    )
    return tuple(
        Step(piece, log, tuple(zip(readable_pieces(network.pieces(tokens)), logs, strict=True)))
        for piece, log, tokens, logs in rows
    )


def readable_pieces(pieces: Pieces) -> list[str]:
    """Pieces as a person reads them, and sees where words begin: by a space before, or, for WordPiece, no "##"."""
    if pieces.marks == "wordpiece":
        return list(pieces.texts)
    return [pieces.content(place).decode("utf-8", "replace") for place in range(len(pieces.texts))]


def caption_tokens(
    network: CaptionNetwork, item: CaptionInput, prepared: PreparedPicture | None = None
) -> tuple[int, ...]:
    """The tokens of a given caption, the stop among them.

    Raises `DataError` for a caption without words, or with more than can follow what the picture begins with.
    """
    text = item.caption or ""
    tokens = tuple(network.tokenize(text_read(network, text)))
    if not network.text(tokens):
        raise DataError(f"{item.name}: the caption {text!r} has no words for {network.name}; give it some")
    prompt = 1 if prepared is None else len(prepared.start)
    most = network.limit + 1 - prompt
    if len(tokens) > most:
        short = text if len(text) <= 40 else f"{text[:40].rstrip()} ..."
        raise DataError(
            f"{item.name}: the caption {short!r} has {len(tokens)} tokens with its end, and {network.name} "
            f"takes {most}; shorten it"
        )
    return tokens


def check_captions(network: CaptionNetwork, inputs: Iterable[CaptionInput]) -> None:
    """Raise `DataError` for the first given caption that the network cannot take (see `caption_tokens`), before any
    work; log how many are wholly in capitals and read in small letters."""
    given = [item for item in inputs if item.caption is not None]
    for item in given:
        caption_tokens(network, item)
    capitals = [item.name for item in given if text_read(network, item.caption or "") != item.caption]
    if capitals:
        log.warning(
            f"{counted(len(capitals), 'caption')} in capitals ({capitals[0]}), which {network.name} tells from small "
            "letters: read in small letters, as captioners write"
        )


def text_read(network: CaptionNetwork, text: str) -> str:
    """A given caption as the network is to read it: in small letters where it is wholly in capitals, and the vocabulary
    tells the two apart. A captioner hardly ever writes capitals, so that every word of these would look made up."""
    small = text.lower()
    in_capitals = text.isupper() and sum(map(str.isalpha, text)) > 1
    return small if in_capitals and network.tokenize(small) != network.tokenize(text) else text


def unknown_words(network: CaptionNetwork, text: str) -> tuple[str, ...]:
    """The words of a text that the network's vocabulary cannot write, as the user wrote them."""

    def is_unknown(text: str) -> bool:
        return bool(network.pieces(network.tokenize(text)).unknown)

    if not is_unknown(text):
        return ()
    words = (part for word in text.split() for part in parts(word.strip(punctuation) or word))
    return tuple(word for word in words if is_unknown(word))


def _several(inputs: Iterable[CaptionInput]) -> bool:
    """Whether there is a second picture to compare with; what comes one by one has none that could be known."""
    return isinstance(inputs, Sequence) and len({item.picture.identity for item in inputs}) > 1


def check_comparable(inputs: Sequence[CaptionInput]) -> None:
    """Raise `UsageError` where there is no second picture to compare with."""
    if not _several(inputs):
        raise UsageError("--depends compares each picture with the next one, and there is one alone; give more")
