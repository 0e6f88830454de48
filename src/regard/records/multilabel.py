"""Answers of a network that gives a picture any number of labels, and how good they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.records.comparison import ComparedRun, Difference
from regard.records.display import Readable, Row, Rows, aligned, counted, few, rounded, table
from regard.records.grid import Float
from regard.records.scores import ReliabilityBin, Score, scored_lines

THRESHOLD = 0.5
"""The probability from which on a label is given, where nothing else is chosen."""
SEPARATOR = "|"
"""What stands between the labels of one picture, so that no label can have it in its name."""


def label_texts(classes: Sequence[str], rows: NDArray[np.bool_]) -> list[str]:
    """Each picture's labels (n, labels) bool as one text, `cat|dog`; "" where it has none."""
    return [SEPARATOR.join(name for name, has in zip(classes, row, strict=True) if has) for row in rows.tolist()]


@dataclass(frozen=True, repr=False)
class LabelPredictions(Readable):
    """The probability of each label for each picture, beside the labels that it has.

    `truth` (n, labels) bool and `probabilities` (n, labels) float32, each of its own label, are in the order of
    `classes`, the labels' names; a label is given from the probability `threshold` on. `groups`, `slices` and
    `filenames` are as in `Predictions`.

    >>> probabilities = np.array([[0.9, 0.2], [0.6, 0.7]], np.float32)
    >>> truth = np.array([[True, False], [False, True]])
    >>> predictions = LabelPredictions(("a.jpg", "b.jpg"), ("cat", "dog"), truth, probabilities)
    >>> predictions.answers.tolist()
    [[True, False], [True, True]]
    >>> predictions
    2 pictures, 2 labels, 1 with exactly the right ones
    name   labels  given
    a.jpg  cat     cat
    b.jpg  dog     cat, dog
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    truth: NDArray[np.bool_]
    probabilities: Float
    groups: NDArray[Any] | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    filenames: tuple[str, ...] | None = None
    threshold: float = THRESHOLD

    def __len__(self) -> int:
        return len(self.names)

    @property
    def answers(self) -> NDArray[np.bool_]:
        """(n, labels) the labels that are given."""
        return np.asarray(self.probabilities >= np.float32(self.threshold))

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) whether a picture is given exactly the labels that it has."""
        return np.asarray((self.answers == self.truth).all(axis=1))

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(labels,) whether some pictures have the label and others have not: else there is nothing to rank."""
        return np.asarray(self.truth.any(axis=0) & ~self.truth.all(axis=0))

    def named(self, row: NDArray[np.bool_]) -> str:
        """The labels of one picture in words."""
        return ", ".join(name for name, has in zip(self.classes, row.tolist(), strict=True) if has) or "none"

    def __str__(self) -> str:
        right = int(self.right.sum())
        head = f"{counted(len(self), 'picture')}, {len(self.classes)} labels, {right} with exactly the right ones"
        rows = [
            {"name": name, "labels": self.named(true), "given": self.named(answers)}
            for name, true, answers in zip(self.names, self.truth, self.answers, strict=True)
        ]
        return f"{head}\n{table(rows)}" if rows else head


@dataclass(frozen=True, repr=False)
class LabelScores(Row):
    """One label: `n` pictures have it, of `of`. Where all have it or none, only what is counted is defined, else NaN.

    `ap` is average precision, whose chance level is the prevalence, `n / of`; `precision`, `recall` and `f1` are of
    the labels that are given. `missed` and `false` are pictures that lack the answer or have it wrongly, worst first.

    >>> half = Score(0.5, 0.1, 0.9, 4)
    >>> LabelScores("cat", 2, 4, half, half, half, half, half)
    cat, 2 of 4 pictures: ap 0.500 [0.100, 0.900], precision 0.500 [0.100, 0.900], recall 0.500 [0.100, 0.900]
    """

    name: str
    n: int
    of: int
    ap: Score
    auroc: Score
    precision: Score
    recall: Score
    f1: Score
    missed: tuple[int, ...] = ()
    false: tuple[int, ...] = ()

    @property
    def prevalence(self) -> float:
        """The share of pictures that have it: the average precision of guessing."""
        return self.n / self.of if self.of else float("nan")

    def __str__(self) -> str:
        place = f"{self.name}, {self.n} of {counted(self.of, 'picture')}"
        return f"{place}: ap {self.ap}, precision {self.precision}, recall {self.recall}"

    def cells(self) -> dict[str, str]:
        scores = {name: str(getattr(self, name)) for name in ("ap", "auroc", "precision", "recall", "f1")}
        return {"label": self.name, "n": str(self.n), "prevalence": rounded(self.prevalence), **scores}


@dataclass(frozen=True, repr=False)
class LabelSlice(Row):
    """The `n` pictures whose `column` has this `value`: mAP of the `labels` that some of them have and some have not,
    and the share with exactly the right labels.

    >>> LabelSlice("site", "Oxford", 3, Score(0.9, 0.8, 0.95, 120), Score(0.5, 0.4, 0.6, 120))
    site Oxford, 120 pictures: mAP of 3 labels 0.900 [0.800, 0.950], exactly right 0.500 [0.400, 0.600]
    """

    column: str
    value: str
    labels: int
    map: Score
    exact_match: Score

    @property
    def n(self) -> int:
        """How many pictures it has."""
        return self.exact_match.n

    def __str__(self) -> str:
        place = f"{self.column} {self.value}, {counted(self.n, 'picture')}"
        return f"{place}: mAP of {counted(self.labels, 'label')} {self.map}, exactly right {self.exact_match}"

    def cells(self) -> dict[str, str]:
        place = {"column": self.column, "value": self.value, "n": str(self.n), "labels": str(self.labels)}
        return {**place, "map": str(self.map), "exact_match": str(self.exact_match)}


@dataclass(frozen=True, repr=False)
class MultiLabelEvaluation(Readable):
    """The score of a network that gives any number of labels.

    `scores` by name (`map`, `map_micro`, `exact_match`, ...), means over labels being of those that are `decided`;
    `baseline` is what guessing reaches, by score; `reliability` is over all answers, a label of a picture each.
    `mistakes` are pictures that are not given exactly their labels, the surest wrong answer first. `note` is as in
    `Evaluation`.

    >>> predictions = LabelPredictions(("a.jpg",), ("cat",), np.array([[True]]), np.array([[0.9]], np.float32))
    >>> MultiLabelEvaluation(predictions, {"exact_match": Score(1.0, 0.2, 1.0, n=1)}, ())
    1 picture, values with 95 % intervals
    exact_match  1.000 [0.200, 1.000]
    """

    predictions: LabelPredictions
    scores: Mapping[str, Score]
    per_label: tuple[LabelScores, ...]
    baseline: Mapping[str, float] = field(default_factory=dict)
    reliability: tuple[ReliabilityBin, ...] = ()
    slices: tuple[LabelSlice, ...] = ()
    mistakes: tuple[int, ...] = ()
    note: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("per_label", "reliability", "slices"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    def __str__(self) -> str:
        return few(scored_lines(self.n, self.scores, self.note))

    @property
    def n(self) -> int:
        """How many pictures were scored."""
        return len(self.predictions)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The labels that all of these pictures have, or none: left out of every mean over labels."""
        decided = self.predictions.decided.tolist()
        return tuple(name for name, is_decided in zip(self.predictions.classes, decided, strict=True) if not is_decided)


@dataclass(frozen=True, repr=False)
class LabelDifference(Row):
    """A run against `first` by average precision, of one `label`, or in the mean over all that are decided ("").

    `before` and `after` are the two runs' own, `ap` what the second has more, paired, in [-1, 1].

    >>> LabelDifference("b", "a", "cat", Score(0.5, 0.4, 0.6, 50), Score(0.7, 0.6, 0.8, 50), Score(0.2, 0.1, 0.3, 50))
    cat, b minus a: +0.200 [+0.100, +0.300]
    """

    name: str
    first: str
    label: str
    before: Score
    after: Score
    ap: Score

    @property
    def gain(self) -> str:
        """The difference with its interval, all with their signs."""
        value, low, high = (rounded(each, signed=True) for each in (self.ap.value, self.ap.low, self.ap.high))
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return f"{self.label or 'mAP'}, {self.name} minus {self.first}: {self.gain}"

    def cells(self) -> dict[str, str]:
        runs = {"run": self.name, "minus": self.first, "label": self.label or "mAP"}
        return {**runs, "first": str(self.before), "this": str(self.after), "difference": self.gain}


@dataclass(frozen=True, repr=False)
class LabelComparison(Readable):
    """Runs that give any number of labels on the very same `n` pictures; `notes` as in `Comparison`.

    `differences` are of mAP over the labels that are decided, `exact` of the share with exactly the right labels;
    `per_label` has the differences of each label.

    >>> score = Score(0.7, 0.5, 0.8, 50)
    >>> gain = LabelDifference("b", "a", "", score, score, Score(0.1, -0.02, 0.2, 50))
    >>> LabelComparison((ComparedRun("a", {"map": score}), ComparedRun("b", {"map": score})), (gain,), (), n=50)
    50 pictures, values with 95 % intervals
    run  map
    a    0.700 [0.500, 0.800]
    b    0.700 [0.500, 0.800]
    mAP, b minus a: +0.100 [-0.020, +0.200]
    """

    runs: tuple[ComparedRun, ...]
    differences: tuple[LabelDifference, ...]
    exact: tuple[Difference, ...]
    n: int
    notes: Mapping[str, str] = field(default_factory=dict)
    per_label: tuple[LabelDifference, ...] = ()

    def __post_init__(self) -> None:
        for name in ("runs", "differences", "exact", "per_label"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    @property
    def text(self) -> str:
        """All of it: each run, each difference, each label, each note."""
        head = f"{counted(self.n, 'picture')}, values with 95 % intervals"
        cells = [run.cells() for run in self.runs]
        rows = aligned([list(cells[0]), *(list(row.values()) for row in cells)])
        exact = [f"exactly right: {each}" for each in self.exact]
        notes = [f"{name}: {note}" for name, note in self.notes.items()]
        labels = sorted(self.per_label, key=lambda each: each.ap.value)
        return "\n".join([head, *rows, *map(str, self.differences), *exact, *map(str, labels), *notes])

    def __str__(self) -> str:
        return few(self.text.splitlines())
