"""What `load` is given, checked as far as no network is needed for it: nothing here imports torch."""

from pathlib import Path
from typing import Any

from regard.errors import NetworkError, UsageError, unknown
from regard.files import check_local, is_file

PRECISIONS = ("auto", "float32", "bfloat16")


def check_arguments(
    model: Any, weights: str | Path | None = None, weights_part: str | None = None, precision: str = "float32"
) -> None:
    """Raise `UsageError` for a precision that there is not and a part of no file, `NetworkError` for a file of weights
    that is not there."""
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if weights_part is not None and weights is None and not is_file(str(model)):
        raise UsageError("weights_part (--weights-part) is of a checkpoint file; give it with weights (--weights FILE)")
    if weights is not None and not Path(weights).exists():
        check_local(weights, NetworkError)
        raise NetworkError(f"no checkpoint at {weights}: there is no such file; check the path")
