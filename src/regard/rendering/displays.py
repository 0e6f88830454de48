"""What a notebook shows of a record, as PNG bytes: one picture as a panel, several as a sheet."""

from typing import Any

from PIL import Image

from regard.records import Caption, Captions, Classification, Evaluation, Explanation, Heatmap, Positions, support_text
from regard.rendering import colour
from regard.rendering.figures import charts, position_grids, sheets
from regard.rendering.figures.canvas import TILE, png, values_on
from regard.rendering.figures.caption_panels import LONGEST, SheetItem, caption_panel, caption_sheet, cells_of
from regard.rendering.figures.panel import caption_of, panel

MOST = 12
"""Pictures that are shown, at most."""
CELL = 240


def explanation_png(explanation: Explanation) -> bytes:
    """A panel, or overlays side by side; the maps alone where the pictures are not known, as of one that was loaded."""
    heatmaps = explanation.heatmaps[:MOST]
    images = [heatmap.image for heatmap in heatmaps if heatmap.image is not None]
    if not images or len(images) < len(heatmaps):
        return sheets.explanation_png(explanation, MOST)
    if len(explanation) == 1:
        caption = caption_of(explanation, 0)
        return png(panel(images[0](TILE), heatmaps[0], caption=caption, signed=explanation.signed))
    items = [(image(CELL), heatmap, heatmap.name) for image, heatmap in zip(images, heatmaps, strict=True)]
    caption = sheets.common_caption(explanation) + _more(len(explanation))
    return png(sheets.contact_sheet(items, signed=explanation.signed, tile=CELL, caption=caption))


def classification_png(record: Classification) -> bytes:
    """The pictures, under each the likeliest class and its probability."""
    items = []
    for index in range(min(len(record), MOST)):
        image = record.images[index](CELL) if record.images else _blank((1, 1), CELL)
        label, probability = next(iter(record.top(index, 1).items()))
        items.append((image, None, f"{label} {probability:.2f}"))
    return png(sheets.contact_sheet(items, tile=CELL, caption=_network(record) + _more(len(record))))


def caption_png(caption: Caption) -> bytes:
    """A panel with the map of every word."""
    image = _image_of(caption, LONGEST)
    return png(caption_panel(image, caption.name, caption.text, cells_of(caption), caption=_about(caption)))


def captions_png(captions: Captions) -> bytes:
    """The pictures, each with its caption below."""
    items = [
        SheetItem(_image_of(each, CELL), each.name, each.text, [(word.text, word.support) for word in each.words])
        for each in captions.captions[:MOST]
    ]
    if not items:
        return png(sheets.captioned(_blank((1, 3), CELL), "no captions"))
    return png(caption_sheet(items, tile=CELL, caption=_about(captions[0]) + _more(len(captions))))


def _image_of(caption: Caption, longest: int) -> Image.Image:
    if caption.image is not None:
        return caption.image(longest)
    return _blank((1, 1) if caption.grid is None else caption.grid.picture, longest)


def _blank(shape: tuple[int, int], longest: int) -> Image.Image:
    """A grey picture (height, width) in the place of one that is not known, as of a record that was loaded."""
    height, width = (max(1, round(side * longest / max(shape))) for side in shape)
    return Image.new("RGB", (width, height), colour.UNSEEN)


def _network(record: Classification | Caption) -> str:
    return f"network {record.provenance.get('network', 'unknown')}"


def _about(caption: Caption) -> str:
    """The network, and what the support of its words was measured on."""
    return " · ".join(filter(None, (support_text(caption.settings).rstrip("."), _network(caption))))


def _more(count: int) -> str:
    return f" · and {count - MOST} more" if count > MOST else ""


def positions_png(positions: Positions) -> bytes:
    return png(position_grids.draw(positions, size=900))


def evaluation_png(evaluation: Evaluation) -> bytes:
    """The confusion of classes."""
    return charts.chart_png(charts.confusion_chart(evaluation.confusion, evaluation.predictions.classes))


def overlay(image: Image.Image, heatmap: Heatmap, signed: bool, **settings: Any) -> Image.Image:
    """A map laid over its picture, from its lowest to its highest patch, at the size of `image`."""
    scale = colour.limits(heatmap.values, signed)
    return colour.overlay(image, values_on(image, heatmap), scale=scale, signed=signed, **settings)
