"""Pictures of captions: a panel with the map of each word, and a sheet of pictures with their captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regard.errors import UsageError
from regard.records import START, Caption, Heatmap
from regard.rendering import colour
from regard.rendering.figures.canvas import FAINT, GAP, INK, MARGIN, PAPER, fitted, values_on
from regard.rendering.figures.sheets import SCALES, captioned
from regard.rendering.lettering import distinct, font, number, shorten, wrap

NOTHING = "(no words)"
WRONG = (190, 40, 40)
"""The line through a word that is not true."""
LEAST = 560  # pixels that a panel is wide at least, so that the caption has room
LONGEST = 420  # pixels of a picture's longer side at most, however few there are
NARROW = 128  # pixels that a cell is wide at least, so that a word has room


Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Style:
    """How maps are laid over pictures: their colours and share, by default the usual ones, and what lies below."""

    colours: str | None = None
    alpha: float | None = None
    grey: bool = True


SOURCE = Style("jet", 0.5, grey=False)
"""That of Problem 2."""


@dataclass(frozen=True)
class Cell:
    """A cell of a panel: its title (a word, or what else is shown, faint), a note beside it, and a map or none.

    `region` (H, W) bool of the picture, where it is known, is what the word speaks of, and is outlined. The title of a
    word that is known to be `wrong` is struck through.
    """

    title: str
    note: str = ""
    heatmap: Heatmap | None = None
    word: bool = True
    region: Mask | None = None
    wrong: bool = False


def cells_of(caption: Caption) -> list[Cell]:
    """The picture, then each word with its probability and its map."""
    notes = ["given" if word.text == START else number(word.probability) for word in caption.words]
    words = [Cell(word.text, note, word.heatmap) for word, note in zip(caption.words, notes, strict=True)]
    return [Cell("picture", word=False), *words]


def caption_panel(
    image: Image.Image, name: str, text: str, cells: Sequence[Cell], style: Style | None = None, caption: str = ""
) -> Image.Image:
    """A picture's caption, and below it the cells in a grid; a cell without a map shows the bare picture.

    Every map has its own colours, from its lowest to its highest patch. `caption` is what else there is to say, at
    the bottom. Raises `DataError` when a map belongs to a picture of another shape.
    """
    style = style or Style()
    small = fitted(image, tile_for(len(cells), image.size))
    tiles = [_tile(small, cell, style) for cell in cells]
    colours = colour.default(False) if style.colours is None else style.colours
    mapped = any(cell.heatmap for cell in cells)
    unseen = "hatched: not seen by the network" if any(unseen for _, unseen in tiles) else ""
    outlined = "outlined: what the word speaks of" if any(cell.region is not None for cell in cells) else ""
    footer = " · ".join(filter(None, (caption, SCALES if mapped else "", outlined, unseen)))
    grid = _grid([tile for tile, _ in tiles], cells)
    return captioned(_headed(grid, name, text or NOTHING), footer, colours if mapped else None)


def _tile(small: Image.Image, cell: Cell, style: Style) -> tuple[Image.Image, bool]:
    """A cell's map over the picture, and whether a part of it was not seen."""
    if cell.heatmap is None:
        return _outlined(small, cell.region), False
    values = values_on(small, cell.heatmap)
    scale = colour.limits(cell.heatmap.values)
    overlay = colour.overlay(small, values, style.colours, style.alpha, style.grey, scale=scale)
    return _outlined(overlay, cell.region), bool(np.isnan(values).any())


def _outlined(image: Image.Image, region: Mask | None) -> Image.Image:
    """A white line, with a dark one inside, along the edge of a region (H, W) of the picture, whatever its size."""
    if region is None or not region.any():
        return image
    outer = np.asarray(Image.fromarray(region).resize(image.size, Image.Resampling.NEAREST))
    inner = _shrunk(_shrunk(outer))
    pixels = np.array(image)
    pixels[outer & ~inner] = (255, 255, 255)
    pixels[inner & ~_shrunk(inner)] = (0, 0, 0)
    return Image.fromarray(pixels)


def _shrunk(region: Mask) -> Mask:
    """A region without its outermost pixels; the picture's border is no edge."""
    padded = np.pad(region, 1, mode="edge")
    return padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def tile_for(count: int, size: tuple[int, int]) -> int:
    """The longer side of each of so many copies of a picture (of any size of that shape), in pixels.

    The fewer there are, the larger; a long picture gets more, so that its area does not vanish.
    """
    length = sqrt(max(size) / min(size))
    return min(LONGEST, max(150, round(1500 / sqrt(count) * min(length, 2))))


def columns_for(count: int, wide: int, high: int, shape: float = 1.5) -> int:
    """In how many columns cells make a sheet of about that shape (width to height) with few places left empty."""

    def cost(columns: int) -> float:
        rows = ceil(count / columns)
        return abs(log(columns * wide / (rows * high * shape))) + 1.2 * (rows * columns - count) / count

    return min(range(1, count + 1), key=cost)


def _grid(tiles: Sequence[Image.Image], cells: Sequence[Cell]) -> Image.Image:
    """All cells, row by row, each with title and note above."""
    wide = max(NARROW, tiles[0].width) + GAP
    high = tiles[0].height + 38
    columns = columns_for(len(tiles), wide, high)
    width = max(LEAST, 2 * MARGIN + columns * wide - GAP)
    sheet = Image.new("RGB", (width, ceil(len(tiles) / columns) * high), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (tile, cell) in enumerate(zip(tiles, cells, strict=True)):
        left = MARGIN + place % columns * wide
        top = place // columns * high
        _title(draw, cell, left, top, wide - GAP)
        sheet.paste(tile, (left, top + 24))
    return sheet


def _title(draw: ImageDraw.ImageDraw, cell: Cell, left: int, top: int, wide: int) -> None:
    letters = font(15, cell.word)
    small = font(12)
    room = small.getlength(cell.note)
    title = shorten(cell.title, letters, wide - room - 8 * bool(cell.note))
    draw.text((left, top + 18), title, INK if cell.word else FAINT, letters, anchor="ls")
    if cell.wrong:
        draw.line((left, top + 13, left + letters.getlength(title), top + 13), WRONG, 2)
    draw.text((left + letters.getlength(title) + 8, top + 18), cell.note, FAINT, small, anchor="ls")


def _headed(grid: Image.Image, name: str, text: str) -> Image.Image:
    """The caption in large letters and the picture's name above a grid."""
    room = grid.width - 2 * MARGIN
    lines = wrap(text, font(22, True), room, lines=6)
    high = MARGIN + 30 * len(lines) + 34
    sheet = Image.new("RGB", (grid.width, high + grid.height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + 30 * place), line, INK, font(22, True), anchor="la")
    draw.text((MARGIN, MARGIN + 30 * len(lines)), shorten(name, font(13), room), FAINT, font(13), anchor="la")
    sheet.paste(grid, (0, high))
    return sheet


def caption_sheet(
    items: Sequence[tuple[Image.Image, str, str]], *, tile: int = 240, caption: str = "", lines: int = 5
) -> Image.Image:
    """Pictures, each with its caption and name below. Raises `UsageError` for an empty list."""
    if not items:
        raise UsageError("a contact sheet of no pictures; give at least one (picture, name, caption)")
    names = distinct([name for _, name, _ in items], lambda line: font(11).getlength(line) <= tile)
    cells = [
        (fitted(image, tile), name, wrap(text or NOTHING, font(13), tile, lines))
        for name, (image, _, text) in zip(names, items, strict=True)
    ]
    columns = columns_for(len(cells), tile + GAP, tile + 60)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [
        max(each.height for each, _, _ in row) + 17 * max(len(texts) for _, _, texts in row) + 44 for row in rows
    ]
    width = max(LEAST, 2 * MARGIN + columns * (tile + GAP) - GAP)
    sheet = Image.new("RGB", (width, MARGIN + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        _row(sheet, draw, row, top, tile)
        top += height
    return captioned(sheet, caption)


def _row(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    row: Sequence[tuple[Image.Image, str, list[str]]],
    top: int,
    tile: int,
) -> None:
    """Pictures that stand on one line, with their words below it."""
    line = top + max(picture.height for picture, _, _ in row)
    for column, (picture, name, texts) in enumerate(row):
        left = MARGIN + column * (tile + GAP)
        sheet.paste(picture, (left, line - picture.height))
        for place, text in enumerate(texts):
            draw.text((left, line + 6 + 17 * place), text, INK, font(13), anchor="la")
        below = line + 8 + 17 * len(texts)
        draw.text((left, below), name, FAINT, font(11), anchor="la")
