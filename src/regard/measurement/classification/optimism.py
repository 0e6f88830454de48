"""The optimism of a cross-validated score whose candidate was chosen by the very same answers, by bootstrap.

Tsamardinos, Greasidou and Borboudakis 2018, "Bootstrapping the out-of-sample predictions for efficient and accurate
cross-validation" (BBC-CV, arXiv 1708.07180, algorithm 2): it takes no further training.
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
    pictures do to them cancels.
    """
    labels = predictions.labels
    losses = -log_softmax(logits.astype(np.float64), axis=2)[:, np.arange(len(labels)), labels]  # (candidates, n)
    groups = predictions.groups
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    random = np.random.default_rng((seed, DRAWS))
    names = [row.name for row in METRICS if row.kind == "classification"]
    sums = dict.fromkeys(names, 0.0)
    counts = dict.fromkeys(names, draws)
    for _ in range(draws):
        times = np.bincount(random.integers(units.max() + 1, size=units.max() + 1), minlength=units.max() + 1)[units]
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
