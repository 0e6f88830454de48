"""`regard evaluate`: an honest score, on pictures that the network did not learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regard.app.console import progress
from regard.app.evaluate_captions import CaptionResult, evaluate_captions
from regard.app.evaluate_captions import as_json as captions_json
from regard.app.report import page
from regard.app.seen import scored_part
from regard.app.training import check_task
from regard.data.dataset import Dataset, skipper
from regard.data.layouts import read_labelled
from regard.data.splits import scoring_part
from regard.errors import DataError, NetworkError, UsageError
from regard.files import check_free, new_folder, write_file, write_json
from regard.measurement.classification import tables
from regard.measurement.classification.evaluation import as_json as scores_json
from regard.measurement.classification.evaluation import evaluate as measure
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.predict import probabilities
from regard.networks.provenance import provenance
from regard.networks.run import CAPTIONING, is_run, read_description, task_of
from regard.networks.sources.shipped import folder_of
from regard.records import Evaluation, Predictions, read_manifest, write_manifest
from regard.rendering.figures.charts import chart_png, classes_chart, confusion_chart, reliability_chart
from regard.rendering.pages.report import Report


@dataclass(frozen=True)
class Result:
    """The evaluation, and the folder it was written to, if it was."""

    evaluation: Evaluation
    out: Path | None = None


def evaluate(
    data: str | Path,
    model: str | Path | None = None,
    weights: str | Path | None = None,
    predictions: str | Path | None = None,
    task: str | None = None,
    label: str = "label",
    split: str | None = None,
    group: str | None = None,
    slices: Sequence[str] | None = None,
    keep_seen: bool = False,
    threshold: float | None = None,
    size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 32,
    workers: int = 2,
    seed: int = 0,
    skip_bad: bool = False,
    out: str | Path | None = None,
    no_pictures: bool = False,
    anonymise: bool = False,
    overwrite: bool = False,
) -> Result | CaptionResult:
    """Score a network, or predictions made elsewhere, on labelled pictures; with `task` "caption", or for a run that
    learnt captions, a captioner on pictures with captions. Without a `model` it is what ships: `pets-tiny`, or
    `scenes-captioner`.

    Scored is `split`, by default `val`, else `test`, else everything. Pictures that the run was trained on are left
    out, or, where all were or with `keep_seen`, the number is marked "seen in training". With `out` a result folder:
    `scores.json`, tables, figures and `report.html`.
    """
    if out is not None:
        check_free(out, overwrite)
    captions = _is_of_captions(task, model)
    model = model or ("scenes-captioner" if captions else "pets-tiny")
    if captions:
        given = {"weights": weights, "predictions": predictions, "group": group, "slice": slices}
        own = {"label": label if label != "label" else None, "precision": precision if precision != "float32" else None}
        _check_plain({**given, **own, "threshold": threshold, "size": size})
        how = {"split": split, "keep_seen": keep_seen, "device": device, "batch_size": batch_size, "seed": seed}
        shown = {"no_pictures": no_pictures, "anonymise": anonymise, "overwrite": overwrite}
        return evaluate_captions(data, model, skip_bad=skip_bad, out=out, **how, **shown)  # type: ignore[arg-type]
    dataset = read_labelled(data, label)
    if predictions is not None:
        scored, note = scoring_part(dataset, split), ""
        known = tables.read_predictions(predictions, scored.names, scored.labels, scored.classes)
        found = replace(known, **_sides(scored, group, slices or ()))
        network, origin = None, provenance(predictions=Path(predictions).name)
    else:
        network = load(model, weights=weights, size=size, device=device, precision=precision, seed=seed)
        scored, note = scored_part(dataset, model, split, keep_seen)
        scored, found = predict_all(network, scored, group, slices or (), batch_size, workers, skip_bad)
        origin = provenance(network)
    evaluation = measure(found, note=note, seed=seed, threshold=threshold, provenance=origin)
    if out is not None:
        facts = {"Network": network.name if network else "predictions made elsewhere", "Scored on": _scored_on(scored)}
        content = Report(
            Path(out).name,
            evaluation,
            facts=facts,
            provenance=origin,
            show_pictures=not no_pictures,
            anonymise=anonymise,
        )
        html = page(content, scored, network)
        with new_folder(out, overwrite) as folder:
            write_file(folder / "report.html", html)
            write_evaluation(folder, evaluation, seed)
    return Result(evaluation, None if out is None else Path(out))


def _is_of_captions(task: str | None, model: str | Path | None) -> bool:
    """Whether captions are scored. Raises `UsageError` where the task is not what the network learnt."""
    learnt = None if model is None else task_of(folder_of(model))
    if check_task(task) is None:
        return learnt == CAPTIONING
    if learnt is not None and (learnt == CAPTIONING) != (task == "caption"):
        raise UsageError(f"{model} is a run of {learnt}, which --task {task} does not fit; leave --task out")
    return task == "caption"


def _check_plain(given: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options that captions have no use for."""
    wrong = [f"--{name}" for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(f"{', '.join(wrong)} cannot be used with captions; leave it out")


def _scored_on(scored: Dataset) -> str:
    splits = ", ".join(scored.splits)
    return f"{len(scored)} pictures" + (f" ({splits})" if splits else "")


def predict_all(
    network: Network,
    scored: Dataset,
    group: str | None,
    slices: Sequence[str],
    batch_size: int,
    workers: int,
    skip_bad: bool,
) -> tuple[Dataset, Predictions]:
    """The pictures that could be read, and what the network says of them."""
    scored = scored.fitted(_names(network))
    kept: list[int] = []
    rows: list[NDArray[np.float32]] = []
    stream = probabilities(network, scored.pictures, batch_size=batch_size, workers=workers, on_bad=skipper(skip_bad))
    with progress("scoring", len(scored)) as advance:
        for indices, values in stream:
            kept += indices
            rows.append(values.numpy())
            advance(len(indices))
    if not kept:
        raise DataError("none of the pictures could be read")
    scored = scored.select(kept)
    return scored, predictions_of(scored, np.concatenate(rows), group, slices)


def _names(network: Network) -> tuple[str, ...]:
    if network.classes is None:
        raise NetworkError(
            f"the {network.outputs} outputs of {network.name} have no names, so labels cannot be matched with them; "
            "evaluate a run (`regard train` makes one), or a checkpoint that knows its classes"
        )
    return network.classes


def predictions_of(
    scored: Dataset, values: NDArray[np.float32], group: str | None, slices: Sequence[str]
) -> Predictions:
    """The record of class probabilities (pictures, classes) with labels, groups and slices."""
    predicted = values.argmax(1).astype(np.int64)
    return Predictions(
        tuple(scored.names), scored.classes, predicted, scored.labels, values, **_sides(scored, group, slices)
    )


def _sides(scored: Dataset, group: str | None, slices: Sequence[str]) -> dict[str, Any]:
    groups = None if group is None else scored.column(group)
    return {"groups": groups, "slices": {name: scored.column(name) for name in slices}}


def stored_predictions(run: str | Path) -> Predictions:
    """What a run said of the pictures it was scored on when it was trained. Raises `NetworkError` for no such run."""
    file = Path(run) / "evaluation" / "predictions.parquet"
    if not is_run(run) or not file.is_file():
        raise NetworkError(f"{run} holds no scored run; give run folders, or --data to score networks on pictures")
    frame = pd.read_parquet(file)
    return tables.from_rows({name: frame[name].tolist() for name in frame.columns}, read_description(run)["classes"])


def evaluation_of(run: str | Path) -> Evaluation:
    """The score of a finished run, made again from what it stored."""
    manifest = read_manifest(Path(run) / "evaluation", "evaluation")
    found = stored_predictions(run)
    return measure(found, note=manifest["note"], seed=manifest["seed"], provenance=manifest["provenance"])


def write_evaluation(folder: Path, evaluation: Evaluation, seed: int = 0) -> None:
    """A result folder's content: scores, tables for a notebook, figures for a paper; the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", scores_json(evaluation))
    write_file(folder / "per_class.csv", _csv(tables.per_class(evaluation)))
    write_file(folder / "confusion.csv", _csv(_confusion(evaluation)))
    frame = pd.DataFrame(tables.per_picture(evaluation))
    frame.to_parquet(folder / "predictions.parquet", index=False)
    write_file(
        folder / "confusion.png", chart_png(confusion_chart(evaluation.confusion, evaluation.predictions.classes))
    )
    write_file(folder / "per_class.png", chart_png(classes_chart(evaluation.per_class)))
    if evaluation.reliability:
        chart = reliability_chart(evaluation.reliability, evaluation.scores.get("ece"))
        write_file(folder / "reliability.png", chart_png(chart))
    origin = dict(evaluation.provenance)
    write_manifest(folder, "evaluation", note=evaluation.note, n=evaluation.n, seed=seed, provenance=origin)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def _confusion(evaluation: Evaluation) -> list[dict[str, Any]]:
    """A row per true class, a column per predicted one."""
    classes = evaluation.predictions.classes
    return [
        {"true": name, **dict(zip(classes, map(int, row), strict=True))}
        for name, row in zip(classes, evaluation.confusion, strict=True)
    ]


def as_json(result: Result | CaptionResult) -> dict[str, Any]:
    if isinstance(result, CaptionResult):
        return captions_json(result)
    where = {} if result.out is None else {"out": str(result.out), "report": str(result.out / "report.html")}
    return {**where, **scores_json(result.evaluation)}


def as_text(result: Result | CaptionResult) -> str:
    found = result.scored if isinstance(result, CaptionResult) else result.evaluation
    width = max(map(len, found.scores))
    lines = [f"{name:<{width}}  {score}" for name, score in found.scores.items()]
    note = [f"({found.note})"] if found.note else []
    where = [] if result.out is None else [f"report: {result.out / 'report.html'}"]
    return "\n".join([f"{found.n} pictures, values with 95 % intervals", *lines, *note, *where])
