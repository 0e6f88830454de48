"""Tables of many rows, read a group of rows at a time: Parquet, on a disk or in a store, and Arrow files on a disk."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from regard.data.shards.base import Shard
from regard.data.stores import Store, split_address
from regard.errors import DataError

BUDGET = 512 << 20
"""Bytes of row groups that are kept, of the last ones that were read; one at least."""


@dataclass(frozen=True)
class TableFile:
    """A table that is open: `rows` of each of its groups, their `sizes` in bytes, and how columns of one are read."""

    schema: pa.Schema
    rows: tuple[int, ...]
    sizes: tuple[int, ...]
    read: Callable[[int, Sequence[str] | None], pa.Table]


class _StoreFile(io.RawIOBase):
    """An object of a store as a file of which ranges are read."""

    def __init__(self, store: Store, key: str, shard: Shard) -> None:
        self._read = lambda start, length: store.read(key, start, length, shard.tag)
        self._size = shard.size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0 if whence == io.SEEK_SET else self._at if whence == io.SEEK_CUR else self._size)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        length = self._size - self._at if size < 0 else min(size, self._size - self._at)
        content = bytes(self._read(self._at, length)) if length > 0 else b""
        self._at += len(content)
        return content


def shard_of(address: str) -> Shard:
    """The shard at an address or path. Raises `DataError` where there is none."""
    root, key = split_address(address)
    entry = Store.of(root).head(key)
    return Shard(address, entry.size, entry.tag)


def check_unchanged(shard: Shard) -> None:
    """Raise `DataError` where the object is not what it was."""
    if shard_of(shard.address) != shard:
        raise DataError(f"{shard.address} changed since it was first looked at; start again with what it is now")


@lru_cache(maxsize=64)
def open_table(shard: Shard) -> TableFile:
    """The table at a shard's address. Raises `DataError` for what is none, and where it is not what it was."""
    check_unchanged(shard)
    try:
        return _open_arrow(shard) if shard.address.endswith(".arrow") else _open_parquet(shard)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{shard.address} is no table that can be read ({_first_line(error)}); write it again"
        ) from error


def _open_parquet(shard: Shard) -> TableFile:
    root, key = split_address(shard.address)
    store = Store.of(root)
    lock = threading.Lock()  # a file that is open has one place
    place = str(Path(store.address) / key)
    file = pq.ParquetFile(place if store.is_local else pa.PythonFile(_StoreFile(store, key, shard), "r"))
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]

    def read(group: int, columns: Sequence[str] | None) -> pa.Table:
        with lock:
            return file.read_row_group(group, columns=columns, use_threads=False)

    rows = tuple(group.num_rows for group in groups)
    return TableFile(file.schema_arrow, rows, tuple(group.total_byte_size for group in groups), read)


def _open_arrow(shard: Shard) -> TableFile:
    """Batches of a stream or file in memory that is mapped: nothing is copied."""
    source = pa.memory_map(shard.address)
    try:
        batches = list(pa.ipc.open_stream(source))
    except pa.ArrowInvalid:
        source.seek(0)
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    if not batches:
        raise DataError(f"{shard.address} has no rows; leave it out")

    def read(group: int, columns: Sequence[str] | None) -> pa.Table:
        table = pa.Table.from_batches([batches[group]])
        return table if columns is None else flattened(table, columns)

    return TableFile(
        batches[0].schema, tuple(map(len, batches)), tuple(batch.get_total_buffer_size() for batch in batches), read
    )


def flattened(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns; `image.path` is the field of a struct, as a struct with that alone, as Parquet gives it."""
    chosen = {}
    for name in columns:
        column, _, field = name.rpartition(".")
        if name in table.schema.names or not column:
            chosen[name] = table[name]
        else:
            values = table[column].combine_chunks()
            chosen[column] = pa.StructArray.from_arrays([values.field(field)], [field])
    return pa.table(chosen)


class _Groups:
    """The row groups' pictures that were read last, for as many readers as there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[Shard, int, str], Any] = OrderedDict()
        self._size = 0

    def get(self, shard: Shard, group: int, column: str) -> pa.ChunkedArray:
        """The column of a row group."""
        key = (shard, group, column)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
            table = open_table(shard)
            check_unchanged(shard)  # the file may be open since long ago
            try:
                values = table.read(group, [column])[column]
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{shard.address} is damaged in row group {group} ({_first_line(error)}); copy it again"
                ) from error
            self._groups[key] = values
            self._size += values.nbytes
            while self._size > BUDGET and len(self._groups) > 1:
                _, old = self._groups.popitem(last=False)
                self._size -= old.nbytes
            return values


groups = _Groups()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:120] or type(error).__name__
