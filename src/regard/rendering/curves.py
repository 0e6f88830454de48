"""The lines of a training (`metrics.jsonl`) as numbers to draw: curves over epochs, the head's trials, axes.

A line is whatever a file held: what is no number, or not finite, is a gap in its curve, and lines of kinds that are
not known are passed over. The page draws them in `pages/training.py`, for papers `figures/charts.py` does.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]
TRIALS = ("head", "cross-validation")
"""Phases whose lines are the head's trials."""
LOSS = "loss"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Curves:
    """A training's epochs in order, (epochs,) each; NaN where a line does not say. Losses in nats, accuracy 0 to 1."""

    epochs: Values
    learning_rate: Values
    training_loss: Values
    validation_loss: Values
    training_top1: Values
    validation_top1: Values

    def pair(self, quantity: str) -> dict[str, Values]:
        """The lines of "loss" or "accuracy" that hold any number, by kind: "training" and "validation"."""
        name = "loss" if quantity == LOSS else "top1"
        both = {kind: getattr(self, f"{kind}_{name}") for kind in ("training", "validation")}
        return {kind: values for kind, values in both.items() if np.isfinite(values).any()}


@dataclass(frozen=True)
class Trials:
    """The head's strengths in ascending order, (trials,), with cross-validated log-loss (nats) and accuracy."""

    strength: Values
    log_loss: Values
    accuracy: Values

    @property
    def chosen(self) -> int:
        """Which trial has the least log-loss; of equals the first, as the probe chooses."""
        return int(np.nanargmin(self.log_loss))


def curves(history: Rows) -> Curves | None:
    """The epochs of the phase "train", of one written twice the later; None where there is nothing to draw."""
    rows = {}
    for row in history:
        epoch = finite(row.get("epoch"))
        if row.get("phase") == "train" and epoch == epoch:
            rows[epoch] = row
    epochs = sorted(rows)
    names = ("learning_rate", "training_loss", "validation_loss", "training_top1", "validation_top1")
    columns = {name: np.array([finite(rows[epoch].get(name)) for epoch in epochs]) for name in names}
    result = Curves(np.array(epochs), **columns)
    return result if result.pair(LOSS) or result.pair(ACCURACY) else None


def trials(history: Rows) -> Trials | None:
    """The head's cross-validation; None where no trial has both a strength and a log-loss."""
    rows = [row for row in history if row.get("phase") in TRIALS]
    table = [[finite(row.get(name)) for name in ("strength", "log_loss", "accuracy")] for row in rows]
    complete = sorted((each for each in table if each[0] > 0 and each[1] == each[1]), key=lambda each: each[0])
    return Trials(*np.array(complete).T) if complete else None


def best_epoch(curves: Curves, recipe: Mapping[str, Any]) -> float | None:
    """The epoch whose weights are used where the recipe keeps the best: of equals the later, as in the loop."""
    scores = curves.validation_top1
    if recipe.get("keep") != "best" or not np.isfinite(scores).any():
        return None
    return float(curves.epochs[np.flatnonzero(scores == np.nanmax(scores))[-1]])


def limits(values: Iterable[Values], share: bool = False) -> tuple[float, float]:
    """Ends of an axis at round numbers around all finite values, from 0 where they come near it; a share's within 0
    and 1. Never equal."""
    joined = np.concatenate(list(values))
    low = float(np.nanmin(joined))
    high = largest = float(np.nanmax(joined))
    if 0 <= low < 0.5 * high:
        low = 0.0
    if high - low < 1e-3 * max(abs(low), abs(high), 1e-3):
        room = 0.1 * max(abs(high), 0.1)
        low = max(low - room, min(low, 0.0))
        high += room
    if share:
        high = min(high, max(1.0, largest))
    step = _step(high - low, 5)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def ticks(low: float, high: float, most: int = 6, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, about `most` of them; `whole` ones only on request."""
    step = _step(high - low, most)
    step = max(1.0, step) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def precise(value: float) -> str:
    """A loss with four significant digits, or a dash."""
    return f"{value:#.4g}" if math.isfinite(value) else "–"


def finite(value: Any) -> float:
    """A number as it is; NaN for anything else, and for what no axis could bear."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    return float(value) if abs(value) < 1e15 else math.nan


def _step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that goes into `span` at most so often."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return power * next((factor for factor in (1, 2, 5) if power * factor * most >= span * (1 - 1e-9)), 10)
