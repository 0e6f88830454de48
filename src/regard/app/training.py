"""What the trainings of all tasks do alike around the work itself: notes along the way, pictures read and hashed."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Dataset, skipper
from regard.data.hashes import Duplicate, across_splits, duplicates, fingerprints, picture_hashes
from regard.data.images.decode import open_picture
from regard.errors import DataError, unknown
from regard.training.recipe import Recipe

log = logging.getLogger("regard")

TASKS = ("classify", "caption")
"""What a network can learn."""


def check_task(task: str | None) -> str | None:
    """The task, if one is named. Raises `UsageError` for one that there is not."""
    if task not in (None, *TASKS):
        raise unknown("task", task, TASKS)
    return task


@dataclass
class Notes:
    """What is noted along the way: `metrics` (no times in them: equal runs have equal metrics), `times`, `messages`."""

    metrics: list[dict[str, Any]] = field(default_factory=list)
    times: list[dict[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Say something that the report repeats."""
        log.warning(message)
        self.messages.append(message)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.times.append({"phase": name, "seconds": round(time.perf_counter() - start, 3)})


@dataclass(frozen=True)
class Page:
    """What the user wants of the report."""

    title: str
    no_pictures: bool
    anonymise: bool


@dataclass(frozen=True)
class Hashed:
    """Pictures that can all be read, the SHA-256 of each by name, and which are the same or nearly."""

    dataset: Dataset
    hashes: Mapping[str, str]
    pairs: Sequence[Duplicate]

    @property
    def twins(self) -> list[tuple[int, int]]:
        """Indices of pictures that must stay on one side of a split."""
        return [(pair.first, pair.second) for pair in self.pairs]


def hashed(dataset: Dataset, notes: Notes, skip_bad: bool) -> Hashed:
    """Read every picture once. Raises `DataError` for one that cannot be read, or, with `skip_bad`, goes without it;
    warns of the same picture on both sides of the user's own split."""
    looks = fingerprints(dataset.pictures)
    if not looks.readable.all():
        _name_unreadable(dataset, looks.readable, skip_bad)
        dataset = dataset.select(np.flatnonzero(looks.readable).tolist())
        looks = looks.of_readable()
    hashes = picture_hashes(dataset.pictures)
    pairs = duplicates(dataset, hashes, looks)
    if leaking := across_splits(dataset, pairs):
        notes.warn(named_pairs(dataset, leaking, "on both sides of the split: the score looks better than it is"))
    return Hashed(dataset, hashes, pairs)


def _name_unreadable(dataset: Dataset, readable: NDArray[np.bool_], skip_bad: bool) -> None:
    """Say what is wrong with each picture that cannot be read; raises the first `DataError` unless `skip_bad`."""
    on_bad = skipper(skip_bad)
    for index in np.flatnonzero(~readable):
        picture = dataset.pictures[index]
        try:
            open_picture(picture.opener)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(picture, error)


def named_pairs(dataset: Dataset, pairs: Sequence[Duplicate], what: str) -> str:
    first = pairs[0]
    names = f"{dataset.names[first.first]} and {dataset.names[first.second]}"
    more = f", and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
    return f"the same picture {what}: {names}{more}"


def shareable(recipe: Recipe) -> dict[str, Any]:
    """The recipe's arguments and settings without the folders of this machine."""
    arguments = {
        name: Path(value).name if name in ("model", "weights") else value
        for name, value in recipe.arguments.items()
        if value is not None
    }
    return {"recipe": recipe.name, **arguments, **({} if recipe.settings is None else recipe.settings.as_json())}


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def said(value: Any) -> str:
    """A fact of the training for the report."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {said(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
