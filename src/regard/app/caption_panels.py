"""What `regard caption` draws: a panel of each picture with the map of every word."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from PIL import Image

from regard.errors import UsageError, unknown
from regard.measurement.localisation.words import TrueWord
from regard.records.captions import Caption, Word, support_text
from regard.rendering.figures.canvas import fitted
from regard.rendering.figures.caption_panels import (
    LONGEST,
    NARROW,
    SOURCE,
    Cell,
    Style,
    caption_panel,
    cells_of,
    tile_for,
)
from regard.rendering.lettering import font

STYLES = ("regard", "source")
GAINS = "after a word: its probability and, where there is room, the nats that it gains over another picture"


def style_of(style: str, row: str, colours: str | None) -> Style:
    """How panels are drawn; raises `UsageError` for what does not go together, before any work."""
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    if style == "regard":
        return Style(colours)
    if row != "predicting" or colours not in (None, SOURCE.colours):
        wrong = "colours" if row == "predicting" else "row"
        raise UsageError(f"--style source has its own colours (jet) and row (predicting); leave --{wrong} out")
    return SOURCE


def preview(image: Image.Image) -> Image.Image:
    """A picture as small as panels show it at most."""
    return fitted(image, LONGEST)


def settings_line(network: str, settings: Mapping[str, Any]) -> str:
    """What stands below panels and sheet."""
    facts = {"network": network, **settings, **dict.fromkeys(("depends", "checks", "missing_checks", "support"))}
    texts = [f"{name} {value}" for name, value in facts.items() if value is not None]
    return " · ".join(filter(None, (support_text(settings).rstrip("."), *texts)))


def draw_panel(
    image: Image.Image, caption: Caption, style: Style, line: str, truth: Mapping[int, TrueWord]
) -> Image.Image:
    """A picture's panel; `truth` is what is known of its words, by their place in the caption."""
    if style is SOURCE:
        from regard.explanation.words.alignment import source_panels

        cells = [Cell(title, heatmap=heatmap) for title, heatmap in source_panels(caption.words)]
    else:
        picture, *words = cells_of(caption)
        tile = tile_for(len(words) + 1, image.size)
        room = max(NARROW, round(tile * min(1, image.width / image.height)))
        words = [_with_gain(cell, word, room) for cell, word in zip(words, caption.words, strict=True)]
        for place, claim in truth.items():
            words[place] = replace(words[place], region=claim.region, wrong=claim.right is False)
        cells = [picture, *words]
    lines = [line, GAINS] if caption.settings.get("depends") and "check" not in caption.settings else [line]
    return caption_panel(image, caption.name, caption.text, cells, style, " · ".join(lines))


def _with_gain(cell: Cell, word: Word, room: float) -> Cell:
    """Beside a word also what it gains over another picture, where that was measured, is not among its checks, and
    leaves the word its room."""
    if word.dependence is None or word.checks is not None or not isfinite(word.dependence.over_other):
        return cell
    note = f"{cell.note} {round(word.dependence.over_other, 1) + 0.0:+.1f}"  # no -0.0
    fits = font(15, True).getlength(cell.title) + 8 + font(12).getlength(note) <= room
    return replace(cell, note=note) if fits else cell
