"""Networks of regard's own making behind the face of all captioners: CATR, and encoders with a decoder of one's own."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from regard.data.images.longest_side import LongestSide, alike, stack
from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.captioners.base import Captioner, Kept, Prepared
from regard.networks.captioners.decoding import Decoding, Speaker, beam_search, force, greedy
from regard.networks.captioners.describer import Describer
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.transformer import Memory
from regard.networks.captioners.wordpiece import PAD, WordPiece
from regard.networks.guard import borrowed, usable
from regard.networks.sources.build import Architecture
from regard.records import PatchGrid

Speak = Callable[[Memory, list[int]], list[Decoding]]


class OwnCaptioner(Captioner):
    """A `Speaker` with its vocabulary and preparation. Pictures of equal shape go through it together."""

    takes_prompts = False
    module: Speaker
    preparation: Preparation | LongestSide
    description: Architecture
    """What a run keeps of it, to build it again."""

    def __init__(
        self,
        module: Speaker,
        vocabulary: WordPiece,
        name: str,
        sizes: tuple[int, int],
        messages: tuple[str, ...] = (),
    ) -> None:
        self.module, self.vocabulary = module, vocabulary
        self.name, self.messages = name, messages
        self.layers, self.heads = sizes
        self.limit = self.usual = module.limit
        if len(vocabulary) != module.vocabulary:
            raise NetworkError(
                f"{name} speaks {module.vocabulary} tokens, but the vocabulary has {len(vocabulary)} pieces; "
                "give the vocabulary that it was trained with"
            )

    @property
    @abstractmethod
    def anatomy(self) -> Anatomy:
        """Where the blocks of its encoder are, if that is known."""

    @abstractmethod
    def head_paths(self) -> tuple[str, ...]:
        """The paths of all that is not the encoder."""

    def to(self, device: str | torch.device | None) -> Self:
        """On a device, if one is named. Raises `UsageError` where there is none of that name."""
        if device is not None:
            with usable(device):
                self.module.to(device)
        return self

    @property
    def outputs(self) -> int:
        """How many tokens it knows."""
        return self.module.vocabulary

    @abstractmethod
    def grid(self, size: tuple[int, int], pixels: Tensor) -> PatchGrid:
        """Where the patches of an input (3, height, width) lie in a picture of this (height, width)."""

    def prepare(self, image: Image.Image, prompt: str | None = None) -> Prepared:
        if prompt is not None:
            raise UsageError(f"{self.name} takes no prompt; leave it out")
        pixels = self.preparation.tensor(image)
        return Prepared({"pixels": pixels}, self.grid((image.height, image.width), pixels), (self.module.start,))

    def memory(self, pictures: Sequence[Prepared]) -> Memory:
        """What the decoder looks at, of pictures of equal shape; with gradients where they are wanted."""
        batch, _ = stack([picture.inputs["pixels"] for picture in pictures])
        return self.module.encode(batch.to(self.device))

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
            with borrowed(self.module), torch.no_grad():
                memory = self.memory([pictures[place] for place in places])
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


class DescriberCaptioner(OwnCaptioner):
    """The encoder of a ViT and a decoder of one's own. All pictures are brought to the encoder's size."""

    def __init__(
        self,
        module: Describer,
        vocabulary: WordPiece,
        preparation: Preparation,
        description: Architecture,
        *,
        name: str = "describer",
        messages: tuple[str, ...] = (),
    ) -> None:
        super().__init__(module, vocabulary, name, (module.shape.layers, module.shape.heads), messages)
        self.preparation: Preparation = preparation
        self.description, self.architecture = description, str(description["name"])
        self._anatomy = module.anatomy

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def head_paths(self) -> tuple[str, ...]:
        return ("speech",)

    def grid(self, size: tuple[int, int], pixels: Tensor) -> PatchGrid:
        rows, columns = self._anatomy.grid(*pixels.shape[1:])
        return self.preparation.grid(size, rows, columns, self._anatomy.prefix)
