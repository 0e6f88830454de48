"""One codec of Parquet tables, for pandas, polars and DuckDB: rows written and read piece by piece."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.errors import DataError
from regard.files import SCHEMA, SCHEMAS, check_schema, is_file, read_json, reading
from regard.records import PatchGrid

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ROWS = 4096
"""Rows in a row group: what is held in memory at once."""
EDGES = ("left", "top", "right", "bottom")
ARRAY = "array"
"""The type of a column of float32 arrays, as all readers take it."""
LONG_ARRAY = "array of float64"
TEXTS = "list of strings"
GRID: Mapping[str, str] = {
    **dict.fromkeys(("rows", "columns", "prefix", "picture_height", "picture_width"), "int32"),
    **{f"box_{edge}": "float64" for edge in EDGES},
}
"""The columns of a `PatchGrid`. Types are words, so that pyarrow is imported only when a table is read or written."""

Row = Mapping[str, Any]


def write_rows(
    path: Path, rows: Iterable[Row], columns: Mapping[str, str], repeated: Sequence[str], kind: str, about: Row
) -> None:
    """Write `rows` as they come; a column that a row lacks is null there. `columns` are their types, ARRAY, TEXTS or
    Arrow's.

    Columns that are `repeated` have few values, each many times. `kind` and `about` become the file's metadata.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    arrays_of = {ARRAY: pa.list_(pa.float32()), LONG_ARRAY: pa.list_(pa.float64()), TEXTS: pa.list_(pa.string())}
    types = {name: arrays_of.get(word) or pa.type_for_alias(word) for name, word in columns.items()}
    metadata = json.dumps({"schema": SCHEMAS.get(kind, SCHEMA), "kind": kind, **about}, allow_nan=False)
    schema = pa.schema(list(types.items()), {"regard": metadata})
    stream = iter(rows)
    with ParquetWriter(path, schema, compression="zstd", use_dictionary=list(repeated)) as writer:
        while group := list(islice(stream, ROWS)):
            arrays = [pa.array([row.get(name) for row in group], type) for name, type in types.items()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS)


def kind_of(result: Path) -> str:
    """The kind of result in a folder or a Parquet file. Raises `DataError` for what regard did not write."""
    if not is_file(result):
        return str(read_json(result / "manifest.json", "give a finished result of regard").get("kind"))
    from pyarrow.parquet import read_schema

    with reading(result, "give a file that regard wrote"):
        return str(json.loads((read_schema(result).metadata or {})[b"regard"]).get("kind"))


def read_rows(
    path: Path | str, kind: str, things: str, command: str, batch_size: int = ROWS
) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The metadata and the rows of a file that `write_rows` wrote, `batch_size` rows in memory at a time.

    Raises `DataError` for another file, saying that `command` writes such with `things` in them.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    hint = f"give a file that `regard {command}` wrote"
    try:
        file = ParquetFile(path)
    except (OSError, ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet ({' '.join(str(error).split())}); {hint}") from error
    with reading(path, hint):
        stored = dict(json.loads((file.schema_arrow.metadata or {}).get(b"regard", b"{}")))
        if stored.get("kind") != kind:
            file.close()
            raise DataError(f"{path} holds no {things} of regard; {hint}")
        check_schema(stored, Path(path))
    return stored, _rows(file, batch_size)


def _rows(file: "ParquetFile", batch_size: int) -> Iterator[dict[str, Any]]:
    """Read inside the `reading` of those who make records of them."""
    with file:
        for batch in file.iter_batches(batch_size=batch_size):
            yield from batch.to_pylist()


def grid_row(grid: PatchGrid) -> dict[str, Any]:
    """The columns `GRID` of a grid."""
    height, width = grid.picture
    values = (grid.rows, grid.columns, grid.prefix, height, width, *grid.box)
    return dict(zip(GRID, values, strict=True))


def grid_of(row: Row) -> PatchGrid:
    """What `grid_row` gave."""
    rows, columns, prefix, height, width, *box = (row[name] for name in GRID)
    return PatchGrid(rows, columns, prefix, (height, width), tuple(box))
