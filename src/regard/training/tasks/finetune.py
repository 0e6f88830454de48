"""A network trained on labelled pictures, phase by phase: each phase resumes, and the next builds on its result.

    head            a probe on frozen features (its features are kept in the checkpoint as they are computed)
    views           with few pictures: what the frozen blocks give of each, kept as it is computed
    search FOLD/N   with few pictures: each candidate trained on all folds but one, scored on that one, at several mixes
    train           all open layers, on the whole training part
    mix             WiSE-FT: a step back towards the starting point, where the search or the recipe says so

Nothing here looks at the pictures set aside but to write how well they do, unless the recipe keeps the best epoch or
stops early; then the result says that it was selected on them. Where none are set aside, the score is what the search
found out on each fold left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.dataset import Dataset
from regard.errors import DataError, NetworkError, UsageError
from regard.networks.network import Network
from regard.networks.precision import best_precision
from regard.training.checkpoint import tensors_under
from regard.training.layers.lora import adapter_of, base_of, learning, mixed, trained_share
from regard.training.layers.recompute import recomputed
from regard.training.loader import check_processes
from regard.training.loop import check_choice
from regard.training.optimise import (
    dropout,
    load_values,
    on_cpu,
)
from regard.training.processes import World, join
from regard.training.recipe import Recipe
from regard.training.session import Options, training_session
from regard.training.tasks.base import CrossValidation, Outcome
from regard.training.tasks.phases import Array, Finetuning, OneLabel, Targets, compute_logits, fit_head, train_part
from regard.training.tasks.plan import schedule_of, views_of
from regard.training.tasks.search import cross_validate
from regard.training.tasks.table import ClassifierSettings
from regard.training.tasks.views import compute_views


def run(
    network: Network,
    training: Dataset,
    validation: Dataset,
    hashes: Mapping[str, str],
    recipe: Recipe,
    folder: Path | str,
    groups: Array | None = None,
    targets: Targets | None = None,
    **options: Any,
) -> Outcome:
    """Train `network`, in place, as `recipe.settings` say; the run's folder holds all that is needed to `resume`.

    `hashes` are the pictures' SHA-256 by name; `groups` (training pictures,) keep equal values in one fold; `targets`
    are by default one class for each picture; `validation` may be empty: then the search's folds give the score, where
    there is a search; `options` are fields of `session.Options`. The folder is left without its network:
    `save_network`, then `folder.finish`, make it a finished run. Raises `DataError`, `NetworkError`, `OutputError`,
    `UsageError`, each in one line, and `InterruptedTrainingError` after Ctrl-C; whatever happened, the last checkpoint
    stays.
    """
    if not isinstance(recipe.settings, ClassifierSettings):
        raise DataError(f"the recipe {recipe.name!r} does not train a classifier; give finetune or dlcv")
    settings = recipe.settings
    search = "always" if searches(settings, len(training)) else "never"  # decided once, so that a resume does the same
    if search == "always" and options.get("shard_weights"):
        raise UsageError(
            f"{len(training)} pictures are few, so the last blocks are trained many times to choose among, which "
            "--shard-weights is not for; leave it out, or give --search never"
        )
    settings = replace(settings, search=search)
    world = join(network.device)
    network.module.to(world.device)
    network.preparation = settings.prepared(network.preparation)
    targets = targets or OneLabel()
    if targets.several:
        network.choose_labels()
    else:
        network.choose_one_class()
    targets.check(training)
    _check(network, training, validation, settings, world)
    precision = best_precision(settings.precision, world.device)
    facts = {"precision": precision}
    parts = training, validation
    with training_session(network, parts, hashes, recipe, Path(folder), world, facts, Options(**options)) as session:
        base = {} if settings.adapter == "none" else base_of(network, recipe.arguments)
        job = Finetuning(network, training, validation, settings, session, precision, groups, targets, base)
        return _phases(job)


def searches(settings: ClassifierSettings, pictures: int) -> bool:
    """Whether a training of so many pictures chooses layers, rate and mix by cross-validation."""
    few = settings.search == "always" or (settings.search == "few" and pictures <= settings.few)
    return few and settings.head == "probe"


def _check(
    network: Network, training: Dataset, validation: Dataset, settings: ClassifierSettings, world: World
) -> None:
    """Everything that can be known to be wrong before any work."""
    classes = len(training.classes)
    check_choice(settings, len(validation))
    if network.outputs != classes:
        raise NetworkError(
            f"{network.name} has {network.outputs} outputs for {classes} classes; load it with the classes"
        )
    check_processes(world, settings.batch_size, len(training))
    with learning(network, settings, 0), dropout(network, settings), recomputed(network, settings):
        pass


def _phases(job: Finetuning) -> Outcome:
    """One after the other; a finished phase is taken from the checkpoint."""
    checkpoints = job.session.checkpoints
    network = job.network
    settings = job.settings
    facts: dict[str, Any] = {"precision": job.precision}
    job.schedule = schedule_of(job)
    job.session.journal.place = job.schedule.placed
    if settings.head == "probe":
        facts["probe_strength"] = fit_head(job)
    start = on_cpu(network.module.state_dict())
    cross_validation = None
    if settings.search == "always":
        _compute_views(job)
        chosen, cross_validation = cross_validate(job, start)
        facts["chosen"] = chosen
        settings = replace(settings, **chosen["settings"])
    if "train" not in checkpoints.results:
        with learning(network, settings, job.session.seed) as learnt:
            everything = np.arange(len(job.training))
            position = train_part(job, "train", settings, everything, validates=len(job.validation) > 0)
            tuned = learnt()
        result = {"epochs": position.epoch, "best": position.best, "best_epoch": position.best_epoch}
        checkpoints.finish("train", result, {f"result/{name}": value for name, value in tuned.items()})
        checkpoints.save(job.session.journal.rows)
    tuned = tensors_under("result/", checkpoints.tensors)
    load_values(network.module, mixed(settings, start, tuned, settings.mix))
    if settings.adapter != "none":
        network.adapter = adapter_of(settings, start, tuned, settings.mix, job.base)
        facts["trained_weights"] = trained_share(network, tuned)
    facts |= {"mix": settings.mix, **checkpoints.results["train"]}
    return _outcome(job, settings, facts, cross_validation)


def _compute_views(job: Finetuning) -> None:
    plan = views_of(job)
    if plan is None or "train" in job.session.checkpoints.results:
        return
    how = (job.session, job.settings.augmentation, job.precision)
    job.views = compute_views(job.network, job.training, *how, plan)
    if len(job.validation):
        job.validation_views = compute_views(job.network, job.validation, *how, (plan[0], 0))


def _outcome(
    job: Finetuning, settings: ClassifierSettings, facts: dict[str, Any], cross_validation: CrossValidation | None
) -> Outcome:
    journal = job.session.journal
    selected = settings.keep == "best" or settings.patience > 0
    if settings.mix == 0 and settings.search == "always":
        journal.message("the probe was the best in cross-validation: the tuned weights are not used")
    main = job.session.world.main
    outcome = Outcome(tuple(journal.rows), tuple(journal.messages), facts, selected, main)
    if not len(job.validation):
        return replace(outcome, cross_validation=cross_validation)
    logits = compute_logits(job, job.validation)
    row = {"phase": "result", **job.targets.score(logits, job.validation)}
    if journal.rows[-1].get("phase") != "result":
        journal.row(**row)
    return replace(outcome, metrics=tuple(journal.rows), logits=logits)
