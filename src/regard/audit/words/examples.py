"""A few captions of an audit, with the map of each word and what it speaks of, for a page to show."""

from dataclasses import replace

import numpy as np

from regard.audit.words.gathered import Gathered
from regard.audit.words.measure import CaptionPlan, ReadCaption
from regard.data.images.decode import open_picture
from regard.records import Caption, WordExample

MOST = 3
"""Captions with a wrong word that are shown, and captions without any, each at most."""


def examples_of(plan: CaptionPlan, gathered: Gathered) -> tuple[WordExample, ...]:
    """Captions with a wrong word first, then such without, each kind from all over the data."""
    wrong: dict[str, bool] = {}
    for word in gathered.words:
        if word.entry["right"] is not None:
            wrong[word.unit] = wrong.get(word.unit, False) or word.entry["right"] is False
    places = {item.file: place for place, item in enumerate(plan.inputs)}
    chosen: list[int] = []
    for which in (True, False):
        of = [places[unit] for unit, is_wrong in wrong.items() if is_wrong is which]
        chosen += [of[round(each)] for each in np.linspace(0, len(of) - 1, min(MOST, len(of)))]
    return tuple(example for index in chosen if (example := _example(plan, index)))


def _example(plan: CaptionPlan, index: int) -> WordExample | None:
    item = plan.inputs[index]
    picture = plan.regions.find(item.name)
    if picture is None:
        return None
    read = ReadCaption.of(plan, index)
    grid = read.finished.picture.grid
    words = tuple(
        word if word.heatmap is None else replace(word, heatmap=replace(word.heatmap, values=values))
        for word, values in zip(read.words, read.maps, strict=True)
    )
    claimed = read.claimed(picture)
    regions = {word.place: picture.mask(word.region, grid.picture) for word in claimed if word.region}
    text = plan.network.text(read.finished.tokens) if item.caption is None else item.caption
    caption = Caption(
        item.name, text, words, grid=grid, which=item.which, image=lambda size: open_picture(item.picture.opener)
    )
    return WordExample(caption, regions, tuple(word.place for word in claimed if word.right is False))
