"""DATA → units: from the index of each shard alone, column by column, a million keys in seconds and no list."""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from regard.data.dataset import several
from regard.data.shards import Members, Shard, Source
from regard.errors import DataError
from regard.files import json_text
from regard.jobs.bulk.work import Work


@dataclass(frozen=True)
class Unit:
    """A piece of work that gives one file: a shard. The name is a hash of all that decides its content; `size` are the
    bytes of its pictures."""

    name: str
    shard: Shard
    pictures: int
    size: int

    @property
    def label(self) -> str:
        """What results call its shard: nothing of where it lies."""
        return self.shard.address.rpartition("/")[2]


@dataclass(frozen=True)
class Plan:
    """A work's units, in the order of its shards."""

    work: Work
    units: tuple[Unit, ...]

    @property
    def pictures(self) -> int:
        return sum(unit.pictures for unit in self.units)


def plan(work: Work) -> Plan:
    """The units of a work. Raises `DataError` where two pictures have one key, and for DATA without any."""
    identity = _identity(work)
    hashes = array("q")  # of each key, in place of the keys
    units = []
    for shard, members in work.source.listing():
        if not len(members):
            continue
        size = int(np.maximum(members.sizes, 0).sum())
        units.append(Unit(unit_name(identity, shard, members), shard, len(members), size))
        hashes.extend(_key_hashes(members.keys))
    if not units:
        raise DataError(f"{work.source.address} holds no pictures; give data that have some (see docs/data.md)")
    _check_keys(work.source, hashes)
    names = Counter(unit.name for unit in units)
    for unit in units:
        if names[unit.name] > 1:
            raise DataError(f"{work.source.address} has the shard {unit.label} more than once; give each once")
    return Plan(work, tuple(units))


def unit_name(identity: bytes, shard: Shard, members: Members) -> str:
    """A hash of a work's `identity` and a shard: its keys, their sizes, its size and tag."""
    content = hashlib.sha256(identity)
    content.update(json.dumps([shard.size, shard.tag]).encode())
    content.update(np.ascontiguousarray(members.sizes, "<i8").tobytes())
    content.update("\0".join(_texts(members.keys)).encode("utf-8", "surrogateescape"))
    return content.hexdigest()[:24]


def check_unit(work: Work, unit: Unit) -> Members:
    """What is in a unit's shard. Raises `DataError` where that is not what was planned."""
    members = work.source.members(unit.shard)
    if unit_name(_identity(work), unit.shard, members) != unit.name:
        raise changed(unit)
    return members


def changed(unit: Unit) -> DataError:
    """The error of a shard that is not what it was."""
    return DataError(
        f"{unit.shard.address} has other pictures than when the job was planned; run the same command again, which "
        "plans anew and leaves what is done"
    )


def _identity(work: Work) -> bytes:
    return json_text(work.identity()).encode("utf-8", "surrogateescape")


def _texts(keys: Sequence[str]) -> Sequence[str]:
    """Keys as Python's text; a column of Arrow's is one already in memory."""
    to_list = getattr(keys, "to_pylist", None)
    return keys if to_list is None else to_list()


def _key_hashes(keys: Sequence[str]) -> Iterator[int]:
    for key in _texts(keys):
        content = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        yield int.from_bytes(content, "little", signed=True)


def _check_keys(source: Source, hashes: "array[int]") -> None:
    """Refuse keys that are there twice: 8 bytes are held of each, and of the few that meet the keys themselves."""
    values = np.frombuffer(hashes, np.int64)
    ordered = np.sort(values)
    twice = {int(value) for value in ordered[1:][ordered[1:] == ordered[:-1]]}
    if not twice:
        return
    counts: Counter[str] = Counter()
    for _, members in source.listing():
        keys = _texts(members.keys)
        counts.update(key for key, value in zip(keys, _key_hashes(keys), strict=True) if value in twice)
    names = [key for key, count in counts.items() if count > 1]
    if names:
        raise DataError(
            f"in {source.address} {several(names, 'key')} there more than once, over all its shards; each picture "
            "needs its own"
        )
