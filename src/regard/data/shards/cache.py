"""Runs of neighbours of a store that were read, for all threads of this process: a store is asked for each once.

Runs can be announced: they are then fetched ahead of who needs them, several at once, so that a store's latency is
waited for nowhere. What was used longest ago is dropped.
"""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from regard.data.stores import Store

CAPACITY = 384 << 20
"""Bytes of runs that are held: those of two windows of a training's order, and some."""
REQUESTS = 8
"""Requests that are under way at once."""


@dataclass(frozen=True)
class Run:
    """Bytes `start` to `stop` of an object, while it has the `tag`."""

    root: str
    key: str
    tag: str
    start: int
    stop: int

    def read(self) -> bytes:
        return Store.of(self.root).read(self.key, self.start, self.stop - self.start, self.tag)


class Runs:
    """The runs that are held or on their way, the one used last at the end."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._runs: OrderedDict[Run, Future[bytes]] = OrderedDict()
        self._bytes = 0
        self._ahead = 0  # bytes that were announced and nobody has read
        self._unread: set[Run] = set()
        self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="regard-runs")

    def get(self, run: Run) -> bytes:
        """The run's bytes, waited for. An error is raised, and what failed is asked for again the next time."""
        future = self._future(run)
        try:
            return future.result()
        except BaseException:
            with self._lock:
                if self._runs.get(run) is future:
                    self._drop(run)
            raise

    def announce(self, run: Run) -> None:
        """Have the run fetched, unless so much is under way that what others still need would be dropped."""
        with self._lock:
            room = self._ahead + run.stop - run.start <= self.capacity // 2
        if room:
            self._future(run, is_ahead=True)

    def _future(self, run: Run, is_ahead: bool = False) -> "Future[bytes]":
        with self._lock:
            future = self._runs.get(run)
            size = run.stop - run.start
            if future is None:
                future = self._runs[run] = self._pool.submit(run.read)
                self._bytes += size
                if is_ahead:
                    self._unread.add(run)
                    self._ahead += size
            if not is_ahead:
                self._runs.move_to_end(run)
                if run in self._unread:
                    self._unread.remove(run)
                    self._ahead -= size
            while self._bytes > self.capacity:
                oldest = next((each for each in self._runs if each not in self._unread and each != run), None)
                if oldest is None:
                    break
                self._drop(oldest)
            return future

    def _drop(self, run: Run) -> None:
        del self._runs[run]
        self._bytes -= run.stop - run.start
        if run in self._unread:
            self._unread.remove(run)
            self._ahead -= run.stop - run.start


@cache
def runs() -> Runs:
    """Those of this process."""
    return Runs()
