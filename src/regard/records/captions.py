"""Captions word by word: each word with its map, its probability and what it owes to the picture."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from regard.errors import UsageError
from regard.records.display import Displayed, Readable, Viewable, few
from regard.records.grid import Box, Float, PatchGrid
from regard.records.maps import Heatmap

if TYPE_CHECKING:
    from PIL import Image

START = "<start>"
END = "<end>"
"""How the tokens before the first word and after the last one are written, where they are shown as words."""


@dataclass(frozen=True, repr=False)
class Focus(Readable):
    """How narrowly a map looks: `entropy` in nats (0: one patch; ln of their number: all alike), and the share of it
    that lies in the top tenth of the patches (at least one; 0.1 where all are alike)."""

    entropy: float
    top_tenth: float

    def __str__(self) -> str:
        return f"entropy {self.entropy:.3f} nats, {self.top_tenth:.3f} of it in the top tenth of the patches"


def focus(values: Float) -> Focus | None:
    """The focus of a map (rows, columns) without negative values; None where it is zero everywhere.

    >>> focus(np.array([[0.5, 0.25, 0.25]]))
    entropy 1.040 nats, 0.500 of it in the top tenth of the patches
    """
    flat = np.asarray(values, np.float64).ravel()
    if (flat < 0).any():
        raise UsageError(f"a map with negative values (down to {flat.min():.3g}) has no focus; give one of attention")
    if not flat.sum():
        return None
    share = np.sort(flat / flat.sum())[::-1]
    positive = share[share > 0]
    entropy = max(0.0, float(-(positive * np.log(positive)).sum()))
    return Focus(entropy, float(share[: math.ceil(len(share) / 10)].sum()))


@dataclass(frozen=True, repr=False)
class Peak(Readable):
    """The patch of a map with the highest `value`, and the `box` (left, top, right, bottom) that it covers, in pixels
    of the user's picture."""

    row: int
    column: int
    value: float
    box: Box

    def __str__(self) -> str:
        left, top, right, bottom = (f"{edge:.1f}" for edge in self.box)
        return f"row {self.row}, column {self.column}: {self.value:.3g}, pixels {left} to {right} × {top} to {bottom}"


def peak(heatmap: Heatmap) -> Peak | None:
    """Where a map is highest, cut at the edges of the picture; None where all patches are alike.

    >>> grid = PatchGrid.whole(2, 3, picture=(40, 60))
    >>> peak(Heatmap(np.eye(2, 3, dtype=np.float32), grid, "a.png"))
    row 0, column 0: 1, pixels 0.0 to 20.0 × 0.0 to 20.0
    """
    values = heatmap.values
    if not values.max() > values.min():
        return None
    row, column = divmod(int(values.argmax()), values.shape[1])
    return Peak(row, column, float(values[row, column]), heatmap.grid.cell_inside(row, column))


@dataclass(frozen=True, repr=False)
class WordDependence(Readable):
    """What a word owes to its picture: what its log-probability gains in nats over that with another picture
    (`over_other`) and without any (`over_none`), and the share (0 to 1) of its map that lies elsewhere there."""

    over_other: float
    over_none: float
    moved_by_other: float
    moved_by_none: float

    def __str__(self) -> str:
        gains = f"{self.over_other:+.3f} nats over another picture, {self.over_none:+.3f} over none"
        return f"{gains}; of the map {self.moved_by_other:.3f} and {self.moved_by_none:.3f} lie elsewhere there"


DOUBTFUL = 0.5
"""A word with less support than this is doubtful."""
LEAST = 20
"""Of so many right and so many wrong words of a kind at least its score is told."""


@dataclass(frozen=True, repr=False)
class WordSupport(Readable):
    """How far the picture supports a word: the `probability`, 0 to 1, that it does, of words of this `kind` (noun,
    colour, count, relation, verb, side, other). `reasons` say in short sentences why it is low, `alternative` is the
    word that the picture supports better, if there is one.

    >>> WordSupport(0.2, "noun", ("as likely without the picture",), "girl")
    0.200 (as likely without the picture; better supported: girl)
    """

    probability: float
    kind: str
    reasons: tuple[str, ...] = ()
    alternative: str | None = None

    def __str__(self) -> str:
        better = () if self.alternative is None else (f"better supported: {self.alternative}",)
        why = "; ".join((*self.reasons, *better))
        return f"{self.probability:.3f}{f' ({why})' if why else ''}"

    @property
    def is_doubtful(self) -> bool:
        return self.probability < DOUBTFUL

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(stored["probability"], stored["kind"], tuple(stored["reasons"]), stored["alternative"])


def support_text(settings: Mapping[str, Any]) -> str:
    """What the support of a caption's words was measured on, or why there is none, by the caption's settings; ""
    where it was not asked for.

    >>> support_text({"support": {"none": "it was not measured on net; these are raw checks"}})
    'No support: it was not measured on net; these are raw checks.'
    """
    if "check" not in settings and "support" not in settings:
        return ""
    support = settings.get("support") or {"none": "it was not measured on this network; these are raw checks"}
    if "none" in support:
        return f"No support: {support['none'].rstrip('.')}."
    measured = support["measured"]
    whole = measured["all"]
    planted = ", exchanged in true captions" if support["errors"] == "planted" else ""
    kinds = [
        f"; {kind} {score['auroc']['value']:.2f}"
        for kind, score in measured.items()
        if kind != "all" and min(score["n_right"], score["n_wrong"]) >= LEAST
    ]
    return (
        f"Support measured on {whole['n_right'] + whole['n_wrong']:,} words ({whole['n_wrong']:,} wrong{planted}) of "
        f"{support['data']}: AUROC {_interval(whole['auroc'], 2)}{''.join(kinds)}. Calibration error "
        f"{_interval(whole['calibration_error'], 3)}."
        f"{' ' if support.get('unlike') else ''}{support.get('unlike', '')}"
    )


def _interval(score: Mapping[str, float], digits: int) -> str:
    value, low, high = (f"{score[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


@dataclass(frozen=True, repr=False)
class Word(Readable):
    """A word of a caption: its probability (0 to 1) and, where there is one, the map of where the network looked.

    `log_probability` is natural and None of `<start>`, which no step predicts; `steps` (start, stop) are the word's in
    its caption; `dependence` is None where it was not measured. `checks` are those of WORD_CHECKS by name, the higher
    the better the picture supports the word, NaN where one has no value; None where there are none. `support` is what
    they come to; None where that was not measured on this network, and of words that claim nothing ("the").

    >>> Word("cat", probability=0.9, part_of_speech="noun").heatmap is None
    True
    """

    text: str
    probability: float
    heatmap: Heatmap | None = None
    part_of_speech: str | None = None
    log_probability: float | None = None
    steps: tuple[int, int] | None = None
    dependence: WordDependence | None = None
    checks: Mapping[str, float] | None = None
    support: WordSupport | None = None

    def __str__(self) -> str:
        part = f", {self.part_of_speech}" if self.part_of_speech else ""
        return f"{self.text} ({self.probability:.3f}{part}{', with a map' if self.heatmap else ''})"


@dataclass(frozen=True, repr=False)
class Step(Readable):
    """A token of a caption: its `piece` as a person reads it, its natural log-probability after those before it, and
    the likeliest `alternatives` there as (piece, log-probability), best first."""

    piece: str
    log_probability: float
    alternatives: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        others = ", ".join(f"{piece!r} {value:.3f}" for piece, value in self.alternatives)
        return f"{self.piece!r} {self.log_probability:.3f}{f' (or {others})' if others else ''}"


@dataclass(frozen=True, repr=False)
class Caption(Displayed, Viewable):
    """What a network writes of the picture called `name`, word by word, or how it aligns a caption that it is given.

    `settings` and `provenance` say how it came about; `log_probability` is natural, of the whole caption; `finished` is
    false where the length limit came before the end. `which` is the number of a given caption among several of its
    picture, `unknown_words` are those of a given caption that the network's vocabulary lacks. What was read from the
    disk has no `steps`. `image` opens the picture, to be drawn at about so many pixels, where it is known.

    >>> grid = PatchGrid.whole(2, 3, picture=(20, 30))
    >>> maps = (Heatmap(np.ones((2, 3), np.float32), grid, "cat.jpg") for _ in range(2))
    >>> caption = Caption("cat.jpg", "a cat", tuple(Word(text, 0.9, each) for text, each in zip(("a", "cat"), maps)))
    >>> print(caption, caption.maps.shape)  # (words, rows, columns)
    a cat (2, 2, 3)
    """

    name: str
    text: str
    words: tuple[Word, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: PatchGrid | None = None
    steps: tuple[Step, ...] = ()
    log_probability: float | None = None
    finished: bool = True
    which: int | None = None
    unknown_words: tuple[str, ...] | None = None
    image: "Callable[[int], Image.Image] | None" = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def maps(self) -> Float:
        """(words, rows, columns) float32, of the words that have a map."""
        maps = [word.heatmap.values for word in self.words if word.heatmap is not None]
        if maps:
            return np.stack(maps)
        shape = (0, 0) if self.grid is None else (self.grid.rows, self.grid.columns)
        return np.zeros((0, *shape), np.float32)


@dataclass(frozen=True, repr=False)
class Captions(Displayed, Viewable):
    """The captions of several pictures, in their order.

    >>> captions = Captions((Caption("cat.jpg", "a cat", ()), Caption("dog.jpg", "a dog", ())))
    >>> [caption.text for caption in captions]
    ['a cat', 'a dog']
    """

    captions: tuple[Caption, ...]

    def __str__(self) -> str:
        return few([f"{caption.name}: {caption.text}" for caption in self])

    def __len__(self) -> int:
        return len(self.captions)

    def __iter__(self) -> Iterator[Caption]:
        return iter(self.captions)

    def __getitem__(self, index: int) -> Caption:
        return self.captions[index]
