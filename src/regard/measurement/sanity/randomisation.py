"""eMPRT: is a map of the network simpler than the same method's map of a network of random weights?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 100
"""Bins of the histogram, from a map's least to its largest value."""


def emprt(maps: NDArray[Any], randomised: NDArray[Any], *, bins: int = BINS) -> Floats:
    """(..., rows, columns) twice → (...) float64, at least -1, no bound above, higher is better: (H(e') - H(e)) / H(e).

    H is the entropy of the histogram of a map's values, e a map of the network and e' the same method's map, of the
    same picture and class, of the network whose weights were all drawn anew (`networks.randomised`): what a network
    learnt should make a map simpler than chance does. Hedström et al. 2024 (arXiv 2401.06465). 0 where both are as
    complex; NaN for a map of one value alone, whose entropy is 0. Values that are not numbers are left out.
    """
    before = entropy(maps, bins=bins)
    after = entropy(randomised, bins=bins)
    return np.divide(after - before, before, out=np.full_like(before, np.nan), where=before > 0)


def entropy(maps: NDArray[Any], *, bins: int = BINS) -> Floats:
    """(..., rows, columns) → (...) float64, in nats, 0 to ln of `bins`: of the histogram of each map's values."""
    values = np.asarray(maps, np.float64)
    entropies = []
    for each in values.reshape(-1, values.shape[-2] * values.shape[-1]):
        finite = each[np.isfinite(each)]
        places = finite - finite.min(initial=np.inf)
        largest = places.max(initial=0.0)
        counts = np.histogram(places / largest, bins=bins, range=(0, 1))[0] if largest > 0 else np.ones(1)
        shares = counts[counts > 0] / counts.sum()
        entropies.append(max(0.0, float(-(shares * np.log(shares)).sum())))
    return np.array(entropies).reshape(values.shape[:-2])
