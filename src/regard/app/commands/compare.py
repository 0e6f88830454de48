"""`regard compare`: runs side by side on the same pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app.options import (
    DATA,
    BatchSize,
    Device,
    Group,
    Label,
    MaxPixels,
    MaybeOut,
    Overwrite,
    Precision,
    Seed,
    Split,
    Workers,
    argument,
    option,
)
from regard.data import MAX_PIXELS
from regard.errors import UsageError
from regard.files import check_free, new_folder, write_file, write_json

if TYPE_CHECKING:
    from regard.records import Comparison


def compare(
    runs: Annotated[
        Sequence[str | Path],
        argument("Two runs or more; the first is what the others are compared with.", type=list[str]),
    ],
    data: Annotated[
        str | Path | None,
        option("Score all on these pictures, instead of what they scored when trained.", type=Path | None),
    ] = None,
    label: Label = "label",
    split: Split = None,
    group: Group = None,
    keep_seen: Annotated[bool, option("Score pictures of the trainings too.", "--keep-seen", panel=DATA)] = False,
    device: Device = None,
    precision: Precision = "float32",
    batch_size: BatchSize = 32,
    workers: Workers = 2,
    seed: Seed = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    out: MaybeOut = None,
    overwrite: Overwrite = False,
) -> "Comparison":
    """Compare runs on the very same pictures: one table with paired differences.

    Without `data` on what each run scored when it was trained; with it, all are scored on the same part of `data`,
    less the pictures that any of them was trained on. Raises `DataError` when the runs' pictures differ.
    """
    from regard.app.console import progress
    from regard.data.layouts import read_labelled
    from regard.measurement.classification.compare import compare as measure
    from regard.measurement.classification.scoring import predict_common, stored_predictions
    from regard.records import write_manifest
    from regard.results.evaluations import csv_text

    names = _names(runs)
    if out is not None:
        check_free(out, overwrite)
    if data is None:
        predictions = {name: stored_predictions(run) for name, run in names.items()}
        notes: dict[str, str] = {}
    else:
        predictions, notes = predict_common(
            names,
            read_labelled(data, label).up_to(max_pixels),
            split=split,
            group=group,
            keep_seen=keep_seen,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
            device=device,
            precision=precision,
            seed=seed,
        )
    comparison = measure(predictions, seed=seed, notes=notes)
    if out is not None:
        with new_folder(out, overwrite) as folder:
            write_json(folder / "comparison.json", as_json(comparison))
            write_file(folder / "comparison.csv", csv_text(_rows(comparison)))
            write_manifest(folder, "comparison", n=comparison.n, runs=list(names))
    return comparison


def _names(runs: Sequence[str | Path]) -> dict[str, str | Path]:
    """Each run by the last part of its path, or by the whole where those are equal."""
    short = [Path(run).name for run in runs]
    if len(set(map(str, runs))) < len(runs):
        raise UsageError("the same run is given twice; a run does not differ from itself")
    return {str(run) if short.count(name) > 1 else name: run for run, name in zip(runs, short, strict=True)}


def _rows(comparison: "Comparison") -> list[dict[str, Any]]:
    """One row a run: its scores, and how it differs from the first."""
    differences = {each.name: each for each in comparison.differences}
    rows = []
    for run in comparison.runs:
        row: dict[str, Any] = {"run": run.name, "n": comparison.n}
        for name, score in run.scores.items():
            row |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        if each := differences.get(run.name):
            row |= {"difference": each.top1.value, "difference_low": each.top1.low, "difference_high": each.top1.high}
            row |= {"only_this": each.only_this, "only_first": each.only_first, "p": each.p}
        rows.append(row)
    return rows


def as_json(comparison: "Comparison") -> dict[str, Any]:
    return {
        "n": comparison.n,
        "runs": [
            {"name": run.name, **{name: score.as_json() for name, score in run.scores.items()}}
            for run in comparison.runs
        ],
        "differences": [
            {
                "name": each.name,
                "first": each.first,
                "top1": each.top1.as_json(),
                "only_this": each.only_this,
                "only_first": each.only_first,
                "p": each.p,
            }
            for each in comparison.differences
        ],
        "notes": dict(comparison.notes),
    }


def as_text(comparison: "Comparison") -> str:
    return comparison.text
