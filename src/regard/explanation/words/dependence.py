"""How much each word of a caption depends on the picture: the same words with another picture, and with none.

A map that looks the same whatever the picture says nothing of the picture, and a word that is as likely without one
follows from the words before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from regard.errors import unknown
from regard.explanation.words import ROWS
from regard.explanation.words.methods import check_caption
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.wordpiece import Span
from regard.records import Float

GREY = (128, 128, 128)
"""The picture that stands for none, in the same size: the middle of what a pixel can be."""


@dataclass(frozen=True)
class TokenScores:
    """Tokens, or words, of a caption with one picture: natural `log_probabilities` (n,), each after those before it,
    and `maps` (n, rows, columns) on the grid of the picture that the caption is of."""

    log_probabilities: Float
    maps: Float

    def gain(self, other: "TokenScores") -> Float:
        """(n,): what the log-probability gains, in nats, over that with another picture; negative: it loses."""
        return self.log_probabilities - other.log_probabilities

    def of_words(self, words: Sequence[Span]) -> "TokenScores":
        """The same for words, each of which is several tokens: probabilities multiplied, maps averaged."""
        return TokenScores(
            per_word(self.log_probabilities, words, np.sum).astype(np.float32),
            per_word(self.maps, words, np.mean).astype(np.float32),
        )


@dataclass(frozen=True)
class Dependence:
    """What the tokens, or words, of a caption are with its own picture, with another, and without one."""

    picture: TokenScores
    other: TokenScores
    without: TokenScores

    @property
    def over_other(self) -> Float:
        """(n,): what the log-probability gains, in nats, over that with the other picture; negative: it loses."""
        return self.picture.gain(self.other)

    @property
    def over_none(self) -> Float:
        """(n,): the same over that without a picture."""
        return self.picture.gain(self.without)

    @property
    def moved_by_other(self) -> Float:
        """(n,) from 0 to 1: the share of the map that lies elsewhere with the other picture; see `map_distance`."""
        return map_distance(self.picture.maps, self.other.maps)

    @property
    def moved_by_none(self) -> Float:
        """(n,): the same without a picture."""
        return map_distance(self.picture.maps, self.without.maps)

    def of_words(self, words: Sequence[Span]) -> "Dependence":
        """The same for words, each of which is several tokens: probabilities multiplied, maps averaged."""
        return Dependence(*(scores.of_words(words) for scores in (self.picture, self.other, self.without)))


def dependence(
    captioner: CaptionNetwork,
    picture: PreparedPicture,
    other: PreparedPicture,
    tokens: Sequence[int],
    *,
    layer: int | None = None,
    head: int | None = None,
    row: str = "predicting",
) -> Dependence:
    """A caption of `picture`, as tokens, with it, with the `other` picture and with none, by any captioner.

    Maps are `cross_attention`'s, with its `layer`, `head` and `row`. Those of a picture of another grid are brought to
    this one's by the area that cells share, both stretched over the whole picture. `other` should have been prepared
    with the same prompt. Raises `UsageError` as that method does.
    """
    if row not in ROWS:
        raise unknown("row", row, ROWS)
    capture = Capture(captioner.layers - 1 if layer is None else layer, "mean" if head is None else head)
    caption = check_caption(captioner, tokens)
    pictures = [picture, other, grey_picture(captioner, picture)]
    decodings = captioner.teacher_force(pictures, [caption] * 3, capture=capture)
    return Dependence(*(scores_of(decoding, picture, row) for decoding in decodings))


def scores_of(decoding: Decoding, picture: PreparedPicture, row: str) -> TokenScores:
    """The scores of a decoding whose attention is of one layer and head, its maps on the grid of `picture`."""
    rows = decoding.predicting if row == "predicting" else decoding.reading
    logs = decoding.log_probabilities.float().numpy().astype(np.float32)
    return TokenScores(logs, resized(rows[0, 0].float().numpy(), (picture.grid.rows, picture.grid.columns)))


def grey_picture(captioner: CaptionNetwork, picture: PreparedPicture) -> PreparedPicture:
    """The same prompt with a mid-grey picture of the same size."""
    height, width = picture.grid.picture
    grey = captioner.prepare(Image.new("RGB", (width, height), GREY))
    pixels = {name: value for name, value in grey.inputs.items() if value.is_floating_point()}
    return replace(picture, inputs={**picture.inputs, **pixels})


def per_word(values: np.ndarray, words: Sequence[Span], join: Callable[..., np.ndarray]) -> np.ndarray:
    """Values (tokens, ...) → (words, ...): the sum, say, or the mean over the tokens of each word."""
    joined = [join(values[word.start : word.stop], axis=0) for word in words]
    return np.stack(joined) if joined else values[:0]


def map_distance(maps: Float, others: Float) -> Float:
    """(n,) from 0 to 1: the total variation ½ Σ |p - q| of two maps (n, rows, columns), each brought to sum to 1.

    It is the share of the attention that lies elsewhere: 0 for maps alike, 1 for such as share no patch. A correlation
    would run from -1 to 1 and say nothing of a map that is the same everywhere. NaN where a map is zero everywhere.
    """
    shares = []
    for values in (maps, others):
        values = np.asarray(values, np.float64)
        total = values.sum((1, 2), keepdims=True)  # (n, 1, 1)
        shares.append(np.divide(values, total, out=np.full_like(values, np.nan), where=total > 0))
    return (np.abs(shares[0] - shares[1]).sum((1, 2)) / 2).astype(np.float32)


def resized(maps: Float, size: tuple[int, int]) -> Float:
    """Maps (n, rows, columns) on a grid of another (rows, columns) of the same picture; what they sum to stays.

    A cell gives each new one as much as they share of its area.
    """
    down, across = (_overlaps(new, old) for new, old in zip(size, maps.shape[1:], strict=True))
    return np.asarray(down @ maps @ across.T, np.float32)


def _overlaps(new: int, old: int) -> np.ndarray:
    """(new, old): the share of each of `old` cells in a row that lies in each of `new`."""
    begin = np.arange(new)[:, None] / new
    end = np.arange(1, new + 1)[:, None] / new
    left = np.arange(old) / old
    right = np.arange(1, old + 1) / old
    return np.clip(np.minimum(end, right) - np.maximum(begin, left), 0, None) * old
