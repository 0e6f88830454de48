"""A classifier scored on a data set: the predictions of a network, of a stored run, of several on the same pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.data.splits import AnyDataset, read_split
from regard.errors import DataError, NetworkError
from regard.files import is_file, readable, reading
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.selection import CROSS_VALIDATED, SPLIT, scored_part
from regard.networks.run import classes_of, is_run
from regard.progress import Progress, silent
from regard.records import Evaluation, Mending, Predictions, read_manifest
from regard.results.evaluations import EVALUATION, PREDICTIONS, read_predictions

if TYPE_CHECKING:
    from regard.networks.network import Network


def predict_all(
    network: "Network",
    pictures: Dataset,
    group: str | None = None,
    slices: Sequence[str] = (),
    *,
    progress: Progress = silent,
    **reading: Any,
) -> tuple[Dataset, Predictions]:
    """The pictures that could be read, and the network's predictions for them, with their groups and slices.

    `reading` is for `networks.predict.probabilities`. Raises `NetworkError` where the network's classes have no names,
    and `DataError` for labels that are none of them, and for pictures that cannot be read unless `on_bad` takes them.
    """
    pictures, values = all_probabilities(network, pictures, progress, **reading)
    return pictures, predictions_of(pictures, values, group, slices)


def all_probabilities(
    network: "Network", pictures: AnyDataset, progress: Progress, **reading: Any
) -> tuple[AnyDataset, NDArray[np.float32]]:
    """The pictures that could be read, with the network's labels as theirs, and its probabilities (pictures, labels).

    Raises what `predict_all` does; `reading` is for `networks.predict.probabilities`.
    """
    from regard.networks.predict import probabilities

    if network.classes is None:
        raise NetworkError(
            f"the {network.outputs} outputs of {network.name} have no names, so labels cannot be matched with them; "
            "evaluate a run (`regard train` makes one), a checkpoint that knows its classes, or, of a module of your "
            "own, regard.load(module, classes=[...])"
        )
    pictures = pictures.fitted(network.classes)
    readable: list[int] = []
    rows: list[NDArray[np.float32]] = []  # (batch, classes) each
    stream = probabilities(network, pictures.pictures, **reading)
    with progress("scoring", len(pictures)) as advance:
        for indices, values in stream:
            readable += indices
            rows.append(values.numpy())
            advance(len(indices))
    if not readable:
        raise DataError("none of the pictures could be read")
    return pictures.select(readable), np.concatenate(rows)


def predictions_of(
    pictures: Dataset, values: NDArray[np.float32], group: str | None, slices: Sequence[str]
) -> Predictions:
    """The record of class probabilities (pictures, classes) with labels, groups and slices."""
    predicted = values.argmax(1).astype(np.int64)
    columns = grouping(pictures, group, slices) | {"filenames": tuple(pictures.filenames)}
    return Predictions(tuple(pictures.names), pictures.classes, predicted, pictures.labels, values, **columns)


def grouping(pictures: Dataset, group: str | None, slices: Sequence[str]) -> dict[str, Any]:
    """The groups and slices of `Predictions`, from the columns of that name."""
    groups = None if group is None else pictures.column(group)
    return {"groups": groups, "slices": {name: pictures.column(name) for name in slices}}


def stored_predictions(run: str | Path) -> Predictions:
    """A run's predictions for the pictures that it was scored on when it was trained.

    Raises `NetworkError` for a folder that is no such run.
    """
    folder = Path(run) / EVALUATION
    if not is_run(run) or not (folder / PREDICTIONS).is_file():
        raise NetworkError(f"{run} holds no scored run; give run folders, or --data to score networks on pictures")
    return read_predictions(folder, classes_of(run))


def stored_evaluation(run: str | Path) -> Evaluation:
    """The score of a finished run, computed again from its predictions."""
    fields = {"note": str, "seed": int, "provenance": dict}
    manifest = read_manifest(Path(run) / EVALUATION, EVALUATION, fields)
    facts = {name: manifest[name] for name in fields} | {"optimism": manifest.get("optimism")}
    return replace(evaluate(stored_predictions(run), **facts), mending=stored_mending(run))


def stored_mending(run: str | Path | None) -> Mending | None:
    """What mending did, of a run that was mended; None for others."""
    folder = None if run is None else Path(run) / EVALUATION
    if folder is None or not is_file(folder / "manifest.json"):
        return None
    manifest = read_manifest(folder, EVALUATION, {})
    with reading(folder, "restore it, or train again"):
        return Mending.from_json(manifest["mending"]) if "mending" in manifest else None


def cross_validated(
    run: str | Path, pictures: Dataset, group: str | None = None, slices: Sequence[str] = ()
) -> tuple[Predictions, dict[str, Any]]:
    """What networks gave for pictures that they had not seen, of a run scored so; and its facts for `evaluate`.

    Pictures are known by the hash of their bytes. To be called for pictures that the run knows.
    """
    manifest = read_manifest(Path(run) / EVALUATION, EVALUATION, {"provenance": dict})
    stored = stored_predictions(run)
    if stored.probabilities is None:
        raise DataError(f"{run} is damaged: its predictions have no probabilities; score it again")
    place = {name: index for index, name in enumerate(stored.names)}
    names = {
        row.sha256: readable(row.filename) for row in read_split(Path(run) / SPLIT)
    }  # as its predictions have them
    rows = {digest: place[name] for digest, name in names.items() if name in place}
    pictures = pictures.fitted(stored.classes)
    indices = [rows[each] for each in picture_hashes(pictures.pictures).values()]
    predictions = predictions_of(pictures, stored.probabilities[indices].astype(np.float32), group, slices)
    return predictions, {"provenance": manifest["provenance"], "optimism": manifest.get("optimism")}


def predict_common(
    runs: Mapping[str, str | Path],
    dataset: Dataset,
    *,
    split: str | None = None,
    columns: Mapping[str, Any] = MappingProxyType({}),
    keep_seen: bool = False,
    reading: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[dict[str, Predictions], dict[str, str]]:
    """The predictions of every run, by its name, on the pictures that none of them was trained on; and their notes.

    `columns` name the `group` and the `slices`, `options` are those of `load`, `reading` those of `predict_all`. Raises
    `DataError` where no picture is new to all.
    """
    from regard.networks.load import load

    parts = {name: scored_part(dataset, run, split, keep_seen) for name, run in runs.items()}
    fair = set.intersection(*({*part.names} for part, _ in parts.values()))
    if not fair:
        raise DataError(
            f"no picture of {dataset.source} is new to all runs; --keep-seen scores those that were learnt, and says so"
        )
    predictions = {}
    for name, run in runs.items():
        part, _ = parts[name]
        part = part.select(index for index, picture in enumerate(part.names) if picture in fair)
        if parts[name][1] == CROSS_VALIDATED:
            predictions[name] = cross_validated(run, part, **columns)[0]
            continue
        network = load(run, **options)
        predictions[name] = predict_all(network, part, **columns, **(reading or {}))[1]
    return predictions, {name: note for name, (_, note) in parts.items() if note}
