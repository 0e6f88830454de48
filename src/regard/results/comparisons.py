"""What a comparison of runs leaves in a folder.

comparison.json  all of it
comparison.csv   a row for each run; parts.csv one for each class and slice; changes.csv one for each picture that
                 one of two alone gets right
manifest.json    written last
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regard.errors import UsageError
from regard.files import write_file, write_json
from regard.records import (
    AuditComparison,
    Change,
    Comparison,
    Difference,
    LabelComparison,
    PartDifference,
    WordAuditComparison,
    write_manifest,
)
from regard.results.evaluations import Row, csv_text, spread

FILES = ("comparison.json", "comparison.csv", "parts.csv", "changes.csv")


def run_names(runs: Sequence[str | Path]) -> dict[str, str | Path]:
    """Each run by the last part of its path, or, where others have that too, by as many as tell it from them."""
    if len(set(map(str, runs))) < len(runs):
        raise UsageError("the same run is given twice; a run does not differ from itself")
    names = {}
    for run in runs:
        tails = [Path(*Path(run).parts[-count:]).as_posix() for count in range(1, len(Path(run).parts) + 1)]
        others = [f"/{Path(other).as_posix()}" for other in runs if other is not run]
        unique = (tail for tail in tails if not any(other.endswith(f"/{tail}") for other in others))
        names[next(unique, str(run))] = run
    return names


def write_comparison(folder: Path, comparison: Comparison | LabelComparison) -> None:
    """The numbers and their tables; the manifest last."""
    write_json(folder / "comparison.json", as_json(comparison))
    if isinstance(comparison, LabelComparison):
        rows = [
            {
                "run": each.name,
                "label": each.label or "mean of labels",
                **spread("ap_first", each.before),
                **spread("ap_this", each.after),
                **spread("difference", each.ap),
            }
            for each in (*comparison.differences, *comparison.per_label)
        ]
        write_file(folder / "labels.csv", csv_text(rows))
        write_manifest(folder, "comparison", n=comparison.n, runs=[run.name for run in comparison.runs])
        return
    tables: Sequence[list[Row]] = (
        _rows(comparison),
        [_part_row(part) for part in (*comparison.classes, *comparison.slices)],
        [_change_json(change) for change in comparison.changes],
    )
    for name, rows in zip(FILES[1:], tables, strict=True):
        if rows:
            write_file(folder / name, csv_text(rows))
    write_manifest(folder, "comparison", n=comparison.n, runs=[run.name for run in comparison.runs])


def as_json(comparison: Comparison | LabelComparison | AuditComparison | WordAuditComparison) -> dict[str, Any]:
    """The comparison as JSON; what is not defined is null."""
    if isinstance(comparison, AuditComparison | WordAuditComparison):
        return comparison.as_json()
    if isinstance(comparison, LabelComparison):
        return _labels_json(comparison)
    return {
        "n": comparison.n,
        "runs": [
            {"name": run.name, **{name: score.as_json() for name, score in run.scores.items()}}
            for run in comparison.runs
        ],
        "differences": [_difference_json(each) | {"p": each.p} for each in comparison.differences],
        "notes": dict(comparison.notes),
        "classes": [{"class": part.value, **_part_json(part)} for part in comparison.classes],
        "slices": [{"column": part.column, "value": part.value, **_part_json(part)} for part in comparison.slices],
        "changes": [_change_json(change) for change in comparison.changes],
    }


def _labels_json(comparison: LabelComparison) -> dict[str, Any]:
    return {
        "n": comparison.n,
        "runs": [
            {"name": run.name, **{name: score.as_json() for name, score in run.scores.items()}}
            for run in comparison.runs
        ],
        "differences": [
            {"name": each.name, "first": each.first, "map": each.ap.as_json()} for each in comparison.differences
        ],
        "exact_match": [
            {name: value for name, value in _difference_json(each).items() if name != "top1"}
            | {"exact_match": each.top1.as_json(), "p": each.p}
            for each in comparison.exact
        ],
        "labels": [
            {
                "label": each.label,
                "name": each.name,
                "first": each.first,
                "ap_first": each.before.as_json(),
                "ap_this": each.after.as_json(),
                "ap": each.ap.as_json(),
            }
            for each in comparison.per_label
        ],
        "notes": dict(comparison.notes),
    }


def _difference_json(each: Difference) -> dict[str, Any]:
    about = {"name": each.name, "first": each.first, "top1": each.top1.as_json()}
    return {**about, "only_this": each.only_this, "only_first": each.only_first}


def _part_json(part: PartDifference) -> dict[str, Any]:
    scores = {"top1_first": part.first.as_json(), "top1_this": part.this.as_json()}
    return {"n": part.first.n, **scores, **_difference_json(part.difference)}


def _change_json(change: Change) -> dict[str, Any]:
    numbers = {"confidence": change.confidence, "first_confidence": change.first_confidence}
    plain = {name: value if value == value else None for name, value in numbers.items()}  # NaN differs from itself
    return {**vars(change), **plain}


def _rows(comparison: Comparison) -> list[Row]:
    """One row a run: its scores, and how it differs from the first."""
    differences = {each.name: each for each in comparison.differences}
    rows = []
    for run in comparison.runs:
        row: Row = {"run": run.name, "n": comparison.n}
        for name, score in run.scores.items():
            row |= spread(name, score)
        if each := differences.get(run.name):
            row |= {**spread("difference", each.top1), "only_this": each.only_this, "only_first": each.only_first}
            row["p"] = each.p
        rows.append(row)
    return rows


def _part_row(part: PartDifference) -> Row:
    each = part.difference
    place = {"run": each.name, "column": part.column or "class", "value": part.value, "n": part.first.n}
    scores = {**spread("top1_first", part.first), **spread("top1_this", part.this)}
    counts = {"only_this": each.only_this, "only_first": each.only_first}
    return {**place, **scores, **spread("difference", each.top1), **counts}
