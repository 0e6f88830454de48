"""Arguments of the commands whose modules are not yet light."""

from pathlib import Path

from regard.app.options import *  # noqa: F403


def demo(
    out: Out = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """The whole job on what is shipped, offline, in about two minutes: draws, trains, scores, explains, reports."""
