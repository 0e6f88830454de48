"""Scores and predictions as tables: columns for CSV and Parquet, and predictions made elsewhere read back.

Names of files and classes are written as they are. A spreadsheet may take a name that begins with =, +, - or @ for a
formula; these files are meant for programs, which must find every name unchanged, so open such a one as text only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.measurement.classification.predictions import PROBABILITY, read_predictions
from regard.measurement.classification.scores import confidence, right
from regard.records import Evaluation, Predictions, Score

__all__ = [
    "PROBABILITY",
    "from_rows",
    "per_class",
    "per_picture",
    "read_predictions",
]

Row = dict[str, Any]
SLICE = "slice:"
"""What a slice's column begins with, as a user's column may be called anything."""


def per_class(evaluation: Evaluation) -> list[Row]:
    """A row per class: its count, and each score with `_low` and `_high` beside it where it has an interval."""
    rows = []
    for each in evaluation.per_class:
        row: Row = {"class": each.name, "n": each.n}
        for name in ("precision", "recall"):
            row |= _spread(name, getattr(each, name))
        row |= {"f1": each.f1, "auroc": each.auroc, "threshold": each.threshold}
        for name in ("sensitivity", "specificity"):
            row |= _spread(name, getattr(each, name))
        rows.append(row)
    return rows


def _spread(name: str, score: Score) -> Row:
    return {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}


def per_picture(evaluation: Evaluation) -> dict[str, NDArray[Any]]:
    """Columns (n,) by name, in the order of the pictures: what a data frame is made of.

    `filename`, `label`, `predicted`, `right`, and where they are known `confidence`, `group`, `slice:COLUMN` and the
    probability `p:CLASS` of every class; `suspect` marks likely label errors.
    """
    found = evaluation.predictions
    classes, sure = np.array(found.classes, dtype=object), confidence(found)
    columns: dict[str, NDArray[Any]] = {
        "filename": np.array(found.names, dtype=object),
        "label": classes[found.labels],
        "predicted": classes[found.predicted],
        "right": right(found),
        "suspect": np.isin(np.arange(len(found)), evaluation.suspects),
    }
    if sure is not None:
        columns["confidence"] = sure
    if found.groups is not None:
        columns["group"] = np.asarray(found.groups).astype(np.str_).astype(object)
    for name, values in found.slices.items():
        columns[f"{SLICE}{name}"] = np.asarray(values).astype(np.str_).astype(object)
    if found.probabilities is not None:
        values = np.asarray(found.probabilities, np.float32)
        columns |= {f"{PROBABILITY}{name}": values[:, index] for index, name in enumerate(found.classes)}
    return columns


def from_rows(columns: Mapping[str, Sequence[Any]], classes: Sequence[str]) -> Predictions:
    """The predictions back from the columns of `per_picture`. Raises `DataError` for a column or class that is not
    known."""
    lacking = [name for name in ("filename", "label", "predicted") if name not in columns]
    if lacking:
        raise DataError(f"the table of predictions has no column {lacking[0]!r}; it must be one that regard wrote")
    given = [f"{PROBABILITY}{name}" for name in classes]
    known = bool(given) and all(name in columns for name in given)
    return Predictions(
        names=tuple(map(str, columns["filename"])),
        classes=tuple(classes),
        predicted=_indices(columns["predicted"], classes),
        labels=_indices(columns["label"], classes),
        probabilities=np.stack([np.asarray(columns[name], np.float32) for name in given], axis=1) if known else None,
        groups=np.array(columns["group"], np.str_) if "group" in columns else None,
        slices={
            name.removeprefix(SLICE): np.array(column, np.str_)
            for name, column in columns.items()
            if name.startswith(SLICE)
        },
        confidence=None if known or "confidence" not in columns else np.asarray(columns["confidence"], np.float32),
    )


def _indices(labels: Sequence[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    index = {name: place for place, name in enumerate(classes)}
    strange = sorted({str(label) for label in labels if label not in index})
    if strange:
        raise DataError(f"the table of predictions has the label {strange[0]!r}, which is none of the classes")
    return np.array([index[label] for label in labels], np.int64)
