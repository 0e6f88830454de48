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
from regard.predictors.classifier import Classifier
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
    classifier = Classifier(model, weights=weights, size=size, device=device, precision=precision, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    fingerprint = _fingerprint(classifier, dataset, probs, batch_size)
    with writing(out), PredictionWriter.open(out, fingerprint, len(dataset)) as writer:
        writer.columns = classifier.classes if probs else ()
        reading: dict[str, Any] = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad)}
        with progress("predicting", len(dataset)) as advance:
            advance(writer.pictures)
            for indices, values in classifier.batches(dataset.pictures, start=writer.pictures, **reading):
                for index, row in zip(indices, values, strict=True):
                    label = classifier.classes[row.argmax()]
                    writer.append(dataset.names[index], label, row.tolist() if probs else ())
                writer.commit(indices[-1] + 1)
                advance(len(indices))
        if not writer.n:
            raise DataError("none of the pictures could be read")
        writer.finish_file(out)
    return Result(out, writer.n)


def _fingerprint(classifier: Classifier, dataset: Dataset, probs: bool, batch_size: int) -> str:
    """A hash of all that decides the file's bytes."""
    network = classifier.network
    about = [network.weights_hash(), network.preparation.as_json(), network.precision, str(network.device)]
    settings = [about, classifier.classes, probs, batch_size, dataset.names]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def as_json(result: Result) -> dict[str, Any]:
    return {"out": str(result.out), "n": result.n}


def as_text(result: Result) -> str:
    return f"{result.n} picture{'s' if result.n != 1 else ''} predicted, written to {result.out}"
