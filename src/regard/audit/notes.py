"""What a report says of artifact tokens, and the command that it offers."""

import shlex
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from regard.data.dataset import Dataset
from regard.errors import NetworkError
from regard.explanation.artifacts import artifacts
from regard.networks.network import Network
from regard.networks.predict import prepared

MEASURED = 16
"""Pictures in which artifact tokens are looked for."""


def artifact_note(network: Network, pictures: Dataset, names: Iterable[str], repair: str = "") -> str:
    """That artifact tokens draw the attention which the maps show, and what to do; "" where they do not."""
    chosen = set(islice(names, MEASURED))
    part = [picture for picture in pictures.pictures if picture.name in chosen]
    stream = prepared(network, part, batch_size=8, workers=0, on_bad=lambda picture, error: None)
    try:
        measured = artifacts(network, [pixels for _, pixels in stream])
    except NetworkError:  # its attention or its tokens are not known
        return ""
    if not measured.dominant:
        return ""
    last = measured.blocks[-1]
    note = (
        f"Artifact tokens: {last.per_picture:.1f} patches a picture, from block {measured.first} on, draw "
        f"{last.attention:.0%} of the last layer's attention ({measured.even:.0%} by chance), and are the "
        "bright spots of its maps, whatever the picture shows there."
    )
    return f"{note} What moves them away without training: {repair}" if repair else note


def repair_command(data: str | Path, model: str | Path, **options: Any) -> str:
    """How `regard registers` is called for a network and its data; what a path says of this machine is left out."""
    places = [Path(data), Path(model)]
    folders = [path.name if path.is_absolute() or {"..", "~"} & {*path.parts} else str(path) for path in places]
    extra = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    words = ["regard", "registers", folders[0], "--model", folders[1], *extra, "--out", f"{places[1].name}-repaired"]
    return shlex.join(words)
