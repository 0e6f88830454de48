"""The search: with few pictures, what opens, how fast it learns and how much of the start stays, by cross-validation.

All of it happens inside the training part: each candidate is trained on all folds but one and scored on that one, with
a head whose probe has not seen it either, at several mixes with the starting point (WiSE-FT, arXiv 2109.01903).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from regard.training.optimise import State, blocks, interpolated, load_values, on_cpu, trainable_layers, trained_state
from regard.training.tasks.phases import Array, Finetuning, compute_logits, score, train_part
from regard.training.tasks.probe import folds_of, refit
from regard.training.tasks.table import ClassifierSettings, finetune

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tuned weights that the search tries; 0 is the probe itself."""

CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"open_layers": 4, "learning_rate": 2e-4},
    {"open_layers": 2, "learning_rate": 3e-4},
)
"""What the search chooses among. What the user set to something else than the recipe has stays as the user set it."""

FEW: Mapping[str, Any] = {"epochs": 10, "batch_size": 16, "drop_path": 0.1, "weight_decay": 0.1, "smoothing": 0.0}
"""Stronger regularisation where there are few pictures, in every candidate."""


def cross_validate(job: Finetuning, start: State) -> dict[str, Any]:
    """Which candidate and which mix have the least log-loss on the folds left out; ties go to the earlier."""
    candidates = _candidates(job.settings, len(blocks(job.network)))
    features = job.session.checkpoints.tensors["features"].numpy()  # (training pictures, width)
    labels = job.training.labels
    folds = list(folds_of(features, labels, job.groups, job.settings.folds, job.session.seed))
    for number, (fitted, left_out) in enumerate(folds):
        for place, overrides in enumerate(candidates):
            name = f"search {number}/{place}"
            if name not in job.session.checkpoints.results:
                result = _trial(job, name, start, replace(job.settings, **overrides), fitted, left_out)
                job.session.checkpoints.finish(name, result)
    load_values(job.network.module, start)
    return _choose(job, candidates, len(folds))


def _candidates(settings: ClassifierSettings, depth: int) -> list[dict[str, Any]]:
    """The candidates, each as what it changes; the user's own settings are left alone. `depth`: blocks there are."""
    standard = finetune()
    free = {name for name in settings.as_json() if getattr(settings, name) == getattr(standard, name)}
    candidates: list[dict[str, Any]] = []
    for candidate in CANDIDATES:
        layers = candidate["open_layers"]
        fitting = {**FEW, **candidate, "open_layers": layers if layers is not None and layers < depth else None}
        changes = {name: value for name, value in fitting.items() if name in free}
        if changes not in candidates:
            candidates.append(changes)
    return candidates


def _mixes(settings: ClassifierSettings) -> tuple[float, ...]:
    return MIXES if settings.mix == 1 else (settings.mix,)


def _trial(
    job: Finetuning, name: str, start: State, settings: ClassifierSettings, fitted: Array, left_out: Array
) -> dict[str, Any]:
    """One candidate on one fold: summed log-loss and right answers on the pictures left out, for each mix."""
    checkpoints = job.session.checkpoints
    features = checkpoints.tensors["features"].numpy()
    strength = float(checkpoints.results["head"])
    weight, bias = refit(features[fitted], job.training.labels[fitted], strength, len(job.training.classes))
    load_values(job.network.module, start)
    head = job.session.world.shared((torch.from_numpy(weight), torch.from_numpy(bias)))
    job.network.replace_head(*head, job.training.classes)
    before = on_cpu(job.network.module.state_dict())
    with trainable_layers(job.network, settings.open_layers):
        train_part(job, name, settings, fitted, None)
        tuned = on_cpu(trained_state(job.network.module))
    held_out = job.training.select(left_out)
    mixes = {}
    for mix in _mixes(job.settings):
        load_values(job.network.module, interpolated(before, tuned, mix))
        logits = compute_logits(job, held_out)
        scores = score(logits, held_out.labels)
        right = int((logits.argmax(1) == held_out.labels).sum())
        mixes[f"{mix:g}"] = {"loss": scores["validation_loss"] * len(held_out), "right": right}
    return {"pictures": len(held_out), "mixes": mixes}


def _choose(job: Finetuning, candidates: list[dict[str, Any]], folds: int) -> dict[str, Any]:
    results = job.session.checkpoints.results
    rows = []
    for place, overrides in enumerate(candidates):
        trials = [results[f"search {number}/{place}"] for number in range(folds)]
        pictures = sum(trial["pictures"] for trial in trials)
        for mix in _mixes(job.settings):
            loss = sum(trial["mixes"][f"{mix:g}"]["loss"] for trial in trials) / pictures
            right = sum(trial["mixes"][f"{mix:g}"]["right"] for trial in trials) / pictures
            rows.append({"settings": {**overrides, "mix": mix}, "log_loss": loss, "accuracy": right})
    if not any(row.get("phase") == "search" for row in job.session.journal.rows):
        for row in rows:
            job.session.journal.row(phase="search", **row)
    return min(rows, key=lambda row: float(row["log_loss"]))
