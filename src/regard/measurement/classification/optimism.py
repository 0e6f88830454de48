"""The optimism of a cross-validated score, by bootstrap and without further training.

Its candidate was chosen by the very same answers: Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation" (BBC-CV, arXiv 1708.07180, algorithm 2). And
folds are stratified: each network is scored on classes in just the shares that it learnt them in, as no new pictures
will have them.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from regard.measurement import METRICS
from regard.measurement.classification.scores import ece_value
from regard.records import Predictions, Score

DRAWS = 200


def optimism(
    predictions: Predictions, logits: NDArray[np.float32], chosen: int, seed: int = 0, draws: int = DRAWS
) -> dict[str, float]:
    """By how much each classification score of the `chosen` candidate is too good, as its own unit has it.

    `logits` (candidates, pictures, classes) were given by networks that had not seen the picture; `predictions` are the
    chosen candidate's. In every draw of pictures (with their groups) the candidate of least log-loss on those drawn is
    scored on those that are not, as is the chosen one: the mean difference is what choosing brought. Of a score that is
    a mean over pictures this is the estimate of the paper; others are compared on the same pictures, so that what few
    pictures do to them cancels. Scores that are means over pictures also lose what the classes' shares brought, unless
    all classes have as many pictures: then their shares were made, not drawn.
    """
    labels = predictions.labels
    have = np.bincount(labels, minlength=logits.shape[2])  # (classes,) pictures
    drawn = np.ptp(have[have > 0]) > 1
    losses = -log_softmax(logits.astype(np.float64), axis=2)[:, np.arange(len(labels)), labels]  # (candidates, n)
    groups = predictions.groups
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    random = np.random.default_rng((seed, DRAWS))
    names = [row.name for row in METRICS if row.kind == "classification"]
    sums = dict.fromkeys(names, 0.0)
    counts = dict.fromkeys(names, draws)
    for _ in range(draws):
        times = np.bincount(random.integers(units.max() + 1, size=units.max() + 1), minlength=units.max() + 1)[units]
        if drawn:
            shares = np.bincount(labels, times, len(have)) / times.sum() / np.maximum(have, 1) * len(labels)
            for name, value in _by_shares(logits[chosen], labels, shares).items():
                sums[name] += value
        best = int((losses @ times).argmin())
        outside = np.flatnonzero(times == 0)
        if best == chosen or not len(outside):
            continue
        for name in names:
            value, other = (_value(name, predictions, logits[each], outside) for each in (chosen, best))
            if np.isfinite(value) and np.isfinite(other):
                sums[name] += value - other
            else:
                counts[name] -= 1
    return {name: sums[name] / counts[name] for name in names if counts[name]}


def _by_shares(logits: NDArray[np.float32], labels: NDArray[np.int64], shares: NDArray[np.float64]) -> dict[str, float]:
    """By how much scores are better on classes in the `shares` (classes,) that were learnt than as they are here.

    Shares are relative to those of the `labels` (n,). What a network says that learnt other shares than this one is
    its `logits` (n, classes) moved by their logarithm, as of any probability by Bayes (Saerens, Latinne and
    Decaestecker 2002, Neural Computation 14:21, eq. 2.4).
    """
    moved = logits.astype(np.float64) + np.log(np.maximum(shares, 1e-3))
    own = moved[np.arange(len(labels)), labels]  # (n,)
    chances = softmax(moved, axis=1)
    behind = (moved > own[:, None]).sum(axis=1)  # (n,) classes that are more probable
    chance = chances[np.arange(len(labels)), labels]
    values = {
        "top1": behind < 1,
        "top5": behind < 5,
        "nll": -log_softmax(moved, axis=1)[np.arange(len(labels)), labels],
        "brier": np.einsum("ij,ij->i", chances, chances) - 2 * chance + 1,
    }
    return {name: float(np.mean((shares[labels] - 1) * value)) for name, value in values.items()}


def _value(name: str, predictions: Predictions, logits: NDArray[np.float32], indices: NDArray[np.int64]) -> float:
    """One score of some pictures."""
    probabilities = softmax(logits[indices], axis=1).astype(np.float32)
    some = replace(
        predictions,
        names=tuple(predictions.names[index] for index in indices),
        filenames=(),
        labels=predictions.labels[indices],
        predicted=probabilities.argmax(axis=1).astype(np.int64),
        probabilities=probabilities,
        groups=None,
        slices={},
    )
    if name == "ece":
        return ece_value(some)
    score: Any = METRICS.load(name)(some, seed=0, resamples=1)
    return float(score.value)


def corrected(score: Score, optimism: float) -> Score:
    """A score and its interval moved by the optimism; what cannot be below 0 or above 1 stays so."""
    least = 0.0 if score.low >= 0 else -np.inf
    most = 1.0 if score.high <= 1 else np.inf
    value, low, high = (float(np.clip(each - optimism, least, most)) for each in (score.value, score.low, score.high))
    return replace(score, value=value, low=low, high=high)
