"""What is said while the work goes on: messages and progress on stderr, so that stdout stays for results.

As functions called from Python the commands speak through the logger `regard`; the command line shows it.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from regard.files import readable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

log = logging.getLogger("regard")


@cache
def stderr() -> "Console":
    """The terminal that messages and progress share; imported late, as `--help` needs it not."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


class _Plain(logging.Handler):
    """Messages as they are, above a running progress bar; warnings marked, so that they are seen."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = "note: " if record.levelno >= logging.WARNING else ""
        stderr().print(f"{mark}{readable(record.getMessage())}", markup=False)


def first_process() -> bool:
    """Whether this process is to speak: under torchrun only the first one is."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def messages() -> Iterator[None]:
    """Show the commands' messages on stderr while a command line runs; the logger is left as it was."""
    if log.handlers or not first_process():
        yield
        return
    handler = _Plain()
    level = log.level
    propagate = log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with time left on a terminal, nothing elsewhere; yields a function that is told how many more are done."""
    if not (sys.stderr.isatty() and log.handlers):
        yield lambda done: None
        return
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _bar(*more: str, timed: bool = True) -> "Progress":
    """What both kinds of progress look like; imported late, as `--help` needs it not."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    name, columns = TextColumn("{task.description}"), [TextColumn(text) for text in more]
    usual = (SpinnerColumn(), name, BarColumn(), MofNCompleteColumn())
    remaining = (TimeRemainingColumn(),) if timed else ()
    return Progress(*usual, *remaining, *columns, console=stderr(), transient=True)


@contextmanager
def phases() -> Iterator[Callable[[Any], None]]:
    """Progress of a training: a bar for each phase with time left and the loss of late; a line a step elsewhere.

    Yields a function that takes `training.journal.Progress`.
    """
    if not log.handlers:
        yield lambda progress: None
        return
    if not sys.stderr.isatty():
        announced: set[str] = set()
        yield lambda progress: _announce(announced, progress)
        return
    with _bar("{task.fields[more]}", timed=False) as bar:
        tasks: dict[str, Any] = {}

        def show(now: Any) -> None:
            if now.phase not in tasks:
                for old in tasks.values():
                    bar.remove_task(old)
                tasks.clear()
                tasks[now.phase] = bar.add_task(now.step or now.phase, total=now.total, more="")
            more = [] if now.left is None else [_left(now)]
            more += [] if now.loss is None else [f"loss {now.loss:.3f}"]
            bar.update(tasks[now.phase], completed=now.done, more=" · ".join(more))

        yield show


def _left(now: Any) -> str:
    from regard.training.schedule import duration

    return f"about {duration(now.left)} left{' of all' if now.step else ''}"


def _announce(announced: set[str], now: Any) -> None:
    """A line for each step (or kind of phase), the first time it comes, and one when the time left is first known."""
    name = now.step or now.phase.split()[0]
    timed = now.left is not None and bool(now.step)
    if name not in announced or (timed and "left" not in announced):
        announced |= {name, *["left"] * timed}
        log.info(f"{name} ...{f' ({_left(now)})' if timed else ''}")
