"""Sensitivity to the class: does the map change when it is asked for another one?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.errors import UsageError
from regard.measurement.chance import generator_of
from regard.measurement.ranks import spearman

Floats = NDArray[np.float64]


def class_sensitivity(maps: NDArray[Any], others: NDArray[Any]) -> Floats:
    """(..., rows, columns) twice → (...) float64, 0 to 2: 1 less Spearman's correlation of the maps of two classes.

    0: the same order of patches whichever class is asked for, so the map is not about the class; 1: nothing in common;
    2: the other way round. After the random logit test of Sixt, Granz and Landgraf 2020 (arXiv 1912.09818), with ranks
    in the place of structural similarity, since a map's colours are its order. Where maps are of one value: 0 if both
    are, else 1. Values that are not numbers count as the least.
    """
    flat = (np.asarray(each, np.float64).reshape(*each.shape[:-2], -1) for each in (maps, others))
    first, second = (np.where(np.isnan(each), -np.inf, each) for each in flat)
    even = first.max(axis=-1) == first.min(axis=-1)
    also = second.max(axis=-1) == second.min(axis=-1)
    correlation = np.nan_to_num(spearman(first, second), nan=0.0)
    return np.asarray(1 - np.where(even & also, 1.0, correlation), np.float64)


def other_classes(
    pixels: Tensor, targets: Sequence[int] | NDArray[Any] | Tensor, outputs: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """(pictures,) int64: of `outputs` classes one that is not the picture's of `targets`, at random.

    From the seed and the picture's own pixels (pictures, 3, height, width). Raises `UsageError` where there is none.
    """
    if outputs < 2:
        raise UsageError(f"the network has {outputs} class; a map can only be asked for another where there are two")
    places = [int(generator_of(picture, seed, "class").integers(outputs - 1)) for picture in pixels]
    return np.array([each + (each >= int(target)) for each, target in zip(places, targets, strict=True)], np.int64)
