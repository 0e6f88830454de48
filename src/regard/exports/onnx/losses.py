"""What smaller numbers cost on pictures with labels: accuracy, paired by picture, and the order of patches in maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from regard.data.dataset import Dataset
from regard.errors import UsageError
from regard.exports.onnx.runner import Runner
from regard.exports.parity import probes
from regard.exports.source import ExportSource
from regard.records import Score
from regard.records.exported import Variant

LEAST_ACCURACY = -0.03
LEAST_MAPS = 0.95
"""The lower end of the paired difference of accuracy, and the rank correlation of maps, below which a file says so."""

CALIBRATION = 32
"""Pictures at most that the ranges of activations are taken from."""


@dataclass(frozen=True)
class Pictures:
    """Pictures that variants are measured on, and others that int8 is calibrated with; `note` says what they are."""

    scored: Dataset
    calibration: NDArray[np.float32]  # (n, channels, height, width), prepared
    note: str


def pictures_of(source: ExportSource, data: Path | None) -> Pictures | None:
    """Those of DATA that the network did not learn from, to be scored, and up to `CALIBRATION` of the others; None
    without DATA.

    Raises `UsageError` for a network of several labels a picture, and `DataError` for labels that are not its classes.
    """
    if data is None:
        return None
    from regard.measurement.selection import scored_part
    from regard.training.tasks.table import TASKS

    if source.network.several_labels:
        raise UsageError(
            f"{source.name} gives a picture any number of labels, and variants are measured on networks that choose "
            "one class; leave out --data"
        )
    dataset = TASKS.load("classify", "read")(data, "label", None)
    scored, note = scored_part(dataset, source.run or source.model, None, keep_seen=False)
    names = {*scored.names}
    rest = [place for place, name in enumerate(dataset.names) if name not in names]
    places = np.unique(np.linspace(0, len(rest) - 1, min(CALIBRATION, len(rest))).round().astype(int))
    others = _each(source, dataset.select([rest[place] for place in places.tolist()])) if rest else ()
    calibration = np.concatenate([*others]) if rest else probes(source).numpy()
    about = f"{len(scored)} pictures of {Path(data).name}" + (f", {note}" if note else "")
    return Pictures(scored, calibration, about)


def measured(
    source: ExportSource, models: Mapping[str, onnx.ModelProto], pictures: Pictures | None
) -> tuple[Variant, ...]:
    """Each graph's size and, against the first, on `pictures`, each seen alone, as a phone does: the difference of
    accuracy, and Spearman's correlation of maps of the class that the first predicts, or, where there is none, of the
    last layer's attention, mean over heads."""
    sizes = {name: model.ByteSize() for name, model in models.items()}
    if pictures is None or len(models) < 2:
        return tuple(Variant(name, size) for name, size in sizes.items())
    from regard.measurement.classification.compare import difference
    from regard.measurement.classification.scoring import predictions_of
    from regard.measurement.intervals import mean
    from regard.measurement.ranks import spearman

    runners = {name: Runner(model) for name, model in models.items()}
    labelled = pictures.scored.fitted(source.classes)
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in models}
    maps: dict[str, list[NDArray[np.float32]]] = {name: [] for name in models}
    for pixels in _each(source, labelled):
        outputs = {name: runner(pixels) for name, runner in runners.items()}
        predicted = int(next(iter(outputs.values()))["logits"][0].argmax())
        for name, output in outputs.items():
            logits[name].append(output["logits"][0])
            maps[name].append(_map(output, predicted))
    predictions = {
        name: predictions_of(labelled, torch.softmax(torch.from_numpy(np.stack(rows)), dim=1).numpy(), None, ())
        for name, rows in logits.items()
    }
    first = next(iter(models))
    rows = [Variant(first, sizes[first])]
    for name in [*models][1:]:
        accuracy = difference(first, predictions[first], name, predictions[name]).top1
        alike: Score | None = None
        if maps[first][0].size:
            alike = mean(spearman(np.stack(maps[name]), np.stack(maps[first])), least=-1.0)
        rows.append(Variant(name, sizes[name], accuracy, alike))
    return tuple(rows)


def sentences(rows: Sequence[Variant], pictures: Pictures | None) -> tuple[str, ...]:
    """What a user must know of the losses: where they are large, and what was not measured."""
    notes = []
    if pictures is None and any(row.name != "fp32" for row in rows):
        notes.append(
            "what these smaller numbers cost was not measured; --data gives pictures with labels to measure it on"
        )
    if pictures is not None:
        notes.append(f"measured on {pictures.note}, each seen alone")
    for row in rows:
        if row.accuracy is not None and row.accuracy.low < LEAST_ACCURACY:
            notes.append(
                f"{row.name} may cost accuracy: {100 * row.accuracy.low:.1f} points at the lower end of the interval, "
                f"beyond {100 * LEAST_ACCURACY:.0f}; fp16 costs less"
            )
        if row.maps is not None and not row.maps.value >= LEAST_MAPS:
            notes.append(
                f"{row.name} changes the maps: their rank correlation is {row.maps.value:.3f}, below {LEAST_MAPS}; "
                "what an audit says of maps is not said of these"
            )
    return tuple(notes)


def _map(output: Mapping[str, NDArray[np.float32]], predicted: int) -> NDArray[np.float32]:
    """(patches,), or none at all of a graph that gives logits alone."""
    if "map" in output:
        maps = output["map"][0]
        return np.ravel(maps[predicted if len(maps) > predicted and len(maps) > 1 else 0])
    if "attention" in output:
        return np.asarray(output["attention"][0, -1].mean(axis=0))
    return np.zeros(0, np.float32)


def _each(source: ExportSource, dataset: Dataset) -> Any:
    """(1, channels, height, width) of one picture after the other."""
    from regard.data.images.preparation import batches

    for batch in batches(dataset.pictures, source.preparation, batch_size=8, workers=0):
        yield from source.preparation.normalise(batch.pixels).numpy()[:, None]
