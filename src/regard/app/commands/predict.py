"""`regard predict`: a class for every picture, streamed to a CSV that can be gone on with.

The same command after an interruption goes on after the last whole batch (`results/writer.py`), so that the bytes are
those of a run that was never interrupted.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.app.console import progress
from regard.data.dataset import Dataset, skipper
from regard.data.layouts import read_pictures
from regard.errors import DataError
from regard.files import check_free, writing
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import probabilities
from regard.results.predictions import PredictionWriter


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
    network = load(model, weights=weights, size=size, device=device, precision=precision, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        writing(out),
        PredictionWriter.open(out, _fingerprint(network, dataset, probs, batch_size), len(dataset)) as writer,
    ):
        classes = _class_names(network)
        writer.columns = classes if probs else ()
        start = writer.pictures
        rest = dataset.select(range(start, len(dataset)))
        stream = probabilities(network, rest.pictures, batch_size=batch_size, workers=workers, on_bad=skipper(skip_bad))
        with progress("predicting", len(dataset)) as advance:
            advance(start)
            for indices, values in stream:
                for index, row, best in zip(indices, values.tolist(), values.argmax(1).tolist(), strict=True):
                    writer.append(rest.names[index], classes[best], row if probs else ())
                writer.commit(start + indices[-1] + 1)
                advance(len(indices))
        if not writer.n:
            raise DataError("none of the pictures could be read")
        writer.finish_file(out)
    return Result(out, writer.n)


def _class_names(network: Network) -> tuple[str, ...]:
    return network.classes or tuple(str(index) for index in range(network.outputs))


def _fingerprint(network: Network, dataset: Dataset, probs: bool, batch_size: int) -> str:
    """A hash of all that decides the file's bytes."""
    about = [network.weights_hash(), network.preparation.as_json(), network.precision, str(network.device)]
    settings = [about, _class_names(network), probs, batch_size, dataset.names]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def as_json(result: Result) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n}


def as_text(result: Result) -> str:
    return f"{result.n} picture{'s' if result.n != 1 else ''} predicted, written to {result.out}"
