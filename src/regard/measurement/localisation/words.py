"""Does the map of a word lie on what the word speaks of: pointing, IoU and the share inside, each beside baselines.

A picture's pixels take the value of the patch that covers them (see `PatchGrid.to_picture`), and only pixels that the
network saw count. Beside the map of a word stand a map that is the same everywhere or noise (`random`), one that is
largest in the middle (`centre`) and the map of such a word in another picture (`shuffled`): what is not above all three
has found nothing. Intervals draw whole pictures again, as the words of one are not independent.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.measurement.intervals import NOWHERE, bootstrapped, percentile
from regard.records import Heatmap, PatchGrid, Score

BASELINES = ("random", "centre", "shuffled")
NOISY = 8
"""Maps of noise whose mean IoU stands for that of a random one."""
ALL = "all"
"""The part of speech of the rows that are of all words together."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TrueWord:
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


@dataclass(frozen=True)
class Cover:
    """For each patch (rows, columns) int64: how many pixels it covers, `area`, and how many in a region, `inside`."""

    area: Ints
    inside: Ints


def cover(grid: PatchGrid, region: Bools) -> Cover:
    """How the patches of `grid` lie on a `region` (H, W) of its picture. Raises `DataError` for one of another size."""
    if region.shape != grid.picture:
        raise DataError(
            f"a region is {region.shape[0]} × {region.shape[1]} and its picture {grid.picture[0]} × {grid.picture[1]} "
            "pixels; give regions at the size of the pictures that were captioned"
        )
    patch, area = _patches(grid)
    inside = np.bincount(patch[np.asarray(region, bool)], minlength=grid.patches + 1)[: grid.patches]
    return Cover(area, inside.reshape(area.shape))


@lru_cache(maxsize=2)  # the words of a picture come together, and a picture may be large
def _patches(grid: PatchGrid) -> tuple[Ints, Ints]:
    """The patch (H, W) over each pixel, from 0, `grid.patches` where there is none; and the pixels of each patch."""
    numbers = np.arange(grid.patches).reshape(grid.rows, grid.columns)
    found = grid.to_picture(numbers, nearest=True)
    patch = np.where(np.isfinite(found), found, grid.patches).astype(np.int64)
    area = np.bincount(patch.ravel(), minlength=grid.patches + 1)[: grid.patches].reshape(numbers.shape)
    return patch, area


def pointing(values: NDArray[Any], over: Cover) -> float:
    """The chance that a pixel with the largest value lies in the region: 0 to 1, between where it cuts the patch.

    The pointing game of Zhang et al. 2018 (IJCV 126) without its margin; of several largest patches the pixels of all.
    """
    flat, area, inside = _seen(values, over)
    top = flat == flat.max()
    return float(inside[top].sum() / area[top].sum())


def iou(values: NDArray[Any], over: Cover) -> float:
    """Intersection over union of the region and where the map exceeds Otsu's threshold: 0 to 1.

    A map that is the same everywhere exceeds it nowhere and has 0.
    """
    flat, area, inside = _seen(values, over)
    hot = flat > otsu(flat, area)
    both = inside[hot].sum()
    return float(both / (area[hot].sum() + inside.sum() - both))


def share(values: NDArray[Any], over: Cover) -> float:
    """How much of the map's sum over pixels lies in the region: 0 to 1; negative values count as 0.

    A map without positive values says nothing of any place and counts as the same everywhere.
    """
    flat, area, inside = _seen(values, over)
    positive = np.maximum(flat, 0)
    if not positive.any():
        positive = np.ones_like(flat)
    return float((positive * inside).sum() / (positive * area).sum())


MEASURES: dict[str, Callable[[NDArray[Any], Cover], float]] = {"pointing": pointing, "iou": iou, "share": share}
"""Each measure by its name: of a map (rows, columns) and where its patches lie. NaN values count as not seen."""


def _seen(values: NDArray[Any], over: Cover) -> tuple[Floats, Ints, Ints]:
    """Values, pixels and pixels in the region of each patch that the map speaks of."""
    seen = (over.area > 0) & np.isfinite(values)
    return np.asarray(values, np.float64)[seen], over.area[seen], over.inside[seen]


def otsu(values: Floats, weights: NDArray[Any]) -> float:
    """The threshold that values (n,) must exceed to be of the upper of two classes; infinite where all are alike.

    It is the value that makes the variance between the classes largest, of equals the least. Otsu 1979, eq. 18, over
    the values themselves instead of a histogram.
    """
    levels, at = np.unique(values, return_inverse=True)
    if len(levels) < 2:
        return float("inf")
    mass = np.bincount(at, weights) / np.sum(weights)
    lower, mean = np.cumsum(mass)[:-1], np.cumsum(mass * levels)[:-1]
    between = ((mass * levels).sum() * lower - mean) ** 2 / (lower * (1 - lower))
    return float(levels[np.argmax(between >= between.max() * (1 - 1e-9))])  # equal but for rounding


def centre(rows: int, columns: int) -> Floats:
    """One in the middle of the network's input, falling linearly to zero at its corners: (rows, columns)."""
    down, across = (np.arange(rows) + 0.5) / rows * 2 - 1, (np.arange(columns) + 0.5) / columns * 2 - 1
    return np.asarray(1 - np.hypot(down[:, None], across[None]) / np.sqrt(2))


@dataclass(frozen=True)
class WordRow:
    """The words of one part of speech that are all `right`, all wrong, or (None) of unknown truth.

    `scores` by name: "pointing", "iou" and "share", each also as "iou_of_centre", what the baseline has, and
    "iou_over_centre", what the map has more, word by word. Their `n` counts pictures.
    """

    part: str
    right: bool | None
    words: int
    pictures: int
    scores: dict[str, Score]

    def as_json(self) -> dict[str, Any]:
        about = {"part": self.part, "right": self.right, "words": self.words, "pictures": self.pictures}
        return {**about, "scores": {name: score.as_json() for name, score in self.scores.items()}}


@dataclass(frozen=True)
class WordScores:
    """What was measured of `words` words in `pictures` pictures; `left_out` have no region that the network saw."""

    rows: tuple[WordRow, ...]
    words: int
    pictures: int
    left_out: int

    def as_json(self) -> dict[str, Any]:
        about = {"words": self.words, "pictures": self.pictures, "left_out": self.left_out}
        return {**about, "rows": [row.as_json() for row in self.rows]}


@dataclass(frozen=True)
class _Kept:
    """What is kept of a word: pictures and regions may be many."""

    picture: str
    part: str
    right: bool | None
    values: NDArray[np.float32]
    over: Cover


def measure(words: Iterable[TrueWord], *, seed: int = 0, resamples: int = 2000) -> WordScores:
    """All measures by part of speech, right and wrong words apart; rows of all parts together come first.

    Words are taken one by one, so that they may come from a generator. `seed` is that of noise, of the order in which
    pictures lend each other their maps, and of the bootstrap. Raises `DataError` where no word has a region.
    """
    kept, left_out = list[_Kept](), 0
    for word in words:
        own = _Kept(word.picture, word.part, word.right, word.heatmap.values, cover(word.heatmap.grid, word.region))
        if _seen(own.values, own.over)[2].any():
            kept.append(own)
        else:
            left_out += 1
    if not kept:
        raise DataError(f"none of the {left_out} words has a region in its picture; there is nothing to measure")
    table = _table(kept, seed)
    rows = tuple(_row(part, right, kept, chosen, table, seed, resamples) for part, right, chosen in _sorts(kept))
    return WordScores(rows, len(kept), len({word.picture for word in kept}), left_out)


def _table(kept: Sequence[_Kept], seed: int) -> dict[str, Floats]:
    """(words,) by name, for each measure: of the words' own maps, and of each baseline's; NaN where there is none."""
    found = dict[str, Floats]()
    lent = shuffled([word.picture for word in kept], [word.part for word in kept], seed)
    for name, score in MEASURES.items():
        found[name] = np.array([score(word.values, word.over) for word in kept])
        found[f"{name}_of_random"] = np.array([_random(name, word.over, (seed, at)) for at, word in enumerate(kept)])
        found[f"{name}_of_centre"] = np.array([score(centre(*word.values.shape), word.over) for word in kept])
        found[f"{name}_of_shuffled"] = np.array(
            [
                np.nan if donor is None else score(_laid(kept[donor].values, word.values.shape), word.over)
                for word, donor in zip(kept, lent, strict=True)
            ]
        )
        for base in BASELINES:
            found[f"{name}_over_{base}"] = found[name] - found[f"{name}_of_{base}"]
    return found


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
    lent: list[int | None] = [None] * len(pictures)
    for part in sorted(set(parts)):
        places = defaultdict(list)
        for at, (picture, own) in enumerate(zip(pictures, parts, strict=True)):
            if own == part:
                places[picture].append(at)
        order = np.random.default_rng(seed).permutation(sorted(places)).tolist()
        for picture, other in zip(order, [*order[1:], order[0]], strict=True):
            if other != picture:
                for number, at in enumerate(places[picture]):
                    lent[at] = places[other][number % len(places[other])]
    return lent


def _laid(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Another picture's map on a grid of this shape, by the place in the network's input."""
    return values if values.shape == shape else PatchGrid.whole(*values.shape).to_picture(values, size=shape)


def _sorts(kept: Sequence[_Kept]) -> list[tuple[str, bool | None, Bools]]:
    """Part of speech, right or not, and which words (words,) are such, as far as there are any."""
    parts, rights = np.array([word.part for word in kept]), [word.right for word in kept]
    found = []
    for part in (ALL, *sorted(set(parts))):
        for right in (True, False, None):
            chosen = np.array([each is right for each in rights]) & ((parts == part) | (part == ALL))
            if chosen.any():
                found.append((str(part), right, chosen))
    return found


def _row(
    part: str,
    right: bool | None,
    kept: Sequence[_Kept],
    chosen: Bools,
    table: dict[str, Floats],
    seed: int,
    resamples: int,
) -> WordRow:
    pictures = np.array([word.picture for word in kept])[chosen]
    scores = {name: _mean(values[chosen], pictures, name, seed, resamples) for name, values in table.items()}
    return WordRow(part, right, int(chosen.sum()), len(np.unique(pictures)), scores)


def _mean(values: Floats, pictures: NDArray[Any], name: str, seed: int, resamples: int) -> Score:
    """The mean over words that have a value, with the interval from drawing pictures.

    Where resamples do not differ (all words are hit, say) it is Wilson's, of as many trials as there are pictures; of
    differences, which go from -1 to 1, that of their place between these.
    """
    known = np.isfinite(values)
    if not known.any():
        return NOWHERE
    count = len(np.unique(pictures[known]))
    value, drawn = bootstrapped(
        np.stack([values[known], np.ones(known.sum())]),
        lambda totals: totals[0] / totals[1],
        groups=pictures[known],
        seed=seed,
        resamples=resamples,
    )
    if "_over_" not in name:
        return percentile(value, drawn, count, count)
    found = percentile((value + 1) / 2, (drawn + 1) / 2, count, count)
    return Score(2 * found.value - 1, 2 * found.low - 1, 2 * found.high - 1, count)
