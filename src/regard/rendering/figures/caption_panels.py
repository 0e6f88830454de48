"""Pictures of captions: a panel with the map of each word, and a sheet of pictures with their captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regard.errors import UsageError
from regard.records import START, Caption, Heatmap, Word, WordSupport
from regard.rendering import colour
from regard.rendering.figures.canvas import FAINT, GAP, INK, MARGIN, PAPER, fitted, values_on
from regard.rendering.figures.doubts import (
    DOUBT,
    Words,
    doubt_lines,
    draw_text,
    draw_wave,
    is_doubtful,
    reason_lines,
)
from regard.rendering.figures.sheets import SCALES, captioned
from regard.rendering.lettering import distinct, font, number, share_text, shorten, wrap

NOTHING = "(no words)"
WRONG = (190, 40, 40)
"""The line through a word that is not true."""
LEAST = 560  # pixels that a panel is wide at least, so that the caption has room
LONGEST = 420  # pixels of a picture's longer side at most, however few there are
NARROW = 128  # pixels that a cell is wide at least, so that a word has room
BELOW = 16  # pixels of a line below a cell
REASONS = 5  # lines of reasons below a cell, at most
DOUBTS = 4  # lines of doubtful words below a picture of a sheet, at most
DOUBTFUL = "wavy line: a doubtful word, its support below 0.5"
SUPPORT = "after a word: its probability by the network; below it: that the picture supports what it claims"
CHECKS = "below a word: the nats that it gains over no picture, and over another"


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
    word that is known to be `wrong` is struck through. Below the picture stands the word's `support`, and why it is
    little; where there is none, its `checks`, as text.
    """

    title: str
    note: str = ""
    heatmap: Heatmap | None = None
    word: bool = True
    region: Mask | None = None
    wrong: bool = False
    support: WordSupport | None = None
    checks: str = ""


def cells_of(caption: Caption) -> list[Cell]:
    """The picture, then each word with its probability, its map, and what says how far the picture supports it."""
    notes = ["given" if word.text == START else number(word.probability) for word in caption.words]
    supported = any(word.support is not None for word in caption.words)
    words = [
        Cell(word.text, note, word.heatmap, support=word.support, checks="" if supported else _checks(word))
        for word, note in zip(caption.words, notes, strict=True)
    ]
    return [Cell("picture", word=False), *words]


def _checks(word: Word) -> str:
    """The checks that are in nats, which anybody can read: what a word gains over no picture, and over another."""
    if not word.checks:
        return ""
    gains = [word.checks.get(name) for name in ("gain_over_none", "gain_over_another")]
    texts = [
        "\N{EN DASH}" if gain is None or not isfinite(gain) else f"{round(gain, 1) + 0.0:+.1f}" for gain in gains
    ]  # no -0.0
    return f"gains {texts[0]} · {texts[1]}"


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
    doubtful = DOUBTFUL if any(is_doubtful(cell.support) for cell in cells) else ""
    supported = SUPPORT if any(cell.support for cell in cells) else ""
    checked = CHECKS if any(cell.checks for cell in cells) else ""
    texts = (supported, doubtful, checked, caption, SCALES if mapped else "", outlined, unseen)
    footer = " · ".join(filter(None, texts))
    grid = _grid([tile for tile, _ in tiles], cells)
    words = [(cell.title, cell.support) for cell in cells if cell.word]
    return captioned(_headed(grid, name, text or NOTHING, words), footer, colours if mapped else None)


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
    """All cells, row by row, each with title and note above, and below it what says how far it is supported."""
    wide = max(NARROW, tiles[0].width) + GAP
    high = tiles[0].height + 38
    columns = columns_for(len(tiles), wide, high)
    width = max(LEAST, 2 * MARGIN + columns * wide - GAP)
    below = [_below(cell, wide - GAP) for cell in cells]
    rows = range(0, len(tiles), columns)
    heights = [high + BELOW * max(map(len, below[start : start + columns])) for start in rows]
    sheet = Image.new("RGB", (width, sum(heights)), PAPER)
    top = 0
    for start, height in zip(rows, heights, strict=True):
        for place in range(start, min(start + columns, len(tiles))):
            left = MARGIN + (place - start) * wide
            _title(sheet, cells[place], left, top, wide - GAP)
            sheet.paste(tiles[place], (left, top + 24))
            draw = ImageDraw.Draw(sheet)
            for line, (text, colours) in enumerate(below[place]):
                draw.text((left, top + 27 + tiles[0].height + BELOW * line), text, colours, font(12), anchor="la")
        top += height
    return sheet


def _below(cell: Cell, wide: int) -> list[tuple[str, tuple[int, int, int]]]:
    """The lines below a cell, each with its colour: its support, and why it is little."""
    if cell.support is None:
        return [(cell.checks, FAINT)] if cell.checks else []
    share = share_text(cell.support.probability)
    if not cell.support.is_doubtful:
        return [(f"support {share}", FAINT)]
    reasons = reason_lines(cell.support, font(12), wide, REASONS)
    return [(f"doubtful: {share}", DOUBT), *((line, INK) for line in reasons)]


def _title(sheet: Image.Image, cell: Cell, left: int, top: int, wide: int) -> None:
    draw = ImageDraw.Draw(sheet)
    letters = font(15, cell.word)
    small = font(12)
    room = small.getlength(cell.note)
    title = shorten(cell.title, letters, wide - room - 8 * bool(cell.note))
    draw.text((left, top + 18), title, INK if cell.word else FAINT, letters, anchor="ls")
    if cell.wrong:
        draw.line((left, top + 13, left + letters.getlength(title), top + 13), WRONG, 2)
    if is_doubtful(cell.support):
        draw_wave(sheet, left, left + letters.getlength(title), top + 20)
    draw.text((left + letters.getlength(title) + 8, top + 18), cell.note, FAINT, small, anchor="ls")


def _headed(grid: Image.Image, name: str, text: str, words: Words) -> Image.Image:
    """The caption in large letters, its doubtful words marked, and the picture's name above a grid."""
    room = grid.width - 2 * MARGIN
    lines = wrap(text, font(22, True), room, lines=6)
    high = MARGIN + 30 * len(lines) + 34
    sheet = Image.new("RGB", (grid.width, high + grid.height), PAPER)
    draw_text(sheet, (MARGIN, MARGIN), 30, lines, words, font(22, True))
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN + 30 * len(lines)), shorten(name, font(13), room), FAINT, font(13), anchor="la")
    sheet.paste(grid, (0, high))
    return sheet


@dataclass(frozen=True)
class SheetItem:
    """A picture of a contact sheet with its caption, and the caption's words, of which the doubtful ones are marked."""

    image: Image.Image
    name: str
    text: str
    words: Words = ()


def caption_sheet(items: Sequence[SheetItem], *, tile: int = 240, caption: str = "", lines: int = 5) -> Image.Image:
    """Pictures, each with its caption, its doubtful words and its name below. Raises `UsageError` for an empty list."""
    if not items:
        raise UsageError("a contact sheet of no pictures; give at least one (picture, name, caption)")
    names = distinct([item.name for item in items], lambda line: font(11).getlength(line) <= tile)
    cells = [
        SheetItem(fitted(item.image, tile), name, item.text or NOTHING, item.words)
        for name, item in zip(names, items, strict=True)
    ]
    columns = columns_for(len(cells), tile + GAP, tile + 60)
    texts = [
        (wrap(cell.text, font(13), tile, lines), doubt_lines(cell.words, font(11), tile, DOUBTS)) for cell in cells
    ]
    rows = [list(zip(cells, texts, strict=True))[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [
        max(cell.image.height for cell, _ in row)
        + max(17 * len(lines) + 15 * len(doubts) for _, (lines, doubts) in row)
        + 44
        for row in rows
    ]
    width = max(LEAST, 2 * MARGIN + columns * (tile + GAP) - GAP)
    sheet = Image.new("RGB", (width, MARGIN + sum(heights)), PAPER)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        _row(sheet, row, top, tile)
        top += height
    doubtful = "wavy line: a doubtful word, and its support below 0.5" if any(doubts for _, doubts in texts) else ""
    return captioned(sheet, " · ".join(filter(None, (doubtful, caption))))


def _row(sheet: Image.Image, row: Sequence[tuple[SheetItem, tuple[list[str], list[str]]]], top: int, tile: int) -> None:
    """Pictures that stand on one line, with their words below it."""
    line = top + max(cell.image.height for cell, _ in row)
    draw = ImageDraw.Draw(sheet)
    for column, (cell, (texts, doubts)) in enumerate(row):
        left = MARGIN + column * (tile + GAP)
        sheet.paste(cell.image, (left, line - cell.image.height))
        draw_text(sheet, (left, line + 6), 17, texts, cell.words, font(13))
        below = line + 8 + 17 * len(texts)
        for place, text in enumerate(doubts):
            draw.text((left, below + 1 + 15 * place), text, INK, font(11), anchor="la")
        draw.text((left, below + 15 * len(doubts)), cell.name, FAINT, font(11), anchor="la")
