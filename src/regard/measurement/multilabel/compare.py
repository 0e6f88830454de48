"""Runs that give any number of labels side by side on the very same pictures, with paired differences."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from regard.data.dataset import several
from regard.errors import DataError, UsageError
from regard.measurement.classification.compare import difference, shared_names
from regard.measurement.measure import score
from regard.measurement.multilabel.evaluation import at, check
from regard.measurement.multilabel.scores import ap_difference, label_ap
from regard.records import ComparedRun, LabelComparison, LabelDifference, LabelPredictions, Predictions

COLUMNS = ("map", "map_micro", "exact_match", "label_ece")
"""The scores of each run in a comparison."""


def compare(
    named: Mapping[str, LabelPredictions], *, seed: int = 0, notes: Mapping[str, str] | None = None
) -> LabelComparison:
    """Compare two runs or more, by name, with the first of them, on the labels of the first.

    Pictures are matched by name, in any order. Raises `UsageError` for fewer than two runs, and `DataError` where
    pictures or labels differ.
    """
    if len(named) < 2:
        raise UsageError(f"{len(named)} run{'' if len(named) == 1 else 's'} to compare; give two at least")
    first = next(iter(named))
    for predictions in named.values():
        check(predictions)
    shared = shared_names(named, first, False)
    runs = {name: _ordered(each, shared, named[first].classes, name) for name, each in named.items()}
    one = runs[first]
    for name, other in runs.items():
        odd = [one.names[row] for row in np.flatnonzero((one.truth != other.truth).any(axis=1)).tolist()]
        if odd:
            raise DataError(
                f"{first} and {name} were scored with different labels: {several(odd, 'picture')} labelled otherwise; "
                "score them on the same data"
            )
    groups = next((each.groups for each in runs.values() if each.groups is not None), None)
    runs = {name: replace(each, groups=groups) for name, each in runs.items()}
    decided = np.flatnonzero(one.decided).tolist()
    if not decided:
        raise DataError("each label is had by all of these pictures or by none, so no run can be better; give others")
    rows = tuple(
        ComparedRun(name, {column: score(column, each, seed=seed) for column in COLUMNS}) for name, each in runs.items()
    )
    differences = []
    exact = []
    per_label = []
    for place, (name, other) in enumerate(runs.items()):
        if name == first:
            continue
        one = runs[first]
        pair = rows[0].scores["map"], rows[place].scores["map"]
        differences.append(LabelDifference(name, first, "", *pair, ap_difference(one, other, decided)))
        exact.append(difference(first, _whole(one), name, _whole(other), seed=seed))
        for label in decided:
            true = one.truth[:, label]
            before, after = (label_ap(each.probabilities[:, label], true, groups) for each in (one, other))
            gain = ap_difference(one, other, [label])
            per_label.append(LabelDifference(name, first, one.classes[label], before, after, gain))
    return LabelComparison(rows, tuple(differences), tuple(exact), len(shared), dict(notes or {}), tuple(per_label))


def _ordered(each: LabelPredictions, shared: list[str], classes: tuple[str, ...], name: str) -> LabelPredictions:
    """The answers in the order of these pictures and labels."""
    if set(each.classes) != set(classes):
        odd = sorted(set(each.classes) ^ set(classes))
        raise DataError(
            f"{name} has other labels than the first run: {several(odd, 'label')} of one of them alone; compare runs "
            "that learnt the same labels"
        )
    rows = {picture: row for row, picture in enumerate(each.names)}
    columns = [each.classes.index(label) for label in classes]
    part = at(each, np.array([rows[picture] for picture in shared], np.int64))
    return replace(part, classes=classes, truth=part.truth[:, columns], probabilities=part.probabilities[:, columns])


def _whole(each: LabelPredictions) -> Predictions:
    """Whether a picture is given exactly its labels, as a prediction of one of two classes."""
    right = each.right.astype(np.int64)
    return Predictions(each.names, ("wrong", "right"), right, np.ones_like(right), groups=each.groups)
