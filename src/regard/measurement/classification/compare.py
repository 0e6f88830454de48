"""Runs side by side on the very same pictures, with paired differences.

Two accuracies on the same pictures are not independent: what counts is where they differ. The interval of a difference
is Newcombe's for paired shares (method 10): a bootstrap of the few pictures that differ is too narrow, and of none has
no width at all. By group it is the bootstrap of whole groups, as no closed form takes them. The test is McNemar's
exact one.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from regard.data.dataset import several
from regard.errors import DataError, UsageError, unknown
from regard.measurement import METRICS
from regard.measurement.classification.evaluation import check
from regard.measurement.classification.scores import confidence, right
from regard.measurement.intervals import bootstrapped, newcombe, percentile
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
    for found in named.values():
        check(found)
    kept = _shared_names(named, first, common)
    runs = {name: _selected(found, kept) for name, found in named.items()}
    _check_labels(runs, first)
    runs = _same_groups(runs, first)
    said = dict(notes or {}) | _left_out(named, kept)
    rows = tuple(ComparedRun(name, _scores(found, seed, resamples)) for name, found in runs.items())
    others = tuple(
        difference(first, runs[first], name, found, seed=seed, resamples=resamples)
        for name, found in runs.items()
        if name != first
    )
    return Comparison(rows, others, len(kept), said)


def difference(
    first: str, one: Predictions, name: str, other: Predictions, *, seed: int = 0, resamples: int = 2000
) -> Difference:
    """How `other` (called `name`) differs from `one` (called `first`) on the same pictures in the same order."""
    before, after = right(one), right(other)
    only_this, only_first = int((after & ~before).sum()), int((before & ~after).sum())
    grouped = one.groups is not None
    if one.groups is None:
        score, changes = _paired(after, before), (only_this, only_first)
    else:
        score, changes = _paired_by_group(after, before, one.groups, seed, resamples)
    remark = _remark(sum(changes), "groups" if grouped else "pictures")
    return Difference(name, first, score, only_this, only_first, mcnemar(*changes), grouped, remark)


def mcnemar(only_this: int, only_first: int) -> float:
    """The two-sided p of McNemar's exact test: twice the binomial tail with 1/2 over what differs, at most 1.

    McNemar 1947; Fagerland et al. 2013 (BMC Medical Research Methodology 13:91), the exact conditional test. With
    fewer than six changes it cannot fall below 0.05.
    """
    return min(1.0, 2 * float(bdtr(min(only_this, only_first), only_this + only_first, 0.5)))


def _remark(changes: int, what: str) -> str:
    if changes >= FEWEST:
        return ""
    return f"only {changes} {what} tell the two apart: with fewer than six, p cannot fall below 0.05"


def _paired(after: NDArray[np.bool_], before: NDArray[np.bool_]) -> Score:
    counts = (after & before, after & ~before, ~after & before, ~after & ~before)
    both, gained, lost, neither = (int(each.sum()) for each in counts)
    return Score((gained - lost) / len(after), *newcombe(both, gained, lost, neither), len(after))


def _paired_by_group(
    after: NDArray[np.bool_], before: NDArray[np.bool_], groups: NDArray[np.str_], seed: int, resamples: int
) -> tuple[Score, tuple[int, int]]:
    """The difference with its bootstrap interval, and how many groups gained and lost.

    Where no resample differs, each group counts as one picture in Newcombe's interval.
    """
    gain = after.astype(np.float64) - before
    sums = np.stack([gain, np.ones(len(gain))])
    value, values = bootstrapped(
        sums, lambda totals: totals[0] / totals[1], groups=groups, seed=seed, resamples=resamples
    )
    score = percentile(value, values, len(gain))
    net = np.bincount(np.unique(groups, return_inverse=True)[1], weights=gain)
    changes = int((net > 0).sum()), int((net < 0).sum())
    if not np.isfinite(score.low):
        same = len(net) - sum(changes)
        low, high = newcombe(same, *changes, 0)
        score = Score(value, min(low, value), max(high, value), len(gain))
    return score, changes


def _scores(found: Predictions, seed: int, resamples: int) -> dict[str, Score]:
    known = [name for name in COLUMNS if "confidence" not in METRICS[name].needs or confidence(found) is not None]
    return {name: METRICS.load(name)(found, seed=seed, resamples=resamples) for name in known}


def _shared_names(named: Mapping[str, Predictions], first: str, common: bool) -> list[str]:
    """The names of the pictures that are compared, in the first run's order."""
    for name, found in named.items():
        if len(set(found.names)) < len(found):
            raise DataError(f"{name} has several predictions of one picture; each picture must have one")
    everywhere = frozenset.intersection(*(frozenset(found.names) for found in named.values()))
    kept = [name for name in named[first].names if name in everywhere]
    if common and kept:
        return kept
    for name, found in named.items():
        odd = sorted(set(found.names) ^ set(named[first].names))
        if odd:
            raise DataError(
                f"{first} and {name} were scored on different pictures: {several(odd, 'picture')} not in both; "
                "score them on the same data, or compare what they have in common"
            )
    return kept


def _left_out(named: Mapping[str, Predictions], kept: list[str]) -> dict[str, str]:
    """What must be said of runs of which pictures were left out."""
    counts = {name: len(found) - len(kept) for name, found in named.items()}
    return {name: f"{count} pictures left out, which not all have" for name, count in counts.items() if count}


def _selected(found: Predictions, names: list[str]) -> Predictions:
    """The predictions of these pictures, in this order."""
    places = {name: index for index, name in enumerate(found.names)}
    at = np.array([places[name] for name in names], np.int64)
    return replace(
        found,
        names=tuple(names),
        predicted=found.predicted[at],
        labels=found.labels[at],
        probabilities=None if found.probabilities is None else found.probabilities[at],
        groups=None if found.groups is None else np.asarray(found.groups)[at],
        slices={name: np.asarray(values)[at] for name, values in found.slices.items()},
        confidence=None if found.confidence is None else found.confidence[at],
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


def _same_groups(runs: Mapping[str, Predictions], first: str) -> dict[str, Predictions]:
    known = [runs[first].groups, *(found.groups for found in runs.values())]
    groups = next((each for each in known if each is not None), None)
    return {name: replace(found, groups=groups) for name, found in runs.items()}
