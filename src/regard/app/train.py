"""`regard train`: a folder of pictures → a run folder: network, split, recipe, metrics, score and report."""

import inspect
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from regard.app.common import open_network, provenance, read_labelled, skipper
from regard.app.console import log, phases, progress
from regard.app.evaluate import evaluation_of, predictions_of, write_evaluation
from regard.app.report import page
from regard.data.dataset import Dataset
from regard.data.hashes import (
    Duplicate,
    across_splits,
    duplicates,
    file_hashes,
    fingerprints,
    with_two_labels,
)
from regard.data.opening import open_picture
from regard.data.splits import split_rows, split_text, training_parts
from regard.errors import DataError, UsageError
from regard.files import check_free, new_folder, write_file, write_json
from regard.measurement.classify import as_json as scores_json
from regard.measurement.classify import evaluate as measure
from regard.networks.network import Network
from regard.networks.run import save_network
from regard.records import Evaluation
from regard.training import finetune
from regard.training.features import FeatureStore, cache_folder, extract, network_key
from regard.training.folder import check_folder
from regard.training.folder import finish as finish_folder
from regard.training.probe import Probe, fit_probe
from regard.training.recipe import Recipe, read_recipe


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its score on the pictures set aside, and what there was to say."""

    out: Path
    evaluation: Evaluation
    messages: tuple[str, ...] = ()


@dataclass
class Notes:
    """What is noted along the way: `metrics` (no times in them: equal runs have equal metrics), `times`, `messages`."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    times: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Say something that the report repeats."""
        log.warning(message)
        self.messages.append(message)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times.append({"phase": name, "seconds": round(time.perf_counter() - start, 3)})


@dataclass(frozen=True)
class Parts:
    """The two sides of a split, and the SHA-256 of every picture by path."""

    training: Dataset
    validation: Dataset
    hashes: Mapping[Path, str]


@dataclass(frozen=True)
class Page:
    """What the user wants of the report."""

    title: str
    no_pictures: bool
    anonymise: bool


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
    **settings: Any,
) -> Run:
    """Train a classifier and score it on the pictures set aside.

    `recipe` is a name of `RECIPES` or a run's `recipe.json`; any of its `settings` (`recipe.Settings` explains each)
    can be given by name. `split` trains on that split alone; without a split of the user's own, a fifth of the
    pictures is set aside, stratified, from the seed. With `resume` an unfinished training in `out` goes on, to the
    same bytes as if it had never stopped. Raises `DataError`, `NetworkError`, `OutputError` or `UsageError`, each in
    one line.
    """
    given = {name: value for name, value in locals().items() if name in KEPT}
    overrides = {"batch_size": batch_size, "precision": precision, **settings}
    chosen = _chosen(recipe, given, overrides)
    wanted = Page(Path(out).name, no_pictures, anonymise)
    if chosen.settings is None:
        check_free(out, overwrite)
        if resume:
            raise UsageError(f"the recipe {chosen.name!r} keeps its features and starts anew; leave --resume out")
    elif check_folder(out, resume=resume, overwrite=overwrite) == "finished" and resume:
        log.info(f"{out} is finished already; nothing to do")
        return Run(Path(out), evaluation_of(out))
    notes = Notes()
    with notes.phase("reading"):
        parts = _parts(data, chosen.arguments, notes, skip_bad)
    model_of = {name: chosen.arguments[name] for name in ("model", "weights", "size", "seed")}
    network = open_network(
        classes=parts.training.classes, device=device, precision=_probe_precision(chosen, precision), **model_of
    )
    if chosen.settings is None:
        return _probe(network, parts, chosen, Path(out), notes, wanted, overwrite, batch_size or 16, workers, skip_bad)
    how = {"resume": resume, "deterministic": deterministic, "tensorboard": tensorboard}
    return _finetune(network, parts, chosen, Path(out), notes, wanted, overwrite=overwrite, workers=workers, **how)


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
    looks = fingerprints(dataset.paths)
    if not looks.readable.all():
        _name_unreadable(dataset, looks.readable, skip_bad)
        dataset = dataset.select(np.flatnonzero(looks.readable).tolist())
        looks = looks.of_readable()
    hashes = file_hashes(dataset.paths)
    pairs = duplicates(dataset, hashes, looks)
    twins = [(pair.first, pair.second) for pair in pairs]
    training, validation = training_parts(dataset, seed=arguments["seed"], group=arguments["group"], twins=twins)
    if doubtful := with_two_labels(dataset, pairs):
        notes.warn(_pairs(dataset, doubtful, "with two different labels"))
    if leaking := across_splits(dataset, pairs):
        notes.warn(_pairs(dataset, leaking, "on both sides of the split: the score looks better than it is"))
    log.info(f"{len(training)} pictures of {len(training.classes)} classes to train on, {len(validation)} set aside")
    return Parts(training, validation, hashes)


def _name_unreadable(dataset: Dataset, readable: NDArray[np.bool_], skip_bad: bool) -> None:
    """Say what is wrong with each picture that cannot be read; raises the first `DataError` unless `skip_bad`."""
    on_bad = skipper(skip_bad)
    for index in np.flatnonzero(~readable):
        path = dataset.paths[index]
        try:
            open_picture(path)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(path, error)


def _pairs(dataset: Dataset, pairs: Sequence[Duplicate], what: str) -> str:
    first = pairs[0]
    names = f"{dataset.names[first.first]} and {dataset.names[first.second]}"
    more = f", and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
    return f"the same picture {what}: {names}{more}"


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
        write_file(folder / "metrics.jsonl", _lines(notes.metrics))
        write_file(folder / "timing.jsonl", _lines(notes.times))
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
    both = [*parts.training.paths, *parts.validation.paths]
    hashes = [parts.hashes[path] for path in both]
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
        facts = {name.replace("_", " ").capitalize(): _said(value) for name, value in outcome.facts.items()}
        write_evaluation(out / "evaluation", evaluation, recipe.arguments["seed"])
        html = _page(network, parts, recipe, evaluation, notes.messages, facts, wanted, outcome.metrics)
        write_file(out / "report.html", html)
        save_network(network, out)
        finish_folder(out)
    return Run(out, evaluation, tuple(notes.messages))


def _said(value: Any) -> str:
    """A fact of the training for the report."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_said(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    return page(
        wanted.title,
        evaluation,
        parts.validation,
        network,
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
        no_pictures=wanted.no_pictures,
        anonymise=wanted.anonymise,
    )


def shareable(recipe: Recipe) -> dict[str, Any]:
    """The recipe's arguments and settings without the folders of this machine."""
    arguments = {
        name: Path(value).name if name in ("model", "weights") else value
        for name, value in recipe.arguments.items()
        if value is not None
    }
    return {"recipe": recipe.name, **arguments, **({} if recipe.settings is None else recipe.settings.as_json())}


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def as_json(run: Run) -> dict[str, Any]:
    return {"out": str(run.out), "report": str(run.out / "report.html"), **scores_json(run.evaluation)}


def as_text(run: Run) -> str:
    top1, n = run.evaluation.scores["top1"], run.evaluation.n
    note = f", {run.evaluation.note}" if run.evaluation.note else ""
    return (
        f"right on {top1.value:.1%} of {n} picture{'' if n == 1 else 's'} set aside{note} "
        f"(95 % interval {top1.low:.1%} to {top1.high:.1%})\nreport: {run.out / 'report.html'}"
    )
