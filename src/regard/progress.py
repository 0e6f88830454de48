"""How far work has come, for whoever shows it: what lies below `app` never writes to a console itself."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""Called with how many more are done."""
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Opened with what is done and how many there are in all; gives an `Advance`."""


@contextmanager
def silent(what: str, total: int) -> Iterator[Advance]:
    """The progress that shows nothing: every function's default."""
    yield lambda count: None
