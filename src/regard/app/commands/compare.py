"""`regard compare`: runs side by side on the same pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regard.app.commands.evaluate import predict_all, stored_predictions
from regard.app.seen import scored_part
from regard.data.layouts import read_labelled
from regard.errors import DataError, UsageError
from regard.files import check_free, new_folder, write_file, write_json
from regard.measurement.classification.compare import compare as measure
from regard.networks.load import load
from regard.records import Comparison, Predictions, write_manifest


def compare(
    runs: Sequence[str | Path],
    data: str | Path | None = None,
    label: str = "label",
    split: str | None = None,
    group: str | None = None,
    keep_seen: bool = False,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 32,
    workers: int = 2,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Compare runs with the first of them, picture by picture.

    Without `data` on what each run scored when it was trained; with it, all are scored on the same part of `data`,
    less the pictures that any of them was trained on. Raises `DataError` when the runs' pictures differ.
    """
    names = _names(runs)
    if out is not None:
        check_free(out, overwrite)
    if data is None:
        found, notes = {name: stored_predictions(run) for name, run in names.items()}, dict[str, str]()
    else:
        settings = {"device": device, "precision": precision, "seed": seed}
        found, notes = _scored(names, data, label, split, group, keep_seen, settings, batch_size, workers)
    comparison = measure(found, seed=seed, notes=notes)
    if out is not None:
        with new_folder(out, overwrite) as folder:
            write_json(folder / "comparison.json", as_json(comparison))
            write_file(folder / "comparison.csv", str(pd.DataFrame(_rows(comparison)).to_csv(index=False)))
            write_manifest(folder, "comparison", n=comparison.n, runs=list(names))
    return comparison


def _names(runs: Sequence[str | Path]) -> dict[str, str | Path]:
    """Each run by the last part of its path, or by the whole where those are equal."""
    short = [Path(run).name for run in runs]
    if len(set(map(str, runs))) < len(runs):
        raise UsageError("the same run is given twice; a run does not differ from itself")
    return {str(run) if short.count(name) > 1 else name: run for run, name in zip(runs, short, strict=True)}


def _scored(
    names: Mapping[str, str | Path],
    data: str | Path,
    label: str,
    split: str | None,
    group: str | None,
    keep_seen: bool,
    settings: Mapping[str, Any],
    batch_size: int,
    workers: int,
) -> tuple[dict[str, Predictions], dict[str, str]]:
    """Every run on the pictures that are fair to all of them."""
    dataset = read_labelled(data, label)
    parts = {name: scored_part(dataset, run, split, keep_seen) for name, run in names.items()}
    fair = set.intersection(*({*part.names} for part, _ in parts.values()))
    if not fair:
        raise DataError(
            f"no picture of {data} is new to all runs; --keep-seen scores those that were learnt, and says so"
        )
    found = {}
    for name, run in names.items():
        part = parts[name][0]
        part = part.select(index for index, picture in enumerate(part.names) if picture in fair)
        network = load(run, **settings)
        found[name] = predict_all(network, part, group, (), batch_size, workers, skip_bad=False)[1]
    return found, {name: note for name, (_, note) in parts.items() if note}


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
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


def as_json(comparison: Comparison) -> dict[str, Any]:
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


def as_text(comparison: Comparison) -> str:
    width = max(len(run.name) for run in comparison.runs)
    columns = list(comparison.runs[0].scores)
    lines = [
        f"{comparison.n} pictures, values with 95 % intervals",
        f"{'run':<{width}}  {'  '.join(f'{c:<22}' for c in columns)}",
    ]
    lines += [f"{run.name:<{width}}  {'  '.join(f'{run.scores[c]!s:<22}' for c in columns)}" for run in comparison.runs]
    for each in comparison.differences:
        gain, unit = each.top1, "groups" if each.by_group else "pictures"
        lines.append(f"{each.name} minus {each.first}: {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]")
        lines.append(f"  right only here: {each.only_this} pictures, only there: {each.only_first}")
        lines.append(f"  exact McNemar test over {unit}: p = {each.p:.3g}{f' ({each.remark})' if each.remark else ''}")
    return "\n".join(lines + [f"{name}: {note}" for name, note in comparison.notes.items()])
