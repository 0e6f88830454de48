"""How the probability of a class goes while the patches go that a map calls important, and while the others go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from regard.records.display import Readable


@dataclass(frozen=True, repr=False)
class RemovalCurve(Readable):
    """The probability of class `target` while a map's patches go in equal steps, from all there to all gone.

    In `mif` the most influential go first, in `lif` the least; 11 points each for ten steps. `occluder` is what stands
    in the place of what is gone: "tokens" (nothing) or "mean" (the mean colour).

    >>> curve = RemovalCurve(3, "tokens", (0.9, 0.2, 0.1), (0.9, 0.8, 0.1))
    >>> curve
    SRG 0.300 (tokens gone, class 3)
    >>> RemovalCurve.from_json(curve.as_json()) == curve
    True
    """

    target: int
    occluder: str
    mif: tuple[float, ...]
    lif: tuple[float, ...]

    def __str__(self) -> str:
        return f"SRG {self.srg:.3f} ({self.occluder} gone, class {self.target})"

    @property
    def srg(self) -> float:
        """The symmetric relevance gain, -1 to 1: the area under `lif` less that under `mif`, by trapezoids over the
        share removed, 0 to 1 (Blücher et al. 2024, arXiv 2401.06654). A map that says nothing has 0."""
        return float(np.trapezoid(np.subtract(self.lif, self.mif), dx=1 / (len(self.mif) - 1)))

    def as_json(self) -> dict[str, Any]:
        """The curves, and the `srg` that follows from them."""
        curves = {"mif": list(self.mif), "lif": list(self.lif)}
        return {"target": self.target, "occluder": self.occluder, "srg": self.srg, **curves}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """From what `as_json` gave; None for None."""
        if stored is None:
            return None
        return cls(stored["target"], stored["occluder"], tuple(stored["mif"]), tuple(stored["lif"]))
