"""All rows of METRICS of one kind, on the same data."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from regard.errors import UsageError
from regard.measurement import METRICS
from regard.records import Score


def measure(
    kind: str, data: Any, available: Collection[str], *, seed: int = 0, resamples: int = 2000
) -> dict[str, Score]:
    """Every row of this kind whose needs are `available`, by name; a score is NaN where it is not defined."""
    rows = [row.name for row in METRICS if row.kind == kind and set(row.needs) <= set(available)]
    return {name: score(name, data, seed=seed, resamples=resamples) for name in rows}


def score(name: str, data: Any, *, seed: int = 0, resamples: int = 2000) -> Score:
    """One row's score with its label and description. Raises `UsageError` where its function gives something else."""
    value = METRICS.load(name)(data, seed=seed, resamples=resamples)
    if not isinstance(value, Score):
        raise UsageError(
            f"metric {name!r} ({METRICS[name].target}) returned {type(value).__name__}; it must return a records.Score"
        )
    return labelled(name, value)


def labelled(name: str, score: Score) -> Score:
    """A score with the label and description of its row; one whose row is no more stays bare."""
    if name not in METRICS:
        return score
    return replace(score, label=METRICS[name].label, description=METRICS[name].description)
