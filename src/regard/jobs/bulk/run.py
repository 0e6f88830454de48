"""What a bulk job did, or, as a dry run, would do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regard.records.display import Readable, counted

if TYPE_CHECKING:
    from regard.results.bulk import BulkResult


@dataclass(frozen=True, repr=False)
class BulkRun(Readable):
    """What a job did, or, as a dry run, would do: `units` of `pictures` in all, `done` of which were there before.

    `requests` are those of the units that were left, `gigabytes` what these read; `hours` is None where unknown.
    """

    out: str
    command: str
    units: int
    before: int
    pictures: int
    errors: int | None
    gigabytes: float
    requests: int
    hours: float | None = None
    is_dry: bool = False

    def __str__(self) -> str:
        left = self.units - self.before
        if not self.is_dry:
            bad = f", {counted(self.errors, 'of them')} with an error" if self.errors else ""
            return (
                f"{counted(self.pictures, 'picture')} in {counted(self.units, 'unit')}{bad}, {left} of them new, in "
                f"{self.out}"
            )
        time = "hours unknown" if self.hours is None else f"about {self.hours:.2g} hours of one worker"
        return (
            f"{counted(self.pictures, 'picture')} in {counted(self.units, 'unit')}, of which {self.before} are there; "
            f"the other {left}: {self.gigabytes:.3g} GB to read, about {self.requests:,} requests, {time}; nothing was "
            "written"
        )

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("is_dry", "hours")} | {
            "new": self.units - self.before,
            **({"hours": self.hours} if self.is_dry else {}),
            "dry_run": self.is_dry,
        }

    @property
    def result(self) -> "BulkResult":
        """What was written, to be read unit by unit."""
        from regard.jobs.bulk.results import open_result

        return open_result(self.out)


def as_json(run: BulkRun) -> dict[str, Any]:
    return run.as_json()


def as_text(run: BulkRun) -> str:
    return str(run)
