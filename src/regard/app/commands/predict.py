"""`regard predict`: a class for every picture, streamed to a CSV that can be gone on with.

Rows go to `FILE.part` as they come; `FILE.part.json` says, after each batch, of what they are and how far they are
whole. The file gets its name when it is complete. The same command after an interruption goes on after the last whole
batch, so that the bytes are those of a run that was never interrupted.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from torch import Tensor

from regard.app.common import open_network, skipper
from regard.app.console import log, progress
from regard.data.dataset import Dataset
from regard.data.layouts.folder import read_pictures
from regard.errors import DataError
from regard.files import check_free, write_json, writing
from regard.measurement.classification.tables import prediction_header, prediction_row
from regard.networks.network import Network
from regard.networks.predict import probabilities


@dataclass(frozen=True)
class Result:
    """The file of predictions, and how many rows it has."""

    out: Path
    n: int


def predict(
    pictures: str | Path | Sequence[str | Path],
    out: str | Path,
    model: str | Path = "pets-tiny",
    weights: str | Path | None = None,
    probs: bool = False,
    size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 32,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Result:
    """Write `filename,label` for each picture in order; with `probs` a column for each class's probability.

    Raises `OutputError` when `out` exists (unless `overwrite`) and `DataError` naming a picture that cannot be read
    (unless `skip_bad`); what was written until then is kept and gone on with.
    """
    out = Path(out)
    check_free(out, overwrite)
    dataset = read_pictures(pictures if isinstance(pictures, str | Path) else list(pictures))
    network = open_network(model, weights, size=size, device=device, precision=precision, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out), _Part.open(out, network, dataset, probs, batch_size) as part:
        rest = dataset.select(range(part.pictures, len(dataset)))
        stream = probabilities(network, rest.pictures, batch_size=batch_size, workers=workers, on_bad=skipper(skip_bad))
        with progress("predicting", len(dataset)) as advance:
            advance(part.pictures)
            start = part.pictures
            for indices, values in stream:
                part.append([rest.names[index] for index in indices], values, start + indices[-1] + 1)
                advance(len(indices))
    return Result(out, part.finish())


@dataclass
class _Part:
    """The unfinished file: how many bytes and rows of it are whole, and how many pictures are behind them."""

    out: Path
    of: str  # a hash of all that decides the rows
    classes: tuple[str, ...]
    probs: bool
    size: int = 0
    rows: int = 0
    pictures: int = 0
    handle: BinaryIO | None = None

    @classmethod
    @contextmanager
    def open(cls, out: Path, network: Network, dataset: Dataset, probs: bool, batch_size: int) -> Iterator["_Part"]:
        """Go on with what is there when it is of the same network, pictures and settings; else start anew."""
        classes = network.classes or tuple(str(index) for index in range(network.outputs))
        told = [network.weights_hash(), network.preparation.as_json(), network.precision, str(network.device)]
        of = json.dumps([told, classes, probs, batch_size, dataset.names], sort_keys=True)
        part = cls(out, hashlib.sha256(of.encode()).hexdigest(), classes, probs)
        part._resume(len(dataset))
        with part._file.open("ab") as part.handle:
            if not part.size:
                part._write(prediction_header(classes if probs else ()), 0, 0)
            yield part

    def append(self, names: Sequence[str], values: Tensor, pictures: int) -> None:
        """Write the rows of a batch, then that they are whole, with the count of pictures behind them."""
        best = values.argmax(1).tolist()
        given = values.tolist() if self.probs else [()] * len(names)
        text = map(prediction_row, names, (self.classes[index] for index in best), given)
        self._write("".join(text), len(names), pictures)

    def finish(self) -> int:
        """Give the file its name; the number of its rows."""
        if not self.rows:
            raise DataError("none of the pictures could be read")
        self._file.replace(self.out)
        self._about.unlink(missing_ok=True)
        return self.rows

    @property
    def _file(self) -> Path:
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def _about(self) -> Path:
        return self.out.with_name(f"{self.out.name}.part.json")

    def _write(self, text: str, rows: int, pictures: int) -> None:
        handle = cast(BinaryIO, self.handle)
        handle.write(data := text.encode("utf-8", "surrogateescape"))
        handle.flush()
        os.fsync(handle.fileno())
        self.size, self.rows, self.pictures = self.size + len(data), self.rows + rows, pictures
        whole = {"of": self.of, "bytes": self.size, "rows": self.rows, "pictures": self.pictures}
        write_json(self._about, whole)

    def _resume(self, total: int) -> None:
        try:
            stored = json.loads(self._about.read_text(encoding="utf-8"))
            if stored["of"] != self.of or self._file.stat().st_size < stored["bytes"]:
                raise ValueError("of something else")
        except (OSError, ValueError, KeyError, TypeError):
            self._file.unlink(missing_ok=True)
            return
        self.size, self.rows, self.pictures = stored["bytes"], stored["rows"], stored["pictures"]
        os.truncate(self._file, self.size)
        log.info(f"going on after {self.pictures} of {total} pictures")


def as_json(result: Result) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n}


def as_text(result: Result) -> str:
    return f"{result.n} picture{'s' if result.n != 1 else ''} predicted, written to {result.out}"
