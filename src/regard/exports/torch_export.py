"""A graph of torch's own (`torch.export`), which torch opens alone: no architecture's code is needed."""

from pathlib import Path

import torch
from torch import Tensor

from regard.errors import OutputError
from regard.exports.hub import CARD
from regard.exports.parity import measured, probes
from regard.exports.settings import ExportSettings
from regard.exports.source import ExportSource
from regard.exports.tracing import Logits, sizes, trace
from regard.files import json_text
from regard.records import Exported

ABOUT = "regard.json"
"""The extra file inside that says what the outputs are and how a picture becomes the input."""


def write(source: ExportSource, out: Path, settings: ExportSettings) -> Exported:
    """The file `out`: normalised pictures (batch, channels, height, width) go in, logits (batch, classes) come out.

    Raises `NetworkError` for what cannot be traced, and `UsageError` for sizes that cannot vary.
    """
    varying = sizes(source.network, settings)
    pixels = probes(source)
    program, notes = trace(source.network, Logits(source.network), pixels[: settings.batch or 2], varying)
    about = {
        "classes": list(source.classes),
        "task": source.task,
        "preparation": source.preparation.as_json(),
        "provenance": source.provenance,
        "verdicts": [each.as_json() for each in source.verdicts],
    }
    extra = {ABOUT: json_text(about, indent=2), CARD: source.card("pt2")}
    torch.export.save(program, out, extra_files=extra)
    stored = dict.fromkeys(extra, "")
    loaded = torch.export.load(out, extra_files=stored).module()
    if stored != extra:
        raise OutputError(
            f"{out.name} does not give back the classes and the card that were put into it; nothing was written: "
            "choose another export, or report it"
        )
    count = settings.batch or (2 if notes else len(pixels))
    logits = _in_batches(loaded, pixels, count)
    parity = measured("logits", logits.numpy(), source.network.logits(pixels).numpy())
    return Exported("pt2", out, (), (parity,), notes=notes)


def _in_batches(module: torch.nn.Module, pixels: Tensor, count: int) -> Tensor:
    """The logits of all pictures, so many at a time; where they are fewer, the last one stands for the rest."""
    parts = []
    with torch.no_grad():
        for batch in pixels.split(count):
            filled = torch.cat([batch, batch[-1:].expand(count - len(batch), -1, -1, -1)])
            parts.append(module(filled)[: len(batch)])
    return torch.cat(parts)
