"""The multi-label rows of METRICS: one plain function each, from `LabelPredictions` to a score with its 95 % interval.

Every function takes `(predictions, *, seed=0, resamples=2000)`. Means are over the labels that some pictures have and
others have not; of the rest nothing can be told, and the value is NaN where there is no other. What varies is the unit,
a picture or a group: each pulls a score by its influence (the infinitesimal jackknife; Efron 1982, chapter 6).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from regard.measurement.classification.scores import SMALLEST, ece, mean_area
from regard.measurement.intervals import NOWHERE, Array, Floats, Z, bounded, equal_units, mean, share
from regard.records import LabelPredictions, Predictions, Score

Bools = NDArray[np.bool_]


def mean_ap(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over labels of average precision: of the precision at each picture that has the label, ranked by it."""
    columns = _decided(predictions)
    return _mean_over([_precisions(*column) for column in columns], [true for _, true in columns], predictions.groups)


def micro_ap(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Average precision of all answers in one ranking, a label of a picture each, of labels that are decided."""
    decided = predictions.decided
    if not decided.any():
        return NOWHERE
    truth = predictions.truth[:, decided]
    value, pull = _precisions(predictions.probabilities[:, decided].ravel(), truth.ravel())
    return _mean_over(
        [(value, pull.reshape(truth.shape).sum(axis=1))], [np.asarray(truth.any(axis=1))], predictions.groups
    )


def label_auroc(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over labels of the area under the ROC curve; its interval as that of `macro_auroc`."""
    return mean_area(_decided(predictions), predictions.groups)


def label_f1(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over labels of F1 of the labels that are given."""
    answers = predictions.answers.T[predictions.decided]
    truth = predictions.truth.T[predictions.decided]
    return _mean_over([_f1(*each) for each in zip(answers, truth, strict=True)], list(truth), predictions.groups)


def exact_match(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Share of pictures that are given exactly their labels, as they are counted by `top1`."""
    return share(predictions.right, predictions.groups)


def label_ece(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Expected calibration error of all answers, a label of a picture each; those of a picture vary together."""
    return replace(ece(all_answers(predictions)), n=len(predictions))


def label_nll(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over pictures and labels of the negative log-likelihood (binary cross-entropy) in nats."""
    likely = np.where(predictions.truth, predictions.probabilities, 1 - predictions.probabilities).astype(np.float64)
    losses = -np.log(np.clip(likely, SMALLEST, 1)).mean(axis=1)
    return replace(mean(losses, predictions.groups, most=float(-np.log(SMALLEST))), n=len(predictions))


def label_brier(predictions: LabelPredictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    """Mean over pictures and labels of the squared error of the probability."""
    errors = (predictions.probabilities.astype(np.float64) - predictions.truth) ** 2
    return replace(mean(errors.mean(axis=1), predictions.groups), n=len(predictions))


def label_ap(values: Array, true: Bools, groups: Array | None = None) -> Score:
    """The average precision of one label of which it is defined, with its interval."""
    return _mean_over([_precisions(values, true)], [true], groups)


def one_f1(answers: Bools, true: Bools, groups: Array | None = None) -> Score:
    """F1 of one label that is given or true somewhere, with its interval."""
    return _mean_over([_f1(answers, true)], [answers | true], groups)


def ap_difference(one: LabelPredictions, other: LabelPredictions, places: Sequence[int]) -> Score:
    """Mean over the labels at `places` of the average precision of `other` minus that of `one`, on the same pictures;
    the pulls of a picture are taken together, as it moves both."""
    rows = []
    for place in places:
        true = one.truth[:, place]
        (before, pull), (after, other_pull) = (_precisions(each.probabilities[:, place], true) for each in (one, other))
        rows.append((after - before, other_pull - pull))
    return _mean_over(rows, [one.truth[:, place] for place in places], one.groups, least=-1.0)


def all_answers(predictions: LabelPredictions) -> Predictions:
    """Each label of each picture as a prediction of its own whose class is "yes": for calibration."""
    n, labels = predictions.truth.shape
    units = np.arange(n) if predictions.groups is None else np.unique(predictions.groups, return_inverse=True)[1]
    return Predictions(
        names=tuple(str(index) for index in range(n * labels)),
        classes=("no", "yes"),
        predicted=np.ones(n * labels, np.int64),
        labels=predictions.truth.ravel().astype(np.int64),
        groups=np.repeat(units, labels),
        confidence=predictions.probabilities.ravel(),
    )


def _decided(predictions: LabelPredictions) -> list[tuple[Array, Bools]]:
    """Probabilities (n,) and truth (n,) of each label that is decided."""
    places = np.flatnonzero(predictions.decided).tolist()
    return [(predictions.probabilities[:, place], predictions.truth[:, place]) for place in places]


def _precisions(values: Array, true: Bools) -> tuple[float, Floats]:
    """Average precision, and its derivative by the weight of each picture (n,), which sums to 0.

    A picture that has the label brings its own precision; any picture changes that of all that are ranked at or below
    it, by (1 - precision) / rank where it has the label and by -precision / rank where not.
    """
    _, tied = np.unique(-values.astype(np.float64), return_inverse=True)  # 0: the most probable
    ones = np.bincount(tied, weights=true)
    rank = np.cumsum(np.bincount(tied))
    precision = np.cumsum(ones) / rank
    value = float(average_precision_score(true, values))
    gain = np.cumsum((ones / rank)[::-1])[::-1]
    loss = np.cumsum((ones * precision / rank)[::-1])[::-1]
    return value, (true * (precision[tied] - value + gain[tied]) - loss[tied]) / true.sum()


def _f1(answers: Bools, true: Bools) -> tuple[float, Floats]:
    """F1, and its derivative by the weight of each picture (n,)."""
    total = int(answers.sum() + true.sum())
    if not total:
        return float("nan"), np.zeros(len(true))
    value = 2 * int((answers & true).sum()) / total
    return value, (2.0 * (answers & true) - value * (answers.astype(np.float64) + true)) / total


def _mean_over(
    rows: Sequence[tuple[float, Floats]], present: Sequence[Bools], groups: Array | None, least: float = 0.0
) -> Score:
    """The mean of each row's value, from `least` to 1, with the interval that the pulls of its pictures give.

    `present` (n,) of each are the pictures that its value is made of: of few of them, the interval is that of as many
    trials at most, and Student's t has their degrees of freedom (Satterthwaite 1946). A difference, from -1 on, is no
    share of trials; where nothing differs it has Tango's width of no change among them, as `paired` has it.
    """
    if not rows:
        return NOWHERE
    n = len(present[0])
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    each = np.stack([np.bincount(units, weights=pull) for _, pull in rows])  # (rows, units)
    sizes = np.array([len(np.unique(units[which])) for which in present], np.float64)  # (rows,) units
    together = each.mean(axis=0)
    number = equal_units(np.bincount(units))
    error = float(np.sqrt(together @ together * number / max(number - 1, 1)))
    worth = len(rows) ** 2 / float((1 / sizes).sum())
    spread = np.einsum("ij,ij->i", each, each)
    value = float(np.mean([value for value, _ in rows]))
    if error < 1e-9:
        trials = min(worth, number)
        if least < 0:
            return Score(value, max(value - Z**2 / (trials + Z**2), least), min(value + Z**2 / (trials + Z**2), 1.0), n)
    else:
        pictures = np.array([which.sum() for which in present], np.float64)
        trials = TRIALS * len(rows) ** 2 / float((1 / pictures).sum()) if least == 0 else np.inf
        number = min(number, float(spread.sum() ** 2 / (spread**2 / sizes).sum()) + 1)
    return bounded(value, error, number, n, least=least, trials=trials)


TRIALS = 2.0
"""An interval is never that of more trials than so many times the pictures that have a label."""
