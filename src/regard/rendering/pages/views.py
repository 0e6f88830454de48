"""What the report page shows of each record, as plain dictionaries for the templates: words, shares, places, images.

Nothing here is HTML: texts are escaped where the template writes them.
"""

import base64
import io
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from regard.records import ClassScores, Evaluation, Heatmap, PatchGrid, Positions, ReliabilityBin, Score
from regard.rendering import colour
from regard.rendering.figures.canvas import bare, check_shape
from regard.rendering.figures.position_grids import mosaic
from regard.rendering.lettering import distinct

View = dict[str, Any]

THUMBNAIL = 300
EXAMPLE = 440
"""The longer side in pixels of pictures in galleries, and of the examples'."""
CLASSES = 60
"""How many classes a confusion matrix shows on a page; of more, those with the most errors."""
NAME = 24
FILE = 44
"""Characters of a class in a matrix, and of a file below its picture; the whole name is in their titles."""

NOTES = {
    "seen in training": "Seen in training: the network has learnt these pictures, so this says nothing about new ones.",
    "cross-validated": "Cross-validated: each picture was scored by a network that had not seen it. The network that "
    "is kept was trained on all of them: its maps below are of pictures that it has seen.",
    "selected on": "Selected on: settings were chosen on these pictures, so expect a little less on new ones.",
}


def summary(evaluation: Evaluation) -> str:
    """One honest sentence: how many right of how many, the share, its interval."""
    labelled = evaluation.predictions.labels >= 0
    right = int((evaluation.predictions.predicted == evaluation.predictions.labels)[labelled].sum())
    sentence = f"Right on {right:,} of {int(labelled.sum()):,} pictures".replace(",", "\N{NARROW NO-BREAK SPACE}")
    top1 = evaluation.scores.get("top1")
    if top1 is None or not np.isfinite(top1.value):
        return f"{sentence}."
    if evaluation.optimism.get("top1"):
        sentence += "; without what cross-validation adds to it"
    if not np.isfinite(top1.low):
        return f"{sentence}: {top1.value:.3f}."
    return f"{sentence}: {top1.value:.3f}, 95 % interval {top1.low:.2f} to {top1.high:.2f}."


def remarks(evaluation: Evaluation) -> list[str]:
    """What a reader must know before the numbers are believed."""
    notes = [NOTES.get(evaluation.note, evaluation.note)] if evaluation.note else []
    counts = [each.n for each in evaluation.per_class]
    if counts and np.median(counts) < 10:
        notes.append(
            f"Few pictures per class ({np.median(counts):g} in the median): "
            "what is said of a single class is uncertain."
        )
    return notes


def score(value: Score) -> View:
    """A score's text and, where it is a share, the places of value and interval on a bar (0 to 1)."""
    share = all(0 <= each <= 1 for each in (value.value, value.low, value.high))
    return {
        "value": value.value if np.isfinite(value.value) else None,
        "text": number(value.value),
        "interval": f"{number(value.low)} to {number(value.high)}" if np.isfinite(value.low) else value.note,
        "n": value.n,
        "bar": {"value": value.value, "low": value.low, "high": value.high} if share else None,
    }


def number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def scores(evaluation: Evaluation) -> list[View]:
    return [
        {"name": each.label or name.replace("_", " ").capitalize(), "meaning": each.description, **score(each)}
        for name, each in evaluation.scores.items()
    ]


def per_class(evaluation: Evaluation) -> list[View]:
    places = {name: place for place, name in enumerate(evaluation.predictions.classes)}
    return [{**_class(each), "show": {"true": places[each.name]}} for each in evaluation.per_class]


def worst_classes(evaluation: Evaluation, limit: int = 3) -> list[View]:
    """The classes of lowest recall, the worst first; none where every class has all of its pictures right."""
    rows = [each for each in per_class(evaluation) if each["recall"]["value"] is not None]
    rows = [each for each in rows if each["recall"]["value"] < 1]
    return sorted(rows, key=lambda each: each["recall"]["value"])[:limit] if len(evaluation.per_class) > limit else []


def shows(evaluation: Evaluation) -> list[tuple[str, View]]:
    """What a reader may want to see of the pictures first: a text, and the gallery's filter."""
    wrong = len(evaluation.mistakes)
    everything: list[tuple[str, View]] = [(f"Show all {len(evaluation.predictions)} pictures", {})]
    if not wrong:
        return everything
    text = f"Show the {wrong} mistakes, the surest first" if wrong > 1 else "Show the one mistake"
    return [(text, {"right": 0, "sort": "worst"}), *everything]


def _class(each: ClassScores) -> View:
    plain = {"f1": each.f1, "auroc": each.auroc, "threshold": each.threshold}
    return {
        "name": each.name,
        "n": each.n,
        **{name: score(getattr(each, name)) for name in ("recall", "precision", "sensitivity", "specificity")},
        **{
            name: {"value": value if np.isfinite(value) else None, "text": number(value), "interval": ""}
            for name, value in plain.items()
        },
    }


def confusion(evaluation: Evaluation) -> View:
    """The matrix's rows of cells (count, share of the true class); at most `CLASSES`, those with most errors."""
    counts = evaluation.confusion
    classes = evaluation.predictions.classes
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    chosen = np.sort(np.argsort(-wrong, kind="stable")[:CLASSES])
    totals = counts.sum(axis=1)
    short = dict(zip(chosen.tolist(), shortened([classes[index] for index in chosen], NAME), strict=True))
    rows = [
        {
            "name": classes[true],
            "short": short[true],
            "n": int(totals[true]),
            "cells": [
                {
                    "n": int(counts[true, other]),
                    "share": counts[true, other] / totals[true],
                    "right": true == other,
                    "show": {"true": true, "answer": other},
                }
                if counts[true, other]
                else None
                for other in chosen.tolist()
            ],
        }
        for true in chosen.tolist()
    ]
    columns = [{"name": classes[index], "short": short[index]} for index in chosen.tolist()]
    return {"rows": rows, "columns": columns, "of": len(classes)}


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Names of at most so many characters, wide ones counted twice; different ones stay different."""

    def fits(line: str) -> bool:
        return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line) <= most

    return distinct(names, fits)


def confusions(evaluation: Evaluation, limit: int = 10) -> list[View]:
    """The most frequent pairs of true and predicted class, most pictures first."""
    counts = evaluation.confusion - np.diag(np.diag(evaluation.confusion))
    order = np.argsort(-counts, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(place), len(counts)) for place in order] if counts.size else []
    classes = evaluation.predictions.classes
    totals = evaluation.confusion.sum(axis=1)
    return [
        {
            "true": classes[true],
            "predicted": classes[other],
            "n": int(counts[true, other]),
            "of": int(totals[true]),
            "show": {"true": true, "answer": other},
        }
        for true, other in pairs
        if counts[true, other] > 0
    ]


def reliability(evaluation: Evaluation) -> View | None:
    """Bars of the reliability diagram in shares of its width and height, and the largest count."""
    return reliability_of(evaluation.reliability, evaluation.scores.get("ece"))


def reliability_of(bins: Sequence[ReliabilityBin], ece: Score | None) -> View | None:
    """The same of bins that come from elsewhere."""
    filled = [each for each in bins if each.n]
    if not filled:
        return None
    most = max(each.n for each in filled)
    bars = [{**vars(each), "size": each.n / most} for each in filled]
    return {"bars": bars, "most": most, "ece": score(ece) if ece else None}


def slices(evaluation: Evaluation) -> list[View]:
    """Subgroups of all columns, the worst first."""
    ordered = sorted(evaluation.slices, key=lambda each: (np.nan_to_num(each.top1.value, nan=2.0), -each.top1.n))
    return [{"column": each.column, "group": each.value, **score(each.top1)} for each in ordered]


def answer(evaluation: Evaluation, index: int) -> View:
    """The true and the predicted class of one picture, the two likeliest classes with their probabilities."""
    predictions = evaluation.predictions
    classes = predictions.classes
    label = int(predictions.labels[index])
    first = int(predictions.predicted[index])
    view: View = {
        "index": index,
        "name": predictions.names[index],
        "true": classes[label] if label >= 0 else None,
        "predicted": classes[first],
        "right": label == first,
        "confidence": None,
        "second": None,
    }
    if predictions.probabilities is not None:
        row = predictions.probabilities[index]
        view["confidence"] = f"{row[first]:.2f}"
        others = [int(place) for place in np.argsort(-row, kind="stable")[:2] if place != first]
        if others:
            view["second"] = {"predicted": classes[others[0]], "confidence": f"{row[others[0]]:.2f}"}
    return view


def gallery(
    evaluation: Evaluation,
    indices: Sequence[int],
    pictures: Mapping[str, Image.Image],
    heatmaps: Mapping[str, Heatmap],
    colours: str,
    limit: int,
    signed: bool = False,
) -> View:
    """Cards of pictures, and lines for those of which there is no thumbnail."""
    cards = []
    lines = []
    for index in indices[:limit]:
        view = answer(evaluation, int(index))
        image = pictures.get(view["name"])
        if image is None:
            lines.append(view)
        else:
            cards.append({**view, **frame(image, heatmaps.get(view["name"]), colours, THUMBNAIL, signed)})
    name_cards(cards)
    return {"cards": cards, "lines": lines, "of": len(indices), "shown": min(limit, len(indices))}


def name_cards(cards: Sequence[View]) -> None:
    """Give each card the short form of its picture's name."""
    for card, short in zip(cards, shortened([card["name"] for card in cards], FILE), strict=True):
        card["short"] = short


def frame(
    image: Image.Image,
    heatmap: Heatmap | None,
    colours: str,
    size: int = THUMBNAIL,
    signed: bool = False,
    fine: int = 8,
) -> View:
    """A picture as a JPEG data address with its map as a small PNG, `fine` pixels a patch, and the place of what the
    network saw, in shares."""
    if heatmap is not None:
        check_shape(image, heatmap)
    small = bare(image)
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    view: View = {"picture": jpeg(small), "width": small.width, "height": small.height, "map": None}
    if heatmap is not None:
        height, width = heatmap.grid.picture
        left, top, right, bottom = heatmap.grid.box
        view["map"] = map_image(heatmap, colours, signed, fine)
        view["box"] = (left / width, top / height, (right - left) / width, (bottom - top) / height)
        view["partial"] = left > 0.5 or top > 0.5 or right < width - 0.5 or bottom < height - 0.5
    return view


def panel(name: str, image: Image.Image) -> View:
    """A drawn panel as it is, as a JPEG data address."""
    return {"name": name, "picture": jpeg(image), "width": image.width, "height": image.height}


def map_image(heatmap: Heatmap, colours: str, signed: bool = False, most: int = 8) -> str:
    """The map over the part that the network saw, up to `most` pixels a patch, as a PNG data address of a few
    kilobytes."""
    rows, columns = heatmap.values.shape
    fine = max(1, min(most, 160 // max(rows, columns)))
    grid = PatchGrid.whole(rows, columns, picture=(rows * fine, columns * fine))
    ends = colour.limits(heatmap.values, signed)
    return palette_png(colour.levels(grid.to_picture(heatmap.values), ends), colours)


def positions(similarity: Positions, colours: str = "viridis") -> View:
    """The grid of grids as one PNG of a pixel a value, transparent between tiles, with its labels' places."""
    ends = colour.limits(similarity.similarity)
    index = (colour.levels(similarity.similarity, ends).astype(int) * 254 // 255).astype(np.uint8)  # 255 is no colour
    rows = similarity.rows
    columns = similarity.columns
    whole = mosaic(index, gap=1)
    return {
        "image": palette_png(whole, colours, clear=True),
        "zoom": max(1, round(620 / max(whole.shape))),
        "bar": palette_png(np.arange(254, -1, -1, dtype=np.uint8)[:, None], colours, clear=True),
        "width": whole.shape[1],
        "height": whole.shape[0],
        "rows": [(str(row), (row + 0.5) * (rows + 1) - 0.5) for row in range(rows)],
        "columns": [(str(column), (column + 0.5) * (columns + 1) - 0.5) for column in range(columns)],
        "range": ends,
        "ends": [f"{each:.2f}" for each in (ends[1], (ends[0] + ends[1]) / 2, ends[0])],
        "numbers": [
            {"name": name.replace("_", " "), "text": number(value)} for name, value in similarity.numbers.items()
        ],
    }


def ramp(colours: str) -> str:
    """A colour map lying down, as a PNG data address."""
    return palette_png(np.arange(256, dtype=np.uint8)[None], colours)


def jpeg(image: Image.Image, quality: int = 80) -> str:
    """Pixels as a JPEG data address: no EXIF, colour profile, comment or resolution of the original's."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return _address("image/jpeg", file.getvalue())


def palette_png(index: colour.Bytes, colours: str, clear: bool = False) -> str:
    """Levels (height, width) as a PNG data address in a colour map's colours; with `clear`, 255 is transparent."""
    lookup = colour.table(colours)
    if clear:
        lookup = np.concatenate([lookup[np.linspace(0, 255, 255).round().astype(int)], lookup[-1:]])
    image = Image.fromarray(index, "L").convert("P")
    image.putpalette(lookup.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, **({"transparency": 255} if clear else {}))
    return _address("image/png", file.getvalue())


def facts(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text; what is None or empty is left out."""
    return [(str(name), text(value)) for name, value in mapping.items() if value not in (None, "", (), [], {})]


RECIPE = (
    "recipe",
    "model",
    "weights",
    "size",
    "epochs",
    "batch_size",
    "learning_rate",
    "optimiser",
    "schedule",
    "keep",
)
"""The settings that a reader asks for first."""


def recipe(mapping: Mapping[str, Any]) -> View:
    """A recipe's facts, those that matter `first`, in words; the `rest`, where there are many, to be folded away."""
    ordered = {name: mapping[name] for name in RECIPE if name in mapping}
    rest = {name: value for name, value in mapping.items() if name not in ordered}
    if not ordered or len(mapping) <= len(RECIPE):
        ordered |= rest
        rest = {}
    first, folded = ([(name.replace("_", " "), value) for name, value in facts(part)] for part in (ordered, rest))
    return {"first": first, "rest": folded} if first else {"first": folded, "rest": []}


def text(value: Any) -> str:
    """A value of any JSON kind in a line: yes and no, and whatever has parts as JSON."""
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def names(evaluation: Evaluation | None, *others: Iterable[str]) -> list[str]:
    """All pictures' names, those that were scored first."""
    first = evaluation.predictions.names if evaluation else ()
    return list(dict.fromkeys([*first, *(name for each in others for name in each)]))
