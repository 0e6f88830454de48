"""Results on their way: appended to the disk as they come, and gone on with after an interruption.

`OUT.part/` holds `pictures.jsonl` with a line for each that is done, files of bytes that grow beside it (of maps,
`maps.npy` and `errors.npy`), `result/` for what will be the result folder, and `progress.json`, which says after whole
batches of what these are and how far they are whole. What lies beyond is cut off before going on, so that the bytes
are those of a run that was never interrupted.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np

from regard.app.console import log
from regard.errors import DataError, OutputError
from regard.files import write_json
from regard.records import Float, Heatmap

KINDS = ("regard explain, unfinished", "regard caption, unfinished")
LINES = "pictures.jsonl"
HEADER = 128
"""Bytes of a .npy header for three axes, which leaves room for any length of the first."""


@dataclass(frozen=True)
class _Whole:
    """How far the files are whole: lines in them, pictures of the data set behind them, and bytes of each file."""

    n: int = 0
    pictures: int = 0
    sizes: dict[str, int] = field(default_factory=dict)


class Growing:
    """The unfinished result beside `out`. `of` is a hash of all that decides its bytes; `n` counts what is done."""

    kind: ClassVar[str]
    """Which command is unfinished, of KINDS."""
    often: ClassVar[int]
    """After how many, at the least, the disk is told to keep them: a kill costs no more than these and a batch."""

    def __init__(self, out: Path, of: str) -> None:
        self.home, self._of = out.with_name(f"{out.name}.part"), of
        self.result = self.home / "result"
        self.n = 0
        self._whole = self._kept = _Whole()
        self._files: dict[str, BinaryIO] = {}

    @classmethod
    @contextmanager
    def open(cls, out: Path, of: str, total: int) -> Iterator[Self]:
        """Go on with what is there when it is of the same network, pictures and settings; else start anew.

        What is whole stays when the block is left by an exception; nothing stays when that is nothing. Raises
        `OutputError` when something that regard did not write is in the way.
        """
        unfinished = cls(out, of)
        unfinished._begin(total)
        try:
            yield unfinished
        finally:
            unfinished._close()

    @property
    def pictures(self) -> int:
        """How many pictures of the data set are done with."""
        return self._whole.pictures

    def note(self, facts: Mapping[str, Any]) -> None:
        """Write the line of one more that is done, which is whole only when `reached` is called."""
        line = json.dumps(facts, ensure_ascii=False, allow_nan=False)
        self.write(LINES, f"{line}\n".encode("utf-8", "surrogateescape"))
        self.n += 1

    def write(self, name: str, content: bytes) -> None:
        """Let a file grow."""
        if name not in self._files:
            self._files[name] = (self.home / name).open("wb")
            self._files[name].write(self.head(name))
        self._files[name].write(content)

    def head(self, name: str) -> bytes:
        """What a file begins with."""
        return b""

    def reached(self, pictures: int) -> None:
        """A batch is whole: so many pictures of the data set are behind what is here."""
        for file in self._files.values():
            file.flush()
        sizes = {name: file.tell() for name, file in self._files.items()}
        self._whole = _Whole(self.n, pictures, sizes)
        if self.n - self._kept.n >= self.often:
            self._keep()

    def facts(self) -> Iterator[dict[str, Any]]:
        """The lines of all that is whole, in order, read from the disk as they are asked for."""
        if not self._whole.n:
            return
        with (self.home / LINES).open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from map(json.loads, islice(lines, self._whole.n))

    def remove(self) -> None:
        """The result has its place: what is left here is not needed any more."""
        self._close()
        shutil.rmtree(self.home, ignore_errors=True)

    def _begin(self, total: int) -> None:
        self._check_ours()
        whole = self._stored()
        if whole is None:
            self._start_anew()
        else:
            self._whole = self._kept = whole
            self.n = whole.n
            log.info(f"going on after {whole.pictures} of {total} pictures")
        for name, size in self._whole.sizes.items():
            os.truncate(self.home / name, size)
            self._files[name] = (self.home / name).open("ab")

    def _check_ours(self) -> None:
        """Nothing is removed that somebody else may have put there."""
        if not self.home.exists() or (self.home.is_dir() and not any(self.home.iterdir())):
            return
        try:
            kind = json.loads((self.home / "progress.json").read_text(encoding="utf-8"))["kind"]
        except (OSError, ValueError, KeyError, TypeError):
            kind = None
        if kind not in KINDS:
            raise OutputError(f"{self.home} is in the way and not of regard's making; move it, or choose another --out")

    def _stored(self) -> _Whole | None:
        """How far the files are whole, if they are of the same work."""
        try:
            stored = json.loads((self.home / "progress.json").read_text(encoding="utf-8"))
            whole = _Whole(**stored["whole"])
            lengths = {name: (self.home / name).stat().st_size for name in whole.sizes}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if stored["of"] != self._of:
            log.info(f"starting anew: {self.home} was of another network, other pictures or other settings")
            return None
        return whole if whole.n and all(lengths[name] >= size for name, size in whole.sizes.items()) else None

    def _start_anew(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        try:
            self.home.mkdir(parents=True)
        except OSError as error:  # whatever it is, it is about writing
            raise OutputError(f"cannot write {self.home}: {error.strerror}; choose another --out") from error
        self._keep()
        self.result.mkdir()

    def _keep(self) -> None:
        """Have the disk keep what is whole, then say that it is."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        write_json(self.home / "progress.json", {"kind": self.kind, "of": self._of, "whole": asdict(self._whole)})
        self._kept = self._whole

    def _close(self) -> None:
        if self._files and self._whole.n > self._kept.n:
            self._keep()
        for file in self._files.values():
            file.close()
        self._files.clear()
        if not self._whole.n:
            shutil.rmtree(self.home, ignore_errors=True)


class Unfinished(Growing):
    """Maps on their way into an explanation: what `regard explain` leaves when it is stopped."""

    kind = KINDS[0]
    often = 32

    def append(self, heatmap: Heatmap) -> None:
        """Write a map, which is whole only when `reached` is called."""
        values = np.ascontiguousarray(heatmap.values, "<f4")
        self.write("maps.npy", values.tobytes())
        if heatmap.error is not None:
            self.write("errors.npy", np.ascontiguousarray(heatmap.error, "<f4").tobytes())
        self.note(heatmap.as_json())

    def head(self, name: str) -> bytes:
        return bytes(HEADER) if name.endswith(".npy") else b""  # the number of maps is known in the end

    def heatmaps(self) -> Iterator[Heatmap]:
        """The maps, in order, read from the disk as they are asked for."""
        if not self.n:
            return
        self._keep()
        with (self.home / "maps.npy").open("rb") as maps:
            errors = (self.home / "errors.npy").open("rb") if self.has_errors else io.BytesIO()
            with errors:
                maps.seek(HEADER)
                errors.seek(HEADER)
                for stored in self.facts():
                    shape = stored["grid"]["rows"], stored["grid"]["columns"]
                    error = _read(errors, shape) if self.has_errors else None
                    yield Heatmap.from_json(stored, _read(maps, shape), error)

    @property
    def has_errors(self) -> bool:
        """Whether every map has its standard error."""
        sizes = self._whole.sizes
        return sizes.get("errors.npy", 0) == sizes.get("maps.npy", -1)

    def move_arrays(self) -> None:
        """Give the arrays their headers and put them into `result`."""
        grid = next(self.facts())["grid"]
        for name in ("maps.npy", "errors.npy")[: 2 if self.has_errors else 1]:
            file = self._files.pop(name)
            file.close()
            with (self.home / name).open("r+b") as file:
                file.write(npy_header((self.n, grid["rows"], grid["columns"])))
                file.flush()
                os.fsync(file.fileno())
            (self.home / name).replace(self.result / name)


def _read(file: Any, shape: tuple[int, int]) -> Float:
    """The next map of a file."""
    content = file.read(4 * shape[0] * shape[1])
    return np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)


def npy_header(shape: tuple[int, int, int]) -> bytes:
    """What `numpy.save` writes before a float32 array of this shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    header = file.getvalue()
    if len(header) != HEADER:
        raise DataError(f"numpy writes headers of {len(header)} bytes where {HEADER} were kept free; report this")
    return header
