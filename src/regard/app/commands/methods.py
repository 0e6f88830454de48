"""`regard methods`: the rows of METHODS."""

from dataclasses import asdict
from typing import Annotated

from regard.app.listing import Listing, as_json, as_text, matching
from regard.app.options import argument, complete_methods
from regard.explanation import METHODS

__all__ = ["as_json", "as_text", "methods"]


def methods(
    pattern: Annotated[
        str, argument("Show only names with this in them (* stands for anything).", complete=complete_methods)
    ] = "",
) -> Listing:
    """List the methods that `explain` and `caption` know."""
    return Listing("methods", matching(map(asdict, METHODS), pattern))
