"""Arguments of the commands whose modules are not yet light."""

from pathlib import Path
from typing import Annotated

from regard.app.options import *  # noqa: F403


def demo(
    out: Out = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """The whole job on what is shipped, offline, in about two minutes: draws, trains, scores, explains, reports."""


def caption(
    pictures: Pictures,
    out: Out,
    model: CaptionModel = "scenes-captioner",
    captions: GivenCaptions = None,
    which: Which = "0",
    prompt: Prompt = None,
    beams: Beams = 1,
    limit: Limit = None,
    method: Annotated[
        str,
        option(
            f"One of: {', '.join(WORD_METHODS)}.",
            callback=method_name,
            complete=complete_methods,
            panel=MAPS,
        ),
    ] = "cross_attention",
    row: Row = "predicting",
    layer: DecoderLayer = None,
    head: DecoderHead = None,
    start: DecoderStart = None,
    depends: Depends = False,
    truth: Truth = None,
    style: Style = "regard",
    format: Format = None,
    colours: MapColours = None,
    device: Device = None,
    batch_size: BatchSize = 8,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
) -> None:
    """Describe each picture, and show for every word where the network looked.

    The same command goes on after an interruption.
    """
