"""How a network tells its patches apart: as a similarity of positions or a kernel over offsets, and in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from regard.errors import NetworkError
from regard.explanation.positions.arrangement import Arrangement, OffsetArrangement, PairArrangement, p_values
from regard.explanation.positions.controls import Control
from regard.explanation.positions.readout import BlockMeans
from regard.networks.anatomy.encodings import Encoding
from regard.networks.network import Network
from regard.records import Positions

Array = NDArray[np.float64]
PERMUTATIONS = 999
FEWER = 99
MANY = 1600
"""How often positions are permuted by default; FEWER times where there are more than MANY of them."""


def positions(embeddings: NDArray[np.floating], provenance: dict[str, object] | None = None) -> Positions:
    """The cosine similarity of every position with every other, and its summaries.

    `embeddings` (rows, columns, width) are the patches' positional embeddings, CLS left out (Dosovitskiy et al. 2021,
    figure 7, centre). The numbers are those of `summarise`. Raises `NetworkError` for a grid of a single patch, or for
    embeddings that are all zero, whose direction is not defined.
    """
    rows, columns, _ = embeddings.shape
    cosine = cosines(embeddings)
    similarity = cosine.reshape(rows, columns, rows, columns).astype(np.float32)
    return Positions(similarity, summarise(cosine, rows, columns), provenance or {})


def cosines(embeddings: NDArray[np.floating]) -> Array:
    """(rows, columns, width) → (patches, patches) in [-1, 1]; raises as `positions`."""
    rows, columns, width = embeddings.shape
    flat = np.asarray(embeddings, np.float64).reshape(rows * columns, width)
    length = np.linalg.norm(flat, axis=1, keepdims=True)  # (patches, 1)
    if rows * columns < 2:
        raise NetworkError("one patch has no other to be compared with; positions need a grid of at least two patches")
    if not (length > 0).all():
        raise NetworkError("the positional embedding of a patch is zero, as in a network that was never trained")
    return np.clip(flat @ flat.T / length / length.T, -1, 1)


def summarise(cosine: Array, rows: int, columns: int) -> dict[str, float]:
    """Mean similarity over kinds of pairs of positions, from (patches, patches); a pair with itself is left out.

    `neighbours` are one step apart along a row or column; `same_row` and `same_column` any distance apart along it;
    `elsewhere` share neither. `distance_spearman` is the rank correlation of similarity and Euclidean distance
    (-1: the nearer, the more alike). NaN where a grid has no such pair.
    """
    place = np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)  # (patches, 2)
    down, across = np.moveaxis(np.abs(place[:, None] - place[None]), -1, 0)  # each (patches, patches)
    upper = np.triu(np.ones_like(down, bool), k=1)  # each pair once
    kinds = {
        "all_pairs": upper,
        "neighbours": upper & (down + across == 1),
        "same_row": upper & (down == 0),
        "same_column": upper & (across == 0),
        "elsewhere": upper & (down > 0) & (across > 0),
    }
    numbers = {kind: float(cosine[pairs].mean()) if pairs.any() else float("nan") for kind, pairs in kinds.items()}
    similarity = cosine[upper]
    distance = (down**2 + across**2)[upper]
    # Spearman's correlation is not defined where one side is constant
    varied = len(similarity) > 1 and np.ptp(similarity) > 0 and np.ptp(distance) > 0
    numbers["distance_spearman"] = float(spearmanr(similarity, distance).statistic) if varied else float("nan")
    return numbers


@dataclass(frozen=True)
class Subject:
    """What is measured: the record without its tests, and the arrangement that they are made on."""

    record: Positions
    arrangement: Arrangement


def subject(encoding: Encoding, provenance: Mapping[str, Any] | None = None) -> Subject:
    """From a network's own encoding of positions. Raises `NetworkError` where it has none, and as `positions`."""
    if encoding.kind == "none":
        raise NetworkError(
            "this network has no positional embeddings, rotation or bias of its own; give pictures (--pictures FOLDER) "
            "to see what it makes of places"
        )
    if encoding.kind == "embeddings":
        return _of_embeddings(encoding.values, encoding.kind, encoding.source, provenance)
    kernel = encoding.values.mean(axis=(0, 1))
    if kernel.size < 2:
        raise NetworkError("one patch has no other to be compared with; positions need a grid of at least two patches")
    similarity = around_each(kernel, encoding.rows, encoding.columns)
    record = _record(similarity, encoding.rows, encoding.columns, encoding.kind, encoding.source, provenance)
    return Subject(
        replace(record, kernel=encoding.values.astype(np.float32), layers=encoding.layers), OffsetArrangement(kernel)
    )


def subject_of_tokens(means: BlockMeans, provenance: Mapping[str, Any] | None = None) -> Subject:
    """From the mean token at each place. Raises as `positions`."""
    source = f"tokens that go into block {means.layer}, mean over {means.n} pictures, less their mean over places"
    return _of_embeddings(means.tokens, "tokens", source, provenance)


def subject_of_logits(means: BlockMeans, provenance: Mapping[str, Any] | None = None) -> Subject:
    """From the attention logits of each two places; the kernel is their mean by offset, for each head."""
    rows, columns, _ = means.tokens.shape
    if means.logits is None:
        raise NetworkError("no attention logits were read; ask `block_means` for them")
    source = f"attention logits of block {means.layer}, mean over {means.n} pictures, less each query's mean"
    mean = means.logits.mean(axis=0)  # (patches, patches)
    record = _record(mean, rows, columns, "logits", source, provenance)
    kernel = np.stack([by_offset(head, rows, columns) for head in means.logits])[None].astype(np.float32)
    return Subject(replace(record, kernel=kernel, layers=(means.layer,)), PairArrangement(mean, rows, columns))


def measure(
    subject: Subject,
    *,
    permutations: int | None = None,
    seed: int = 0,
    control: Control | None = None,
    before: Subject | None = None,
) -> Positions:
    """The record with its tests: each number with its p-value, beside random positions and the network before.

    `permutations` is by default PERMUTATIONS, or FEWER for grids of more than MANY patches where every pair counts.
    """
    if permutations is None:
        many = isinstance(subject.arrangement, PairArrangement) and subject.arrangement.labels > MANY
        permutations = FEWER if many else PERMUTATIONS
    tests = p_values(subject.arrangement, permutations, seed)
    random = {} if control is None else control.numbers()
    earlier = {} if before is None else before.arrangement.numbers()
    missing = (float("nan"),) * 3
    rows = {}
    for name, (value, p) in tests.items():
        mean, low, high = random.get(name, missing)
        rows[name] = {"value": value, "p": p, "control": mean, "control_low": low, "control_high": high}
        rows[name]["before"] = earlier.get(name, float("nan"))
    return replace(subject.record, tested=rows, note="" if control is None else control.description)


def around_each(kernel: Array, rows: int, columns: int) -> Array:
    """A kernel over offsets → (patches, patches): around each query its part of the kernel."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return kernel[row - row[:, None] + rows - 1, column - column[:, None] + columns - 1]


def by_offset(matrix: Array, rows: int, columns: int) -> Array:
    """(patches, patches) from query to key → its mean at each offset, (2·rows - 1, 2·columns - 1)."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    place = (row - row[:, None] + rows - 1) * (2 * columns - 1) + column - column[:, None] + columns - 1
    count = np.bincount(place.ravel())
    total = np.bincount(place.ravel(), weights=matrix.ravel())
    return (total / count).reshape(2 * rows - 1, 2 * columns - 1)


def _of_embeddings(embeddings: Array, kind: str, source: str, provenance: Mapping[str, Any] | None) -> Subject:
    rows, columns, width = embeddings.shape
    cosine = cosines(embeddings)
    record = _record(cosine, rows, columns, kind, source, provenance)
    return Subject(record, PairArrangement(cosine, rows, columns, embeddings.reshape(rows * columns, width)))


def _record(
    similarity: Array, rows: int, columns: int, kind: str, source: str, provenance: Mapping[str, Any] | None
) -> Positions:
    numbers = summarise((similarity + similarity.T) / 2, rows, columns)
    folded = similarity.reshape(rows, columns, rows, columns).astype(np.float32)
    return Positions(folded, numbers, dict(provenance or {}), kind, source)


def position_similarity(network: Network) -> Positions | None:
    """The similarity of a network's learned or fixed positions; None for one without absolute positions."""
    try:
        return positions(network.positions().double().numpy().astype(np.float64))
    except NetworkError:
        return None
