"""What an audit is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

FEW_PICTURES = 24
"""The pictures on which occluders are tried, and on which pixels are taken away too, with `full`."""
PLANTED_PICTURES = 12
"""Those of them for which an adversary and a ceiling are made."""


@dataclass(frozen=True)
class AuditSettings:
    """What is measured. `methods` are names of METHODS, by default those of DEFAULT_METHODS that the network allows;
    `maps` a folder of maps from outside. `steps` are those of a removal curve; `full` takes all occluders, `in_domain`
    gives a second verdict, on a copy that knows removal. `group` and `slices` name columns of the data. `batch_size`
    pictures are a chunk; `workers` threads read ahead."""

    methods: tuple[str, ...] = ()
    maps: Path | None = None
    group: str | None = None
    slices: tuple[str, ...] = ()
    steps: int = 10
    full: bool = False
    in_domain: bool = False
    seed: int = 0
    batch_size: int = 8
    workers: int = 2
    skip_bad: bool = False

    def as_json(self) -> dict[str, Any]:
        """What decides the numbers."""
        maps: dict[str, Any] = {} if self.maps is None else {"maps": self.maps.name}
        names = ("steps", "full", "seed", "group", "batch_size")
        about = {"methods": list(self.methods), "slices": list(self.slices)}
        maps |= {"in_domain": True} if self.in_domain else {}
        return about | {name: getattr(self, name) for name in names} | maps
