"""The task `caption`: learn to describe pictures, with a decoder on a ViT's encoder or with CATR."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.data.dataset import Dataset, skipper
from regard.data.images.longest_side import LongestSide
from regard.data.layouts.captions import caption_parts
from regard.errors import UsageError
from regard.measurement.captions.scoring import score_captions, stored_evaluation
from regard.measurement.selection import scored_part
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.families.catr import PUBLIC, CatrCaptioner, CatrShape, is_catr_file, load_catr, new_catr
from regard.networks.captioners.families.encoder_decoder import (
    DecoderShape,
    EncoderDecoderCaptioner,
    new_encoder_decoder,
)
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.run import load_captioner_run, save_captioner
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.wordpiece import WordPiece
from regard.networks.load import load
from regard.networks.provenance import provenance
from regard.networks.run import task_of
from regard.networks.sources.shipped import folder_of
from regard.networks.tasks import CAPTIONING
from regard.records import CaptionEvaluation
from regard.results.evaluations import EVALUATION, Figures, captions_json, write_caption_evaluation
from regard.training.recipe import Recipe
from regard.training.session import Options
from regard.training.tasks import caption_training
from regard.training.tasks.base import Evaluated, EvaluationOptions, Outcome, PageContent, Parts
from regard.training.tasks.table import CaptionSettings, caption

log = logging.getLogger("regard")

NEW_CATR = "catr"
"""The name of a CATR whose values are all to be learned."""
CATR_HAS = ("encoder_layers", "decoder_layers", "decoder_width", "decoder_heads")
SHAPE = (*CATR_HAS, "decoder_dropout", "vocabulary", "least", "longest")
"""Settings of a new network, which CATR, and one whose training is continued, has already."""
HEADLINE = ("true_words", "cider", "bleu_4", "rouge_l", "exact")
"""The scores that a sentence names, most telling first."""


class Captioning:
    """See `base.Task`."""

    def check(self, recipe: Recipe) -> None:
        useless = [name for name in ("slices", "masks") if recipe.arguments.get(name)]
        if useless or recipe.arguments.get("label", "label") != "label":
            raise UsageError("--label, --slice and --masks are for classifiers, not for captions; leave them out")

    def split(self, dataset: Dataset, recipe: Recipe, twins: Iterable[tuple[int, int]]) -> tuple[Dataset, Dataset]:
        how = {name: recipe.arguments[name] for name in ("seed", "group")}
        training, validation = caption_parts(dataset, share=recipe.arguments.get("val"), twins=twins, **how)
        log.info(f"{len(training)} pictures with captions to train on, {len(validation)} set aside")
        return training, validation

    def doubts(self, dataset: Dataset, pairs: Sequence[Any]) -> list[str]:
        """None: a picture may have many captions."""
        return []

    def build(self, recipe: Recipe, training: Dataset, device: str | None, precision: str | None) -> TrainableCaptioner:
        """The captioner that `--model` names, its preparation as the settings have it."""
        if not isinstance(recipe.settings, CaptionSettings):
            raise UsageError(f"the recipe {recipe.name!r} trains no captioner; give --recipe caption")
        captioner = _build(recipe.arguments, recipe.settings, training)
        for message in captioner.messages:
            log.info(message)
        return captioner.to(device)

    def train(
        self, network: TrainableCaptioner, parts: Parts, recipe: Recipe, folder: Path, options: Options
    ) -> Outcome:
        sides = (parts.training, parts.validation)
        return caption_training.run(network, *sides, parts.hashes, recipe, folder, **vars(options))

    def score(
        self, network: TrainableCaptioner, parts: Parts, outcome: Outcome, recipe: Recipe, options: Options
    ) -> CaptionEvaluation | None:
        if not outcome.main:
            return CaptionEvaluation({}, {}, {})
        if not len(parts.validation):
            return None
        return score_captions(
            network,
            parts.validation,
            seed=recipe.arguments["seed"],
            note="selected on" if outcome.selected else "",
            provenance=provenance(network, recipe=recipe.name),
            progress=options.bar,
        )

    def save(self, network: TrainableCaptioner, folder: Path) -> None:
        save_captioner(network, folder, overwrite=True)

    def stored(self, run: Path) -> CaptionEvaluation | None:
        return stored_evaluation(run) if (run / EVALUATION).is_dir() else None

    def evaluate(self, dataset: Dataset, model: str | Path, options: EvaluationOptions) -> Evaluated:
        foreign = (
            "weights",
            "weights_part",
            "predictions",
            "group",
            "slices",
            "label",
            "threshold",
            "size",
            "tta",
        )
        standard = EvaluationOptions()
        wrong = [name for name in foreign if getattr(options, name) != getattr(standard, name)]
        if wrong:
            names = ", ".join(f"--{'slice' if name == 'slices' else name}" for name in wrong)
            raise UsageError(f"{names} cannot be used with captions; leave it out")
        pictures, note = scored_part(dataset, model, options.split, options.keep_seen)
        captioner = load_caption_network(model, options.device, options.precision)
        for message in captioner.messages:
            log.info(message)
        evaluation = score_captions(
            captioner,
            pictures,
            batch_size=options.batch_size,
            on_bad=skipper(options.skip_bad),
            seed=options.seed,
            note=note,
            provenance=provenance(captioner),
            progress=options.progress,
        )
        return Evaluated(evaluation, captioner, pictures)

    def write(self, folder: Path, evaluation: CaptionEvaluation, seed: int, figures: Figures) -> None:
        write_caption_evaluation(folder, evaluation)

    def as_json(self, evaluation: CaptionEvaluation) -> dict[str, Any]:
        return captions_json(evaluation)

    def headline(self, evaluation: CaptionEvaluation) -> str:
        scores = [evaluation.scores[name] for name in HEADLINE if name in evaluation.scores]
        values = ", ".join(f"{score.label} {score.value:.3f}" for score in scores if math.isfinite(score.value))
        note = f", {evaluation.note}," if evaluation.note else ""
        return f"{values} on {evaluation.n} picture{'' if evaluation.n == 1 else 's'}{note} set aside"

    def details(self, evaluation: CaptionEvaluation) -> list[str]:
        """None beside the scores."""
        return []

    def page(
        self, result: Evaluated, facts: Mapping[str, str] | None = None, parts: Parts | None = None
    ) -> PageContent:
        evaluation: CaptionEvaluation = result.evaluation or CaptionEvaluation({}, {}, {})
        captioner: CaptionNetwork = result.network
        note = f", {evaluation.note}" if evaluation.note else ""
        scored = (
            f"{evaluation.n} pictures{note}" if result.evaluation else "nothing: all pictures are trained on (--val 0)"
        )
        lines = {"Network": captioner.architecture, "Scored on": scored}
        for name, score in evaluation.scores.items():
            interval = f"{score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f})"
            lines[score.label or name] = interval if math.isfinite(score.low) else str(score)
        if facts is not None and parts is not None:
            recipe, *rest = facts.items()
            trained = f"{len(parts.training)} pictures with captions"
            lines |= {**dict([recipe]), "Trained on": trained, **dict(rest)}
        return PageContent(lines, captions=evaluation.captions)


def _build(arguments: Mapping[str, Any], settings: CaptionSettings, training: Dataset) -> TrainableCaptioner:
    model = str(arguments["model"])
    if task_of(folder_of(model)) == CAPTIONING:
        captioner = load_captioner_run(folder_of(model))
        present = {"longest": captioner.limit, "decoder_layers": captioner.layers, "decoder_heads": captioner.heads}
        _check_unused(model, arguments, settings, ("weights", "size"), SHAPE, present)
        return captioner
    preparation = None if arguments["size"] is None else LongestSide(arguments["size"])
    if model in PUBLIC or is_catr_file(model):
        _check_unused(model, arguments, settings, ("weights",), SHAPE)
        module, messages = load_catr(model)
        return CatrCaptioner(module, messages, preparation=preparation)
    vocabulary = caption_training.vocabulary_of(training, settings)
    if model == NEW_CATR:
        _check_unused(model, arguments, settings, (), CATR_HAS)
        shape = CatrShape(
            vocabulary=len(vocabulary),
            start=vocabulary.start,
            stop=vocabulary.stop,
            positions=settings.longest + 1,
            dropout=settings.decoder_dropout,
        )
        module, messages = new_catr(shape, arguments["seed"], arguments["weights"])
        return CatrCaptioner(module, messages, vocabulary=vocabulary, preparation=preparation)
    return _new_encoder_decoder(arguments, settings, vocabulary)


def _check_unused(
    model: str,
    arguments: Mapping[str, Any],
    settings: CaptionSettings,
    names: Sequence[str],
    shape: Sequence[str],
    present: Mapping[str, Any] | None = None,
) -> None:
    """Raise `UsageError` for what was given for a network that has it already, unless it is what is `present`."""
    standard = caption()
    unused = [name for name in names if arguments[name] is not None]
    for name in shape:
        fitting = (getattr(standard, name), (present or {}).get(name))
        if getattr(settings, name) not in fitting:
            unused.append(name)
    if unused:
        option = unused[0].replace("_", "-")
        raise UsageError(
            f"{model} has a shape, weights and words of its own, which --{option} cannot change; leave it out"
        )


def _new_encoder_decoder(
    arguments: Mapping[str, Any], settings: CaptionSettings, vocabulary: WordPiece
) -> TrainableCaptioner:
    network = load(device="cpu", **{name: arguments[name] for name in ("model", "weights", "size", "seed")})
    shape = DecoderShape(
        len(vocabulary),
        vocabulary.start,
        vocabulary.stop,
        settings.decoder_width,
        settings.decoder_heads,
        settings.decoder_layers,
        settings.longest + 1,
        settings.decoder_dropout,
    )
    module, architecture = new_encoder_decoder(network, shape, settings.encoder_layers, arguments["seed"])
    return EncoderDecoderCaptioner(module, vocabulary, settings.prepared(network.preparation), architecture)
