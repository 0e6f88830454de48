"""The one writer of results: it appends to the disk as they come, and goes on after an interruption.

`OUT.part/` holds `pictures.jsonl` with a line for each entry, files of bytes that grow beside it (of maps, `maps.npy`
and `errors.npy`), `result/` for what will be the result folder, and `progress.json`, which says after whole batches of
what these are and how far they are whole. What lies beyond is cut off before going on, so that the bytes are those of
a run that was never interrupted.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self

from regard.errors import OutputError
from regard.files import check_free, claimed, json_text, write_json

log = logging.getLogger("regard")

ENTRIES = "pictures.jsonl"
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Committed:
    """How far the files are whole: entries in them, pictures of the data set behind them, and bytes of each file."""

    n: int = 0
    pictures: int = 0
    sizes: dict[str, int] = field(default_factory=dict)


class ResumableWriter:
    """The unfinished result beside `out`. `fingerprint` is a hash of all that decides its bytes.

    A subclass says which `command` writes and after how many entries, at the least, they are flushed to the disk: a
    kill costs no more than `flush_every` and a batch.
    """

    command: ClassVar[str]
    flush_every: ClassVar[int] = 1

    def __init__(self, out: Path, fingerprint: str) -> None:
        self.folder = out.with_name(f"{out.name}.part")
        self.result = self.folder / "result"
        self.n = 0
        """How many entries there are."""
        self._fingerprint = fingerprint
        self._committed = self._flushed = Committed()
        self._files: dict[str, BinaryIO] = {}

    @classmethod
    @contextmanager
    def open(cls, out: Path, fingerprint: str, total: int, overwrite: bool = False) -> Iterator[Self]:
        """Go on with what is there when it is of the same network, pictures and settings; else start anew.

        What is committed stays when the block is left by an exception, and the `KeyboardInterrupt` of Ctrl-C says so;
        nothing stays when that is nothing. Raises `OutputError` when something that regard did not write is in the way,
        when `out` exists unless `overwrite`, and while another process writes there.
        """
        writer = cls(out, fingerprint)
        with claimed(out):
            check_free(out, overwrite)  # again: another process may have finished there while this one loaded
            writer._start(total)
            try:
                yield writer
            except KeyboardInterrupt as error:
                raise KeyboardInterrupt(writer._kept(total)) from error
            finally:
                writer._close()

    @property
    def kind(self) -> str:
        """What stands in `progress.json`, so that nothing else is taken for an unfinished result."""
        return f"regard {self.command}, unfinished"

    @property
    def pictures(self) -> int:
        """How many pictures of the data set are done with."""
        return self._committed.pictures

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write the line of one more entry, which counts only when it is committed."""
        self.write(ENTRIES, f"{json_text(entry)}\n".encode())
        self.n += 1

    def write(self, name: str, content: bytes) -> None:
        """Append to a file, which begins with its `header`."""
        if name not in self._files:
            self._files[name] = (self.folder / name).open("wb")
            self._files[name].write(self.header(name))
        self._files[name].write(content)

    def header(self, name: str) -> bytes:
        """What a file begins with."""
        return b""

    def commit(self, pictures: int) -> None:
        """A batch is whole: so many pictures of the data set are behind what is here."""
        for file in self._files.values():
            file.flush()
        sizes = {name: file.tell() for name, file in self._files.items()}
        self._committed = Committed(self.n, pictures, sizes)
        if self.n - self._flushed.n >= self.flush_every:
            self.flush()

    def flush(self) -> None:
        """Have the disk hold what is committed, then say that it does."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        progress = {"kind": self.kind, "of": self._fingerprint, "whole": asdict(self._committed)}
        write_json(self.folder / PROGRESS, progress)
        self._flushed = self._committed

    def entries(self) -> Iterator[dict[str, Any]]:
        """All committed entries, in order, read from the disk one by one."""
        if not self._committed.n:
            return
        with (self.folder / ENTRIES).open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from map(json.loads, islice(lines, self._committed.n))

    def finish(self, name: str) -> Path:
        """Close a file, whole on the disk; its path."""
        with self._files.pop(name) as file:
            file.flush()
            os.fsync(file.fileno())
        return self.folder / name

    def remove(self) -> None:
        """The result has its place: what is left here is not needed any more."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, total: int) -> None:
        stored = self._stored()
        committed = None if stored is None else self._usable(stored)
        if committed is None:
            self._start_anew()
            return
        self._committed = self._flushed = committed
        self.n = committed.n
        log.info(f"going on after {committed.pictures} of {total} pictures")
        for name, size in committed.sizes.items():
            os.truncate(self.folder / name, size)
            self._files[name] = (self.folder / name).open("ab")

    def _stored(self) -> dict[str, Any] | None:
        """What an earlier run left as its progress. Nothing is touched that somebody else may have put there."""
        if not self.folder.exists() or (self.folder.is_dir() and not any(self.folder.iterdir())):
            return None
        try:
            stored = dict(json.loads((self.folder / PROGRESS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            stored = {}
        if not re.fullmatch(r"regard \w+, unfinished", str(stored.get("kind"))):
            raise OutputError(
                f"{self.folder} is in the way and not of regard's making; move it, or choose another --out"
            )
        return stored

    def _usable(self, stored: Mapping[str, Any]) -> Committed | None:
        """How far the files are whole, if they are of the same work."""
        try:
            committed = Committed(**stored["whole"])
            lengths = {name: (self.folder / name).stat().st_size for name in committed.sizes}
            same = stored["of"] == self._fingerprint
        except (OSError, KeyError, TypeError):
            return None
        if not same:
            others = "another network, other pictures, other settings or another version of regard"
            log.info(f"starting anew: {self.folder} was of {others}")
            return None
        return committed if committed.n and all(lengths[name] >= committed.sizes[name] for name in lengths) else None

    def _kept(self, total: int) -> str:
        """What stays after an interruption, and how to go on."""
        if not self._committed.n:
            return "interrupted before the first pictures were done; nothing is kept, and the same command starts anew"
        done = f"{self.pictures} of {total} pictures are done and kept in {self.folder}"
        return f"interrupted; {done}: the same command goes on after them"

    def _start_anew(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:  # whatever it is, it is about writing
            raise OutputError(f"cannot write {self.folder}: {error.strerror}; choose another --out") from error
        self.flush()
        self.result.mkdir()

    def _close(self) -> None:
        if self._files and self._committed.n > self._flushed.n:
            self.flush()
        for file in self._files.values():
            file.close()
        self._files.clear()
        if not self._committed.n:
            shutil.rmtree(self.folder, ignore_errors=True)
