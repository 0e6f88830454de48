"""A unit's pictures on their way to the network: one thread reads the shard in sequence, others hash and decode."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any

import numpy as np

from regard.data.openers import BytesOpener, Opener
from regard.data.shards import Member, Members, Source
from regard.errors import DataError
from regard.jobs.bulk.plan import Unit, changed

WAIT = 0.5
"""Seconds after which who waits looks whether it is still to wait."""


@dataclass(frozen=True)
class Decoded:
    """A picture as the task prepared it, or why it could not be."""

    key: str
    label: str | None
    sha256: str | None
    value: Any
    error: str | None = None


class UnitReading:
    """The pictures of a unit, read and decoded ahead of who takes them: no more than `ahead` at a time.

    `decode` is called with an opener of the bytes, and raises `DataError` for what is no picture.
    """

    def __init__(
        self,
        source: Source,
        unit: Unit,
        members: Callable[[Unit], Members],
        decode: Callable[[Opener], Any],
        readers: int,
        ahead: int,
    ) -> None:
        self._source = source
        self._unit = unit
        self._members = members
        self._decode = decode
        self._queue: Queue[Future[Decoded] | None] = Queue(ahead)
        self._pool = ThreadPoolExecutor(max(1, readers), thread_name_prefix="regard-decode")
        self._closed = threading.Event()
        self.is_read = threading.Event()
        """Set when the whole shard has been read: the next one may be begun."""
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="regard-read", daemon=True)
        self._thread.start()

    def pictures(self, needed: Callable[[], bool]) -> Iterator[Decoded]:
        """They, in order, as long as `needed` says so.

        Raises what reading raised, and `DataError` where the shard has not what was planned.
        """
        while True:
            try:
                future = self._queue.get(timeout=WAIT)
            except Empty:
                if not needed():
                    return
                continue
            if future is None:
                break
            yield future.result()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Stop the threads and wait for them."""
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._thread.join()

    def _read(self) -> None:
        try:
            members = self._members(self._unit)
            order = np.argsort(members.offsets, kind="stable")  # as they lie in the shard
            place = 0
            for member in self._source.read(self._unit.shard):
                if place >= len(order) or str(members.keys[int(order[place])]) != member.key:
                    raise changed(self._unit)
                place += 1
                if not self._put(self._pool.submit(self._prepare, member)):
                    return
            if place != len(order):
                raise changed(self._unit)
        except BaseException as error:  # for who takes the pictures
            self._failure = error
        finally:
            self.is_read.set()
            self._put(None)

    def _put(self, future: Future[Decoded] | None) -> bool:
        while not self._closed.is_set():
            with suppress(Full):
                self._queue.put(future, timeout=WAIT)
                return True
        return False

    def _prepare(self, member: Member) -> Decoded:
        if member.data is None:
            return Decoded(member.key, member.label, None, None, _reason(member.error, member.key))
        content = hashlib.sha256(member.data).hexdigest()
        try:
            return Decoded(member.key, member.label, content, self._decode(BytesOpener(member.data, member.key)))
        except DataError as error:
            return Decoded(member.key, member.label, content, None, _reason(error, member.key))


def _reason(error: DataError | None, key: str) -> str:
    """What was wrong, as one line; an error without words counts as well."""
    return " ".join(str(error or "it cannot be read").split()) or f"{key} cannot be read"
