"""What runs in a process of Ray's: a worker that notices SIGTERM, and then leaves its unit without a trace."""

import os
import pickle
import signal
import threading
from contextlib import suppress

from regard.errors import RegardError
from regard.jobs.bulk.plan import Unit
from regard.jobs.bulk.work import check_versions
from regard.jobs.bulk.worker import Outcome, Worker


class BulkActor:
    """A worker, as Ray calls it: `begin` once, then `do` unit by unit."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: self._stopping.set())

    def begin(self, versions: dict[str, str], command: str, work: bytes, folder: str) -> str:
        """Load the predictor; relative paths are meant from `folder`. Why this process cannot work, or ""."""
        with suppress(OSError):
            os.chdir(folder)
        try:
            check_versions(versions, command)  # before anything of another version is unpickled
            self._worker = Worker(pickle.loads(work))
        except Exception as error:  # whatever it is, another node may be better
            return str(error) if isinstance(error, RegardError) else f"{type(error).__name__}: {error}"
        return ""

    def do(self, unit: Unit, following: Unit | None) -> Outcome | None:
        """Do a unit, while the following one is read; None where this process is told to end."""
        if self._stopping.is_set() or self._worker is None:
            return None
        outcome = self._worker.do(unit, following, lambda: not self._stopping.is_set())
        return None if self._stopping.is_set() and not outcome.wrote else outcome
