"""What is said while the work goes on: messages and progress on stderr, so that stdout stays for results.

As functions called from Python the commands speak through the logger `regard`; the command line shows it.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

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
        stderr().print(f"{mark}{record.getMessage()}", markup=False)


def speak() -> None:
    """Show the messages of the commands on stderr: what the command line does."""
    if not log.handlers:
        log.addHandler(_Plain())
        log.setLevel(logging.INFO)
        log.propagate = False


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with time left on a terminal, nothing elsewhere; yields a function that is told how many more are done."""
    if not (sys.stderr.isatty() and log.handlers):
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
