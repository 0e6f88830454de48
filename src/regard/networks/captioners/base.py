"""One interface for all captioners: a picture is prepared, then described token by token, or scored with a caption.

What comes back is a `Decoding`, whatever the network: tokens, probabilities, alternatives, and the attention to the
picture's patches, whose row i predicts token i and row i + 1 reads it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regard.data.images.preparation import STEPS
from regard.errors import UsageError
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.decoder_pass import DecoderPass, decoder_pass
from regard.networks.captioners.decoding import CaptionModule, Decoding
from regard.networks.captioners.pieces import Pieces
from regard.networks.captioners.scripts import parts
from regard.networks.captioners.trace import CaptionTrace
from regard.networks.captioners.transformer import Memory
from regard.networks.guard import borrowed
from regard.networks.sources.checkpoint import tensors_hash
from regard.records import PatchGrid


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as a captioner takes it: tensors by name, its grid, and `start`, the tokens that the caption follows.

    Of a network with the picture among its tokens `places` are the indices of these in the sequence, and `spread`
    (places, patches), unless they are the patches row by row, says how much of each patch is in each token.
    """

    inputs: Mapping[str, Tensor]
    grid: PatchGrid
    start: tuple[int, ...] = ()
    places: Tensor | None = None
    spread: Tensor | None = None


class CaptionNetwork(ABC):
    """A network that describes pictures. `limit` is the most tokens of a caption, `default_limit` the usual most.

    `layers` and `heads` count those of the attention that is shown; `messages` is what loading had to say. The encoder
    computes in `precision`, float32 or, where it is `reducible`, bfloat16; the decoder in float32.
    """

    name: str
    architecture: str
    layers: int
    heads: int
    limit: int
    default_limit: int
    messages: tuple[str, ...] = ()
    folder: Path | None = None  # that it was read from
    module: torch.nn.Module
    precision: str = "float32"
    reducible: bool = False  # set by measurement alone: bench/precision.py

    @abstractmethod
    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        """An upright RGB picture, and what the caption shall begin with or answer, as the network takes them."""

    @abstractmethod
    def generate(
        self,
        pictures: Sequence[PreparedPicture],
        *,
        beams: int = 1,
        limit: int | None = None,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        """A caption for each picture: greedy with one beam, else the best that `beams` open ones lead to.

        The attention, where some is to be captured, is (layers, heads, tokens + 1, rows, columns). Raises `UsageError`
        for numbers out of range.
        """

    @abstractmethod
    def teacher_force(
        self,
        pictures: Sequence[PreparedPicture],
        captions: Sequence[Sequence[int]],
        *,
        capture: Capture | None = None,
        alternatives: int = 0,
    ) -> list[Decoding]:
        """The same for captions that are given, as tokens with the stop where it is to be judged too."""

    @abstractmethod
    def pieces(self, tokens: Sequence[int]) -> Pieces:
        """The pieces of a caption as the vocabulary has them."""

    def pieces_of(self, text: str, tokens: Sequence[int]) -> Pieces:
        """The pieces of a given caption, of which `tokens` are the tokens; a word that the vocabulary does not have
        stands as it is written, where it can be told which it is."""
        pieces = self.pieces(tokens)
        if not pieces.unknown:
            return pieces
        split = [(part, place) for word in text.split() for place, part in enumerate(parts(word))]
        words = [(part, place) for part, place in split if self.pieces(self.tokenize(part)).unknown]
        if len(words) != len(pieces.unknown):
            return pieces
        space = "▁" if pieces.marks == "sentencepiece" else ""
        written = [part if place else space + part for part, place in words]
        return pieces.with_words(dict(zip(pieces.unknown, written, strict=True)))

    @abstractmethod
    def text(self, tokens: Sequence[int]) -> str:
        """A caption as a person writes it."""

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The tokens of a caption that is to follow the start, with the stop."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What methods and checks of words may require: "attention" and "gradients", a "decoder" with cross-attention
        to the picture, "picture tokens" among those of a language model; of a trace (see `trace`) "text attention" to
        the words before, one attention "shared" by picture and words, and a "lens"."""
        decoder = ("decoder",) if isinstance(self.module, CaptionModule) else ()
        return frozenset(("attention", "gradients", *decoder))

    def trace(
        self,
        picture: PreparedPicture,
        tokens: Sequence[int],
        *,
        capture: Capture | None = None,
        layer: int | None = None,
        alternatives: int = 0,
    ) -> CaptionTrace:
        """One pass over a finished caption, and all that checks of its words read of it: what `capabilities` name.

        `layer`, from 0, by default the last, is the one behind which hidden states are read; `alternatives` are as many
        as that, or all tokens where there are fewer. Here it has the decoding alone, with five alternatives at most;
        families add what they can give.
        """
        few = min(alternatives, 5)
        return CaptionTrace(self.teacher_force([picture], [tokens], capture=capture, alternatives=few)[0])

    def removed(
        self, picture: PreparedPicture, image: Image.Image, tokens: Sequence[int], visible: Tensor, prompt: str | None
    ) -> Tensor:
        """(n, tokens) float32 on the CPU: the log-probabilities of a caption while of the picture's patches only those
        are there that are `visible` (n, rows, columns), at least one of each.

        Here the mean colour of the user's picture, `image`, stands in the place of the others, and `prompt` is what it
        was prepared with; a family whose encoder can leave tokens out does so (`removes_tokens`).
        """
        pictures = (self.prepare(masked(image, picture.grid, each.numpy()), prompt) for each in visible)
        return torch.cat([self.teacher_force([each], [tokens])[0].log_probabilities[None] for each in pictures])

    @property
    def removes_tokens(self) -> bool:
        """Whether `removed` leaves patches out as tokens; else other pixels stand in their place."""
        return False

    def decoder_pass(self, picture: PreparedPicture, tokens: Sequence[int], layers: Sequence[int]) -> DecoderPass:
        """One pass over a given caption through which gradients flow, which must be on; the attention is that of
        `layers`, in rising order. Raises `UsageError` where there is no decoder."""
        if not isinstance(self.module, CaptionModule):
            raise UsageError(f"{self.name} has no decoder with attention of its own to the picture")
        with borrowed(self.module), torch.no_grad():
            memory = self.encode(picture.inputs["pixels"][None])
        return decoder_pass(self.module, memory, tokens, layers)

    def at_precision(self, precision: str) -> Self:
        """This captioner, or, where it computes in another precision, a copy with the same module."""
        if precision == self.precision:
            return self
        captioner = copy(self)
        captioner.precision = precision
        return captioner

    def encode(self, pixels: Tensor) -> Memory:
        """Normalised pictures (pictures, 3, height, width) → what a decoder of regard's own attends to."""
        module: Any = self.module
        memory: Memory = module.encode(pixels.to(self.device))
        return memory

    def token_logits(self, picture: PreparedPicture, tokens: Sequence[int], of: Sequence[int]) -> Tensor:
        """(of, prompt + tokens) float32 on the CPU: the logits of some tokens of the vocabulary at every place of the
        prompt, the picture's tokens among them, and of a given caption. Raises `UsageError` without picture tokens."""
        raise UsageError(f"{self.name} has no tokens of the picture among those of a language model")

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def weights_hash(self) -> str:
        """SHA-256 over all weights: see `tensors_hash`."""
        return tensors_hash(self.module.state_dict())

    def origin(self) -> dict[str, Any]:
        """What a result says of the captioner that it came from, as JSON."""
        return {
            "network": self.name,
            "architecture": self.architecture,
            "weights_sha256": self.weights_hash(),
            "resizing": STEPS,
            "precision": self.precision,
        }

    def check(self, capture: Capture | None, beams: int = 1, limit: int | None = None) -> int:
        """The length limit that holds. Raises `UsageError` for a layer, head, limit or beams out of range."""
        if capture is not None:
            head = None if capture.head == "mean" else capture.head
            for what, index, count in (("layer", capture.layer, self.layers), ("head", head, self.heads)):
                if index is not None and not 0 <= index < count:
                    raise UsageError(f"there is no {what} {index}; they go from 0 to {count - 1}")
        if beams < 1:
            raise UsageError(f"{beams} beams are none; there must be at least 1 (3 to 5 are usual)")
        limit = self.default_limit if limit is None else limit
        if not 1 <= limit <= self.limit:
            raise UsageError(f"a length limit of {limit} tokens is out of range; it goes from 1 to {self.limit}")
        return limit


def masked(image: Image.Image, grid: PatchGrid, visible: Any) -> Image.Image:
    """The user's picture with its mean colour over all that patches cover but those that are `visible`
    (rows, columns); what no patch covers stays."""
    pixels = np.array(image)
    gone = np.zeros(pixels.shape[:2], bool)
    for row, column in np.argwhere(~visible):
        left, top, right, bottom = (round(edge) for edge in grid.cell_inside(int(row), int(column)))
        gone[top:bottom, left:right] = True
    pixels[gone] = pixels.reshape(-1, pixels.shape[-1]).mean(0).round().astype(pixels.dtype)
    return Image.fromarray(pixels)
