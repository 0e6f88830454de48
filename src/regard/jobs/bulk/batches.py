"""A predictor as a function of batches, for pipelines of others: columns in, columns out, memory of one batch."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np

from regard.data import MAX_PIXELS
from regard.data.openers import Opener, opener_of
from regard.errors import DataError, UsageError
from regard.jobs.bulk.columns import columns_of
from regard.jobs.bulk.reading import Decoded
from regard.jobs.bulk.tasks import Task, load_task
from regard.jobs.bulk.work import Work
from regard.predictors.captioner import Captioner
from regard.predictors.classifier import Classifier
from regard.predictors.explainer import Explainer

_COMMANDS: Mapping[type, str] = {Classifier: "predict", Explainer: "explain", Captioner: "caption"}


class BatchFunction:
    """What `map_batches` of Ray Data and `map` of datasets take, and tables of pandas: columns in, columns out.

    In the column `image` are encoded bytes, paths, `{"bytes": ..., "path": ...}` as datasets has them, arrays (height,
    width, 3), images of Pillow's. Out come the other columns as they are (`keep` names those that stay), what
    `columns` names as `regard predict|explain|caption --columns` does, and `error`: why a picture could not be read,
    which ends no pipeline, else None. Where there is an error other texts are None, numbers NaN or -1, lists empty.

    `settings` are those of the command (`method`, `target`, ...). `batch_size` pictures at most are computed at once,
    `workers` threads decode. It is pickled with its predictor: see `regard.Classifier`.

    >>> from regard import Classifier
    >>> from regard.scenes import render, sample
    >>> function = BatchFunction(Classifier("pets-tiny", device="cpu"), columns="confidence")
    >>> result = function({"key": ["a", "b"], "image": [render(sample(3)).picture, b"no picture"]})
    >>> list(result)
    ['key', 'confidence', 'error']
    >>> result["confidence"].dtype, result["error"][0]
    (dtype('float32'), None)
    """

    def __init__(
        self,
        predictor: Classifier | Explainer | Captioner,
        image: str = "image",
        columns: str | Sequence[str] | None = None,
        *,
        keep: Sequence[str] | None = None,
        batch_size: int = 32,
        workers: int = 2,
        **settings: Any,
    ) -> None:
        command = next((command for kind, command in _COMMANDS.items() if isinstance(predictor, kind)), None)
        if command is None:
            kinds = ", ".join(f"regard.{kind.__name__}" for kind in _COMMANDS)
            raise UsageError(f"a {type(predictor).__name__} cannot work on batches; give a predictor: {kinds}")
        self.predictor = predictor
        self.image = image
        self.columns = columns_of(command, columns)
        self.keep = None if keep is None else tuple(keep)
        self.batch_size = batch_size
        self.workers = workers
        self.command = command
        self.settings = {"method": "attention", **settings} if command == "explain" else settings
        self._task: Task | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_task": None}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a batch, with those of the results. Raises `UsageError` where it has no column of pictures."""
        if self.image not in batch:
            raise UsageError(f"the batch has no column {self.image!r}, only {', '.join(map(str, batch))}; give image=")
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            cells = list(batch[self.image])
            self._load()
            pictures = list(pool.map(self._decode, cells, map(str, range(len(cells)))))
        rows: list[dict[str, Any]] = [{"error": picture.error} for picture in pictures]
        good = [place for place, picture in enumerate(pictures) if picture.error is None]
        for start in range(0, len(good), self.batch_size):
            places = good[start : start + self.batch_size]
            values, failures = self._load().columns([pictures[place] for place in places])
            for index, place in enumerate(places):
                if index in failures:
                    rows[place] = {"error": failures[index]}
                else:
                    rows[place] |= {field: column[index] for field, column in values.items()}
        fields = {field: kind for column in self.columns for field, kind in column.fields.items()}
        names = [name for name in batch if name != self.image] if self.keep is None else self.keep
        results = {field: _array([row.get(field) for row in rows], kind) for field, kind in fields.items()}
        return {**{name: batch[name] for name in names}, **results, "error": _array([row["error"] for row in rows], "")}

    def _load(self) -> Task:
        """What computes the columns, made when it is first needed."""
        if self._task is None:
            names = tuple(column.name for column in self.columns)
            self._task = load_task(
                Work(
                    self.command,
                    cast(Any, None),  # batches come from elsewhere, and go there
                    "",
                    self.predictor.network,
                    {},
                    self.settings,
                    names,
                    self.batch_size,
                    0,
                    MAX_PIXELS,
                    0,
                )
            )
        return self._task

    def _decode(self, cell: Any, key: str) -> Decoded:
        try:
            return Decoded(key, None, None, self._load().decode(_opener(cell)))
        except (DataError, UsageError) as error:
            return Decoded(key, None, None, None, " ".join(str(error).split()) or "it cannot be read")


def _opener(cell: Any) -> Opener:
    """The picture in a cell."""
    if isinstance(cell, Mapping):  # as datasets has pictures that are not decoded
        content = cell.get("bytes")
        cell = cell.get("path") if content is None else content
    if cell is None:
        raise DataError("there is no picture in this row")
    return opener_of(bytes(cell) if isinstance(cell, bytearray | memoryview) else cell, "the picture")


def _array(values: list[Any], kind: str) -> Any:
    """A column of one type, whatever is missing in it; lists are each an array of their own, however long."""
    if kind.startswith("float"):
        return np.array([np.nan if value is None else value for value in values], kind)
    if kind.startswith("int"):
        return np.array([-1 if value is None else value for value in values], kind)
    if kind == "bool":
        return np.array([bool(value) for value in values])
    column = np.empty(len(values), object)
    for place, value in enumerate(values):
        if kind.startswith("list string"):
            value = [] if value is None else list(value)
        elif kind.startswith("list ") or kind.endswith("]"):
            name = kind.removeprefix("list ").partition("[")[0]
            value = np.array([] if value is None else value, name)
        column[place] = value
    return column
