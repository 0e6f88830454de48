"""What an evaluation of several labels a picture leaves in a folder, and what is read from it again.

scores.json          every score, label, slice and picture to look at
per_label.csv, predictions.parquet    tables for a notebook: in the latter `label` and `predicted` are texts `a|b`
manifest.json        written last
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regard.errors import DataError
from regard.files import readable, reading, write_file, write_json
from regard.records import LabelPredictions, LabelScores, MultiLabelEvaluation, write_manifest
from regard.records.multilabel import SEPARATOR, label_texts
from regard.results.evaluations import PREDICTIONS, SCORES, Row, csv_text, plain, readable_columns, spread
from regard.results.predictions import PROBABILITY, SLICE

KIND = "multi-label scores"
"""The kind of the manifest."""
MEASURES = ("ap", "auroc", "precision", "recall", "f1")


def write_labels(folder: Path, evaluation: MultiLabelEvaluation, seed: int = 0) -> None:
    """Scores and tables; the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SCORES, as_json(evaluation))
    write_file(folder / "per_label.csv", csv_text([_label_row(each) for each in evaluation.per_label]))
    pd.DataFrame(readable_columns(per_picture(evaluation.predictions))).to_parquet(folder / PREDICTIONS, index=False)
    facts = {"note": evaluation.note, "n": evaluation.n, "seed": seed, "threshold": evaluation.predictions.threshold}
    write_manifest(folder, KIND, **facts, provenance=dict(evaluation.provenance))


def per_picture(predictions: LabelPredictions) -> dict[str, NDArray[Any]]:
    """Columns (n,) by name: as `evaluations.per_picture` has them, of labels."""
    same = predictions.filenames in (None, predictions.names)
    columns: dict[str, NDArray[Any]] = {
        "filename": np.array(predictions.filenames or predictions.names, dtype=object),
        **({} if same else {"name": np.array(predictions.names, dtype=object)}),
        "label": np.array(label_texts(predictions.classes, predictions.truth), dtype=object),
        "predicted": np.array(label_texts(predictions.classes, predictions.answers), dtype=object),
        "right": predictions.right,
    }
    if predictions.groups is not None:
        columns["group"] = np.asarray(predictions.groups).astype(np.str_).astype(object)
    for name, values in predictions.slices.items():
        columns[f"{SLICE}{name}"] = np.asarray(values).astype(np.str_).astype(object)
    values = np.asarray(predictions.probabilities, np.float32)
    return columns | {f"{PROBABILITY}{name}": values[:, place] for place, name in enumerate(predictions.classes)}


def read_label_predictions(folder: Path, classes: Sequence[str]) -> LabelPredictions:
    """The answers that an evaluation's folder holds. Raises `DataError` where its table is damaged."""
    from regard.records import read_manifest

    threshold = read_manifest(folder, KIND, {"threshold": float})["threshold"]
    with reading(folder / PREDICTIONS, "restore it, or score again: `regard evaluate DATA --model RUN`"):
        frame = pd.read_parquet(folder / PREDICTIONS)
        place = {text: index for index, name in enumerate(classes) for text in (name, readable(name))}
        truth = np.zeros((len(frame), len(classes)), bool)
        for row, text in enumerate(frame["label"]):
            strange = [name for name in text.split(SEPARATOR) if name and name not in place]
            if strange:
                raise DataError(f"the table of predictions has the label {strange[0]!r}, which is none of the run's")
            truth[row, [place[name] for name in text.split(SEPARATOR) if name]] = True
        return LabelPredictions(
            names=tuple(map(str, frame["name" if "name" in frame else "filename"])),
            classes=tuple(classes),
            truth=truth,
            probabilities=np.stack([frame[f"{PROBABILITY}{readable(name)}"] for name in classes], 1).astype(np.float32),
            groups=np.array(frame["group"], np.str_) if "group" in frame else None,
            slices={
                name.removeprefix(SLICE): np.array(frame[name], np.str_)
                for name in frame.columns
                if name.startswith(SLICE)
            },
            threshold=threshold,
        )


def as_json(evaluation: MultiLabelEvaluation) -> dict[str, Any]:
    """The evaluation as JSON: each score under its name, `baseline`, `per_label`, and all the rest; no NaN but null.

    `undecided` are the labels that all of the pictures have, or none, which no mean counts; `labels` are those that
    count.
    """
    predictions = evaluation.predictions
    names = predictions.names
    return {
        **{name: score.as_json() for name, score in evaluation.scores.items()},
        "n": evaluation.n,
        "note": evaluation.note,
        "threshold": predictions.threshold,
        "classes": list(predictions.classes),
        "undecided": list(evaluation.undecided),
        "baseline": dict(evaluation.baseline),
        "per_label": [
            {
                "label": each.name,
                "n": each.n,
                "prevalence": each.prevalence,
                **{name: getattr(each, name).as_json() for name in MEASURES},
                **{kind: [names[place] for place in getattr(each, kind)] for kind in ("missed", "false")},
            }
            for each in evaluation.per_label
        ],
        "reliability": [plain(vars(each)) for each in evaluation.reliability],
        "slices": [
            {
                **{name: getattr(each, name) for name in ("column", "value", "n", "labels")},
                "map": each.map.as_json(),
                "exact_match": each.exact_match.as_json(),
            }
            for each in evaluation.slices
        ],
        "mistakes": [names[place] for place in evaluation.mistakes],
        "provenance": dict(evaluation.provenance),
    }


def _label_row(each: LabelScores) -> Row:
    row: Row = {"label": each.name, "n": each.n, "prevalence": each.prevalence}
    for name in MEASURES:
        row |= spread(name, getattr(each, name))
    return row
