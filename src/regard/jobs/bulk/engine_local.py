"""The engine that is always there: this process does units, alone or as one of the ranks that torchrun started.

Ranks take units by a rule that needs no communication: each its share, then, from the end, what is not there yet.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from regard.errors import RegardError
from regard.jobs.bulk.plan import Unit
from regard.jobs.bulk.tasks import Task
from regard.jobs.bulk.work import Work
from regard.jobs.bulk.worker import Outcome, Worker

Report = Callable[[Outcome], None]


class StoppedError(RegardError):
    """A signal came: whole units are there, and nothing else."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def run(work: Work, units: Sequence[Unit], report: Report, task: Task | None = None) -> None:
    """Have every unit done; `report` is called with the outcome of each. Raises `StoppedError` after a signal."""
    worker = Worker(work, task)
    rank = int(os.environ.get("RANK", 0))
    ranks = max(1, int(os.environ.get("WORLD_SIZE", 1)))
    order = in_turn(units, rank, ranks)
    try:
        with watched() as signals:
            for place, unit in enumerate(order):
                following = order[place + 1] if place + 1 < len(order) else None
                outcome = worker.do(unit, following, lambda: not signals)
                if signals:
                    raise StoppedError(signals[0])
                report(outcome)
    finally:
        worker.close()


def in_turn(units: Sequence[Unit], rank: int, ranks: int) -> list[Unit]:
    """A rank's order: its own share of the units, then those of the others, the last first.

    >>> in_turn("abcdef", 0, 2)
    ['a', 'c', 'e', 'f', 'd', 'b']
    """
    others = [unit for place, unit in enumerate(units) if place % ranks != rank]
    return [*units[rank::ranks], *reversed(others)]


@contextmanager
def watched() -> Iterator[list[int]]:
    """Signals as they arrive: Ctrl-C and SIGTERM are noted once; a second one ends the process as ever."""
    signals: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # only there can signals be handled
        yield signals
        return
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        for each in numbers:
            signal.signal(each, before[each] or signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, note)
    try:
        yield signals
    finally:
        for number in numbers:
            signal.signal(number, before[number] or signal.SIG_DFL)
