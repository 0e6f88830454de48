"""`--sheet`: the first pictures with the maps of several methods, of all layers or of all heads side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from regard.app.console import progress
from regard.data.dataset import Picture
from regard.predictors.sheets import Sheet, sheet_columns
from regard.records import Heatmap
from regard.rendering.figures.panel import target_words
from regard.rendering.figures.sheets import Column, common_caption, comparison

if TYPE_CHECKING:
    from regard.predictors.explainer import ExplanationJob

ROWS = 12  # pictures on a comparison, at most


def compare(
    sheet: Sheet,
    job: "ExplanationJob",
    pictures: Sequence[Picture],
    items: Sequence[tuple[Image.Image, Heatmap]],
    colours: str | None = None,
) -> Image.Image:
    """The comparison of the first `pictures`, of which `items` are thumbnails and maps."""
    items = items[:ROWS]
    with progress(f"comparing {sheet.kind}", 0):
        columns = [Column(*each) for each in sheet_columns(sheet, job, pictures[:ROWS])]
    classes = job.network.classes or ()
    rows = []
    for image, heatmap in items:
        title = [heatmap.name, target_words(heatmap.predicted, classes)]
        rows.append((image, " · predicted ".join(filter(None, title))))
    caption = _caption(sheet, job, [heatmap for _, heatmap in items], len(columns))
    return comparison(rows, columns, colours=colours, caption=caption)


def _caption(sheet: Sheet, job: "ExplanationJob", maps: Sequence[Heatmap], count: int) -> str:
    """What holds for all the maps: the layers or heads in one word, or only what was chosen for all methods."""
    head = job.with_maps(*maps)
    if sheet.kind == "methods":
        bare = tuple(replace(heatmap, target=None) for heatmap in maps)
        head = replace(head, heatmaps=bare, method="as written above", settings=job.options.chosen())
    else:
        head = replace(head, settings={**head.settings, sheet.kind.removesuffix("s"): f"0 to {count - 1}"})
    return common_caption(head)
