"""Before, after and a placebo, paired by picture: the worst slice, the mean over slices, accuracy, and each slice."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.measurement.classification.compare import difference
from regard.measurement.classification.scores import balanced_accuracy
from regard.measurement.intervals import NOWHERE, jackknifed, share, unskewed
from regard.records import PairedMeasure, Predictions, Score

Bools = NDArray[np.bool_]
Labels = NDArray[np.int64]
HEADS = ("before", "after", "placebo")
PAIRS = {"gain": ("after", "before"), "placebo_gain": ("placebo", "before"), "over_placebo": ("after", "placebo")}


def paired_measures(
    right: Mapping[str, Bools],
    cells: Labels,
    names: Sequence[str],
    halves: Labels,
    groups: NDArray[np.str_] | None = None,
) -> tuple[PairedMeasure, ...]:
    """What three layers got `right` (pictures,) on the same pictures, by HEADS; `cells` (pictures,) are the slices.

    The worst slice of each is its lowest; where two layers have another, their difference is that of two shares of
    other pictures. The slice that was worst is found on one of the `halves` (pictures,) and judged on the other, both
    ways round: on the pictures that it is found on it would look worse than it is.
    """
    pictures = tuple(map(str, range(len(cells))))
    answers = {  # predictions whose classes are the slices, right where the layer is
        name: Predictions(pictures, tuple(names), np.where(right[name], cells, -1), cells, groups=groups)
        for name in HEADS
    }
    present = np.unique(cells)
    parts = {int(cell): _within(answers, cells == cell) for cell in present}
    shares = {name: {cell: float(part[name].right.mean()) for cell, part in parts.items()} for name in HEADS}
    worst = {name: min(shares[name], key=shares[name].__getitem__) for name in HEADS}
    chosen = np.zeros(len(cells), bool)
    for half in np.unique(halves):
        others = {cell: right["before"][(cells == cell) & (halves != half)] for cell in parts}
        shares_of = {cell: values.mean() for cell, values in others.items() if len(values)}
        chosen |= (halves == half) & (cells == min(shares_of, key=shares_of.__getitem__, default=-1))
    minima: dict[str, Any] = {
        name: share(parts[cell][name].right, parts[cell][name].groups) for name, cell in worst.items()
    }
    means: dict[str, Any] = {name: balanced_accuracy(each) for name, each in answers.items()}
    for pair, (one, other) in PAIRS.items():
        minima[pair] = _between(one, parts[worst[one]], other, parts[worst[other]])
        means[pair] = _mean_difference(right[one].astype(np.float64) - right[other], cells, groups)
    return (
        PairedMeasure("worst slice", **minima, where=tuple(names[worst[name]] for name in HEADS)),
        _row("slice that was worst", _within(answers, chosen)),
        PairedMeasure("mean over slices", **means),
        _row("accuracy", answers),
        *(_row(names[cell], part, True) for cell, part in parts.items()),
    )


def _within(answers: Mapping[str, Predictions], chosen: Bools) -> dict[str, Predictions]:
    """The answers for some of the pictures."""
    return {
        name: Predictions(
            tuple(np.array(each.names)[chosen].tolist()),
            each.classes,
            each.predicted[chosen],
            each.labels[chosen],
            groups=None if each.groups is None else each.groups[chosen],
        )
        for name, each in answers.items()
    }


def _row(name: str, answers: Mapping[str, Predictions], slice: bool = False) -> PairedMeasure:
    if not len(answers[HEADS[0]].labels):
        scores: dict[str, Any] = dict.fromkeys((*HEADS, *PAIRS), NOWHERE)
        return PairedMeasure(name, **scores, slice=slice)
    scores = {head: share(each.right, each.groups) for head, each in answers.items()}
    scores |= {pair: difference(two, answers[two], one, answers[one]).top1 for pair, (one, two) in PAIRS.items()}
    return PairedMeasure(name, **scores, slice=slice)


def _between(one: str, these: Mapping[str, Predictions], other: str, those: Mapping[str, Predictions]) -> Score:
    """A layer's share in one slice less another's in its own: paired where that is the same.

    Else of two samples: Newcombe 1998, Statistics in Medicine 17:873, method 10, Wilson's intervals squared and added.
    """
    if these is those:
        return difference(other, those[other], one, these[one]).top1
    this, that = (share(part[name].right, part[name].groups) for name, part in ((one, these), (other, those)))
    value = this.value - that.value
    low = value - np.hypot(this.value - this.low, that.high - that.value)
    high = value + np.hypot(this.high - this.value, that.value - that.low)
    return Score(value, float(low), float(high), this.n + that.n)


def _mean_difference(values: NDArray[np.float64], cells: Labels, groups: NDArray[np.str_] | None) -> Score:
    """The mean over slices of paired differences (pictures,), with its jackknifed interval; a slice that is left out
    with its only picture (or group) is none of those that the mean is over."""
    among = np.unique(cells)[:, None] == cells  # (slices, pictures)
    count = len(among)
    sums = np.concatenate([among * values, among])  # (2 · slices, pictures)

    def over_slices(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        present = totals[count:] > 0.5
        each = np.divide(totals[:count], totals[count:], out=np.zeros_like(totals[:count]), where=present)
        return np.asarray(each.sum(axis=0) / np.maximum(present.sum(axis=0), 1), np.float64)

    estimate = jackknifed(sums, over_slices, groups)
    return unskewed(estimate, len(values), least=-1.0, most=1.0)
