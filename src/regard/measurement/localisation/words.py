"""Does the map of a word lie on what the word speaks of: pointing, IoU and the share inside, each beside baselines.

Beside the map of a word stand a map that is the same everywhere or noise (`random`), one that is
largest in the middle (`centre`) and the map of such a word in another picture (`shuffled`): what is not above all three
has found nothing. Intervals draw whole pictures again, as the words of one are not independent.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.measurement.intervals import mean
from regard.measurement.localisation.measures import MEASURES, Bools, Cover, Floats, centre, cover, iou, visible
from regard.records import Heatmap, PatchGrid, Score
from regard.records.display import Readable, Row, Rows, counted, few

BASELINES = ("random", "centre", "shuffled")
NOISY = 8
"""Maps of noise whose mean IoU stands for that of a random one."""
ALL = "all"
"""The part of speech of the rows that are of all words together."""


@dataclass(frozen=True, repr=False)
class TrueWord(Readable):
    """A word said of a `picture`, its map, and the `region` (H, W) bool of the picture that it speaks of.

    `part` is its part of speech; `right` whether it is true of the picture, None where nobody knows. The region of a
    wrong word is that of what it was said of: the boy, of "girl".
    """

    picture: str
    text: str
    part: str
    right: bool | None
    heatmap: Heatmap
    region: Bools

    def __str__(self) -> str:
        truth = {True: ", right", False: ", wrong", None: ""}[self.right]
        return f"{self.text!r} ({self.part}{truth}) of {self.picture}, a region of {self.region.mean():.1%}"


@dataclass(frozen=True, repr=False)
class WordRow(Row):
    """The words of one part of speech that are all `right`, all wrong, or (None) of unknown truth.

    `scores` by name: "pointing", "iou" and "share", each also as "iou_of_centre", what the baseline has, and
    "iou_over_centre", what the map has more, word by word. Their `n` counts pictures.
    """

    part: str
    right: bool | None
    words: int
    pictures: int
    scores: dict[str, Score]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}".strip() for name, value in self.cells().items())

    def cells(self) -> dict[str, str]:
        truth = {True: "right", False: "wrong", None: ""}[self.right]
        counts = {"words": str(self.words), "pictures": str(self.pictures)}
        return {"part": self.part, "truth": truth, **counts, **{name: str(self.scores[name]) for name in MEASURES}}

    def as_json(self) -> dict[str, Any]:
        about = {"part": self.part, "right": self.right, "words": self.words, "pictures": self.pictures}
        return {**about, "scores": {name: score.as_json() for name, score in self.scores.items()}}


@dataclass(frozen=True, repr=False)
class WordScores(Readable):
    """What was measured of `words` words in `pictures` pictures; `left_out` have no region that the network saw."""

    rows: tuple[WordRow, ...]
    words: int
    pictures: int
    left_out: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", Rows(self.rows))

    def __str__(self) -> str:
        head = f"{self.words} words of {counted(self.pictures, 'picture')}, {self.left_out} words without a region"
        return few([head, *repr(self.rows).splitlines()])

    def as_json(self) -> dict[str, Any]:
        about = {"words": self.words, "pictures": self.pictures, "left_out": self.left_out}
        return {**about, "rows": [row.as_json() for row in self.rows]}


@dataclass(frozen=True)
class _Covered:
    """A word with its region as its patches have it, which is small: pictures and regions may be many."""

    picture: str
    part: str
    right: bool | None
    values: NDArray[np.float32]
    over: Cover


def measure(words: Iterable[TrueWord], *, seed: int = 0, resamples: int = 2000) -> WordScores:
    """All measures by part of speech, right and wrong words apart; rows of all parts together come first.

    Words are taken one by one, so that they may come from a generator. `seed` is that of noise, of the order in which
    pictures lend each other their maps. Raises `DataError` where no word has a region.
    """
    covered: list[_Covered] = []
    left_out = 0
    for word in words:
        over = cover(word.heatmap.grid, word.region)
        if visible(word.heatmap.values, over)[2].any():
            covered.append(_Covered(word.picture, word.part, word.right, word.heatmap.values, over))
        else:
            left_out += 1
    if not covered:
        raise DataError(f"none of the {left_out} words has a region in its picture; there is nothing to measure")
    table = _table(covered, seed)
    rows = []
    for part, right, chosen in _sorts(covered):
        pictures = np.array([word.picture for word in covered])[chosen]
        scores = {
            name: mean(values[chosen], pictures, least=-1.0 if "_over_" in name else 0.0)
            for name, values in table.items()
        }
        rows.append(WordRow(part, right, int(chosen.sum()), len(np.unique(pictures)), scores))
    return WordScores(tuple(rows), len(covered), len({word.picture for word in covered}), left_out)


def _table(words: Sequence[_Covered], seed: int) -> dict[str, Floats]:
    """(words,) by name, for each measure: of the words' own maps, and of each baseline's; NaN where there is none."""
    table: dict[str, Floats] = {}
    donors = shuffled([word.picture for word in words], [word.part for word in words], seed)
    for name, score in MEASURES.items():
        table[name] = np.array([score(word.values, word.over) for word in words])
        table[f"{name}_of_random"] = np.array([_random(name, word.over, (seed, at)) for at, word in enumerate(words)])
        table[f"{name}_of_centre"] = np.array([score(centre(*word.values.shape), word.over) for word in words])
        shuffled_scores = []
        for word, donor in zip(words, donors, strict=True):
            values = None if donor is None else words[donor].values
            if values is not None and values.shape != word.values.shape:  # laid on this grid by its place in the input
                values = PatchGrid.whole(*values.shape).to_picture(values, size=word.values.shape)
            shuffled_scores.append(np.nan if values is None else score(values, word.over))
        table[f"{name}_of_shuffled"] = np.array(shuffled_scores)
        for base in BASELINES:
            table[f"{name}_over_{base}"] = table[name] - table[f"{name}_of_{base}"]
    return table


def _random(name: str, over: Cover, seed: tuple[int, int]) -> float:
    """What to expect of a map that knows nothing: exactly the region's share of the area; of IoU the mean of a few."""
    if name != "iou":
        return MEASURES[name](np.ones(over.area.shape), over)
    generator = np.random.default_rng(seed)
    return float(np.mean([iou(generator.random(over.area.shape), over) for _ in range(NOISY)]))


def shuffled(pictures: Sequence[str], parts: Sequence[str], seed: int = 0) -> list[int | None]:
    """For each word, which other word lends it a map: one of the same part of speech in another picture.

    The pictures that have such words stand in a circle, in an order from the seed, and take from the next; None where
    there is no other.
    """
    donors: list[int | None] = [None] * len(pictures)
    for part in sorted(set(parts)):
        places = defaultdict(list)
        for at, (picture, word_part) in enumerate(zip(pictures, parts, strict=True)):
            if word_part == part:
                places[picture].append(at)
        order = np.random.default_rng(seed).permutation(sorted(places)).tolist()
        for picture, other in zip(order, [*order[1:], order[0]], strict=True):
            if other != picture:
                for number, at in enumerate(places[picture]):
                    donors[at] = places[other][number % len(places[other])]
    return donors


def _sorts(words: Sequence[_Covered]) -> list[tuple[str, bool | None, Bools]]:
    """Part of speech, right or not, and which words (words,) are such, as far as there are any."""
    parts = np.array([word.part for word in words])
    rights = [word.right for word in words]
    sorts = []
    for part in (ALL, *sorted(set(parts))):
        for right in (True, False, None):
            chosen = np.array([each is right for each in rights]) & ((parts == part) | (part == ALL))
            if chosen.any():
                sorts.append((str(part), right, chosen))
    return sorts
