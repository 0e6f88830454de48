"""What a training reports as it goes: `metrics.jsonl` (no times in it), `timing.jsonl`, progress, trackers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.files import json_text, write_file, writing
from regard.training.tracking import Tracking, numbers

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"


@dataclass(frozen=True)
class Progress:
    """How far a phase is: steps done of all, seconds left (None while unknown), and the loss of late.

    Where the whole training is known beforehand, `step` says in words which of its steps this is, and `left` is of all.
    """

    phase: str
    done: int
    total: int
    left: float | None = None
    loss: float | None = None
    step: str = ""


def silent(progress: Progress) -> None:
    """The report that goes nowhere."""


@dataclass
class Journal:
    """The lines of a run. Only the first process writes; `rows` are the same in all of them.

    `place` puts a phase's progress into that of the whole.
    """

    folder: Path
    main: bool = True
    report: Callable[[Progress], None] = silent
    place: Callable[[Progress], Progress] = lambda progress: progress
    tracking: Tracking = field(default_factory=Tracking)
    rows: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def row(self, **values: Any) -> None:
        """One line of metrics, for people to watch; the whole file is written again when the run goes on or ends."""
        self.rows.append(values)
        if self.main:
            _append(self.folder / METRICS, values)
            self.tracking.log(len(self.rows) - 1, numbers(values))

    def time(self, **values: Any) -> None:
        """One line of times."""
        if self.main:
            _append(self.folder / TIMING, values)

    def message(self, message: str) -> None:
        """Something that the user should know: it is warned of in the end, and the page repeats it."""
        self.messages.append(message)

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Back to the lines of a checkpoint: what was written after it is cut."""
        self.rows = list(rows)
        if self.main:
            write_file(self.folder / METRICS, json_lines(rows))

    def progress(self, progress: Progress) -> None:
        """Tell how far it is, in the first process."""
        if self.main:
            self.report(self.place(progress))


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(f"{json_text(row)}\n" for row in rows)


def _append(path: Path, row: Mapping[str, Any]) -> None:
    with writing(path), path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json_lines([row]))
