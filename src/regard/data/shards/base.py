"""What bulk work and layouts see of DATA in shards."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Picture
from regard.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

UNIT = 1000
"""Pictures of a shard where DATA has none of its own."""


@dataclass(frozen=True)
class Options:
    """How DATA is opened as shards: which member or column is the picture and which its label, pictures a shard where
    DATA has none of its own, and whether what is damaged is left out."""

    image: str | None = None
    label: str | None = None
    unit: int = UNIT
    skip_bad: bool = False


@dataclass(frozen=True)
class Shard:
    """A file with many pictures, or `keys:START-STOP` of a list; the tag changes when its content does."""

    address: str
    size: int
    tag: str


@dataclass(frozen=True)
class Members:
    """The pictures of a shard, in its order: their keys, where each begins in the shard and its bytes, (members,) int64
    each (-1 where the shard is no file), and their labels, None where nothing is known of them."""

    keys: Sequence[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: Sequence[str | None] | None = None

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Member:
    """A picture's encoded bytes; where it cannot be had, `data` is None and `error` says why."""

    key: str
    data: bytes | None = field(repr=False)
    label: str | None = None
    error: DataError | None = None


class Source(Protocol):
    """DATA in shards. Small, and can be pickled: it is handed to workers."""

    @property
    def address(self) -> str:
        """What messages call DATA."""

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, in a stable order."""

    def members(self, shard: Shard) -> Members:
        """What is in a shard, from headers alone. Raises `DataError` where it is damaged, or changed since it was
        listed (of an index that is there already, reading is what notices)."""

    def listing(self) -> Iterator[tuple[Shard, Members]]:
        """All shards with their members, in order; where they lie in a store, several are asked for at once."""

    def read(self, shard: Shard) -> Iterator[Member]:
        """Its pictures in sequence; the shard is read once. One that is damaged is a member with its error."""

    def pictures(self, shard: Shard) -> list[Picture]:
        """Its pictures with openers that read a range each."""


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """`map`, in order, so many at once; an error comes where its item stands."""
    if threads < 2 or len(items) < 2:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="regard-shards")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
