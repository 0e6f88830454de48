"""A settings file as it is written: its sections and entries, each with the line it stands in."""

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import UsageError

NAME = "regard.toml"
"""The file that is read where it stands in the working folder."""
NONE = "none"
"""What `--config` says where no file is to be read."""
LARGEST = 100_000
"""Bytes; what is larger is no file of settings."""


@dataclass(frozen=True)
class Entry:
    """One line `key = value` of a section, "" for none."""

    section: str
    key: str
    value: Any
    line: int


@dataclass(frozen=True)
class ConfigFile:
    """What stands in the file at `path`; `sections` by name, with the line of their heading."""

    path: Path
    sections: dict[str, int]
    entries: tuple[Entry, ...]

    def place(self, line: int) -> str:
        """Where a line is, for people."""
        return f"{self.path}, line {line}"

    def error(self, line: int, text: object) -> UsageError:
        return UsageError(f"{self.place(line)}: {text}")


def find_config(place: str | Path | None) -> Path | None:
    """The file that was named, or the one of the working folder; None where there is neither.

    Raises `UsageError` where the named one is not there.
    """
    if place is None:
        return Path(NAME) if Path(NAME).is_file() else None
    if str(place) == NONE:
        return None
    if not Path(place).is_file():
        raise UsageError(
            f"there is no file of settings {place}; give the path of one as --config, or --config none to read none"
        )
    return Path(place)


def read_config(path: Path) -> ConfigFile:
    """Read a file of settings. Raises `UsageError` with the line where it is no TOML, or names something twice."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; mend it, or give --config none") from error
    if len(content) > LARGEST:
        raise UsageError(f"{path} has {len(content):,} bytes, which is no file of settings; {LARGEST:,} are allowed")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}, line {line}: is not UTF-8; save it as UTF-8, as TOML is") from error
    sections: dict[str, int] = {}
    entries: dict[tuple[str, str], Entry] = {}
    config = ConfigFile(path, sections, ())
    section = ""
    for line, statement, table in _statements(text):
        if statement.startswith("["):
            section = _heading(table)
            if section in sections:
                twice = f"[{section}] stands twice, first in line {sections[section]}; put both together"
                raise config.error(line, twice)
            sections[section] = line
            continue
        for entry in _entries(section, table, line):
            sections.setdefault(entry.section, line)
            key = (entry.section, option_name(entry.key))
            if key in entries:
                where = f"[{entry.section}]" if entry.section else "the file"
                first = entries[key].line
                raise config.error(line, f"{entry.key} stands twice in {where}, first in line {first}; leave one out")
            entries[key] = entry
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, text, str(error)) from error
    return ConfigFile(path, sections, tuple(entries.values()))


def option_name(key: str) -> str:
    """A key as the command line writes it: `batch_size` and `batch-size` are the same."""
    return key.replace("_", "-")


def resolved(path: Path, value: str) -> str:
    """A path that a file of settings names, which is relative to the file; a name that is no path stays as it is.

    What is there is a path, and so is what has a slash and is no address (`s3://...`) or `hf:ID`.
    """
    folder = path.parent
    if folder == Path() or Path(value).is_absolute() or ":" in value:
        return value
    beside = os.path.normpath(folder / Path(value).expanduser())
    return beside if os.sep in value or "/" in value or Path(beside).exists() else value


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Each statement with its first line: as many lines as are TOML together, as TOML alone says no lines."""
    lines: list[str] = []
    first = 1
    for number, line in enumerate(text.split("\n"), 1):
        if not lines:
            first = number
        lines.append(line)
        statement = "\n".join(lines)
        try:
            table = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # a list or a text that goes on; or an error, which the whole file tells
        lines.clear()
        if table:
            yield first, statement.lstrip(), table


def _heading(table: Any) -> str:
    """The name of a section from what its heading alone is in TOML: {"train": {}}."""
    names: list[str] = []
    while isinstance(table, dict) and table:
        name, table = next(iter(table.items()))
        names.append(name)
    return ".".join(names)


def _entries(section: str, table: dict[str, Any], line: int) -> Iterator[Entry]:
    """The entries of one statement; `train.epochs = 3` above all sections is one of [train]."""
    for key, value in table.items():
        if not section and isinstance(value, dict):
            yield from (Entry(key, inner, each, line) for inner, each in value.items())
        else:
            yield Entry(section, key, value, line)


def _unreadable(path: Path, text: str, message: str) -> UsageError:
    """tomllib's error with the line in front; where it says "at end of document", the last line."""
    place = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)", message)
    line = int(place[1]) if place and place[1] else len(text.rstrip("\n").split("\n"))
    what = message[: place.start()] if place else message
    return UsageError(f'{path}, line {line}: is no TOML ({what}); write name = value, text in "quotes"')
