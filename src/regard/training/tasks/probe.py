"""The linear probe: a logistic regression on frozen features, the first answer on a laptop.

    regard train PICTURES --recipe probe --model vit_tiny_patch16_224 --weights FILE --out runs/first

Features are standardised with the training part's mean and deviation; the strength of the penalty is chosen by
cross-validation inside the training part (log-loss, which also keeps the probabilities honest); the result is folded
into one linear layer, so that the network with this head says exactly what the regression says.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from regard.data.splits import folds_of
from regard.errors import NetworkError

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

DECADES = (1e-3, 1e-2, 1e-1, 1.0, 1e1)
"""Strengths tried first (sklearn's C: the inverse of the penalty); then half a decade to either side of the best."""


@dataclass(frozen=True)
class Trial:
    """One strength, cross-validated: mean log-loss (nats) and accuracy (0 to 1) over the pictures left out."""

    strength: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Probe:
    """A fitted head: logits = features @ weight.T + bias, with weight (classes, width) and bias (classes,).

    `folds` (pictures,) is the fold in which each picture was left out; `out_of_fold` (trials, pictures, classes) are
    the logits that it then got, at the strength of each trial, where they were to be kept.
    """

    weight: Features
    bias: Features
    strength: float
    trials: tuple[Trial, ...]
    folds: Labels
    out_of_fold: Features | None = None

    @property
    def best(self) -> int:
        """Which of the trials has the strength that was taken."""
        return [trial.strength for trial in self.trials].index(self.strength)

    def logits(self, features: Features) -> Features:
        """(pictures, width) → (pictures, classes)."""
        return features @ self.weight.T + self.bias


def fit_probe(
    features: Features,
    labels: Labels,
    classes: tuple[str, ...],
    groups: NDArray[Any] | None = None,
    folds: int = 5,
    seed: int = 0,
    keep: bool = False,
) -> Probe:
    """Fit a head on (pictures, width) features; `labels` are indices into `classes`.

    Pictures of equal `groups` are in one fold. With `keep` the logits out of fold are kept. Raises `DataError` as
    `folds_of` does, and `NetworkError` when features are not finite.
    """
    check_finite(features)
    numbers = folds_of(labels, classes, groups, folds, seed)
    logits: dict[float, Features] = {}  # by strength, (pictures, classes)
    trials: dict[float, Trial] = {}

    def attempt(strength: float) -> None:
        values = _left_out(features, labels, numbers, strength, len(classes))
        losses = -log_softmax(values.astype(np.float64), axis=1)[np.arange(len(labels)), labels]  # (pictures,) nats
        trials[strength] = Trial(strength, float(losses.mean()), float((values.argmax(1) == labels).mean()))
        if keep:
            logits[strength] = values

    for strength in DECADES:
        attempt(strength)
    # Whole decades first, then half a decade around the best, so that seven fits a fold do for eleven.
    best = min(trials.values(), key=lambda trial: trial.log_loss).strength
    for factor in (10**-0.5, 10**0.5):
        attempt(best * factor)
    strengths = sorted(trials)
    best = min(strengths, key=lambda strength: trials[strength].log_loss)
    weight, bias = refit(features, labels, best, len(classes))
    out_of_fold = np.stack([logits[strength] for strength in strengths]) if keep else None
    return Probe(weight, bias, best, tuple(trials[strength] for strength in strengths), numbers, out_of_fold)


def check_finite(features: Features) -> None:
    """Raise `NetworkError` for features that are no numbers."""
    if not np.isfinite(features).all():
        raise NetworkError("the network's features are not finite for some pictures; try --precision float32")


def refit(features: Features, labels: Labels, strength: float, classes: int) -> tuple[Features, Features]:
    """Weight (classes, width) and bias (classes,) at a strength that was chosen before; classes may be absent here."""
    mean = features.mean(0, dtype=np.float64)  # (width,)
    deviation = features.std(0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * deviation.max(initial=0), deviation, 1.0)  # a constant feature says nothing
    with threadpool_limits(1):  # matrices this small are eight times faster on one thread than on two
        weight, bias = _regress(((features - mean) / deviation).astype(np.float32), labels, strength, classes)
    weight = weight / deviation
    return weight.astype(np.float32), (bias - weight @ mean).astype(np.float32)


def _left_out(features: Features, labels: Labels, folds: Labels, strength: float, classes: int) -> Features:
    """(pictures, classes) logits of each picture by a probe that was fitted on the other folds."""
    logits = np.zeros((len(labels), classes), np.float32)
    for number in range(folds.max() + 1):
        fitted = folds != number
        weight, bias = refit(features[fitted], labels[fitted], strength, classes)
        logits[~fitted] = features[~fitted] @ weight.T + bias
    return logits


def _regress(
    features: Features, labels: Labels, strength: float, classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight (classes, width) and bias (classes,) of a logistic regression, two rows for two classes as well.

    A class that is absent from these labels (a fold of groups) gets a bias that makes it all but impossible.
    """
    model = LogisticRegression(C=strength, max_iter=500, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # weak penalties on separable data: cross-validation judges
        model.fit(features, labels)
    coefficients = model.coef_  # (classes, width); one row for two classes
    intercepts = model.intercept_
    if len(model.classes_) == 2:  # one row for the second class: share it out, the softmax is the same
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight = np.zeros((classes, features.shape[1]))
    bias = np.full(classes, -15.0 + intercepts.min())
    weight[model.classes_] = coefficients
    bias[model.classes_] = intercepts
    return weight, bias
