"""Captions as one Parquet file, a row for each word, for pandas, polars and DuckDB; written and read piece by piece."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from regard.app.caption_entry import DEPENDS
from regard.records import Caption, Float, PatchGrid
from regard.records.captions import KIND, word_of
from regard.results.parquet import EDGES, GRID, grid_of, grid_row, read_rows, readable, write_rows

READ = 512
"""Words that are read at once, as they become numbers of Python first."""
_WHOLE, _NUMBER, _TEXT = pa.int32(), pa.float64(), pa.string()
_COLUMNS = {
    "name": _TEXT,
    "which": _WHOLE,
    "caption": _TEXT,
    "caption_log_probability": _NUMBER,
    "limit_reached": pa.bool_(),
    "index": _WHOLE,
    "word": _TEXT,
    "probability": _NUMBER,
    "log_probability": _NUMBER,
    "part_of_speech": _TEXT,
    "step_from": _WHOLE,
    "step_to": _WHOLE,
    "entropy": _NUMBER,
    "top_tenth": _NUMBER,
    "peak_row": _WHOLE,
    "peak_column": _WHOLE,
    "peak_value": _NUMBER,
    **{f"peak_{edge}": _NUMBER for edge in EDGES},
    **GRID,
    **dict.fromkeys(DEPENDS, _NUMBER),
    "map": pa.list_(pa.float32()),
}
_REPEATED = ["name", "caption", "word", "part_of_speech"]
"""Columns with few values, each many times."""


def write_caption_table(
    path: Path, captions: Iterable[tuple[Mapping[str, Any], Float]], about: Mapping[str, Any]
) -> None:
    """Write a row for each word of entries as `captions.json` has them, with their maps (words, rows, columns).

    A caption without words has one row, whose word is null. `about` becomes the file's metadata.
    """
    rows = (row for entry, maps in captions for row in _rows(entry, maps))
    write_rows(path, rows, _COLUMNS, _REPEATED, KIND, about)


def read_caption_table(path: Path | str) -> Iterator[Caption]:
    """The captions in a Parquet file of `regard caption`, one by one. Raises `DataError` for another file."""
    about, rows = read_rows(path, KIND, "captions", "caption", READ)
    words = groupby(rows, key=lambda row: (row["name"], row["which"]))
    return (_caption(list(each), about["provenance"]) for _, each in words)


def _caption(rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> Caption:
    first = rows[0]
    grid = grid_of(first)
    shape = grid.rows, grid.columns
    words = (
        word_of({**row, "text": row["word"]}, np.array(row["map"], np.float32).reshape(shape), grid, first["name"])
        for row in rows
        if row["word"] is not None
    )
    return Caption(first["name"], first["caption"], tuple(words), provenance)


def _rows(entry: Mapping[str, Any], maps: Float) -> Iterator[dict[str, Any]]:
    """A caption's rows: what holds for all of it, then what is said of each word."""
    common = {
        "name": readable(entry["name"]),
        "which": entry.get("which"),
        "caption": readable(entry["text"]),
        "caption_log_probability": entry["log_probability"],
        "limit_reached": entry["limit_reached"],
        **grid_row(PatchGrid.from_json(entry["grid"])),
    }
    for index, (word, values) in enumerate(zip(entry["words"], maps, strict=True)):
        yield {**common, "index": index, **_word(word), "map": values.ravel()}
    if not entry["words"]:
        yield common


def _word(word: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = word["steps"] or (None, None)
    return {
        "word": readable(word["text"]),
        **{name: word[name] for name in ("probability", "log_probability", "part_of_speech")},
        "step_from": start,
        "step_to": stop,
        **(word["focus"] or {}),
        **_peak(word["peak"]),
        **(word.get("depends") or {}),
    }


def _peak(peak: Mapping[str, Any] | None) -> dict[str, Any]:
    if peak is None:
        return {}
    edges = {f"peak_{edge}": value for edge, value in zip(EDGES, peak["box"], strict=True)}
    return {**{f"peak_{name}": peak[name] for name in ("row", "column", "value")}, **edges}
