"""The linear probe: a logistic regression on frozen features, the first answer on a laptop.

    regard train PICTURES --recipe probe --model vit_tiny_patch16_224 --weights FILE --out runs/first

Features are standardised with the training part's mean and deviation; the strength of the penalty is chosen by
cross-validation inside the training part (log-loss, which also keeps the probabilities honest); the result is folded
into one linear layer, so that the network with this head says exactly what the regression says.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from regard.errors import DataError, NetworkError

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
    """A fitted head: logits = features @ weight.T + bias, with weight (classes, width) and bias (classes,)."""

    weight: Features
    bias: Features
    strength: float
    trials: tuple[Trial, ...]

    def logits(self, features: Features) -> Features:
        """(pictures, width) → (pictures, classes)."""
        return features @ self.weight.T + self.bias


def fit_probe(
    features: Features,
    labels: Labels,
    classes: tuple[str, ...],
    groups: NDArray[np.str_] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Probe:
    """Fit a head on (pictures, width) features; `labels` are indices into `classes`.

    `groups` keeps pictures of one group in one fold. Raises `DataError` when a class has fewer than two pictures or,
    with groups, when all of its pictures are of one group; `NetworkError` when features are not finite.
    """
    _check(features, labels, classes, groups)
    mean = features.mean(0, dtype=np.float64)  # (width,)
    deviation = features.std(0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * deviation.max(initial=0), deviation, 1.0)  # a constant feature says nothing
    standard = ((features - mean) / deviation).astype(np.float32)
    with threadpool_limits(1):  # matrices this small are eight times faster on one thread than on two
        trials = _search(standard, labels, list(folds_of(standard, labels, groups, folds, seed)))
        best = min(trials, key=lambda trial: trial.log_loss)
        weight, bias = _regress(standard, labels, best.strength)
    weight = weight / deviation
    bias = bias - weight @ mean
    return Probe(weight.astype(np.float32), bias.astype(np.float32), best.strength, trials)


def _check(features: Features, labels: Labels, classes: tuple[str, ...], groups: NDArray[np.str_] | None) -> None:
    if not np.isfinite(features).all():
        raise NetworkError("the network's features are not finite for some pictures; try --precision float32")
    counts = np.bincount(labels, minlength=len(classes))
    if (counts < 2).any():
        few = int(np.argmax(counts < 2))
        raise DataError(
            f"class {classes[few]!r} has {('no', 'one')[counts[few]]} picture to train on; each class needs at least "
            "two, so that one can be left out to choose the strength: add pictures or take the class out"
        )
    if groups is not None:
        for index, name in enumerate(classes):
            if len(np.unique(groups[labels == index])) < 2:
                raise DataError(
                    f"all training pictures of class {name!r} are of one group; each class needs at least two groups "
                    "to choose the strength: add pictures, or leave out --group"
                )


Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def folds_of(
    features: Features, labels: Labels, groups: NDArray[np.str_] | None, folds: int, seed: int
) -> Iterator[Fold]:
    """(fitted on, left out) indices, stratified by class, with groups kept together."""
    if groups is None:
        count = min(folds, int(np.bincount(labels)[np.unique(labels)].min()))
        return StratifiedKFold(count, shuffle=True, random_state=seed).split(features, labels)
    count = min(folds, min(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    return StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(features, labels, groups)


def refit(features: Features, labels: Labels, strength: float, classes: int) -> tuple[Features, Features]:
    """Weight (classes, width) and bias (classes,) at a strength that was chosen before; classes may be absent here."""
    mean = features.mean(0, dtype=np.float64)  # (width,)
    deviation = features.std(0, dtype=np.float64)
    deviation = np.where(deviation > 1e-6 * deviation.max(initial=0), deviation, 1.0)
    with threadpool_limits(1):
        weight, bias = _regress(((features - mean) / deviation).astype(np.float32), labels, strength, classes)
    weight = weight / deviation
    return weight.astype(np.float32), (bias - weight @ mean).astype(np.float32)


def _search(features: Features, labels: Labels, folds: list[Fold]) -> tuple[Trial, ...]:
    """Whole decades first, then half a decade around the best, so that seven fits a fold do for eleven."""
    trials = [_try(features, labels, folds, strength) for strength in DECADES]
    best = min(trials, key=lambda trial: trial.log_loss).strength
    trials += [_try(features, labels, folds, best * factor) for factor in (10**-0.5, 10**0.5)]
    return tuple(sorted(trials, key=lambda trial: trial.strength))


def _try(features: Features, labels: Labels, folds: list[Fold], strength: float) -> Trial:
    losses = np.zeros(len(labels))
    hits = np.zeros(len(labels), bool)
    for fitted, left_out in folds:
        weight, bias = _regress(features[fitted], labels[fitted], strength, int(labels.max()) + 1)
        logits = features[left_out] @ weight.T + bias
        logits -= logits.max(1, keepdims=True)
        log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        losses[left_out] = -log_probability[np.arange(len(left_out)), labels[left_out]]
        hits[left_out] = logits.argmax(1) == labels[left_out]
    return Trial(strength, float(losses.mean()), float(hits.mean()))


def _regress(
    features: Features, labels: Labels, strength: float, classes: int = 0
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
    count = max(classes, int(model.classes_.max()) + 1)
    weight = np.zeros((count, features.shape[1]))
    bias = np.full(count, -15.0 + intercepts.min())
    weight[model.classes_] = coefficients
    bias[model.classes_] = intercepts
    return weight, bias
