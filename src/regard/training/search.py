"""The search: with few pictures, what opens, how fast it learns and how much of the start stays, by cross-validation.

All of it happens inside the training part: each candidate is trained on all folds but one and scored on that one, with
a head whose probe has not seen it either, at several mixes with the starting point (WiSE-FT, arXiv 2109.01903).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from regard.training.optimise import State, blocks, copied, learning, mixed, opened, put
from regard.training.phases import Array, Run, compute_logits, score, train_part
from regard.training.probe import folds_of, refit
from regard.training.recipe import PRESETS, Settings

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tuned weights that the search tries; 0 is the probe itself."""

CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"open_layers": 4, "learning_rate": 2e-4},
    {"open_layers": 2, "learning_rate": 3e-4},
)
"""What the search chooses among. What the user set to something else than the recipe has stays as the user set it."""

FEW: Mapping[str, Any] = {"epochs": 10, "batch_size": 16, "drop_path": 0.1, "weight_decay": 0.1, "smoothing": 0.0}
"""Stronger regularisation where there are few pictures, in every candidate."""


def cross_validate(the: Run, start: State) -> dict[str, Any]:
    """Which candidate and which mix have the least log-loss on the folds left out; ties go to the earlier."""
    candidates = _candidates(the.settings, len(blocks(the.network)))
    features, labels = the.session.keeper.kept["features"].numpy(), the.training.labels
    folds = list(folds_of(features, labels, the.groups, the.settings.folds, the.session.seed))
    for number, (fitted, left_out) in enumerate(folds):
        for place, overrides in enumerate(candidates):
            name = f"search {number}/{place}"
            if name not in the.session.keeper.done:
                result = _trial(the, name, start, replace(the.settings, **overrides), fitted, left_out)
                the.session.keeper.finish(name, result)
    put(the.network.module, start)
    return _choose(the, candidates, len(folds))


def _candidates(settings: Settings, depth: int) -> list[dict[str, Any]]:
    """The candidates, each as what it changes; the user's own settings are left alone. `depth`: blocks there are."""
    standard = PRESETS["finetune"]()
    free = {name for name in settings.as_json() if getattr(settings, name) == getattr(standard, name)}
    found: list[dict[str, Any]] = []
    for candidate in CANDIDATES:
        layers = candidate["open_layers"]
        fitting = {**FEW, **candidate, "open_layers": layers if layers is not None and layers < depth else None}
        changes = {name: value for name, value in fitting.items() if name in free}
        if changes not in found:
            found.append(changes)
    return found


def _mixes(settings: Settings) -> tuple[float, ...]:
    return MIXES if settings.mix == 1 else (settings.mix,)


def _trial(the: Run, name: str, start: State, settings: Settings, fitted: Array, left_out: Array) -> dict[str, Any]:
    """One candidate on one fold: summed log-loss and right answers on the pictures left out, for each mix."""
    keeper, labels = the.session.keeper, the.training.labels
    features, strength = keeper.kept["features"].numpy(), float(keeper.done["head"])
    weight, bias = refit(features[fitted], labels[fitted], strength, len(the.training.classes))
    put(the.network.module, start)
    head = the.session.world.shared((torch.from_numpy(weight), torch.from_numpy(bias)))
    the.network.replace_head(*head, the.training.classes)
    begun = copied(the.network.module.state_dict())
    with opened(the.network, settings.open_layers):
        train_part(the, name, settings, fitted, None)
        tuned = copied(learning(the.network.module))
    held, result = the.training.select(left_out), {}
    for mix in _mixes(the.settings):
        put(the.network.module, mixed(begun, tuned, mix))
        logits = compute_logits(the, held)
        scores = score(logits, held.labels)
        right = int((logits.argmax(1) == held.labels).sum())
        result[f"{mix:g}"] = {"loss": scores["validation_loss"] * len(held), "right": right}
    return {"pictures": len(held), "mixes": result}


def _choose(the: Run, candidates: list[dict[str, Any]], folds: int) -> dict[str, Any]:
    done, rows = the.session.keeper.done, []
    for place, overrides in enumerate(candidates):
        trials = [done[f"search {number}/{place}"] for number in range(folds)]
        pictures = sum(trial["pictures"] for trial in trials)
        for mix in _mixes(the.settings):
            loss = sum(trial["mixes"][f"{mix:g}"]["loss"] for trial in trials) / pictures
            right = sum(trial["mixes"][f"{mix:g}"]["right"] for trial in trials) / pictures
            rows.append({"settings": {**overrides, "mix": mix}, "log_loss": loss, "accuracy": right})
    if not any(row.get("phase") == "search" for row in the.session.journal.rows):
        for row in rows:
            the.session.journal.row(phase="search", **row)
    return min(rows, key=lambda row: float(row["log_loss"]))
