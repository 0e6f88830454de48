"""How far an export's answers are from the network's, and where that is too far."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regard.errors import OutputError
from regard.exports.source import ExportSource
from regard.records.exported import Parity
from regard.scenes import render, sample

__all__ = ["LIMIT", "Parity", "measured", "pictures", "probes", "relative_difference"]

LIMIT = 1e-4
"""The largest difference from the network's answers, relative to their largest value, that an export may have."""


@cache
def pictures() -> tuple[Image.Image, ...]:
    """Three drawn scenes of different sizes and one of noise, RGB: the same wherever and whenever."""
    sizes = ((240, 320), (300, 200), (97, 131))  # height, width
    scenes = [render(sample(seed), size=size).picture for seed, size in enumerate(sizes)]
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    return tuple(Image.fromarray(each) for each in (*scenes, noise))


def probes(source: ExportSource) -> Tensor:
    """`pictures` as the network takes them: (4, channels, height, width) float32, normalised."""
    return torch.stack([source.preparation.tensor(each) for each in pictures()])


def relative_difference(value: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """The largest difference of two arrays relative to the largest value of `reference`; itself where all are zero."""
    difference = np.abs(value.astype(np.float64) - reference.astype(np.float64)).max(initial=0.0)
    scale = np.abs(reference.astype(np.float64)).max(initial=0.0)
    return float(difference / scale) if scale else float(difference)


def measured(what: str, value: NDArray[np.float32], reference: NDArray[np.float32], limit: float = LIMIT) -> Parity:
    """The largest difference between an export's output and the network's, relative to the network's largest value.

    Raises `OutputError` where that is beyond `limit`, is not a number, or the shapes differ; it names the output.
    """
    if value.shape != reference.shape:
        raise OutputError(
            f"the export's {what} have shape {value.shape}, the network's {reference.shape}; nothing was written: "
            "this network cannot be exported so; please report it"
        )
    parity = Parity(what, relative_difference(value, reference), limit)
    if not parity.holds:
        raise OutputError(
            f"the export's {what} differ from the network's by {parity.value:.2g} of their largest value, where "
            f"{limit:g} is allowed; nothing was written: choose another export, or report it"
        )
    return parity
