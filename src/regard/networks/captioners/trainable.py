"""What captioners that regard can train share: a module of its own, a vocabulary of word pieces and a preparation."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from regard.data.images.longest_side import LongestSide, alike, stack
from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.captioners.attention import Capture, RowRecorder
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import CaptionModule, Decoding, beam_search, greedy, teacher_force
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.trace import CaptionTrace, lens_of, record_output
from regard.networks.captioners.transformer import Memory
from regard.networks.captioners.wordpiece import PAD, UNKNOWN, WordPiece
from regard.networks.guard import borrowed, usable
from regard.networks.sources.build import Architecture
from regard.records import PatchGrid

Decode = Callable[[Memory, list[int]], list[Decoding]]


class TrainableCaptioner(CaptionNetwork):
    """A `CaptionModule` with its vocabulary and preparation. Pictures of equal shape go through it together."""

    module: CaptionModule
    preparation: Preparation | LongestSide
    description: Architecture
    """What a run holds of it, to build it again."""

    def __init__(
        self,
        module: CaptionModule,
        vocabulary: WordPiece,
        name: str,
        sizes: tuple[int, int],
        messages: tuple[str, ...] = (),
    ) -> None:
        self.module = module
        self.vocabulary = vocabulary
        self.name = name
        self.messages = messages
        self.layers, self.heads = sizes
        self.limit = self.default_limit = module.limit
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

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        if prompt is not None:
            raise UsageError(f"{self.name} takes no prompt; leave it out")
        pixels = self.preparation.tensor(image)
        return PreparedPicture({"pixels": pixels}, self.grid((image.height, image.width), pixels), (self.module.start,))

    def memory(self, pictures: Sequence[PreparedPicture]) -> Memory:
        """What the decoder attends to, of pictures of equal shape; with gradients where these are on."""
        batch, _ = stack([picture.inputs["pixels"] for picture in pictures])
        return self.encode(batch)

    def generate(
        self,
        pictures: Sequence[PreparedPicture],
        *,
        beams: int = 1,
        limit: int | None = None,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        limit = self.check(capture, beams, limit)

        def decode(memory: Memory, indices: list[int]) -> list[Decoding]:
            how: Any = {"limit": limit, "capture": capture, "alternatives": alternatives}
            return greedy(self.module, memory, **how) if beams == 1 else beam_search(self.module, memory, beams, **how)

        return self._by_shape(pictures, decode)

    def teacher_force(
        self,
        pictures: Sequence[PreparedPicture],
        captions: Sequence[Sequence[int]],
        *,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        self.check(capture)

        def decode(memory: Memory, indices: list[int]) -> list[Decoding]:
            texts = [captions[index] for index in indices]
            return teacher_force(self.module, memory, texts, capture=capture, alternatives=alternatives)

        return self._by_shape(pictures, decode)

    @property
    def capabilities(self) -> frozenset[str]:
        return super().capabilities | {"text attention", "lens"}

    def trace(
        self,
        picture: PreparedPicture,
        tokens: Sequence[int],
        *,
        capture: Capture | None = None,
        layer: int | None = None,
        alternatives: int = 0,
    ) -> CaptionTrace:
        """A patch's state is what the layer's attention to the picture would bring to a word that looked at it alone:
        the patch's value through the output projection, whatever the word. It is in the words' own space."""
        self.check(Capture(layer))
        layer = self.layers - 1 if layer is None else layer
        states: list[Tensor] = []
        layers = self.module.decoder_layers
        with borrowed(self.module) as hooks, torch.no_grad():
            recorder = RowRecorder([each.self_attn for each in layers], self.heads, Capture(None, "mean"))
            recorder.attach(hooks)
            hooks.append(record_output(layers[layer], states))
            memory = self.memory([picture])
            few = min(alternatives, self.module.vocabulary)
            (decoding,) = teacher_force(self.module, memory, [tokens], capture=capture, alternatives=few)
            patches = layers[layer].multihead_attn.out_proj(memory.values[layer][0].transpose(0, 1).flatten(1))
            lens = lens_of(states[0][0], patches, decoding.tokens, self.module.read_out)
        attention = recorder.attention()[:, 0, 0, :-1].float().cpu()  # (layers, tokens, keys)
        return CaptionTrace(decoding, attention, 1, None, lens)

    def _by_shape(self, pictures: Sequence[PreparedPicture], decode: Decode) -> list[Decoding]:
        """Those of equal shape at a time, each group encoded once; in the order that they came in."""
        pixels = [picture.inputs["pixels"] for picture in pictures]
        decodings: dict[int, Decoding] = {}
        for indices in alike([(each.shape[1], each.shape[2]) for each in pixels], max(1, len(pixels))):
            with borrowed(self.module), torch.no_grad():
                memory = self.memory([pictures[index] for index in indices])
            decodings.update(zip(indices, decode(memory, indices), strict=True))
        return [decodings[index] for index in range(len(pictures))]

    def pieces(self, tokens: Sequence[int]) -> Pieces:
        special = {self.module.start, self.module.stop, *(self.vocabulary.tokens[each] for each in (PAD, UNKNOWN))}
        texts = tuple(self.vocabulary.decode(tokens))
        return Pieces(texts, "wordpiece", tuple(token in special for token in tokens))

    def pieces_of(self, text: str, tokens: Sequence[int]) -> Pieces:
        pieces = self.pieces(tokens)
        written = self.vocabulary.written(text)
        return pieces.with_words({place: written[place] for place in pieces.unknown if place < len(written)})

    def text(self, tokens: Sequence[int]) -> str:
        return self.vocabulary.text(tokens)

    def tokenize(self, text: str) -> list[int]:
        return [*self.vocabulary.encode(text), self.module.stop]
