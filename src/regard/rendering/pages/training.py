"""The page's section on a training: curves as places in a drawing for `curve.svg`, tables as texts."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from regard.rendering.curves import (
    ACCURACY,
    LOSS,
    Curves,
    Rows,
    Trials,
    Values,
    best_epoch,
    curves,
    finite,
    limits,
    precise,
    ticks,
    trials,
)
from regard.rendering.pages import views

WIDE = 340
HIGH = 190
"""The plot's size in the drawing's units."""
INSET = 8
"""How far from the plot's left and right ends the outermost points are."""
DOTS = 40
"""Up to how many points each has a dot."""
HITS = 240
"""How many places answer a pointer."""
CANDIDATES = 60
"""How many candidates are listed."""


def section(history: Rows, recipe: Mapping[str, Any]) -> views.View | None:
    """All that the page's section shows; None where there is nothing to show."""
    epochs = curves(history)
    probe = trials(history)
    search = candidates(history)
    if not (epochs or probe or search):
        return None
    best = best_epoch(epochs, recipe) if epochs else None
    drawings = panels(epochs, best) if epochs else []
    return {
        "panels": drawings,
        "kinds": [kind for kind in ("training", "validation") if any(kind in panel["kinds"] for panel in drawings)],
        "best": None if best is None else f"{best:g}",
        "averaged": recipe.get("average") in ("ema", "swa"),
        "epochs": _table(epochs) if epochs else [],
        "trials": trial_panel(probe) if probe else None,
        "candidates": search,
    }


def panels(curves: Curves, best: float | None = None) -> list[views.View]:
    """The drawings of loss and of accuracy over epochs, each where there is a number to draw."""
    across = _Across(curves.epochs, whole=True)
    drawings = []
    for quantity, heading in ((LOSS, "Loss"), (ACCURACY, "Accuracy")):
        if lines := curves.pair(quantity):
            write = precise if quantity == LOSS else views.number
            texts = []
            for place, epoch in enumerate(curves.epochs):
                values = (f"{kind} {quantity} {write(line[place])}" for kind, line in lines.items())
                texts.append(f"epoch {epoch:g}: {', '.join(values)}")
            axis = "loss (nats)" if quantity == LOSS else "share right"
            panel = _panel(heading, axis, "epoch, counted from 0", across, lines, texts, quantity == ACCURACY)
            panel["mark"] = None if best is None else _mark(panel, across, best, f"kept: {best:g}", lines)
            drawings.append(panel)
    return drawings


def trial_panel(trials: Trials) -> views.View:
    """The drawing of log-loss over the head's strength, on a logarithmic axis, the chosen one marked."""
    across = _Across(np.log10(trials.strength), power=True)
    rows = list(zip(trials.strength, trials.log_loss, trials.accuracy, strict=True))
    texts = [f"strength {a:.3g}: log-loss {precise(b)}, accuracy {views.number(c)}" for a, b, c in rows]
    lines = {"validation": trials.log_loss}
    panel = _panel("Cross-validation of the head", "log-loss (nats)", "strength (C)", across, lines, texts)
    chosen = trials.chosen
    text = f"chosen: {trials.strength[chosen]:.3g}"
    panel["mark"] = _mark(panel, across, across.values[chosen], text, lines)
    return {**panel, "text": texts[chosen]}


def candidates(history: Rows) -> views.View | None:
    """The search's candidates, the best first: what differs between them in columns, what does not in a line."""
    rows = [row for row in history if row.get("phase") == "search" and isinstance(row.get("settings"), Mapping)]
    if not rows:
        return None
    names = list(dict.fromkeys(name for row in rows for name in row["settings"]))
    values = {name: [_setting(row["settings"], name) for row in rows] for name in names}
    differ = [name for name in names if len(set(values[name])) > 1] or names[:3]
    scores = [(finite(row.get("log_loss")), finite(row.get("accuracy"))) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: (math.isnan(scores[place][0]), scores[place][0], place))
    listed = [
        {
            "cells": [values[name][place] for name in differ],
            "log_loss": _cell(scores[place][0], precise),
            "accuracy": _cell(scores[place][1], views.number),
            "chosen": place == order[0] and scores[place][0] == scores[place][0],
        }
        for place in order[:CANDIDATES]
    ]
    common = [(_words(name), values[name][0]) for name in names if name not in differ]
    return {
        "names": [_words(name)[:1].upper() + _words(name)[1:] for name in differ],
        "rows": listed,
        "common": common,
        "of": len(rows),
    }


class _Across:
    """The horizontal axis of a panel: places of its values, ticks, and the parts that answer a pointer."""

    def __init__(self, values: Values, whole: bool = False, power: bool = False) -> None:
        self.values = values
        low = float(values.min())
        high = float(values.max())
        room = max(0.0, (1.0 - (high - low)) / 2)  # a single one lies in the middle
        self.low = low - room
        self.high = high + room
        at = ticks(self.low, self.high, 6 if power else 8, whole=whole or power)
        self.ticks = [(round(self.at(each), 1), f"{10**each if power else each:g}") for each in at]

    def at(self, value: float) -> float:
        return INSET + (WIDE - 2 * INSET) * (value - self.low) / (self.high - self.low)

    def hits(self) -> list[tuple[int, float, float, float]]:
        """(index, place, left end, width) of the values that answer; of very many, evenly chosen ones."""
        every = -(-len(self.values) // HITS)
        chosen = range(len(self.values) - 1, -1, -every)[::-1]  # the last is always among them
        places = [self.at(self.values[index]) for index in chosen]
        ends = [0.0, *((a + b) / 2 for a, b in pairwise(places)), float(WIDE)]
        return [(index, places[n], ends[n], ends[n + 1] - ends[n]) for n, index in enumerate(chosen)]


def _panel(
    heading: str,
    axis: str,
    below: str,
    across: _Across,
    lines: Mapping[str, Values],
    texts: Sequence[str],
    share: bool = False,
) -> views.View:
    ends = limits(lines.values(), share)
    places = {kind: [(across.at(x), _height(y, ends)) for x, y in zip(across.values, values, strict=True)]
              for kind, values in lines.items()}  # fmt: skip
    dots = {kind: [point for point in points if point[1] == point[1]] for kind, points in places.items()}
    few = len(across.values) <= DOTS
    return {
        "name": heading,
        "axis": axis,
        "below": below,
        "kinds": list(lines),
        "ends": ends,
        "lines": [{"kind": kind, "path": _path(points), "dots": dots[kind] if few else []}
                  for kind, points in places.items()],
        "columns": across.ticks,
        "rows": [(_height(tick, ends), f"{tick:g}") for tick in ticks(*ends, most=5)],
        "hits": [{"at": at, "left": left, "width": width, "text": texts[n]} for n, at, left, width in across.hits()],
        "mark": None,
    }  # fmt: skip


def _height(value: float, ends: tuple[float, float]) -> float:
    return HIGH * (ends[1] - value) / (ends[1] - ends[0])


def _path(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path with a gap at each point without a number; a point alone is a dot, by its round ends."""
    numeric = [False, *(y == y for _, y in points), False]  # NaN differs from itself
    parts = []
    for place, (x, y) in enumerate(points, 1):
        if numeric[place]:
            alone = not numeric[place - 1] and not numeric[place + 1]
            parts.append(f"{'L' if numeric[place - 1] else 'M'}{x:.1f} {y:.1f}{'h0' if alone else ''}")
    return "".join(parts)


def _mark(panel: views.View, across: _Across, value: float, text: str, lines: Mapping[str, Values]) -> views.View:
    """An upright line with its text and, on the validation's curve, a ring."""
    x = across.at(value)
    side = "start" if x < WIDE * 0.2 else "end" if x > WIDE * 0.8 else "middle"
    y = lines.get("validation", np.full(len(across.values), np.nan))[np.flatnonzero(across.values == value)[0]]
    return {"x": x, "y": _height(y, panel["ends"]) if y == y else None, "text": text, "side": side}


def _table(curves: Curves) -> list[list[str]]:
    """Every epoch's numbers as text."""
    columns = (
        [f"{epoch:g}" for epoch in curves.epochs],
        [f"{each:.3g}" if math.isfinite(each) else "–" for each in curves.learning_rate],
        [precise(each) for each in curves.training_loss],
        [precise(each) for each in curves.validation_loss],
        [views.number(each) for each in curves.training_top1],
        [views.number(each) for each in curves.validation_top1],
    )
    return [list(row) for row in zip(*columns, strict=True)]


def _cell(value: float, write: Any) -> views.View:
    return {"value": value if math.isfinite(value) else None, "text": write(value), "interval": ""}


def _words(name: Any) -> str:
    return str(name).replace("_", " ")


def _setting(settings: Mapping[str, Any], name: str) -> str:
    """A setting's value as text; of layers, None stands for all."""
    if name not in settings:
        return "–"
    value = settings[name]
    return ("all" if name == "open_layers" else "–") if value is None else views.text(value)
