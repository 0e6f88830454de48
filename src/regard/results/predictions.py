"""Predictions on their way to the disk: a CSV `filename,label`, streamed; an interruption does not change its bytes."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from regard.files import put_file, write_json
from regard.results.writer import PROGRESS, ResumableWriter

PROBABILITY = "p:"
SLICE = "slice:"
"""What a slice's column begins with, as a user's column may be called anything."""
"""What the column of a class's probability begins with, so that a class called `label` is no trouble."""
FILE = "predictions.csv"


class PredictionWriter(ResumableWriter):
    """Rows of predictions: what `regard predict` leaves when it is stopped."""

    command = "predict"
    columns: Sequence[str] = ()
    """The classes whose probabilities follow the label, to be set before the first row."""

    def append(self, name: str, label: str, probabilities: Iterable[float] = ()) -> None:
        """Write a row, which counts only when it is committed."""
        self.write(FILE, prediction_row(name, label, probabilities).encode("utf-8", "surrogateescape"))
        self.n += 1

    def header(self, name: str) -> bytes:
        return prediction_header(self.columns).encode("utf-8", "surrogateescape")

    def finish_file(self, out: Path) -> None:
        """Put the file in its place."""
        put_file(self.finish(FILE), out)
        self.remove()

    def _stored(self) -> dict[str, Any] | None:
        """The same, of what a version left that had its rows in `OUT.part` and its progress in `OUT.part.json`."""
        self._adopt_file()
        return super()._stored()

    def _adopt_file(self) -> None:
        progress = self.folder.with_name(f"{self.folder.name}.json")
        try:
            stored = json.loads(progress.read_text(encoding="utf-8"))
            whole = {"n": stored["rows"], "pictures": stored["pictures"], "sizes": {FILE: stored["bytes"]}}
            fingerprint = stored["of"]
        except (OSError, ValueError, KeyError, TypeError):
            return
        if self.folder.is_file():
            rows = self.folder.rename(self.folder.with_name(f".{self.folder.name}"))
            self.result.mkdir(parents=True)
            rows.rename(self.folder / FILE)
            write_json(self.folder / PROGRESS, {"kind": self.kind, "of": fingerprint, "whole": whole})
            progress.unlink()


def prediction_header(classes: Sequence[str] = ()) -> str:
    """The first line of a predictions CSV; with a column `p:CLASS` for each class where probabilities follow."""
    return _line(["filename", "label", *(f"{PROBABILITY}{name}" for name in classes)])


def prediction_row(name: str, label: str, probabilities: Iterable[float] = ()) -> str:
    """A line of a predictions CSV; probabilities with nine digits, which give float32 back exactly."""
    return _line([name, label, *(f"{value:.9g}" for value in probabilities)])


def _line(fields: Sequence[str]) -> str:
    """One CSV line; the writer quotes what is in its own line end, so it is told both signs of it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return text.getvalue()[:-2] + "\n"
