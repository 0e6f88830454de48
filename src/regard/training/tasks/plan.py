"""What a fine-tuning will do: the candidates of its search, what is computed once for all of them, and its steps."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from regard.training.optimise import blocks
from regard.training.schedule import Schedule, Stage, duration
from regard.training.tasks.phases import Finetuning
from regard.training.tasks.table import ClassifierSettings, finetune, with_changes
from regard.training.tasks.views import views_for

log = logging.getLogger("regard")

CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"open_layers": 4, "learning_rate": 2e-4},
    {"open_layers": 2, "learning_rate": 3e-4},
)
ADAPTER_CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"open_layers": 4, "learning_rate": 2e-3},
    {"open_layers": 2, "learning_rate": 3e-3},
)
"""What the search chooses among, and what where it trains adapters (in so many blocks). What the user set to something
else than the recipe has stays as the user set it."""

FEW: Mapping[str, Any] = {"epochs": 10, "batch_size": 16, "drop_path": 0.1, "weight_decay": 0.1, "smoothing": 0.0}
"""Stronger regularisation where there are few pictures, in every candidate."""

AROUND = 10.0
"""Seconds of a probe's run that are neither features nor fit: start, reading, report."""


def candidates_for(settings: ClassifierSettings, depth: int) -> list[dict[str, Any]]:
    """The candidates, each as what it changes; the user's own settings are left alone. `depth`: blocks there are."""
    standard = with_changes(finetune(), {"adapter": settings.adapter})
    free = {name for name in settings.as_json() if getattr(settings, name) == getattr(standard, name)}
    candidates: list[dict[str, Any]] = []
    for candidate in CANDIDATES if settings.adapter == "none" else ADAPTER_CANDIDATES:
        layers = candidate["open_layers"]
        fitting = {**FEW, **candidate, "open_layers": layers if layers is not None and layers < depth else None}
        changes = {name: value for name, value in fitting.items() if name in free}
        if changes not in candidates:
            candidates.append(changes)
    return candidates


def views_of(job: Finetuning) -> tuple[int, int] | None:
    """The block and the number of views, where every candidate leaves the same first blocks as they are, and pictures
    are not mixed."""
    if job.settings.mixing is not None:
        return None
    candidates = [replace(job.settings, **each) for each in candidates_for(job.settings, len(blocks(job.network)))]
    layers = [each.open_layers for each in candidates]
    most = None if None in layers else max(each for each in layers if each is not None)
    return views_for(job.network, len(job.training), most, min(each.epochs for each in candidates))


def schedule_of(job: Finetuning) -> Schedule:
    """All steps with what they cost: in passes of one picture through one block, forward.

    Decoding a photograph is taken to cost as much as a small network's forward pass.
    """
    depth = max(1, len(blocks(job.network)))
    count = len(job.training)
    stages = []
    if job.settings.head == "probe":
        stages.append(Stage("features", "looking at the pictures", 2.0 * depth * count, "forward"))
    candidates = [job.settings]
    views = None
    if job.settings.search == "always":
        candidates = [replace(job.settings, **each) for each in candidates_for(job.settings, len(blocks(job.network)))]
        views = views_of(job)
        if views is not None:
            work = float((1 + views[1]) * count * (views[0] + depth))
            stages.append(Stage("views", "random views of them, through the layers that stay", work, "forward"))
        folds = min(job.settings.folds, count)
        for number in range(folds):
            for place, each in enumerate(candidates if number == 0 else candidates[:1]):
                text = f"training without fold {number + 1} of {folds}"
                several = number == 0 and len(candidates) > 1
                text += f", candidate {place + 1} of {len(candidates)}" * several
                share = (folds - 1) / folds
                name = f"search {number}/{place if several else ''}"
                stages.append(Stage(name, text, _cost(each, depth, views) * count * share, "training"))
    text = "training on all" if job.settings.search == "always" else "training"
    stages.append(Stage("train", text, _cost(candidates[0], depth, views) * count, "training"))
    schedule = Schedule(stages)
    schedule.on_long = partial(_advise, job)
    return schedule


def narrow(job: Finetuning, candidates: Sequence[ClassifierSettings], folds: int) -> None:
    """After so many folds only these are left: what is to come costs what they cost."""
    if job.schedule is None:
        return
    depth = max(1, len(blocks(job.network)))
    views = None if job.views is None else (job.views.block, 0)
    mean = sum(_cost(each, depth, views) for each in candidates) / len(candidates)
    for stage in job.schedule.stages:
        number = stage.name.removeprefix("search ").partition("/")[0]
        if stage.name == "train":
            stage.work = mean * len(job.training)
        elif number.isdecimal() and int(number) >= folds:
            stage.work = mean * len(job.training) * (job.settings.folds - 1) / job.settings.folds * len(candidates)


def _cost(settings: ClassifierSettings, depth: int, views: tuple[int, int] | None) -> float:
    """Of one picture in all epochs; backward is twice forward."""
    layers = depth if settings.open_layers is None else settings.open_layers
    if views is None:
        return settings.epochs * (3.0 * layers + depth - layers + depth)
    return settings.epochs * (3.0 * layers + max(0, depth - layers - views[0]))


def _advise(job: Finetuning, seconds: float) -> None:
    """What is quicker, where it will be long; how long that takes is known, as a probe comes first here too."""
    if job.head_seconds is not None:
        log.info(
            f"about {duration(seconds)} to go; --recipe probe takes about {duration(job.head_seconds + AROUND)} in "
            "all: it learns a new last layer alone"
        )
