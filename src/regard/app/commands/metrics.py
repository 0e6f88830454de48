"""`regard metrics`: the rows of METRICS."""

from dataclasses import asdict
from typing import Annotated

from regard.app.listing import Listing, as_json, as_text, matching
from regard.app.options import argument, complete_metrics
from regard.measurement import METRICS

__all__ = ["as_json", "as_text", "metrics"]


def metrics(
    pattern: Annotated[
        str, argument("Show only names with this in them (* stands for anything).", complete=complete_metrics)
    ] = "",
) -> Listing:
    """List the measures."""
    return Listing("metrics", matching(map(asdict, METRICS), pattern))
