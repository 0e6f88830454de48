"""A network trained on labelled pictures, phase by phase: each phase resumes, and the next builds on its result.

    head            a probe on frozen features (its features are kept in the checkpoint as they are computed)
    search FOLD/N   with few pictures: each candidate trained on all folds but one, scored on that one, at several mixes
    train           all open layers, on the whole training part
    mix             WiSE-FT: a step back towards the starting point, where the search or the recipe says so

Nothing here looks at the pictures set aside but to write how well they do, unless the recipe keeps the best epoch or
stops early; then the result says that it was selected on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Dataset
from regard.errors import DataError, NetworkError
from regard.networks.network import Network
from regard.training.loader import check_processes
from regard.training.optimise import (
    best_precision,
    copied,
    dropping,
    learning,
    mixed,
    opened,
    put,
)
from regard.training.phases import Array, Run, compute_logits, fit_head, prepared, score, train_part
from regard.training.processes import World, join
from regard.training.recipe import CaptionSettings, Recipe, Settings
from regard.training.running import How, running
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
    hashes: Mapping[str, str],
    recipe: Recipe,
    folder: Path | str,
    groups: Array | None = None,
    **how: Any,
) -> Outcome:
    """Train `network`, in place, as `recipe.settings` say; the run's folder holds all that is needed to `resume`.

    `hashes` are the pictures' SHA-256 by name; `groups` (training pictures,) keep equal values in one fold; `how` are
    fields of `running.How`. The folder is left without its network: `save_network`,
    then `folder.finish`, make it a finished run. Raises `DataError`, `NetworkError`, `OutputError`, `UsageError`, each
    in one line, and `InterruptedTrainingError` after Ctrl-C; whatever happened, the last checkpoint stays.
    """
    if recipe.settings is None or isinstance(recipe.settings, CaptionSettings):
        raise DataError(f"the recipe {recipe.name!r} does not train a classifier; give finetune or dlcv")
    settings = _for_data(recipe.settings, training)
    world = join(network.device)
    network.module.to(world.device)
    network.preparation = prepared(network.preparation, settings)
    _check(network, training, validation, settings, world)
    precision = best_precision(settings.precision, world.device)
    facts = {"precision": precision}
    parts = training, validation
    with running(network, parts, hashes, recipe, Path(folder), world, facts, How(**how)) as session:
        return _phases(Run(network, training, validation, settings, session, precision, groups))


def _for_data(settings: Settings, training: Dataset) -> Settings:
    """Whether there are few pictures, decided once: `search` becomes always or never."""
    few = settings.search == "always" or (settings.search == "few" and len(training) <= settings.few)
    return replace(settings, search="always" if few and settings.head == "probe" else "never")


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
