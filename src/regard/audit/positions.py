"""Whether a network's positions know what is near: their numbers with an interval, beside those of random ones.

The rule stands in docs/audit.md. What varies is the place: positions are drawn with replacement, and a pair of two
counts as often as both were drawn (the vertex bootstrap of Snijders and Borgatti 1999, Connections 22:161); pairs of a
place with itself are left out.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.audit.rules import ALPHA, MARGIN
from regard.errors import NetworkError
from regard.explanation.positions.analysis import subject
from regard.explanation.positions.arrangement import PairArrangement
from regard.explanation.positions.controls import Control, pretraining_grid
from regard.measurement.measure import labelled
from regard.networks.anatomy.encoding_families import encodings
from regard.networks.anatomy.encodings import Encoding
from regard.networks.network import Network
from regard.records import Finding, Score, Verdict

Floats = NDArray[np.float64]

QUESTIONS = {
    "neighbour_gain": "Are the embeddings of neighbouring patches more alike than those of random positions?",
    "row_gain": "Are embeddings in one row more alike, at the same distance, than those of random positions?",
    "column_gain": "Are embeddings in one column more alike, at the same distance, than those of random positions?",
}
"""What each number of claim (a) answers."""
KINDS = {
    "rotary": "a rotation, which is fixed, not learned",
    "relative": "a bias by offset, which has no places to draw",
    "none": "no embeddings that are its own",
}
"""What is measured by `regard positions` alone, and why."""
DRAWS = 4000
"""Bootstrap draws of places."""
PAIRS = 2_000_000_000
FEWEST = 500
"""Draws × pairs that are computed at most: of large grids fewer draws are made, and never fewer than FEWEST."""


@dataclass(frozen=True)
class PositionsAudit:
    """Verdicts and findings on a network's own positions; `skipped` says why there are none, "" where there are."""

    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    skipped: str = ""


def audit_positions(network: Network, model: str, data: str = "", *, seed: int = 0) -> PositionsAudit:
    """Claim (a) on a network, whose digest is `model`. Costs no forward."""
    size = network.preparation.height, network.preparation.width
    try:
        encoding = encodings(network.module, size)[0]
        if encoding.kind in KINDS:
            return PositionsAudit(skipped=f"its positions are {KINDS[encoding.kind]}; `regard positions` measures them")
        arrangement = subject(encoding).arrangement
    except NetworkError as error:
        return PositionsAudit(skipped=str(error))
    assert isinstance(arrangement, PairArrangement)
    before = pretraining_grid(encoding.rows, encoding.columns, network.anatomy.patch or (16, 16))
    controls = [Control(encoding, None, seed=seed)]
    if before is not None:
        controls.append(Control(encoding, before, seed=seed))
    measured = judged(
        arrangement, encoding, [(each.description, each.numbers()) for each in controls], model, data, seed
    )
    return PositionsAudit(*measured)


def judged(
    arrangement: PairArrangement,
    encoding: Encoding,
    controls: list[tuple[str, dict[str, tuple[float, float, float]]]],
    model: str = "",
    data: str = "",
    seed: int = 0,
) -> tuple[tuple[Verdict, ...], tuple[Finding, ...]]:
    """Verdicts and findings on an arrangement beside its controls: by number (mean, lowest, highest)."""
    numbers = {name: value for name, value in arrangement.numbers().items() if name in QUESTIONS}
    names = [name for name, value in numbers.items() if math.isfinite(value)]
    samples = drawn(arrangement.similarity, arrangement.rows, arrangement.columns, seed=seed)
    verdicts = []
    findings = []
    for name in names:
        low, high = _ends(samples[name], ALPHA / len(names))
        mean, least, most = (
            pick(control[name][place] for _, control in controls) for place, pick in enumerate((max, min, max))
        )
        d = (numbers[name] - mean, low - most, high - least)
        status, why = _status(d[1], d[2])
        settings = {"source": encoding.source, "controls": [description for description, _ in controls]}
        verdicts.append(Verdict(QUESTIONS[name], name, settings, model, data, status, why, *d, arrangement.labels))
        ends = _ends(samples[name], ALPHA)
        score = labelled(name, Score(numbers[name], *ends, arrangement.labels))
        for description, control in controls:
            random = Score(*control[name], arrangement.labels)
            findings.append(
                Finding("positions", name, "", score, random, description, f"{status}: {why}; n counts places")
            )
    return tuple(verdicts), tuple(findings)


def _status(low: float, high: float) -> tuple[str, str]:
    if low > 0:
        return "supported", "all of the interval over places is above the highest of the random positions"
    if high < 0:
        return "contradicted", "all of the interval over places is below the lowest of the random positions"
    if low >= -MARGIN and high <= MARGIN:
        return "no better than a control", f"it is that of random positions: all of the interval is within ± {MARGIN}"
    return "not decidable", f"the interval over places reaches the random positions, and beyond ± {MARGIN} of them"


def _ends(sample: Floats, error: float) -> tuple[float, float]:
    """The percentiles of draws, NaN left out, at this two-sided error."""
    finite = sample[np.isfinite(sample)]
    if len(finite) < 2 / error:
        return -math.inf, math.inf
    low, high = np.quantile(finite, (error / 2, 1 - error / 2))
    return float(low), float(high)


def drawn(similarity: Floats, rows: int, columns: int, *, draws: int = DRAWS, seed: int = 0) -> Mapping[str, Floats]:
    """The three numbers (draws,) with places drawn anew from the seed; `similarity` (patches, patches), symmetric."""
    patches = rows * columns
    draws = min(draws, max(FEWEST, PAIRS // patches**2))
    rng = np.random.default_rng(seed)
    weights = np.stack([np.bincount(rng.integers(0, patches, patches), minlength=patches) for _ in range(draws)])
    return weighted(similarity, rows, columns, weights.astype(np.float64))


def weighted(similarity: Floats, rows: int, columns: int, weights: Floats) -> dict[str, Floats]:
    """The three numbers (draws,) with each place as often as `weights` (draws, patches) say."""
    from scipy.sparse import csr_array

    draws, patches = weights.shape

    def mean(first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
        """(draws,): over the pairs of these places, each as often as both were drawn."""
        shape = (patches, patches)
        values = csr_array((similarity[first, second], (first, second)), shape)
        ones = csr_array((np.ones(len(first)), (first, second)), shape)
        sums, counts = ((weights * (matrix @ weights.T).T).sum(axis=1) for matrix in (values, ones))
        return np.divide(sums, counts, out=np.full(draws, np.nan), where=counts > 0)

    # all pairs but those of a place with itself, in closed form
    squares = weights * weights
    sums = ((weights @ similarity) * weights).sum(axis=1) - squares @ np.diag(similarity)
    everything = sums / (weights.sum(axis=1) ** 2 - squares.sum(axis=1))
    results = {"neighbour_gain": mean(*_pairs(rows, columns, [(0, 1), (1, 0)])) - everything}
    for name, along in (("row_gain", True), ("column_gain", False)):
        total = np.zeros(draws)
        weight = 0.0
        for straight, askew in _equally_far(rows, columns, along):
            line = _pairs(rows, columns, [straight])
            oblique = _pairs(rows, columns, askew)
            total += len(line[0]) * (mean(*line) - mean(*oblique))
            weight += len(line[0])
        results[name] = total / weight if weight else np.full(draws, np.nan)
    return results


def _pairs(rows: int, columns: int, offsets: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of places that lie (down, across) from each other, across to either side where both are not 0."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    firsts = []
    seconds = []
    for down, across in offsets:
        for side in (across, -across) if down and across else (across,):
            inside = (row + down < rows) & (column + side >= 0) & (column + side < columns)
            first = np.flatnonzero(inside)
            firsts.append(first)
            seconds.append(first + down * columns + side)
    return np.concatenate(firsts), np.concatenate(seconds)


def _equally_far(rows: int, columns: int, along_rows: bool) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """For each distance along a row (or column): its offset, and those that lie askew at the very same distance."""
    for distance in range(1, columns if along_rows else rows):
        askew = [
            (down, across)
            for down in range(1, rows)
            for across in range(1, columns)
            if down**2 + across**2 == distance**2
        ]
        if askew:
            yield ((0, distance) if along_rows else (distance, 0)), askew
