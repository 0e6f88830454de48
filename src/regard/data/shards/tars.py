"""WebDataset tars as a source: `shards/{000000..000099}.tar`, a folder of tars, one, or addresses in a store."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import SPLITS, Picture, listed, several
from regard.data.images.formats import SUFFIXES
from regard.data.layouts.folder import split_in
from regard.data.shards.base import Member, Members, Options, Shard, in_threads
from regard.data.shards.index import Index, build, check_whole, load, save
from regard.data.shards.opener import RangeOpener
from regard.data.shards.patterns import expand, has_pattern
from regard.data.shards.sidecars import Sidecar, sidecar
from regard.data.shards.spans import spans
from regard.data.stores import Store, is_address, split_address
from regard.data.stores.local import LocalStore
from regard.errors import DataError

log = logging.getLogger("regard")

ENDING = ".tar"
PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")
REQUESTS = 16
"""Requests to a store that are under way at once."""


@dataclass(frozen=True)
class TarSource:
    """Tars whose members are grouped by key, as webdataset does."""

    address: str
    shards: tuple[Shard, ...]
    options: Options

    @property
    def has_splits(self) -> bool:
        """Whether every shard lies in a folder, or has a name, that is of a split."""
        return all(_split_of(shard.address) for shard in self.shards)

    def members(self, shard: Shard) -> Members:
        index, rows = self._chosen(shard)
        check_whole(index, self.options.skip_bad)
        sidecars = [sidecar(index, index.keys[row], self.options, shard.address) for row in rows]
        labels = [each.label for each in sidecars]
        return Members(
            [index.keys[row] for row in rows],
            index.offsets[rows],
            index.sizes[rows],
            labels if any(label is not None for label in labels) else None,
        )

    def listing(self) -> Iterator[tuple[Shard, Members]]:
        """All shards with their members, in order; several at once are asked for where they lie in a store."""
        requests = REQUESTS if is_address(self.address) else 0
        yield from zip(self.shards, in_threads(self.members, self.shards, requests), strict=True)

    def read(self, shard: Shard) -> Iterator[Member]:
        members = self.members(shard)
        order = np.argsort(members.offsets, kind="stable")
        labels = members.labels or [None] * len(members)
        store, key = _store(shard.address)
        ranges = [(int(members.offsets[row]), int(members.sizes[row])) for row in order]
        with closing(cut_out(store.stream(key, shard.tag, shard.size), ranges)) as parts:  # type: ignore[type-var]
            for row, data in zip(order, parts, strict=True):
                yield Member(members.keys[row], data, labels[row])

    def pictures(self, shard: Shard) -> list[Picture]:
        pictures = self.whole_pictures(shard)
        check_whole(_index(shard), self.options.skip_bad)
        return pictures

    def problem(self, shard: Shard) -> str:
        """What is wrong with a shard that is cut off; empty for all others."""
        return _index(shard).problem

    def whole_pictures(self, shard: Shard) -> list[Picture]:
        """The pictures of a shard, of one that is cut off those before."""
        index, rows = self._chosen(shard)
        split = _split_of(shard.address) if self.has_splits else None
        store, key = _store(shard.address)
        pictures = []
        for row, span in zip(rows, spans(index.offsets[rows], index.sizes[rows]), strict=True):
            about: Sidecar = sidecar(index, index.keys[row], self.options, shard.address)
            opener = RangeOpener(
                store.address,
                key,
                shard.tag,
                int(index.offsets[row]),
                int(index.sizes[row]),
                span,
                f"{index.keys[row]}.{index.endings[row]}",
            )
            annotations = tuple({"caption": text} for text in about.captions)
            name = index.keys[row]
            pictures.append(Picture(name, opener, about.label, about.split or split, about.columns, annotations))
        return pictures

    def _chosen(self, shard: Shard) -> tuple[Index, NDArray[np.int64]]:
        """The index, and the rows of the pictures that are meant, one a key."""
        index = _index(shard)
        image = self.options.image
        rows = [
            place
            for place, ending in enumerate(index.endings)
            if (ending == image.lower().lstrip(".") if image is not None else "." not in ending)
        ]
        if not rows and index.keys:
            raise DataError(
                f"{shard.address} has no members that end in .{image or 'jpg, .png and the like'}; their endings are "
                f"{listed(sorted(set(index.endings)))}; choose one by --image"
            )
        counts = Counter(index.keys[place] for place in rows)
        twice = [key for key, count in counts.items() if count > 1]
        if twice:
            endings = sorted({index.endings[place] for place in rows if index.keys[place] == twice[0]})
            if len(endings) > 1:
                raise DataError(
                    f"{shard.address}: {twice[0]!r} has several pictures ({listed(endings)}); choose one by --image "
                    f"{endings[0]}"
                )
            raise DataError(
                f"in {shard.address} {several(twice, 'key')} there more than once; each picture needs its own"
            )
        return index, np.array(rows, np.int64)


def is_tars(source: str) -> bool:
    """Whether DATA is a tar, a pattern of some, a folder in which tars lie beside no pictures, or such in a store."""
    name = source.lower().rstrip("/")
    if name.endswith((ENDING, *PACKED)):
        return is_address(source) or has_pattern(source) or Path(source).is_file()
    if is_address(source):
        if has_pattern(source) or name.startswith("http"):
            return has_pattern(source) and ENDING in name
        first = next(Store.of(source).entries(), None)
        return first is not None and first.key.lower().endswith((ENDING, *PACKED))
    folder = Path(source)
    return folder.is_dir() and not (folder / "index.csv").exists() and any(_tars_in(folder))


def open_tars(source: str, options: Options) -> TarSource:
    """The tars of DATA. Raises `DataError` where there is none, or one cannot be read."""
    shards = tuple(_listed(source))
    if not shards:
        raise DataError(f"{source} holds no tars; give shards/{{000000..000099}}.tar, or a folder of tars")
    packed = [shard.address for shard in shards if shard.address.lower().endswith(PACKED)]
    if packed:
        raise DataError(
            f"{several(packed, 'shard')} compressed, and a member of such a tar cannot be reached without reading all "
            "before it; unpack them (gunzip): pictures are compressed already"
        )
    return TarSource(source, shards, options)


def cut_out(blocks: Iterator[bytes], ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes at ascending ranges (start, length) of what comes in blocks."""
    buffer = bytearray()
    at = 0  # where the buffer begins
    for start, length in ranges:
        while at + len(buffer) < start + length:
            if at + len(buffer) <= start:
                at += len(buffer)
                buffer.clear()
            buffer += next(blocks)
        del buffer[: start - at]
        at = start
        yield bytes(buffer[:length])


def _tars_in(folder: Path) -> list[Path]:
    """The tars in a folder, or in its folders where each is a split's; none where pictures or others lie beside."""
    entries = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    folders = [each for each in entries if each.is_dir()]
    if any(
        each.suffix.lower() in SUFFIXES or (each in folders and each.name.lower() not in SPLITS) for each in entries
    ):
        return []
    tars = [each for each in entries if each.name.lower().endswith((ENDING, *PACKED))]
    inside = [_tars_in(each) for each in folders]
    return [*tars, *chain(*inside)] if all(inside) and not (tars and inside) else []


def _split_of(address: str) -> str | None:
    """The split that a shard's folder is called by, or that stands in its name: `train-000123.tar`."""
    parts = address.split("/")
    return SPLITS.get(parts[-2].lower() if len(parts) > 1 else "") or split_in(parts[-1].partition(".")[0])


def _listed(source: str) -> Iterator[Shard]:
    if is_address(source):
        if source.lower().endswith((ENDING, *PACKED)) or has_pattern(source):
            yield from in_threads(_shard, expand(source), REQUESTS)
            return
        folder = Store.of(source)
        for entry in folder.entries():
            if entry.key.lower().endswith((ENDING, *PACKED)):
                yield Shard(folder.full(entry.key), entry.size, entry.tag)
    elif Path(source).is_dir():
        yield from map(_shard, map(str, _tars_in(Path(source))))
    else:
        yield from map(_shard, expand(source))


def _shard(address: str) -> Shard:
    store, key = _store(address)
    entry = store.head(key)
    return Shard(address, entry.size, entry.tag)


def _store(address: str) -> tuple[Store, str]:
    root, key = split_address(address)
    return Store.of(root), key


def _index(shard: Shard) -> Index:
    """The shard's index: from memory, the cache, or built now. Raises `DataError` where the shard is not what it was;
    of an index that is there, where that is free: reading finds it out elsewhere."""
    store, key = _store(shard.address)
    if store.is_local:
        entry = store.head(key)
        if (entry.size, entry.tag) != (shard.size, shard.tag):
            raise DataError(f"{shard.address} changed since it was first looked at; start again with what it is now")
    return _indexed(shard)


@lru_cache(maxsize=8)
def _indexed(shard: Shard) -> Index:
    index = load(shard)
    if index is None:
        store, key = _store(shard.address)
        if isinstance(store, LocalStore):
            with store.path(key).open("rb") as file:

                def part(start: int, length: int) -> bytes:
                    return os.pread(file.fileno(), length, start)

                index = build(part, shard.size, shard.address, is_local=True)
        else:
            index = build(lambda start, length: store.read(key, start, length, shard.tag), shard.size, shard.address)
        save(shard, index)
    return index
