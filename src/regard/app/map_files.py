"""What `regard explain` makes: maps in memory, or panels, sheets and arrays in a folder, or one Parquet file.

Whatever the number of pictures, memory stays the same: maps go to the disk as they come (`results/writer.py`), and the
same command after an interruption goes on where it was. Panels are drawn in threads while the network computes the next
maps; a map counts when its panel is on the disk.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from regard.app.comparing import compare
from regard.app.console import progress
from regard.app.output import OutputPlan, panel_names
from regard.data.dataset import Dataset
from regard.data.images.decode import thumbnail
from regard.data.images.preparation import in_order
from regard.errors import DataError
from regard.files import write_file, writing
from regard.predictors.explainer import ExplanationJob
from regard.records import Explanation, Heatmap
from regard.rendering.figures.canvas import png
from regard.rendering.figures.panel import caption_of
from regard.rendering.figures.sheets import common_caption, contact_sheet
from regard.rendering.figures.vector import RASTER, panel_bytes, pixels_for
from regard.results.maps import MapWriter

log = logging.getLogger("regard")

SHEET = 48  # pictures on the contact sheet, at most
CELL = 320  # their longer sides in pixels
NO_PICTURES = "none of the pictures could be read"


def explain_in_memory(job: ExplanationJob, dataset: Dataset) -> Explanation:
    """The maps of all pictures that could be read."""
    with progress(f"explaining by {job.method.name}", len(dataset)) as advance:
        maps = []
        for _, heatmap in job.heatmaps(dataset.pictures):
            maps.append(heatmap)
            advance(1)
    if not maps:
        raise DataError(NO_PICTURES)
    job.warn_incomplete(heatmap.completeness for heatmap in maps)
    job.report_curves(maps)
    return job.with_maps(*maps)


def write_maps(
    job: ExplanationJob, dataset: Dataset, out: Path, plan: OutputPlan, overwrite: bool = False
) -> tuple[int, tuple[int, ...]]:
    """Write what the plan says; the number of maps, and rows and columns of the first."""
    with writing(out), MapWriter.open(out, job.fingerprint(dataset.names, plan), len(dataset), overwrite) as writer:
        _write_each(job, dataset, writer, plan)
        if not writer.n:
            raise DataError(NO_PICTURES)
        shape = next(writer.heatmaps()).values.shape
        _report_sums(job, writer)
        job.report_curves(writer.heatmaps())
        if plan.format == "panels":
            _write_sheets(job, dataset, writer, plan)
            writer.finish_folder(job.about, out)
        else:
            writer.finish_table(job.about, out, dict(zip(dataset.names, dataset.filenames, strict=True)))
    return writer.n, shape


def _write_each(job: ExplanationJob, dataset: Dataset, writer: MapWriter, plan: OutputPlan) -> None:
    """The maps that are still missing, and their panels where there are any."""
    draw = _panel_writer(job, dataset, writer, plan)
    first = next(writer.heatmaps(), None)
    maps = job.heatmaps(dataset.pictures, writer.pictures)
    # matplotlib's settings, which SVG and PDF need, are those of the process
    workers = job.workers if plan.format == "panels" and plan.figure in RASTER else 0
    with (
        progress(f"explaining by {job.method.name}", len(dataset)) as advance,
        closing(in_order(draw, maps, workers, ahead=job.batch_size)) as panels,
    ):
        advance(writer.pictures)
        for place, (index, heatmap) in enumerate(panels, 1):
            first = first or heatmap
            if plan.format == "panels" and heatmap.values.shape != first.values.shape:
                raise DataError(_of_two_shapes(first, heatmap))
            writer.append(heatmap)
            if place % job.batch_size == 0:
                writer.commit(index + 1)
            advance(1)
        writer.commit(len(dataset))


def _report_sums(job: ExplanationJob, writer: MapWriter) -> None:
    """How far sums are off in all maps, and of how many an earlier version did not write them."""
    if not job.method.sums_to:
        return
    job.warn_incomplete(heatmap.completeness for heatmap in writer.heatmaps())
    lacking = sum(heatmap.completeness is None for heatmap in writer.heatmaps())
    if lacking:
        log.info(
            f"an earlier version of regard made the first {lacking} of {writer.n} maps, and did not say what they sum "
            "to: their logit, rest and sum are empty; to have them, explain again with --overwrite"
        )


def _panel_writer(
    job: ExplanationJob, dataset: Dataset, writer: MapWriter, plan: OutputPlan
) -> Callable[[tuple[int, Heatmap]], tuple[int, Heatmap]]:
    """What draws the panel of a map into the result, where there are panels, and hands the map on."""
    if plan.format != "panels":
        return lambda item: item
    files = panel_names(dataset.names, plan.figure)

    def draw(item: tuple[int, Heatmap]) -> tuple[int, Heatmap]:
        heatmap = item[1]
        image = heatmap.image(pixels_for(plan.figure))  # type: ignore[misc]
        settings: dict[str, Any] = {"colours": plan.colours, "signed": job.method.signed}
        panel = panel_bytes(plan.figure, image, heatmap, caption=caption_of(job.with_maps(heatmap), 0), **settings)
        write_file(writer.result / files[heatmap.name], panel)
        return item

    return draw


def _of_two_shapes(first: Heatmap, other: Heatmap) -> str:
    (rows, columns), (one, two) = first.values.shape, other.values.shape
    return (
        f"the map of {other.name} has {one} × {two} patches where that of {first.name} has {rows} × {columns}, and "
        "maps.npy holds maps of one shape; give --size, or --out FILE.parquet, which takes maps of any shape"
    )


def _write_sheets(job: ExplanationJob, dataset: Dataset, writer: MapWriter, plan: OutputPlan) -> None:
    """The contact sheet and comparisons of the first pictures."""
    first = list(islice(writer.heatmaps(), SHEET))
    pictures = {picture.name: picture for picture in dataset.pictures}
    images = [thumbnail(pictures[heatmap.name].opener, CELL) for heatmap in first]
    caption = common_caption(job.with_maps(*first))
    items = [(image, heatmap, heatmap.name) for image, heatmap in zip(images, first, strict=True)]
    sheet = contact_sheet(items, colours=plan.colours, signed=job.method.signed, caption=caption)
    write_file(writer.result / "contact_sheet.png", png(sheet))
    if plan.sheet is not None:
        rows = [pictures[heatmap.name] for heatmap in first]
        compared = list(zip(images, first, strict=True))
        write_file(writer.result / plan.sheet.file, png(compare(plan.sheet, job, rows, compared, plan.colours)))
