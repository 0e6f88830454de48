"""The index of a tar's members: built from its headers, kept in the user's cache folder, checked by size and tag."""

import hashlib
import json
import logging
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import safe_name
from regard.data.images.formats import SUFFIXES
from regard.data.shards.base import Shard
from regard.data.shards.headers import RECORD, CutError, Read, Window, headers
from regard.files import cache_folder

log = logging.getLogger("regard")

VERSION = "2"
TEXTS = ("cls", "json", "txt")
"""Endings of members whose text says something of the picture with their key."""
_LONGEST = 1 << 20
_LOCAL_BLOCK = 4 * RECORD
"""On a disk nothing is gained by reading on to the next header, but those of small texts come along."""
_UNSAFE = re.compile(r"[\\:]|(^|/)\.{0,2}(/|$)")
"""What `safe_name` takes away; most names have nothing of it."""


@dataclass(frozen=True)
class Index:
    """The pictures of a tar, (rows,) each: key, ending, offset and size; `texts` by key, as {ending: text}; and, where
    the tar is cut off, what is wrong with it."""

    keys: list[str]
    endings: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    problem: str = ""


def key_of(name: bytes) -> tuple[str, str]:
    """A member's name → its key, the path up to the first dot of the file's name, and its ending in small letters, as
    webdataset has them; two empty ones for what is hidden or has no ending.

    >>> key_of(b"./train/0001.left.JPG")
    ('train/0001', 'left.jpg')
    """
    text = os.fsdecode(name)
    if _UNSAFE.search(text):
        text = safe_name(text)
    folder, _, file = text.rpartition("/")
    stem, dot, ending = file.partition(".")
    if not stem or not dot or stem.startswith("__") or text.startswith("__MACOSX/"):
        return "", ""
    return (f"{folder}/{stem}" if folder else stem), ending.lower()


def build(read: Read, size: int, address: str, is_local: bool = False) -> Index:
    """The index of a tar, by its headers. Raises `DataError` for what is none."""
    window = Window(read, size, _LOCAL_BLOCK) if is_local else Window(read, size)
    keys = []
    endings = []
    places = []
    texts: dict[str, dict[str, str]] = {}
    problem = ""
    try:
        for header in headers(window, address):
            key, ending = key_of(header.name)
            if not key:
                continue
            last = ending.rpartition(".")[2]
            if f".{last}" in SUFFIXES:
                keys.append(key)
                endings.append(ending)
                places.append((header.offset, header.size))
            elif last in TEXTS and header.size <= _LONGEST:
                content = window.get(header.offset, header.size)
                texts.setdefault(key, {})[ending] = content.decode("utf-8", "surrogateescape")
    except CutError as error:
        problem = str(error)
    numbers = np.array(places, np.int64).reshape(-1, 2)
    return Index(keys, endings, numbers[:, 0].copy(), numbers[:, 1].copy(), texts, problem)


def load(shard: Shard) -> Index | None:
    """The index that is in the cache, if it is of this very shard."""
    import pyarrow as pa  # late: only shards have an index

    path = _path(shard)
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        if table.schema.metadata.get(b"shard") != _identity(shard):
            return None
        keys = [os.fsdecode(each) for each in table["key"].to_pylist()]
        texts = json.loads(table.schema.metadata[b"texts"])
        problem = table.schema.metadata.get(b"problem", b"").decode()
        endings = table["ending"].to_pylist()
        offsets, sizes = (table[name].to_numpy().copy() for name in ("offset", "size"))
        return Index(keys, endings, offsets, sizes, texts, problem)
    except (OSError, pa.ArrowException, KeyError, ValueError, AttributeError):  # not there, or damaged: built anew
        return None


def save(shard: Shard, index: Index) -> None:
    """Put it in the cache, where there can be one: nothing is lost without."""
    import pyarrow as pa

    about = {b"shard": _identity(shard), b"problem": index.problem.encode(), b"texts": json.dumps(index.texts).encode()}
    table = pa.table(
        {
            "key": pa.array([os.fsencode(key) for key in index.keys], pa.binary()),
            "ending": pa.array(index.endings, pa.string()),
            "offset": index.offsets,
            "size": index.sizes,
        }
    ).replace_schema_metadata(about)
    path = _path(shard)
    aside = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with pa.OSFile(str(aside), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            aside.replace(path)  # not flushed: what a power cut takes is built anew
        except OSError:
            aside.unlink()


def check_whole(index: Index, skip_bad: bool) -> None:
    """Raise `CutError` for a tar that is cut off; with `skip_bad` it is named, and its whole members are used."""
    if index.problem and not skip_bad:
        raise CutError(f"{index.problem}, or go on with its whole members by --skip-bad")
    if index.problem:
        log.warning(f"skipped: the rest of what {index.problem}")


def _identity(shard: Shard) -> bytes:
    return "\0".join((VERSION, shard.address, str(shard.size), shard.tag)).encode("utf-8", "surrogateescape")


def _path(shard: Shard) -> Path:
    name = hashlib.sha256(shard.address.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_folder() / "shards" / name[:2] / f"{name[2:]}.arrow"
