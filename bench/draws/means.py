"""Calibration error, log loss, Brier score, and means over pictures."""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.special import expit, logit, ndtr
from scipy.stats import beta

from draws.common import Draw, Drawn, Floats, Groups, Ints, Random, predictions
from regard.measurement.classification import scores
from regard.measurement.intervals import mean

# Calibration error and proper scores: confidences are beta about p; `width` 3 is spread, 30 narrow, .7 very sure.

Chance = Callable[[Floats], Floats]
CALIBRATIONS: dict[str, Chance] = {
    "calibrated": lambda sure: sure,
    ".1 too sure": lambda sure: np.maximum(sure - 0.1, 0),
    ".3 too sure": lambda sure: np.maximum(sure - 0.3, 0),
    "too sure at both ends": lambda sure: expit(logit(np.clip(sure, 1e-9, 1 - 1e-9)) / 2),
    "not sure enough": lambda sure: expit(logit(np.clip(sure, 1e-9, 1 - 1e-9)) * 2),
}


@cache
def quantiles(p: float, width: float) -> Floats:
    """Confidences evenly through all that may be drawn: truths are means over them."""
    return np.asarray(beta.ppf((np.arange(50_000) + 0.5) / 50_000, p * width, (1 - p) * width))


def confidences(random: Random, p: float, width: float, draws: int, n: int, units: Ints | None) -> Floats:
    """(draws, n) those of one group are the same."""
    each = random.beta(p * width, (1 - p) * width, (draws, n if units is None else int(units.max()) + 1))
    return each if units is None else each[:, units]


def calibration(n: int, chance: Chance, width: float = 3, groups: Groups | None = None) -> Draw:
    """By group, those of one group are right and wrong together: half of the variance behind it is the group's."""
    units = None if groups is None else groups.units
    labels = np.zeros(n, np.int64)

    def draw(random: Random, p: float, draws: int) -> Drawn:
        grid = quantiles(p, width)
        place = scores.bins_of(grid.astype(np.float32))
        truth = float(np.abs(np.bincount(place, weights=chance(grid) - grid)).sum() / len(grid))
        sure = confidences(random, p, width, draws, n, None)
        luck = random.standard_normal(sure.shape)
        if units is not None:
            luck = np.sqrt(0.5) * (luck + random.standard_normal((draws, int(units.max()) + 1))[:, units])
        predicted = (ndtr(luck) >= chance(sure)).astype(np.int64)
        single = sure.astype(np.float32)
        rows = zip(predicted, single, strict=True)
        return truth, (scores.ece(predictions(labels, row, 2, units, None, each)) for row, each in rows)

    return draw


def losses(measure: str, n: int, chance: Chance, width: float = 3, groups: Groups | None = None) -> Draw:
    """Truths follow from confidences about p; they are not p themselves."""
    units = None if groups is None else groups.units
    function = getattr(scores, measure)

    def loss(likely: Floats) -> Floats:
        likely = np.clip(likely, scores.SMALLEST, 1)
        return -np.log(likely) if measure == "nll" else 2 * (1 - likely) ** 2

    def draw(random: Random, p: float, draws: int) -> Drawn:
        grid = quantiles(p, width)
        truth = float(np.mean(chance(grid) * loss(grid) + (1 - chance(grid)) * loss(1 - grid)))
        sure = np.clip(confidences(random, p, width, draws, n, units), 1e-7, 1 - 1e-7)
        labels = (random.random(sure.shape) >= chance(sure)).astype(np.int64)
        both = np.stack([sure, 1 - sure], axis=2).astype(np.float32)
        rows = zip(labels, both, strict=True)
        return truth, (function(predictions(label, row.argmax(1), 2, units, row)) for label, row in rows)

    return draw


# Means over pictures of what maps have on an object or region, alone and beside a baseline (`intervals.mean`).

Values = Callable[[Random, Floats], Floats]
MEANS: dict[str, tuple[Values, Callable[[float], float], float]] = {  # values of chances, truth of p, the least value
    "hits": (lambda random, p: (random.random(p.shape) < p).astype(np.float64), lambda p: p, 0),
    "shares": (lambda random, p: random.beta(2 * p, 2 * (1 - p)), lambda p: p, 0),
    "narrow": (lambda random, p: random.beta(20 * p, 20 * (1 - p)), lambda p: p, 0),
    "a fifth zero": (
        lambda random, p: np.where(random.random(p.shape) < 0.2, 0, random.beta(3 * p, 3 * (1 - p))),
        lambda p: 0.8 * p,
        0,
    ),
    "half zero": (
        lambda random, p: np.where(random.random(p.shape) < 0.5, 0, random.beta(3 * p, 3 * (1 - p))),
        lambda p: 0.5 * p,
        0,
    ),
    "hits less chance": (
        lambda random, p: (random.random(p.shape) < p) - random.beta(2, 8, p.shape),
        lambda p: p - 0.2,
        -1,
    ),
    "differences of hits": (
        lambda random, p: (random.random(p.shape) < p).astype(np.float64) - (random.random(p.shape) < 0.5),
        lambda p: p - 0.5,
        -1,
    ),
    "differences of shares": (
        lambda random, p: random.beta(3 * p, 3 * (1 - p)) - random.beta(2, 2, p.shape),
        lambda p: p - 0.5,
        -1,
    ),
}


def means(kind: str, n: int, groups: Groups | None = None) -> Draw:
    """Of `n` pictures or, of words, by picture: the groups."""
    values, truth, least = MEANS[kind]

    def draw(random: Random, p: float, draws: int) -> Drawn:
        chances = np.full((draws, n), p) if groups is None else groups.chances(random, p, draws)
        units = None if groups is None else groups.units
        return truth(p), (mean(row, units, least=least) for row in values(random, chances))

    return draw
