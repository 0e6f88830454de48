"""`regard scenes`: a folder of drawn pictures with labels, facts and exact masks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.scenes import write_scenes


@dataclass(frozen=True)
class Result:
    """How many scenes were drawn, and where they are."""

    n: int
    out: Path


def scenes(
    n: int, out: str | Path, size: int = 224, val: float = 0.2, seed: int = 0, overwrite: bool = False
) -> Result:
    """Draw `n` scenes of `size` × `size` pixels, a share `val` to validate with, with masks of every object and part.

    The folder is DATA as it stands: `regard train OUT`, and, for captions, `regard train OUT --task caption`. Raises
    `UsageError` for a count or size that makes no sense.
    """
    return Result(n, write_scenes(n, out, seed=seed, size=size, val=val, overwrite=overwrite))


def as_json(result: Result) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n}


def as_text(result: Result) -> str:
    return f"{result.n} scenes drawn, written to {result.out}"
