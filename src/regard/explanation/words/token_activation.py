"""Token Activation Map: how strongly the picture's tokens activate each word (Li et al. 2025, arXiv 2506.23270)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from regard.errors import UsageError
from regard.explanation.words.methods import check_caption, check_fits, check_predicting
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.records import Float

_ALMOST_NONE = 1e-8
"""What the authors' code adds to the sum of the weights of the context."""
_NARROW = 1e-12
"""Twice the square of a filter's width, at least: the middle rank alone counts long before."""


def tam(
    captioner: CaptionNetwork,
    picture: PreparedPicture,
    tokens: Sequence[int],
    *,
    layer: int | None = None,
    head: int | None = None,
    row: str = "predicting",
) -> Float:
    """Maps (tokens, rows, columns) of the Token Activation Map: from 0 to 1, by one pass and no gradient.

    A_t = (w_t · h_v)⁺ over the picture's tokens v, with w_t the language model's head for token t and h the last hidden
    states (eq. 1). Words before t have such maps A_i too, which interfere: I = Σ_i a_i A_i / Σ_i a_i over the words i
    of prompt and caption that are not t itself, with a_i = (w_t · h_i)⁺. What they explain is taken off: (A_t - s I)⁺,
    with s by least squares, ⟨A_t, I⟩ / ⟨I, I⟩ (estimated causal inference, eq. 2 to 5). The map and all a_i are brought
    to 0 to 1 together, so that a word which the text says more than the picture is faint; last comes the rank Gaussian
    filter (eq. 6 and 7, see `rank_gaussian`).

    Order and details are the authors' code's: h_i is the state at a word of the prompt, and for a word of the caption
    the one that predicts it. The prompt is what stands behind the picture up to the next special token, as `<|im_end|>`
    (see `prompt_places`): what a chat's template puts behind that is no context. Read otherwise: where nothing marks a
    template's words off, they count; the prompt's first word has its own map like the others. Where tokens do not lie
    on the grid one by one (tiles and the whole), a patch has the mean of those that cover it, each as far as it lies
    there. Raises `UsageError` for a captioner without a language model that has the picture among its tokens.
    """
    check_fits("tam", captioner)
    check_predicting("tam", row)
    if layer is not None or head is not None:
        raise UsageError("tam reads the last hidden states, which have no heads; leave layer and head out")
    activations = _Activations.of(captioner, picture, check_caption(captioner, tokens))
    count = len(activations.tokens)
    maps = [_on_grid(activations.map(index), picture) for index in range(count - len(tokens), count)]
    return np.stack([rank_gaussian(values) for values in maps]).astype(np.float32)


@dataclass(frozen=True)
class _Activations:
    """The words of prompt and caption as tokens, their activations at the picture's tokens (words, places), and at
    each other (words, words): row t has those of word t."""

    tokens: NDArray[np.int64]
    picture: NDArray[np.float64]
    text: NDArray[np.float64]

    @classmethod
    def of(cls, captioner: CaptionNetwork, picture: PreparedPicture, tokens: tuple[int, ...]) -> "_Activations":
        visible = _places(captioner, picture)
        special = captioner.pieces(picture.start).special
        start = len(picture.start)
        prompt = [place for place in range(start) if not special[place]]
        words = [*(picture.start[place] for place in prompt), *tokens]
        logits = captioner.token_logits(picture, tokens, words).clamp(min=0).double().numpy()  # (words, sequence)
        before = logits.shape[1] - start - len(tokens)  # tokens of the picture that are not among those of the prompt
        # A word of the prompt is read at its own place, one of the caption at that which predicts it.
        places = before + np.asarray([*prompt, *range(start - 1, start - 1 + len(tokens))])
        asked = prompt_places(picture.start, special, getattr(captioner, "stops", ()), int(visible.max()) + 1 - before)
        after = np.isin(prompt, asked).tolist() + [True] * len(tokens)
        return cls(np.asarray(words)[after], logits[after][:, visible], logits[after][:, places[after]])

    def map(self, index: int) -> NDArray[np.float64]:
        """(places,): of one word, without what those before it explain, and as a share of the most there is."""
        values = self.picture[index]
        weights = self.text[index, :index]
        others = self.tokens[:index] != self.tokens[index]
        values = unexplained(values, self.picture[:index][others], weights[others])
        low = min(values.min(), weights.min(initial=np.inf))
        most = max(values.max(), weights.max(initial=-np.inf))
        return (values - low) / (most - low) if most > low else np.zeros_like(values)


def prompt_places(start: Sequence[int], special: Sequence[bool], stops: Sequence[int], behind: int) -> list[int]:
    """The places in `start` of the prompt's words: from `behind` on, where the picture has ended, to the next special
    token. Special tokens right there that do not stop a text, as `<|vision_end|>`, are the picture's own."""
    places = range(max(behind, 0), len(start))
    words = dropwhile(lambda place: special[place] and start[place] not in stops, places)
    return list(takewhile(lambda place: not special[place], words))


def _places(captioner: CaptionNetwork, picture: PreparedPicture) -> NDArray[np.int64]:
    """Where the picture's tokens are among all, those alone that lie somewhere in it."""
    if picture.places is None or not len(picture.places):
        raise UsageError(f"the prompt of {captioner.name} has no tokens of the picture; prepare the picture again")
    places = picture.places.cpu()
    return (places if picture.spread is None else places[picture.spread.cpu().sum(1) > 0]).numpy()


def unexplained(
    values: NDArray[np.float64], context: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Eq. 2 to 5: values (places,) less what the context (words, places) with its weights (words,) explains of them."""
    interference = weights @ context / (weights.sum() + _ALMOST_NONE)
    square = interference @ interference
    scale = values @ interference / square if square > 0 else 0.0
    return np.clip(values - scale * interference, 0, None)


def _on_grid(values: NDArray[np.float64], picture: PreparedPicture) -> NDArray[np.float64]:
    """(places,) → (rows, columns): of each patch the mean of the tokens that cover it, or 0 where none does."""
    if picture.spread is not None:
        spread = picture.spread.double().cpu().numpy()  # (tokens, patches)
        spread = spread[spread.sum(1) > 0]
        covered = spread.sum(0)
        values = np.divide(values @ spread, covered, out=np.zeros_like(covered), where=covered > 0)
    return values.reshape(picture.grid.rows, picture.grid.columns)


def rank_gaussian(values: NDArray[Any], side: int = 3) -> NDArray[np.float64]:
    """The rank Gaussian filter (eq. 6 and 7) of a map (rows, columns) without negative values.

    The values of each window of `side` × `side`, mirrored at the edges, are sorted and averaged by a Gaussian around
    the middle rank whose width, in ranks, is their standard deviation by their mean: the more they disagree, the more
    of them count. Where all are alike that is their value (the authors' code divides 0 by 0 there).
    """
    padded = np.pad(np.asarray(values, np.float64), side // 2, mode="reflect")
    ranked = np.sort(sliding_window_view(padded, (side, side)).reshape(*np.shape(values), -1), axis=-1)
    mean = ranked.mean(-1, keepdims=True)
    width = np.divide(ranked.std(-1, keepdims=True), mean, out=np.zeros_like(mean), where=mean > 0)
    ranks = np.arange(side**2) - side**2 // 2
    kernel = np.exp(-(ranks**2) / np.maximum(2 * width**2, _NARROW))
    return (ranked * kernel).sum(-1) / kernel.sum(-1)
