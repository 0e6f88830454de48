"""Runs side by side on the very same pictures, with paired differences.

Two accuracies on the same pictures are not independent: what counts is where they differ. The interval of a difference
is Newcombe's for paired shares (method 10): a bootstrap of the few pictures that differ is too narrow, and of none has
no width at all. By group it is that of as many pictures as tell as much. The test is McNemar's exact one.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import bdtr

from regard.data.dataset import several
from regard.errors import DataError, UsageError, unknown
from regard.measurement import METRICS
from regard.measurement.classification.evaluation import check
from regard.measurement.intervals import newcombe, worth
from regard.measurement.measure import score
from regard.records import ComparedRun, Comparison, Difference, Predictions, Score

COLUMNS = ("top1", "balanced_accuracy", "ece")
"""The scores of each run in a comparison."""

FEWEST = 6
"""Changes, all in one direction, below which exact McNemar cannot reach p < 0.05: 2 / 2⁵ = 0.0625."""


def compare(
    named: Mapping[str, Predictions],
    *,
    seed: int = 0,
    resamples: int = 2000,
    against: str | None = None,
    common: bool = False,
    notes: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare two runs or more, by name, with the first of them or with `against`.

    Pictures are matched by name, in any order; with `common` those that not all have are left out, else they are an
    error. Groups are those of the run that all are compared with, or else of the first that has any.

    Raises `UsageError` for fewer than two runs or an unknown `against`, and `DataError` when pictures or their labels
    differ, naming them.
    """
    if len(named) < 2:
        raise UsageError(f"{len(named)} run{'' if len(named) == 1 else 's'} to compare; give two at least")
    first = next(iter(named)) if against is None else against
    if first not in named:
        raise unknown("run", first, named, "It must be one of those that are compared.")
    for predictions in named.values():
        check(predictions)
    shared = _shared_names(named, first, common)
    runs = {name: _selected(predictions, shared) for name, predictions in named.items()}
    _check_labels(runs, first)
    groups = next((each.groups for each in (runs[first], *runs.values()) if each.groups is not None), None)
    runs = {name: replace(predictions, groups=groups) for name, predictions in runs.items()}
    left_out = {name: len(predictions) - len(shared) for name, predictions in named.items()}
    remarks = {name: f"{count} pictures left out, which not all have" for name, count in left_out.items() if count}
    rows = []
    for name, predictions in runs.items():
        sure = predictions.certainty is not None
        columns = [column for column in COLUMNS if sure or "confidence" not in METRICS[column].needs]
        scores = {column: score(column, predictions, seed=seed, resamples=resamples) for column in columns}
        rows.append(ComparedRun(name, scores))
    others = tuple(
        difference(first, runs[first], name, predictions, seed=seed, resamples=resamples)
        for name, predictions in runs.items()
        if name != first
    )
    return Comparison(tuple(rows), others, len(shared), dict(notes or {}) | remarks)


def difference(
    first: str, one: Predictions, name: str, other: Predictions, *, seed: int = 0, resamples: int = 2000
) -> Difference:
    """How `other` (called `name`) differs from `one` (called `first`) on the same pictures in the same order."""
    before = one.right
    after = other.right
    only_this = int((after & ~before).sum())
    only_first = int((before & ~after).sum())
    grouped = one.groups is not None
    changes = (only_this, only_first)
    both = int((after & before).sum())
    counts = np.array([both, *changes, len(after) - both - sum(changes)], np.float64)
    if one.groups is not None:
        each = after.astype(np.float64) - before
        counts *= worth(each, one.groups)
        net = np.bincount(np.unique(one.groups, return_inverse=True)[1], weights=each)
        changes = int((net > 0).sum()), int((net < 0).sum())
    gain = Score((only_this - only_first) / len(after), *newcombe(*counts), len(after))
    remark = ""
    if sum(changes) < FEWEST:
        units = "groups" if grouped else "pictures"
        remark = f"only {sum(changes)} {units} tell the two apart: with fewer than six, p cannot fall below 0.05"
    return Difference(name, first, gain, only_this, only_first, mcnemar(*changes), grouped, remark)


def mcnemar(only_this: int, only_first: int) -> float:
    """The two-sided p of McNemar's exact test: twice the binomial tail with 1/2 over what differs, at most 1.

    McNemar 1947; Fagerland et al. 2013 (BMC Medical Research Methodology 13:91), the exact conditional test. With
    fewer than six changes it cannot fall below 0.05.
    """
    return min(1.0, 2 * float(bdtr(min(only_this, only_first), only_this + only_first, 0.5)))


def _shared_names(named: Mapping[str, Predictions], first: str, common: bool) -> list[str]:
    """The names of the pictures that are compared, in the first run's order."""
    for name, predictions in named.items():
        if len(set(predictions.names)) < len(predictions):
            raise DataError(f"{name} has several predictions of one picture; each picture must have one")
    everywhere = frozenset.intersection(*(frozenset(predictions.names) for predictions in named.values()))
    shared = [name for name in named[first].names if name in everywhere]
    if common and shared:
        return shared
    for name, predictions in named.items():
        odd = sorted(set(predictions.names) ^ set(named[first].names))
        if odd:
            raise DataError(
                f"{first} and {name} were scored on different pictures: {several(odd, 'picture')} not in both; "
                "score them on the same data, or compare what they have in common"
            )
    return shared


def _selected(predictions: Predictions, names: list[str]) -> Predictions:
    """The predictions of these pictures, in this order."""
    places = {name: index for index, name in enumerate(predictions.names)}
    at = np.array([places[name] for name in names], np.int64)
    return replace(
        predictions,
        names=tuple(names),
        predicted=predictions.predicted[at],
        labels=predictions.labels[at],
        probabilities=None if predictions.probabilities is None else predictions.probabilities[at],
        groups=None if predictions.groups is None else np.asarray(predictions.groups)[at],
        slices={name: np.asarray(values)[at] for name, values in predictions.slices.items()},
        confidence=None if predictions.confidence is None else predictions.confidence[at],
    )


def _check_labels(runs: Mapping[str, Predictions], first: str) -> None:
    """The same labels, by the name of the class: without that, no difference means anything."""
    one = runs[first]
    truth = np.array(one.classes, dtype=object)[one.labels]
    for name, other in runs.items():
        differ = np.flatnonzero(truth != np.array(other.classes, dtype=object)[other.labels])
        if len(differ):
            odd = [one.names[index] for index in differ]
            raise DataError(
                f"{first} and {name} were scored with different labels: {several(odd, 'picture')} labelled otherwise; "
                "score them on the same data"
            )
