"""The files of bulk work: a Parquet file for each unit, the same bytes for the same rows, and the folder that has them.

pandas, polars and DuckDB read the folder `pictures` directly; `BulkResult` streams them in the order of the manifest.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.errors import DataError, unknown
from regard.files import SCHEMA, check_schema, is_file, json_text, reading
from regard.records import Explanation, Heatmap, PatchGrid
from regard.records.display import Readable
from regard.records.manifest import AGAIN

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "bulk"
JOB = "job.json"
MANIFEST = "manifest.json"
PARTS = "pictures"
"""The folder of the units' files, in which there is nothing else."""
ROWS = 4096
"""Rows of a row group."""
REPEATED = ("label", "truth", "error", "target_name", "against_name", "predicted_name")
"""Fields with few values, each many times."""

Fields = Mapping[str, str]
Columns = Mapping[str, Sequence[Any]]


def part_name(unit: str) -> str:
    """The file of a unit."""
    return f"{PARTS}/{unit}.parquet"


def unit_of(file: str) -> str | None:
    """The unit of a file's name; None for another file."""
    folder, _, name = file.partition("/")
    return name.removesuffix(".parquet") if folder == PARTS and name.endswith(".parquet") else None


class PartWriter:
    """The rows of a unit on their way into one Parquet file: equal rows give equal bytes."""

    def __init__(self, fields: Fields) -> None:
        self.types = {name: _type(word) for name, word in fields.items()}
        self._batches: list[pa.RecordBatch] = []
        self.rows = 0

    def append(self, columns: Columns) -> None:
        """Rows, column by column; a field that is left out is null in all of them."""
        import pyarrow as pa

        count = len(next(iter(columns.values())))
        arrays = [pa.array(columns.get(name, [None] * count), type) for name, type in self.types.items()]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, list(self.types)))
        self.rows += count

    def content(self, about: Mapping[str, Any]) -> bytes:
        """The file, with `about` as its metadata."""
        import pyarrow as pa
        from pyarrow.parquet import write_table

        metadata = json_text({"schema": SCHEMA, "kind": KIND, **about})
        schema = pa.schema(list(self.types.items()), {"regard": metadata.encode("utf-8", "surrogateescape")})
        table = pa.Table.from_batches(self._batches, pa.schema(list(self.types.items()))).combine_chunks()
        file = io.BytesIO()
        repeated = [name for name in REPEATED if name in self.types]
        write_table(table.cast(schema), file, ROWS, compression="zstd", use_dictionary=repeated)
        return file.getvalue()


def _type(word: str) -> "pa.DataType":
    """`list float32`, `uint8[256]` or the name of an Arrow type."""
    import pyarrow as pa

    if word.startswith("list "):
        return pa.list_(pa.type_for_alias(word[5:]))
    if word.endswith("]"):
        name, _, length = word[:-1].partition("[")
        return pa.list_(pa.type_for_alias(name), int(length))
    return pa.type_for_alias(word)


def part_about(content: bytes, place: str) -> dict[str, Any]:
    """The metadata of a unit's file, or of its last bytes. Raises `DataError` where it is none or damaged."""
    from pyarrow.parquet import ParquetFile

    with reading(place, "remove it, and run the same command again"):
        with ParquetFile(io.BytesIO(content)) as file:
            about = dict(json.loads((file.schema_arrow.metadata or {})[b"regard"]))
        if about.get("kind") != KIND:
            raise DataError(f"{place} is no file of bulk work; choose another --out, or remove it yourself")
        check_schema(about, Path(place))
    return about


@dataclass(frozen=True, repr=False)
class BulkResult(Readable):
    """What `regard predict|explain|caption --jobs` left, read unit by unit: memory does not grow with the pictures.

    `read` gives the bytes of a file of the folder or store at `place`.
    """

    place: str
    manifest: Mapping[str, Any]
    read: Callable[[str], bytes]

    def __str__(self) -> str:
        bad = f", {self.errors} of them with an error" if self.errors else ""
        return f"{self.manifest['command']} of {len(self)} pictures in {len(self.units)} units{bad}"

    def __len__(self) -> int:
        return int(self.manifest["pictures"])

    @classmethod
    def open(cls, place: Path | str, read: Callable[[str], bytes] | None = None) -> "BulkResult":
        """A finished result. Raises `DataError` for what is none, or has not come to its end."""
        read = read or (lambda name: (Path(place) / name).read_bytes())
        if is_file(Path(place) / JOB) and not is_file(Path(place) / MANIFEST):
            raise DataError(f"{place} is not finished: its manifest.json comes last; run the same command again")
        with reading(f"{place}/{MANIFEST}", AGAIN):
            manifest = json.loads(read(MANIFEST))
            if manifest.get("kind") != KIND:
                raise DataError(f"{place} holds a result of kind {manifest.get('kind')!r}; give one of --jobs")
            check_schema(manifest, Path(place))
        return cls(str(place), manifest, read)

    @property
    def units(self) -> Sequence[Mapping[str, Any]]:
        """Its units in order: `name`, `shard`, `pictures`, `errors`."""
        return list(self.manifest["units"])

    @property
    def fields(self) -> Sequence[str]:
        """The fields of its rows."""
        return list(self.manifest["fields"])

    @property
    def errors(self) -> int:
        return int(self.manifest["errors"])

    def tables(self, fields: Sequence[str] | None = None) -> Iterator[tuple[Mapping[str, Any], "pa.Table"]]:
        """Each unit with its rows as an Arrow table of these fields, all by default.

        Raises `UsageError` for a field that it has not, and `DataError` for a file that is missing or damaged.
        """
        from pyarrow.parquet import ParquetFile

        for unit in self.units:
            name = part_name(unit["name"])
            with reading(f"{self.place}/{name}", "run the command that wrote it again"):
                with ParquetFile(io.BytesIO(self.read(name))) as file:
                    names = file.schema_arrow.names
                    for field in fields or ():
                        if field not in names:
                            raise unknown(f"field of {self.place}", field, names)
                    table = file.read(None if fields is None else list(fields))
                if table.num_rows != unit["pictures"]:
                    raise ValueError(f"it has {table.num_rows} rows of {unit['pictures']} pictures")
            yield unit, table

    def rows(self, fields: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows, one by one."""
        for _, table in self.tables(fields):
            for batch in table.to_batches(ROWS):
                yield from batch.to_pylist()

    def explanations(self) -> Iterator[Explanation]:
        """The maps of each unit as an explanation; pictures with an error are left out.

        Raises `DataError` where maps were not among the columns.
        """
        about = self.manifest
        if about["command"] != "explain" or not {"map", "box", "target"} <= {*about["columns"]}:
            raise DataError(
                f"{self.place} has no whole maps; they are in what `regard explain DATA --out OUT --jobs "
                "local --columns target,map,box` writes"
            )
        for _, table in self.tables():
            maps = tuple(_heatmap(row) for row in table.to_pylist() if row["error"] is None)
            settings, provenance = (about[name] for name in ("settings", "provenance"))
            yield Explanation(maps, about["method"], about["signed"], settings, provenance, tuple(about["classes"]))


def _heatmap(row: Mapping[str, Any]) -> Heatmap:
    import numpy as np

    shape = (row["rows"], row["columns"])
    box = (row["box_left"], row["box_top"], row["box_right"], row["box_bottom"])
    picture = (row["picture_height"], row["picture_width"])
    grid = PatchGrid(row["patch_rows"], row["patch_columns"], row["prefix"], picture, box)
    target = row["target"] if row["against"] is None else (row["target"], row["against"])
    return Heatmap(np.array(row["map"], np.float32).reshape(shape), grid, row["name"], target, None, row["predicted"])
