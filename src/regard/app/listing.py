"""What commands print: their results as text, and the rows of `regard models`, `methods` and `metrics`."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any


class Printed:
    """A command's result, which prints in Python as at the command line: by `as_text` of its module."""

    def __repr__(self) -> str:
        from regard.records.display import few

        return few(sys.modules[type(self).__module__].as_text(self).splitlines())


@dataclass(frozen=True, repr=False)
class Listing(Printed):
    """Rows of a table under its `name`; `about` is the line under them."""

    name: str
    rows: tuple[dict[str, Any], ...]
    about: str = ""


def matching(rows: Iterable[Mapping[str, Any]], pattern: str) -> tuple[dict[str, Any], ...]:
    """The rows with `pattern` in their name; `*` stands for anything."""
    return tuple(dict(row) for row in rows if fnmatch(row["name"].lower(), f"*{pattern.lower()}*"))


def as_json(listing: Listing) -> dict[str, Any]:
    return {listing.name: list(listing.rows)}


def as_text(listing: Listing) -> str:
    width = max((len(row["name"]) for row in listing.rows), default=0)
    lines = [f"{row['name']:<{width}}  {row.get('description') or row.get('source', '')}" for row in listing.rows]
    return "\n".join([*lines, *filter(None, [listing.about])])
