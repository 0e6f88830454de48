"""Numbers with their intervals, and what they were measured on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.records.display import Displayed, Readable, Row, Rows, aligned, counted, few, rounded, table
from regard.records.grid import Float

if TYPE_CHECKING:
    from regard.records.mending import Mending


@dataclass(frozen=True, repr=False)
class Score(Readable):
    """A number with its 95 % interval and the count of pictures behind it; NaN where it is not defined.

    `label` and `description` say in words what was measured, as the row of METRICS does; `note` why there is no
    interval or no number. They are no part of its value.

    >>> accuracy = Score(0.838, 0.737, 0.905, n=74, label="Accuracy")
    >>> print(accuracy)
    0.838 [0.737, 0.905]
    >>> accuracy.as_json()
    {'value': 0.838, 'low': 0.737, 'high': 0.905}
    >>> print(Score(0.5, float("nan"), float("nan"), n=1, note="no interval: one picture"))
    0.500 (no interval: one picture)
    """

    value: float
    low: float
    high: float
    n: int
    label: str = field(default="", compare=False)
    description: str = field(default="", compare=False)
    note: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        """`{"value", "low", "high"}`, and "note" where there is one; null where a number is not defined, as JSON has no
        NaN."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        numbers = {name: float(value) if np.isfinite(value) else None for name, value in ends.items()}
        return numbers | ({"note": self.note} if self.note else {})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave, with its `n` beside it, and its words where they are stored."""
        value, low, high = (float("nan") if stored[name] is None else stored[name] for name in ("value", "low", "high"))
        return cls(value, low, high, stored["n"], *(stored.get(name, "") for name in ("label", "description", "note")))

    def __str__(self) -> str:
        value = rounded(self.value)
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if np.isfinite(self.low) and np.isfinite(self.high) else ""
        return f"{value}{interval}{f' ({self.note})' if self.note else ''}"


@dataclass(frozen=True, repr=False)
class Predictions(Readable):
    """A classifier's answers for pictures, beside the true labels.

    `predicted` (n,) int and `labels` (n,) int are indices into `classes`; `probabilities` (n, classes) float32 has
    rows that sum to 1, or is None where only names are known. `groups` (n,) str keeps pictures of one patient, animal
    or site together; `slices` maps a column's name to its (n,) values. `confidence` (n,) float32 is the probability of
    the predicted class, for predictions made elsewhere of which no other is known; else it follows from the others.
    `filenames` are the pictures as the user calls them, where that is not by their names.

    >>> probabilities = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    >>> predicted, labels = np.array([0, 0]), np.array([0, 1])
    >>> predictions = Predictions(("a.jpg", "b.jpg"), ("cat", "dog"), predicted, labels, probabilities)
    >>> predictions.right.tolist(), predictions.certainty.tolist()
    ([True, False], [0.75, 0.5])
    >>> predictions
    2 pictures, 2 classes, 1 right
    name   label  predicted  confidence
    a.jpg  cat    cat        0.750
    b.jpg  dog    cat        0.500
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: Float | None = None
    groups: NDArray[Any] | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    confidence: Float | None = None
    filenames: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __str__(self) -> str:
        head = f"{counted(len(self), 'picture')}, {len(self.classes)} classes, {int(self.right.sum())} right"
        sure = [float("nan")] * len(self) if self.certainty is None else self.certainty.tolist()
        answers = zip(self.names, self.labels.tolist(), self.predicted.tolist(), sure, strict=True)
        rows = [
            {
                "name": name,
                "label": self.classes[label] if label >= 0 else "\N{EN DASH}",
                "predicted": self.classes[predicted],
                "confidence": rounded(confidence),
            }
            for name, label, predicted, confidence in answers
        ]
        return f"{head}\n{table(rows)}" if rows else head

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) whether the predicted class is the true one."""
        return np.asarray(self.predicted == self.labels)

    @property
    def certainty(self) -> Float | None:
        """(n,) float32 in [0, 1], the probability of the predicted class; None where it is not known."""
        if self.probabilities is None:
            return None if self.confidence is None else np.asarray(self.confidence, np.float32)
        return np.asarray(self.probabilities[np.arange(len(self)), self.predicted], np.float32)


@dataclass(frozen=True, repr=False)
class ClassScores(Row):
    """One class against the rest. `n` counts its pictures; sensitivity and specificity are at `threshold`.

    All but `threshold` lie in [0, 1], NaN where not defined. A `threshold` of NaN stands for the plain decision:
    a picture counts as of the class when that is the one predicted.

    >>> half = Score(0.5, 0.1, 0.9, 4)
    >>> cat = ClassScores("cat", 4, half, half, 0.5, 0.6, float("nan"), half, half)
    >>> cat
    cat, 4 pictures: precision 0.500 [0.100, 0.900], recall 0.500 [0.100, 0.900], f1 0.500
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

    def __str__(self) -> str:
        pictures = counted(self.n, "picture")
        return f"{self.name}, {pictures}: precision {self.precision}, recall {self.recall}, f1 {rounded(self.f1)}"

    def cells(self) -> dict[str, str]:
        scores = {"recall": str(self.recall), "precision": str(self.precision), "f1": rounded(self.f1)}
        row = {"class": self.name, "n": str(self.n), **scores, "auroc": rounded(self.auroc)}
        if np.isnan(self.threshold):
            return row
        at = {"sensitivity": str(self.sensitivity), "specificity": str(self.specificity)}
        return {**row, "threshold": rounded(self.threshold), **at}


@dataclass(frozen=True, repr=False)
class SliceScore(Row):
    """The accuracy on the pictures whose `column` has this `value`.

    >>> SliceScore("site", "Oxford", Score(0.9, 0.8, 0.95, 120))
    site Oxford, 120 pictures: 0.900 [0.800, 0.950]
    """

    column: str
    value: str
    top1: Score

    def __str__(self) -> str:
        return f"{self.column} {self.value}, {counted(self.top1.n, 'picture')}: {self.top1}"

    def cells(self) -> dict[str, str]:
        return {"column": self.column, "value": self.value, "n": str(self.top1.n), "top1": str(self.top1)}


@dataclass(frozen=True, repr=False)
class ReliabilityBin(Row):
    """The `n` pictures whose confidence lies in (low, high]: their mean confidence and accuracy, NaN where n is 0.

    >>> sure = ReliabilityBin(low=0.9, high=1.0, n=50, confidence=0.97, accuracy=0.9)
    >>> sure
    confidence 0.9 to 1: 50 pictures, 0.970 sure in the mean, 0.900 right
    >>> round(sure.confidence - sure.accuracy, 2)  # surer than right
    0.07
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float

    def __str__(self) -> str:
        means = f", {rounded(self.confidence)} sure in the mean, {rounded(self.accuracy)} right" if self.n else ""
        return f"confidence {self.low:.3g} to {self.high:.3g}: {counted(self.n, 'picture')}{means}"

    def cells(self) -> dict[str, str]:
        ends = f"{self.low:.3g} to {self.high:.3g}"
        return {"bin": ends, "n": str(self.n), "confidence": rounded(self.confidence), "right": rounded(self.accuracy)}


@dataclass(frozen=True, repr=False)
class Evaluation(Displayed):
    """The score of a classifier on pictures: what `measurement.classification` measures and the report page shows.

    `scores` by name (`top1`, `balanced_accuracy`, `top5`, `ece`, ...); `confusion` (true class, predicted class)
    counts; `mistakes`, `uncertain` and `suspects` (likely label errors) are picture indices into `predictions`,
    worst first. `note` says what a reader must know of the number: "", "seen in training", "selected on", or
    "cross-validated": then `optimism`, by score, is what choosing and stratified folds brought, and is taken off.
    `mending` is what fitting the last layer again did, of a run of that recipe.

    >>> predictions = Predictions(("a.jpg", "b.jpg"), ("cat", "dog"), np.array([0, 0]), np.array([0, 1]))
    >>> accuracy = Score(0.5, 0.09, 0.91, n=2)
    >>> confusion = np.array([[1, 0], [1, 0]])  # (true, predicted)
    >>> evaluation = Evaluation(predictions, {"top1": accuracy}, (), confusion, mistakes=(1,))
    >>> evaluation.n, [predictions.names[index] for index in evaluation.mistakes]
    (2, ['b.jpg'])
    >>> print(evaluation)
    2 pictures, values with 95 % intervals
    top1  0.500 [0.090, 0.910]
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
    optimism: Mapping[str, float] = field(default_factory=dict)
    mending: "Mending | None" = None

    def __post_init__(self) -> None:
        for name in ("per_class", "reliability", "slices"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    def __str__(self) -> str:
        return few(scored_lines(self.n, self.scores, self.note))

    @property
    def n(self) -> int:
        """How many pictures were scored."""
        return len(self.predictions)


def scored_lines(n: int, scores: Mapping[str, Score], note: str) -> list[str]:
    """How many pictures, each score in a line, and the note."""
    head = f"{counted(n, 'picture')}, values with 95 % intervals"
    return [head, *aligned((name, str(score)) for name, score in scores.items()), *([f"({note})"] if note else [])]


@dataclass(frozen=True, repr=False)
class CaptionEvaluation(Readable):
    """The score of a captioner on pictures: `scores` by name, and by the pictures' names, in order, the `captions` it
    gave and the `references` they were compared with. `note` as an `Evaluation`'s.

    >>> exact = Score(1.0, 0.2, 1.0, n=1)
    >>> CaptionEvaluation({"exact": exact}, {"a.jpg": "a cat"}, {"a.jpg": ("a cat", "one cat")})
    1 picture, values with 95 % intervals
    exact  1.000 [0.200, 1.000]
    """

    scores: Mapping[str, Score]
    captions: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]
    note: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return few(scored_lines(self.n, self.scores, self.note))

    @property
    def n(self) -> int:
        """How many pictures were scored."""
        return len(self.captions)


@dataclass(frozen=True, repr=False)
class Positions(Displayed):
    """How a network tells its patches apart, CLS left out; `numbers` are summaries of the similarity by name.

    `similarity` (rows, columns, rows, columns) float32 is, of `kind` "embeddings" and "tokens", the cosine of each
    position with every other, in [-1, 1]. "rotary", "relative" and "logits" also have a `kernel` (layers, heads,
    2·rows - 1, 2·columns - 1) over offsets of the key from the query, (0, 0) in its middle, whose mean the similarity
    repeats around each query ("logits": what was measured for each pair). `source` says what was read, `layers` which
    layers the kernel's are, () all together. `tested` has, by number, "value", "p" of a permutation test, "control",
    "control_low" and "control_high" of random positions (`note` says how they are made), and "before"; NaN: not known.

    >>> alike = np.ones((2, 3, 2, 3), np.float32)
    >>> positions = Positions(alike, {"neighbours": 1.0})
    >>> positions.rows, positions.columns
    (2, 3)
    """

    similarity: Float
    numbers: Mapping[str, float]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "embeddings"
    source: str = ""
    kernel: Float | None = None
    layers: tuple[int, ...] = ()
    tested: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        return f"{self.rows} × {self.columns} positions, {self.kind}{f': {self.source}' if self.source else ''}"

    @property
    def rows(self) -> int:
        """How many rows of patches there are."""
        return int(self.similarity.shape[0])

    @property
    def columns(self) -> int:
        """How many patches there are in a row."""
        return int(self.similarity.shape[1])
