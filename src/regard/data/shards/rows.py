"""Tables with the bytes of pictures as a source: Parquet and what Hugging Face's `datasets` writes, a shard a file."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from regard.data import MAX_PIXELS
from regard.data.dataset import Picture, listed, safe_name, split_name
from regard.data.shards.base import Member, Members, Options, Shard, in_threads
from regard.data.shards.columns import Roles, features_of, label_text, roles
from regard.data.shards.tables import groups, open_table
from regard.data.stores import is_address
from regard.errors import DataError

REQUESTS = 16


@dataclass(frozen=True)
class RowOpener:
    """A picture in a row of a table: the `row` of its row group, in the `column` that has bytes.

    `place` counts the file's rows from 0, `name` is the shard's in messages.
    """

    shard: Shard
    group: int
    row: int
    column: str
    place: int
    max_pixels: int = MAX_PIXELS

    @property
    def block(self) -> tuple[str, int]:
        """What pictures that are read together have in common."""
        return self.shard.address, self.group

    def open(self) -> BinaryIO:
        return io.BytesIO(self._content())

    def digest(self) -> str:
        return hashlib.sha256(self._content()).hexdigest()

    def _content(self) -> bytes:
        return content_of(groups.get(self.shard, self.group, self.column)[self.row].as_py(), str(self))

    def __str__(self) -> str:
        return f"{self.shard.address}, row {self.place}"


def content_of(value: Any, name: str) -> bytes:
    """The bytes in a cell. Raises `DataError` where there are none."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if content:
        return bytes(content)
    path = value.get("path") if isinstance(value, dict) else None
    where = f", only the path {path!r}; write the table with its pictures' bytes" if path else "; fill it in"
    raise DataError(f"{name} has no bytes{where}, remove the row, or skip such with --skip-bad")


@dataclass(frozen=True)
class TableSource:
    """Tables, a shard each, with the split and the beginning of the keys of each: `prefixes`."""

    address: str
    shards: tuple[Shard, ...]
    options: Options
    splits: tuple[str | None, ...]
    prefixes: tuple[str, ...]

    def members(self, shard: Shard) -> Members:
        table = open_table(shard)
        rows = self._rows(shard)
        sizes = np.repeat(np.array(table.sizes) // np.maximum(table.rows, 1), table.rows)  # what is read for one
        labels = [row.label for row in rows]
        return Members(
            [row.name for row in rows],
            np.arange(len(rows), dtype=np.int64),
            sizes.astype(np.int64),
            labels if any(label is not None for label in labels) else None,
        )

    def listing(self) -> Iterator[tuple[Shard, Members]]:
        """All shards with their members, in order; in a store several are asked for at once."""
        requests = REQUESTS if is_address(self.address) else 0
        yield from zip(self.shards, in_threads(self.members, self.shards, requests), strict=True)

    def read(self, shard: Shard) -> Iterator[Member]:
        for picture in self.pictures(shard):
            try:
                yield Member(picture.name, picture.opener.open().read(), picture.label)  # type: ignore[union-attr]
            except DataError as error:
                yield Member(picture.name, None, picture.label, error)

    def pictures(self, shard: Shard) -> list[Picture]:
        table = open_table(shard)
        column = self.roles(shard).image
        places = [(group, row) for group, count in enumerate(table.rows) for row in range(count)]
        return [
            Picture(
                row.name,
                RowOpener(shard, group, within, column, place),
                row.label,
                row.split,
                row.columns,
                tuple({"caption": text} for text in row.captions),
                row.filename,
            )
            for place, (row, (group, within)) in enumerate(zip(self._rows(shard), places, strict=True))
        ]

    def roles(self, shard: Shard) -> Roles:
        """What the shard's columns are. Raises `DataError` where none has the bytes of pictures."""
        schema = open_table(shard).schema
        columns = roles(schema, features_of(schema), self.options.image, self.options.label, shard.address)
        if columns is None:
            problem = f"the column {self.options.image!r} has no" if self.options.image else "no column has"
            raise DataError(
                f"{shard.address}: {problem} bytes of pictures; its columns are {listed(schema.names, 8)}; name "
                "another by --image"
            )
        return columns

    def check_labels(self) -> None:
        """Raise `DataError` where several columns may be the label and none is named."""
        unsure = self.roles(self.shards[0]).unsure
        if unsure:
            raise DataError(
                f"{self.address} has {len(unsure)} columns of classes ({listed(unsure, 8)}); choose one by --label"
            )

    def _rows(self, shard: Shard) -> "list[_Row]":
        at = self.shards.index(shard)
        return _rows(shard, self.roles(shard), self.splits[at], self.prefixes[at])


@dataclass(frozen=True)
class _Row:
    """What a row says of its picture."""

    name: str
    label: str | None
    split: str | None
    captions: tuple[str, ...]
    columns: dict[str, str]
    filename: str | None


@lru_cache(maxsize=2)
def _rows(shard: Shard, columns: Roles, split: str | None, prefix: str) -> list[_Row]:
    """All rows of a table, without the bytes of their pictures."""
    table = open_table(shard)
    rows: list[_Row] = []
    for group in range(len(table.rows)):
        try:
            content = table.read(group, columns.described) if columns.described else None
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{shard.address} is damaged in row group {group}; copy it again") from error
        cells = {} if content is None else {name: content[name].to_pylist() for name in content.schema.names}
        for row in range(table.rows[group]):
            rows.append(
                _row({name: values[row] for name, values in cells.items()}, columns, split, prefix, shard, len(rows))
            )
    return rows


def _row(cells: dict[str, Any], columns: Roles, split: str | None, prefix: str, shard: Shard, place: int) -> _Row:
    stored = cells.get(columns.image) if columns.is_struct else None
    path = stored.get("path") if stored else None
    key = cells.get(columns.key) if columns.key else None
    if columns.key and not key:
        raise DataError(f"{shard.address}, row {place} has no {columns.key}; fill it in, or leave the column out")
    captions = cells.get(columns.caption) if columns.caption else None
    texts = captions if isinstance(captions, list) else [] if captions is None else [captions]
    in_row = cells.get(columns.split) if columns.split else None
    return _Row(
        safe_name(str(key)) if key else f"{prefix}{place:06d}",
        label_text(cells.get(columns.label), columns.names, f"{shard.address}, row {place}") if columns.label else None,
        (split_name(str(in_row)) or None) if in_row else split,
        tuple(str(text) for text in texts),
        {name: str(cells[name]) for name in columns.plain if cells.get(name) is not None},
        str(key) if key else path or None,
    )
