"""DATA as a list of keys: a table whose rows name pictures by addresses, or beside it in a store; an inventory."""

import csv
from pathlib import Path

from regard.data.dataset import Picture
from regard.data.shards.base import Options, Source
from regard.data.shards.lists import KEYS, delimiter
from regard.data.stores import Entry, Store, is_address
from regard.errors import DataError

ENDING = ".csv"
INDEX = "index.csv"
_HEAD = 1 << 16


def is_keys(source: str) -> bool:
    """Whether DATA is a `.csv` in a store, a folder there with an index.csv, or a `.csv` whose rows name pictures by
    addresses, or by bucket and key."""
    if is_address(source):
        return source.lower().endswith(ENDING) or (not source.startswith("http") and _index(source) is not None)
    if not source.lower().endswith(ENDING) or not Path(source).is_file():
        return False
    with Path(source).open("rb") as file:
        return is_list(file.read(_HEAD))


def read_keys(source: str, labels: bool = True) -> list[Picture]:
    """The pictures of the list, in its order. Raises `DataError` for columns that are missing and keys twice."""
    keys = open_keys(source, Options())
    return [picture for shard in keys.shards for picture in keys.pictures(shard)]


def open_keys(source: str, options: Options) -> Source:
    """The list as shards of so many keys each."""
    from regard.data.shards import keys  # pyarrow is imported where there are tables
    from regard.data.shards.tables import shard_of

    file = source if source.lower().endswith(ENDING) else Store.of(source).full(INDEX)
    return keys.open_keys(source, (shard_of(file),), options)


def is_list(head: bytes) -> bool:
    """Whether a `.csv` that begins so names pictures by bucket and key, or by addresses."""
    lines = head.decode("utf-8-sig", "replace").splitlines()[:2]
    if not lines:
        return False
    try:
        rows = list(csv.reader(lines, delimiter=delimiter(lines[0])))
    except csv.Error:
        return False
    header = [name.strip().lower() for name in rows[0]]
    if {"bucket", "key"} <= set(header):
        return True
    cells = dict(zip(header, rows[1] if len(rows) > 1 else [], strict=False))
    return any(is_address(cells.get(name, "")) for name in KEYS)


def _index(source: str) -> Entry | None:
    try:
        return Store.of(source).head(INDEX)
    except DataError:
        return None
