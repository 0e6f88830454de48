"""Pictures of maps: the panel of Problem 1, contact sheets, and the grid of grids of positional embeddings.

Composed as arrays, without a plotting library, so that hundreds take seconds; charts are in `chart.py`.
"""

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regard.errors import DataError, UsageError, unknown
from regard.records import Explanation, Heatmap, Positions
from regard.rendering import colour
from regard.rendering.lettering import font, number, shorten, wrap

INK, FAINT, PAPER = (26, 28, 33), (104, 109, 118), (255, 255, 255)
MARGIN, GAP, TILE = 20, 14, 420

Scale = Literal["shared", "each"]


def png(picture: Image.Image, compression: int = 2) -> bytes:
    """A picture as PNG bytes with nothing but its pixels in them: no EXIF, colour profile or comment."""
    file = io.BytesIO()
    bare(picture).save(file, "PNG", compress_level=compression)
    return file.getvalue()


def bare(picture: Image.Image) -> Image.Image:
    """The RGB pixels of a picture without anything that came along: EXIF, colour profile, comments, text chunks."""
    rgb = picture.convert("RGB")
    return Image.frombytes("RGB", rgb.size, rgb.tobytes())


def panel(
    image: Image.Image,
    heatmap: Heatmap,
    *,
    colours: str = "jet",
    caption: str = "",
    alpha: float = 0.4,
    signed: bool = False,
    scale: colour.Limits | None = None,
    tile: int = TILE,
) -> Image.Image:
    """Picture, map, and map over the grey picture, side by side, with a caption below: Problem 1's figure.

    The map is bilinear between patch centres at the picture's size; its colours run from its lowest to its highest
    patch (symmetric about 0 when `signed`), or over `scale` to compare panels. What the network did not see is
    hatched. `tile` is the longer side of each of the three in pixels. Raises `DataError` when the map belongs to a
    picture of another shape.
    """
    small = _fitted(image, tile)
    values = _values_on(small, heatmap)
    scale = colour.limits(heatmap.values, signed) if scale is None else scale
    tiles = [
        small,
        Image.fromarray(colour.paint(values, colours, scale=scale)),
        colour.overlay(small, values, colours, alpha, scale=scale),
    ]
    note = " · hatched: not seen by the network" if np.isnan(values).any() else ""
    return _framed(tiles, ("picture", "map", "overlay"), heatmap.name, caption + note, colours, scale)


def caption_of(explanation: Explanation, index: int, classes: Sequence[str] | None = None) -> str:
    """One line on how a map was made: network, method, layer, head, query, and the target class where it has one."""
    facts = {"network": explanation.provenance.get("network"), "method": explanation.method, **explanation.settings}
    target = explanation[index].target
    if target is not None:
        facts["target"] = classes[target] if classes is not None and 0 <= target < len(classes) else target
    return " · ".join(f"{name} {value}" for name, value in facts.items() if value is not None)


def contact_sheet(
    items: Sequence[tuple[Image.Image, Heatmap | None, str]],
    *,
    columns: int | None = None,
    colours: str = "jet",
    alpha: float = 0.4,
    signed: bool = False,
    tile: int = 240,
) -> Image.Image:
    """Many overlays on one sheet, each with its title below and its own colour scale; a picture without a map is bare.

    `columns` is by default what makes the sheet about as wide as high. Raises `UsageError` for an empty list.
    """
    if not items:
        raise UsageError("a contact sheet of no pictures; give at least one (picture, map, title)")
    cells = [_overlaid(_fitted(image, tile), heatmap, colours, alpha, signed) for image, heatmap, _ in items]
    return _sheet(cells, [title for _, _, title in items], columns, tile)


def explanation_png(explanation: Explanation, limit: int = 12) -> bytes:
    """The first maps of an explanation as PNG bytes, for a notebook; a record holds no pictures, so maps alone."""
    colours = colour.SIGNED if explanation.signed else "viridis"
    shown = list(explanation)[:limit]
    cells = [
        Image.fromarray(colour.paint(_large(heatmap, 180), colours, scale=_own(heatmap, explanation.signed)))
        for heatmap in shown
    ]
    titles = [heatmap.name for heatmap in shown]
    if len(explanation) > limit:
        titles[-1] += f" (and {len(explanation) - limit} more)"
    return png(_sheet(cells or [Image.new("RGB", (180, 20), PAPER)], titles or ["no maps"], None, 180))


def positions_figure(
    positions: Positions, *, scale: Scale = "shared", colours: str = "viridis", size: int = 1200
) -> Image.Image:
    """The grid of grids: tile (r, c) shows how alike position (r, c) is to every other one.

    One colour scale for all tiles, with a bar, or each tile its own ("each"). `size` is about the longer side of the
    grid in pixels; every value is a square of whole pixels. After Dosovitskiy et al. 2021, figure 7 (centre).
    """
    painted, ends = positions_array(positions, scale=scale, colours=colours)
    rows, columns = positions.rows, positions.columns
    cell = max(1, round(size / (max(rows, columns) * (max(rows, columns) + 0.5))))
    gap = max(2, cell * min(rows, columns) // 14)
    grid = Image.fromarray(_spaced(painted, cell, gap))
    left, top, letters = MARGIN + 44, MARGIN + 62, font(13)
    sheet = Image.new("RGB", (left + grid.width + 104, top + grid.height + MARGIN), PAPER)
    sheet.paste(grid, (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.text((left, MARGIN), "Similarity of positional embeddings", INK, font(16, bold=True), anchor="la")
    _axis_labels(draw, (left, top), (cell * columns + gap, cell * rows + gap), (rows, columns))
    _upright_bar(sheet, draw, (left + grid.width + 24, top), min(grid.height, 320), colours, ends, scale)
    draw.text((left, top - 34), "column", FAINT, letters, anchor="la")
    return sheet


def positions_array(
    positions: Positions, *, scale: Scale = "shared", colours: str = "viridis"
) -> tuple[colour.Bytes, colour.Limits | None]:
    """The tiles' colours, (rows, columns, rows, columns, 3) uint8, and the (low, high) they share, if they do."""
    similarity = positions.similarity
    if scale == "shared":
        ends = colour.limits(similarity)
        return colour.paint(similarity, colours, scale=ends), ends
    if scale == "each":
        tiles = [[colour.paint(tile, colours, hatch=False) for tile in row] for row in similarity]
        return np.array(tiles), None
    raise unknown("scale", scale, ("shared", "each"))


def mosaic(tiles: colour.Bytes, gap: int = 1, fill: int = 255) -> colour.Bytes:
    """Tiles (R, C, r, c, ...) → one array (R · (r + gap) - gap, C · (c + gap) - gap, ...), `fill` between them."""
    rows, columns, high, wide, *rest = tiles.shape
    padded = np.full((rows, columns, high + gap, wide + gap, *rest), fill, np.uint8)
    padded[:, :, :high, :wide] = tiles
    whole = padded.swapaxes(1, 2).reshape(rows * (high + gap), columns * (wide + gap), *rest)
    return whole[: whole.shape[0] - gap, : whole.shape[1] - gap]


def _fitted(image: Image.Image, tile: int) -> Image.Image:
    """The picture in RGB with its longer side at `tile` pixels, its aspect kept."""
    share = tile / max(image.size)
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def check_shape(image: Image.Image, heatmap: Heatmap) -> None:
    """Raise `DataError` when a picture (or a thumbnail of it) has not the shape that a map was made for."""
    height, width = heatmap.grid.picture
    share = max(image.size) / max(height, width)
    if abs(image.width - width * share) > 2 + 0.01 * image.width or abs(image.height - height * share) > 2 + (
        0.01 * image.height
    ):
        raise DataError(
            f"the map of {heatmap.name!r} is for a picture of {height} × {width} pixels, but the one given has "
            f"{image.height} × {image.width}; give the picture that was explained, or a thumbnail of it"
        )


def _values_on(image: Image.Image, heatmap: Heatmap) -> NDArray[np.float32]:
    check_shape(image, heatmap)
    return heatmap.on_picture((image.height, image.width))


def _own(heatmap: Heatmap, signed: bool) -> colour.Limits:
    return colour.limits(heatmap.values, signed)


def _overlaid(image: Image.Image, heatmap: Heatmap | None, colours: str, alpha: float, signed: bool) -> Image.Image:
    if heatmap is None:
        return image
    return colour.overlay(image, _values_on(image, heatmap), colours, alpha, scale=_own(heatmap, signed))


def _large(heatmap: Heatmap, tile: int) -> NDArray[np.float32]:
    """A map at its picture's aspect with the longer side at `tile` pixels."""
    height, width = heatmap.grid.picture
    share = tile / max(height, width)
    return heatmap.on_picture((max(1, round(height * share)), max(1, round(width * share))))


def _framed(
    tiles: Sequence[Image.Image],
    headings: Sequence[str],
    name: str,
    caption: str,
    colours: str,
    scale: colour.Limits,
) -> Image.Image:
    """Tiles of one size side by side on paper, a heading above each, name, caption and colour bar below."""
    wide, high = tiles[0].size
    step = max(wide, 120) + GAP  # a narrow picture still leaves room for words
    width = 2 * MARGIN + step * len(tiles) - GAP
    bar = min(190, width // 3)
    lines = wrap(caption, font(13), width - 2 * MARGIN - bar - 2 * GAP)
    top = MARGIN + 22
    sheet = Image.new("RGB", (width, top + high + 36 + max(17 * len(lines), 17) + MARGIN - 4), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (picture, heading) in enumerate(zip(tiles, headings, strict=True)):
        sheet.paste(picture, (MARGIN + place * step, top))
        draw.text((MARGIN + place * step, MARGIN), heading, FAINT, font(13), anchor="la")
    below = top + high + 12
    draw.text((MARGIN, below), shorten(name, font(14, True), width - 2 * MARGIN - bar - 2 * GAP), INK, font(14, True))
    for place, line in enumerate(lines):
        draw.text((MARGIN, below + 22 + 17 * place), line, FAINT, font(13))
    _level_bar(sheet, draw, (width - MARGIN - bar, below + 4), bar, colours, scale)
    return sheet


def _level_bar(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    wide: int,
    colours: str,
    scale: colour.Limits,
) -> None:
    """A colour bar lying down, 10 pixels high, with the values of its ends below."""
    ramp = np.repeat(colour.paint(np.linspace(0, 1, wide)[None], colours, scale=(0, 1)), 10, axis=0)
    sheet.paste(Image.fromarray(ramp), corner)
    left, below = corner[0], corner[1] + 15
    if scale[0] == scale[1]:
        draw.text((left, below), f"everywhere {number(scale[0])}", FAINT, font(12))
        return
    draw.text((left, below), number(scale[0]), FAINT, font(12), anchor="la")
    draw.text((left + wide, below), number(scale[1]), FAINT, font(12), anchor="ra")


def _upright_bar(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    high: int,
    colours: str,
    ends: colour.Limits | None,
    scale: Scale,
) -> None:
    """A colour bar standing up, 14 pixels wide, with values beside it; words where each tile has its own scale."""
    ramp = np.repeat(colour.paint(np.linspace(1, 0, high)[:, None], colours, scale=(0, 1)), 14, axis=1)
    sheet.paste(Image.fromarray(ramp), corner)
    left, top = corner
    for share in (0.0, 0.25, 0.5, 0.75, 1.0) if ends else (0.0, 1.0):
        text = f"{ends[0] + share * (ends[1] - ends[0]):.2f}" if ends else ("least", "most")[int(share)]
        draw.text((left + 20, top + (1 - share) * (high - 1)), text, FAINT, font(12), anchor="lm")
    draw.text((left, top - 34), "cosine" if scale == "shared" else "each tile", FAINT, font(13), anchor="la")


def _axis_labels(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], step: tuple[int, int], counts: tuple[int, int]
) -> None:
    """Row and column indices along the grid's edges, every one or as many as there is room for."""
    left, top = corner
    letters = font(12)
    across, down = step
    for column in range(0, counts[1], max(1, -(-24 // across))):
        draw.text((left + column * across + across / 2 - 1, top - 6), str(column), FAINT, letters, anchor="mb")
    for row in range(0, counts[0], max(1, -(-15 // down))):
        draw.text((left - 7, top + row * down + down / 2 - 1), str(row), FAINT, letters, anchor="rm")
    draw.text((left - 44, top - 6), "row", FAINT, font(13), anchor="lb")


def _spaced(painted: colour.Bytes, cell: int, gap: int) -> colour.Bytes:
    """The mosaic with each value as `cell` × `cell` pixels and white gaps."""
    grown = painted.repeat(cell, axis=2).repeat(cell, axis=3)
    return mosaic(grown, gap)


def _sheet(cells: Sequence[Image.Image], titles: Sequence[str], columns: int | None, tile: int) -> Image.Image:
    """Cells in rows, centred in squares of `tile` (lower ones where a whole row is lower), titles below."""
    columns = max(1, min(columns or round(len(cells) ** 0.5 + 0.3), len(cells)))
    rows = [range(start, min(start + columns, len(cells))) for start in range(0, len(cells), columns)]
    heights = [max(cells[place].height for place in row) for row in rows]
    letters = font(12)
    width = 2 * MARGIN + columns * (tile + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + sum(heights) + 34 * len(rows) - 10), PAPER)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, place in enumerate(row):
            left = MARGIN + column * (tile + GAP)
            cell = cells[place]
            sheet.paste(cell, (left + (tile - cell.width) // 2, top + (height - cell.height) // 2))
            title = shorten(titles[place], letters, tile)
            draw.text((left + tile / 2, top + height + 5), title, INK, letters, anchor="ma")
        top += height + 34
    return sheet
