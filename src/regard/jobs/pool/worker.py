"""A worker's process: `python -m regard.jobs.pool.worker`. Jobs come on standard input, stages and answers go out.

It ends by itself when the server has gone, in the middle of a job too. It hears no Ctrl-C: the server ends it.
"""

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from regard.errors import RegardError
from regard.jobs.pool import wire

log = logging.getLogger("regard")


class CancelledJobError(Exception):
    """Nobody waits for this job any more."""


class _Notes(logging.Handler):
    """What the predictors say while a job runs goes with its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Worker:
    """One job at a time from `source`, and what becomes of it into `sink`."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, desk: Callable[[dict[str, Any]], Any] | None = None) -> None:
        self.source = source
        self.sink = sink
        self.desk = desk
        self.jobs: queue.SimpleQueue[wire.Frame] = queue.SimpleQueue()
        self.job = 0
        self.cancelled = 0
        """The job that is worked on, and the last one that nobody waits for."""
        self.notes = _Notes()

    def run(self) -> None:
        """Load the networks, then work until the server goes."""
        log.addHandler(self.notes)
        log.setLevel(logging.INFO)
        log.propagate = False
        threading.Thread(target=self._listen, daemon=True).start()
        plan, _ = self.jobs.get()
        try:
            if self.desk is None:
                from regard.jobs.pool.desk import Desk  # torch is imported in a worker only

                self.desk = Desk
            desk = self.desk(plan)
            self._send({"kind": "ready", "models": desk.models, "notes": self.notes.lines})
        except (RegardError, MemoryError, RuntimeError) as error:
            self._send({"kind": "failed", "error": str(error) or type(error).__name__})
            return
        while True:
            header, picture = self.jobs.get()
            self.job = header.pop("job")
            self.notes.lines = []
            self._answer(desk, header, picture)

    def _answer(self, desk: Any, header: dict[str, Any], picture: bytes) -> None:
        try:
            self._report("begun", 0, 0)
            answer, body = desk.work(header, picture, self._report)
            self._send({"kind": "done", "answer": answer, "notes": self.notes.lines}, body)
        except CancelledJobError:
            self._send({"kind": "cancelled"})
        except RegardError as error:
            self._send({"kind": "refused", "error": str(error)})
        except MemoryError:
            self._send({"kind": "exhausted"})
        except Exception as error:
            import traceback

            exhausted = "out of memory" in str(error).lower() or "can't allocate memory" in str(error)
            self._send({"kind": "exhausted" if exhausted else "broken", "error": traceback.format_exc()})

    def _report(self, stage: str, done: int, total: int) -> None:
        """Say how far the job is. Raises `CancelledJobError` where nobody waits for it."""
        if self.cancelled == self.job:
            raise CancelledJobError
        self._send({"kind": "stage", "stage": stage, "done": done, "total": total})

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        self.sink.write(wire.packed(header, body))
        self.sink.flush()

    def _listen(self) -> None:
        """Take jobs and cancellations as they come; without a server there is nothing left to do."""
        while (frame := wire.read(self.source)) is not None:
            if frame[0].get("kind") == "cancel":
                self.cancelled = frame[0]["job"]
            else:
                self.jobs.put(frame)
        os._exit(0)


def main(desk: Callable[[dict[str, Any]], Any] | None = None) -> None:
    """Work on what standard input and output were; whatever else writes there shall not spoil the frames. `desk` makes
    another than `Desk` of a plan."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from regard.networks.sources.deferred import defer_imports

    defer_imports()
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(BrokenPipeError):
        Worker(source, sink, desk).run()


if __name__ == "__main__":
    main()
