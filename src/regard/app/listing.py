"""What `regard models`, `regard methods` and `regard metrics` print: rows of a table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any


@dataclass(frozen=True)
class Listing:
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
