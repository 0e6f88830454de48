"""Shares, means over classes, areas under the ROC curve, and paired differences.

Shares are top1, top5, recall, precision, sensitivity, specificity, slices and exact matches: all `intervals.share`.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from draws.common import Draw, Drawn, Floats, Groups, Random, answers, once, predictions
from regard.measurement.classification import scores
from regard.measurement.classification.compare import difference
from regard.measurement.classification.evaluation import per_class
from regard.measurement.classification.noninferiority import not_worse
from regard.measurement.intervals import share

RESAMPLES = 200
"""A tenth of the default: macro F1 takes its bias from a quarter of so many."""


def shares(n: int) -> Draw:
    def draw(random: Random, p: float, draws: int) -> Drawn:
        hits = random.random((draws, n)) < p
        return p, once(share, hits, hits.sum(axis=1).tolist())

    return draw


def precision(random: Random, p: float, draws: int) -> Drawn:
    """Of the first of three classes, each a third of 90 pictures: of those that are said to be of it, a share p are."""
    labels = random.integers(3, size=(draws, 90))
    predicted = answers(random, labels, random.random((draws, 90)) < p, 3)
    rows = zip(labels, predicted, strict=True)
    return p, (per_class(predictions(label, row, 3))[0].precision for label, row in rows)


def top5(random: Random, p: float, draws: int) -> Drawn:
    values = random.random((draws, 30, 10)).astype(np.float32) / 2
    values[..., 0] = np.where(random.random((draws, 30)) < p, 1, -1)
    labels = np.zeros(30, np.int64)
    return p, (scores.top5(predictions(labels, row.argmax(1), 10, None, row)) for row in values)


# Accuracies and F1 of classes of several sizes, and by group.


def macro_f1(sizes: Sequence[int], recall: Floats) -> float:
    """That of endless pictures, the classes as frequent as in `sizes` (classes,), mistakes going to any other class."""
    often = np.asarray(sizes) / sum(sizes)
    lost = often * (1 - recall) / (len(often) - 1)
    return float(np.mean(2 * often * recall / (often + often * recall + lost.sum() - lost)))


def by_class(measure: str, sizes: Sequence[int], uneven: bool = False) -> Draw:
    """Recalls are all p or, `uneven`, as far above and below it in turn as four fifths of what there is room for."""
    labels = np.repeat(np.arange(len(sizes)), sizes)

    def draw(random: Random, p: float, draws: int) -> Drawn:
        sign = np.where(np.arange(len(sizes)) % 2, 1, -1)
        recall = p + (0.8 * min(p, 1 - p) * sign if uneven else np.zeros(len(sizes)))
        right = random.random((draws, len(labels))) < recall[labels]
        predicted = answers(random, labels, right, len(sizes))
        truth = macro_f1(sizes, recall) if measure == "macro_f1" else float(recall.mean())
        function = getattr(scores, measure)
        rows = (predictions(labels, row, len(sizes)) for row in predicted)
        if measure == "macro_f1":
            return truth, (function(row, resamples=RESAMPLES) for row in rows)
        starts = np.searchsorted(labels, np.arange(len(sizes)))
        hits = np.add.reduceat(right.astype(np.int64), starts, axis=1)  # (draws, classes)
        return truth, once(function, rows, map(tuple, np.sort(hits + np.multiply(sizes, 1000), axis=1).tolist()))

    return draw


def by_group(measure: str, groups: Groups, classes: int, across: bool) -> Draw:
    """Groups have pictures of all classes where these go `across`, else of one."""
    units = groups.units
    labels = np.arange(len(units)) % classes if across else units % classes

    def draw(random: Random, p: float, draws: int) -> Drawn:
        right = random.random((draws, len(units))) < groups.chances(random, p, draws)
        predicted = answers(random, labels, right, classes)
        truth = macro_f1(np.bincount(labels).tolist(), np.full(classes, p)) if measure == "macro_f1" else p
        function = getattr(scores, measure)
        return truth, (function(predictions(labels, row, classes, units), resamples=RESAMPLES) for row in predicted)

    return draw


# Areas under the ROC curve: normal values, the positives shifted.


def areas(positives: int, negatives: int, ties: bool = False, groups: int = 0, spread: float = 1) -> Draw:
    """With `ties` values are rounded to four; by group, half of the variance is the group's. Positives have `spread`
    times the standard deviation of negatives."""
    labels = np.repeat([0, 1], [negatives, positives])
    units = np.arange(len(labels)) % groups if groups else None

    def draw(random: Random, p: float, draws: int) -> Drawn:
        truth = 0.5 + 0.495 * p
        shift = np.sqrt(1 + spread**2) * ndtri(truth)
        values = random.standard_normal((draws, len(labels))) * np.where(labels, spread, 1)
        if units is not None:
            values = np.sqrt(0.5) * (values + random.standard_normal((draws, groups))[:, units])
        values += shift * labels
        if ties:
            values = np.clip(np.round(values), -1, 2)
            edges = np.array([-np.inf, -0.5, 0.5, 1.5, np.inf])
            below, above = np.diff(ndtr(edges)), np.diff(ndtr(edges - shift))
            truth = float(above @ (np.cumsum(below) - below / 2))
        sure = ndtr((values - shift / 2) / 2)
        probabilities = np.stack([1 - sure, sure], axis=2).astype(np.float32)
        return truth, (scores.macro_auroc(predictions(labels, row.argmax(1), 2, units, row)) for row in probabilities)

    return draw


def many_areas(sizes: Sequence[int]) -> Draw:
    labels = np.repeat(np.arange(len(sizes)), sizes)

    def draw(random: Random, p: float, draws: int) -> Drawn:
        truth = 0.5 + 0.495 * p
        values = random.standard_normal((draws, len(labels), len(sizes)))
        values[:, np.arange(len(labels)), labels] += np.sqrt(2) * ndtri(truth)
        single = values.astype(np.float32)
        return truth, (scores.macro_auroc(predictions(labels, row.argmax(1), len(sizes), None, row)) for row in single)

    return draw


# Paired differences of accuracy: the second run changes a share of the answers.


def pairs(n: int, change: float, losing: bool = False, groups: Groups | None = None) -> Draw:
    """Answers become right or wrong alike or, `losing`, wrong alone; the first run has p right."""
    labels = np.zeros(n, np.int64)
    units = None if groups is None else groups.units

    def draw(random: Random, p: float, draws: int) -> Drawn:
        before = random.random((draws, n)) < (p if groups is None else groups.chances(random, p, draws))
        often = change if groups is None else groups.chances(random, change, draws)
        changed = random.random((draws, n)) < often
        after = np.where(changed, False if losing else random.random((draws, n)) < 0.5, before)
        truth = -change * p if losing else change * (0.5 - p)
        rows = zip(*(np.where(right, 0, 1) for right in (before, after)), strict=True)
        runs = ([predictions(labels, row, 2, units) for row in pair] for pair in rows)
        if groups is not None:
            return truth, (difference("first", one, "second", two).top1 for one, two in runs)
        counts = zip((after & ~before).sum(axis=1).tolist(), (before & ~after).sum(axis=1).tolist(), strict=True)
        return truth, once(lambda pair: difference("first", pair[0], "second", pair[1]).top1, runs, counts)

    return draw


def repaired(random: Random, p: float, draws: int) -> Drawn:
    """`not_worse`, of a repair that changes 5 % of 200 answers."""
    before = random.random((draws, 200)) < p
    after = np.where(random.random(before.shape) < 0.05, random.random(before.shape) < 0.5, before)
    rows = zip(before, after, strict=True)
    counts = zip((after & ~before).sum(axis=1).tolist(), (before & ~after).sum(axis=1).tolist(), strict=True)
    return 0.05 * (0.5 - p), once(lambda pair: not_worse(*pair, 0.01).difference, rows, counts)
