"""A captioner scored on a data set: its captions of pictures whose captions are known, and how near they are."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from regard.data.dataset import Dataset, Picture
from regard.data.images.decode import open_picture
from regard.data.layouts.captions import captions_of
from regard.errors import DataError, UsageError
from regard.measurement.captions.captioned import scorer
from regard.measurement.captions.scores import caption_scores
from regard.measurement.measure import labelled
from regard.networks.captioners.base import CaptionNetwork
from regard.progress import Progress, silent
from regard.records import CaptionEvaluation
from regard.results.evaluations import EVALUATION, read_caption_evaluation
from regard.scenes import Scene, read_scenes

log = logging.getLogger("regard")

SCENES = "scenes.jsonl"
"""What a folder of drawn scenes has beside its captions."""


def score_captions(
    captioner: CaptionNetwork,
    pictures: Dataset,
    *,
    batch_size: int = 32,
    on_bad: Callable[[Picture, DataError], None] | None = None,
    seed: int = 0,
    note: str = "",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> CaptionEvaluation:
    """Caption every picture and score that by the captions that it has: see `measurement.captions`.

    Of drawn scenes also how many words are true. Without pycocoevalcap only the exact matches are counted, and that is
    logged.
    """
    captions = caption_all(captioner, pictures, batch_size, on_bad, progress)
    references = {picture.name: captions_of(picture) for picture in pictures.pictures if picture.name in captions}
    coco = True
    try:
        scorer("bleu.bleu_scorer", "BleuScorer")
    except UsageError as error:
        log.info(f"{error}; only exact matches are counted")
        coco = False
    scenes = _scenes(pictures.source.parent, captions)
    scores = caption_scores(captions, references, scenes=scenes, coco=coco, seed=seed)
    return CaptionEvaluation(scores, captions, references, note, provenance or {})


def caption_all(
    captioner: CaptionNetwork,
    pictures: Dataset,
    batch_size: int = 32,
    on_bad: Callable[[Picture, DataError], None] | None = None,
    progress: Progress = silent,
) -> dict[str, str]:
    """The caption of every picture by its name, in order. Raises `DataError` for one that cannot be read, unless
    `on_bad` takes it."""
    captions: dict[str, str] = {}
    stream = iter(pictures.pictures)
    with progress("captioning", len(pictures)) as advance:
        while batch := list(islice(stream, batch_size)):
            names = []
            inputs = []
            for picture in batch:
                try:
                    inputs.append(captioner.prepare(open_picture(picture.opener)))
                    names.append(picture.name)
                except DataError as error:
                    if on_bad is None:
                        raise
                    on_bad(picture, error)
            decodings = captioner.generate(inputs) if inputs else []
            for name, decoding in zip(names, decodings, strict=True):
                captions[name] = captioner.text(decoding.tokens)
            advance(len(batch))
    if not captions:
        raise DataError("none of the pictures could be read")
    return captions


def stored_evaluation(run: str | Path) -> CaptionEvaluation:
    """The score of a finished run, as it was stored. Raises `DataError` when it is not whole or something else."""
    evaluation = read_caption_evaluation(Path(run) / EVALUATION)
    return replace(evaluation, scores={name: labelled(name, score) for name, score in evaluation.scores.items()})


def _scenes(folder: Path, captions: Mapping[str, str]) -> dict[str, Scene] | None:
    """The drawn scenes of a folder; None, and that is logged, where these are other pictures than those."""
    if not (folder / SCENES).is_file():
        return None
    try:
        scenes = dict(read_scenes(folder))
        strange = [name for name in captions if name not in scenes]
        if strange:
            raise DataError(f"no scene is known of {strange[0]!r}; give the folder that `regard scenes` wrote")
    except DataError as error:
        log.info(f"whether words are true is not counted: {error}")
        return None
    return scenes
