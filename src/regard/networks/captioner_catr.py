"""CATR behind the face of all captioners."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL import Image

from regard.data.longest import LongestSide, alike, stack
from regard.errors import NetworkError, UsageError
from regard.networks.captioner import Captioner, Kept, Prepared
from regard.networks.catr import STRIDE, Catr, grid_of
from regard.networks.decoding import Decoding, beam_search, force, greedy
from regard.networks.guard import borrowed
from regard.networks.pieces import Pieces
from regard.networks.transformer import Memory
from regard.networks.wordpiece import PAD, WordPiece

Speak = Callable[[Memory, list[int]], list[Decoding]]


class CatrCaptioner(Captioner):
    """CATR with its vocabulary and preparation. Pictures of equal shape go through it together."""

    architecture = "CATR"
    takes_prompts = False

    def __init__(
        self,
        module: Catr,
        messages: tuple[str, ...] = (),
        *,
        name: str = "catr",
        vocabulary: WordPiece | None = None,
        preparation: LongestSide | None = None,
    ) -> None:
        self.module: Catr = module
        self.name, self.messages = name, messages
        self.layers, self.heads = module.shape.decoder_layers, module.shape.heads
        self.limit = self.usual = module.limit
        self.vocabulary, self.preparation = vocabulary or WordPiece.load(), preparation or LongestSide()
        if len(self.vocabulary) != module.vocabulary:
            raise NetworkError(
                f"{name} speaks {module.vocabulary} tokens, but the vocabulary has {len(self.vocabulary)} pieces; "
                "give the vocabulary that it was trained with"
            )

    def prepare(self, image: Image.Image, prompt: str | None = None) -> Prepared:
        if prompt is not None:
            raise UsageError(f"{self.name} takes no prompt; leave it out")
        pixels = self.preparation.tensor(image)
        rows, columns = (math.ceil(side / STRIDE) for side in pixels.shape[1:])
        grid = grid_of(self.preparation, (image.height, image.width), rows, columns)
        return Prepared({"pixels": pixels}, grid, (self.module.start,))

    def say(
        self,
        pictures: Sequence[Prepared],
        *,
        beams: int = 1,
        limit: int | None = None,
        kept: Kept | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        limit, capture = self.check(kept, beams, limit), kept is not None

        def speak(memory: Memory, places: list[int]) -> list[Decoding]:
            if beams == 1:
                return greedy(self.module, memory, limit=limit, capture=capture, alternatives=alternatives)
            return beam_search(self.module, memory, beams, limit=limit, capture=capture, alternatives=alternatives)

        return self._together(pictures, speak, kept)

    def force(
        self,
        pictures: Sequence[Prepared],
        captions: Sequence[Sequence[int]],
        *,
        kept: Kept | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        self.check(kept)

        def speak(memory: Memory, places: list[int]) -> list[Decoding]:
            given = [captions[place] for place in places]
            return force(self.module, memory, given, capture=kept is not None, alternatives=alternatives)

        return self._together(pictures, speak, kept)

    def _together(self, pictures: Sequence[Prepared], speak: Speak, kept: Kept | None) -> list[Decoding]:
        """Those of equal shape at a time, each group encoded once; in the order that they came in."""
        pixels = [picture.inputs["pixels"] for picture in pictures]
        found: dict[int, Decoding] = {}
        for places in alike([(each.shape[1], each.shape[2]) for each in pixels], max(1, len(pixels))):
            batch, _ = stack([pixels[place] for place in places])
            with borrowed(self.module), torch.no_grad():
                memory = self.module.encode(batch.to(self.device))
            found.update(zip(places, speak(memory, places), strict=True))
        return [_kept(found[place], kept) for place in range(len(pictures))]

    def pieces(self, tokens: Sequence[int]) -> Pieces:
        special = {self.module.start, self.module.stop, self.vocabulary.tokens[PAD]}
        texts = tuple(self.vocabulary.decode(tokens))
        return Pieces(texts, "wordpiece", tuple(token in special for token in tokens))

    def text(self, tokens: Sequence[int]) -> str:
        return self.vocabulary.text(tokens)

    def encode(self, text: str) -> list[int]:
        return [*self.vocabulary.encode(text), self.module.stop]


def _kept(decoding: Decoding, kept: Kept | None) -> Decoding:
    if kept is None or decoding.attention is None:
        return decoding
    return replace(decoding, attention=kept.of(decoding.attention).clone())
