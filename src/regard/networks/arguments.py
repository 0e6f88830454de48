"""What `load` is given, checked as far as no network is needed for it: nothing here imports torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regard.errors import NetworkError, UsageError, unknown
from regard.files import check_local, is_file

VIEWS = {"flip": 2, "five-crop": 5, "ten-crop": 10}
"""Test-time augmentation: how many views `--tta` takes of each picture; crops are torchvision's."""
PRECISIONS = ("auto", "float32", "bfloat16")


def check_arguments(
    model: Any,
    weights: str | Path | None = None,
    weights_part: str | None = None,
    precision: str = "float32",
    tta: str | None = None,
) -> None:
    """Raise `UsageError` for a precision or views that there are not and a part of no file, `NetworkError` for a file
    of weights that is not there."""
    if tta is not None and tta not in VIEWS:
        raise unknown("value for --tta", tta, VIEWS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if weights_part is not None and weights is None and not is_file(str(model)):
        raise UsageError("weights_part (--weights-part) is of a checkpoint file; give it with weights (--weights FILE)")
    if weights is not None and not Path(weights).exists():
        check_local(weights, NetworkError)
        raise NetworkError(f"no checkpoint at {weights}: there is no such file; check the path")


def views_facts(tta: str | None) -> dict[str, Any]:
    """What a result says of the views that it is the mean of; nothing of one view."""
    return {} if tta is None else {"tta": {"name": tta, "views": VIEWS[tta], "mean": "probabilities"}}


def views_text(facts: Mapping[str, Any]) -> str:
    """The same in words, of a result's provenance; "" for one view."""
    tta = facts.get("tta")
    return f"by {tta['views']} views of each picture ({tta['name']}), the mean of their probabilities" if tta else ""
