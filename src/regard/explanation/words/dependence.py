"""How much each word of a caption depends on the picture: the same words said of another picture, and of none.

A map that looks the same whatever the picture says nothing of the picture, and a word that is as likely without one
follows from the words before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from regard.errors import unknown
from regard.explanation.words.alignment import ROWS
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
    """How tokens, or words, score with one picture: natural `log_probabilities` (n,), each after those before it, and
    `maps` (n, rows, columns) on the grid of the picture that the caption is of."""

    log_probabilities: Float
    maps: Float


@dataclass(frozen=True)
class Dependence:
    """What the tokens, or words, of a caption are with its own picture, with another, and without one."""

    picture: TokenScores
    other: TokenScores
    without: TokenScores

    @property
    def over_other(self) -> Float:
        """(n,): what the log-probability gains, in nats, over that with the other picture; negative: it loses."""
        return self.picture.log_probabilities - self.other.log_probabilities

    @property
    def over_none(self) -> Float:
        """(n,): the same over that without a picture."""
        return self.picture.log_probabilities - self.without.log_probabilities

    @property
    def moved_by_other(self) -> Float:
        """(n,) from 0 to 1: the share of the map that lies elsewhere with the other picture; see `moved`."""
        return moved(self.picture.maps, self.other.maps)

    @property
    def moved_by_none(self) -> Float:
        """(n,): the same without a picture."""
        return moved(self.picture.maps, self.without.maps)

    def of_words(self, words: Sequence[Span]) -> "Dependence":
        """The same for words, each of which is several tokens: probabilities multiplied, maps averaged."""
        return Dependence(*(_joined(scores, words) for scores in (self.picture, self.other, self.without)))


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
    """A caption of `picture`, as tokens, said of it, of the `other` picture and of none, by any captioner.

    Maps are `cross_attention`'s, with its `layer`, `head` and `row`. Those of a picture of another grid are brought to
    this one's by the area that cells share, both stretched over the whole picture. `other` should have been prepared
    with the same prompt. Raises `UsageError` as that method does.
    """
    if row not in ROWS:
        raise unknown("row", row, ROWS)
    capture = Capture(captioner.layers - 1 if layer is None else layer, "mean" if head is None else head)
    tokens = check_caption(captioner, tokens)
    decodings = captioner.teacher_force([picture, other, without(captioner, picture)], [tokens] * 3, capture=capture)
    size = picture.grid.rows, picture.grid.columns
    return Dependence(*(_scores_of(decoding, row, size) for decoding in decodings))


def without(captioner: CaptionNetwork, picture: PreparedPicture) -> PreparedPicture:
    """The same prompt with a mid-grey picture of the same size."""
    height, width = picture.grid.picture
    grey = captioner.prepare(Image.new("RGB", (width, height), GREY))
    pixels = {name: value for name, value in grey.inputs.items() if value.is_floating_point()}
    return replace(picture, inputs={**picture.inputs, **pixels})


def _scores_of(decoding: Decoding, row: str, size: tuple[int, int]) -> TokenScores:
    rows = decoding.predicting if row == "predicting" else decoding.reading
    maps = resized(rows[0, 0].float().numpy(), size)
    return TokenScores(decoding.log_probabilities.float().numpy().astype(np.float32), maps)


def _joined(scores: TokenScores, words: Sequence[Span]) -> TokenScores:
    def each(values: Float, join: Callable[..., Float]) -> Float:
        joined = [join(values[word.start : word.stop], axis=0) for word in words]
        return np.stack(joined).astype(np.float32) if joined else values[:0]

    return TokenScores(each(scores.log_probabilities, np.sum), each(scores.maps, np.mean))


def moved(maps: Float, others: Float) -> Float:
    """(n,) from 0 to 1: the total variation ½ Σ |p - q| of two maps (n, rows, columns), each brought to sum to 1.

    It is the share of the attention that lies elsewhere: 0 for maps alike, 1 for such as share no patch. A correlation
    would run from -1 to 1 and say nothing of a map that is the same everywhere. NaN where a map is zero everywhere.
    """
    shares = [_shares(each) for each in (maps, others)]
    return (np.abs(shares[0] - shares[1]).sum((1, 2)) / 2).astype(np.float32)


def _shares(maps: Float) -> np.ndarray:
    values = np.asarray(maps, np.float64)
    total = values.sum((1, 2), keepdims=True)
    return np.divide(values, total, out=np.full_like(values, np.nan), where=total > 0)


def resized(maps: Float, size: tuple[int, int]) -> Float:
    """Maps (n, rows, columns) on a grid of another (rows, columns) of the same picture; what they sum to stays.

    A cell gives each new one as much as they share of its area.
    """
    down, across = (_shared(new, old) for new, old in zip(size, maps.shape[1:], strict=True))
    return np.asarray(down @ maps @ across.T, np.float32)


def _shared(new: int, old: int) -> np.ndarray:
    """(new, old): the share of each of `old` cells in a row that lies in each of `new`."""
    begin, end = np.arange(new)[:, None] / new, np.arange(1, new + 1)[:, None] / new
    left, right = np.arange(old) / old, np.arange(1, old + 1) / old
    return np.clip(np.minimum(end, right) - np.maximum(begin, left), 0, None) * old
