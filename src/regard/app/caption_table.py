"""Captions as one Parquet file, a row for each word, for pandas, polars and DuckDB; written and read piece by piece."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from regard.app.caption_entry import DEPENDS
from regard.errors import DataError
from regard.files import SCHEMA, check_schema
from regard.records import Caption, Float, PatchGrid
from regard.records.captions import KIND, word_of

ROWS = 4096
"""Words in a row group: what is held in memory at once."""
READ = 512
"""Words that are read at once, as they become numbers of Python first."""
_EDGES = ("left", "top", "right", "bottom")
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
    **{f"peak_{edge}": _NUMBER for edge in _EDGES},
    "rows": _WHOLE,
    "columns": _WHOLE,
    "prefix": _WHOLE,
    "picture_height": _WHOLE,
    "picture_width": _WHOLE,
    **{f"box_{edge}": _NUMBER for edge in _EDGES},
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
    facts = json.dumps({"schema": SCHEMA, "kind": KIND, **about}, allow_nan=False)
    schema = pa.schema(list(_COLUMNS.items()), {"regard": facts})
    stream = (row for entry, maps in captions for row in _rows(entry, maps))
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=_REPEATED) as writer:
        while rows := list(islice(stream, ROWS)):
            columns = [pa.array([row.get(name) for row in rows], kind) for name, kind in _COLUMNS.items()]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROWS)


def read_caption_table(path: Path | str) -> Iterator[Caption]:
    """The captions in a Parquet file of `regard caption`, one by one. Raises `DataError` for another file."""
    path = Path(path)
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({error}); give a file that `regard caption` wrote"
        ) from error
    stored = json.loads((file.schema_arrow.metadata or {}).get(b"regard", b"{}"))
    if stored.get("kind") != KIND:
        file.close()
        raise DataError(f"{path} holds no captions of regard; give a file that `regard caption` wrote")
    check_schema(stored, path)
    return _captions(file, stored["provenance"])


def _captions(file: pq.ParquetFile, provenance: Mapping[str, Any]) -> Iterator[Caption]:
    with file:
        rows = (row for batch in file.iter_batches(batch_size=READ) for row in batch.to_pylist())
        for _, words in groupby(rows, key=lambda row: (row["name"], row["which"])):
            yield _caption(list(words), provenance)


def _caption(rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> Caption:
    first = rows[0]
    shape, box = (first["rows"], first["columns"]), tuple(first[f"box_{edge}"] for edge in _EDGES)
    grid = PatchGrid(*shape, first["prefix"], (first["picture_height"], first["picture_width"]), box)
    words = (
        word_of({**row, "text": row["word"]}, np.array(row["map"], np.float32).reshape(shape), grid, first["name"])
        for row in rows
        if row["word"] is not None
    )
    return Caption(first["name"], first["caption"], tuple(words), provenance)


def _rows(entry: Mapping[str, Any], maps: Float) -> Iterator[dict[str, Any]]:
    """A caption's rows: what holds for all of it, then what is said of each word."""
    grid = entry["grid"]
    common = {
        "name": _text(entry["name"]),
        "which": entry.get("which"),
        "caption": _text(entry["text"]),
        "caption_log_probability": entry["log_probability"],
        "limit_reached": entry["limit_reached"],
        **{name: grid[name] for name in ("rows", "columns", "prefix")},
        **dict(zip(("picture_height", "picture_width"), grid["picture"], strict=True)),
        **{f"box_{edge}": value for edge, value in zip(_EDGES, grid["box"], strict=True)},
    }
    for index, (word, values) in enumerate(zip(entry["words"], maps, strict=True)):
        yield {**common, "index": index, **_word(word), "map": values.ravel()}
    if not entry["words"]:
        yield common


def _word(word: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = word["steps"] or (None, None)
    return {
        "word": _text(word["text"]),
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
    edges = {f"peak_{edge}": value for edge, value in zip(_EDGES, peak["box"], strict=True)}
    return {**{f"peak_{name}": peak[name] for name in ("row", "column", "value")}, **edges}


def _text(text: str) -> str:
    """Text that any reader takes: bytes of a file's name that are no characters are written as `\\\\xe9`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
