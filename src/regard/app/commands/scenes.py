"""`regard scenes`: a folder of drawn pictures with labels, facts and exact masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from regard.app.listing import Printed
from regard.app.options import OUTPUT, Out, Overwrite, Seed, argument, option


@dataclass(frozen=True, repr=False)
class DrawnScenes(Printed):
    """How many scenes were drawn, where they are, and what was planted in them, as their manifest has it."""

    n: int
    out: Path
    bias: dict[str, Any] | None = None


def scenes(
    n: Annotated[int, argument("How many pictures.", metavar="N")],
    out: Out,
    size: Annotated[int, option("Side in pixels.", panel=OUTPUT)] = 224,
    val: Annotated[float, option("Share of each class to validate with.", panel=OUTPUT)] = 0.2,
    bias: Annotated[str | None, option("ground=0.95: in that share the ground goes with the class.")] = None,
    missing: Annotated[float, option("Share of the animals' parts that are left undrawn, by chance.")] = 0.0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> DrawnScenes:
    """Draw pictures with labels, captions and exact masks of every object and part: truth without a download.

    The folder is DATA as it stands: `regard train OUT`, and, for captions, `regard train OUT --task caption`. A `bias`
    plants a shortcut that a network may learn in the place of the animal. Raises `UsageError` for a count, size, bias
    or share that makes no sense.

    >>> import regard
    >>> regard.scenes(6, "drawn", size=64).n
    6
    """
    from regard.scenes.folder import scenes_manifest, write_scenes

    path = write_scenes(n, out, seed=seed, size=size, val=val, bias=bias, missing=missing, overwrite=overwrite)
    return DrawnScenes(n, path, scenes_manifest(path).get("bias"))


def as_json(result: DrawnScenes) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n, **({"bias": result.bias} if result.bias else {})}


def as_text(result: DrawnScenes) -> str:
    from regard.scenes.planted.bias import in_words

    text = f"{result.n} scenes drawn, written to {result.out}"
    return f"{text}\n{in_words(result.bias)}" if result.bias else text
