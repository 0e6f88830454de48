"""`regard explain`: a map for each picture, as panels and arrays in a folder, or as one Parquet file."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app import options as opt
from regard.app.console import progress
from regard.app.listing import Printed
from regard.data import MAX_PIXELS
from regard.jobs.bulk.arguments import is_bulk, run_bulk

if TYPE_CHECKING:
    from regard.jobs.bulk.run import BulkRun
    from regard.records import Explanation

log = logging.getLogger("regard")


@dataclass(frozen=True, repr=False)
class ExplainResult(Printed):
    """The maps of `n` pictures and where they were written, if they were; `about` is their explanation without maps.

    `rows` and `columns` are of the first map. `explanation` has the maps, read from the disk when it is asked for.
    """

    about: "Explanation"
    n: int
    rows: int
    columns: int
    out: Path | None = None
    page: Path | None = None

    @cached_property
    def explanation(self) -> "Explanation":
        from regard.records import Explanation
        from regard.results.maps import read_table

        if self.out is None:
            return self.about
        return Explanation.load(self.out) if self.out.is_dir() else read_table(self.out)


def explain(
    pictures: opt.Pictures,
    out: opt.OutOrMemory = None,
    method: Annotated[
        str,
        opt.option(
            f"One of: {', '.join(opt.PICTURE_METHODS)} (see `regard methods`).",
            callback=opt.picture_method,
            complete=opt.complete_picture_methods,
        ),
    ] = "attention",
    layer: opt.Layer = None,
    head: opt.Head = None,
    query: opt.Query = "CLS",
    start: opt.Start = None,
    target: opt.Target = None,
    against: opt.Against = None,
    steps: opt.Steps = None,
    samples: opt.Samples = None,
    curve: opt.Curve = False,
    model: opt.AnyModel = "pets-tiny",
    weights: opt.Weights = None,
    weights_part: opt.WeightsPart = None,
    audit: Annotated[
        str | Path | None, opt.option("Folder of an audit that may hold a verdict.", type=Path | None)
    ] = None,
    grid: opt.Grid = None,
    format: opt.Format = None,
    figure: opt.Figure = None,
    sheet: opt.Sheet = None,
    coco: opt.Coco = None,
    colours: opt.MapColours = None,
    page: opt.Page = None,
    methods: opt.Methods = None,
    beside: opt.Beside = None,
    no_pictures: opt.NoPictures = False,
    anonymise: opt.Anonymise = False,
    size: opt.Size = None,
    device: opt.Device = None,
    precision: opt.Precision = "float32",
    batch_size: opt.BatchSize = 8,
    workers: opt.Workers = 2,
    seed: opt.Seed = 0,
    image: opt.ImageColumn = None,
    max_pixels: opt.MaxPixels = MAX_PIXELS,
    skip_bad: opt.SkipBad = False,
    overwrite: opt.Overwrite = False,
    jobs: opt.Jobs = None,
    columns: opt.Columns = None,
    dry_run: opt.DryRun = False,
    unit: opt.Unit = None,
    threads: opt.Threads = None,
) -> "ExplainResult | BulkRun":
    """Show what a network looks at: a panel for each picture and the maps as arrays, or one Parquet table.

    What a setting means, its method says (METHODS). The same command goes on after an interruption.

    Into the folder `out` go a panel for each picture under its own name (picture, map, map over the grey picture; as
    `figure` says a jpg, png, svg or pdf), `contact_sheet.png` of the first 48, and the result folder's arrays and
    manifest; with `sheet` ("methods", "layers", "heads", or names of methods) also one that shows those side by side.
    A file `out` that ends in `.parquet` (or any, with `format` "parquet") gets a row for each picture instead. Without
    `out` the maps are only returned. A run that was interrupted is gone on with.

    What an audit found of the method on this network stands in `about.verdict` and on panels: from the folder `audit`,
    else from the run.
    The file `page` shows each picture by its layers, heads and patches, and by several `methods`, with their removal
    curves, by this network and those `beside` it: see docs/explain.md. With a page alone no other maps are made.
    The COCO file `coco` has the region of each map, from what is in `out`: see docs/explain.md.
    With `curve` each map has its removal curves and their SRG in the manifest or the table (`heatmap.curve`).

    `query` is "CLS" or "ROW,COLUMN" of a patch; `layer`, `head` and `start` count from 0; `target` and `against` are
    names or indices of classes, by default the predicted one. `model` may be a module; of a network that regard does
    not know, `grid` (rows, columns) of its patches, or "ROWS,COLUMNS", lets its attention be found.

    >>> import regard
    >>> _ = regard.scenes(2, "drawn")
    >>> result = regard.explain("drawn/images", "maps", method="gradcam", workers=0)
    >>> result.explanation.maps.shape  # (pictures, rows, columns)
    (2, 14, 14)
    >>> regard.explain("drawn/images", method="rollout", workers=0).explanation.method  # nothing written
    'rollout'
    """
    if is_bulk(locals()):
        return run_bulk(explain, locals(), progress)
    from regard.app.output import OutputPlan
    from regard.data.dataset import skipper
    from regard.explanation import method_named
    from regard.exports.coco import check_coco, write_coco
    from regard.files import check_free
    from regard.networks.arguments import check_arguments
    from regard.predictors.command_inputs import read_picture_arguments, refuse_network
    from regard.predictors.method_options import MethodOptions, parse_grid
    from regard.predictors.page_plan import PagePlan

    refuse_network(pictures, "pictures", "explain")
    out = None if out is None else Path(out)
    options = MethodOptions(layer, head, query, start, target, against, steps, samples, seed)
    row = method_named(method, "picture")
    options.check(row)
    patches = parse_grid(grid)
    plan = OutputPlan.of(out, format, figure, sheet, colours)
    if plan.sheet is not None:
        plan.sheet.check(row)
    page_plan = PagePlan.of(page, overwrite, methods, beside, no_pictures, anonymise)
    if out is not None:
        check_free(out, overwrite)
    coco = check_coco(coco, out, overwrite)
    check_arguments(model, weights, weights_part, precision)
    dataset = read_picture_arguments(pictures, "explain", max_pixels, image)
    # torch is imported when nothing else is wrong
    from regard.app.inspecting import write_page
    from regard.app.map_files import explain_in_memory, write_maps
    from regard.audit.notes import artifact_note, repair_command
    from regard.audit.verdicts import verdict_finder, verdict_on
    from regard.measurement.selection import learnt_by
    from regard.predictors.explainer import Explainer

    explainer = Explainer(
        model,
        weights=weights,
        weights_part=weights_part,
        size=size,
        device=device,
        precision=precision,
        seed=seed,
        grid=patches,
    )
    reading = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad)}
    job = explainer.job(method, options, **reading, learnt=learnt_by(model), curve=curve)
    if (method, layer, query) == ("attention", None, "CLS"):
        folders = [Path(each) for each in ([pictures] if isinstance(pictures, str | Path) else pictures)]
        data = folders[0] if len(folders) == 1 and folders[0].is_dir() else "DATA"
        repair = repair_command(data, model, weights=weights) if isinstance(model, str | Path) else ""
        if note := artifact_note(job.network, dataset, dataset.names, repair):
            log.info(note)
    job = replace(job, verdict=verdict_on(job.about, audit, model, dataset.pictures))
    page_file = None if page_plan is None else page_plan.file
    if page_plan is not None:
        of_page = {"target": target, "seed": seed}
        content = page_plan.inspect(
            explainer, model, dataset, of_page, partial(verdict_finder, audit), progress, on_bad=skipper(skip_bad)
        )
        count = write_page(page_plan, content)
    if out is not None:
        count, (rows, width) = write_maps(job, dataset, out, plan, overwrite)
        if coco is not None:
            write_coco(coco, out)
    elif page_plan is not None:
        rows = width = 0
    else:
        explanation = explain_in_memory(job, dataset)
        rows, width = explanation.heatmaps[0].values.shape
        return ExplainResult(explanation, len(explanation), rows, width)
    return ExplainResult(job.about, count, rows, width, out, page_file)


def as_json(result: ExplainResult) -> dict[str, Any]:
    return {
        "out": str(result.out),
        **({} if result.page is None else {"page": str(result.page)}),
        "n": result.n,
        "method": result.about.method,
        "settings": dict(result.about.settings),
        "rows": result.rows,
        "columns": result.columns,
        "verdict": result.about.verdict or None,
    }


def as_text(result: ExplainResult) -> str:
    pictures = f"{result.n} picture{'s' if result.n != 1 else ''}"
    verdict = f"\nverdict of an audit: {result.about.verdict}" if result.about.verdict else ""
    places = " and ".join(str(place) for place in (result.out, result.page) if place is not None)
    where = f", written to {places}" if places else ""
    return f"{pictures} explained by {result.about.method}{where}{verdict}"
