"""`regard explain`: a map for each picture, as panels and arrays in a folder, or as one Parquet file.

Whatever the number of pictures, memory stays the same: maps go to the disk as they come (`results/writer.py`), and the
same command after an interruption goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from regard.app.comparing import compare
from regard.app.console import progress
from regard.app.output import OutputPlan, panel_names
from regard.data.dataset import Dataset, skipper
from regard.data.images.decode import thumbnail
from regard.data.layouts import read_pictures
from regard.errors import DataError
from regard.explanation import METHODS
from regard.files import check_free, write_file, writing
from regard.predictors.explainer import Explainer, ExplanationJob
from regard.predictors.method_options import MethodOptions
from regard.records import Explanation, Heatmap
from regard.rendering.figures.canvas import png
from regard.rendering.figures.panel import caption_of
from regard.rendering.figures.sheets import common_caption, contact_sheet
from regard.rendering.figures.vector import TILE, panel_bytes
from regard.results.maps import MapWriter, read_table

SHEET = 48  # pictures on the contact sheet, at most
CELL = 320  # their longer sides in pixels
NONE = "none of the pictures could be read"


@dataclass(frozen=True)
class Result:
    """The maps of `n` pictures and where they were written, if they were; `about` is their explanation without maps.

    `rows` and `columns` are of the first map. `explanation` has the maps, read from the disk when it is asked for.
    """

    about: Explanation
    n: int
    rows: int
    columns: int
    out: Path | None = None

    @cached_property
    def explanation(self) -> Explanation:
        if self.out is None:
            return self.about
        return Explanation.load(self.out) if self.out.is_dir() else read_table(self.out)


def explain(
    pictures: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    method: str = "attention",
    layer: int | None = None,
    head: int | None = None,
    query: str = "CLS",
    start: int | None = None,
    target: str | int | None = None,
    against: str | int | None = None,
    steps: int | None = None,
    samples: int | None = None,
    model: str | Path | torch.nn.Module = "pets-tiny",
    weights: str | Path | None = None,
    grid: tuple[int, int] | None = None,
    format: str | None = None,
    figure: str | None = None,
    sheet: str | None = None,
    colours: str | None = None,
    size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 8,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """Where a network looks in each picture, by a method of METHODS; what a setting means, the method says.

    Into the folder `out` go a panel for each picture under its own name (picture, map, map over the grey picture; as
    `figure` says a png, svg or pdf), `contact_sheet.png` of the first 48, and the result folder's arrays and manifest;
    with `sheet` ("methods", "layers", "heads", or names of methods) also one that shows those side by side. A file
    `out` that ends in `.parquet` (or any, with `format` "parquet") gets a row for each picture instead. Without `out`
    the maps are only returned. A run that was interrupted is gone on with.

    `query` is "CLS" or "ROW,COLUMN" of a patch; `layer`, `head` and `start` count from 0; `target` and `against` are
    names or indices of classes, by default the predicted one. `model` may be a module;
    of one that regard does not know, `grid` (rows, columns) of its patches lets its attention be found.
    """
    out = None if out is None else Path(out)
    options = MethodOptions(layer, head, query, start, target, against, steps, samples, seed)
    options.check(METHODS[method])
    plan = OutputPlan.of(out, format, figure, sheet, colours)
    if plan.sheet is not None:
        plan.sheet.check(METHODS[method])
    if out is not None:
        check_free(out, overwrite)
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    explainer = Explainer(model, weights=weights, size=size, device=device, precision=precision, seed=seed, grid=grid)
    reading = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad)}
    job = explainer.job(method, options, **reading)
    return _explain(job, dataset) if out is None else _write(job, dataset, out, plan)


def _explain(job: ExplanationJob, dataset: Dataset) -> Result:
    with progress(f"explaining by {job.method.name}", len(dataset)) as advance:
        maps = []
        for _, heatmap in job.heatmaps(dataset.pictures):
            maps.append(heatmap)
            advance(1)
    if not maps:
        raise DataError(NONE)
    rows, columns = maps[0].values.shape
    return Result(job.with_maps(*maps), len(maps), rows, columns)


def _write(job: ExplanationJob, dataset: Dataset, out: Path, plan: OutputPlan) -> Result:
    with writing(out), MapWriter.open(out, job.fingerprint(dataset.names, plan), len(dataset)) as writer:
        _write_maps(job, dataset, writer, _panel_writer(job, dataset, writer, plan))
        if not writer.n:
            raise DataError(NONE)
        rows, columns = next(writer.heatmaps()).values.shape
        if plan.format == "panels":
            _write_sheets(job, dataset, writer, plan)
            writer.finish_folder(job.about, out)
        else:
            writer.finish_table(job.about, out)
    return Result(job.about, writer.n, rows, columns, out)


def _write_maps(job: ExplanationJob, dataset: Dataset, writer: MapWriter, draw: Callable[[Heatmap], None]) -> None:
    """The maps that are still missing."""
    with progress(f"explaining by {job.method.name}", len(dataset)) as advance:
        advance(writer.pictures)
        for place, (index, heatmap) in enumerate(job.heatmaps(dataset.pictures, writer.pictures), 1):
            draw(heatmap)
            writer.append(heatmap)
            if place % job.batch_size == 0:
                writer.commit(index + 1)
            advance(1)
        writer.commit(len(dataset))


def _panel_writer(
    job: ExplanationJob, dataset: Dataset, writer: MapWriter, plan: OutputPlan
) -> Callable[[Heatmap], None]:
    """What draws a picture's panel into the result, where there are panels; it refuses a map of another shape than the
    first."""
    if plan.format != "panels":
        return lambda heatmap: None
    files = panel_names(dataset.names, plan.figure)
    shapes = {heatmap.values.shape: heatmap.name for heatmap in islice(writer.heatmaps(), 1)}

    def draw(heatmap: Heatmap) -> None:
        shapes.setdefault(heatmap.values.shape, heatmap.name)
        if len(shapes) > 1:
            raise DataError(_of_two_shapes(shapes))
        image = heatmap.image(TILE)  # type: ignore[misc]
        caption, signed = caption_of(job.with_maps(heatmap), 0), job.method.signed
        drawn = panel_bytes(plan.figure, image, heatmap, caption=caption, colours=plan.colours, signed=signed)
        write_file(writer.result / files[heatmap.name], drawn)

    return draw


def _of_two_shapes(shapes: Mapping[tuple[int, ...], str]) -> str:
    (one, first), (other, second) = shapes.items()
    return (
        f"the map of {second} has {other[0]} × {other[1]} patches where that of {first} has {one[0]} × {one[1]}, and "
        "maps.npy holds maps of one shape; give --size, or --out FILE.parquet, which takes maps of any shape"
    )


def _write_sheets(job: ExplanationJob, dataset: Dataset, writer: MapWriter, plan: OutputPlan) -> None:
    """The contact sheet and comparisons of the first pictures."""
    first = list(islice(writer.heatmaps(), SHEET))
    pictures = {picture.name: picture for picture in dataset.pictures}
    images = [thumbnail(pictures[heatmap.name].opener, CELL) for heatmap in first]
    caption, signed = common_caption(job.with_maps(*first)), job.method.signed
    items = [(image, heatmap, heatmap.name) for image, heatmap in zip(images, first, strict=True)]
    sheet = contact_sheet(items, colours=plan.colours, signed=signed, caption=caption)
    write_file(writer.result / "contact_sheet.png", png(sheet))
    if plan.sheet is not None:
        rows = [pictures[heatmap.name] for heatmap in first]
        compared = list(zip(images, first, strict=True))
        write_file(writer.result / plan.sheet.file, png(compare(plan.sheet, job, rows, compared, plan.colours)))


def as_json(result: Result) -> dict[str, Any]:
    return {
        "out": str(result.out),
        "n": result.n,
        "method": result.about.method,
        "settings": dict(result.about.settings),
        "rows": result.rows,
        "columns": result.columns,
    }


def as_text(result: Result) -> str:
    pictures = f"{result.n} picture{'s' if result.n != 1 else ''}"
    return f"{pictures} explained by {result.about.method}, written to {result.out}"
