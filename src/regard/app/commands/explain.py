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

from regard.app.asking import Asked
from regard.app.comparing import compare
from regard.app.console import progress
from regard.app.output import OutputPlan, panel_names
from regard.app.work import Work, drawable, thumbnail
from regard.data.layouts import read_pictures
from regard.errors import DataError
from regard.explanation import METHODS
from regard.files import check_free, write_file, writing
from regard.networks.load import load
from regard.records import Explanation, Heatmap
from regard.rendering.figures.canvas import png
from regard.rendering.figures.panel import caption_of
from regard.rendering.figures.sheets import common_caption, contact_sheet
from regard.rendering.figures.vector import TILE, panel_bytes
from regard.results.maps import MapWriter, read_table

SHEET, CELL = 48, 320  # pictures on the contact sheet, at most, and their longer sides in pixels


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
    row, out = METHODS[method], None if out is None else Path(out)
    asked = Asked(layer, head, query, start, target, against, steps, samples, seed)
    asked.check(row)
    plan = OutputPlan.of(out, format, figure, sheet, colours)
    if plan.sheet is not None:
        plan.sheet.check(row)
    if out is not None:
        check_free(out, overwrite)
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    network = load(model, weights=weights, size=size, device=device, precision=precision, seed=seed, grid=grid)
    work = Work(network, dataset, row, asked.settings(row, network), asked, batch_size, workers, skip_bad)
    return _in_memory(work) if out is None else _on_disk(work, out, plan)


def _in_memory(work: Work) -> Result:
    with progress(f"explaining by {work.row.name}", len(work.pictures)) as advance:
        maps = []
        for _, heatmap in work.maps():
            maps.append(heatmap)
            advance(1)
    _some(len(maps))
    rows, columns = maps[0].values.shape
    return Result(work.with_maps(*maps), len(maps), rows, columns)


def _on_disk(work: Work, out: Path, plan: OutputPlan) -> Result:
    with writing(out), MapWriter.open(out, work.fingerprint(plan), len(work.pictures)) as writer:
        _make_maps(work, writer, _panels(work, writer, plan) if plan.format == "panels" else None)
        _some(writer.n)
        rows, columns = next(writer.heatmaps()).values.shape
        if plan.format == "panels":
            _draw_sheets(work, writer, plan)
            writer.finish_folder(work.about, out)
        else:
            writer.finish_table(work.about, out)
    return Result(work.about, writer.n, rows, columns, out)


def _make_maps(work: Work, writer: MapWriter, draw: Callable[[int, Heatmap], None] | None) -> None:
    """Make the maps that are still missing, and a panel of each where there are to be any."""
    with progress(f"explaining by {work.row.name}", len(work.pictures)) as advance:
        advance(writer.pictures)
        for place, (index, heatmap) in enumerate(work.maps(writer.pictures), 1):
            if draw is not None:
                draw(index, heatmap)
            writer.append(heatmap)
            if place % work.batch_size == 0:
                writer.commit(index + 1)
            advance(1)
        writer.commit(len(work.pictures))


def _some(n: int) -> None:
    if not n:
        raise DataError("none of the pictures could be read")


def _panels(work: Work, writer: MapWriter, plan: OutputPlan) -> Callable[[int, Heatmap], None]:
    """What draws a picture's panel into the result. It refuses a map of another shape than the first."""
    files = panel_names(work.pictures.names, plan.figure)
    settings = {"colours": plan.colours, "signed": work.row.signed}
    shapes = {heatmap.values.shape: heatmap.name for heatmap in islice(writer.heatmaps(), 1)}

    def draw(index: int, heatmap: Heatmap) -> None:
        shapes.setdefault(heatmap.values.shape, heatmap.name)
        if len(shapes) > 1:
            raise DataError(_of_two_shapes(shapes))
        image, caption = drawable(work.pictures.pictures[index].opener, TILE), caption_of(work.with_maps(heatmap), 0)
        drawn = panel_bytes(plan.figure, image, heatmap, caption=caption, **settings)
        write_file(writer.result / files[heatmap.name], drawn)

    return draw


def _of_two_shapes(shapes: Mapping[tuple[int, ...], str]) -> str:
    (one, first), (other, second) = shapes.items()
    return (
        f"the map of {second} has {other[0]} × {other[1]} patches where that of {first} has {one[0]} × {one[1]}, and "
        "maps.npy holds maps of one shape; give --size, or --out FILE.parquet, which takes maps of any shape"
    )


def _draw_sheets(work: Work, writer: MapWriter, plan: OutputPlan) -> None:
    """The contact sheet and comparisons of the first pictures."""
    openers = {picture.name: picture.opener for picture in work.pictures.pictures}
    first = list(islice(writer.heatmaps(), SHEET))
    items = [(thumbnail(openers[heatmap.name], CELL), heatmap, heatmap.name) for heatmap in first]
    caption, signed = common_caption(work.with_maps(*first)), work.row.signed
    sheet = contact_sheet(items, colours=plan.colours, signed=signed, caption=caption)
    write_file(writer.result / "contact_sheet.png", png(sheet))
    if plan.sheet is not None:
        compared = [(image, heatmap) for image, heatmap, _ in items]
        drawn = compare(plan.sheet, work, compared, plan.colours)
        write_file(writer.result / plan.sheet.file, png(drawn))


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
