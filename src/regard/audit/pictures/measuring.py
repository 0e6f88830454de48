"""Parts measured over pictures, chunk by chunk, into a writer that goes on where it was; and how long that takes."""

import logging
import time
from collections.abc import Callable, Sequence

from torch import Tensor

from regard.audit.pictures.chunk import Chunk, Plan
from regard.audit.pictures.parts import Part
from regard.data.dataset import Picture
from regard.errors import DataError
from regard.networks.predict import prepared
from regard.progress import Progress
from regard.results.writer import ResumableWriter

log = logging.getLogger("regard")

IN_DOMAIN = "in_domain"
"""Where the entry of a picture lies that is of the copy."""


def measure(
    plan: Plan,
    parts: Sequence[Part],
    writer: ResumableWriter,
    progress: Progress,
    on_bad: Callable[[Picture, DataError], None] | None,
    before: int | None = None,
) -> None:
    """The pictures that are still missing. Of the copy, whose entries come behind `before` others, they are marked."""
    first = before or 0
    start = max(writer.pictures - first, 0)
    rest = plan.pictures.pictures[start:]
    settings = plan.settings
    stream = prepared(plan.network, rest, batch_size=settings.batch_size, workers=settings.workers, on_bad=on_bad)
    with progress("auditing" if before is None else "auditing the copy", len(plan.pictures)) as advance:
        advance(start)
        done = start
        for batch, pixels in stream:
            if done == start and before is None:
                each = forwards(plan, parts)
                amount = duration(forward_seconds(plan, pixels) * each * len(rest))
                log.info(f"auditing {len(rest)} pictures takes about {amount}: {each:.0f} forwards for each")
            chunk = Chunk.of(plan, batch, pixels, start)
            for part in parts:
                part.measure(chunk)
            for entry in chunk.entries():
                writer.add(entry if before is None else {IN_DOMAIN: entry})
            advance(chunk.indices[-1] + 1 - done)
            done = chunk.indices[-1] + 1
            writer.commit(first + done)
        if done < len(plan.pictures):
            writer.commit(first + len(plan.pictures))


def forwards(plan: Plan, parts: Sequence[Part]) -> float:
    """About how many forwards of a picture its maps and these parts cost."""
    return 1 + sum(method.cost for method in plan.methods) + sum(part.cost(plan) for part in parts)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def forward_seconds(plan: Plan, pixels: Tensor) -> float:
    """Of one picture, from a few forwards."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        plan.network.logits(pixels)
        times.append(time.perf_counter() - start)
    return min(times) / len(pixels)
