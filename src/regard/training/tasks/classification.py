"""The task `classify`: learn the label of each picture, by training the network or by a probe on its features."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from regard.data.dataset import Dataset, skipper
from regard.data.hashes import Duplicate, pairs_text, with_two_labels
from regard.data.splits import scoring_part, training_parts
from regard.errors import UsageError
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.optimism import optimism
from regard.measurement.classification.predictions import read_predictions
from regard.measurement.classification.scoring import (
    cross_validated,
    grouping,
    predict_all,
    predictions_of,
    stored_evaluation,
)
from regard.measurement.selection import CROSS_VALIDATED, scored_part
from regard.networks.arguments import views_facts
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.networks.run import save_network
from regard.records import Evaluation
from regard.results.evaluations import EVALUATION, SMALLEST_SLICE, Figures, as_json, worst_slice, write_evaluation
from regard.training.recipe import Recipe
from regard.training.session import Options
from regard.training.tasks import finetune
from regard.training.tasks.base import CrossValidation, Evaluated, EvaluationOptions, Outcome, PageContent, Parts
from regard.training.tasks.features import FeatureStore, cache_folder, extract, network_key
from regard.training.tasks.probe import fit_probe
from regard.training.tasks.table import ClassifierSettings

log = logging.getLogger("regard")


class Classification:
    """See `base.Task`."""

    def check(self, recipe: Recipe) -> None:
        if recipe.arguments.get("masks") is not None:
            raise UsageError(f"--masks has no use for {recipe.name}; give --recipe recombine with it, or leave it out")

    def split(self, dataset: Dataset, recipe: Recipe, twins: Iterable[tuple[int, int]]) -> tuple[Dataset, Dataset]:
        """Few pictures, without a split of the user's own, are all trained on, and scored by cross-validation."""
        how = {name: recipe.arguments[name] for name in ("seed", "group")}
        share = recipe.arguments.get("val")
        if share is None and "val" not in dataset.splits:
            training, nothing = training_parts(dataset, share=0, **how)
            if folds := _folds(recipe, len(training)):
                log.info(
                    f"{len(training)} pictures of {len(training.classes)} classes: all are trained on, and scored by "
                    f"{folds}-fold cross-validation (--val 0.2 sets a fifth aside instead)"
                )
                return training, nothing
        training, validation = training_parts(dataset, share=share, twins=twins, **how)
        count = len(training.classes)
        log.info(f"{len(training)} pictures of {count} classes to train on, {len(validation)} set aside")
        return training, validation

    def doubts(self, dataset: Dataset, pairs: Sequence[Duplicate]) -> list[str]:
        doubtful = with_two_labels(dataset, pairs)
        return [pairs_text(dataset, doubtful, "with two different labels")] if doubtful else []

    def build(self, recipe: Recipe, training: Dataset, device: str | None, precision: str | None) -> Network:
        """The network in float32, as a training sets its own precision; features are computed in what was given."""
        names = {name: recipe.arguments[name] for name in ("model", "weights", "size", "seed")}
        names["weights_part"] = recipe.arguments.get("weights_part")  # runs of 0.1.0 have none
        precision = (precision or "float32") if recipe.settings is None else "float32"
        return load(classes=training.classes, device=device, precision=precision, **names)

    def train(self, network: Network, parts: Parts, recipe: Recipe, folder: Path, options: Options) -> Outcome:
        if recipe.settings is None:
            network.choose_one_class()
            return _fit_probe(network, parts, recipe, options)
        groups = unparted(parts.training, parts)
        sides = (parts.training, parts.validation)
        return finetune.run(network, *sides, parts.hashes, recipe, folder, groups, **vars(options))

    def score(
        self, network: Network, parts: Parts, outcome: Outcome, recipe: Recipe, options: Options
    ) -> Evaluation | None:
        crossed = outcome.cross_validation
        if crossed is None and not len(parts.validation):
            return None
        pictures = parts.validation if crossed is None else parts.training
        logits = outcome.logits if crossed is None else crossed.logits[crossed.chosen]
        probabilities = softmax(logits, axis=1).astype(np.float32)
        seed = recipe.arguments["seed"]
        predictions = predictions_of(
            pictures, probabilities, recipe.arguments["group"], recipe.arguments["slices"] or ()
        )
        facts = {"recipe": recipe.name}
        if crossed is None:
            note = "selected on" if outcome.selected else ""
            return evaluate(predictions, note=note, seed=seed, provenance=provenance(network, **facts))
        return evaluate(
            predictions,
            note=CROSS_VALIDATED,
            seed=seed,
            provenance=provenance(network, **facts, folds=int(crossed.folds.max()) + 1),
            optimism=optimism(predictions, crossed.logits, crossed.chosen, seed),
        )

    def save(self, network: Network, folder: Path) -> None:
        save_network(network, folder, overwrite=True)

    def stored(self, run: Path) -> Evaluation | None:
        return stored_evaluation(run) if (run / EVALUATION).is_dir() else None

    def evaluate(self, dataset: Dataset, model: str | Path, options: EvaluationOptions) -> Evaluated:
        network = None
        options.check_views("" if options.predictions is None else "predictions made elsewhere")
        if options.predictions is not None:
            pictures = scoring_part(dataset, options.split)
            note = ""
            predictions = read_predictions(
                options.predictions, pictures.names, pictures.labels, pictures.classes, filenames=pictures.filenames
            )
            predictions = replace(predictions, **grouping(pictures, options.group, options.slices))
            origin = provenance(predictions=Path(options.predictions).name)
        else:
            how: dict[str, Any] = {
                name: getattr(options, name) for name in ("weights", "weights_part", "size", "device", "precision")
            }
            network = load(model, seed=options.seed, **how)
            if network.several_labels:
                raise UsageError(
                    f"{network.name} gives a picture several labels, each with a probability of its own; give --task "
                    "multilabel, with DATA whose labels are written as 'cat|dog'"
                )
            pictures, note = scored_part(dataset, model, options.split, options.keep_seen)
            if note == CROSS_VALIDATED:
                options.check_views("those of cross-validation")
                predictions, facts = cross_validated(model, pictures, options.group, options.slices)
                how = {"note": note, "seed": options.seed, "threshold": options.threshold}
                return Evaluated(evaluate(predictions, **how, **facts), network, pictures)
            pictures, predictions = predict_all(
                network,
                pictures,
                options.group,
                options.slices,
                batch_size=options.batch_size,
                workers=options.workers,
                on_bad=skipper(options.skip_bad),
                progress=options.progress,
                tta=options.tta,
            )
            origin = provenance(network, **views_facts(options.tta))
        evaluation = evaluate(predictions, note=note, seed=options.seed, threshold=options.threshold, provenance=origin)
        return Evaluated(evaluation, network, pictures)

    def write(self, folder: Path, evaluation: Evaluation, seed: int, figures: Figures) -> None:
        write_evaluation(folder, evaluation, seed, figures)

    def as_json(self, evaluation: Evaluation) -> dict[str, Any]:
        return as_json(evaluation)

    def headline(self, evaluation: Evaluation) -> str:
        if evaluation.mending is not None:
            return evaluation.mending.text
        top1 = evaluation.scores["top1"]
        pictures = f"{evaluation.n} picture{'' if evaluation.n == 1 else 's'}"
        if evaluation.note == CROSS_VALIDATED:
            how = f"{pictures}, each by a network that had not seen it ({evaluation.provenance['folds']}-fold "
            where = f"{how}cross-validation); the network that is kept is trained on all {evaluation.n}"
        else:
            where = f"{pictures} set aside{f', {evaluation.note}' if evaluation.note else ''}"
        return f"right on {top1.value:.1%} (95 % interval {top1.low:.1%} to {top1.high:.1%}) of {where}"

    def details(self, evaluation: Evaluation) -> list[str]:
        """What `--threshold` and `--slice` asked for: a line for each class, and for each slice, the worst first."""
        lines = []
        chosen = [each for each in evaluation.per_class if each.threshold == each.threshold]
        if chosen:
            width = max(len(each.name) for each in chosen)
            lines.append(f"found where the probability is {chosen[0].threshold:g} or more:")
            lines += [
                f"  {each.name:<{width}}  sensitivity {each.sensitivity}  specificity {each.specificity}  n = {each.n}"
                for each in chosen
            ]
        ordered = sorted(evaluation.slices, key=lambda each: (each.top1.value, -each.top1.n))
        if ordered:
            titles = [f"{each.column} = {each.value}" for each in ordered]
            width = max(map(len, titles))
            lines.append("top1 of each slice, the worst first:")
            lines += [
                f"  {title:<{width}}  {each.top1}  n = {each.top1.n}"
                for title, each in zip(titles, ordered, strict=True)
            ]
            worst = worst_slice(evaluation)
            name = "none is so large" if worst is None else f"{worst.column} = {worst.value}, {worst.top1}"
            lines.append(f"worst of {SMALLEST_SLICE} pictures or more: {name}")
        return lines

    def page(
        self, result: Evaluated, facts: Mapping[str, str] | None = None, parts: Parts | None = None
    ) -> PageContent:
        evaluation = result.evaluation
        network = result.network
        name = "predictions made elsewhere" if network is None else network.name
        if facts is None or parts is None:
            splits = ", ".join(result.pictures.splits)
            scored = f"{len(result.pictures)} pictures" + (f" ({splits})" if splits else "")
            return PageContent({"Network": name, "Scored on": scored}, (), evaluation, network=network)
        recipe, *rest = facts.items()
        lines = {
            "Network": name,
            **dict([recipe]),
            "Trained on": f"{len(parts.training)} pictures of {len(parts.training.classes)} classes",
            **_scored_on(evaluation, parts),
            **dict(rest),
        }
        return PageContent(lines, (), evaluation, network=network)


def _scored_on(evaluation: Evaluation | None, parts: Parts) -> dict[str, str]:
    """The line of the report that says on what the score was found, and by which networks."""
    if evaluation is None:
        return {"Scored on": "nothing: all pictures are trained on (--val 0)"}
    if evaluation.note == CROSS_VALIDATED:
        folds = evaluation.provenance["folds"]
        return {
            "Scored by": f"{folds}-fold cross-validation: each of the {evaluation.n} pictures by a network that was "
            "trained without its fold; the network that is kept is trained on all of them"
        }
    use = "set aside, and selected on" if evaluation.note else "set aside, used for nothing else"
    return {"Scored on": f"{len(parts.validation)} pictures {use}"}


def _folds(recipe: Recipe, pictures: int) -> int | None:
    """In how many folds so many pictures are cross-validated; None where they are not."""
    settings = recipe.settings
    if settings is None:
        standard = ClassifierSettings()
        few, folds = (recipe.arguments.get(name, getattr(standard, name)) for name in ("few", "folds"))
        return folds if pictures <= few else None
    if isinstance(settings, ClassifierSettings) and finetune.searches(settings, pictures):
        return settings.folds
    return None


def unparted(part: Dataset, parts: Parts) -> NDArray[np.int64] | None:
    """(pictures,) numbers that are equal for pictures that no fold may part."""
    return np.array([parts.together[name] for name in part.names], np.int64) if parts.together else None


class Times(list[dict[str, Any]]):
    """The lines of `timing.jsonl`."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.append({"phase": name, "seconds": round(time.perf_counter() - start, 3)})


def features_of(
    network: Network, parts: Parts, options: Options, times: Times
) -> tuple[NDArray[np.float32], Parts, list[str]]:
    """What the head gets of each picture, training before validation, those that could be read, and messages."""
    pictures = [*parts.training.pictures, *parts.validation.pictures]
    hashes = [parts.hashes[picture.name] for picture in pictures]
    store = FeatureStore(cache_folder() / "features" / f"{network_key(network)}.sqlite")
    with times.phase("features"), options.bar("computing features", len(pictures)) as advance:
        features, readable = extract(
            network,
            pictures,
            hashes,
            store,
            batch_size=options.batch_size or 16,
            workers=options.workers,
            advance=advance,
            on_bad=skipper(options.skip_bad),
        )  # (readable pictures, width)
    messages = []
    if store.broken:
        messages.append(f"features could not be kept in {store.path.name} ({store.broken}); they were computed anew")
    count = len(parts.training)
    first = readable[readable < count]
    second = readable[readable >= count] - count
    training = parts.training.select(first)
    return features, replace(parts, training=training, validation=parts.validation.select(second)), messages


def _fit_probe(network: Network, parts: Parts, recipe: Recipe, options: Options) -> Outcome:
    """Features of both parts, a probe on the one, its logits on the other; the network gets the probe as its head."""
    times = Times()
    features, parts, messages = features_of(network, parts, options, times)
    training = parts.training
    validation = parts.validation
    crossed = not len(validation) and "val" not in recipe.arguments
    with times.phase("fit"):
        probe = fit_probe(
            features[: len(training)],
            training.labels,
            training.classes,
            unparted(training, parts),
            folds=recipe.arguments.get("folds", ClassifierSettings().folds),
            seed=recipe.arguments["seed"],
            keep=crossed,
        )
    network.replace_head(torch.from_numpy(probe.weight), torch.from_numpy(probe.bias), training.classes)
    return Outcome(
        metrics=tuple({"phase": "cross-validation", **vars(trial)} for trial in probe.trials),
        messages=tuple(messages),
        facts={"strength": f"{probe.strength:.3g}, chosen by cross-validation inside the training part"},
        selected=False,
        main=True,
        logits=probe.logits(features[len(training) :]),
        cross_validation=CrossValidation(probe.folds, probe.out_of_fold, probe.best) if crossed else None,
        parts=parts,
        times=tuple(times),
    )
