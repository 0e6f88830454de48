"""What a notebook shows of a record: its text, or a picture by a table of functions that are imported when needed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

DISPLAYS = {
    "Explanation": "regard.rendering.displays:explanation_png",
    "Classification": "regard.rendering.displays:classification_png",
    "Caption": "regard.rendering.displays:caption_png",
    "Captions": "regard.rendering.displays:captions_png",
    "Positions": "regard.rendering.displays:positions_png",
    "Evaluation": "regard.rendering.displays:evaluation_png",
    "overlay": "regard.rendering.displays:overlay",
    "view": "regard.rendering.frames:view",
}
"""Where each record's drawing is, as "module:function"."""


def draw(name: str, *arguments: Any, **settings: Any) -> Any:
    """What the function of a row makes."""
    module, function = DISPLAYS[name].split(":")
    return getattr(import_module(module), function)(*arguments, **settings)


MOST_LINES = 24
"""Lines of a record's text, at most: it is for people, who find the rest in its fields."""


class Readable:
    """A record that prints as its text, wherever it stands: in a list, at the end of a notebook's cell."""

    def __repr__(self) -> str:
        return str(self)


class Row(Readable):
    """A record that is a row of a table: its `cells` are texts by column."""

    def cells(self) -> Mapping[str, str]:
        raise NotImplementedError


R = TypeVar("R", bound=Row)


class Rows(tuple[R, ...]):
    """A tuple of rows that prints as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        return table([row.cells() for row in self]) if self else "()"


class Displayed(Readable):
    """A record that shows itself in a notebook, as PNG bytes, by its row of DISPLAYS; elsewhere in a line of text."""

    def _repr_png_(self) -> bytes:
        content: bytes = draw(type(self).__name__, self)
        return content


class Viewable(Readable):
    """A record that can be looked at in a notebook as on a page."""

    def view(self, height: int = 900) -> Any:
        """The viewer of `--page`, `height` pixels high, in a frame of its own: it needs no network, and can reach
        nothing of the notebook. `.save(FILE.html)` of what comes back writes the page."""
        return draw("view", self, height)


def counted(n: int, noun: str) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def rounded(value: float, signed: bool = False) -> str:
    """Three places; a dash where there is no number."""
    return f"{value:{'+' if signed else ''}.3f}" if math.isfinite(value) else "\N{EN DASH}"


def few(lines: Sequence[str], most: int = MOST_LINES) -> str:
    """Lines in one text; of more than `most` the first, and how many are left out.

    >>> print(few(["a", "b", "c", "d"], most=3))
    a
    b
    … and 2 more
    """
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 1], f"… and {len(lines) - most + 1} more"])


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows of texts by column, below each other and as wide as they need.

    >>> print(table([{"class": "cat", "n": "3"}, {"class": "guinea pig", "n": "12"}]))
    class       n
    cat         3
    guinea pig  12
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return few(aligned(lines))


def aligned(lines: Iterable[Sequence[str]]) -> list[str]:
    """Cells below each other."""
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
