"""An audit of any number of pictures from what bulk work wrote of them, and what changed since another date.

Each file is read once and leaves three sums a measure: memory does not grow with the pictures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.jobs.bulk.results import open_result
from regard.measurement.drift import Sums, drift_of, mean_of
from regard.records import Score
from regard.records.display import Readable, counted
from regard.results.bulk import BulkResult

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A number of each picture, made of `fields` of its row; NaN where it has none."""

    name: str
    label: str
    fields: tuple[str, ...]
    of: "Callable[[pa.Table], Floats]"


def _column(name: str, other: str | None = None) -> "Callable[[pa.Table], Floats]":
    """A field's values; with `other` whether the two are equal."""

    def values(table: "pa.Table") -> Floats:
        from pyarrow.compute import equal

        column = table[name] if other is None else equal(table[name], table[other])
        array: Floats = column.cast("float64").fill_null(np.nan).to_numpy()
        return array

    return values


MEASURES: Sequence[Measure] = (
    Measure("confidence", "confidence of the answer", ("confidence",), _column("confidence")),
    Measure("accuracy", "accuracy", ("label", "truth"), _column("label", "truth")),
    Measure("artifact_share", "artifact tokens, share of patches", ("artifact_share",), _column("artifact_share")),
    Measure("object_alone", "answer's probability on the object alone", ("object_alone",), _column("object_alone")),
    Measure(
        "background_alone",
        "answer's probability on the background alone",
        ("background_alone",),
        _column("background_alone"),
    ),
    Measure(
        "unreadable",
        "pictures that could not be read",
        ("error",),
        lambda table: table["error"].is_valid().cast("float64").to_numpy(),
    ),
)
"""What is measured where a result has the fields."""


@dataclass(frozen=True, repr=False)
class Change(Readable):
    """A measure now, before, and the drift between, each with its 95 % interval; without a date before, None."""

    name: str
    label: str
    now: Score
    before: Score | None = None
    drift: Score | None = None

    def __str__(self) -> str:
        if self.before is None or self.drift is None:
            return f"{self.label}: {self.now}"
        return f"{self.label}: {self.now}, before {self.before}; drift {self.drift}: {self.verdict}"

    @property
    def verdict(self) -> str:
        """Whether the interval of the drift leaves 0 out."""
        if self.drift is None or not (np.isfinite(self.drift.low) and np.isfinite(self.drift.high)):
            return "not decidable" if self.drift is None or self.drift.value != 0 else "no drift is seen"
        if self.drift.low > 0:
            return "it rose"
        return "it fell" if self.drift.high < 0 else "no drift is seen"

    def as_json(self) -> dict[str, Any]:
        scores = {"now": self.now, "before": self.before, "drift": self.drift}
        return {name: score.as_json() for name, score in scores.items() if score is not None} | (
            {} if self.drift is None else {"verdict": self.verdict}
        )


@dataclass(frozen=True, repr=False)
class BulkAudit(Readable):
    """The measures of a bulk result. `is_paired` says that both dates have the same pictures, whose differences were
    taken one by one; `note` what else differs between the two."""

    pictures: int
    changes: tuple[Change, ...]
    is_paired: bool = False
    note: str = ""

    def __str__(self) -> str:
        paired = " (the same pictures at both dates, paired)" if self.is_paired else ""
        lines = [f"audit of {counted(self.pictures, 'picture')}{paired}", *map(str, self.changes)]
        return "\n".join([*lines, *filter(None, [self.note])])

    def __getitem__(self, name: str) -> Change:
        return next(change for change in self.changes if change.name == name)

    def as_json(self) -> dict[str, Any]:
        about = {"pictures": self.pictures, "paired": self.is_paired, **({"note": self.note} if self.note else {})}
        return {**about, "measures": {change.name: change.as_json() for change in self.changes}}


def as_json(audit: BulkAudit) -> dict[str, Any]:
    return audit.as_json()


def as_text(audit: BulkAudit) -> str:
    return str(audit)


def audit_bulk(place: Path | str, before: Path | str | None = None) -> BulkAudit:
    """What a bulk result says of its network and pictures, and how that differs from another one `before`.

    Raises `DataError` for what is no finished result, and where the two have no measure in common.
    """
    now = open_result(place)
    then = None if before is None else open_result(before)
    fields = {*now.fields} if then is None else {*now.fields} & {*then.fields}
    measures = [measure for measure in MEASURES if {*measure.fields} <= fields]
    if not any(measure.name != "unreadable" for measure in measures):
        raise DataError(
            f"{place} has no columns that an audit reads; they are in what `regard predict DATA --out OUT --jobs local "
            "--columns label,confidence,artifacts,truth` writes"
        )
    sums: dict[str, list[list[tuple[float, float, float]]]] = {measure.name: [[], [], []] for measure in measures}
    is_paired = then is not None
    for here, other in zip_longest(_values(now, measures), () if then is None else _values(then, measures)):
        is_paired = is_paired and here is not None and other is not None and here[0] == other[0]
        for measure in measures:
            columns = [None if side is None else side[1][measure.name] for side in (here, other)]
            for which, values in enumerate(columns):
                if values is not None:
                    sums[measure.name][which].append(_sums(values))
            if is_paired and columns[0] is not None and columns[1] is not None:
                sums[measure.name][2].append(_sums(columns[0] - columns[1]))
    changes = []
    for measure in measures:
        first, second, paired = map(Sums.of, sums[measure.name])
        change = Change(measure.name, measure.label, mean_of(first))
        if then is not None:
            drift = mean_of(paired) if is_paired else drift_of(first, second)
            change = Change(measure.name, measure.label, change.now, mean_of(second), drift)
        changes.append(change)
    return BulkAudit(len(now), tuple(changes), is_paired, "" if then is None else _note(now, then))


def _values(result: BulkResult, measures: Sequence[Measure]) -> Iterator[tuple[Any, Mapping[str, Floats]]]:
    """Of each unit the pictures' hashes, and each measure's values."""
    fields = dict.fromkeys(["name", "sha256", "error", *(field for measure in measures for field in measure.fields)])
    for _, table in result.tables(list(fields)):
        yield table.select(["name", "sha256"]), {measure.name: measure.of(table) for measure in measures}


def _sums(values: Floats) -> tuple[float, float, float]:
    valid = values[np.isfinite(values)]
    return float(len(valid)), float(valid.sum()), float(valid @ valid)


def _note(now: BulkResult, before: BulkResult) -> str:
    """What else than the pictures differs, which a drift may be of."""
    about = ("network", "versions", "batch_size", "max_pixels")
    names = [name for name in about if now.manifest[name] != before.manifest[name]]
    if not names:
        return ""
    return f"the two differ in {', '.join(name.replace('_', ' ') for name in names)} too: a drift may be theirs"
