"""What `regard caption` works on, checked before any work: pictures, given captions, options beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.data.layouts.captions import captions_for
from regard.errors import UsageError
from regard.predictors.captions.options import CaptionInput, CaptionOptions
from regard.predictors.command_inputs import read_picture_arguments


def check_together(
    options: CaptionOptions, style: str, panels: bool, captions: str | Path | None, which: str | int
) -> None:
    """Raise `UsageError` for options that mean nothing beside each other."""
    if style != "regard" and not panels:
        raise UsageError(f"--style {style} is of panels, and a table has none; give --out FOLDER for them")
    if captions is None and str(which) != "0":
        raise UsageError(f"--which {which} is of captions that are given; give --captions FILE with it")
    for name, value in (("beams", options.beams != 1), ("limit", options.limit is not None)):
        if captions is not None and value:
            raise UsageError(f"--{name} is of captions that are made, and --captions gives them; leave one out")


def read_inputs(
    pictures: str | Path | Sequence[str | Path],
    captions: str | Path | None,
    which: str | int,
    skip_bad: bool,
    max_pixels: int,
    image: str | None = None,
) -> tuple[list[CaptionInput], dict[str, Any] | None]:
    """The pictures, with the captions that a file has for them, and what says where these come from."""
    dataset = read_picture_arguments(pictures, "caption", max_pixels, image)
    if captions is None:
        return [CaptionInput(picture) for picture in dataset.pictures], None
    rows = captions_for(dataset, captions, which, skip_bad)
    return [CaptionInput(*row) for row in rows], {"captions": Path(captions).name, "which": str(which)}
