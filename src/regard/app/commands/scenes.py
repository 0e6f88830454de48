"""`regard scenes`: a folder of drawn pictures with labels, facts and exact masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from regard.app.listing import Printed
from regard.app.options import OUTPUT, Out, Overwrite, Seed, argument, option


@dataclass(frozen=True, repr=False)
class DrawnScenes(Printed):
    """How many scenes were drawn, and where they are."""

    n: int
    out: Path


def scenes(
    n: Annotated[int, argument("How many pictures.", metavar="N")],
    out: Out,
    size: Annotated[int, option("Side in pixels.", panel=OUTPUT)] = 224,
    val: Annotated[float, option("Share of each class to validate with.", panel=OUTPUT)] = 0.2,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> DrawnScenes:
    """Draw pictures with labels, captions and exact masks of every object and part: truth without a download.

    The folder is DATA as it stands: `regard train OUT`, and, for captions, `regard train OUT --task caption`. Raises
    `UsageError` for a count or size that makes no sense.

    >>> import regard
    >>> regard.scenes(6, "drawn", size=64).n
    6
    """
    from regard.scenes import write_scenes

    return DrawnScenes(n, write_scenes(n, out, seed=seed, size=size, val=val, overwrite=overwrite))


def as_json(result: DrawnScenes) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n}


def as_text(result: DrawnScenes) -> str:
    return f"{result.n} scenes drawn, written to {result.out}"
