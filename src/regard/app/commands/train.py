"""`regard train`: a folder of pictures → a run folder: network, split, recipe, metrics, score and report."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from regard.app.commands.evaluate import evaluation_of, predictions_of, write_evaluation
from regard.app.console import phases, progress
from regard.app.report import page
from regard.app.train_captions import CaptionRun, train_captions
from regard.app.train_captions import as_json as captions_json
from regard.app.train_captions import as_text as captions_text
from regard.app.training import TASKS, Notes, Page, check_task, hashed, lines, named_pairs, said, shareable
from regard.data.dataset import Dataset, skipper
from regard.data.hashes import (
    with_two_labels,
)
from regard.data.layouts import read_labelled
from regard.data.splits import split_rows, split_text, training_parts
from regard.errors import UsageError
from regard.files import check_free, new_folder, write_file, write_json
from regard.measurement.classification.evaluation import as_json as scores_json
from regard.measurement.classification.evaluation import evaluate as measure
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.networks.run import save_network
from regard.records import Evaluation
from regard.rendering.pages.report import Report
from regard.training.features import FeatureStore, cache_folder, extract, network_key
from regard.training.folder import check_folder
from regard.training.folder import finish as finish_folder
from regard.training.probe import Probe, fit_probe
from regard.training.recipe import CaptionSettings, Recipe, read_recipe
from regard.training.tasks import classification as finetune

log = logging.getLogger("regard")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its score on the pictures set aside, and what there was to say."""

    out: Path
    evaluation: Evaluation
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """The two sides of a split, and the SHA-256 of every picture by path."""

    training: Dataset
    validation: Dataset
    hashes: Mapping[str, str]


def train(
    data: str | Path,
    out: str | Path,
    recipe: str | Path = "finetune",
    model: str | Path = "pets-tiny",
    weights: str | Path | None = None,
    label: str = "label",
    split: str | None = None,
    group: str | None = None,
    slices: Sequence[str] | None = None,
    size: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    resume: bool = False,
    deterministic: bool = False,
    tensorboard: bool = False,
    no_pictures: bool = False,
    anonymise: bool = False,
    overwrite: bool = False,
    task: str | None = None,
    **settings: Any,
) -> "Run | CaptionRun":
    """Train a classifier, or with `task` "caption" a captioner, and score it on the pictures set aside.

    `recipe` is a name of `RECIPES` or a run's `recipe.json`; any of its `settings` (`recipe.Settings` explains each)
    can be given by name. `split` trains on that split alone; without a split of the user's own, a fifth of the
    pictures is set aside, stratified, from the seed. With `resume` an unfinished training in `out` goes on, to the
    same bytes as if it had never stopped. Raises `DataError`, `NetworkError`, `OutputError` or `UsageError`, each in
    one line.
    """
    given = {name: value for name, value in locals().items() if name in KEPT}
    overrides = {"batch_size": batch_size, "precision": precision, **settings}
    chosen = _chosen(_for_task(recipe, task), given, overrides)
    wanted, notes = Page(Path(out).name, no_pictures, anonymise), Notes()
    if isinstance(chosen.settings, CaptionSettings):
        how = {"resume": resume, "overwrite": overwrite, "deterministic": deterministic, "tensorboard": tensorboard}
        return train_captions(
            data, Path(out), chosen, notes, wanted, device=device, skip_bad=skip_bad, workers=workers, **how
        )
    if chosen.settings is None:
        check_free(out, overwrite)
        if resume:
            raise UsageError(f"the recipe {chosen.name!r} keeps its features and starts anew; leave --resume out")
    elif check_folder(out, resume=resume, overwrite=overwrite) == "finished" and resume:
        log.info(f"{out} is finished already; nothing to do")
        return Run(Path(out), evaluation_of(out))
    with notes.phase("reading"):
        parts = _parts(data, chosen.arguments, notes, skip_bad)
    model_of = {name: chosen.arguments[name] for name in ("model", "weights", "size", "seed")}
    network = load(
        classes=parts.training.classes, device=device, precision=_probe_precision(chosen, precision), **model_of
    )
    if chosen.settings is None:
        return _probe(network, parts, chosen, Path(out), notes, wanted, overwrite, batch_size or 16, workers, skip_bad)
    how = {"resume": resume, "deterministic": deterministic, "tensorboard": tensorboard}
    return _finetune(network, parts, chosen, Path(out), notes, wanted, overwrite=overwrite, workers=workers, **how)


def _for_task(recipe: str | Path, task: str | None) -> str | Path:
    """The recipe that a task takes: its own, where none was chosen. Raises `UsageError` where they do not agree."""
    if check_task(task) is None:
        return recipe
    if task == "caption" and recipe == "finetune":
        return "caption"
    captions = isinstance(read_recipe(recipe).settings, CaptionSettings)
    if captions != (task == "caption"):
        raise UsageError(f"the recipe {recipe} is for {TASKS[captions]}, not for --task {task}; leave one of them out")
    return recipe


KEPT = ("model", "weights", "label", "split", "group", "slices", "size", "seed")
"""The arguments that decide a run's result beside its settings, and are saved with it."""


def _chosen(recipe: str | Path, given: Mapping[str, Any], overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with this command's arguments; those of a stored recipe hold where the command says nothing else."""
    stored = read_recipe(recipe)
    standard = inspect.signature(train).parameters
    told = {name: given[name] for name in KEPT if name not in stored.arguments or given[name] != standard[name].default}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}
    chosen = replace(stored, arguments={**stored.arguments, **plain})
    if chosen.settings is None:  # batch size and precision are the probe's too
        overrides = {name: value for name, value in overrides.items() if name not in ("batch_size", "precision")}
    return chosen.changed(overrides)


def _probe_precision(recipe: Recipe, precision: str | None) -> str:
    """What features are computed in; a training sets its own."""
    return precision or "float32" if recipe.settings is None else "float32"


def _parts(data: str | Path, arguments: Mapping[str, Any], notes: Notes, skip_bad: bool) -> Parts:
    """Read, hash and split; duplicates stay on one side where regard splits, and are named where the user did."""
    dataset = read_labelled(data, arguments["label"])
    if arguments["split"] is not None:
        dataset = dataset.part(arguments["split"]).unsplit()
    found = hashed(dataset, notes, skip_bad)
    if doubtful := with_two_labels(found.dataset, found.pairs):
        notes.warn(named_pairs(found.dataset, doubtful, "with two different labels"))
    seed, group = arguments["seed"], arguments["group"]
    training, validation = training_parts(found.dataset, seed=seed, group=group, twins=found.twins)
    log.info(f"{len(training)} pictures of {len(training.classes)} classes to train on, {len(validation)} set aside")
    return Parts(training, validation, found.hashes)


# The probe: quick, so the whole run appears at once or not at all.


def _probe(
    network: Network,
    parts: Parts,
    recipe: Recipe,
    out: Path,
    notes: Notes,
    wanted: Page,
    overwrite: bool,
    batch_size: int,
    workers: int,
    skip_bad: bool,
) -> Run:
    parts, probe, logits = _fit(network, parts, recipe, notes, batch_size, workers, skip_bad)
    with notes.phase("scoring"):
        evaluation = _score(network, parts.validation, logits, recipe)
    scores = {name: score.as_json() for name, score in evaluation.scores.items()}
    notes.metrics.append({"phase": "validate", "n": evaluation.n, **scores})
    facts = {"Strength": f"{probe.strength:.3g}, chosen by cross-validation inside the training part"}
    with notes.phase("report"), new_folder(out, overwrite) as folder:
        html = _page(network, parts, recipe, evaluation, notes.messages, facts, wanted, notes.metrics)
        write_file(folder / "report.html", html)
        write_json(folder / "recipe.json", recipe.as_json())
        rows = split_rows([parts.training, parts.validation], parts.hashes, recipe.arguments["group"])
        write_file(folder / "split.csv", split_text(rows))
        write_file(folder / "metrics.jsonl", lines(notes.metrics))
        write_file(folder / "timing.jsonl", lines(notes.times))
        write_evaluation(folder / "evaluation", evaluation, recipe.arguments["seed"])
        save_network(network, folder)
    return Run(out, evaluation, tuple(notes.messages))


def _fit(
    network: Network,
    parts: Parts,
    recipe: Recipe,
    notes: Notes,
    batch_size: int,
    workers: int,
    skip_bad: bool,
) -> tuple[Parts, Probe, NDArray[np.float32]]:
    """Features of both parts, a probe on the one, its logits on the other; the network gets the probe as its head."""
    both = [*parts.training.pictures, *parts.validation.pictures]
    hashes = [parts.hashes[picture.name] for picture in both]
    store = FeatureStore(cache_folder() / "features" / f"{network_key(network)}.sqlite")
    how = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad)}
    with notes.phase("features"), progress("computing features", len(both)) as advance:
        features, kept = extract(network, both, hashes, store, advance=advance, **how)  # type: ignore[arg-type]
    if store.broken:
        notes.warn(f"features could not be kept in {store.path.name} ({store.broken}); they were computed anew")
    count = len(parts.training)
    first, second = kept[kept < count], kept[kept >= count] - count
    parts = Parts(parts.training.select(first), parts.validation.select(second), parts.hashes)
    training, groups = parts.training, _groups(parts.training, recipe)
    with notes.phase("fit"):
        probe = fit_probe(
            features[: len(first)], training.labels, training.classes, groups, seed=recipe.arguments["seed"]
        )
    notes.metrics += [{"phase": "cross-validation", **vars(trial)} for trial in probe.trials]
    network.replace_head(torch.from_numpy(probe.weight), torch.from_numpy(probe.bias), training.classes)
    return parts, probe, probe.logits(features[len(first) :])


def _groups(part: Dataset, recipe: Recipe) -> NDArray[np.str_] | None:
    name = recipe.arguments["group"]
    return None if name is None else part.column(name)


# A training of the network itself: long, so the folder is there from the start and can be gone on with.


def _finetune(
    network: Network,
    parts: Parts,
    recipe: Recipe,
    out: Path,
    notes: Notes,
    wanted: Page,
    **how: Any,
) -> Run:
    with phases() as show:
        outcome = finetune.run(
            network,
            parts.training,
            parts.validation,
            parts.hashes,
            recipe,
            out,
            seed=recipe.arguments["seed"],
            groups=_groups(parts.training, recipe),
            progress=show,
            **how,
        )
    for message in outcome.messages:
        notes.warn(message)
    note = "selected on" if outcome.selected else ""
    evaluation = _score(network, parts.validation, outcome.logits, recipe, note)
    if outcome.main:
        facts = {name.replace("_", " ").capitalize(): said(value) for name, value in outcome.facts.items()}
        write_evaluation(out / "evaluation", evaluation, recipe.arguments["seed"])
        html = _page(network, parts, recipe, evaluation, notes.messages, facts, wanted, outcome.metrics)
        write_file(out / "report.html", html)
        save_network(network, out)
        finish_folder(out)
    return Run(out, evaluation, tuple(notes.messages))


def _score(
    network: Network, validation: Dataset, logits: NDArray[np.float32], recipe: Recipe, note: str = ""
) -> Evaluation:
    group, slices = recipe.arguments["group"], recipe.arguments["slices"] or ()
    predictions = predictions_of(validation, softmax(logits, axis=1).astype(np.float32), group, slices)
    origin = provenance(network, recipe=recipe.name)
    return measure(predictions, note=note, seed=recipe.arguments["seed"], provenance=origin)


def _page(
    network: Network,
    parts: Parts,
    recipe: Recipe,
    evaluation: Evaluation,
    messages: Sequence[str],
    facts: Mapping[str, str],
    wanted: Page,
    history: Sequence[Mapping[str, Any]] = (),
) -> str:
    set_aside = "set aside, used for nothing else" if not evaluation.note else "set aside, and selected on"
    content = Report(
        wanted.title,
        evaluation,
        facts={
            "Network": network.name,
            "Recipe": recipe.name,
            "Trained on": f"{len(parts.training)} pictures of {len(parts.training.classes)} classes",
            "Scored on": f"{len(parts.validation)} pictures {set_aside}",
            **facts,
        },
        messages=[*network.messages, *messages],
        recipe=shareable(recipe),
        history=history,
        provenance=evaluation.provenance,
        show_pictures=not wanted.no_pictures,
        anonymise=wanted.anonymise,
    )
    return page(content, parts.validation, network)


def as_json(run: Run | CaptionRun) -> dict[str, Any]:
    if isinstance(run, CaptionRun):
        return captions_json(run)
    return {"out": str(run.out), "report": str(run.out / "report.html"), **scores_json(run.evaluation)}


def as_text(run: Run | CaptionRun) -> str:
    if isinstance(run, CaptionRun):
        return captions_text(run)
    top1, n = run.evaluation.scores["top1"], run.evaluation.n
    note = f", {run.evaluation.note}" if run.evaluation.note else ""
    return (
        f"right on {top1.value:.1%} of {n} picture{'' if n == 1 else 's'} set aside{note} "
        f"(95 % interval {top1.low:.1%} to {top1.high:.1%})\nreport: {run.out / 'report.html'}"
    )
