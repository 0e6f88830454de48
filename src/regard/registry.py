"""Tables of what there is: a row is data and imports nothing heavy; its function is loaded on first use.

The command line, the pages, the docs and the parametrised tests read the tables, so that there is no second list.
Users add rows from outside: by `register`, or by an entry point in their own package's metadata.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, Protocol, TypeVar

from regard.errors import UsageError, unknown


class Row(Protocol):
    """What every table's rows have: a name, and where its function is, as "module:function"."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> str: ...


class Described:
    """A row that prints as its name and description."""

    name: str
    description: str

    def __repr__(self) -> str:
        return f"{self.name}: {self.description}"


R = TypeVar("R", bound=Row)


def load(row: str, place: str) -> Callable[..., Any]:
    """What is at `place`, "module:function"; `row` is what a message calls the row that names it."""
    module, function = place.split(":")
    try:
        target: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{row} points to {place}, which is not there: {error}") from error
    return target


class Table(Generic[R]):
    """Rows by name. `kind` is the word for one row ("method"); `group` the entry point group for rows from outside,
    `hint` what an error says of an unknown name at its end.

    >>> from types import SimpleNamespace
    >>> shapes = Table("shape", (SimpleNamespace(name="square", target="math:sqrt"),), "example.shapes")
    >>> shapes.names, "circle" in shapes, shapes.load("square")(9)
    (('square',), False, 3.0)
    """

    def __init__(self, kind: str, rows: tuple[R, ...], group: str, hint: str = "") -> None:
        self.kind = kind
        self.hint = hint
        self.group = group
        self._builtin = {row.name: row for row in rows}

    def __repr__(self) -> str:
        return f"{len(self)} rows of {self.kind}s: {', '.join(self.names)}"

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> R:
        """The row called `name`; an unknown one is a `UsageError` that offers the nearest names."""
        if name not in self._rows:
            raise unknown(self.kind, name, self._rows, self.hint)
        return self._rows[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def register(self, row: R) -> None:
        """Add a row. Raises `UsageError` when the name is taken or the target is not "module:function"."""
        if row.name in self._rows:
            raise UsageError(f"a {self.kind} named {row.name!r} exists already; choose another name")
        if row.target.count(":") != 1:
            raise UsageError(f"the target of {self.kind} {row.name!r} is {row.target!r}; it must be 'module:function'")
        self._rows[row.name] = row

    def load(self, name: str, field: str = "target") -> Callable[..., Any]:
        """The function of the row called `name`, imported now; `field` is the one that names it."""
        return load(f"{self.kind} {name!r}", getattr(self[name], field))

    @cached_property
    def _rows(self) -> dict[str, R]:
        """Our rows and those that installed packages offer; a name of ours cannot be replaced from outside."""
        outside = {row.name: row for row in (point.load() for point in entry_points(group=self.group))}
        return outside | self._builtin
