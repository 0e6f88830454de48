"""An inspection of a caption: its words, each with its map, how likely it was, and what else it might have been."""

import math
from collections.abc import Mapping, MutableMapping, Sequence
from itertools import takewhile

import numpy as np

from regard.data.dataset import Picture
from regard.data.regions import Regions
from regard.measurement.localisation.captions import words_of
from regard.measurement.localisation.words import TrueWord
from regard.predictors.caption_job import CaptionJob
from regard.predictors.caption_options import CaptionInput
from regard.predictors.inspector.jpeg import LONGEST, jpeg_of
from regard.predictors.page_plan import PageContent
from regard.records import END, START, Caption, Float, Inspection, PatchGrid, Word
from regard.records.captions import Step
from regard.records.inspection import MOST_ON_A_PAGE, InspectedCaption, InspectedWord
from regard.records.quantised import Quantised

NO_TRUTH: Mapping[int, TrueWord] = {}
MASK = 96
"""Cells along the longer side of a true region, at most."""


def caption_inspection(
    caption: Caption, picture: Picture, longest: int = LONGEST, truth: Mapping[int, TrueWord] = NO_TRUTH
) -> Inspection:
    """All that the viewer shows of a caption; `truth` is what is known of its words, by their place in it."""
    words = []
    maps: list[Float] = []
    masks = {}
    for place, word in enumerate(caption.words):
        if word.text in (START, END):
            continue
        claim = truth.get(place)
        region = None
        if claim is not None:
            name = f"truth {place}"
            masks[name] = _mask(claim)
            region = {"mask": name}
        words.append(
            InspectedWord(
                word.text,
                word.part_of_speech,
                word.probability,
                _alternatives(word, caption.steps),
                _without(word),
                None if word.heatmap is None else len(maps),
                region,
                None if claim is None or claim.right is None else not claim.right,
            )
        )
        maps += [] if word.heatmap is None else [word.heatmap.values]
    arrays = {"words": Quantised.of(np.stack(maps))} if maps else {}
    grid = caption.grid or next(
        (word.heatmap.grid for word in caption.words if word.heatmap is not None), PatchGrid.whole(1, 1)
    )
    network = caption.provenance.get("network", "unknown")
    return Inspection(
        caption.name,
        grid,
        {"name": network, "layers": 0, "heads": 0, "reads": "words"},
        {**arrays, **masks},
        picture=jpeg_of(picture, longest) if longest else None,
        caption=InspectedCaption(caption.text, tuple(words)),
        absent={} if longest else {"picture": "it was not asked for"},
        provenance={**caption.provenance, "settings": dict(caption.settings)},
    )


def _alternatives(word: Word, steps: Sequence[Step]) -> tuple[tuple[str, float], ...]:
    """What else was likely where the word begins."""
    if word.steps is None or word.steps[0] >= len(steps):
        return ()
    step = steps[word.steps[0]]
    return tuple((piece.strip(), math.exp(value)) for piece, value in step.alternatives if piece != step.piece)


def _without(word: Word) -> float | None:
    """The word's probability without its picture, where that was measured."""
    gain = math.nan if word.dependence is None else word.dependence.over_none
    if word.log_probability is None or not math.isfinite(gain):
        return None
    return min(1.0, math.exp(word.log_probability - gain))


def _mask(claim: TrueWord) -> Quantised:
    """The region that a word speaks of, as the shares of cells of it, over the whole picture."""
    height, width = claim.region.shape
    share = min(1.0, MASK / max(height, width))
    rows = max(1, round(height * share))
    columns = max(1, round(width * share))
    whole = PatchGrid.whole(rows, columns)
    return Quantised.of(whole.on_patches(claim.region) * (rows * columns / (height * width)), "linear")


def caption_content(
    job: CaptionJob,
    inputs: Sequence[CaptionInput],
    captions: MutableMapping[int, Caption],
    regions: Regions | None = None,
    longest: int = LONGEST,
) -> PageContent:
    """A page of the captions of `inputs`, those that are there already by their index, the first ones made where an
    earlier run of the same command wrote them; `regions` know what words speak of."""
    first = min(captions, default=min(len(inputs), MOST_ON_A_PAGE))
    if first:
        again = takewhile(lambda each: each[0] < first, job.captions(inputs))
        captions.update((index, caption) for index, caption, _ in again)
    pictures: dict[str, list[Inspection]] = {}
    for index in sorted(captions)[:MOST_ON_A_PAGE]:
        caption = captions[index]
        truth = NO_TRUTH if regions is None else words_of(caption, regions)
        pictures.setdefault(caption.name, []).append(caption_inspection(caption, inputs[index].picture, longest, truth))
    lines = [f"This file holds the first {MOST_ON_A_PAGE} of {len(inputs)} captions."]
    messages = lines if len(inputs) > MOST_ON_A_PAGE else []
    return PageContent(f"Captions by {job.network.name}", pictures, (), messages, job.provenance)
