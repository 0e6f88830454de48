"""A finished caption with the passes over it, each made once, where the first check asks for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regard.errors import UsageError
from regard.explanation.words.dependence import Dependence, TokenScores, grey_picture, per_word, scores_of
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.trace import CaptionTrace, Lens
from regard.networks.captioners.wordpiece import Span

Floats = NDArray[np.float64]
T = TypeVar("T")

LIKELIEST = 64
"""The tokens at each step that count as what else might have stood there: all of a small vocabulary."""


@dataclass(frozen=True)
class FinishedCaption:
    """The `tokens` of a caption of a `picture`, and its `words`; what checks read of it.

    `other` is the picture that it is compared with, if there is one; `image` and `prompt` are what `picture` was
    prepared from, for checks that take patches out. `capture` and `row` say which attention the words' maps are; hidden
    states are those behind `layer`. By default all are of the last layer.
    """

    network: CaptionNetwork
    picture: PreparedPicture
    tokens: tuple[int, ...]
    words: tuple[Span, ...]
    other: PreparedPicture | None = None
    image: Image.Image | None = None
    prompt: str | None = None
    capture: Capture | None = None
    row: str = "predicting"
    layer: int | None = None
    results: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def trace(self) -> CaptionTrace:
        """One pass with its own picture."""
        return self.network.trace(
            self.picture, self.tokens, capture=self._capture, layer=self.layer, alternatives=LIKELIEST
        )

    @cached_property
    def scores(self) -> TokenScores:
        """Its tokens with its own picture, by the trace."""
        return scores_of(self.trace.decoding, self.picture, self.row)

    @cached_property
    def none(self) -> TokenScores:
        """Its tokens with a grey picture."""
        return self._contrasts[-1]

    @property
    def another(self) -> TokenScores | None:
        """Its tokens with the other picture; None where there is none."""
        return None if self.other is None else self._contrasts[0]

    @property
    def dependence(self) -> Dependence:
        """What `--depends` says of its tokens. Raises `UsageError` without another picture."""
        if self.another is None:
            raise UsageError("there is no other picture to compare with; give more than one")
        return Dependence(self.scores, self.another, self.none)

    @cached_property
    def contrast_decodings(self) -> list[Decoding]:
        """Its tokens with the other picture, where there is one, and last with a grey picture; with as many
        alternatives as the trace has."""
        others = [] if self.other is None else [self.other]
        pictures = [*others, grey_picture(self.network, self.picture)]
        few = self.trace.decoding.alternatives.shape[1]
        return self.network.teacher_force(
            pictures, [self.tokens] * len(pictures), capture=self._capture, alternatives=few
        )

    @cached_property
    def _contrasts(self) -> list[TokenScores]:
        return [scores_of(decoding, self.picture, self.row) for decoding in self.contrast_decodings]

    @property
    def _capture(self) -> Capture:
        return self.capture or Capture(self.network.layers - 1)

    @property
    def maps(self) -> Floats:
        """(words, patches): each word's map, brought to sum to 1; NaN where it is zero everywhere."""
        maps = self.scores.maps.astype(np.float64)  # (tokens, rows, columns)
        flat = per_word(maps.reshape(len(maps), -1), self.words, np.mean)
        total = flat.sum(1, keepdims=True)
        return np.divide(flat, total, out=np.full_like(flat, np.nan), where=total > 0)

    @cached_property
    def attention(self) -> Floats:
        """(tokens, keys): the mean over heads and the middle layers, in the rows that predict the tokens."""
        if self.trace.attention is None:
            raise UsageError(f"{self.network.name} gives no attention to the words before")
        return self.trace.attention[middle_layers(len(self.trace.attention))].double().mean(0).numpy()

    @property
    def lens(self) -> Lens:
        if self.trace.lens is None:
            raise UsageError(f"{self.network.name} has no hidden states of words and patches that one head reads")
        return self.trace.lens

    def once(self, compute: "Callable[[FinishedCaption], T]") -> T:
        """What a function makes of this caption, computed once for all checks that read it."""
        if compute not in self.results:
            self.results[compute] = compute(self)
        result: T = self.results[compute]
        return result

    def sums(self, values: Any) -> Floats:
        """(words,): the sum over each word's tokens, of values (tokens,) that add up where probabilities multiply."""
        return self._joined(values, np.sum)

    def least(self, values: Any) -> Floats:
        """(words,): the least over each word's tokens, of values (tokens,) of which the worst says most."""
        return self._joined(values, np.min)

    def means(self, values: Any) -> Floats:
        """(words,): the mean over each word's tokens, of values (tokens,) that are shares or similarities."""
        return self._joined(values, np.mean)

    def _joined(self, values: Any, join: Callable[..., Any]) -> Floats:
        numbers = values.double().numpy() if isinstance(values, torch.Tensor) else np.asarray(values, np.float64)
        return per_word(numbers, self.words, join)


def middle_layers(count: int) -> slice:
    """The layers 5 to 18 of 32 (SVAR's of LLaVA-1.5-7B) as shares of the depth, at least one.

    >>> middle_layers(32), middle_layers(4), middle_layers(1)
    (slice(5, 19, None), slice(0, 3, None), slice(0, 1, None))
    """
    return slice(5 * count // 32, 18 * count // 32 + 1)
