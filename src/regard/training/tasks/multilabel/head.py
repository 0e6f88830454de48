"""A head of several labels on frozen features: a logistic regression for each label, all fitted together.

As the linear probe of one label (`tasks.probe`): features are standardised, the strength of the penalty is one for all
labels and chosen by cross-validation inside the training part (log-loss), and the result is folded into one linear
layer whose outputs are log-odds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits

from regard.data.stratified import label_folds
from regard.training.tasks.probe import DECADES, Features, Probe, Trial, check_finite

Truth = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelProbe(Probe):
    """A fitted head; `unseen` (pictures, labels) float32 are the logits that each picture got from the heads fitted on
    the other folds, at the strength that these other folds chose: no picture has a say in its own score."""

    unseen: Features | None = None


def fit_labels(
    features: Features,
    truth: Truth,
    names: tuple[str, ...],
    groups: NDArray[Any] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> LabelProbe:
    """Fit a head on (pictures, width) features for `truth` (pictures, labels) of these `names`.

    Pictures of equal `groups` are in one fold. Raises `DataError` as `label_folds` does, and `NetworkError` when
    features are not finite.
    """
    check_finite(features)
    numbers = label_folds(truth, names, groups, folds, seed)
    logits: dict[float, Features] = {}  # by strength, (pictures, labels)
    losses: dict[float, Floats] = {}  # by strength, (pictures,) nats

    def attempt(strength: float) -> None:
        values = np.zeros(truth.shape, np.float32)
        for number in range(int(numbers.max()) + 1):
            fitted = numbers != number
            weight, bias = refit_labels(features[fitted], truth[fitted], strength)
            values[~fitted] = features[~fitted] @ weight.T + bias
        logits[strength] = values
        losses[strength] = _losses(values.astype(np.float64), truth).mean(axis=1)

    for strength in DECADES:
        attempt(strength)
    best = min(losses, key=lambda strength: float(losses[strength].mean()))
    for factor in (10**-0.5, 10**0.5):
        attempt(best * factor)
    strengths = sorted(losses)
    best = min(strengths, key=lambda strength: float(losses[strength].mean()))
    unseen = np.zeros(truth.shape, np.float32)
    for number in range(int(numbers.max()) + 1):
        left_out = numbers == number
        chosen = min(strengths, key=lambda strength: float(losses[strength][~left_out].mean()))
        unseen[left_out] = logits[chosen][left_out]
    trials = tuple(
        Trial(strength, float(losses[strength].mean()), float(((logits[strength] > 0) == truth).mean()))
        for strength in strengths
    )
    weight, bias = refit_labels(features, truth, best)
    return LabelProbe(weight, bias, best, trials, numbers, unseen=unseen)


def refit_labels(features: Features, truth: Truth, strength: float) -> tuple[Features, Features]:
    """Weight (labels, width) and bias (labels,) at a strength that was chosen before.

    A label that all of these pictures have, or none, gets a bias alone: its log-odds with half a picture added to
    either side.
    """
    mean = features.mean(0, dtype=np.float64)  # (width,)
    deviation = features.std(0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * deviation.max(initial=0), deviation, 1.0)  # a constant feature says nothing
    counts = truth.sum(axis=0)
    bias = np.log((counts + 0.5) / (len(truth) - counts + 0.5))  # (labels,)
    weight = np.zeros((truth.shape[1], features.shape[1]))
    decided = (counts > 0) & (counts < len(truth))
    if decided.any():
        with threadpool_limits(1):  # as the probe of one label: matrices this small are faster on one thread
            inputs = ((features - mean) / deviation).astype(np.float64)
            weight[decided], bias[decided] = _regress(inputs, truth[:, decided], strength, bias[decided])
    weight = weight / deviation
    return weight.astype(np.float32), (bias - weight @ mean).astype(np.float32)


def _regress(inputs: Floats, truth: Truth, strength: float, start: Floats) -> tuple[Floats, Floats]:
    """The minimum of C · Σ log-loss + ½ |weight|² of every label, as sklearn's `LogisticRegression` has it for each."""
    labels = truth.shape[1]
    width = inputs.shape[1]

    def loss(values: Floats) -> tuple[float, Floats]:
        table = values.reshape(labels, width + 1)
        weight = table[:, :-1]
        logits = inputs @ weight.T + table[:, -1]  # (pictures, labels)
        off = expit(logits) - truth
        gradient = np.empty_like(table)
        gradient[:, :-1] = strength * off.T @ inputs + weight
        gradient[:, -1] = strength * off.sum(axis=0)
        scale = 1 / (strength * len(inputs))
        value = strength * _losses(logits, truth).sum() + 0.5 * (weight * weight).sum()
        return float(value) * scale, gradient.ravel() * scale

    first = np.zeros((labels, width + 1))
    first[:, -1] = start
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-6}
    table = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(labels, width + 1)
    return table[:, :-1], table[:, -1]


def _losses(logits: Floats, truth: Truth) -> Floats:
    """(pictures, labels) the negative log-likelihood in nats."""
    return np.logaddexp(0, np.where(truth, -logits, logits))
