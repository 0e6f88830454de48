"""Does a map lie on the object: area under the curve and pointing, on the patches of one picture.

A map that only finds the middle has found nothing, as objects are mostly there: compare with the baselines `centre`
and `random`, and look at the pictures whose object is away from the centre.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from regard.records import Score

Array = NDArray[np.floating]
RESAMPLES = 2000


def foreground_auc(values: Array, foreground: NDArray[np.bool_]) -> float:
    """The chance that a patch on the object has a larger value than one beside it, ties counting half; 0.5 is chance.

    `values` and `foreground` of one shape. NaN where all or no patches are on the object. Mann-Whitney's U over the
    number of pairs.
    """
    inside, flat = foreground.ravel(), np.asarray(values, np.float64).ravel()
    on, off = int(inside.sum()), int((~inside).sum())
    if not on or not off:
        return float("nan")
    ranks = rankdata(flat)
    return float((ranks[inside].sum() - on * (on + 1) / 2) / (on * off))


def points_at(values: Array, foreground: NDArray[np.bool_]) -> float:
    """1 where the patch with the largest value lies on the object, 0 where not; of equal ones the mean."""
    flat = np.asarray(values, np.float64).ravel()
    return float(foreground.ravel()[flat == flat.max()].mean())


def mean_score(values: Array, seed: int = 0) -> Score:
    """The mean over pictures, those without a value left out, with its 95 % bootstrap interval."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return Score(float("nan"), float("nan"), float("nan"), 0)
    random = np.random.default_rng(seed)
    means = known[random.integers(0, len(known), (RESAMPLES, len(known)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(float(known.mean()), float(low), float(high), len(known))
