"""A list of keys as a source: a table whose rows name pictures that lie beside it, or anywhere in a store."""

import csv
import hashlib
import io
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regard.data.dataset import Picture, listed, safe_name, several, split_name
from regard.data.images.formats import SUFFIXES
from regard.data.openers import FileOpener
from regard.data.shards.base import Member, Members, Options, Shard, in_threads
from regard.data.shards.columns import CAPTIONS, class_names, features_of, label_column, label_text
from regard.data.shards.lists import KEYS, delimiter
from regard.data.shards.tables import open_table, shard_of
from regard.data.stores import Store, is_address, split_address
from regard.data.stores.objects import ObjectOpener
from regard.errors import DataError

log = logging.getLogger("regard")

REQUESTS = 16
HEADS = 10_000
"""The most objects of a store that are asked one by one how large they are."""


@dataclass(frozen=True)
class KeyList:
    """Pictures by their keys, `options.unit` a shard, whose address is `keys:START-STOP`; `files` are the lists."""

    address: str
    files: tuple[Shard, ...]
    options: Options

    @property
    def shards(self) -> tuple[Shard, ...]:
        return _shards(self)

    def members(self, shard: Shard) -> Members:
        pictures = self.pictures(shard)
        labels = [picture.label for picture in pictures]
        start, stop = _span(shard)
        sizes = _rows(self).sizes
        return Members(
            [picture.name for picture in pictures],
            np.full(len(pictures), -1, np.int64),
            np.full(len(pictures), -1, np.int64) if sizes is None else sizes[start:stop],
            labels if any(label is not None for label in labels) else None,
        )

    def listing(self) -> Iterator[tuple[Shard, Members]]:
        """All shards with their members, in order."""
        return ((shard, self.members(shard)) for shard in self.shards)

    def read(self, shard: Shard) -> Iterator[Member]:
        yield from in_threads(_member, self.pictures(shard), REQUESTS)

    def pictures(self, shard: Shard) -> list[Picture]:
        rows = _rows(self)
        start, stop = _span(shard)
        cells = rows.table.slice(start, stop - start).to_pylist()
        return [
            _picture(rows, text, row, self.address)
            for text, row in zip(rows.texts[start:stop].to_pylist(), cells, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The lists in memory: `texts` (rows,) as they name pictures, the `base` they are relative to, the other columns,
    and bytes and tags where the list has them."""

    texts: pa.ChunkedArray
    base: str
    table: pa.Table
    label: str | None
    names: tuple[str, ...]
    sizes: Any
    tags: Any


def open_keys(source: str, files: Sequence[Shard], options: Options) -> KeyList:
    """A source of these lists. Raises `DataError` where one names no pictures, or one twice."""
    keys = KeyList(source, tuple(files), options)
    texts = _rows(keys).texts
    codes = np.fromiter((hash(text.as_py()) for text in texts), np.int64, len(texts))  # 8 bytes a key, not all of it
    if len(np.unique(codes)) < len(texts) and pc.count_distinct(texts).as_py() < len(texts):
        counts = pc.value_counts(texts)
        twice = [row["values"] for row in counts.filter(pc.greater(counts.field("counts"), 1)).to_pylist()[:1000]]
        raise DataError(f"in {source} {several(twice, 'key')} there more than once; each picture needs its own")
    return keys


@lru_cache(maxsize=4)
def _rows(keys: KeyList) -> _Rows:
    parts = [_read(file) for file in keys.files]
    try:
        table = pa.concat_tables(parts, promote_options="default")
    except pa.ArrowException as error:
        raise DataError(f"the lists of {keys.address} have other columns than each other; make them alike") from error
    if not len(table):
        raise DataError(f"{keys.address} has a header but no rows; each picture needs one")
    lower = {name.lower(): name for name in table.schema.names}
    column = keys.options.image or next((lower[name] for name in KEYS if name in lower), None)
    if column is None or column not in table.schema.names:
        problem = f"column {column!r} for --image" if column else "column that names pictures"
        raise DataError(f"{keys.address} has no {problem}; its columns are {listed(table.schema.names, 8)}")
    texts = pc.cast(table[column], pa.string())
    is_inventory = column.lower() == "key" and "bucket" in lower
    if is_inventory:
        table, texts = _inventory(keys, table, texts, lower["bucket"])
    if texts.null_count:
        row = pc.index(pc.is_null(texts), True).as_py()
        raise DataError(f"{keys.address}, row {row} has no {column}; fill it in, or remove the row")
    label = label_column(table.schema, features_of(table.schema), keys.options.label, keys.address, (column,))
    sizes = pc.cast(table[lower["size"]], pa.int64()).to_numpy() if "size" in lower else None
    tag = next((lower[name] for name in ("etag", "e_tag") if name in lower), None)
    tags = table[tag] if tag else None
    base = split_address(keys.files[0].address)[0]
    names = class_names(features_of(table.schema).get(label or ""))
    special = {column, tag, lower.get("size"), lower["bucket"] if is_inventory else None}
    others = [name for name in table.schema.names if name not in special and not pa.types.is_nested(table[name].type)]
    return _Rows(texts, base, table.select(others), label, names, sizes, tags)


def _inventory(keys: KeyList, table: pa.Table, texts: pa.ChunkedArray, bucket: str) -> tuple[pa.Table, pa.ChunkedArray]:
    """Rows of an inventory that are pictures, by their addresses; keys of a `.csv` are quoted as in addresses."""
    scheme = keys.files[0].address.partition("://")[0] if is_address(keys.files[0].address) else "s3"
    scheme = scheme if scheme in ("s3", "gs", "az") else "s3"
    if keys.files[0].address.lower().endswith(".csv") and pc.any(pc.match_substring(texts, "%")).as_py():
        texts = pa.chunked_array([pa.array([unquote(text or "") for text in texts.to_pylist()], pa.string())])
    endings = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES))
    chosen = pc.fill_null(pc.match_substring_regex(texts, f"(?:{endings})$", ignore_case=True), False)
    others = len(texts) - (pc.sum(chosen).as_py() or 0)
    if others:
        log.warning(f"in {keys.address} {others:,} of {len(texts):,} keys are no pictures regard reads, and left out")
    if others == len(texts):
        raise DataError(f"{keys.address} names no pictures; give a list with keys that end in .jpg, .png and the like")
    places = pc.cast(table[bucket], pa.string())
    addresses = pc.binary_join_element_wise(pa.scalar(f"{scheme}:/"), places, texts, "/")
    return (table.filter(chosen), addresses.filter(chosen)) if others else (table, addresses)


def _read(file: Shard) -> pa.Table:
    """The columns of a list, without what is binary."""
    if not file.address.lower().endswith(".csv"):
        table = open_table(file)
        names = [each.name for each in table.schema if not pa.types.is_binary(each.type)]
        parts = [table.read(group, names) for group in range(len(table.rows))]
        return pa.concat_tables(parts) if parts else table.schema.empty_table()
    from pyarrow.csv import ConvertOptions, ParseOptions, read_csv

    root, key = split_address(file.address)
    content = Store.of(root).read(key).removeprefix(b"\xef\xbb\xbf")
    first = content.partition(b"\n")[0].decode("utf-8", "replace").strip("\r")
    header = next(csv.reader([first], delimiter=delimiter(first)), [])
    types = ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""])
    try:
        table = read_csv(
            io.BytesIO(content), parse_options=ParseOptions(delimiter=delimiter(first)), convert_options=types
        )
    except pa.ArrowException as error:
        why = str(error).partition("\n")[0][:120]
        raise DataError(f"{file.address} is not a table that can be read ({why}); it must be CSV in UTF-8") from error
    return table.rename_columns([name.strip() for name in table.schema.names])


@lru_cache(maxsize=4)
def _shards(keys: KeyList) -> tuple[Shard, ...]:
    rows = _rows(keys)
    count = len(rows.texts)
    bounds = [(start, min(start + keys.options.unit, count)) for start in range(0, count, keys.options.unit)]
    is_elsewhere = is_address(rows.base) or is_address(str(rows.texts[0]))
    if rows.sizes is None and is_elsewhere and count > HEADS:
        log.warning(
            f"{keys.address} does not say how large its {count:,} pictures are: that one of them changes is not "
            "noticed; give it the columns size and etag"
        )
        return tuple(
            Shard(f"keys:{start}-{stop}", 0, _digest(rows.texts[start:stop].to_pylist())) for start, stop in bounds
        )
    shard = partial(_shard, rows, keys.options.skip_bad)
    return tuple(in_threads(shard, bounds, REQUESTS if is_elsewhere and rows.sizes is None else 0))


def _shard(rows: _Rows, skip_bad: bool, bounds: tuple[int, int]) -> Shard:
    start, stop = bounds
    texts = rows.texts[start:stop].to_pylist()
    if rows.sizes is not None:
        tags = rows.tags[start:stop].to_pylist() if rows.tags is not None else []
        size = int(rows.sizes[start:stop].sum())
        return Shard(
            f"keys:{start}-{stop}", size, _digest([*texts, *map(str, rows.sizes[start:stop]), *map(str, tags)])
        )
    entries = [_entry(_address(rows.base, text), skip_bad) for text in texts]
    tags = [entry.tag for entry in entries]
    return Shard(f"keys:{start}-{stop}", sum(entry.size for entry in entries), _digest([*texts, *tags]))


def _entry(address: str, skip_bad: bool) -> Shard:
    """A picture's bytes and tag; with `skip_bad` one that is not there has none, and is named when it is read."""
    try:
        return shard_of(address)
    except DataError:
        if skip_bad:
            return Shard(address, 0, "")
        raise


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _span(shard: Shard) -> tuple[int, int]:
    start, stop = map(int, shard.address.removeprefix("keys:").split("-"))
    return start, stop


def _address(base: str, text: str) -> str:
    """Where a picture lies that a list in `base` calls so."""
    if is_address(text):
        if text.startswith("http") and "?" in text:
            raise DataError(
                "addresses with a question mark (signed ones, say) are not read; give s3://, gs:// or az://"
            )
        return text
    if is_address(base):
        return f"{base.rstrip('/')}/{text.replace(chr(92), '/').removeprefix('./').lstrip('/')}"
    return str(Path(base) / text)


def _picture(rows: _Rows, text: str, cells: dict[str, Any], address: str) -> Picture:
    label = label_text(cells.pop(rows.label, None), rows.names, f"{address}: {text}") if rows.label else None
    lower = {name.lower(): name for name in cells}
    split = split_name(str(cells.pop(lower["split"]) or "")) or None if "split" in lower else None
    captions = [cells.pop(lower[name]) for name in CAPTIONS[:1] if name in lower]
    name = text.partition("://")[2] if is_address(text) else text
    place = _address(rows.base, text)
    return Picture(
        safe_name(name),
        ObjectOpener(*split_address(place)) if is_address(place) else FileOpener.of(place),
        label,
        split,
        {name: str(value) for name, value in cells.items() if value is not None},
        tuple({"caption": str(caption)} for caption in captions if caption),
        text,
    )


def _member(picture: Picture) -> Member:
    try:
        with picture.opener.open() as stream:
            return Member(picture.name, stream.read(), picture.label)  # type: ignore[union-attr]
    except (OSError, DataError) as error:
        problem = error if isinstance(error, DataError) else DataError(f"{picture.opener} cannot be read")
        return Member(picture.name, None, picture.label, problem)
