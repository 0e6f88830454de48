"""Many maps on one sheet: contact sheets, comparisons side by side, and what a notebook shows of an explanation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from regard.errors import UsageError
from regard.records import Explanation, Heatmap
from regard.records.completeness import INCOMPLETE
from regard.rendering import colour
from regard.rendering.figures.canvas import FAINT, GAP, INK, MARGIN, PAPER, fitted, level_bar, png, values_on
from regard.rendering.figures.panel import caption_of
from regard.rendering.lettering import distinct, font, number, wrap

SCALES = "each map on its own colour scale, from its lowest to its highest patch"
SIGNED_SCALES = "each map on its own colour scale, 0 in its middle"
MIXED_SCALES = f"{SCALES}; those with a sign, blue to red, with 0 in the middle"


def contact_sheet(
    items: Sequence[tuple[Image.Image, Heatmap | None, str]],
    *,
    columns: int | None = None,
    colours: str | None = None,
    alpha: float | None = None,
    signed: bool = False,
    tile: int = 240,
    caption: str = "",
) -> Image.Image:
    """Many overlays on one sheet, each with its title below and its own colour scale; a picture without a map is bare.

    `columns` is by default what makes the sheet about as wide as high. Raises `UsageError` for an empty list.
    """
    if not items:
        raise UsageError("a contact sheet of no pictures; give at least one (picture, map, title)")
    cells = [_overlay(fitted(image, tile), heatmap, colours, alpha, signed) for image, heatmap, _ in items]
    return captioned(_sheet(cells, [title for _, _, title in items], columns, tile), caption)


@dataclass(frozen=True)
class Column:
    """A column of a comparison: its title, whether its maps have a sign, and a map for each row, or none."""

    title: str
    signed: bool
    heatmaps: Sequence[Heatmap | None]


def comparison(
    pictures: Sequence[tuple[Image.Image, str]],
    columns: Sequence[Column],
    *,
    colours: str | None = None,
    alpha: float | None = None,
    caption: str = "",
    width: int = 2000,
) -> Image.Image:
    """One picture a row, and beside it its maps, a column for each way they were made, each on its own colour scale.

    `width` is about the sheet's, in pixels; tiles are 80 to 240 wide. Where there is no map the cell is empty.
    """
    if not pictures or not columns:
        raise UsageError("a comparison of nothing; give at least one picture and one column of maps")
    tile = min(240, max(80, (width - 2 * MARGIN) // (len(columns) + 1) - GAP))
    rows = [[fitted(image, tile)] for image, _ in pictures]
    for column in columns:
        for row, heatmap in zip(rows, column.heatmaps, strict=True):
            if heatmap is None:  # hatched, so that it is not taken for a pale map
                row.append(Image.fromarray(colour.paint(np.full(row[0].size[::-1], np.nan))))
            else:
                row.append(_overlay(row[0], heatmap, colours, alpha, column.signed))
    titles = ["picture", *(column.title for column in columns)]
    signed = {column.signed for column in columns}
    scales = MIXED_SCALES if len(signed) == 2 else SIGNED_SCALES if True in signed else SCALES
    table = _table(rows, titles, [name for _, name in pictures], tile)
    return captioned(table, " · ".join(filter(None, (caption, scales))))


def explanation_png(explanation: Explanation, limit: int = 12) -> bytes:
    """The first maps of an explanation as PNG bytes, for a notebook; a record holds no pictures, so maps alone.

    Each has its own colour scale, whose ends are written below it.
    """
    heatmaps = list(explanation)[:limit]
    signed = explanation.signed
    tile = 180 if len(heatmaps) > 2 else 360
    if not heatmaps:
        return png(captioned(Image.new("RGB", (420, MARGIN), PAPER), f"{explanation.method}: no maps"))
    colours = colour.default(signed)
    cells = []
    ranges = []
    for heatmap in heatmaps:
        height, width = heatmap.grid.picture
        share = tile / max(height, width)
        values = heatmap.upsampled((max(1, round(height * share)), max(1, round(width * share))))
        scale = colour.limits(heatmap.values, signed)
        cells.append(Image.fromarray(colour.paint(values, colours, scale=scale)))
        ranges.append(_range(heatmap, scale))
    sheet = _sheet(cells, [heatmap.name for heatmap in heatmaps], None, tile, ranges)
    more = len(explanation) - limit
    texts = [common_caption(explanation), SIGNED_SCALES if signed else SCALES, f"and {more} more" if more > 0 else ""]
    return png(captioned(sheet, " · ".join(filter(None, texts)), colours, signed))


def common_caption(explanation: Explanation) -> str:
    """What holds for all the maps of an explanation: of which class they are only where that is one and the same."""
    first = replace(explanation[0], completeness=None)
    first = first if len({each.target for each in explanation}) == 1 else replace(first, target=None)
    return caption_of(replace(explanation, heatmaps=(first,)), 0)


def _range(heatmap: Heatmap, scale: colour.Limits) -> str:
    """The ends of a map's own colour scale, in words, and how far its sum is off, where that is much."""
    if not np.isfinite(heatmap.values).any():
        return "no values"
    low, high = scale
    ends = f"everywhere {number(low)}" if low == high else f"{number(low)} to {number(high)}"
    gap = 0.0 if heatmap.completeness is None else heatmap.completeness.relative_gap
    return ends if gap <= INCOMPLETE else f"{ends}; sum off by {100 * gap:.0f} %"


def _overlay(
    image: Image.Image, heatmap: Heatmap | None, colours: str | None, alpha: float | None, signed: bool
) -> Image.Image:
    if heatmap is None:
        return image
    values = values_on(image, heatmap)
    return colour.overlay(image, values, colours, alpha, scale=colour.limits(heatmap.values, signed), signed=signed)


def _sheet(
    cells: Sequence[Image.Image],
    titles: Sequence[str],
    columns: int | None,
    tile: int,
    notes: Sequence[str] | None = None,
) -> Image.Image:
    """Cells in rows, centred in squares of `tile` (lower ones where a whole row is lower), titles and notes below."""
    columns = max(1, min(columns or round(len(cells) ** 0.5 + 0.3), len(cells)))
    rows = [range(start, min(start + columns, len(cells))) for start in range(0, len(cells), columns)]
    heights = [max(cells[place].height for place in row) for row in rows]
    letters = font(12)
    lines = distinct(titles, lambda line: letters.getlength(line) <= tile)
    step = 34 + (16 if notes else 0)
    width = 2 * MARGIN + columns * (tile + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + sum(heights) + step * len(rows) - 10), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, place in enumerate(row):
            left = MARGIN + column * (tile + GAP)
            cell = cells[place]
            sheet.paste(cell, (left + (tile - cell.width) // 2, top + (height - cell.height) // 2))
            draw.text((left + tile / 2, top + height + 5), lines[place], INK, letters, anchor="ma")
            if notes:
                draw.text((left + tile / 2, top + height + 21), notes[place], FAINT, letters, anchor="ma")
        top += height + step
    return sheet


def _table(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], names: Sequence[str], tile: int
) -> Image.Image:
    """Rows of cells of one size, a title above each column, a name below each row's first cell."""
    letters = font(12)
    heads = []
    for title in titles:  # in one line or two, broken at spaces or after an underscore
        heads.append([line.replace("_ ", "_") for line in wrap(title.replace("_", "_ "), letters, tile, lines=2)])
    top = MARGIN + 16 * max(map(len, heads)) + 6
    width = 2 * MARGIN + len(titles) * (tile + GAP) - GAP
    sheet = Image.new("RGB", (width, top + sum(row[0].height + 30 for row in rows) + MARGIN - 10), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(heads):
        for place, line in enumerate(lines):
            middle = MARGIN + column * (tile + GAP) + tile / 2, top - 6 - 16 * (len(lines) - place)
            draw.text(middle, line, INK, letters, anchor="ma")
    lines = distinct(names, lambda line: letters.getlength(line) <= width - 2 * MARGIN)
    for row, name in zip(rows, lines, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (MARGIN + column * (tile + GAP) + (tile - cell.width) // 2, top))
        draw.text((MARGIN, top + row[0].height + 5), name, FAINT, letters)
        top += row[0].height + 30
    return sheet


def captioned(sheet: Image.Image, caption: str, colours: str | None = None, signed: bool = False) -> Image.Image:
    """A sheet with what holds for all of it below, and a bar of its colours where they are given."""
    if not caption:
        return sheet
    letters = font(13)
    bar = 150 if colours else 0
    room = sheet.width - 2 * MARGIN - (bar + GAP if bar and sheet.width > 2 * bar + 2 * MARGIN else 0)
    beside = room < sheet.width - 2 * MARGIN
    lines = wrap(caption, letters, room, lines=8)
    high = 17 * len(lines) + 12 if beside or not bar else 17 * len(lines) + 50
    whole = Image.new("RGB", (sheet.width, sheet.height + max(high, 44 if bar else 0)), PAPER)
    whole.paste(sheet)
    draw = ImageDraw.Draw(whole)
    for place, line in enumerate(lines):
        draw.text((MARGIN, sheet.height - 6 + 17 * place), line, FAINT, letters)
    if colours:
        left = sheet.width - MARGIN - bar if beside else MARGIN
        top = sheet.height - 2 + (0 if beside else 17 * len(lines))
        ramp, _ = level_bar(bar, colours, (0, 1))
        whole.paste(Image.fromarray(np.repeat(ramp, 10, axis=0)), (left, top))
        # words at its ends, no numbers: each map has its own scale
        words = ("against", "0", "for") if signed else ("lowest", "", "highest")
        for share, word, anchor in zip((0, 0.5, 1), words, ("la", "ma", "ra"), strict=True):
            draw.text((left + share * bar, top + 15), word, FAINT, font(12), anchor=anchor)
    return whole
