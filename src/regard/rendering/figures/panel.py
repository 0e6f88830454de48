"""Pictures of maps: the panel of Problem 1.

Composed as arrays, without a plotting library, so that hundreds take seconds. The same as SVG and PDF: `vector.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw

from regard.records import Explanation, Heatmap, Target
from regard.rendering import colour
from regard.rendering.figures.canvas import FAINT, GAP, INK, MARGIN, PAPER, TILE, fitted, level_bar, values_on
from regard.rendering.lettering import font, shorten, wrap


@dataclass(frozen=True)
class Tiles:
    """A picture, its map, and the map over the grey picture, all of one size, with what there is to say of them."""

    images: tuple[Image.Image, Image.Image, Image.Image]
    scale: colour.Limits | None  # None: no patch has a value
    colours: str
    note: str

    HEADINGS: ClassVar = ("picture", "map", "overlay")


def tiles_of(
    image: Image.Image,
    heatmap: Heatmap,
    *,
    colours: str | None = None,
    alpha: float | None = None,
    signed: bool = False,
    scale: colour.Limits | None = None,
    tile: int = TILE,
) -> Tiles:
    """The three tiles of a panel: see `panel`."""
    colours = colour.default(signed) if colours is None else colours
    small = fitted(image, tile)
    values = values_on(small, heatmap)
    finite = np.isfinite(heatmap.values)
    scale = colour.limits(heatmap.values, signed) if scale is None else scale
    map_image = Image.fromarray(colour.paint(values, colours, scale=scale))
    overlay = colour.overlay(small, values, colours, alpha, painted=map_image)
    note = "hatched: not seen by the network" if np.isnan(values).any() else ""
    note = note if finite.all() else "hatched: no value, or not seen by the network"
    return Tiles((small, map_image, overlay), scale if finite.any() else None, colours, note)


def panel(
    image: Image.Image,
    heatmap: Heatmap,
    *,
    colours: str | None = None,
    caption: str = "",
    alpha: float | None = None,
    signed: bool = False,
    scale: colour.Limits | None = None,
    tile: int = TILE,
) -> Image.Image:
    """Picture, map, and map over the grey picture, side by side, with a caption below; `jet` gives Problem 1's figure.

    The map is bilinear between patch centres at the picture's size; its colours run from its lowest to its highest
    patch (symmetric about 0 when `signed`), or over `scale` to compare panels. What the network did not see is
    hatched. `tile` is the longer side of each of the three in pixels. Raises `DataError` when the map belongs to a
    picture of another shape.
    """
    tiles = tiles_of(image, heatmap, colours=colours, alpha=alpha, signed=signed, scale=scale, tile=tile)
    return _framed(tiles, heatmap.name, " · ".join(filter(None, (caption, tiles.note))))


def caption_of(explanation: Explanation, index: int, classes: Sequence[str] | None = None) -> str:
    """One line on how a map was made: network, method, layer, head, query, the target class where it has one, what the
    map and the rest sum to, the SRG of its removal curves, and an audit's verdict, where these are known.

    `classes` are the names of the network's outputs, by default the explanation's own.
    """
    facts = {"network": explanation.provenance.get("network"), "method": explanation.method, **explanation.settings}
    target = target_words(explanation[index].target, explanation.classes if classes is None else classes)
    if target:
        facts["target"] = target + " (predicted)" * (facts.get("target") == "predicted")
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else value for name, value in facts.items()
    }
    heatmap = explanation[index]
    words = [f"{name} {text}" for name, text in texts.items() if text is not None]
    words += [] if heatmap.completeness is None else [str(heatmap.completeness)]
    words += [] if heatmap.curve is None else [f"SRG {heatmap.curve.srg:.2f}"]
    words += [f"audit: {explanation.verdict}"] if explanation.verdict else []
    return " · ".join([*words, *["seen in training"] * heatmap.seen])


def target_words(target: Target, classes: Sequence[str] = ()) -> str:
    """A class by its name where it has one, or one class against another; "" for none."""
    if target is None:
        return ""
    each = target if isinstance(target, tuple) else (target,)
    return " against ".join(classes[index] if 0 <= index < len(classes) else str(index) for index in each)


def _framed(tiles: Tiles, name: str, caption: str) -> Image.Image:
    """Tiles side by side on paper, a heading above each, name, caption and colour bar below."""
    wide, high = tiles.images[0].size
    step = max(wide, 120) + GAP  # a narrow picture still leaves room for words
    width = 2 * MARGIN + step * len(tiles.images) - GAP
    bar = min(190, width // 3)
    lines = wrap(caption, font(13), width - 2 * MARGIN - bar - 2 * GAP)
    top = MARGIN + 22
    sheet = Image.new("RGB", (width, top + high + 36 + max(17 * len(lines), 17) + MARGIN - 4), PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, (picture, heading) in enumerate(zip(tiles.images, Tiles.HEADINGS, strict=True)):
        sheet.paste(picture, (MARGIN + place * step, top))
        draw.text((MARGIN + place * step, MARGIN), heading, FAINT, font(13), anchor="la")
    below = top + high + 12
    draw.text((MARGIN, below), shorten(name, font(14, True), width - 2 * MARGIN - bar - 2 * GAP), INK, font(14, True))
    for place, line in enumerate(lines):
        draw.text((MARGIN, below + 22 + 17 * place), line, FAINT, font(13))
    left = width - MARGIN - bar
    ramp, ends = level_bar(bar, tiles.colours, tiles.scale)
    sheet.paste(Image.fromarray(np.repeat(ramp, 10, axis=0)), (left, below + 4))
    draw.text((left, below + 19), ends[0], FAINT, font(12), anchor="la")
    draw.text((left + bar, below + 19), ends[1], FAINT, font(12), anchor="ra")
    return sheet
