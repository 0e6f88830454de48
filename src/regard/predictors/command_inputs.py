"""What commands are given when they are called from Python: files, not networks or pixels in their place."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regard.data.dataset import Dataset
from regard.data.layouts import read_pictures
from regard.errors import UsageError

_PREDICTORS = {"explain": "Explainer", "predict": "Classifier", "caption": "Captioner"}
"""What takes pictures in memory in the place of a command."""


def read_picture_arguments(pictures: Any, command: str, max_pixels: int, image: str | None = None) -> Dataset:
    """The pictures of a command's first argument: a path, or several; each is read up to `max_pixels`. `image` is the
    column, or the ending of members, that is the picture.

    Raises `UsageError` for a network there, which goes into `model`, and for pictures in memory.
    """
    if isinstance(pictures, str | Path):
        return read_pictures(pictures, image).up_to(max_pixels)
    refuse_network(pictures, "pictures", command)
    listed = list(pictures) if isinstance(pictures, Iterable) else [pictures]
    for each in listed:
        if not isinstance(each, str | Path):
            predictor = _PREDICTORS.get(command)
            memory = f"; what is in memory goes to regard.{predictor}(model)(picture)" if predictor else ""
            raise UsageError(
                f"pictures came as {type(each).__name__}, and regard.{command} takes paths of files and folders{memory}"
            )
    return read_pictures(listed, image).up_to(max_pixels)


def check_data(data: Any, command: str) -> None:
    """Raise `UsageError` unless DATA is a path."""
    if not isinstance(data, str | Path):
        refuse_network(data, "data", command)
        raise UsageError(
            f"data came as {type(data).__name__}, and regard.{command} takes the path of a folder or a file; write the "
            "pictures into one"
        )


def refuse_network(value: Any, what: str, command: str) -> None:
    """Raise `UsageError` for a network in the place of pictures or data."""
    if any(hasattr(value, name) for name in ("state_dict", "module", "network")):
        raise UsageError(
            f"{what} came as a network ({type(value).__name__}); {what} are a path, and the network goes into `model`: "
            f"regard.{command}({what.upper()}, model=...)"
        )
