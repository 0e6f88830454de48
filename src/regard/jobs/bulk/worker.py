"""A worker: a predictor that is loaded once and does units, each from its shard to its file in the output."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from regard.data.stores import Store
from regard.errors import DataError, UsageError
from regard.jobs.bulk.columns import columns_of, fields_of
from regard.jobs.bulk.plan import Unit, check_unit
from regard.jobs.bulk.reading import Decoded, UnitReading
from regard.jobs.bulk.tasks import Task, load_task
from regard.jobs.bulk.work import Work, check_versions, device_name
from regard.results.bulk import PartWriter, part_name

LOOK = 5.0
"""Seconds after which a worker looks whether another has written the unit that it is at."""
Needed = Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """What became of a unit: `wrote` is whether this worker did it, `failure` why it could not be."""

    name: str
    pictures: int
    errors: int | None
    seconds: float
    wrote: bool
    failure: str = ""


class Worker:
    """What does units, in the process that it was made in; `close` it at the end.

    `task` is a predictor that is loaded already, for this very work. Raises `UsageError` where this process has other
    versions than the one that planned, or the network is another.
    """

    def __init__(self, work: Work, task: Task | None = None) -> None:
        check_versions(work.versions, work.command)
        self.work = work
        self.store = Store.of(work.out)
        self.task = task or load_task(work)
        if work.digest and self.task.digest != work.digest:
            raise UsageError("this worker has another network than the job; give every machine the same --model")
        self.fields = fields_of(columns_of(work.command, work.columns))
        self._readings: dict[str, UnitReading] = {}

    def do(self, unit: Unit, following: Unit | None = None, needed: Needed = lambda: True) -> Outcome:
        """Do a unit and write its file, unless that is there. The reading of `following` begins meanwhile.

        Where `needed` (asked between batches) says no, the unit is left without a trace. A shard that cannot be read is
        the outcome's `failure`; raises `OutputError` where its file cannot be written.
        """
        start = time.monotonic()
        if self.has(unit):
            self._forget(unit)
            return Outcome(unit.name, unit.pictures, None, 0.0, False)
        try:
            result = self.content(unit, following, self._still_needed(unit, needed))
        except DataError as error:
            return Outcome(unit.name, unit.pictures, None, time.monotonic() - start, False, str(error))
        if result is None:
            return Outcome(unit.name, unit.pictures, None, time.monotonic() - start, False)
        content, errors = result
        wrote = self.store.put_new(part_name(unit.name), content)
        return Outcome(unit.name, unit.pictures, errors, time.monotonic() - start, wrote)

    def content(
        self, unit: Unit, following: Unit | None = None, needed: Needed = lambda: True
    ) -> tuple[bytes, int] | None:
        """The file of a unit, and how many of its pictures could not be read; None where it is no longer needed."""
        reading = self._readings.pop(unit.name, None) or self._begin(unit)
        writer = PartWriter(self.fields)
        errors = 0
        try:
            with _threads(self.work.threads):
                for rows in _batches(reading.pictures(needed), self.work.batch_size):
                    if not needed():
                        return None
                    errors += self._append(writer, rows)
                    if following is not None and reading.is_read.is_set() and following.name not in self._readings:
                        self._readings[following.name] = self._begin(following)
        finally:
            reading.close()
        if writer.rows != unit.pictures:
            return None  # `needed` said no while the shard was waited for
        about = {
            "unit": unit.name,
            "shard": unit.label,
            "pictures": writer.rows,
            "errors": errors,
            "command": self.work.command,
            "columns": list(self.work.columns),
            "batch_size": self.work.batch_size,
            "threads": self.work.threads,
            "device": device_name(self.task.network.device),
            "precision": self.task.network.precision,
            "versions": dict(self.work.versions),
            **self.task.about,
        }
        return writer.content(about), errors

    def rate(self, units: Iterable[Unit], seconds: float) -> float | None:
        """Pictures a second, measured on the first of the units for about so long, the first batch aside; None where
        these are too few."""
        count = -1
        start = time.monotonic()
        for unit in units:
            reading = self._begin(unit)
            try:
                with _threads(self.work.threads):
                    for rows in _batches(reading.pictures(lambda: True), self.work.batch_size):
                        self._append(PartWriter(self.fields), rows)
                        if count < 0:
                            start = time.monotonic()
                        count = 0 if count < 0 else count + len(rows)
                        if time.monotonic() - start > seconds:
                            return count / (time.monotonic() - start)
            finally:
                reading.close()
        return count / (time.monotonic() - start) if count > 0 else None

    def has(self, unit: Unit) -> bool:
        """Whether the output has the unit's file."""
        try:
            self.store.head(part_name(unit.name))
        except DataError:
            return False
        return True

    def close(self) -> None:
        """Stop what is read ahead."""
        for reading in self._readings.values():
            reading.close()
        self._readings.clear()

    def _begin(self, unit: Unit) -> UnitReading:
        work = self.work

        def members(unit: Unit) -> Any:
            return check_unit(work, unit)

        return UnitReading(work.source, unit, members, self.task.decode, work.readers, 2 * work.batch_size)

    def _forget(self, unit: Unit) -> None:
        reading = self._readings.pop(unit.name, None)
        if reading is not None:
            reading.close()

    def _append(self, writer: PartWriter, rows: Sequence[Decoded]) -> int:
        """Write the rows of a batch; how many of them are errors."""
        good = [place for place, row in enumerate(rows) if row.error is None]
        errors = [row.error for row in rows]
        columns: dict[str, list[Any]] = {}
        if good:
            fields, failures = self.task.columns([rows[place] for place in good])
            for name, values in fields.items():
                columns[name] = [None] * len(rows)
                for place, value in zip(good, values, strict=True):
                    columns[name][place] = value
            for index, failure in failures.items():
                errors[good[index]] = failure
        columns["name"] = [row.key for row in rows]
        columns["sha256"] = [row.sha256 for row in rows]
        columns["truth"] = [row.label for row in rows]
        columns["error"] = errors
        writer.append(columns)
        return sum(error is not None for error in errors)

    def _still_needed(self, unit: Unit, needed: Needed) -> Needed:
        """Whether the unit is still needed: it was not told otherwise, and nobody else has written it."""
        last = time.monotonic()
        exists = False

        def look() -> bool:
            nonlocal last, exists
            if not exists and time.monotonic() - last > LOOK:
                exists = self.has(unit)
                last = time.monotonic()
            return needed() and not exists

        return look


def _batches(pictures: Iterator[Decoded], size: int) -> Iterator[list[Decoded]]:
    """Rows in order with `size` good pictures each, the last with fewer; the bad ones among them count for none."""
    rows: list[Decoded] = []
    good = 0
    for each in pictures:
        rows.append(each)
        good += each.error is None
        if good == size:
            yield rows
            rows = []
            good = 0
    if rows:
        yield rows


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """The network computes with so many threads, which decide the last bits of its numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
