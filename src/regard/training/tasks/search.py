"""The search: with few pictures, what opens, how fast it learns and how much of the start stays, by cross-validation.

All of it happens inside the training part: each candidate is trained on all folds but one and answers for that one,
with a head whose probe has not seen it either, at several mixes with the starting point (WiSE-FT, arXiv 2109.01903).
Candidates race: behind the first fold, and whenever the folds have doubled, the worse half is given up (successive
halving, Jamieson and Talwalkar 2016, arXiv 1502.07943), so that one alone is trained on most folds. One that diverges
has lost.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax

from regard.training.layers.lora import learning, mixed
from regard.training.loop import DivergedError
from regard.training.optimise import State, blocks, load_values, on_cpu
from regard.training.tasks.base import CrossValidation
from regard.training.tasks.phases import Array, Finetuning, compute_logits, train_part
from regard.training.tasks.plan import candidates_for, narrow
from regard.training.tasks.probe import refit
from regard.training.tasks.table import ClassifierSettings

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tuned weights that the search tries; 0 is the probe itself."""


def cross_validate(job: Finetuning, start: State) -> tuple[dict[str, Any], CrossValidation]:
    """The candidate and mix of least log-loss on the folds left out (ties go to the earlier), and all their answers.

    The dict has what it changes as "settings", and its "log_loss" and "accuracy".
    """
    checkpoints = job.session.checkpoints
    candidates = candidates_for(job.settings, len(blocks(job.network)))
    folds = checkpoints.tensors["folds"].numpy()  # (training pictures,)
    running = list(range(len(candidates)))
    for number in range(folds.max() + 1):
        for place in running:
            name = f"search {number}/{place}"
            if f"{name}/logits" not in checkpoints.tensors:  # earlier versions kept sums alone
                settings = replace(job.settings, **candidates[place])
                try:
                    values = _trial(job, name, start, settings, np.flatnonzero(folds != number), folds == number)
                except DivergedError:
                    if len(running) == 1:
                        raise
                    lost = len(_mixes(job.settings)), int((folds == number).sum()), len(job.training.classes)
                    values = np.full(lost, np.nan, np.float32)
                checkpoints.finish(name, len(values[0]), {f"{name}/logits": torch.from_numpy(values)})
        if number + 1 in (1, 2, 4, 8):  # ties go to the earlier candidate
            scores = {place: min(_losses(job, place, folds, number + 1)) for place in running}
            running = sorted(sorted(running, key=scores.__getitem__)[: -(-len(running) // 2)])
            narrow(job, [replace(job.settings, **candidates[place]) for place in running], number + 1)
    load_values(job.network.module, start)
    return _choose(job, candidates, running, folds)


def _mixes(settings: ClassifierSettings) -> tuple[float, ...]:
    return MIXES if settings.mix == 1 else (settings.mix,)


def _trial(
    job: Finetuning, name: str, start: State, settings: ClassifierSettings, fitted: Array, left_out: Array
) -> Array:
    """One candidate on one fold: the logits (mixes, pictures left out, classes) float32 of each mix."""
    checkpoints = job.session.checkpoints
    features = checkpoints.tensors["features"].numpy()
    strength = float(checkpoints.results["head"])
    weight, bias = refit(features[fitted], job.training.labels[fitted], strength, len(job.training.classes))
    load_values(job.network.module, start)
    head = job.session.world.shared((torch.from_numpy(weight), torch.from_numpy(bias)))
    job.network.replace_head(*head, job.training.classes)
    before = on_cpu(job.network.module.state_dict())
    with learning(job.network, settings, job.session.seed) as learnt:
        train_part(job, name, settings, fitted, validates=False)
        tuned = learnt()
    indices = np.flatnonzero(left_out)
    logits = []
    for mix in _mixes(job.settings):
        load_values(job.network.module, mixed(settings, before, tuned, mix))
        if job.views is None:
            logits.append(compute_logits(job, job.training.select(indices.tolist())))
        else:
            with job.views.entering(job.network):
                logits.append(job.views.logits(job.network, indices, job.precision).numpy())
    return np.stack(logits)


def _logits(job: Finetuning, place: int, folds: Array, count: int) -> Array:
    """(mixes, pictures, classes) of a candidate on the first `count` folds, zeros elsewhere."""
    logits = np.zeros((len(_mixes(job.settings)), len(folds), len(job.training.classes)), np.float32)
    for number in range(count):
        logits[:, folds == number] = job.session.checkpoints.tensors[f"search {number}/{place}/logits"].numpy()
    return logits


def _losses(job: Finetuning, place: int, folds: Array, count: int) -> list[float]:
    """The mean log-loss of each mix of a candidate on the first `count` folds; infinite where it diverged."""
    within = folds < count
    logits = _logits(job, place, folds, count)[:, within].astype(np.float64)
    labels = job.training.labels[within]
    losses = -log_softmax(logits, axis=2)[:, np.arange(len(labels)), labels].mean(axis=1)  # (mixes,)
    return [float(loss) for loss in np.nan_to_num(losses, nan=np.inf)]


def _choose(
    job: Finetuning, candidates: list[dict[str, Any]], running: list[int], folds: Array
) -> tuple[dict[str, Any], CrossValidation]:
    trials = job.session.checkpoints.tensors
    labels = job.training.labels
    rows: list[dict[str, Any]] = []
    values = []
    for place, overrides in enumerate(candidates):
        count = sum(f"search {number}/{place}/logits" in trials for number in range(folds.max() + 1))
        within = folds < count
        logits = _logits(job, place, folds, count)
        values.append(logits)
        if np.isnan(logits).any():
            job.session.journal.message(f"candidate {place + 1} of the search diverged and was given up")
            continue
        right = (logits.argmax(axis=2) == labels)[:, within].mean(axis=1)
        for mix, loss, accuracy in zip(_mixes(job.settings), _losses(job, place, folds, count), right, strict=True):
            row = {"settings": {**overrides, "mix": mix}, "log_loss": loss, "accuracy": float(accuracy)}
            rows.append({**row, "pictures": int(within.sum())})
    if not any(row.get("phase") == "search" for row in job.session.journal.rows):
        for row in rows:
            job.session.journal.row(phase="search", **row)
    finalists = [row for row in rows if row["pictures"] == len(folds)]
    best = min(range(len(finalists)), key=lambda place: float(finalists[place]["log_loss"]))
    whole = np.concatenate([values[place] for place in running])
    return finalists[best], CrossValidation(folds, whole, best)
