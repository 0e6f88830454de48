"""How often each interval that the product prints holds the truth, by the product's own functions on drawn predictions.

    OMP_NUM_THREADS=1 .venv/bin/python bench/coverage.py [--draws 4000] [--only NAME ...]

Each setting is drawn at truths from .1 to .9. Prints a table: the least and the mean coverage of a setting, and how
long the intervals are in the mean. Nominal is .95.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from regard.measurement.classification import scores
from regard.measurement.classification.compare import difference
from regard.measurement.intervals import mean, share
from regard.records import Predictions, Score

TRUTHS = np.arange(1, 10) / 10
Draw = Callable[[np.random.Generator, float], tuple[Score, float]]
SETTINGS: dict[str, Draw] = {}


def predictions(labels, predicted, count, groups=None, probabilities=None, confidence=None):
    names = tuple(map(str, range(len(labels))))
    return Predictions(names, tuple(map(str, range(count))), predicted, labels, probabilities, groups, {}, confidence)


def answers(rng, labels, right, count):
    wrong = rng.integers(count - 1, size=len(labels))
    wrong += wrong >= labels
    return np.where(right, labels, wrong)


def alike(rng, p, groups, rho=0.3):
    """Chance of each group's pictures: beta with mean p, correlation rho within a group."""
    k = 1 / rho - 1
    return np.clip(rng.beta(p * k, (1 - p) * k, size=groups), 1e-3, 1 - 1e-3)


SIZES = {
    "30 classes of 1": [1] * 30,
    "15 classes of 2": [2] * 15,
    "10 classes of 3": [3] * 10,
    "20 of 1 and 5 of 10": [1] * 20 + [10] * 5,
    "2 classes, 28 and 2": [28, 2],
    "2 classes, 29 and 1": [29, 1],
    "3 classes, 40, 15, 5": [40, 15, 5],
    "5 classes of 20": [20] * 5,
    "100 classes of 5": [5] * 100,
}


def by_class(name, sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    share_of = np.array(sizes) / sum(sizes)

    def draw(rng, p):
        right = rng.random(len(labels)) < p
        given = predictions(labels, answers(rng, labels, right, len(sizes)), len(sizes))
        score = getattr(scores, name)(given, resamples=500)
        return score, p if name == "balanced_accuracy" else f1(share_of, p)

    return draw


def f1(share_of, p):
    count = len(share_of)
    off = (1 - p) * (1 - share_of) / (count - 1)
    said = share_of * p + off
    return float(np.mean(2 * share_of * p / (share_of + said)))


for title, sizes in SIZES.items():
    for metric in ("balanced_accuracy", "macro_f1"):
        SETTINGS[f"{metric}: {title}"] = by_class(metric, sizes)


def uneven(name, sizes):
    """Classes of unequal recall about p."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = len(sizes)

    def draw(rng, p):
        recall = p + 0.8 * min(p, 1 - p) * np.where(np.arange(count) % 2, 1, -1)
        right = rng.random(len(labels)) < recall[labels]
        given = predictions(labels, answers(rng, labels, right, count), count)
        return getattr(scores, name)(given), float(recall.mean())

    return draw


SETTINGS["balanced_accuracy uneven: 10 of 3"] = uneven("balanced_accuracy", [3] * 10)
SETTINGS["balanced_accuracy uneven: 30 of 1"] = uneven("balanced_accuracy", [1] * 30)
SETTINGS["balanced_accuracy uneven: 2, 28+2"] = uneven("balanced_accuracy", [28, 2])
SETTINGS["balanced_accuracy uneven: 2, 2+28"] = uneven("balanced_accuracy", [2, 28])
SETTINGS["balanced_accuracy uneven: 5 of 20"] = uneven("balanced_accuracy", [20] * 5)


def grouped(name, groups, size, classes, crossing, rho=0.3):
    sizes = np.full(groups, size) if np.isscalar(size) else np.resize(size, groups)
    unit = np.repeat(np.arange(groups), sizes)

    def draw(rng, p):
        right = rng.random(len(unit)) < alike(rng, p, groups, rho)[unit]
        labels = (np.arange(len(unit)) % classes) if crossing else unit % classes
        given = predictions(labels, answers(rng, labels, right, classes), classes, unit.astype(str))
        if name == "macro_f1":
            return scores.macro_f1(given, resamples=500), f1(np.bincount(labels) / len(labels), p)
        return getattr(scores, name)(given), p

    return draw


for name in ("top1", "balanced_accuracy", "macro_f1"):
    SETTINGS[f"{name} by group: 30 of 4, 3 classes across"] = grouped(name, 30, 4, 3, True)
    SETTINGS[f"{name} by group: 10 of 3, 2 classes across"] = grouped(name, 10, 3, 2, True)
    SETTINGS[f"{name} by group: 15 of 1 to 8, 3 classes across"] = grouped(name, 15, [1, 1, 2, 8, 3], 3, True)
    SETTINGS[f"{name} by group: 30 of 4, 5 classes within"] = grouped(name, 30, 4, 5, False)
    SETTINGS[f"{name} by group: 30 of 4, alike not at all"] = grouped(name, 30, 4, 3, True, 0.001)
    SETTINGS[f"{name} by group: 20 of 5, all alike"] = grouped(name, 20, 5, 3, True, 0.9)

for n in (30, 50, 200, 1000):
    SETTINGS[f"share of {n}"] = lambda rng, p, n=n: (share(rng.random(n) < p), p)


def areas(m, k, ties=False, groups=0):
    labels = np.repeat([0, 1], [k, m])

    def draw(rng, p):
        q = 0.5 + p / 2 * 0.99
        shift = np.sqrt(2) * ndtri(q)
        x = rng.standard_normal(len(labels))
        unit = None
        if groups:
            unit = np.arange(len(labels)) % groups
            x = np.sqrt(0.5) * x + np.sqrt(0.5) * rng.standard_normal(groups)[unit]
        x = x + shift * labels
        truth = q
        if ties:
            x = np.clip(np.round(x), -1, 2)
            edges = np.array([-0.5, 0.5, 1.5])
            neg = np.diff(np.concatenate([[0], ndtr(edges), [1]]))
            pos = np.diff(np.concatenate([[0], ndtr(edges - shift), [1]]))
            truth = float(sum(pos[i] * (neg[:i].sum() + neg[i] / 2) for i in range(4)))
        prob = ndtr((x - shift / 2) / 2)
        values = np.stack([1 - prob, prob], 1).astype(np.float32)
        given = predictions(labels, values.argmax(1), 2, None if unit is None else unit.astype(str), values)
        return scores.macro_auroc(given), truth

    return draw


for m, k in ((15, 15), (5, 25), (3, 27), (2, 28), (1, 29), (10, 90), (100, 100)):
    SETTINGS[f"macro_auroc: {m} against {k}"] = areas(m, k)
SETTINGS["macro_auroc, four values: 15 against 15"] = areas(15, 15, True)
SETTINGS["macro_auroc, four values: 5 against 25"] = areas(5, 25, True)
SETTINGS["macro_auroc by group, across: 15 of 4"] = areas(30, 30, groups=15)


def many_areas(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = len(sizes)

    def draw(rng, p):
        q = 0.5 + p / 2 * 0.99
        shift = np.sqrt(2) * ndtri(q)
        x = rng.standard_normal((len(labels), count))
        x[np.arange(len(labels)), labels] += shift
        given = predictions(labels, x.argmax(1), count, None, x.astype(np.float32))
        return scores.macro_auroc(given), q

    return draw


for title in ("30 classes of 1", "15 classes of 2", "10 classes of 3", "3 classes, 40, 15, 5", "5 classes of 20"):
    SETTINGS[f"macro_auroc: {title}"] = many_areas(SIZES[title])


def calibration(n, wide, off, groups=0):

    def truth(p):
        k = wide

        # mean conf minus accuracy per bin by a fine grid
        u = (np.arange(40000) + 0.5) / 40000
        c = beta.ppf(u, p * k, (1 - p) * k)
        a = np.clip(c + off(c), 0, 1)
        b = scores.bins_of(c.astype(np.float32))
        return float(np.abs(np.bincount(b, weights=a - c, minlength=15)).sum() / 40000)

    known = {}

    def draw(rng, p):
        if p not in known:
            known[p] = truth(p)
        c = rng.beta(p * wide, (1 - p) * wide, size=n)
        right = rng.random(n) < np.clip(c + off(c), 0, 1)
        labels = np.zeros(n, int)
        given = predictions(labels, np.where(right, 0, 1), 2, None, None, c.astype(np.float32))
        return scores.ece(given), known[p]

    return draw


for n in (30, 100, 500):
    SETTINGS[f"ece: {n}, calibrated"] = calibration(n, 3, lambda c: 0)
    SETTINGS[f"ece: {n}, .1 too sure"] = calibration(n, 3, lambda c: -0.1)
    SETTINGS[f"ece: {n}, .3 too sure"] = calibration(n, 3, lambda c: -0.3)
    SETTINGS[f"ece: {n}, half as far"] = calibration(n, 3, lambda c: (0.5 - c) * 0.5)
    SETTINGS[f"ece: {n}, narrow, .1 too sure"] = calibration(n, 30, lambda c: -0.1)


def squares(name, n, wide=3, groups=0):
    known = {}

    def draw(rng, p):
        def sample(n, unit=None):
            if unit is None:
                c = rng.beta(p * wide, (1 - p) * wide, size=n)
            else:
                c = rng.beta(p * wide, (1 - p) * wide, size=unit.max() + 1)[unit]
            right = rng.random(n) < c
            return np.stack([c, 1 - c], 1).astype(np.float32), np.where(right, 0, 1)

        if p not in known:
            v, labels = sample(2_000_000)
            t = np.clip(v[np.arange(len(labels)), labels].astype(float), scores.SMALLEST, 1)
            known[p] = float(np.mean(-np.log(t) if name == "nll" else 2 * (1 - t) ** 2))
        unit = np.arange(n) % groups if groups else None
        v, labels = sample(n, unit)
        given = predictions(labels, v.argmax(1), 2, None if unit is None else unit.astype(str), v)
        return getattr(scores, name)(given), known[p]

    return draw


for name in ("nll", "brier"):
    SETTINGS[f"{name}: 30"] = squares(name, 30)
    SETTINGS[f"{name}: 30, very sure"] = squares(name, 30, 0.7)
    SETTINGS[f"{name}: 200"] = squares(name, 200)
    SETTINGS[f"{name} by group: 15 of 4"] = squares(name, 60, 3, 15)


def means(n, kind, groups=0):
    """Means of maps' measures: zero or one, anywhere in [0, 1], mostly zero; signed differences."""

    def draw(rng, p):
        unit = np.arange(n) % groups if groups else None
        at = alike(rng, p, groups)[unit] if groups else np.full(n, p)
        if kind == "hits":
            return mean((rng.random(n) < at).astype(float), unit), p
        if kind == "shares":
            at = np.clip(at, 1e-3, 1 - 1e-3)
            return mean(rng.beta(2 * at, 2 * (1 - at)), unit), p
        if kind == "narrow":
            at = np.clip(at, 1e-3, 1 - 1e-3)
            return mean(rng.beta(20 * at, 20 * (1 - at)), unit), p
        if kind == "a fifth zero":
            return mean(np.where(rng.random(n) < 0.2, 0, rng.beta(3 * at, 3 * (1 - at))), unit), 0.8 * p
        x = (rng.random(n) < at).astype(float) - (rng.random(n) < 0.5)
        return mean(x, unit, least=-1.0), p - 0.5

    return draw


for kind in ("hits", "shares", "narrow", "a fifth zero", "differences"):
    SETTINGS[f"mean of {kind}: 30"] = means(30, kind)
    SETTINGS[f"mean of {kind} by group: 30 of 3"] = means(90, kind, 30)
    SETTINGS[f"mean of {kind} by group: 12 of 5"] = means(60, kind, 12)


def pairs(n, change, groups=0):
    """Paired runs: the second changes a right answer with probability `change`, and a wrong one as often."""
    labels = np.zeros(n, int)
    unit = None if not groups else (np.arange(n) % groups)

    def draw(rng, p):
        at = alike(rng, p, groups)[unit] if groups else p
        before = rng.random(n) < at
        odd = rng.random(n) < (change if not groups else alike(rng, min(change, 0.99), groups, 0.2)[unit])
        after = np.where(odd, rng.random(n) < 0.5, before)
        named = None if unit is None else unit.astype(str)
        one, two = (predictions(labels, np.where(x, 0, 1), 2, named) for x in (before, after))
        return difference("a", one, "b", two).top1, (min(change, 0.99) if groups else change) * (0.5 - p)

    return draw


for change in (0.2, 0.6, 0.9):
    SETTINGS[f"paired difference: 30, {change} change"] = pairs(30, change)
    SETTINGS[f"paired difference: 100, {change} change"] = pairs(100, change)
    SETTINGS[f"paired difference by group: 30 of 4, {change} change"] = pairs(120, change, 30)
    SETTINGS[f"paired difference by group: 10 of 6, {change} change"] = pairs(60, change, 10)


def coverage(name, draws):
    """At each truth: the share of intervals that hold it, their mean length, and the share that has none."""
    rows = []
    for p in TRUTHS:
        rng = np.random.default_rng(round(p * 10))
        drawn = [SETTINGS[name](rng, float(p)) for _ in range(draws)]
        ends = np.array([(score.low - 1e-9, score.high + 1e-9, truth) for score, truth in drawn])
        ends = ends[np.isfinite(ends).all(axis=1)]
        held = (ends[:, 0] <= ends[:, 2]) & (ends[:, 2] <= ends[:, 1])
        rows.append((held.mean(), (ends[:, 1] - ends[:, 0]).mean(), 1 - len(ends) / draws) if len(ends) else None)
    return [row for row in rows if row]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--only", nargs="*", default=[""], help="what names of settings begin with")
    options = parser.parse_args()
    print("| setting | least | mean | mean length |\n|---|---|---|---|", flush=True)
    for name in SETTINGS:
        if any(name.startswith(each) for each in options.only):
            rows = np.array(coverage(name, options.draws))
            line = (
                f"{rows[:, 0].min():.3f} | {rows[:, 0].mean():.3f} | {rows[:, 1].mean():.2f}"
                if len(rows)
                else "none | |"
            )
            print(f"| {name} | {line} |", flush=True)


if __name__ == "__main__":
    main()
