"""Pictures of how a network tells its patches apart: the grid of grids of similarities, or a kernel over offsets."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regard.errors import DataError, unknown
from regard.records import Positions
from regard.rendering import colour
from regard.rendering.figures.canvas import FAINT, INK, MARGIN, PAPER
from regard.rendering.lettering import font, number, shorten

Scale = Literal["shared", "each"]

TITLES = {
    "embeddings": "Similarity of positional embeddings",
    "tokens": "Similarity of the mean tokens of places",
    "rotary": "Rotary positions: mean over bands of cos(frequency · offset)",
    "relative": "Relative positions: bias of the attention logits by offset",
    "logits": "Mean attention logit by offset",
}
UNITS = {"embeddings": "cosine", "tokens": "cosine", "rotary": "kernel", "relative": "bias", "logits": "logit"}
SIGNED = ("relative", "logits")
"""Kinds whose values have a sign that means something: drawn symmetrically about 0."""
LARGE = 420
COLOURS = "viridis"
"""Problem 1's for the grid of grids, and so for all values without a sign."""


def draw(positions: Positions, *, scale: Scale = "shared", colours: str | None = None, size: int = 1200) -> Image.Image:
    """The figure of a record's kind; `colours` is by default what suits its values."""
    if positions.kernel is not None:
        return kernel_figure(positions, scale=scale, colours=colours, size=size)
    return positions_figure(positions, scale=scale, colours=colours or COLOURS, size=size)


def positions_figure(
    positions: Positions, *, scale: Scale = "shared", colours: str = COLOURS, size: int = 1200
) -> Image.Image:
    """The grid of grids: tile (r, c) shows how alike position (r, c) is to every other one.

    One colour scale for all tiles, with a bar, or each tile its own ("each"). `size` is about the longer side of the
    grid in pixels; every value is a square of whole pixels. After Dosovitskiy et al. 2021, figure 7 (centre).
    """
    painted, ends = positions_array(positions, scale=scale, colours=colours)
    rows = positions.rows
    columns = positions.columns
    cell = max(1, round(size / (max(rows, columns) * (max(rows, columns) + 0.5))))
    gap = max(2, cell * min(rows, columns) // 14)
    grid = Image.fromarray(_spaced(painted, cell, gap))
    left = MARGIN + 44
    top = MARGIN + 62
    sheet = Image.new("RGB", (max(left + grid.width + 104, 440), top + grid.height + MARGIN), PAPER)
    sheet.paste(grid, (left, top))
    pen = ImageDraw.Draw(sheet)
    pen.text((left, MARGIN), TITLES[positions.kind], INK, font(16, bold=True), anchor="la")
    _axis_labels(pen, (left, top), (cell * columns + gap, cell * rows + gap), (rows, columns))
    _upright_bar(sheet, (left + grid.width + 24, top), min(grid.height, 320), colours, ends, UNITS[positions.kind])
    pen.text((left, top - 34), "column", FAINT, font(13), anchor="la")
    return sheet


def positions_array(
    positions: Positions, *, scale: Scale = "shared", colours: str = COLOURS
) -> tuple[colour.Bytes, colour.Limits | None]:
    """The tiles' colours, (rows, columns, rows, columns, 3) uint8, and the (low, high) they share, if they do."""
    return _painted(positions.similarity, scale, colours, positions.kind in SIGNED)


def kernel_figure(
    positions: Positions, *, scale: Scale = "shared", colours: str | None = None, size: int = 1200
) -> Image.Image:
    """The kernel over offsets of the key from the query: its mean large, then each layer (down) and head (across).

    Of kernels that all layers share the heads are wrapped. Scales as in `positions_figure`, the mean with its own bar.
    Raises `DataError` for a record without a kernel.
    """
    if positions.kernel is None:
        raise DataError(f"these positions ({positions.kind}) have no kernel over offsets; draw their similarity")
    signed = positions.kind in SIGNED
    colours = colours or (colour.SIGNED if signed else COLOURS)
    mean = positions.kernel.mean(axis=(0, 1))
    tiles = _wrapped(positions.kernel)
    painted, ends = _painted(tiles, scale, colours, signed)
    painted[np.isnan(tiles)] = PAPER  # where the last row of heads is not full
    cell = max(1, LARGE // max(mean.shape))
    large = Image.fromarray(colour.paint(mean, colours, signed=signed).repeat(cell, axis=0).repeat(cell, axis=1))
    several = None
    if positions.kernel.shape[:2] != (1, 1):  # small multiples, about `size` pixels at their longer side
        down, across, high, wide, _ = painted.shape
        cell = max(1, min((size - 2 * LARGE // 3) // (across * (wide + 2)), size // (down * (high + 2))))
        several = Image.fromarray(_spaced(painted, min(cell, 6), 4))
    return _kernel_sheet(positions, large, colour.limits(mean, signed), several, ends, colours)


def mosaic(tiles: colour.Bytes, gap: int = 1, fill: int = 255) -> colour.Bytes:
    """Tiles (R, C, r, c, ...) → one array (R · (r + gap) - gap, C · (c + gap) - gap, ...), `fill` between them."""
    rows, columns, high, wide, *rest = tiles.shape
    padded = np.full((rows, columns, high + gap, wide + gap, *rest), fill, np.uint8)
    padded[:, :, :high, :wide] = tiles
    whole = padded.swapaxes(1, 2).reshape(rows * (high + gap), columns * (wide + gap), *rest)
    return whole[: whole.shape[0] - gap, : whole.shape[1] - gap]


def _painted(
    values: NDArray[np.float32], scale: Scale, colours: str, signed: bool
) -> tuple[colour.Bytes, colour.Limits | None]:
    """Tiles (R, C, r, c) → their colours, and the limits they share, if they do."""
    if scale == "shared":
        ends = colour.limits(values, signed)
        return colour.paint(values, colours, scale=ends), ends
    if scale == "each":
        tiles = [[colour.paint(tile, colours, signed=signed, hatch=False) for tile in row] for row in values]
        return np.array(tiles), None
    raise unknown("scale", scale, ("shared", "each"))


def _wrapped(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """(layers, heads, ...) as it is, but the heads of one layer in rows, NaN where the last one is not full."""
    layers, heads, *shape = kernel.shape
    if layers > 1:
        return kernel
    columns = int(np.ceil(heads**0.5))
    rows = -(-heads // columns)
    whole = np.full((rows * columns, *shape), np.nan, np.float32)
    whole[:heads] = kernel[0]
    return whole.reshape(rows, columns, *shape)


def _kernel_sheet(
    positions: Positions,
    large: Image.Image,
    mean: colour.Limits,
    several: Image.Image | None,
    ends: colour.Limits | None,
    colours: str,
) -> Image.Image:
    """Title, what was read, the mean with its offsets and bar and, to its right, the layers and heads with theirs."""
    left = MARGIN + 44
    top = MARGIN + 88
    second = left + large.width + 150
    width = second - 20 if several is None else second + several.width + 110
    width = max(width, left + int(font(16, bold=True).getlength(TITLES[positions.kind])) + MARGIN)
    height = top + max(large.height + 24, 0 if several is None else several.height) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    unit = UNITS[positions.kind]
    pen.text((left, MARGIN), TITLES[positions.kind], INK, font(16, bold=True), anchor="la")
    pen.text((left, MARGIN + 24), shorten(positions.source, font(13), width - left - MARGIN), FAINT, font(13))
    sheet.paste(large, (left, top))
    _offset_labels(pen, (left, top), large.size, (positions.rows, positions.columns))
    _upright_bar(sheet, (left + large.width + 20, top), min(large.height, 320), colours, mean, unit)
    if several is not None:
        sheet.paste(several, (second, top))
        _tile_labels(pen, (second, top), several.size, positions)
        _upright_bar(sheet, (second + several.width + 20, top), min(several.height, 320), colours, ends, unit)
    return sheet


def _tile_labels(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], positions: Positions
) -> None:
    """Heads above and layers beside the small multiples; of one layer the heads are in reading order."""
    assert positions.kernel is not None
    layers, heads = positions.kernel.shape[:2]
    left, top = corner
    if layers == 1:
        shared = f"layer {positions.layers[0]}" if positions.layers else "all layers"
        pen.text((left, top - 6), f"heads 0 to {heads - 1} of {shared}, row by row", FAINT, font(13), anchor="lb")
        return
    names = positions.layers or tuple(range(layers))
    across = (size[0] + 4) / heads
    down = (size[1] + 4) / layers
    for head in range(0, heads, max(1, int(-(-24 // across)))):
        pen.text((left + (head + 0.5) * across, top - 6), str(head), FAINT, font(12), anchor="mb")
    for layer in range(0, layers, max(1, int(-(-15 // down)))):
        pen.text((left - 7, top + (layer + 0.5) * down), str(names[layer]), FAINT, font(12), anchor="rm")
    pen.text((left, top - 24), "head", FAINT, font(13), anchor="lb")
    pen.text((left - 28, top - 6), "layer", FAINT, font(13), anchor="mb")


def _offset_labels(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], size: tuple[int, int], counts: tuple[int, int]
) -> None:
    """The first, middle and last offset along both sides, in patches from query to key."""
    left, top = corner
    wide, high = size
    rows, columns = counts
    for share, sign in ((0.0, -1), (0.5, 0), (1.0, 1)):
        across, down = (f"{sign * (count - 1):+d}" if sign else "0" for count in (columns, rows))
        pen.text((left + share * wide, top - 6), across, FAINT, font(12), anchor="mb")
        pen.text((left - 7, top + share * high), down, FAINT, font(12), anchor="rm")
    pen.text((left, top - 24), "mean; where the key lies, seen from the query", FAINT, font(13), anchor="lb")


def _upright_bar(
    sheet: Image.Image,
    corner: tuple[int, int],
    high: int,
    colours: str,
    ends: colour.Limits | None,
    unit: str,
) -> None:
    """A colour bar standing up, 14 pixels wide, with values beside it; words where each tile has its own scale."""
    pen = ImageDraw.Draw(sheet)
    ramp = np.repeat(colour.paint(np.linspace(1, 0, high)[:, None], colours, scale=(0, 1)), 14, axis=1)
    sheet.paste(Image.fromarray(ramp), corner)
    left, top = corner
    for share in (0.0, 0.25, 0.5, 0.75, 1.0) if ends else (0.0, 1.0):
        text = ("least", "most")[int(share)]
        if ends:  # two digits after the point, or more significant ones where the scale is small
            value = ends[0] + share * (ends[1] - ends[0])
            text = f"{value:.2f}" if ends[1] - ends[0] >= 0.1 else number(value)
        pen.text((left + 20, top + (1 - share) * (high - 1)), text, FAINT, font(12), anchor="lm")
    pen.text((left, top - 34), unit if ends else "each tile", FAINT, font(13), anchor="la")


def _axis_labels(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], step: tuple[int, int], counts: tuple[int, int]
) -> None:
    """Row and column indices along the grid's edges, every one or as many as there is room for."""
    left, top = corner
    letters = font(12)
    across, down = step
    for column in range(0, counts[1], max(1, -(-24 // across))):
        pen.text((left + column * across + across / 2 - 1, top - 6), str(column), FAINT, letters, anchor="mb")
    for row in range(0, counts[0], max(1, -(-15 // down))):
        pen.text((left - 7, top + row * down + down / 2 - 1), str(row), FAINT, letters, anchor="rm")
    pen.text((left - 44, top - 6), "row", FAINT, font(13), anchor="lb")


def _spaced(painted: colour.Bytes, cell: int, gap: int) -> colour.Bytes:
    """The mosaic with each value as `cell` × `cell` pixels and white gaps."""
    grown = painted.repeat(cell, axis=2).repeat(cell, axis=3)
    return mosaic(grown, gap)
