"""Predictions made elsewhere: a CSV `filename,label`, matched with the pictures of a data set by name."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import composed, listed, safe_name, several
from regard.errors import DataError, unknown
from regard.records import Predictions
from regard.results.predictions import PROBABILITY

TOLERANCE = 1e-2
"""How far from 1 probabilities may sum: they were rounded when they were written."""


class _Reader(Protocol):
    """What `csv.reader` gives: rows, and the line it is at."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


@dataclass(frozen=True)
class _Table:
    """The file's rows: where each stands, its file and label, its confidence (NaN: none) and probabilities."""

    file: Path
    lines: list[int]
    names: list[str]
    labels: list[str]
    confidence: NDArray[np.float32] | None  # (rows,)
    probabilities: NDArray[np.float32] | None  # (rows, columns)
    columns: tuple[str, ...]  # the classes of the columns


def read_predictions(
    file: Path | str,
    names: Sequence[str],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    filenames: Sequence[str] | None = None,
    ignore_extra: bool = False,
) -> Predictions:
    """The predictions in a CSV for the pictures `names` with these `labels` (indices into `classes`), in their order.

    Columns: `filename`, `label`, and where they are known `p:CLASS` for every class (those of further classes make the
    classes more) or `confidence`, the probability of the predicted class, which counts only without the others. A row
    belongs to the picture of that path, as in `names` or in `filenames` (as the user calls them), or to the only one
    whose path ends with it or that it ends with, with or without the file's ending. `ignore_extra` drops rows of other
    pictures.

    Raises `DataError` naming file, line and what is wrong: columns, pictures missing, twice or not in the data, labels
    that are no class (the nearest are offered), probabilities that are none or do not sum to 1.
    """
    table = _read(Path(file))
    order = _matched(table, names, filenames or names, ignore_extra)
    every = _classes(table, classes)
    probabilities = None
    if table.probabilities is not None:
        place = {name: index for index, name in enumerate(table.columns)}
        probabilities = table.probabilities[order][:, [place[name] for name in every]]  # (pictures, classes)
    return Predictions(
        names=tuple(names),
        classes=every,
        predicted=_predicted(table, order, every),
        labels=labels,
        probabilities=probabilities,
        confidence=None if probabilities is not None or table.confidence is None else table.confidence[order],
        filenames=None if filenames is None else tuple(filenames),
    )


def check_file(file: Path | str) -> None:
    """Raise `DataError` where there is no such file."""
    if not Path(file).is_file():
        raise DataError(f"there is no file {file}; predictions come as a CSV with the columns filename,label")


def _read(file: Path) -> _Table:
    """The CSV, its columns and numbers checked. The separator is the comma, semicolon or tab of the first line."""
    check_file(file)
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            first = text.readline()
            if "\0" in first:
                raise csv.Error("it holds zero bytes, as UTF-16 does")
            text.seek(0)
            reader = csv.reader(text, delimiter=max(",;\t", key=first.count), strict=True)
            header = next(reader, [])
            places = _columns(file, header)
            return _rows(file, reader, header, places)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a table that can be read ({error}); it must be CSV in UTF-8") from error


def _columns(file: Path, header: Sequence[str]) -> dict[str, int]:
    """The place of each column by name, `filename` and `label` among them, none twice."""
    names = [name if name.startswith(PROBABILITY) else name.strip().lower() for name in header]
    for name in ("filename", "label"):
        if name not in names:
            columns = listed(header) if header else "nothing"
            raise DataError(
                f"{file} has no column {name!r}: its first line holds {columns}; it must name filename,label"
            )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{file} has the column {twice[0]!r} more than once; each must have its own name")
    return {name: place for place, name in enumerate(names)}


def _rows(file: Path, reader: "_Reader", header: Sequence[str], places: dict[str, int]) -> _Table:
    """Row by row into arrays: as text, the probabilities of a thousand classes would not fit the memory."""
    chosen = [place for name, place in places.items() if name.startswith(PROBABILITY)]
    confidence = [places["confidence"]] if "confidence" in places else []
    table = _Table(file, [], [], [], None, None, tuple(header[place][len(PROBABILITY) :] for place in chosen))
    probabilities: list[NDArray[np.float32]] = []  # (columns,) each
    confidences: list[NDArray[np.float32]] = []  # (1,) each, or (0,)
    for row in reader:
        if not any(field.strip() for field in row):
            continue
        line = reader.line_num
        if len(row) != len(header):
            raise DataError(
                f"{file}, line {line}: {len(row)} fields, but the header has {len(header)}; quote separators"
            )
        table.lines.append(line)
        table.names.append(row[places["filename"]])
        table.labels.append(row[places["label"]])
        probabilities.append(_numbers(file, line, row, chosen))
        confidences.append(_numbers(file, line, row, confidence))
    if not table.names:
        raise DataError(f"{file} has a header but no rows; each picture needs one")
    return _Table(
        file,
        table.lines,
        table.names,
        table.labels,
        np.stack(confidences)[:, 0] if confidence else None,
        _whole(table, np.stack(probabilities)) if chosen else None,
        table.columns,
    )


def _numbers(file: Path, line: int, row: Sequence[str], places: Sequence[int]) -> NDArray[np.float32]:
    """The probabilities in these places of a row, each in [0, 1]."""
    try:
        values = np.array([float(row[place]) for place in places], np.float64)
    except ValueError as error:
        raise DataError(f"{file}, line {line}: a probability is not a number ({error}); write it as 0.25") from error
    if not ((values >= 0) & (values <= 1)).all():
        wrong = values[~((values >= 0) & (values <= 1))][0]
        raise DataError(
            f"{file}, line {line}: {wrong:g} is not a probability, which lies in 0 to 1; apply a softmax to logits, "
            "divide percentages by 100"
        )
    return values.astype(np.float32)


def _whole(table: _Table, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probabilities with rows that sum to 1, once they are known to be off by rounding only."""
    sums = values.sum(axis=1, dtype=np.float64)
    off = np.abs(sums - 1)
    if off.max() > TOLERANCE:
        row = int(off.argmax())
        raise DataError(
            f"{table.file}, line {table.lines[row]}: the probabilities sum to {sums[row]:.4g}, not 1; apply a softmax, "
            f"give all classes, or leave the {PROBABILITY} columns out"
        )
    rounded = off > 1e-5
    values[rounded] /= sums[rounded, None].astype(np.float32)
    return values


def _matched(table: _Table, names: Sequence[str], filenames: Sequence[str], ignore_extra: bool) -> NDArray[np.int64]:
    """(pictures,) the row of each picture."""
    find = _Finder(names, filenames)
    row_of: dict[int, int] = {}
    extra = []
    for row, name in enumerate(table.names):
        fits = find(name)
        if len(fits) > 1:
            several_fit = listed([names[place] for place in fits])
            raise DataError(
                f"{table.file}, line {table.lines[row]}: {name!r} fits {len(fits)} pictures ({several_fit}); write the "
                "path as in the data"
            )
        if not fits:
            extra.append(name)
        elif fits[0] in row_of:
            line = table.lines[row_of[fits[0]]]
            raise DataError(
                f"{table.file}, line {table.lines[row]}: {name!r} is the picture {names[fits[0]]!r}, which has a row "
                f"in line {line} already; each picture must have one"
            )
        else:
            row_of[fits[0]] = row
    _check_complete(table, names, row_of, [] if ignore_extra else extra)
    return np.array([row_of[place] for place in range(len(names))], np.int64)


def _check_complete(table: _Table, names: Sequence[str], row_of: dict[int, int], extra: Sequence[str]) -> None:
    missing = [name for place, name in enumerate(names) if place not in row_of]
    if missing and not row_of:
        raise DataError(
            f"{table.file} names none of the {len(names)} pictures: its first row is {table.names[0]!r}, the first "
            f"picture {names[0]!r}; file names must be as in the data"
        )
    if missing:
        raise DataError(f"{table.file}: {several(missing, 'picture')} without a row; predict all that are to be scored")
    if extra:
        raise DataError(
            f"{table.file}: {several(extra, 'row')} not of the {len(names)} pictures to be scored; remove them, or "
            "choose the split that they belong to"
        )


class _Finder:
    """Which pictures a file name fits."""

    def __init__(self, names: Sequence[str], filenames: Sequence[str]) -> None:
        self.filenames = {composed(filename): place for place, filename in enumerate(filenames)}
        self.exact = {safe_name(composed(name)): place for place, name in enumerate(names)}
        self.forms: dict[str, list[tuple[str, int]]] = defaultdict(list)  # by the last part: (form, picture)
        for place, name in enumerate(map(safe_name, map(composed, names))):
            for form in {name, name.removesuffix(PurePosixPath(name).suffix)}:
                self.forms[form.rpartition("/")[2]].append((form, place))

    def __call__(self, path: str) -> list[int]:
        """The places of the pictures that fit. Folders that both name must agree: `a/1.jpg` is not `b/1.jpg`."""
        path = composed(path.strip())
        if path in self.filenames:
            return [self.filenames[path]]
        name = safe_name(path)
        if name in self.exact:
            return [self.exact[name]]
        near = self.forms.get(name.rpartition("/")[2], [])
        return sorted(
            {place for form, place in near if f"/{form}".endswith(f"/{name}") or f"/{name}".endswith(f"/{form}")}
        )


def _classes(table: _Table, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes of the data, and behind them those that only the file has columns for."""
    lacking = [name for name in classes if name not in set(table.columns)]
    if table.columns and lacking:
        raise DataError(
            f"{table.file} has no column {PROBABILITY + lacking[0]!r}; there must be one for each of the "
            f"{len(classes)} classes, or none that begins with {PROBABILITY}"
        )
    return tuple(dict.fromkeys([*classes, *table.columns]))


def _predicted(table: _Table, order: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.int64]:
    """(pictures,) the index of each predicted class."""
    index = {name.strip(): place for place, name in enumerate(classes)} | {
        name: place for place, name in enumerate(classes)
    }
    for row in order:
        if table.labels[row] not in index and table.labels[row].strip() not in index:
            message = unknown("label", table.labels[row], classes)
            raise DataError(f"{table.file}, line {table.lines[row]}: {message} It must be one of the data's classes.")
    labels = [table.labels[row] for row in order]
    return np.array([index.get(label, index.get(label.strip(), -1)) for label in labels], np.int64)
