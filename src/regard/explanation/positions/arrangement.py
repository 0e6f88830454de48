"""Numbers for how positions are arranged, each with a permutation p-value: is near alike, are rows and columns?

Two nulls. Where every pair of positions has a similarity of its own, the positions' names are exchangeable: rows and
columns of the similarity matrix are permuted together (Mantel 1967, Cancer Research 27:209). Where the similarity is a
function of the offset alone (rotary, relative bias), the offsets are: permuting positions there would count each
entry of the table as often as there are pairs at that offset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
Index = NDArray[np.int64]

DIRECTIONS: Mapping[str, int] = {
    "neighbours": 1,
    "neighbour_gain": 1,
    "distance_spearman": -1,
    "row_gain": 1,
    "column_gain": 1,
    "similarity_r2": 1,
    "embedding_r2": 1,
}
"""The numbers, and the side on which a value is remarkable: 1 the larger, -1 the smaller."""


class Arrangement(Protocol):
    """What can be measured with its labels in any order; `labels` counts them."""

    labels: int

    def numbers(self, order: Index | None = None) -> dict[str, float]:
        """The numbers with label i's values at place order[i]; NaN where the grid has no such pair."""


class PermutationResult(NamedTuple):
    """A number and its one-sided p: the share of permutations that reach it, itself counted (NaN: not defined)."""

    value: float
    p: float


def p_values(arrangement: Arrangement, permutations: int = 999, seed: int = 0) -> dict[str, PermutationResult]:
    """Each number of an arrangement with its p-value, at least 1 / (permutations + 1) (Phipson and Smyth 2010)."""
    generator = np.random.default_rng(seed)
    observed = arrangement.numbers()
    signs = np.array([DIRECTIONS[name] for name in observed])
    value = np.array(list(observed.values()))
    extreme = np.ones(len(value))
    slack = 1e-10 * np.abs(value)  # equal arrangements may differ by rounding
    for _ in range(permutations):
        other = np.array(list(arrangement.numbers(generator.permutation(arrangement.labels)).values()))
        extreme += signs * other >= signs * value - slack
    p = np.where(np.isnan(value), np.nan, extreme / (permutations + 1))
    return dict(zip(observed, map(PermutationResult, value.tolist(), p.tolist()), strict=True))


@dataclass(frozen=True)
class _Contrast:
    """Σ weight · value over entries of a flattened matrix: a difference of means, NaN where there is nothing."""

    places: Index
    weights: Array

    def of(self, values: Array) -> float:
        return float(values.ravel()[self.places] @ self.weights) if len(self.places) else float("nan")


class PairArrangement:
    """A similarity of each position with each other, (patches, patches), patches row by row.

    `neighbours`: the mean over pairs one step apart along a row or column; `neighbour_gain`: less that over all pairs.
    `distance_spearman`: rank correlation of similarity and Euclidean distance over all pairs.
    `row_gain`, `column_gain`: pairs in a row (column) less pairs that share neither at the very same Euclidean
    distance, such as (0, 5) against (3, 4), averaged over these distances by their pairs in a row (column).
    `similarity_r2`: the share of the similarity's variance that f(row, row') + g(column, column') explains, f and g
    free. `embedding_r2`, where there are `embeddings` (patches, width): the share of their variance around their mean
    that a vector for each row plus a vector for each column explains (two-way analysis of variance).
    """

    def __init__(self, similarity: Array, rows: int, columns: int, embeddings: Array | None = None) -> None:
        self.rows = rows
        self.columns = columns
        self.labels = rows * columns
        self.similarity = (similarity + similarity.T) / 2
        row, column = np.divmod(np.arange(self.labels), columns)
        down = np.abs(row[:, None] - row)  # (patches, patches): rows between each two
        across = np.abs(column[:, None] - column)  # (patches, patches)
        squared = down**2 + across**2
        upper = np.triu(np.ones_like(squared, bool), k=1)
        self._ranks, self._distance = (_standardised(_ranked(each, upper)) for each in (self.similarity, squared))
        neighbours = (squared == 1) & upper
        self._mean = float(self.similarity[upper].mean()) if upper.any() else float("nan")
        self._neighbours = _difference([(neighbours, upper, 1.0)])
        self._row = _difference(_equally_far(down, across, squared, upper))
        self._column = _difference(_equally_far(across, down, squared, upper))
        self._total = float(((self.similarity - self.similarity.mean()) ** 2).sum())
        self._gram: Array | None = None
        if embeddings is not None:
            centred = embeddings - embeddings.mean(axis=0)
            self._gram = centred @ centred.T  # (patches, patches)
        self._together = np.flatnonzero((down == 0) | (across == 0))

    def numbers(self, order: Index | None = None) -> dict[str, float]:
        order = np.arange(self.labels) if order is None else order
        similarity = self.similarity.take(order, 0).take(order, 1)
        gain = self._neighbours.of(similarity)
        numbers = {
            "neighbours": self._mean + gain,
            "neighbour_gain": gain,
            "distance_spearman": self._spearman(order),
            "row_gain": self._row.of(similarity),
            "column_gain": self._column.of(similarity),
            "similarity_r2": self._similarity_r2(similarity),
        }
        return numbers if self._gram is None else {**numbers, "embedding_r2": self._embedding_r2(self._gram, order)}

    def _spearman(self, order: Index) -> float:
        if self._ranks is None or self._distance is None:
            return float("nan")
        return float(np.vdot(self._ranks.take(order, 0).take(order, 1), self._distance))

    def _similarity_r2(self, similarity: Array) -> float:
        if self._total <= 1e-12 * float((self.similarity**2).sum()):
            return float("nan")
        whole = similarity.reshape(self.rows, self.columns, self.rows, self.columns)
        mean = whole.mean()
        by_row = ((whole.mean(axis=(1, 3)) - mean) ** 2).sum() * self.columns**2
        by_column = ((whole.mean(axis=(0, 2)) - mean) ** 2).sum() * self.rows**2
        return float((by_row + by_column) / self._total)

    def _embedding_r2(self, gram: Array, order: Index) -> float:
        """Sums of squares from the centred Gram matrix: those of a row are the mean of its block, times its patches."""
        total = float(np.trace(gram))
        if total <= 0 or min(self.rows, self.columns) < 2:
            return float("nan")
        a, b = np.divmod(self._together, self.labels)
        values = gram[order[a], order[b]]
        in_row = a // self.columns == b // self.columns
        in_column = a % self.columns == b % self.columns
        return float((values[in_row].sum() / self.columns + values[in_column].sum() / self.rows) / total)


class OffsetArrangement:
    """A kernel over offsets, (2·rows - 1, 2·columns - 1), whose labels are the offsets, opposite ones being one.

    The numbers are those of `PairArrangement`, over offsets, each once, instead of pairs; (0, 0) stays where it is and
    counts in `similarity_r2` alone, the share of the kernel's variance that f(rows apart) + g(columns apart) explains.
    """

    def __init__(self, kernel: Array) -> None:
        self.shape = kernel.shape
        rows = (kernel.shape[0] + 1) // 2
        columns = (kernel.shape[1] + 1) // 2
        flat = ((kernel + kernel[::-1, ::-1]) / 2).ravel()
        self._middle = len(flat) // 2
        self._values = flat[self._middle + 1 :]  # one of each opposite two
        self._centre = float(flat[self._middle])
        self.labels = len(self._values)
        down, across = np.meshgrid(np.arange(1 - rows, rows), np.arange(1 - columns, columns), indexing="ij")
        down, across = (np.abs(each).ravel()[self._middle + 1 :] for each in (down, across))
        squared = down**2 + across**2
        every = np.ones(self.labels, bool)
        self._neighbours = _difference([(squared == 1, every, 1.0)])
        self._row = _difference([(a, b, 1.0) for a, b, _ in _equally_far(down, across, squared, every)])
        self._column = _difference([(a, b, 1.0) for a, b, _ in _equally_far(across, down, squared, every)])
        self._ranks, self._distance = (_standardised(rankdata(each)) for each in (self._values, squared))

    def numbers(self, order: Index | None = None) -> dict[str, float]:
        order = np.arange(self.labels) if order is None else order
        values = self._values[order]
        gain = self._neighbours.of(values)
        return {
            "neighbours": float(self._values.mean()) + gain if self.labels else float("nan"),
            "neighbour_gain": gain,
            "distance_spearman": self._spearman(order),
            "row_gain": self._row.of(values),
            "column_gain": self._column.of(values),
            "similarity_r2": self._r2(values),
        }

    def _spearman(self, order: Index) -> float:
        if self._ranks is None or self._distance is None:
            return float("nan")
        return float(self._ranks[order] @ self._distance)

    def _r2(self, values: Array) -> float:
        whole = np.concatenate([values[::-1], [self._centre], values]).reshape(self.shape)
        mean = whole.mean()
        total = float(((whole - mean) ** 2).sum())
        if total <= 1e-12 * float((whole**2).sum()):
            return float("nan")
        by_row = ((whole.mean(axis=1) - mean) ** 2).sum() * self.shape[1]
        by_column = ((whole.mean(axis=0) - mean) ** 2).sum() * self.shape[0]
        return float((by_row + by_column) / total)


Group = tuple[NDArray[np.bool_], NDArray[np.bool_], float]


def _difference(groups: list[Group]) -> _Contrast:
    """The mean over the first of two sets of entries less that over the second, averaged over groups by weight."""
    groups = [group for group in groups if group[0].any() and group[1].any()]
    if not groups:
        return _Contrast(np.zeros(0, np.int64), np.zeros(0))
    total = sum(weight for *_, weight in groups)
    weights = np.zeros(groups[0][0].size)
    for first, second, weight in groups:
        weights[first.ravel()] += weight / total / first.sum()
        weights[second.ravel()] -= weight / total / second.sum()
    places = np.flatnonzero(weights)
    return _Contrast(places, weights[places])


def _equally_far(off: Index, along: Index, squared: Index, among: NDArray[np.bool_]) -> list[Group]:
    """For each distance: the entries along the line (`off` is 0), and those that lie askew at the same distance."""
    straight = (off == 0) & among
    askew = (off > 0) & (along > 0) & among
    distances = np.intersect1d(squared[straight], squared[askew])
    groups = [(straight & (squared == each), askew & (squared == each)) for each in distances]
    return [(line, oblique, float(line.sum())) for line, oblique in groups]


def _ranked(values: NDArray[np.generic], upper: NDArray[np.bool_]) -> Array:
    """Ranks of the pairs, on both sides of a diagonal of zeros once they are standardised."""
    ranks = np.zeros(values.shape)
    ranks[upper] = rankdata(values[upper])
    if upper.any():
        ranks[upper] -= ranks[upper].mean()
    return ranks + ranks.T


def _standardised(ranks: Array) -> Array | None:
    """Less their mean, of length 1, so that a product of two is a correlation; None where all are equal."""
    ranks = ranks - ranks.mean()
    length = float(np.linalg.norm(ranks))
    return None if length == 0 else ranks / length
