"""`regard models`, `regard methods`, `regard metrics`: what there is, from the tables."""

from dataclasses import asdict, dataclass
from typing import Any

from regard.explanation import METHODS
from regard.measurement import METRICS


@dataclass(frozen=True)
class Listing:
    """Rows of a table under its name; `about` is the line under it."""

    name: str
    rows: tuple[dict[str, Any], ...]
    about: str = ""


def methods() -> Listing:
    """The rows of METHODS."""
    return Listing("methods", tuple(asdict(row) for row in METHODS))


def metrics() -> Listing:
    """The rows of METRICS."""
    return Listing("metrics", tuple(asdict(row) for row in METRICS))


def models(pattern: str = "") -> Listing:
    """The networks that `load` knows by name, those with `pattern` in their name (`*` stands for anything)."""
    from regard.networks.load import available

    rows = tuple({"name": name, "source": source} for name, source in available(pattern))
    about = "Besides: a run's folder, a checkpoint file, hf:ID or a local Hugging Face folder (see docs/networks.md)."
    return Listing("models", rows, about)


def as_json(listing: Listing) -> dict[str, Any]:
    return {listing.name: list(listing.rows)}


def as_text(listing: Listing) -> str:
    width = max((len(row["name"]) for row in listing.rows), default=0)
    lines = [f"{row['name']:<{width}}  {row.get('description') or row.get('source', '')}" for row in listing.rows]
    return "\n".join([*lines, *filter(None, [listing.about])])
