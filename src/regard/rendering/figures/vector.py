"""The panel as a file: JPEG, PNG, or, with sharp texts that stay texts, SVG and PDF; the same bytes for the same panel.

No date, program or path is written into the files. Texts are plain, never formulas: a class may be called `a$b`.
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

from PIL import Image

from regard.errors import unknown
from regard.records import Heatmap
from regard.rendering.figures.canvas import TILE as PIXELS
from regard.rendering.figures.canvas import jpeg, level_bar, png
from regard.rendering.figures.panel import Tiles, panel, tiles_of
from regard.rendering.lettering import font, shorten, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RASTER = {"jpg": jpeg, "png": png}
"""Kinds of panels that are drawn without a plotting library, in any number of threads at once."""
FIGURES = (*RASTER, "svg", "pdf")
WIDE = 512
GAP = 10
MARGIN = 8
BAR = 110
"""Widths in points (1/72 inch): the panel's, between tiles, around all, the colour bar's."""
TILE = 540
"""A tile's longer side in pixels."""
INK = "#1a1c21"
FAINT = "#686d76"

_BARE: dict[str, dict[str, None]] = {
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}
_SETTINGS: dict[Any, Any] = {  # texts stay texts, in the font that they were measured in or the reader's own
    "svg.hashsalt": "regard",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": ["DejaVu Sans", "sans-serif"],
}


def pixels_for(kind: str) -> int:
    """At how many pixels, at the least, the picture is best read for a panel of this kind."""
    return PIXELS if kind == "jpg" else TILE


def panel_bytes(kind: str, image: Image.Image, heatmap: Heatmap, *, caption: str = "", **settings: Any) -> bytes:
    """A panel as the bytes of a `jpg`, `png`, `svg` or `pdf` file; `settings` are those of `figure.panel`.

    Raises `UsageError` for another kind.
    """
    if kind not in FIGURES:
        raise unknown("kind of figure", kind, FIGURES)
    if kind in RASTER:
        return RASTER[kind](panel(image, heatmap, caption=caption, **settings))
    import matplotlib

    tiles = tiles_of(image, heatmap, **{"tile": TILE, **settings})
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box in its place says it well enough
        chart = _chart(tiles, heatmap.name, " · ".join(filter(None, (caption, tiles.note))))
        file = io.BytesIO()
        chart.savefig(file, format=kind, metadata=_BARE[kind])
    return file.getvalue()


def _chart(tiles: Tiles, name: str, caption: str) -> "Figure":
    """The tiles in a row, headings above, name, caption and colour bar below; all places in points from the top."""
    column = (WIDE - 2 * MARGIN - 2 * GAP) / 3
    aspect = tiles.images[0].height / tiles.images[0].width
    high = column * min(aspect, 2)  # a very high picture is no reason for a page of it
    wide = high / aspect
    step = (WIDE - 2 * MARGIN + GAP) / 3
    room = WIDE - 2 * MARGIN - BAR - 2 * GAP
    lines = wrap(caption, font(8), room)
    below = MARGIN + 12 + high
    page = _Page(WIDE, below + 22 + 10 * max(len(lines), 1) + MARGIN)
    for place, (tile, heading) in enumerate(zip(tiles.images, Tiles.HEADINGS, strict=True)):
        left = MARGIN + place * step
        page.text(left, MARGIN + 8, heading, 8, FAINT)
        page.picture(tile, (left, MARGIN + 12, wide, high))
    page.text(MARGIN, below + 14, shorten(name, font(9, True), room), 9, INK, weight="bold")
    for place, line in enumerate(lines):
        page.text(MARGIN, below + 26 + 10 * place, line, 8, FAINT)
    left = WIDE - MARGIN - BAR
    ramp, ends = level_bar(256, tiles.colours, tiles.scale)
    page.picture(Image.fromarray(ramp), (left, below + 7, BAR, 6))
    page.text(left, below + 22, ends[0], 7.5, FAINT)
    page.text(left + BAR, below + 22, ends[1], 7.5, FAINT, ha="right")
    return page.chart


class _Page:
    """A figure that is drawn on in points from its upper left corner."""

    def __init__(self, wide: float, high: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: a PNG is drawn without it
        from matplotlib.figure import Figure

        self.wide = wide
        self.high = high
        self.chart = Figure(figsize=(wide / 72, high / 72))
        FigureCanvasAgg(self.chart)

    def picture(self, image: Image.Image, place: tuple[float, float, float, float]) -> None:
        """A raster as wide and high as `place` (left, top, width, height) says."""
        left, top, wide, high = place
        box = left / self.wide, 1 - (top + high) / self.high, wide / self.wide, high / self.high
        axes = self.chart.add_axes(box)
        axes.imshow(image, aspect="auto", interpolation="none")
        axes.set_axis_off()

    def text(self, left: float, base: float, words: str, size: float, ink: str, **more: Any) -> None:
        """Words on a base line."""
        self.chart.text(
            left / self.wide, 1 - base / self.high, words, fontsize=size, color=ink, parse_math=False, **more
        )
