"""Maps as one Parquet file, a row for each picture, for pandas, polars and DuckDB; written and read piece by piece."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from regard.errors import DataError
from regard.files import SCHEMA, check_schema
from regard.records import Explanation, Float, Heatmap, PatchGrid

ROWS = 4096
"""Rows in a row group: what is held in memory at once."""
KIND = "explanation"
_BOX = ("left", "top", "right", "bottom")


def write_table(path: Path, heatmaps: Iterable[Heatmap], about: Explanation, errors: bool = False) -> None:
    """Write a row for each map; `about` is an explanation whose maps are left aside, and becomes the file's metadata.

    With `errors` there is a column of standard errors.
    """
    schema = _schema(errors, {"schema": SCHEMA, "kind": KIND, **_about(about)})
    stream = iter(heatmaps)
    words = [name for name in schema.names if name.endswith("_name")]  # few and repeated, unlike all others
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=words) as writer:
        while rows := [_row(heatmap, about.classes, errors) for heatmap in islice(stream, ROWS)]:
            columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROWS)


def read_table(path: Path | str) -> Explanation:
    """The explanation in a Parquet file that `write_table` wrote. Raises `DataError` for another one."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({error}); give a file that `regard explain` wrote"
        ) from error
    with file:
        stored = json.loads((file.schema_arrow.metadata or {}).get(b"regard", b"{}"))
        if stored.get("kind") != KIND:
            raise DataError(f"{path} holds no maps of regard; give a file that `regard explain` wrote")
        check_schema(stored, Path(path))
        heatmaps = tuple(_heatmaps(file))
    about = {name: stored[name] for name in ("method", "signed", "settings", "provenance")}
    return Explanation(heatmaps, **about, classes=tuple(stored["classes"]))


def _heatmaps(file: pq.ParquetFile) -> Iterator[Heatmap]:
    for batch in file.iter_batches(batch_size=ROWS):
        for row in batch.to_pylist():
            shape = row["rows"], row["columns"]
            picture, box = (row["picture_height"], row["picture_width"]), tuple(row[f"box_{edge}"] for edge in _BOX)
            target = row["target"] if row["against"] is None else (row["target"], row["against"])
            error = None if row.get("error") is None else _array(row["error"], shape)
            grid = PatchGrid(*shape, row["prefix"], picture, box)
            yield Heatmap(_array(row["map"], shape), grid, row["name"], target, error, row["predicted"])


def _array(values: Sequence[float], shape: tuple[int, int]) -> Float:
    return np.array(values, np.float32).reshape(shape)


def _about(about: Explanation) -> dict[str, Any]:
    names = ("method", "signed", "settings", "provenance", "classes")
    return {name: getattr(about, name) for name in names}


def _schema(errors: bool, about: dict[str, Any]) -> pa.Schema:
    """The columns; lists of float32 are what all readers take for arrays."""
    whole, word, maps = pa.int32(), pa.string(), pa.list_(pa.float32())
    fields = {"name": word, "target": whole, "target_name": word, "against": whole, "against_name": word}
    fields |= {"predicted": whole, "predicted_name": word, "rows": whole, "columns": whole, "prefix": whole}
    fields |= {"picture_height": whole, "picture_width": whole, **{f"box_{edge}": pa.float64() for edge in _BOX}}
    fields |= {"map": maps, **({"error": maps} if errors else {})}
    return pa.schema(list(fields.items()), {"regard": json.dumps(about, allow_nan=False)})


def _row(heatmap: Heatmap, classes: Sequence[str], errors: bool) -> dict[str, Any]:
    target, against = heatmap.target if isinstance(heatmap.target, tuple) else (heatmap.target, None)
    said = {"target": target, "against": against, "predicted": heatmap.predicted}
    names = {f"{which}_name": _name(index, classes) for which, index in said.items()}
    grid = heatmap.grid
    place = {"rows": heatmap.values.shape[0], "columns": heatmap.values.shape[1], "prefix": grid.prefix}
    place |= {"picture_height": grid.picture[0], "picture_width": grid.picture[1]}
    place |= {f"box_{edge}": value for edge, value in zip(_BOX, grid.box, strict=True)}
    maps: dict[str, Any] = {"map": heatmap.values.ravel()}
    if errors:
        maps["error"] = None if heatmap.error is None else heatmap.error.ravel()
    return {"name": _text(heatmap.name), **said, **names, **place, **maps}


def _name(index: int | None, classes: Sequence[str]) -> str | None:
    return _text(classes[index]) if index is not None and 0 <= index < len(classes) else None


def _text(text: str) -> str:
    """Text that any reader takes: bytes of a file's name that are no characters are written as `\\\\xe9`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
