"""A folder of a disk as a store."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from regard.data.stores.base import Entry, Store
from regard.errors import DataError
from regard.files import claimed, write_file, writing

BLOCK = 1 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True)
class LocalStore(Store):
    """Files below a folder; their tag is the time of their last change, in nanoseconds."""

    is_local: ClassVar[bool] = True

    def path(self, key: str) -> Path:
        """The file of a key. Raises `DataError` for one that leads out of the folder."""
        if key.startswith("/") or ".." in key.split("/") or "\0" in key:
            raise DataError(f"{key!r} leads out of {self.address}; a key is a path below it")
        return Path(self.address) / key

    def head(self, key: str) -> Entry:
        path = self.path(key)
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"there is no {path}; check the path") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        if not path.is_file():
            raise DataError(f"{path} is a folder, not a file; give the file")
        return Entry(key, stat.st_size, str(stat.st_mtime_ns))

    def read(self, key: str, start: int = 0, length: int | None = None, tag: str | None = None) -> bytes:
        entry = self._checked(key, tag)
        with self._open(key) as file:
            file.seek(start)
            content = file.read(-1 if length is None else length)
        if length is not None and len(content) < length:
            raise DataError(
                f"{self.path(key)} ends at byte {entry.size:,}, where {start + length:,} are needed; copy it again"
            )
        return content

    def stream(self, key: str, tag: str | None = None, size: int | None = None) -> Iterator[bytes]:
        self._checked(key, tag)
        with self._open(key) as file:
            while block := file.read(BLOCK):
                yield block

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        if not self.path(prefix).is_dir():
            return
        with os.scandir(self.path(prefix)) as listing:
            rows = [(f"{each.name}/" if each.is_dir() else each.name, each) for each in listing]
        for name, each in sorted(rows):  # with its slash a folder has the place of its files
            if name.startswith("."):
                continue
            key = f"{prefix.rstrip('/')}/{name}" if prefix else name
            if name.endswith("/"):
                yield from self.entries(key.rstrip("/"))
            elif each.is_file():
                stat = each.stat()
                yield Entry(key, stat.st_size, str(stat.st_mtime_ns))

    def put(self, key: str, content: bytes) -> None:
        write_file(self.path(key), content)

    def put_new(self, key: str, content: bytes) -> bool:
        path = self.path(key)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            aside = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                return self._rename_new(aside, path) or path.read_bytes() == content
            finally:
                aside.unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        with writing(self.path(key)):
            self.path(key).unlink(missing_ok=True)

    def _rename_new(self, aside: Path, path: Path) -> bool:
        """Give the file its name, unless that is taken: a link is made or refused in one step, unlike a rename."""
        aside.chmod(0o644)
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            with claimed(path):
                if path.exists():
                    return False
                aside.replace(path)
        return True

    def _checked(self, key: str, tag: str | None) -> Entry:
        entry = self.head(key)
        if tag is not None and entry.tag != tag:
            raise DataError(f"{self.path(key)} changed since it was first looked at; start again with what it is now")
        return entry

    def _open(self, key: str):  # type: ignore[no-untyped-def]
        try:
            return self.path(key).open("rb")
        except OSError as error:
            raise DataError(f"{self.path(key)} cannot be read: {error.strerror}") from error
