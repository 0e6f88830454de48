"""Correlation of ranks, along the last axis of many arrays at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def spearman(values: NDArray[Any], against: NDArray[Any]) -> Floats:
    """(..., n) and (..., n) → (...), -1 to 1: Spearman's ρ, equals sharing the mean of their ranks.

    0 where all `values` are alike, as they say nothing of the order; NaN where all of `against` are.
    """
    from scipy.stats import rankdata  # late: it takes a second

    first, second = (rankdata(each, axis=-1) - (each.shape[-1] + 1) / 2 for each in (values, against))
    spread = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    product = (first * second).sum(-1)
    rho = np.divide(product, spread, out=np.zeros_like(product), where=spread > 0)
    return np.asarray(np.where((second**2).sum(-1) > 0, np.clip(rho, -1, 1), np.nan), np.float64)
