"""What the pipeline hands on: frozen results with their provenance, in numpy alone.

A record can be saved, loaded and drawn where torch is not installed. Layers, heads, rows, columns and class indices
count from 0. Pictures are (height, width), boxes are (left, top, right, bottom) in pixels of the user's own picture.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.files import SCHEMA, check_schema, new_folder, write_json

Box = tuple[float, float, float, float]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class PatchGrid:
    """Where a network's patch tokens lie in the user's own picture.

    `rows` × `columns` patches cover `box` evenly; `prefix` tokens (CLS, registers, distillation) come before them.
    `box` is the part of the picture that the network saw: the whole of it when it was squashed, less when cropped,
    more (beyond the edges) when padded.
    """

    rows: int
    columns: int
    prefix: int
    picture: tuple[int, int]
    box: Box

    @classmethod
    def whole(cls, rows: int, columns: int, prefix: int = 0, picture: tuple[int, int] | None = None) -> Self:
        """A grid over a whole picture, by default one of a pixel a patch."""
        height, width = picture or (rows, columns)
        return cls(rows, columns, prefix, (height, width), (0.0, 0.0, float(width), float(height)))

    @property
    def patches(self) -> int:
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        return self.prefix + self.patches

    def fold(self, values: NDArray[Any]) -> NDArray[Any]:
        """(..., tokens) or (..., patches) → (..., rows, columns); prefix tokens are dropped."""
        if values.shape[-1] == self.tokens:
            values = values[..., self.prefix :]
        if values.shape[-1] != self.patches:
            raise DataError(
                f"{values.shape[-1]} values do not fit a grid of {self.rows} × {self.columns} patches after "
                f"{self.prefix} prefix tokens; there must be {self.patches} or {self.tokens}"
            )
        return values.reshape(*values.shape[:-1], self.rows, self.columns)

    def cell(self, row: int, column: int) -> Box:
        """The part of the user's picture that a patch covers, as (left, top, right, bottom) in its pixels."""
        left, top, right, bottom = self.box
        wide, high = (right - left) / self.columns, (bottom - top) / self.rows
        return left + column * wide, top + row * high, left + (column + 1) * wide, top + (row + 1) * high

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        """The (row, column) of the patch that covers a point of the picture, or None outside of `box`."""
        left, top, right, bottom = self.box
        if not (left <= x < right and top <= y < bottom):
            return None
        row, column = (y - top) / (bottom - top) * self.rows, (x - left) / (right - left) * self.columns
        return min(int(row), self.rows - 1), min(int(column), self.columns - 1)

    def to_picture(self, values: NDArray[Any], size: tuple[int, int] | None = None, nearest: bool = False) -> Float:
        """(rows, columns) → the picture's (height, width), bilinear between patch centres, NaN outside of `box`.

        `size` gives another (height, width) for the whole picture, a thumbnail's say. Beyond the outermost patch
        centres the nearest patch's value is kept; `nearest` keeps patches as squares everywhere.
        """
        height, width = size or self.picture
        left, top, right, bottom = self.box
        down = _weights(height, self.picture[0], top, bottom, self.rows, nearest)
        across = _weights(width, self.picture[1], left, right, self.columns, nearest)
        return (down @ np.asarray(values, np.float32) @ across.T).astype(np.float32)  # (height, width)


def _weights(pixels: int, extent: int, start: float, stop: float, patches: int, nearest: bool) -> Float:
    """(pixels, patches): how much of each patch a pixel's centre takes; a row of NaN where it lies outside."""
    centre = (np.arange(pixels) + 0.5) * (extent / pixels)
    place = (centre - start) / (stop - start) * patches - 0.5  # in patches: 0 is the first one's centre
    inside = (centre >= start) & (centre <= stop)
    place = np.clip(np.round(place) if nearest else place, 0, patches - 1)
    low = np.minimum(np.floor(place).astype(int), max(patches - 2, 0))
    weights = np.zeros((pixels, patches), np.float32)
    rows = np.arange(pixels)
    weights[rows, np.minimum(low + 1, patches - 1)] += place - low
    weights[rows, low] += 1 - (place - low)
    weights[~inside] = np.nan
    return weights


@dataclass(frozen=True)
class Heatmap:
    """One map over one picture: `values` (rows, columns) float32 on `grid`, of the picture called `name`."""

    values: Float
    grid: PatchGrid
    name: str
    target: int | None = None

    def on_picture(self, size: tuple[int, int] | None = None) -> Float:
        """The map at the size of the user's picture, NaN where the network did not look: see `to_picture`."""
        return self.grid.to_picture(self.values, size)


@dataclass(frozen=True)
class Explanation:
    """The maps of one method over pictures, with what is needed to make them again.

    `settings` are the method's (layer, head, query, target); `provenance` names network, weights and versions.
    Saved as a result folder: `maps.npy` (picture × rows × columns, float32) and, last, `manifest.json`.
    """

    heatmaps: tuple[Heatmap, ...]
    method: str
    signed: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.heatmaps)

    def __iter__(self) -> Iterator[Heatmap]:
        return iter(self.heatmaps)

    def __getitem__(self, index: int) -> Heatmap:
        return self.heatmaps[index]

    @property
    def maps(self) -> Float:
        """(pictures, rows, columns) float32."""
        return np.stack([heatmap.values for heatmap in self.heatmaps]).astype(np.float32, copy=False)

    def _repr_png_(self) -> bytes:
        from regard.rendering.figure import explanation_png  # late: a record is numpy alone, only its display draws

        return explanation_png(self)

    def save(self, folder: Path | str, overwrite: bool = False) -> Path:
        """Write the result folder; it appears whole or not at all. Raises `OutputError` if it exists."""
        with new_folder(folder, overwrite) as aside:
            self.write(aside)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write arrays, then the manifest, into an existing folder (one that `new_folder` gave)."""
        np.save(folder / "maps.npy", self.maps)
        pictures = [{"name": heatmap.name, "target": heatmap.target, "grid": asdict(heatmap.grid)} for heatmap in self]
        write_manifest(
            folder,
            "explanation",
            method=self.method,
            signed=self.signed,
            settings=dict(self.settings),
            provenance=dict(self.provenance),
            pictures=pictures,
        )

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a result folder. Raises `DataError` when it is not whole or not an explanation."""
        manifest = read_manifest(folder, "explanation")
        maps = np.load(Path(folder) / "maps.npy", allow_pickle=False)
        heatmaps = tuple(
            Heatmap(values, _grid(picture["grid"]), picture["name"], picture["target"])
            for values, picture in zip(maps, manifest["pictures"], strict=True)
        )
        return cls(heatmaps, manifest["method"], manifest["signed"], manifest["settings"], manifest["provenance"])


def _grid(stored: Mapping[str, Any]) -> PatchGrid:
    """A PatchGrid from JSON, whose lists become tuples again."""
    return PatchGrid(
        stored["rows"], stored["columns"], stored["prefix"], tuple(stored["picture"]), tuple(stored["box"])
    )


@dataclass(frozen=True)
class Word:
    """A word of a caption: its probability (0 to 1) and, where there is one, the map of where the network looked."""

    text: str
    probability: float
    heatmap: Heatmap | None = None
    part_of_speech: str | None = None


@dataclass(frozen=True)
class Caption:
    """What a network said of the picture called `name`, word by word."""

    name: str
    text: str
    words: tuple[Word, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A number with its 95 % interval and the count of pictures behind it; NaN where it is not defined."""

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | None]:
        """`{"value", "low", "high"}`; null where the number is not defined, as JSON has no NaN."""
        return {name: _number(getattr(self, name)) for name in ("value", "low", "high")}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class Predictions:
    """What a classifier said of pictures, and what is true.

    `predicted` (n,) int and `labels` (n,) int are indices into `classes`; `probabilities` (n, classes) float32 has
    rows that sum to 1, or is None where only names are known. `groups` (n,) str keeps pictures of one patient, animal
    or site together; `slices` maps a column's name to its (n,) values. `confidence` (n,) float32 is the probability of
    the predicted class, for predictions made elsewhere of which no other is known; else it follows from the others.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: Float | None = None
    groups: NDArray[Any] | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    confidence: Float | None = None

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ClassScores:
    """One class against the rest. `n` counts its pictures; sensitivity and specificity are at `threshold`.

    A `threshold` of NaN stands for the decision that was made: the class is said of a picture when it is predicted.
    """

    name: str
    n: int
    precision: Score
    recall: Score
    f1: float
    auroc: float
    threshold: float
    sensitivity: Score
    specificity: Score


@dataclass(frozen=True)
class SliceScore:
    """The accuracy on the pictures whose `column` has this `value`."""

    column: str
    value: str
    top1: Score


@dataclass(frozen=True)
class ReliabilityBin:
    """The pictures whose confidence lies in (low, high]: how many, how sure on average, how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """The score of a classifier on pictures: what `measurement.classify` measures and the report page shows.

    `scores` by name (`top1`, `balanced_accuracy`, `top5`, `ece`, ...); `confusion` (true class, predicted class)
    counts; `mistakes`, `uncertain` and `suspects` (likely label errors) are picture indices into `predictions`,
    worst first. `note` says what a reader must know of the number: "" or "seen in training" or "selected on".
    """

    predictions: Predictions
    scores: Mapping[str, Score]
    per_class: tuple[ClassScores, ...]
    confusion: NDArray[np.int64]
    reliability: tuple[ReliabilityBin, ...] = ()
    slices: tuple[SliceScore, ...] = ()
    mistakes: tuple[int, ...] = ()
    uncertain: tuple[int, ...] = ()
    suspects: tuple[int, ...] = ()
    note: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.predictions)


@dataclass(frozen=True)
class ComparedRun:
    """One row of a comparison: a run's name and its scores by name (`top1`, `balanced_accuracy`, `ece`)."""

    name: str
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Difference:
    """A run against `first`, the run that all are compared with: `top1` is its accuracy minus the other's, in [-1, 1].

    `only_this` and `only_first` count the pictures that one of the two alone gets right; `p` is the exact McNemar
    test's, two-sided, over pictures or, `by_group`, over groups. `remark` says why a `p` cannot be small.
    """

    name: str
    first: str
    top1: Score
    only_this: int
    only_first: int
    p: float
    by_group: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Comparison:
    """Runs on the very same `n` pictures; `notes` by run say what a number is marked with ("seen in training")."""

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    n: int
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Positions:
    """How alike a network's positional embeddings are.

    `similarity` (rows, columns, rows, columns) float32 in [-1, 1]: the cosine of each patch position with every
    other, CLS left out. `numbers` are its summaries by name.
    """

    similarity: Float
    numbers: Mapping[str, float]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return int(self.similarity.shape[0])

    @property
    def columns(self) -> int:
        return int(self.similarity.shape[1])


def write_manifest(folder: Path, kind: str, **content: Any) -> None:
    """Finish a result folder: `manifest.json` with schema version and kind, always the last file written."""
    write_json(folder / "manifest.json", {"schema": SCHEMA, "kind": kind, **content})


def read_manifest(folder: Path | str, kind: str) -> dict[str, Any]:
    """The manifest of a finished result folder of this kind; a `DataError` says what else it is."""
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise DataError(f"{folder} is not a finished result of regard: it has no manifest.json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    check_schema(manifest, path)
    if manifest.get("kind") != kind:
        raise DataError(f"{folder} holds a result of kind {manifest.get('kind')!r}, not {kind!r}")
    return dict(manifest)
