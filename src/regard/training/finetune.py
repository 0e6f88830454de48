"""A network trained on labelled pictures, phase by phase: each phase resumes, and the next builds on its result.

    head            a probe on frozen features (its features are kept in the checkpoint as they are computed)
    search FOLD/N   with few pictures: each candidate trained on all folds but one, scored on that one, at several mixes
    train           all open layers, on the whole training part
    mix             WiSE-FT: a step back towards the starting point, where the search or the recipe says so

Nothing here looks at the pictures set aside but to write how well they do, unless the recipe keeps the best epoch or
stops early; then the result says that it was selected on them.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.dataset import Dataset
from regard.data.pixels import Preparation
from regard.errors import DataError, NetworkError
from regard.networks.network import Network
from regard.training.checkpoint import Keeper
from regard.training.feed import check_processes
from regard.training.folder import begin
from regard.training.journal import Journal, Progress, open_board, silent
from regard.training.loop import Session
from regard.training.optimise import (
    best_precision,
    copied,
    dropping,
    learning,
    mixed,
    opened,
    put,
)
from regard.training.phases import Array, Run, compute_logits, fit_head, score, train_part
from regard.training.processes import World, join
from regard.training.recipe import Recipe, Settings
from regard.training.search import cross_validate


@dataclass(frozen=True)
class Outcome:
    """What came of it. `logits` (validation pictures, classes) float32 are those of the weights used.

    `metrics` are the lines of `metrics.jsonl`, `messages` what the user should know; `facts` say what was chosen, for
    the report. `selected`: whether the validation pictures had a say in which weights are used. `main`: whether this
    process is the one that writes.
    """

    logits: NDArray[np.float32]
    metrics: tuple[dict[str, Any], ...]
    messages: tuple[str, ...]
    facts: dict[str, Any]
    selected: bool
    main: bool


def run(
    network: Network,
    training: Dataset,
    validation: Dataset,
    hashes: Mapping[Path, str],
    recipe: Recipe,
    folder: Path | str,
    *,
    seed: int = 0,
    workers: int = 2,
    groups: Array | None = None,
    resume: bool = False,
    overwrite: bool = False,
    deterministic: bool = False,
    tensorboard: bool = False,
    progress: Callable[[Progress], None] = silent,
    every: int | None = None,
) -> Outcome:
    """Train `network`, in place, as `recipe.settings` say; the run's folder holds all that is needed to `resume`.

    `hashes` are the pictures' SHA-256 by path; `groups` (training pictures,) keep equal values in one fold. `every`
    writes a checkpoint after so many steps instead of by time. The folder is left without its network: `save_network`,
    then `folder.finish`, make it a finished run. Raises `DataError`, `NetworkError`, `OutputError`, `UsageError`, each
    in one line, and `InterruptedTrainingError` after Ctrl-C; whatever happened, the last checkpoint stays.
    """
    if recipe.settings is None:
        raise DataError(f"the recipe {recipe.name!r} does not train the network itself; give finetune or dlcv")
    settings = _for_data(recipe.settings, training)
    world = join(network.device)
    network.module.to(world.device)
    network.preparation = _preparation(network.preparation, settings)
    _check(network, training, validation, settings, world)
    folder = Path(folder)
    precision = best_precision(settings.precision, world.device)
    facts = {"seed": seed, "precision": precision}
    begin(folder, world, network, (training, validation), hashes, recipe, facts, resume=resume, overwrite=overwrite)
    board = open_board(folder) if tensorboard and world.main else None
    journal = Journal(folder, world.main, progress, board)
    keeper = Keeper(folder, world, every)
    session = Session(world, keeper, journal, seed, workers)
    journal.restore((keeper.load() if resume else None) or [])
    with session.stop.watching(), _random_state(world.device, deterministic):
        outcome = _phases(Run(network, training, validation, settings, session, precision, groups))
    journal.time(phase="checkpoints", written=keeper.written, seconds=round(keeper.spent, 3))
    return outcome


def _for_data(settings: Settings, training: Dataset) -> Settings:
    """Whether there are few pictures, decided once: `search` becomes always or never."""
    few = settings.search == "always" or (settings.search == "few" and len(training) <= settings.few)
    return replace(settings, search="always" if few and settings.head == "probe" else "never")


def _preparation(preparation: Preparation, settings: Settings) -> Preparation:
    if settings.fit != "own":
        preparation = replace(preparation, mode=settings.fit)
    half = (0.5, 0.5, 0.5)
    return replace(preparation, mean=half, std=half) if settings.values == "half" else preparation


def _check(network: Network, training: Dataset, validation: Dataset, settings: Settings, world: World) -> None:
    """Everything that can be known to be wrong before any work."""
    classes = len(training.classes)
    if len(training) < classes:
        raise DataError(
            f"{len(training)} pictures to train on are fewer than the {classes} classes; each class needs at least "
            "one: add pictures or take classes out"
        )
    counts = np.bincount(training.labels, minlength=classes)
    if (counts == 0).any():
        raise DataError(f"class {training.classes[int(np.argmin(counts))]!r} has no picture to train on; add some")
    if not len(validation):
        raise DataError("there are no pictures set aside to score on; mark some as val, or leave the split to regard")
    if network.outputs != classes:
        raise NetworkError(
            f"{network.name} has {network.outputs} outputs for {classes} classes; load it with the classes"
        )
    check_processes(world, settings.batch_size, len(training))
    with opened(network, settings.open_layers), dropping(network, settings):
        pass


@contextmanager
def _random_state(device: torch.device, deterministic: bool) -> Iterator[None]:
    """The process's random state and switches, as they were; inside, on request, only deterministic algorithms."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, before its first use
                torch.backends.cudnn.benchmark = False
                torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.backends.cudnn.benchmark = before[1]


def _phases(the: Run) -> Outcome:
    """One after the other; a finished phase is taken from the checkpoint."""
    keeper, network, settings = the.session.keeper, the.network, the.settings
    facts: dict[str, Any] = {"precision": the.precision}
    if settings.head == "probe":
        facts["probe_strength"] = fit_head(the)
    start = copied(network.module.state_dict())
    if settings.search == "always":
        chosen = cross_validate(the, start)
        facts["chosen"] = chosen
        settings = replace(settings, **chosen["settings"])
    if "train" not in keeper.done:
        with opened(network, settings.open_layers):
            at = train_part(the, "train", settings, range(len(the.training)), the.validation)
            tuned = copied(learning(network.module))
        result = {"epochs": at.epoch, "best": at.best, "best_epoch": at.best_epoch}
        keeper.finish("train", result, {f"result/{name}": value for name, value in tuned.items()})
        keeper.save(the.session.journal.rows)
    tuned = {name.removeprefix("result/"): value for name, value in keeper.kept.items() if name.startswith("result/")}
    put(network.module, mixed(start, tuned, settings.mix))
    facts |= {"mix": settings.mix, **keeper.done["train"]}
    return _outcome(the, settings, facts)


def _outcome(the: Run, settings: Settings, facts: dict[str, Any]) -> Outcome:
    journal = the.session.journal
    selected = settings.keep == "best" or settings.patience > 0
    if settings.mix == 0 and settings.search == "always":
        journal.say("the probe was the best in cross-validation: the tuned weights are not used")
    logits = compute_logits(the, the.validation)
    row = {"phase": "result", **score(logits, the.validation.labels)}
    if journal.rows[-1].get("phase") != "result":
        journal.row(**row)
    return Outcome(logits, tuple(journal.rows), tuple(journal.messages), facts, selected, the.session.world.main)
