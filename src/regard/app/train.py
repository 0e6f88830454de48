"""`regard train`: a folder of pictures → a run folder: network, split, recipe, metrics, score and report."""

import inspect
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from regard.app.common import open_network, provenance, read_labelled, skipper
from regard.app.console import log, progress
from regard.app.evaluate import predictions_of, write_evaluation
from regard.app.report import Example, page
from regard.data.dataset import Dataset
from regard.data.hashes import across_splits, duplicates, file_hashes, fingerprints, with_two_labels
from regard.data.splits import split_rows, split_text, training_parts
from regard.files import check_free, new_folder, write_file, write_json
from regard.measurement.classify import as_json as scores_json
from regard.measurement.classify import evaluate as measure
from regard.networks.network import Network
from regard.networks.run import save_network
from regard.records import Evaluation
from regard.training.features import FeatureStore, cache_folder, extract, network_key
from regard.training.probe import Probe, fit_probe
from regard.training.recipe import Recipe, read_recipe


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its score on the pictures set aside, and what there was to say."""

    out: Path
    evaluation: Evaluation
    messages: tuple[str, ...] = ()


@dataclass
class Journal:
    """What a run notes as it goes: `metrics` (no times in them: equal runs have equal metrics) and `times`."""

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


def train(
    data: str | Path,
    out: str | Path,
    recipe: str | Path = "probe",
    model: str | Path = "vit_tiny_patch16_224",
    weights: str | Path | None = None,
    label: str = "label",
    split: str | None = None,
    group: str | None = None,
    slices: Sequence[str] | None = None,
    size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 32,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    no_pictures: bool = False,
    anonymise: bool = False,
    overwrite: bool = False,
) -> Run:
    """Train a classifier and score it on the pictures set aside.

    The recipe `probe` freezes the network and fits a new head. `split` trains on that split alone; without one of the
    user's own, a fifth of the pictures is set aside, stratified, from the seed. The run folder appears whole or not
    at all. Raises `DataError`, `NetworkError`, `OutputError` or `UsageError`, each in one line.
    """
    given = {**locals()}
    check_free(out, overwrite)
    chosen = _chosen(recipe, given)
    journal = Journal()
    with journal.phase("reading"):
        parts = _parts(data, chosen.arguments, journal)
    network = open_network(classes=parts.training.classes, device=device, **_of(chosen, *NETWORK))
    parts, probe, logits = _fit(network, parts, chosen, batch_size, workers, skip_bad, journal)
    with journal.phase("scoring"):
        evaluation = _score(network, parts.validation, logits, chosen)
    scores = {name: score.as_json() for name, score in evaluation.scores.items()}
    journal.metrics.append({"phase": "validate", "n": evaluation.n, **scores})
    with journal.phase("report"), new_folder(out, overwrite) as folder:
        html = _page(Path(out).name, network, parts, probe, evaluation, chosen, journal, no_pictures, anonymise)
        _write(folder, network, parts, evaluation, chosen, journal, html)
    return Run(Path(out), evaluation, tuple(journal.messages))


NETWORK = ("model", "weights", "size", "precision", "seed")
KEPT = (*NETWORK, "label", "split", "group", "slices", "batch_size")
"""The arguments that decide a run's result, and are saved with it."""


def _chosen(recipe: str | Path, given: Mapping[str, Any]) -> Recipe:
    """The recipe with this command's arguments; those of a stored recipe hold where the command says nothing else."""
    stored = read_recipe(recipe)
    standard = {name: parameter.default for name, parameter in _parameters().items()}
    told = {name: given[name] for name in KEPT if name not in stored.arguments or given[name] != standard[name]}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}
    return Recipe(stored.name, {**stored.arguments, **plain})


def _parameters() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(train).parameters


def _of(recipe: Recipe, *names: str) -> dict[str, Any]:
    return {name: recipe.arguments[name] for name in names}


def _parts(data: str | Path, arguments: Mapping[str, Any], journal: Journal) -> Parts:
    """Read, hash and split; duplicates stay on one side where regard splits, and are named where the user did."""
    dataset = read_labelled(data, arguments["label"])
    if arguments["split"] is not None:
        dataset = dataset.part(arguments["split"]).unsplit()
    hashes = file_hashes(dataset.paths)
    pairs = duplicates(dataset, hashes, fingerprints(dataset.paths))
    twins = [(pair.first, pair.second) for pair in pairs]
    training, validation = training_parts(dataset, seed=arguments["seed"], group=arguments["group"], twins=twins)
    if doubtful := with_two_labels(dataset, pairs):
        journal.warn(_pairs(dataset, doubtful, "with two different labels"))
    if leaking := across_splits(dataset, pairs):
        journal.warn(_pairs(dataset, leaking, "on both sides of the split: the score looks better than it is"))
    log.info(f"{len(training)} pictures of {len(training.classes)} classes to train on, {len(validation)} set aside")
    return Parts(training, validation, hashes)


def _pairs(dataset: Dataset, pairs: Sequence[Any], what: str) -> str:
    first = pairs[0]
    names = f"{dataset.names[first.first]} and {dataset.names[first.second]}"
    more = f", and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
    return f"the same picture {what}: {names}{more}"


def _fit(
    network: Network,
    parts: Parts,
    recipe: Recipe,
    batch_size: int,
    workers: int,
    skip_bad: bool,
    journal: Journal,
) -> tuple[Parts, Probe, np.ndarray]:
    """Features of both parts, a probe on the one, its logits on the other; the network gets the probe as its head."""
    both = [*parts.training.paths, *parts.validation.paths]
    hashes = [parts.hashes[path] for path in both]
    store = FeatureStore(cache_folder() / "features" / f"{network_key(network)}.sqlite")
    with journal.phase("features"), progress("computing features", len(both)) as advance:
        features, kept = extract(
            network,
            both,
            hashes,
            store,
            batch_size=batch_size,
            workers=workers,
            advance=advance,
            on_bad=skipper(skip_bad),
        )
    if store.broken:
        journal.warn(f"features could not be kept in {store.path.name} ({store.broken}); they were computed anew")
    count = len(parts.training)
    first, second = kept[kept < count], kept[kept >= count] - count
    parts = Parts(parts.training.select(first), parts.validation.select(second), parts.hashes)
    with journal.phase("fit"):
        probe = fit_probe(
            features[: len(first)],
            parts.training.labels,
            parts.training.classes,
            _column(parts.training, recipe.arguments["group"]),
            seed=recipe.arguments["seed"],
        )
    journal.metrics += [{"phase": "cross-validation", **vars(trial)} for trial in probe.trials]
    network.replace_head(torch.from_numpy(probe.weight), torch.from_numpy(probe.bias), parts.training.classes)
    return parts, probe, probe.logits(features[len(first) :])


def _column(dataset: Dataset, name: str | None) -> Any:
    return None if name is None else dataset.column(name)


def _score(network: Network, validation: Dataset, logits: np.ndarray, recipe: Recipe) -> Evaluation:
    group, slices = recipe.arguments["group"], recipe.arguments["slices"] or ()
    predictions = predictions_of(validation, softmax(logits, axis=1).astype(np.float32), group, slices)
    return measure(predictions, seed=recipe.arguments["seed"], provenance=provenance(network, recipe=recipe.name))


def _page(
    title: str,
    network: Network,
    parts: Parts,
    probe: Probe,
    evaluation: Evaluation,
    recipe: Recipe,
    journal: Journal,
    no_pictures: bool,
    anonymise: bool,
    examples: Sequence[Example] = (),
) -> str:
    facts = {
        "Network": network.name,
        "Recipe": f"{recipe.name} (strength {probe.strength:.3g}, chosen by cross-validation inside the training part)",
        "Trained on": f"{len(parts.training)} pictures of {len(parts.training.classes)} classes",
        "Scored on": f"{len(parts.validation)} pictures set aside, used for nothing else",
    }
    return page(
        title,
        evaluation,
        parts.validation,
        network,
        facts=facts,
        messages=[*network.messages, *journal.messages],
        recipe=shareable(recipe),
        provenance=evaluation.provenance,
        examples=examples,
        no_pictures=no_pictures,
        anonymise=anonymise,
    )


def shareable(recipe: Recipe) -> dict[str, Any]:
    """The recipe's settings without the folders of this machine."""
    return {
        "recipe": recipe.name,
        **{
            name: Path(value).name if name in ("model", "weights") and value else value
            for name, value in recipe.arguments.items()
            if value is not None
        },
    }


def _write(
    folder: Path,
    network: Network,
    parts: Parts,
    evaluation: Evaluation,
    recipe: Recipe,
    journal: Journal,
    html: str,
) -> None:
    """The run folder; the network, and with it `model.json`, is written last."""
    write_json(folder / "recipe.json", recipe.as_json())
    rows = split_rows([parts.training, parts.validation], parts.hashes, recipe.arguments["group"])
    write_file(folder / "split.csv", split_text(rows))
    write_file(folder / "metrics.jsonl", _lines(journal.metrics))
    write_file(folder / "timing.jsonl", _lines(journal.times))
    write_evaluation(folder / "evaluation", evaluation)
    write_file(folder / "report.html", html)
    save_network(network, folder)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def as_json(run: Run) -> dict[str, Any]:
    return {"out": str(run.out), "report": str(run.out / "report.html"), **scores_json(run.evaluation)}


def as_text(run: Run) -> str:
    top1 = run.evaluation.scores["top1"]
    return (
        f"right on {top1.value:.1%} of {several_pictures(run.evaluation.n)} set aside "
        f"(95 % interval {top1.low:.1%} to {top1.high:.1%})\nreport: {run.out / 'report.html'}"
    )


def several_pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"
