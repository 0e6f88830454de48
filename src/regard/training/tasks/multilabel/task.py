"""The task `multilabel`: learn which of several labels each picture has, by training the network or by a probe."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from regard.data.dataset import Dataset, skipper
from regard.data.stratified import multilabel_parts
from regard.errors import UsageError
from regard.measurement.multilabel.evaluation import evaluate
from regard.measurement.multilabel.scoring import (
    cross_validated,
    label_predictions,
    predict_labels,
    stored_evaluation,
    with_threshold,
)
from regard.measurement.selection import CROSS_VALIDATED, scored_part
from regard.networks.arguments import views_facts
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.networks.run import run_of
from regard.records import MultiLabelEvaluation
from regard.results.evaluations import EVALUATION, Figures
from regard.results.multilabel import as_json, write_labels
from regard.training.recipe import Recipe
from regard.training.session import Options
from regard.training.tasks import finetune
from regard.training.tasks.base import CrossValidation, Evaluated, EvaluationOptions, Outcome, PageContent, Parts
from regard.training.tasks.classification import Classification, Times, features_of, unparted
from regard.training.tasks.multilabel.head import fit_labels
from regard.training.tasks.multilabel.targets import SeveralLabels, sets
from regard.training.tasks.table import ClassifierSettings

log = logging.getLogger("regard")


class MultiLabel(Classification):
    """See `base.Task`; the network is built and saved as a classifier's."""

    def check(self, recipe: Recipe) -> None:
        super().check(recipe)
        if isinstance(recipe.settings, ClassifierSettings) and recipe.settings.search != "never":
            raise UsageError(
                f"--search {recipe.settings.search} chooses by cross-validation, which a fine-tuning of several labels "
                "does not do; leave it out"
            )

    def split(self, dataset: Dataset, recipe: Recipe, twins: Iterable[tuple[int, int]]) -> tuple[Dataset, Dataset]:
        """A probe on few pictures is scored by cross-validation, and trained on all of them."""
        how = {name: recipe.arguments[name] for name in ("seed", "group")}
        share = recipe.arguments.get("val")
        pictures = sets(dataset)
        if recipe.settings is None and share is None and "val" not in dataset.splits:
            training, nothing = multilabel_parts(pictures, share=0, **how)
            few, folds = _probed(recipe)
            if len(training) <= few:
                log.info(
                    f"{len(training)} pictures with {len(training.classes)} labels: all are trained on, and scored by "
                    f"{folds}-fold cross-validation (--val 0.2 sets a fifth aside instead)"
                )
                return training, nothing
        training, validation = multilabel_parts(pictures, share=share, twins=twins, **how)
        count = len(training.classes)
        log.info(f"{len(training)} pictures with {count} labels to train on, {len(validation)} set aside")
        if bare := [name for name in validation.classes if len(validation) and not validation.counts[name]]:
            log.info(f"not scored, as no picture set aside has it: {', '.join(bare)}")
        return training, validation

    def train(self, network: Network, parts: Parts, recipe: Recipe, folder: Path, options: Options) -> Outcome:
        if recipe.settings is None:
            return _fit_head(network, parts, recipe, options)
        sides = (parts.training, parts.validation)
        groups = unparted(parts.training, parts)
        return finetune.run(network, *sides, parts.hashes, recipe, folder, groups, SeveralLabels(), **vars(options))

    def score(  # type: ignore[override]
        self, network: Network, parts: Parts, outcome: Outcome, recipe: Recipe, options: Options
    ) -> MultiLabelEvaluation | None:
        crossed = outcome.cross_validation
        if crossed is None and not len(parts.validation):
            return None
        pictures = parts.validation if crossed is None else parts.training
        values = expit(outcome.logits if crossed is None else crossed.logits[crossed.chosen]).astype(np.float32)
        columns = recipe.arguments["group"], recipe.arguments["slices"] or ()
        predictions = label_predictions(sets(pictures), values, *columns)
        facts: dict[str, Any] = {"recipe": recipe.name}
        note = "selected on" if outcome.selected else ""
        if crossed is not None:
            note = CROSS_VALIDATED
            facts["folds"] = int(crossed.folds.max()) + 1
        return evaluate(predictions, note=note, seed=recipe.arguments["seed"], provenance=provenance(network, **facts))

    def stored(self, run: Path) -> MultiLabelEvaluation | None:  # type: ignore[override]
        return stored_evaluation(run) if (run / EVALUATION).is_dir() else None

    def evaluate(self, dataset: Dataset, model: str | Path, options: EvaluationOptions) -> Evaluated:
        if options.predictions is not None:
            raise UsageError("--predictions is for classifiers, not for several labels a picture; leave it out")
        how: dict[str, Any] = {
            name: getattr(options, name) for name in ("weights", "weights_part", "size", "device", "precision")
        }
        network = load(model, seed=options.seed, **how)
        _check_head(network)
        pictures, note = scored_part(sets(dataset), model, options.split, options.keep_seen)
        if note == CROSS_VALIDATED:
            options.check_views("those of cross-validation")
            predictions, origin = cross_validated(model, pictures, options.group, options.slices)
        else:
            pictures, predictions = predict_labels(
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
        predictions = with_threshold(predictions, options.threshold)
        return Evaluated(evaluate(predictions, note=note, seed=options.seed, provenance=origin), network, pictures)

    def write(self, folder: Path, evaluation: MultiLabelEvaluation, seed: int, figures: Figures) -> None:  # type: ignore[override]
        write_labels(folder, evaluation, seed)

    def as_json(self, evaluation: MultiLabelEvaluation) -> dict[str, Any]:  # type: ignore[override]
        return as_json(evaluation)

    def headline(self, evaluation: MultiLabelEvaluation) -> str:  # type: ignore[override]
        pictures = f"{evaluation.n} picture{'' if evaluation.n == 1 else 's'}"
        if evaluation.note == CROSS_VALIDATED:
            where = (
                f"{pictures}, each by a head that had not seen it ({evaluation.provenance['folds']}-fold "
                f"cross-validation); the one that is kept is trained on all {evaluation.n}"
            )
        else:
            where = f"{pictures} set aside{f', {evaluation.note}' if evaluation.note else ''}"
        if "map" not in evaluation.scores:
            return f"no label that only some have, so no mAP, of {where}"
        score = evaluation.scores["map"]
        labels = len(evaluation.predictions.classes) - len(evaluation.undecided)
        return (
            f"mAP {score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f}; guessing: "
            f"{evaluation.baseline['map']:.3f}) of {labels} labels on {where}"
        )

    def details(self, evaluation: MultiLabelEvaluation) -> list[str]:  # type: ignore[override]
        """A line for each label, the lowest average precision first, what guessing reaches, and the slices."""
        guessing = ", ".join(f"{name} {value:.3f}" for name, value in evaluation.baseline.items())
        lines = [f"guessing: {guessing}"] if guessing else []
        rows = [each for each in evaluation.per_label if np.isfinite(each.ap.value)]
        width = max((len(each.name) for each in rows), default=0)
        lines.append(f"labels, given from the probability {evaluation.predictions.threshold:g} on:")
        lines += [
            f"  {each.name:<{width}}  ap {each.ap}  precision {each.precision}  recall {each.recall}  n = {each.n}"
            for each in sorted(rows, key=lambda each: each.ap.value)
        ]
        if evaluation.undecided:
            lines.append(
                f"{len(evaluation.undecided)} of {len(evaluation.per_label)} labels are had by all of these pictures "
                f"or by none, and count in no mean: {', '.join(evaluation.undecided)}"
            )
        return [*lines, *map(str, evaluation.slices)]

    def page(
        self, result: Evaluated, facts: Mapping[str, str] | None = None, parts: Parts | None = None
    ) -> PageContent:
        evaluation: MultiLabelEvaluation | None = result.evaluation
        lines = {"Network": result.network.name}
        if facts is None or parts is None:
            splits = ", ".join(result.pictures.splits)
            lines["Scored on"] = f"{len(result.pictures)} pictures" + (f" ({splits})" if splits else "")
            return PageContent(lines, network=result.network, labels=evaluation)
        recipe, *rest = facts.items()
        lines |= dict([recipe])
        lines["Trained on"] = f"{len(parts.training)} pictures with {len(parts.training.classes)} labels"
        if evaluation is None:
            lines["Scored on"] = "nothing: all pictures are trained on (--val 0)"
        elif evaluation.note == CROSS_VALIDATED:
            lines["Scored by"] = (
                f"{evaluation.provenance['folds']}-fold cross-validation: each of the {evaluation.n} pictures by a "
                "head that was fitted without its fold, at the strength that the other folds chose; the one that is "
                "kept is fitted on all of them"
            )
        else:
            use = "set aside, and selected on" if evaluation.note else "set aside, used for nothing else"
            lines["Scored on"] = f"{len(parts.validation)} pictures {use}"
        return PageContent({**lines, **dict(rest)}, network=result.network, labels=evaluation)


def _probed(recipe: Recipe) -> tuple[int, int]:
    """Up to how many pictures a probe is cross-validated, and in how many folds."""
    standard = ClassifierSettings()
    few, folds = (recipe.arguments.get(name, getattr(standard, name)) for name in ("few", "folds"))
    return few, folds


def _check_head(network: Network) -> None:
    """Raise `UsageError` for a run that learnt one class a picture; another network is taken at the user's word."""
    if network.several_labels:
        return
    if run_of(network) is not None:
        raise UsageError(
            f"{network.name} chooses one class among all for a picture; give a --model that learnt several labels "
            "(`regard train DATA --out RUN --task multilabel` makes one), or leave --task out"
        )
    log.info(f"{network.name} does not say that it answers several labels; --task multilabel takes each output as one")
    network.choose_labels()


def _fit_head(network: Network, parts: Parts, recipe: Recipe, options: Options) -> Outcome:
    """Features of both parts, a head on the one, its logits on the other; the network gets it as its own."""
    times = Times()
    features, parts, messages = features_of(network, parts, options, times)
    training = sets(parts.training)
    crossed = not len(parts.validation) and "val" not in recipe.arguments
    with times.phase("fit"):
        probe = fit_labels(
            features[: len(training)],
            training.truth,
            training.classes,
            unparted(training, parts),
            folds=_probed(recipe)[1],
            seed=recipe.arguments["seed"],
        )
    network.replace_head(torch.from_numpy(probe.weight), torch.from_numpy(probe.bias), training.classes)
    network.choose_labels()
    unseen = None if probe.unseen is None else probe.unseen[None]  # (1, pictures, labels)
    return Outcome(
        metrics=tuple({"phase": "cross-validation", **vars(trial)} for trial in probe.trials),
        messages=tuple(messages),
        facts={"strength": f"{probe.strength:.3g}, chosen by cross-validation inside the training part"},
        selected=False,
        main=True,
        logits=probe.logits(features[len(training) :]),
        cross_validation=CrossValidation(probe.folds, unseen, 0) if crossed else None,
        parts=parts,
        times=tuple(times),
    )
