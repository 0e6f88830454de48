"""DATA that has no shards of its own, in stable order: so many keys make one."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from regard.data.dataset import Picture
from regard.data.openers import FileOpener
from regard.data.shards.base import Member, Members, Shard
from regard.errors import DataError

KEYS = ("filename", "file_name", "path", "key", "url", "uri", "address", "image")
"""Columns of a list that name pictures, in the order in which they are looked for."""


def delimiter(line: str) -> str:
    """What stands between the columns of a line: a comma, semicolon or tab."""
    return max(",;\t", key=line.count)


@dataclass(frozen=True)
class PictureList:
    """Pictures of a folder or table, `unit` a shard, whose address is `keys:START-STOP`."""

    address: str
    all_pictures: tuple[Picture, ...]
    unit: int

    @property
    def shards(self) -> tuple[Shard, ...]:
        count = len(self.all_pictures)
        return tuple(self._shard(start, min(start + self.unit, count)) for start in range(0, count, self.unit))

    def members(self, shard: Shard) -> Members:
        pictures = self.pictures(shard)
        labels = [picture.label for picture in pictures]
        return Members(
            [picture.name for picture in pictures],
            np.full(len(pictures), -1, np.int64),
            np.array([_entry(picture)[0] for picture in pictures], np.int64),
            labels if any(label is not None for label in labels) else None,
        )

    def listing(self) -> Iterator[tuple[Shard, Members]]:
        return ((shard, self.members(shard)) for shard in self.shards)

    def read(self, shard: Shard) -> Iterator[Member]:
        for picture in self.pictures(shard):
            try:
                with picture.opener.open() as stream:
                    data: bytes = stream.read()  # type: ignore[union-attr]
            except OSError as error:
                problem = DataError(f"{picture.opener} cannot be read: {error.strerror}; check the file")
                yield Member(picture.name, None, picture.label, problem)
            except DataError as problem:
                yield Member(picture.name, None, picture.label, problem)
            else:
                yield Member(picture.name, data, picture.label)

    def pictures(self, shard: Shard) -> list[Picture]:
        start, stop = map(int, shard.address.removeprefix("keys:").split("-"))
        return list(self.all_pictures[start:stop])

    def _shard(self, start: int, stop: int) -> Shard:
        entries = [_entry(picture) for picture in self.all_pictures[start:stop]]
        tag = hashlib.sha256("\0".join(tag for _, tag in entries).encode()).hexdigest()[:32]
        return Shard(f"keys:{start}-{stop}", sum(size for size, _ in entries), tag)


def _entry(picture: Picture) -> tuple[int, str]:
    """A picture's bytes and tag."""
    opener = picture.opener
    if isinstance(opener, FileOpener):
        try:
            stat = opener.path.stat()
        except OSError:
            return -1, ""
        return stat.st_size, str(stat.st_mtime_ns)
    return int(getattr(opener, "size", -1)), str(getattr(opener, "tag", ""))
