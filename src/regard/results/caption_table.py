"""Captions as one Parquet file, a row for each word."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from regard.files import readable, reading
from regard.records.captions import Caption, WordDependence
from regard.records.grid import Float, PatchGrid
from regard.records.manifest import AGAIN
from regard.results.captions import KIND, Entry, word_of
from regard.results.parquet import ARRAY, EDGES, GRID, TEXTS, grid_of, grid_row, read_rows, write_rows

READ = 512
"""Words that are read at once, as they become numbers of Python first."""
INTEGER = "int32"
NUMBER = "float64"
TEXT = "string"
COLUMNS: Mapping[str, str] = {
    "name": TEXT,
    "filename": TEXT,
    "which": INTEGER,
    "caption": TEXT,
    "caption_log_probability": NUMBER,
    "limit_reached": "bool",
    "index": INTEGER,
    "word": TEXT,
    "probability": NUMBER,
    "log_probability": NUMBER,
    "part_of_speech": TEXT,
    "step_from": INTEGER,
    "step_to": INTEGER,
    "entropy": NUMBER,
    "top_tenth": NUMBER,
    "peak_row": INTEGER,
    "peak_column": INTEGER,
    "peak_value": NUMBER,
    **{f"peak_{edge}": NUMBER for edge in EDGES},
    **GRID,
    **{each.name: NUMBER for each in fields(WordDependence)},
    "map": ARRAY,
}
CHECK = "check_"
"""How the names of columns of checks begin."""
SUPPORT: Mapping[str, str] = {"support": NUMBER, "kind": TEXT, "reasons": TEXTS, "alternative": TEXT}
"""The columns of a word's support: its probability first."""
REPEATED = ("name", "filename", "caption", "word", "part_of_speech")


def write_caption_table(
    path: Path,
    captions: Iterable[tuple[Entry, Float]],
    about: Mapping[str, Any],
    filenames: Mapping[str, str] | None = None,
) -> None:
    """Write a row for each word of entries as `captions.json` has them, with their maps (words, rows, columns).

    A caption without words has one row, whose word is null. `about` becomes the file's metadata; the words' checks that
    its settings name have a column each, `check_NAME`, and where they speak of support that has its own.
    `filename` is what `filenames` has for a name, else the name.
    """
    rows = (row for entry, maps in captions for row in _rows(entry, maps, filenames or {}))
    settings = about.get("settings", {})
    checks = {f"{CHECK}{name}": NUMBER for name in settings.get("checks", ())}
    support = SUPPORT if "support" in settings else {}
    repeated = (*REPEATED, "kind") if support else REPEATED
    write_rows(path, rows, {**COLUMNS, **checks, **support}, repeated, KIND, about)


def read_caption_table(path: Path | str) -> Iterator[Caption]:
    """The captions in a Parquet file of `regard caption`, one by one. Raises `DataError` for another file."""
    stored, rows = read_rows(path, KIND, "captions", "caption", READ)
    return _captions(Path(path), stored, rows)


def _captions(path: Path, stored: Mapping[str, Any], rows: Iterator[Mapping[str, Any]]) -> Iterator[Caption]:
    with reading(path, AGAIN):
        for _, words in groupby(rows, key=lambda row: (row["name"], row["which"])):
            yield _caption(list(words), stored["provenance"])


def _caption(rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> Caption:
    first = rows[0]
    name = first["name"]
    grid = grid_of(first)
    shape = grid.rows, grid.columns
    words = []
    for row in rows:
        if row["word"] is None:
            continue
        checks = {column.removeprefix(CHECK): value for column, value in row.items() if column.startswith(CHECK)}
        checked = any(value is not None for value in checks.values())  # not `<start>`, nor where no column is
        support = None if row.get("support") is None else {**row, "probability": row["support"]}
        values = np.array(row["map"], np.float32).reshape(shape)
        stored = {**row, "text": row["word"], "checks": checks if checked else None, "support": support}
        words.append(word_of(stored, values, grid, name))
    return Caption(name, first["caption"], tuple(words), provenance, grid=grid, which=first["which"])


def _rows(entry: Entry, maps: Float, filenames: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A caption's rows: what holds for all of it, then what is of each word."""
    common = {
        "name": readable(entry["name"]),
        "filename": readable(filenames.get(entry["name"], entry["name"])),
        "which": entry.get("which"),
        "caption": readable(entry["text"]),
        "caption_log_probability": entry["log_probability"],
        "limit_reached": entry["limit_reached"],
        **grid_row(PatchGrid.from_json(entry["grid"])),
    }
    for index, (word, values) in enumerate(zip(entry["words"], maps, strict=True)):
        yield {**common, "index": index, **_word_row(word), "map": values.ravel()}
    if not entry["words"]:
        yield common


def _word_row(word: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = word["steps"] or (None, None)
    row = {
        "word": readable(word["text"]),
        **{name: word[name] for name in ("probability", "log_probability", "part_of_speech")},
        "step_from": start,
        "step_to": stop,
        **(word["focus"] or {}),
        **(word.get("depends") or {}),
        **{f"{CHECK}{name}": value for name, value in (word.get("checks") or {}).items()},
    }
    if word.get("support") is not None:
        support = dict(word["support"])
        row |= {"support": support.pop("probability"), **support}
    if word["peak"] is not None:
        row |= {f"peak_{name}": word["peak"][name] for name in ("row", "column", "value")}
        row |= {f"peak_{edge}": value for edge, value in zip(EDGES, word["peak"]["box"], strict=True)}
    return row
