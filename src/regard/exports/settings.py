"""What an export may be asked for: nothing here imports torch."""

from dataclasses import dataclass, fields
from pathlib import Path

from regard.errors import UsageError, unknown

VARIANTS = ("fp32", "fp16", "int8")
COMMON = ("push_to", "overwrite")
"""Settings that are no export's own: what is done with any of them."""


@dataclass(frozen=True)
class ExportSettings:
    """All settings of all exports, at their defaults where left out; each export takes those that its row names.

    `variant` is how the weights are stored, one of VARIANTS; `prepare` puts the preparation of pictures inside; `opset`
    is ONNX's; `single` asks for one file in the place of a folder; `runtime` is the folder of a runtime that goes
    along; `data` are pictures to measure variants on. `batch` fixes how many pictures go in at once (None: any number),
    and `dynamic` lets their height and width vary. `push_to` is the hub's OWNER/NAME that the export goes to as well.
    """

    variant: str = "fp32"
    prepare: bool = False
    opset: int | None = None
    single: bool = False
    runtime: Path | None = None
    data: Path | None = None
    batch: int | None = None
    dynamic: bool = False
    push_to: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown("variant", self.variant, VARIANTS)
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch is {self.batch}; give how many pictures go in at once, or leave it out for any")

    def chosen(self) -> tuple[str, ...]:
        """The settings of exports that are not at their defaults."""
        special = (each for each in fields(self) if each.name not in COMMON)
        return tuple(each.name for each in special if getattr(self, each.name) != each.default)
