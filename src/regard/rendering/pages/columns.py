"""The pictures of a run or an audit as columns, a value a picture, as the gallery of its page reads them.

Classes are indices into the page's list of classes; what is not known is None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from regard.records import Audit, Evaluation
from regard.rendering.figures.canvas import bare
from regard.rendering.pages.views import View, jpeg

THUMB = 176
"""The longer side in pixels of the gallery's pictures."""
MOST_VALUES = 50
"""Of how many values a column may be whose slices the gallery filters."""


def run_columns(
    evaluation: Evaluation,
    inspections: Mapping[str, Sequence[int]] | None = None,
    thumbs: Mapping[str, Image.Image] | None = None,
) -> View:
    """All pictures of an evaluation; by the pictures' names, `inspections` are the blocks of the page, and `thumbs`
    small pictures."""
    predictions = evaluation.predictions
    sure = predictions.certainty
    return {
        "n": len(predictions),
        "name": list(predictions.names),
        "predicted": predictions.predicted.tolist(),
        "true": [label if label >= 0 else None for label in predictions.labels.tolist()],
        "confidence": [None] * len(predictions) if sure is None else [_rounded(each) for each in sure.tolist()],
        **_slices({name: list(map(str, values)) for name, values in predictions.slices.items()}),
        **({"inspections": [list(inspections.get(name, ())) for name in predictions.names]} if inspections else {}),
        **({"thumb": [_thumb(thumbs.get(name)) for name in predictions.names]} if thumbs else {}),
    }


def audit_columns(audit: Audit, thumbs: Mapping[str, Image.Image]) -> View:
    """All pictures of an audit, and `classes`: those that occur in it. `thumbs` are small pictures by name."""
    names = [name for each in audit.pictures for name in (each.label, each.predicted) if name]
    classes = {name: place for place, name in enumerate(sorted(set(names)))}
    flipping = any("background" in each.flips for each in audit.pictures)
    slices = {column: [each.slices.get(column, "") for each in audit.pictures]
              for column in dict.fromkeys(column for each in audit.pictures for column in each.slices)}  # fmt: skip
    return {
        "classes": list(classes),
        "pictures": {
            "n": len(audit.pictures),
            "name": [each.name for each in audit.pictures],
            "predicted": [classes.get(each.predicted) for each in audit.pictures],
            "true": [classes.get(each.label) for each in audit.pictures],
            "confidence": [_rounded(each.confidence) for each in audit.pictures],
            **({"flips": ["background" in each.flips for each in audit.pictures]} if flipping else {}),
            **_slices(slices),
            **({"thumb": [_thumb(thumbs.get(each.name)) for each in audit.pictures]} if thumbs else {}),
        },
    }


def slice_filter(columns: View, column: str, value: str) -> dict[str, Any] | None:
    """The gallery's filter for a slice; None where the gallery has no such one."""
    for place, each in enumerate(columns.get("slices", ())):
        if each["column"] == column and value in each["values"]:
            return {"slice": [place, each["values"].index(value)]}
    return None


def _slices(columns: Mapping[str, Sequence[str]]) -> View:
    """Each column's values, and which of them a picture has; "" is none. A column of very many values is left out."""
    listed = []
    for name, texts in columns.items():
        values = sorted(set(texts) - {""})
        if 0 < len(values) <= MOST_VALUES:
            places = {value: place for place, value in enumerate(values)}
            listed.append({"column": name, "values": values, "codes": [places.get(text) for text in texts]})
    return {"slices": listed} if listed else {}


def _thumb(image: Image.Image | None) -> str | None:
    if image is None:
        return None
    small = bare(image)
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    return jpeg(small, 72)


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
