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
from torch import Tensor
from torch.nn import functional as F

from regard.data.dataset import Dataset
from regard.data.pixels import Preparation, batches
from regard.errors import DataError, NetworkError
from regard.networks.network import Network
from regard.training.checkpoint import Keeper
from regard.training.feed import Feed, check_processes
from regard.training.folder import begin
from regard.training.journal import Journal, Progress, open_board, silent
from regard.training.loop import Position, Session, Work, train
from regard.training.optimise import (
    Average,
    State,
    best_precision,
    blocks,
    copied,
    dropping,
    learning,
    mixed,
    opened,
    optimiser,
    put,
)
from regard.training.probe import fit_probe, folds_of, refit
from regard.training.processes import World, join
from regard.training.recipe import PRESETS, Recipe, Settings

Array = NDArray[Any]

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the tuned weights that the search tries; 0 is the probe itself."""

CANDIDATES: tuple[Mapping[str, Any], ...] = (
    {"open_layers": 2, "learning_rate": 3e-4},
    {"open_layers": 6, "learning_rate": 2e-4},
    {"open_layers": None, "learning_rate": 1e-4},
)
"""What the search chooses among. What the user set to something else than the recipe has stays as the user set it."""

FEW: Mapping[str, Any] = {"epochs": 12, "batch_size": 16, "drop_path": 0.1, "weight_decay": 0.1, "smoothing": 0.0}
"""Stronger regularisation where there are few pictures, in every candidate."""


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


@dataclass
class _Run:
    """What the phases of one run share."""

    network: Network
    training: Dataset
    validation: Dataset
    settings: Settings
    session: Session
    precision: str
    groups: Array | None


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
        outcome = _phases(_Run(network, training, validation, settings, session, precision, groups))
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


def _phases(the: _Run) -> Outcome:
    """One after the other; a finished phase is taken from the checkpoint."""
    keeper, network, settings = the.session.keeper, the.network, the.settings
    facts: dict[str, Any] = {"precision": the.precision}
    if settings.head == "probe":
        facts["probe_strength"] = _head(the)
    start = copied(network.module.state_dict())
    if settings.search == "always":
        chosen = _search(the, start)
        facts["chosen"] = chosen
        settings = replace(settings, **chosen["settings"])
    if "train" not in keeper.done:
        with opened(network, settings.open_layers):
            at = _train(the, "train", settings, range(len(the.training)), the.validation)
            tuned = copied(learning(network.module))
        result = {"epochs": at.epoch, "best": at.best, "best_epoch": at.best_epoch}
        keeper.finish("train", result, {f"result/{name}": value for name, value in tuned.items()})
        keeper.save(the.session.journal.rows)
    tuned = {name.removeprefix("result/"): value for name, value in keeper.kept.items() if name.startswith("result/")}
    put(network.module, mixed(start, tuned, settings.mix))
    facts |= {"mix": settings.mix, **keeper.done["train"]}
    return _outcome(the, settings, facts)


def _outcome(the: _Run, settings: Settings, facts: dict[str, Any]) -> Outcome:
    journal = the.session.journal
    selected = settings.keep == "best" or settings.patience > 0
    if settings.mix == 0 and settings.search == "always":
        journal.say("the probe was the best in cross-validation: the tuned weights are not used")
    logits = _logits(the, the.validation)
    row = {"phase": "result", **_scores(logits, the.validation.labels)}
    if journal.rows[-1].get("phase") != "result":
        journal.row(**row)
    return Outcome(logits, tuple(journal.rows), tuple(journal.messages), facts, selected, the.session.world.main)


# The head: a probe on frozen features.


def _head(the: _Run) -> float:
    """Fit the probe and put it in; returns its strength."""
    keeper, network = the.session.keeper, the.network
    if "head" not in keeper.done:
        features = _features(the)
        probe = the.session.world.shared(
            fit_probe(features.numpy(), the.training.labels, the.training.classes, the.groups, seed=the.session.seed)
            if the.session.world.main
            else None
        )
        if probe is None:
            raise NetworkError("the first process sent no probe")
        for trial in probe.trials:
            the.session.journal.row(phase="head", **vars(trial))
        tensors = {"weight": torch.from_numpy(probe.weight), "bias": torch.from_numpy(probe.bias)}
        if the.settings.search == "always":
            tensors["features"] = features
        keeper.finish("head", probe.strength, tensors)
    network.replace_head(keeper.kept["weight"], keeper.kept["bias"], the.training.classes)
    return float(keeper.done["head"])


def _features(the: _Run) -> Tensor:
    """(training pictures, width) on the CPU, in chunks of 16 batches, each of which a checkpoint may follow."""
    session, count = the.session, len(the.training)
    given = session.keeper.begin("features")
    parts = [] if given is None else [given[1]["features"]]
    done = sum(len(part) for part in parts)
    for start in range(done, count, 512):
        part = the.training.select(range(start, min(start + 512, count)))
        parts.append(_over(the, part, lambda pixels: the.network.features(pixels)[0]))
        done = start + len(part)
        session.journal.progress(Progress("features", done, count))
        now = {"features": torch.cat(parts)}
        _rest(session, "features", lambda now=now: ({}, now), now["features"].nbytes)  # type: ignore[misc]
    return torch.cat(parts)


def _rest(session: Session, phase: str, state: Callable[[], tuple[dict[str, Any], State]], size: int) -> None:
    """Between two pieces of work: a checkpoint if one is due, or wanted because of Ctrl-C."""
    if session.world.shared(session.stop.asked):
        session.keeper.save(session.journal.rows, phase, *state())
        raise session.interrupt(phase)
    session.keeper.maybe(session.journal.rows, phase, state, size)


def _over(the: _Run, part: Dataset, compute: Callable[[Tensor], Tensor], batch_size: int = 32) -> Tensor:
    """(pictures, d) float32 on the CPU: `compute` over prepared pictures, shared out over processes, in order."""
    world, preparation = the.session.world, the.network.preparation
    own = np.arange(len(part))[world.rank * batch_size :]
    own = own[own // batch_size % world.size == world.rank]
    results: list[Tensor] = []
    for batch in batches(part.select(own).paths, preparation, batch_size, the.session.workers):
        results.append(compute(preparation.normalise(batch.pixels.to(world.device))).float().cpu())
    found = torch.zeros(len(part), world.most(results[0].shape[1] if results else 0))
    if results:
        found[torch.from_numpy(own)] = torch.cat(results)
    return world.total(found.to(world.device)).cpu()


def _logits(the: _Run, part: Dataset) -> NDArray[np.float32]:
    return _over(the, part, the.network.logits).numpy()


def _scores(logits: Array, labels: Array) -> dict[str, float]:
    """Mean log-loss and accuracy, as the lines of metrics have them."""
    loss = float(F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels)))
    return {"validation_loss": loss, "validation_top1": float((logits.argmax(1) == labels).mean())}


# The search: cross-validation inside the training part.


def _search(the: _Run, start: State) -> dict[str, Any]:
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


def _trial(the: _Run, name: str, start: State, settings: Settings, fitted: Array, left_out: Array) -> dict[str, Any]:
    """One candidate on one fold: summed log-loss and right answers on the pictures left out, for each mix."""
    keeper, labels = the.session.keeper, the.training.labels
    features, strength = keeper.kept["features"].numpy(), float(keeper.done["head"])
    weight, bias = refit(features[fitted], labels[fitted], strength, len(the.training.classes))
    put(the.network.module, start)
    head = the.session.world.shared((torch.from_numpy(weight), torch.from_numpy(bias)))
    the.network.replace_head(*head, the.training.classes)
    begun = copied(the.network.module.state_dict())
    with opened(the.network, settings.open_layers):
        _train(the, name, settings, fitted, None)
        tuned = copied(learning(the.network.module))
    held, result = the.training.select(left_out), {}
    for mix in _mixes(the.settings):
        put(the.network.module, mixed(begun, tuned, mix))
        logits = _logits(the, held)
        scores = _scores(logits, held.labels)
        right = int((logits.argmax(1) == held.labels).sum())
        result[f"{mix:g}"] = {"loss": scores["validation_loss"] * len(held), "right": right}
    return {"pictures": len(held), "mixes": result}


def _choose(the: _Run, candidates: list[dict[str, Any]], folds: int) -> dict[str, Any]:
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


# One training.


def _train(the: _Run, name: str, settings: Settings, indices: Any, validation: Dataset | None) -> Position:
    """The loop on some of the training pictures; the network is left with the weights that the settings keep."""
    part = the.training.select(int(index) for index in indices)
    feed = Feed(
        part.paths,
        part.labels,
        the.network.preparation,
        settings.augmentation,
        settings.batch_size,
        settings.accumulate,
        the.session.seed,
        the.session.workers,
        the.session.world,
    )
    module = the.network.module
    steps = settings.epochs * feed.per_epoch
    with dropping(the.network, settings):
        work = Work(
            name,
            module,
            feed,
            settings,
            optimiser(the.network, settings),
            Average(module, settings, steps),
            the.precision,
            _class_weights(settings, part),
            None if validation is None else lambda: _scores(_logits(the, validation), validation.labels),
        )
        at = train(work, the.session)
    put(module, work.best if settings.keep == "best" and work.best else work.average.values)
    return at


def _class_weights(settings: Settings, part: Dataset) -> Tensor | None:
    """(classes,), 1 on average over the pictures: rare classes count more."""
    if settings.class_weights == "none":
        return None
    counts = np.bincount(part.labels, minlength=len(part.classes))
    return torch.tensor(len(part) / (np.count_nonzero(counts) * np.maximum(counts, 1)), dtype=torch.float32)
