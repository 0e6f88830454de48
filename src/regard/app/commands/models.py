"""`regard models`: the networks that `--model` takes by name."""

from typing import Annotated

from regard.app.listing import Listing, as_json, as_text
from regard.app.options import argument, complete_models

__all__ = ["as_json", "as_text", "models"]


def models(
    pattern: Annotated[
        str, argument("Show only names with this in them (* stands for anything).", complete=complete_models)
    ] = "",
) -> Listing:
    """List the networks that `--model` takes by name."""
    from regard.networks.load import available

    rows = tuple({"name": name, "source": source} for name, source in available(pattern))
    about = "Besides: a run's folder, a checkpoint file, hf:ID or a local Hugging Face folder (see docs/networks.md)."
    return Listing("models", rows, about)
