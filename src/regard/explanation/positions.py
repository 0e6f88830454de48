"""How alike the positional embeddings of patches are: the first thing a vision transformer learns about space."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from regard.errors import NetworkError
from regard.records import Positions


def positions(embeddings: NDArray[np.floating], provenance: dict[str, object] | None = None) -> Positions:
    """The cosine similarity of every position with every other, and its summaries.

    `embeddings` (rows, columns, width) are the patches' positional embeddings, CLS left out (Dosovitskiy et al. 2021,
    figure 7, centre). The numbers are those of `summarise`. Raises `NetworkError` for a grid of a single patch, or for
    embeddings that are all zero, whose direction is not defined.
    """
    rows, columns, width = embeddings.shape
    flat = np.asarray(embeddings, np.float64).reshape(rows * columns, width)
    length = np.linalg.norm(flat, axis=1, keepdims=True)  # (patches, 1)
    if rows * columns < 2:
        raise NetworkError("one patch has no other to be compared with; positions need a grid of at least two patches")
    if not (length > 0).all():
        raise NetworkError("the positional embedding of a patch is zero, as in a network that was never trained")
    cosine = np.clip(flat @ flat.T / length / length.T, -1, 1)  # (patches, patches)
    similarity = cosine.reshape(rows, columns, rows, columns).astype(np.float32)
    return Positions(similarity, summarise(cosine, rows, columns), provenance or {})


def summarise(cosine: NDArray[np.float64], rows: int, columns: int) -> dict[str, float]:
    """Mean cosine over kinds of pairs of positions, from `cosine` (patches, patches); a pair with itself is left out.

    `neighbours` are one step apart along a row or column; `same_row` and `same_column` any distance apart along it;
    `elsewhere` share neither. `distance_spearman` is the rank correlation of cosine and Euclidean distance in patches
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
    numbers["distance_spearman"] = _rank_correlation(cosine[upper], np.hypot(down, across)[upper])
    return numbers


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's; NaN where one side is constant, for which it is not defined."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
