"""`regard positions`: how a network tells its patches apart, as figures, arrays and numbers beside their controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app.listing import Printed
from regard.app.options import (
    NETWORK,
    OUTPUT,
    WORK,
    AnyModel,
    BatchSize,
    Device,
    MaxPixels,
    Out,
    Overwrite,
    Seed,
    Size,
    SkipBad,
    Weights,
    WeightsPart,
    Workers,
    complete_models,
    option,
)
from regard.data import MAX_PIXELS
from regard.errors import UsageError, unknown
from regard.explanation.positions import INTERPOLATIONS

if TYPE_CHECKING:
    from regard.records import Positions

SCALES = ("shared", "each")


@dataclass(frozen=True, repr=False)
class PositionsResult(Printed):
    """Every way in which the network tells its patches apart, those in its weights first, and where they lie."""

    records: "tuple[Positions, ...]"
    out: Path

    @property
    def positions(self) -> "Positions":
        return self.records[0]


def positions(
    out: Out,
    model: AnyModel = "pets-tiny",
    weights: Weights = None,
    weights_part: WeightsPart = None,
    pictures: Annotated[
        str | Path | Sequence[str | Path] | None,
        option(
            "Pictures, or folders of them, to see what the network makes of places; may be repeated.",
            type=list[Path] | None,
        ),
    ] = None,
    layer: Annotated[
        int | None, option("Block that is read on --pictures, counted from 0; by default the last.", min=0)
    ] = None,
    before: Annotated[
        str | Path | None,
        option(
            "Network to compare with; by default the one a run began with.",
            panel=NETWORK,
            type=str | None,
            complete=complete_models,
        ),
    ] = None,
    from_grid: Annotated[
        str | None,
        option(
            "ROWS,COLUMNS that the positions were interpolated from, or none; by default those of 224 pixels "
            "for larger pictures.",
            panel=WORK,
        ),
    ] = None,
    interpolation: Annotated[str, option("How they were interpolated: bicubic or bilinear.", panel=WORK)] = "bicubic",
    permutations: Annotated[
        int | None,
        option("How often positions are permuted; by default 999.", panel=WORK),
    ] = None,
    scale: Annotated[str, option("Colour scale of the tiles: shared, or each its own.", panel=OUTPUT)] = "shared",
    colours: Annotated[str | None, option("Colour map; by default what suits the values.", panel=OUTPUT)] = None,
    size: Size = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    workers: Workers = 2,
    seed: Seed = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> PositionsResult:
    """Show how a network tells its patches apart: figures, arrays, and numbers with p-values and controls.

    CLS is left out. Measured are embeddings, rotation, relative bias, and what comes of them.

    Writes `positions.png` (a grid of grids, or a kernel over offsets), `similarity.npy` (rows, columns, rows, columns)
    or `kernel.npy` (layers, heads, 2·rows - 1, 2·columns - 1) and `numbers.json`; where there is more than one way, the
    others' files have their kind in their names. `report.html` is a page in which a tile of the grid of grids
    enlarges. `pictures` adds the mean token at each place and, for rotation and
    bias, the mean attention logit by offset, at block `layer`, by default the last. Controls: random positions grown
    from the grid `from_grid` ("ROWS,COLUMNS", or "none"; by default that of 224 pixels for networks of larger
    pictures) by `interpolation`, and the network `before`, by default the one that a run records, where it can be
    loaded. `permutations` is by default 999, or 99 for more than 1600 patches. `scale` is one colour scale "shared" by
    all tiles, or "each" its own. Raises `NetworkError` for a network that was told nothing of places and no `pictures`.

    >>> import regard
    >>> similarity = regard.positions("positions", permutations=9).positions
    >>> similarity.kind, similarity.similarity.shape  # (rows, columns, rows, columns)
    ('embeddings', (14, 14, 14, 14))
    """
    from regard.app.console import progress
    from regard.files import check_free
    from regard.networks.arguments import check_arguments
    from regard.predictors.command_inputs import read_picture_arguments
    from regard.rendering.colour import table

    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    if permutations is not None and permutations < 1:
        raise UsageError(f"--permutations is {permutations}; give 1 or more")
    if colours is not None:
        table(colours)  # an unknown colour map is named before the work
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, INTERPOLATIONS)
    grid = None if from_grid is None else parse_grid(from_grid)
    check_free(out, overwrite)
    check_arguments(model, weights, weights_part)
    dataset = read_picture_arguments(pictures, "positions", max_pixels) if pictures else None
    # torch is imported when nothing else is wrong
    from regard.explanation.positions.survey import PRETRAINING, SurveySettings, survey_pictures, survey_weights
    from regard.networks.load import load
    from regard.networks.starts import network_before

    source = PRETRAINING if from_grid is None else grid
    network = load(
        model, weights=weights, weights_part=weights_part, size=size, device=device if pictures else "cpu", seed=seed
    )
    settings = SurveySettings(network_before(model, before), source, interpolation, permutations, seed, layer)
    results = survey_weights(network, settings, needed=not pictures)
    if dataset is not None:
        results += survey_pictures(
            network,
            dataset,
            settings,
            logits=any(each.kind in ("rotary", "relative") for each in results),
            batch_size=batch_size,
            workers=workers,
            skip_bad=skip_bad,
            progress=progress,
        )
    _write(results, Path(out), scale, colours, overwrite)
    return PositionsResult(tuple(results), Path(out))


def parse_grid(text: str) -> tuple[int, int] | None:
    """ "none" → None, "14,14" → (14, 14): rows and columns of patches."""
    if text.strip().lower() == "none":
        return None
    try:
        rows, columns = (int(part) for part in text.split(","))
        if min(rows, columns) < 1:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"--from-grid is {text!r}; it must be none or ROWS,COLUMNS of patches, such as 14,14"
        ) from None
    return rows, columns


def _write(results: "Sequence[Positions]", out: Path, scale: str, colours: str | None, overwrite: bool) -> None:
    import numpy as np

    from regard.files import new_folder, write_file, write_json
    from regard.records import write_manifest
    from regard.rendering.figures.canvas import png
    from regard.rendering.figures.position_grids import draw
    from regard.rendering.pages.report import Report, report
    from regard.results.positions import endings, numbers_of

    numbers = [numbers_of(each) for each in results]
    with new_folder(out, overwrite) as folder:
        for place, (each, ending) in enumerate(zip(results, endings(results), strict=True)):
            array = each.similarity if each.kernel is None else each.kernel
            np.save(folder / f"{'similarity' if each.kernel is None else 'kernel'}{ending}.npy", array)
            numbers[place]["figure"] = f"positions{ending}.png"
            write_file(folder / f"positions{ending}.png", png(draw(each, scale=scale, colours=colours)))  # type: ignore[arg-type]
        if grids := [each for each in results if each.kernel is None]:
            about = dict(grids[0].provenance)
            write_file(folder / "report.html", report(Report(out.name, positions=grids[0], provenance=about)))
        write_json(folder / "numbers.json", {"found": numbers})
        write_manifest(folder, "positions", scale=scale, found=numbers, provenance=dict(results[0].provenance))


def as_json(result: PositionsResult) -> dict[str, Any]:
    from regard.results.positions import numbers_of

    first = result.positions
    return {
        "out": str(result.out),
        "rows": first.rows,
        "columns": first.columns,
        "found": [numbers_of(each) for each in result.records],
    }


def as_text(result: PositionsResult) -> str:
    from regard.results.positions import table

    return "\n".join([*(table(each) for each in result.records), f"written to {result.out}"])
