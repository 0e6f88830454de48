"""DATA as a table: a `.csv` with `filename` (or `name`) and `label`, and whatever other columns there are.

A table of captions has `caption` instead of `label`, and as many rows for a picture as it has captions.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from regard.data.dataset import Picture, listed, safe_name, several, short_names, split_name
from regard.data.layouts.finder import FileFinder
from regard.data.openers import PAGE, FileOpener
from regard.errors import DataError

INDEX = "index.csv"
_COLUMNS = ("filename", "name", "label", "split")
_RESERVED = (*_COLUMNS, "caption")
"""Columns with a meaning, whose names are known in any case."""
_SIGNS = ("|", ";", ",")


@dataclass(frozen=True)
class _Row:
    """A line of the table: the file as the user wrote it and where that is (None when it is nowhere)."""

    line: int
    text: str
    path: Path | None
    fields: Mapping[str, str]


def is_table(source: str) -> bool:
    return Path(source).suffix.lower() == ".csv" and Path(source).is_file()


def has_index(source: str) -> bool:
    return (Path(source) / INDEX).is_file()


def read_index(source: str, labels: bool) -> list[Picture]:
    """The pictures of the table in a folder."""
    return read_table(Path(source) / INDEX, labels)


def read_table(file: Path | str, labels: bool = True) -> list[Picture]:
    """The pictures of a `.csv`, in its order, their files relative to it or to `images/` beside it.

    `filename` is a path; `name` may lack the ending. `label` is needed unless `labels` is False; `split` is optional,
    but then every row has one; all other columns are kept as text. The separator is the comma, semicolon or tab of
    the first line. Raises `DataError` naming file, line and what is wrong there.
    """
    file = Path(file)
    header, lines = _lines(file)
    key = _key_column(file, header, labels)
    find = _Finder(file.parent)
    rows = [_Row(line, fields[key], find(fields[key]), fields) for line, fields in lines]
    if not rows:
        raise DataError(f"{file} has a header but no rows; each picture needs one")
    _check_files(file, rows)
    if labels:
        _check_single_labels(file, rows)
    _check_twice(file, rows)
    _check_splits(file, rows)
    return [_picture(file.parent, row, name) for row, name in zip(rows, _names(file.parent, rows), strict=True)]


def read_captioned_table(file: Path, are_needed: bool = True) -> list[Picture]:
    """The pictures of a `.csv` with the columns `filename` and `caption`, each with the captions of all its rows.

    In the order in which pictures first appear; `split` is optional and one for a picture. Where not all `are_needed`,
    those that are not there are left out. Raises `DataError` naming file, line and what is wrong there.
    """
    header, lines = _lines(file)
    key = _key_column(file, header, labels=False)
    if "caption" not in header:
        raise DataError(
            f"{file} has no column 'caption'; its columns are {', '.join(header)}; the first line must name "
            "filename,caption (and may name split and others)"
        )
    find = _Finder(file.parent)
    rows = [_Row(line, fields[key], find(fields[key]), fields) for line, fields in lines]
    if not rows:
        raise DataError(f"{file} has a header but no rows; each caption needs one")
    if not are_needed:
        rows = [row for row in rows if row.path is not None] or rows
    _check_files(file, rows)
    _check_splits(file, rows)
    together: dict[Path, list[_Row]] = {}
    for row in rows:
        together.setdefault(row.path or file, []).append(row)
    names = _names(file.parent, [each[0] for each in together.values()])
    return [_captioned(file, each, name) for each, name in zip(together.values(), names, strict=True)]


def _captioned(file: Path, rows: Sequence[_Row], name: str) -> Picture:
    """One picture with the captions of all its rows."""
    splits = sorted({split_name(row.fields.get("split", "")) for row in rows})
    if len(splits) > 1:
        raise DataError(
            f"{file}, line {rows[0].line}: {rows[0].text!r} is in {listed(splits)}; give a picture one split"
        )
    captions = tuple({"caption": row.fields["caption"]} for row in rows)
    picture = _picture(file.parent, rows[0], name)
    columns = {name: value for name, value in picture.columns.items() if name != "caption"}
    return replace(picture, columns=columns, annotations=captions)


def _names(folder: Path, rows: Sequence[_Row]) -> list[str]:
    """The pictures' names: relative to the folder; of absolute paths that lead elsewhere, what tells them apart."""
    names = []
    elsewhere = {}
    for index, row in enumerate(rows):
        path = row.path or folder  # never None once the files are checked
        base = folder if path.is_relative_to(folder) else folder.absolute()
        names.append(safe_name(path.relative_to(base).as_posix() if path.is_relative_to(base) else row.text))
        if not path.is_relative_to(base):
            elsewhere[index] = path.as_posix()
    inside = {name for index, name in enumerate(names) if index not in elsewhere}
    for index, name in zip(elsewhere, short_names(list(elsewhere.values())), strict=True):
        names[index] = f"elsewhere/{name}" if name in inside else name
    return names


def _picture(folder: Path, row: _Row, name: str) -> Picture:
    path = row.path or folder
    columns = {name: value for name, value in row.fields.items() if name not in _COLUMNS}
    split = split_name(row.fields.get("split", "")) or None
    label = row.fields.get("label") or None
    return Picture(name, FileOpener.of(path), label, split, columns, filename=row.text)


def _lines(file: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The column names, and for each row its line number and fields by name; blank lines are left out."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            text.seek(0)
            reader = csv.reader(text, delimiter=max(",;\t", key=first.count), strict=True)
            names = [name.strip() for name in next(reader, [])]
            header = [name.lower() if name.lower() in _RESERVED else name for name in names]
            rows = [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is not a table that can be read ({error}); it must be CSV in UTF-8") from error
    return header, [(line, _fields(file, header, line, row)) for line, row in rows]


def _fields(file: Path, header: Sequence[str], line: int, row: Sequence[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise DataError(
            f"{file}, line {line}: {len(row)} fields, but the header has {len(header)}; put quotes around a field with "
            "the separator in it"
        )
    return {name: field.strip() for name, field in zip(header, row, strict=True)}


def _key_column(file: Path, header: Sequence[str], labels: bool) -> str:
    """`filename` or `name`, once it is sure that the columns are usable."""
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{file}: {several(twice, 'column')} there twice; give each column its own name")
    key = next((name for name in ("filename", "name") if name in header), None)
    missing = ([] if key else ["filename"]) + ([] if "label" in header or not labels else ["label"])
    if key is None or missing:
        raise DataError(
            f"{file} has no column {' and no column '.join(repr(name) for name in missing)}; its columns are "
            f"{', '.join(header) or 'none'}; the first line must name filename,label (and may name split and others)"
        )
    return key


class _Finder:
    """Finds files by a path, or by a name without its ending, in a folder or in `images/` below it."""

    def __init__(self, folder: Path) -> None:
        self.places = [folder, folder / "images"]
        self.finder = FileFinder()

    def __call__(self, text: str) -> Path | None:
        if not text:
            return None
        whole = (self.finder.file(place, text) for place in self.places)
        shortened = (self.finder.without_ending(place, text.replace("\\", "/")) for place in self.places)
        path = next(filter(None, chain(whole, shortened)), None)
        file, sign, page = text.rpartition(PAGE)
        if path is None and sign and page.isdecimal() and (path := self(file)) is not None:
            return path.with_name(f"{path.name}{sign}{page}")
        return path


def _check_files(file: Path, rows: Sequence[_Row]) -> None:
    """Every row's picture must be there."""
    missing = [row for row in rows if row.path is None]
    if missing:
        more = f" (and {len(missing) - 1} more of {len(rows)} are missing)" if len(missing) > 1 else ""
        raise DataError(
            f"{file}, line {missing[0].line}: there is no picture {missing[0].text!r}{more}; paths are relative to "
            f"{file.parent} or its images/"
        )


def _check_twice(file: Path, rows: Sequence[_Row]) -> None:
    """No picture may stand in two rows; with two labels it would be one of several labels."""
    first: dict[Path, _Row] = {}
    for row in rows:
        before = first.setdefault(row.path or file, row)
        if before is row:
            continue
        one = before.fields.get("label", "")
        two = row.fields.get("label", "")
        if one != two:
            raise DataError(
                f"{file}, line {row.line}: {row.text!r} has the label {two!r}, and {one!r} in line {before.line}; "
                "keep one row for each picture; several labels are written into it as 'cat|dog' (--task multilabel)"
            )
        raise DataError(f"{file}, line {row.line}: {row.text!r} stands in line {before.line} already; remove one")


def _check_single_labels(file: Path, rows: Sequence[_Row]) -> None:
    """A label that lists labels of other pictures (`cat|dog`) is several."""
    labels = {row.fields["label"] for row in rows}
    for row in rows:
        label = row.fields["label"]
        for sign in _SIGNS:
            parts = {part.strip() for part in label.split(sign)}
            if len(parts) > 1 and parts <= labels:
                raise DataError(
                    f"{file}, line {row.line}: {row.text!r} has the labels {label!r}; several labels per picture, "
                    "written as 'cat|dog', are learnt with --task multilabel; give that, or each picture one label"
                )


def _check_splits(file: Path, rows: Sequence[_Row]) -> None:
    """A column of splits is filled for all rows or for none."""
    without = [row for row in rows if not row.fields.get("split")]
    if 0 < len(without) < len(rows):
        splits = sorted({row.fields["split"] for row in rows if row.fields["split"]})
        raise DataError(
            f"{file}, line {without[0].line}: no split, as in {len(without)} of {len(rows)} rows, while others have "
            f"{listed(splits)}; fill in all or none"
        )
