"""Runs side by side on the very same pictures, with paired differences.

Two accuracies on the same pictures are not independent: what counts is where they differ. The interval of a difference
is Tango's for paired shares: a bootstrap of the few pictures that differ is too narrow, and of none has no width at
all. By group it is that of as many pictures as tell as much. The test is McNemar's exact one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from regard.data.dataset import several
from regard.errors import DataError, UsageError, unknown
from regard.measurement import METRICS
from regard.measurement.classification.evaluation import check
from regard.measurement.intervals import paired, share, worth
from regard.measurement.measure import score
from regard.records import (
    Change,
    ComparedRun,
    Comparison,
    Difference,
    LabelPredictions,
    PartDifference,
    Predictions,
    Score,
)

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
    shared = shared_names(named, first, common)
    places = {name: {picture: at for at, picture in enumerate(each.names)} for name, each in named.items()}
    runs = {name: _at(each, np.array([places[name][picture] for picture in shared])) for name, each in named.items()}
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
    pairs = [(first, runs[first], name, each) for name, each in runs.items() if name != first]
    parts = [part for pair in pairs for part in _parts(*pair)]
    return Comparison(
        tuple(rows),
        others,
        len(shared),
        dict(notes or {}) | remarks,
        classes=tuple(part for part in parts if not part.column),
        slices=tuple(part for part in parts if part.column),
        changes=tuple(change for pair in pairs for change in _changes(*pair)),
    )


def _parts(first: str, one: Predictions, name: str, other: Predictions) -> Iterator[PartDifference]:
    """The difference within each class that has pictures, then within each slice."""
    truth = np.array(one.classes, dtype=object)[one.labels]
    columns = {"": (truth, one.classes)}
    for column, values in {**other.slices, **one.slices}.items():
        texts = np.asarray(values).astype(np.str_)
        columns[column] = (texts, tuple(np.unique(texts).tolist()))
    for column, (values, distinct) in columns.items():
        for value in distinct:
            at = np.flatnonzero(values == value)
            if len(at):
                before, after = (_at(each, at) for each in (one, other))
                shares = [share(each.right, each.groups) for each in (before, after)]
                yield PartDifference(column, value, shares[0], shares[1], difference(first, before, name, after))


def _changes(first: str, one: Predictions, name: str, other: Predictions) -> Iterator[Change]:
    """The pictures that one of the two alone gets right, those first of which the one that is wrong is surest."""
    sure = [np.full(len(each), np.nan) if each.certainty is None else each.certainty for each in (one, other)]
    wrong = np.nan_to_num(np.where(other.right, *sure))
    changed = np.flatnonzero(one.right != other.right)
    for index in changed[np.argsort(-wrong[changed], kind="stable")].tolist():
        yield Change(
            picture=one.names[index],
            run=name,
            label=one.classes[one.labels[index]],
            predicted=other.classes[other.predicted[index]],
            first=one.classes[one.predicted[index]],
            confidence=float(sure[1][index]),
            first_confidence=float(sure[0][index]),
        )


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
    counts = np.array([*changes, len(after)], np.float64)
    if one.groups is not None:
        each = after.astype(np.float64) - before
        counts *= worth(each, one.groups)
        net = np.bincount(np.unique(one.groups, return_inverse=True)[1], weights=each)
        changes = int((net > 0).sum()), int((net < 0).sum())
    gain = Score((only_this - only_first) / len(after), *paired(*counts), len(after))
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


def shared_names(named: Mapping[str, Predictions | LabelPredictions], first: str, common: bool) -> list[str]:
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


def _at(predictions: Predictions, at: NDArray[np.int64]) -> Predictions:
    """The predictions of the pictures with these indices."""

    def rows(values: Any) -> Any:
        return None if values is None else np.asarray(values)[at]

    return replace(
        predictions,
        names=tuple(predictions.names[index] for index in at.tolist()),
        filenames=None,
        predicted=rows(predictions.predicted),
        labels=rows(predictions.labels),
        probabilities=rows(predictions.probabilities),
        groups=rows(predictions.groups),
        confidence=rows(predictions.confidence),
        slices={name: rows(values) for name, values in predictions.slices.items()},
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
