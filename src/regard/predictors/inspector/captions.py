"""Inspections of captions, with what is known of their words."""

from collections.abc import Mapping, MutableMapping, Sequence
from itertools import takewhile

from regard.data.dataset import Picture
from regard.data.regions import Regions
from regard.measurement.localisation.captions import words_of
from regard.measurement.localisation.words import TrueWord
from regard.predictors.captions.job import CaptionJob
from regard.predictors.captions.options import CaptionInput
from regard.predictors.inspector.jpeg import LONGEST, jpeg_of
from regard.predictors.page_plan import PageContent
from regard.records import Caption, Inspection
from regard.records.inspection import MOST_ON_A_PAGE, inspection_of_caption

NO_TRUTH: Mapping[int, TrueWord] = {}


def caption_inspection(
    caption: Caption, picture: Picture, longest: int = LONGEST, truth: Mapping[int, TrueWord] = NO_TRUTH
) -> Inspection:
    """All that the viewer shows of a caption; `truth` is what is known of its words, by their place in it."""
    claims = {place: (claim.region, claim.right) for place, claim in truth.items()}
    return inspection_of_caption(caption, jpeg_of(picture, longest) if longest else None, claims)


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
