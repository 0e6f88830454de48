"""Any number of labels a picture: every row of METRICS for that, label by label, slice by slice, and what to look at.

docs/scores.md says what each number means and how its interval is made.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError, UsageError
from regard.measurement.classification.evaluation import LISTED, reliability
from regard.measurement.classification.scores import mean_area
from regard.measurement.intervals import NOWHERE, share
from regard.measurement.measure import measure, score
from regard.measurement.multilabel.scores import all_answers, label_ap, one_f1
from regard.records import LabelPredictions, LabelScores, LabelSlice, MultiLabelEvaluation, Score

MISTAKES = 12
"""How many pictures that miss a label, or have it wrongly, each label names at most."""


def evaluate(
    predictions: LabelPredictions,
    *,
    note: str = "",
    seed: int = 0,
    resamples: int = 2000,
    provenance: Mapping[str, Any] | None = None,
) -> MultiLabelEvaluation:
    """Measure everything of METRICS that is of several labels; `note` as in `Evaluation`.

    Raises `DataError` for no pictures and for probabilities that are none, and `UsageError` for a threshold that cannot
    be.
    """
    check(predictions)
    measured = measure("multilabel", predictions, ("labels", "probabilities"), seed=seed, resamples=resamples)
    decided = predictions.decided
    prevalence = predictions.truth.mean(axis=0)[decided]
    guessing = {"map": prevalence, "map_micro": prevalence, "label_auroc": np.full(len(prevalence), 0.5)}
    return MultiLabelEvaluation(
        predictions=predictions,
        scores={name: each for name, each in measured.items() if np.isfinite(each.value)},
        per_label=tuple(_of_label(predictions, place) for place in range(len(predictions.classes))),
        baseline={name: float(values.mean()) for name, values in guessing.items() if len(values)},
        reliability=reliability(all_answers(predictions)),
        slices=_slices(predictions),
        mistakes=_mistakes(predictions),
        note=note,
        provenance=provenance or {},
    )


def check(predictions: LabelPredictions) -> None:
    """Raise `DataError` for predictions that cannot be scored, and `UsageError` for a threshold that is none."""
    shape = (len(predictions), len(predictions.classes))
    if not shape[0]:
        raise DataError("there are no pictures to score; give some with labels")
    for what, values in (("labels", predictions.truth), ("probabilities", predictions.probabilities)):
        if values.shape != shape:
            raise DataError(f"the {what} are {values.shape}; with these pictures and labels, {shape} is needed")
    values = predictions.probabilities
    if not bool(((values >= 0) & (values <= 1 + 1e-6)).all()):
        raise DataError("there are probabilities outside of 0 to 1, or NaN; give those after a sigmoid")
    if not 0 <= predictions.threshold <= 1:
        raise UsageError(f"threshold is {predictions.threshold}; it is a probability and must lie in 0 to 1")


def _of_label(predictions: LabelPredictions, place: int) -> LabelScores:
    true = predictions.truth[:, place]
    answers = predictions.answers[:, place]
    values = predictions.probabilities[:, place]
    groups = predictions.groups
    decided = bool(true.any() and not true.all())

    def among(hits: NDArray[np.bool_], which: NDArray[np.bool_]) -> Score:
        return share(hits[which], None if groups is None else groups[which])

    missed = np.flatnonzero(true & ~answers)
    false = np.flatnonzero(answers & ~true)
    return LabelScores(
        name=predictions.classes[place],
        n=int(true.sum()),
        of=len(true),
        ap=label_ap(values, true, groups) if decided else NOWHERE,
        auroc=mean_area([(values, true)], groups) if decided else NOWHERE,
        precision=among(true, answers),
        recall=among(answers, true),
        f1=one_f1(answers, true, groups) if decided else NOWHERE,
        missed=tuple(missed[np.argsort(values[missed], kind="stable")][:MISTAKES].tolist()),
        false=tuple(false[np.argsort(-values[false], kind="stable")][:MISTAKES].tolist()),
    )


def _slices(predictions: LabelPredictions) -> tuple[LabelSlice, ...]:
    """Each value of each slice column, the lowest mAP of a column first; "" counts as no value."""
    rows: list[LabelSlice] = []
    for column, values in predictions.slices.items():
        texts = np.asarray(values).astype(np.str_)
        of_column = []
        for value in np.unique(texts[texts != ""]):
            part = at(predictions, np.flatnonzero(texts == value))
            scores = score("map", part), score("exact_match", part)
            of_column.append(LabelSlice(column, str(value), int(part.decided.sum()), *scores))
        rows += sorted(of_column, key=lambda row: (np.nan_to_num(row.map.value, nan=2.0), -row.n))
    return tuple(rows)


def at(predictions: LabelPredictions, places: NDArray[np.int64]) -> LabelPredictions:
    """The predictions of the pictures with these indices."""
    return replace(
        predictions,
        names=tuple(predictions.names[place] for place in places.tolist()),
        filenames=None,
        truth=predictions.truth[places],
        probabilities=predictions.probabilities[places],
        groups=None if predictions.groups is None else np.asarray(predictions.groups)[places],
        slices={name: np.asarray(values)[places] for name, values in predictions.slices.items()},
    )


def _mistakes(predictions: LabelPredictions) -> tuple[int, ...]:
    """Up to 100 pictures that are not given exactly their labels, the surest wrong answer first."""
    off = np.abs(predictions.probabilities - predictions.truth)
    worst = np.where(predictions.answers != predictions.truth, off, -1.0).max(axis=1)  # (n,)
    wrong = np.flatnonzero(~predictions.right)
    return tuple(wrong[np.argsort(-worst[wrong], kind="stable")][:LISTED].tolist())
