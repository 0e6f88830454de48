"""`regard train --task caption`: pictures with captions → a run folder: captioner, split, metrics, scores, report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.app.caption_scores import (
    Scored,
    caption_page,
    read_scores,
    score_captions,
    scores_json,
    told,
    write_scores,
)
from regard.app.console import phases
from regard.app.training import Notes, Page, hashed, said, shareable
from regard.data.dataset import Dataset
from regard.data.images.longest_side import LongestSide
from regard.data.layouts.captions import caption_parts, read_captioned
from regard.errors import UsageError
from regard.files import write_file
from regard.networks.captioners.families.catr import PUBLIC, CatrCaptioner, CatrShape, is_catr_file, load_catr, new_catr
from regard.networks.captioners.families.encoder_decoder import (
    DecoderShape,
    EncoderDecoderCaptioner,
    new_encoder_decoder,
)
from regard.networks.captioners.run import load_captioner_run, save_captioner
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.wordpiece import WordPiece
from regard.networks.load import load
from regard.networks.provenance import provenance
from regard.networks.run import CAPTIONING, task_of
from regard.networks.sources.shipped import folder_of
from regard.training.folder import check_folder
from regard.training.folder import finish as finish_folder
from regard.training.loop import InterruptedTrainingError
from regard.training.phases import prepared
from regard.training.recipe import PRESETS, CaptionSettings, Recipe
from regard.training.tasks import captioning

log = logging.getLogger("regard")

NEW_CATR = "catr"
"""The name of a CATR whose values are all to be learned."""
CATR_HAS = ("encoder_layers", "decoder_layers", "decoder_width", "decoder_heads")
SHAPE = (*CATR_HAS, "decoder_dropout", "vocabulary", "least", "longest")
"""Settings of a new network, which CATR, and one that is gone on with, has already."""


@dataclass(frozen=True)
class CaptionRun:
    """A finished run: its folder, its scores on the pictures set aside, and what there was to say."""

    out: Path
    scored: Scored
    messages: tuple[str, ...] = ()


def train_captions(
    data: str | Path,
    out: Path,
    recipe: Recipe,
    notes: Notes,
    wanted: Page,
    *,
    device: str | None = None,
    skip_bad: bool = False,
    **how: Any,
) -> CaptionRun:
    """Train a captioner and score what it says of the pictures set aside; `how` are fields of `running.How`."""
    _check_arguments(recipe)
    state = check_folder(out, resume=how.get("resume", False), overwrite=how.get("overwrite", False))
    if state == "finished" and how.get("resume"):
        log.info(f"{out} is finished already; nothing to do")
        return CaptionRun(out, read_scores(out / "evaluation"))
    training, validation, hashes = _parts(data, recipe, notes, skip_bad)
    captioner = _started(recipe, training, device)
    with phases() as show:
        outcome = captioning.run(
            captioner, training, validation, hashes, recipe, out, seed=recipe.arguments["seed"], progress=show, **how
        )
    for message in outcome.messages:
        notes.warn(message)
    if not outcome.main:
        return CaptionRun(out, Scored({}, {}, {}))
    note = "selected on" if outcome.selected else ""
    try:
        scored = score_captions(captioner, validation, seed=recipe.arguments["seed"], note=note)
    except KeyboardInterrupt as error:
        raise InterruptedTrainingError(
            "interrupted while pictures were described; the training itself is done: the same command with --resume "
            "goes on"
        ) from error
    origin = provenance(captioner, recipe=recipe.name)
    write_scores(out / "evaluation", scored, origin)
    facts = {
        "Recipe": recipe.name,
        "Trained on": f"{len(training)} pictures with captions",
        **{name.replace("_", " ").capitalize(): said(value) for name, value in outcome.facts.items()},
    }
    html = caption_page(
        captioner,
        validation,
        scored,
        wanted,
        facts=facts,
        messages=notes.messages,
        recipe=shareable(recipe),
        history=outcome.metrics,
        provenance=origin,
    )
    write_file(out / "report.html", html)
    save_captioner(captioner, out)
    finish_folder(out)
    return CaptionRun(out, scored, tuple(notes.messages))


def _check_arguments(recipe: Recipe) -> None:
    """Raise `UsageError` for what is asked of labels, of which captions have none."""
    arguments = recipe.arguments
    if arguments.get("slices") or arguments.get("label", "label") != "label":
        raise UsageError("--label and --slice are for classifiers, not for captions; leave them out")


def _parts(
    data: str | Path, recipe: Recipe, notes: Notes, skip_bad: bool
) -> tuple[Dataset, Dataset, Mapping[str, str]]:
    dataset = read_captioned(data)
    if recipe.arguments["split"] is not None:
        dataset = dataset.part(recipe.arguments["split"]).unsplit()
    with notes.phase("reading"):
        found = hashed(dataset, notes, skip_bad)
    training, validation = caption_parts(
        found.dataset, seed=recipe.arguments["seed"], group=recipe.arguments["group"], twins=found.twins
    )
    log.info(f"{len(training)} pictures with captions to train on, {len(validation)} set aside")
    return training, validation, found.hashes


def _started(recipe: Recipe, training: Dataset, device: str | None) -> TrainableCaptioner:
    """The captioner that is to be trained, as `--model` says, its preparation as the settings have it."""
    settings = _settings(recipe)
    captioner = _made(recipe.arguments, settings, training)
    for message in captioner.messages:
        log.info(message)
    return captioner.to(device)


def _made(arguments: Mapping[str, Any], settings: CaptionSettings, training: Dataset) -> TrainableCaptioner:
    model, weights, seed = str(arguments["model"]), arguments["weights"], arguments["seed"]
    if task_of(folder_of(model)) == CAPTIONING:
        captioner = load_captioner_run(folder_of(model))
        own = {"longest": captioner.limit, "decoder_layers": captioner.layers, "decoder_heads": captioner.heads}
        _check_unused(model, arguments, settings, ("weights", "size"), SHAPE, own)
        return captioner
    if model in PUBLIC or is_catr_file(model):
        _check_unused(model, arguments, settings, ("weights",), SHAPE)
        module, messages = load_catr(model)
        return CatrCaptioner(module, messages, preparation=_longest(arguments))
    vocabulary = captioning.vocabulary_of(training, settings)
    if model == NEW_CATR:
        _check_unused(model, arguments, settings, (), CATR_HAS)
        shape = CatrShape(
            vocabulary=len(vocabulary),
            start=vocabulary.start,
            stop=vocabulary.stop,
            positions=settings.longest + 1,
            dropout=settings.decoder_dropout,
        )
        module, messages = new_catr(shape, seed, weights)
        return CatrCaptioner(module, messages, vocabulary=vocabulary, preparation=_longest(arguments))
    return _describer(arguments, settings, vocabulary)


def _longest(arguments: Mapping[str, Any]) -> LongestSide | None:
    return None if arguments["size"] is None else LongestSide(arguments["size"])


def _check_unused(
    model: str,
    arguments: Mapping[str, Any],
    settings: CaptionSettings,
    names: Sequence[str],
    shape: Sequence[str],
    own: Mapping[str, Any] | None = None,
) -> None:
    """Raise `UsageError` for what was asked of a network that has it already, unless it is its `own`."""
    standard = PRESETS["caption"]()
    asked = [name for name in names if arguments[name] is not None]
    for name in shape:
        fitting = getattr(standard, name), (own or {}).get(name)
        asked += [] if getattr(settings, name) in fitting else [name]
    if asked:
        option = asked[0].replace("_", "-")
        raise UsageError(
            f"{model} has a shape, weights and words of its own, which --{option} cannot change; leave it out"
        )


def _describer(arguments: Mapping[str, Any], settings: CaptionSettings, vocabulary: WordPiece) -> TrainableCaptioner:
    named = {name: arguments[name] for name in ("model", "weights", "size", "seed")}
    network = load(device="cpu", **named)
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
    return EncoderDecoderCaptioner(module, vocabulary, prepared(network.preparation, settings), architecture)


def _settings(recipe: Recipe) -> CaptionSettings:
    if not isinstance(recipe.settings, CaptionSettings):
        raise UsageError(f"the recipe {recipe.name!r} trains no captioner; give --recipe caption")
    return recipe.settings


def as_json(run: CaptionRun) -> dict[str, Any]:
    return {"out": str(run.out), "report": str(run.out / "report.html"), **scores_json(run.scored)}


def as_text(run: CaptionRun) -> str:
    return f"{told(run.scored)} set aside\nreport: {run.out / 'report.html'}"
