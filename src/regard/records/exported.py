"""What an export left, and how near its answers are to the network's."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.records.display import Readable, Row, few
from regard.records.scores import Score


@dataclass(frozen=True, repr=False)
class Parity(Row):
    """How far an output of an export is from the network's own: the largest difference, relative to the largest value;
    `limit` is where an export is refused.

    >>> Parity("logits", 3.2e-7, 1e-4)
    logits: 3.2e-07 (refused beyond 1e-04)
    """

    what: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether it is within the limit; what is not a number is not."""
        return self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.2g} (refused beyond {self.limit:.0e})"

    def cells(self) -> dict[str, str]:
        return {"output": self.what, "largest difference": f"{self.value:.2g}", "limit": f"{self.limit:.0e}"}

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "value": self.value if math.isfinite(self.value) else None}


@dataclass(frozen=True, repr=False)
class Variant(Row):
    """What smaller numbers cost: `accuracy` is the variant's less the network's, paired by picture, and `maps` the rank
    correlation of their maps; None where there were no pictures to measure them on. `size` in bytes.

    >>> Variant("int8", 6_700_000)
    int8: 6.7 MB, not measured
    """

    name: str
    size: int
    accuracy: Score | None = None
    maps: Score | None = None

    def __str__(self) -> str:
        scores = {"accuracy": self.accuracy, "maps": self.maps}
        measured = [f"{what} {score}" for what, score in scores.items() if score is not None]
        return f"{self.name}: {self.size / 1e6:.1f} MB, {', '.join(measured) or 'not measured'}"

    def cells(self) -> dict[str, str]:
        scores = {"accuracy": self.accuracy, "maps": self.maps}
        size = f"{self.size / 1e6:.1f} MB"
        return {"variant": self.name, "size": size, **{name: "" if s is None else str(s) for name, s in scores.items()}}

    def as_json(self) -> dict[str, Any]:
        scores = {"accuracy": self.accuracy, "maps": self.maps}
        numbers = {name: None if s is None else {**s.as_json(), "n": s.n} for name, s in scores.items()}
        return {"name": self.name, "size": self.size, **numbers}


@dataclass(frozen=True, repr=False)
class Exported(Readable):
    """An export of this `kind` (a row of EXPORTS) at `path`: its `files` by name, in a folder or that one; how near it
    is to the network (`parity`), what its variants cost, what else there is to say, and its address where it was
    pushed.

    >>> Exported("onnx", Path("first.onnx"), ("first.onnx",), (Parity("logits", 3.2e-7, 1e-4),))
    onnx export, written to first.onnx
      logits: 3.2e-07 (refused beyond 1e-04)
    """

    kind: str
    path: Path
    files: tuple[str, ...]
    parity: tuple[Parity, ...]
    variants: tuple[Variant, ...] = ()
    notes: tuple[str, ...] = ()
    pushed: str = ""

    def __str__(self) -> str:
        inside = "" if self.files == (self.path.name,) else f": {', '.join(self.files)}"
        lines = [f"{self.kind} export, written to {self.path}{inside}"]
        lines += [f"  {each}" for each in (*self.parity, *self.variants)]
        return few([*lines, *self.notes, *([f"pushed to {self.pushed}"] if self.pushed else [])])

    def as_json(self) -> dict[str, Any]:
        """All of it, the path as text."""
        parity = [each.as_json() for each in self.parity]
        variants = [each.as_json() for each in self.variants]
        lists = {"files": list(self.files), "parity": parity, "variants": variants, "notes": list(self.notes)}
        return {"kind": self.kind, "path": str(self.path), **lists, "pushed": self.pushed or None}
