"""What a thing adds to a network's answer on the way from a blur to the picture, and not only at its end (DECAF).

arXiv 2608.12935: the picture with the thing and the one without it are both revealed from one blurred start. The
difference of the probabilities r is evidence where it has the sign it has at the end, contradiction where it has the
other, and activity with a null endpoint where nothing is left of it at the end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regard.measurement.blur import blurred
from regard.measurement.reliance.answers import Bools, Floats, answers
from regard.networks.network import Network

STAGES = 9
NULL = 0.02
"""A difference at the end that is smaller counts as none."""
BLUR = 1 / 16
"""The standard deviation of the start's blur, as a share of the shorter side."""


@dataclass(frozen=True)
class Reveal:
    """For each picture: `evidence`, `contradiction` and `endpoint_null` (pictures,), which sum to `total`; `endpoint`
    (pictures,) is the difference at the end, -1 to 1, `path` (pictures, stages) that on the way."""

    evidence: Floats
    contradiction: Floats
    endpoint_null: Floats
    endpoint: Floats
    path: Floats

    @property
    def total(self) -> Floats:
        """(pictures,): the integral of the difference's size, 0 to 1."""
        return _integral(np.abs(self.path))


def reveal(
    network: Network,
    present: Tensor,
    absent: Tensor,
    targets: NDArray[Any],
    *,
    among: Bools | None = None,
    stages: int = STAGES,
    blur: float = BLUR,
    batch_size: int = 32,
) -> Reveal:
    """The way from a common blur to the pictures with the thing and without it, (pictures, 3, height, width) in [0, 1].

    The start is the blur of the mean of the two. `targets` (pictures,) are the classes whose probability is looked at;
    pictures that are not `among` (pictures,) those that have both ends get NaN.
    """
    start = blurred((present + absent) / 2, blur * min(present.shape[-2:]))
    steps = np.linspace(0, 1, stages)[1:].tolist()
    ends = (present, absent)
    rows = None if among is None else torch.from_numpy(among)
    variants = ((f"{end} {step}", start.lerp(ends[end], step), rows) for step in steps for end in (0, 1))
    probability = answers(network, variants, targets, batch_size).probability
    differences = probability[0::2] - probability[1::2]  # (stages - 1, pictures)
    path = np.concatenate([np.zeros((1, len(present))), differences]).T  # at the start both are the same picture
    return decompose(path)


def decompose(path: Floats, null: float = NULL) -> Reveal:
    """The parts of differences r (pictures, stages) along the way from 0 to 1, integrated by trapezoids.

    a = 1 where |r(1)| ≥ `null`, else 0; z = sign(r(1)) · r. Evidence is a · max(z, 0), contradiction a · max(-z, 0),
    and endpoint-null activity (1 - a) · |r|, stage by stage, so that they sum to |r| exactly.
    """
    end = path[:, -1]
    active: Bools = np.abs(end) >= null
    signed = np.sign(end)[:, None] * path
    evidence = _integral(np.maximum(signed, 0)) * active
    contradiction = _integral(np.maximum(-signed, 0)) * active
    return Reveal(evidence, contradiction, _integral(np.abs(path)) * ~active, end, path)


def _integral(values: Floats) -> Floats:
    """(pictures, stages) → (pictures,): trapezoids over 0 to 1."""
    return np.asarray((values[:, 1:] + values[:, :-1]).mean(axis=1) / 2)
