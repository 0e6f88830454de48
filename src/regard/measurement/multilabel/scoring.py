"""Any number of labels a picture, scored on a data set: the answers of a network, of a stored run, of several runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regard.data.hashes import picture_hashes
from regard.data.label_sets import LabelSets
from regard.data.splits import read_split
from regard.errors import DataError, NetworkError, UsageError
from regard.files import readable
from regard.measurement.classification.scoring import all_probabilities, grouping
from regard.measurement.multilabel.evaluation import evaluate
from regard.measurement.selection import CROSS_VALIDATED, SPLIT, scored_part
from regard.networks.run import classes_of, is_run, task_of
from regard.networks.sources.shipped import folder_of
from regard.networks.tasks import MULTILABEL
from regard.progress import Progress, silent
from regard.records import LabelPredictions, MultiLabelEvaluation, read_manifest
from regard.records.multilabel import THRESHOLD
from regard.results.evaluations import EVALUATION, PREDICTIONS
from regard.results.multilabel import KIND, read_label_predictions

if TYPE_CHECKING:
    from regard.networks.network import Network


def predict_labels(
    network: "Network",
    pictures: LabelSets,
    group: str | None = None,
    slices: Sequence[str] = (),
    *,
    progress: Progress = silent,
    **reading: Any,
) -> tuple[LabelSets, LabelPredictions]:
    """The pictures that could be read, and the network's probabilities for them; see `all_probabilities`."""
    pictures, values = all_probabilities(network, pictures, progress, **reading)
    return pictures, label_predictions(pictures, values, group, slices)


def label_predictions(
    pictures: LabelSets, values: NDArray[np.float32], group: str | None, slices: Sequence[str]
) -> LabelPredictions:
    """The record of probabilities (pictures, labels) with labels, groups and slices."""
    columns = grouping(pictures, group, slices) | {"filenames": tuple(pictures.filenames)}
    return LabelPredictions(tuple(pictures.names), pictures.classes, pictures.truth, values, **columns)


def stored_predictions(run: str | Path) -> LabelPredictions:
    """A run's answers for the pictures that it was scored on when it was trained; see `stored_predictions`."""
    folder = Path(run) / EVALUATION
    if not is_run(run) or not (folder / PREDICTIONS).is_file():
        raise NetworkError(f"{run} holds no scored run; give run folders, or --data to score networks on pictures")
    return read_label_predictions(folder, classes_of(run))


def stored_evaluation(run: str | Path) -> MultiLabelEvaluation:
    """The score of a finished run, computed again from its answers."""
    fields = {"note": str, "seed": int, "provenance": dict}
    manifest = read_manifest(Path(run) / EVALUATION, KIND, fields)
    return evaluate(stored_predictions(run), **{name: manifest[name] for name in fields})


def cross_validated(
    run: str | Path, pictures: LabelSets, group: str | None = None, slices: Sequence[str] = ()
) -> tuple[LabelPredictions, Mapping[str, Any]]:
    """What heads gave for pictures that they had not seen, of a run scored so, and its provenance."""
    stored = stored_predictions(run)
    place = {name: index for index, name in enumerate(stored.names)}
    names = {row.sha256: readable(row.filename) for row in read_split(Path(run) / SPLIT)}
    rows = {digest: place[name] for digest, name in names.items() if name in place}
    pictures = pictures.fitted(stored.classes)
    indices = [rows[each] for each in picture_hashes(pictures.pictures).values()]
    manifest = read_manifest(Path(run) / EVALUATION, KIND, {"provenance": dict})
    return label_predictions(pictures, stored.probabilities[indices], group, slices), manifest["provenance"]


def predict_common(
    runs: Mapping[str, str | Path],
    dataset: LabelSets,
    *,
    split: str | None = None,
    columns: Mapping[str, Any] = MappingProxyType({}),
    keep_seen: bool = False,
    reading: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[dict[str, LabelPredictions], dict[str, str]]:
    """The answers of every run on the pictures that none of them was trained on, and their notes; see
    `classification.scoring.predict_common`."""
    from regard.networks.load import load

    parts = {name: scored_part(dataset, run, split, keep_seen) for name, run in runs.items()}
    fair = set.intersection(*({*part.names} for part, _ in parts.values()))
    if not fair:
        raise DataError(
            f"no picture of {dataset.source} is new to all runs; --keep-seen scores those that were learnt, and says so"
        )
    predictions = {}
    for name, run in runs.items():
        part, note = parts[name]
        part = part.select(index for index, picture in enumerate(part.names) if picture in fair)
        if note == CROSS_VALIDATED:
            predictions[name] = cross_validated(run, part, **columns)[0]
        else:
            predictions[name] = predict_labels(load(run, **options), part, **columns, **(reading or {}))[1]
    return predictions, {name: note for name, (_, note) in parts.items() if note}


def are_multilabel(runs: Mapping[str, str | Path]) -> bool:
    """Whether these runs, by name, all give several labels a picture. Raises `UsageError` where only some do."""
    several = {name: task_of(folder_of(run)) == MULTILABEL for name, run in runs.items()}
    if len(set(several.values())) > 1:
        names = [next(name for name, each in several.items() if each is kind) for kind in (True, False)]
        raise UsageError(
            f"{names[0]} gives several labels a picture and {names[1]} does not, so that no score is of both; compare "
            "runs of one task"
        )
    return any(several.values())


def with_threshold(predictions: LabelPredictions, threshold: float | None) -> LabelPredictions:
    """Predictions whose labels are given from another probability on."""
    return replace(predictions, threshold=THRESHOLD if threshold is None else threshold)
