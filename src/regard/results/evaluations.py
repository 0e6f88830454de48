"""What an evaluation leaves in a folder, and what is read from it again.

    scores.json      every score, class, slice and picture to look at
    per_class.csv, confusion.csv, predictions.parquet    tables for a notebook (a classifier's)
    captions.jsonl   a line for each picture (a captioner's)
    manifest.json    written last

Names of files and classes are written as they are. A spreadsheet may take a name that begins with =, +, - or @ for a
formula; these files are meant for programs, which must find every name unchanged, so open such a one as text only.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regard.errors import DataError
from regard.files import json_text, readable, reading, write_file, write_json
from regard.records import (
    CaptionEvaluation,
    Evaluation,
    Predictions,
    Score,
    SliceScore,
    read_manifest,
    write_manifest,
)
from regard.results.predictions import PROBABILITY, SLICE

EVALUATION = "evaluation"
"""The folder in a run, and the kind of a classifier's manifest."""
CAPTION_SCORES = "caption scores"
"""The kind of a captioner's manifest."""
SCORES = "scores.json"
CAPTIONS = "captions.jsonl"
PREDICTIONS = "predictions.parquet"

SMALLEST_SLICE = 10
"""How many pictures a slice needs to be called the worst: with fewer, chance picks it."""


Row = dict[str, Any]
Figures = Callable[[Evaluation], Mapping[str, bytes]]
"""Charts of an evaluation as PNG files, by name."""


def write_evaluation(folder: Path, evaluation: Evaluation, seed: int = 0, figures: Figures = lambda each: {}) -> None:
    """Scores, tables for a notebook, the `figures` for a paper; the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SCORES, as_json(evaluation))
    write_file(folder / "per_class.csv", csv_text(per_class(evaluation)))
    write_file(folder / "confusion.csv", csv_text(_confusion(evaluation)))
    pd.DataFrame(readable_columns(per_picture(evaluation))).to_parquet(folder / PREDICTIONS, index=False)
    for name, content in figures(evaluation).items():
        write_file(folder / name, content)
    facts: dict[str, Any] = {"note": evaluation.note, "n": evaluation.n, "seed": seed}
    if evaluation.optimism:
        facts["optimism"] = dict(evaluation.optimism)
    if evaluation.mending is not None:
        facts["mending"] = evaluation.mending.as_json()
    write_manifest(folder, EVALUATION, **facts, provenance=dict(evaluation.provenance))


def read_predictions(folder: Path, classes: Sequence[str]) -> Predictions:
    """The predictions that an evaluation's folder holds. Raises `DataError` where its table is damaged."""
    with reading(folder / PREDICTIONS, "restore it, or score again: `regard evaluate DATA --model RUN`"):
        frame = pd.read_parquet(folder / PREDICTIONS)
        return from_rows({name: frame[name].tolist() for name in frame.columns}, classes)


def write_caption_evaluation(folder: Path, evaluation: CaptionEvaluation) -> None:
    """`scores.json`, and `captions.jsonl` with a line for each picture; the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SCORES, captions_json(evaluation))
    rows = (
        {"name": name, "caption": text, "references": list(evaluation.references[name])}
        for name, text in evaluation.captions.items()
    )
    write_file(folder / CAPTIONS, "".join(f"{json_text(row)}\n" for row in rows))
    scores = {name: {**score.as_json(), "n": score.n} for name, score in evaluation.scores.items()}
    provenance = dict(evaluation.provenance)
    write_manifest(folder, CAPTION_SCORES, note=evaluation.note, n=evaluation.n, scores=scores, provenance=provenance)


def read_caption_evaluation(folder: Path | str) -> CaptionEvaluation:
    """What `write_caption_evaluation` wrote. Raises `DataError` when it is not whole or something else."""
    manifest = read_manifest(folder, CAPTION_SCORES, {"scores": dict, "note": str, "provenance": dict})
    with reading(folder, "restore it, or score again: `regard evaluate DATA --model RUN`"):
        # Not `splitlines`: a caption may hold other signs that end a line (U+2028), which JSON leaves as they are.
        lines = (Path(folder) / CAPTIONS).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
        rows = [json.loads(line) for line in lines if line]
        scores = {}
        for name, stored in manifest["scores"].items():
            value, low, high = (math.nan if stored[each] is None else stored[each] for each in ("value", "low", "high"))
            scores[name] = Score(value, low, high, stored["n"], note=stored.get("note", ""))
        return CaptionEvaluation(
            scores,
            {row["name"]: row["caption"] for row in rows},
            {row["name"]: tuple(row["references"]) for row in rows},
            manifest["note"],
            manifest["provenance"],
        )


def captions_json(evaluation: CaptionEvaluation) -> dict[str, Any]:
    """`n`, and each score under its name."""
    return {"n": evaluation.n, **{name: score.as_json() for name, score in evaluation.scores.items()}}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A CSV with a column for each field; names that are no characters are written as `readable` has them."""
    texts = [{readable(name): readable(each) if isinstance(each, str) else each for name, each in row.items()}
             for row in rows]  # fmt: skip
    return str(pd.DataFrame(texts).to_csv(index=False, lineterminator="\n"))


def _confusion(evaluation: Evaluation) -> list[Row]:
    """A row per true class, a column per predicted one."""
    classes = evaluation.predictions.classes
    return [
        {"true": name, **dict(zip(classes, map(int, row), strict=True))}
        for name, row in zip(classes, evaluation.confusion, strict=True)
    ]


def per_class(evaluation: Evaluation) -> list[Row]:
    """A row per class: its count, and each score with `_low` and `_high` beside it where it has an interval."""
    rows = []
    for each in evaluation.per_class:
        row: Row = {"class": each.name, "n": each.n}
        for name in ("precision", "recall"):
            row |= spread(name, getattr(each, name))
        row |= {"f1": each.f1, "auroc": each.auroc, "threshold": each.threshold}
        for name in ("sensitivity", "specificity"):
            row |= spread(name, getattr(each, name))
        rows.append(row)
    return rows


def spread(name: str, score: Score) -> Row:
    """A score in three columns: its value and its interval's ends."""
    return {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}


def per_picture(evaluation: Evaluation) -> dict[str, NDArray[Any]]:
    """Columns (n,) by name, in the order of the pictures: what a data frame is made of.

    `filename` as the user has it (and `name` where that is another), `label`, `predicted`, `right`, and where they are
    known `confidence`, `group`, `slice:COLUMN` and the probability `p:CLASS` of every class; `suspect` marks likely
    label errors.
    """
    predictions = evaluation.predictions
    classes = np.array(predictions.classes, dtype=object)
    same = predictions.filenames in (None, predictions.names)
    columns: dict[str, NDArray[Any]] = {
        "filename": np.array(predictions.filenames or predictions.names, dtype=object),
        **({} if same else {"name": np.array(predictions.names, dtype=object)}),
        "label": classes[predictions.labels],
        "predicted": classes[predictions.predicted],
        "right": predictions.right,
        "suspect": np.isin(np.arange(len(predictions)), evaluation.suspects),
    }
    if predictions.certainty is not None:
        columns["confidence"] = predictions.certainty
    if predictions.groups is not None:
        columns["group"] = np.asarray(predictions.groups).astype(np.str_).astype(object)
    for name, values in predictions.slices.items():
        columns[f"{SLICE}{name}"] = np.asarray(values).astype(np.str_).astype(object)
    if predictions.probabilities is not None:
        values = np.asarray(predictions.probabilities, np.float32)
        columns |= {f"{PROBABILITY}{name}": values[:, index] for index, name in enumerate(predictions.classes)}
    return columns


def readable_columns(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns with names that a table can hold: a file's or folder's may be any bytes."""
    return {
        readable(name): np.array([readable(each) if isinstance(each, str) else each for each in values], object)
        if values.dtype == object
        else values
        for name, values in columns.items()
    }


def from_rows(columns: Mapping[str, Sequence[Any]], classes: Sequence[str]) -> Predictions:
    """The predictions back from the columns of `per_picture`. Raises `DataError` for a column or class that is not
    known."""
    lacking = [name for name in ("filename", "label", "predicted") if name not in columns]
    if lacking:
        raise DataError(f"the table of predictions has no column {lacking[0]!r}; it must be one that regard wrote")
    names = [f"{PROBABILITY}{readable(name)}" for name in classes]
    complete = bool(names) and all(name in columns for name in names)
    filenames = tuple(map(str, columns["filename"]))
    return Predictions(
        names=tuple(map(str, columns["name"])) if "name" in columns else filenames,
        filenames=filenames if "name" in columns else None,
        classes=tuple(classes),
        predicted=_indices(columns["predicted"], classes),
        labels=_indices(columns["label"], classes),
        probabilities=np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1) if complete else None,
        groups=np.array(columns["group"], np.str_) if "group" in columns else None,
        slices={
            name.removeprefix(SLICE): np.array(column, np.str_)
            for name, column in columns.items()
            if name.startswith(SLICE)
        },
        confidence=None if complete or "confidence" not in columns else np.asarray(columns["confidence"], np.float32),
    )


def _indices(labels: Sequence[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    index = {written: place for place, name in enumerate(classes) for written in (name, readable(name))}
    strange = sorted({str(label) for label in labels if label not in index})
    if strange:
        raise DataError(f"the table of predictions has the label {strange[0]!r}, which is none of the classes")
    return np.array([index[label] for label in labels], np.int64)


def worst_slice(evaluation: Evaluation) -> SliceScore | None:
    """The slice with the lowest accuracy of those with ten pictures or more, of equals the larger; None without any.

    It is the worst of several: chance alone makes one of them look bad, so read its interval, not its value.
    """
    large = [row for row in evaluation.slices if row.top1.n >= SMALLEST_SLICE]
    return min(large, key=lambda row: (row.top1.value, -row.top1.n), default=None)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON: each score as `{"value", "low", "high"}` under its name, `n`, `note`, and all the rest.

    `confusion` lists the cells that are not empty; pictures to look at are names. There is no NaN: null instead.
    """
    names = evaluation.predictions.names
    worst = worst_slice(evaluation)
    return {
        **{name: score.as_json() for name, score in evaluation.scores.items()},
        "n": evaluation.n,
        "note": evaluation.note,
        "classes": list(evaluation.predictions.classes),
        "per_class": [plain(vars(each)) for each in evaluation.per_class],
        "confusion": _cells(evaluation),
        "reliability": [plain(vars(each)) for each in evaluation.reliability],
        "slices": [_slice_json(each) for each in evaluation.slices],
        "worst_slice": None if worst is None else _slice_json(worst),
        **{
            field: [names[index] for index in getattr(evaluation, field)]
            for field in ("mistakes", "uncertain", "suspects")
        },
        **({} if evaluation.mending is None else {"mending": evaluation.mending.as_json()}),
        "provenance": dict(evaluation.provenance),
    }


def _slice_json(row: SliceScore) -> dict[str, Any]:
    return {"column": row.column, "value": row.value, "n": row.top1.n, "top1": row.top1.as_json()}


def _cells(evaluation: Evaluation) -> list[dict[str, Any]]:
    classes = evaluation.predictions.classes
    return [
        {"label": classes[true], "predicted": classes[predicted], "n": int(evaluation.confusion[true, predicted])}
        for true, predicted in np.argwhere(evaluation.confusion)
    ]


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record for JSON: scores as theirs, null for what is not defined."""
    plain = {name: value.as_json() if isinstance(value, Score) else value for name, value in fields.items()}
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in plain.items()
    }
