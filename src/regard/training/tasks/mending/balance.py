"""A last layer from balanced draws: l1 logistic regression on each, and the mean of their weights (DFR).

Kirichenko, Izmailov and Wilson 2023, "Last layer re-training is sufficient for robustness to spurious correlations"
(arXiv 2204.02937), section 4 and appendix B: features standardised, subsets with as many pictures of each slice, ten
draws. The placebo's draws are as large and not balanced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from regard.data.splits import folds_of
from regard.errors import DataError
from regard.training.tasks.probe import Features, Labels

DRAWS = 10
STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""Inverses of the penalty that are tried, as the authors' code has them (sklearn's C)."""
USUAL = 0.1
"""The strength where the pictures are too few to choose one."""
STEPS = 1000
"""Steps of the fit at most; it stops where a step changes hardly anything."""
TOLERANCE = 1e-4
NEVER = -15.0
"""How far a class lies below the others that a draw has no picture of."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A fitted last layer, logits = features @ weight.T + bias: weight (classes, width) and bias (classes,).

    `each` is the number of pictures of each slice in a draw, `strength` the inverse of the penalty.
    """

    weight: Features
    bias: Features
    strength: float
    each: int

    def logits(self, features: Features) -> Features:
        """(pictures, width) → (pictures, classes)."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class Pictures:
    """What is fitted on: `features` (pictures, width), `labels`, the slices `cells`, and `units` that are not parted in
    the choice of the strength, (pictures,) each; `classes` counts those that the layer answers with."""

    features: Features
    labels: Labels
    cells: Labels
    units: Labels
    classes: int

    def among(self, chosen: NDArray[np.bool_]) -> Self:
        """Some of the pictures."""
        fields: Any = {name: getattr(self, name)[chosen] for name in ("features", "labels", "cells", "units")}
        return type(self)(**fields, classes=self.classes)


def fit_layer(data: Pictures, *, balanced: bool = True, seed: int = 0) -> Layer:
    """The mean of the draws, at the strength of least log-loss by cross-validation, each slice counting alike; of a
    layer that is not balanced, each picture: it knows nothing of slices."""
    losses = _losses(data, balanced, seed)
    strength = USUAL if losses is None else min(STRENGTHS, key=losses.__getitem__)
    weight, bias = _fit(data, _draws(data, balanced, DRAWS, seed), strength)
    return Layer(weight.astype(np.float32), bias.astype(np.float32), strength, _smallest(data.cells))


def _losses(data: Pictures, balanced: bool, seed: int) -> dict[float, float] | None:
    """By strength, the log-loss of layers fitted on one half and scored on the other, both ways round; None where the
    slices are too small to be halved."""
    present, places = np.unique(data.cells, return_inverse=True)
    try:
        halves = folds_of(places, tuple(map(str, present)), data.units, 2, seed)
    except DataError:
        return None
    losses = dict.fromkeys(STRENGTHS, 0.0)
    alike = 1 / np.bincount(places)[places] / len(present)  # (pictures,)
    weights = alike if balanced else np.full(len(places), 1 / len(places))
    for half in range(2):
        fitted = data.among(halves != half)
        rest = data.among(halves == half)
        draws = _draws(fitted, balanced, 1, seed)
        for strength in STRENGTHS:
            weight, bias = _fit(fitted, draws, strength)
            logits = rest.features.astype(np.float64) @ weight.T + bias
            values = -log_softmax(logits, axis=1)[np.arange(len(logits)), rest.labels]  # (pictures,) nats
            losses[strength] += float(values @ weights[halves == half])
    return losses


def _smallest(cells: Labels) -> int:
    return int(np.unique(cells, return_counts=True)[1].min())


def _draws(data: Pictures, balanced: bool, count: int, seed: int) -> list[Labels]:
    """So many draws without replacement, as indices: of each slice as many as the smallest has, or as many in all, with
    one of each class at least."""
    labels, cells = data.labels, data.cells
    random = np.random.default_rng((seed, len(cells)))
    present = np.unique(cells)
    each = _smallest(cells)
    draws = []
    for _ in range(count):
        order = random.permutation(len(cells))
        if balanced:
            chosen = [order[cells[order] == cell][:each] for cell in present]
        else:
            first = np.array([order[labels[order] == label][0] for label in np.unique(labels)])
            rest = order[~np.isin(order, first)]
            chosen = [first, rest[: max(0, each * len(present) - len(first))]]
        draws.append(np.concatenate(chosen))
    return draws


def _fit(data: Pictures, draws: Sequence[Labels], strength: float) -> tuple[Floats, Floats]:
    """Weight (classes, width) and bias (classes,), the mean over draws, for features that are not standardised."""
    mean = data.features.mean(0, dtype=np.float64)  # (width,)
    deviation = data.features.std(0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * deviation.max(initial=0), deviation, 1.0)  # a constant feature says nothing
    standard = (data.features - mean) / deviation
    with threadpool_limits(1):  # matrices this small are quicker on one thread
        fits = [regress(standard[draw], data.labels[draw], strength, data.classes) for draw in draws]
    weight, bias = (np.mean(each, axis=0) for each in zip(*fits, strict=True))
    weight = weight / deviation
    return weight, bias - weight @ mean


def regress(features: Floats, labels: Labels, strength: float, classes: int) -> tuple[Floats, Floats]:
    """Weight (classes, width) and bias (classes,) that make strength · Σ log-loss + Σ |weight| least.

    Accelerated proximal gradients with restarts: Beck and Teboulle 2009 (FISTA), O'Donoghue and Candès 2015. Sklearn's
    solver for an l1 penalty on several classes (saga) takes over ten times as long for them, and random steps. A class
    without pictures lies `NEVER` below the lowest bias.
    """
    present, places = np.unique(labels, return_inverse=True)
    count, width = features.shape
    inputs = np.concatenate([features, np.ones((count, 1))], axis=1)  # the last column is for the bias
    truth = np.eye(len(present))[places]  # (pictures, classes)
    step = 2 / np.linalg.norm(inputs, 2) ** 2  # the softmax's Hessian is at most half the squares
    values = np.zeros((len(present), width + 1))
    ahead, momentum = values, 1.0
    for _ in range(STEPS):
        gradient = (softmax(inputs @ ahead.T, axis=1) - truth).T @ inputs  # (classes, width + 1)
        new = ahead - step * gradient
        shrunk = np.maximum(np.abs(new[:, :-1]) - step / strength, 0)
        new[:, :-1] = np.sign(new[:, :-1]) * shrunk
        change = new - values
        if ((ahead - new) * change).sum() > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * change
        values, momentum = new, following
        if np.abs(change).max() < TOLERANCE * max(1.0, np.abs(values).max()):
            break
    weight = np.zeros((classes, width))
    bias = np.full(classes, NEVER + values[:, -1].min())
    weight[present] = values[:, :-1]
    bias[present] = values[:, -1]
    return weight, bias
