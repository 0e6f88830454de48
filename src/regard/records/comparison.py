"""Runs side by side on the same pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from regard.records.display import Readable, Row, Rows, aligned, counted, few, rounded
from regard.records.scores import Score


@dataclass(frozen=True, repr=False)
class ComparedRun(Row):
    """One row of a comparison: a run's name and its scores by name (`top1`, `balanced_accuracy`, `ece`).

    >>> ComparedRun("runs/first", {"top1": Score(0.9, 0.8, 0.95, 120)})
    runs/first: top1 0.900 [0.800, 0.950]
    """

    name: str
    scores: Mapping[str, Score]

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(f'{name} {score}' for name, score in self.scores.items())}"

    def cells(self) -> dict[str, str]:
        return {"run": self.name, **{name: str(score) for name, score in self.scores.items()}}


@dataclass(frozen=True, repr=False)
class Difference(Row):
    """A run against `first`, the run that all are compared with: `top1` is its accuracy minus the other's, in [-1, 1].

    `only_this` and `only_first` count the pictures that one of the two alone gets right; `p` is the exact McNemar
    test's, two-sided, over pictures or, `by_group`, over groups. `remark` says why a `p` cannot be small.

    >>> Difference("second", "first", Score(0.1, -0.02, 0.2, 50), only_this=7, only_first=2, p=0.18)
    second minus first: +0.100 [-0.020, +0.200]
      right only here: 7 pictures, only there: 2
      exact McNemar test over pictures: p = 0.18
    """

    name: str
    first: str
    top1: Score
    only_this: int
    only_first: int
    p: float
    by_group: bool = False
    remark: str = ""

    @property
    def gain(self) -> str:
        """The difference with its interval, all with their signs."""
        value, low, high = (rounded(each, signed=True) for each in (self.top1.value, self.top1.low, self.top1.high))
        return f"{value} [{low}, {high}]"

    @property
    def units(self) -> str:
        """What the test counts."""
        return "groups" if self.by_group else "pictures"

    def __str__(self) -> str:
        remark = f" ({self.remark})" if self.remark else ""
        return (
            f"{self.name} minus {self.first}: {self.gain}\n"
            f"  right only here: {counted(self.only_this, 'picture')}, only there: {self.only_first}\n"
            f"  exact McNemar test over {self.units}: p = {self.p:.3g}{remark}"
        )

    def cells(self) -> dict[str, str]:
        counts = {"right only here": str(self.only_this), "only there": str(self.only_first)}
        return {"run": self.name, "minus": self.first, "top1": self.gain, **counts, "p": f"{self.p:.3g}"}


@dataclass(frozen=True, repr=False)
class PartDifference(Row):
    """A difference among the pictures of one class, or of one slice: those whose `column` ("" for a class) has this
    `value`. `first` and `this` are the shares that the two get right there.

    >>> half = Score(0.5, 0.2, 0.8, 10)
    >>> PartDifference("site", "Oxford", half, half, Difference("b", "a", Score(0.0, -0.3, 0.3, 10), 1, 1, p=1.0))
    site Oxford, 10 pictures, b minus a: +0.000 [-0.300, +0.300]
    """

    column: str
    value: str
    first: Score
    this: Score
    difference: Difference

    def __str__(self) -> str:
        each = self.difference
        place = f"{self.column} {self.value}".strip()
        return f"{place}, {counted(each.top1.n, 'picture')}, {each.name} minus {each.first}: {each.gain}"

    def cells(self) -> dict[str, str]:
        column = {"column": self.column, "value": self.value} if self.column else {"class": self.value}
        shares = {"n": str(self.first.n), "first": str(self.first), "this": str(self.this)}
        return {"run": self.difference.name, **column, **shares, "difference": self.difference.gain}


@dataclass(frozen=True, repr=False)
class Change(Row):
    """A picture that one of two alone gets right: what `run` and `first` predict of it, and how sure they are, NaN
    where that is not known.

    >>> Change("a.jpg", "second", label="cat", predicted="cat", first="dog", confidence=0.9, first_confidence=0.6)
    a.jpg, cat: second cat (0.900), first dog (0.600)
    """

    picture: str
    run: str
    label: str
    predicted: str
    first: str
    confidence: float = math.nan
    first_confidence: float = math.nan

    @property
    def right(self) -> bool:
        """Whether it is `run` that is right."""
        return self.predicted == self.label

    def __str__(self) -> str:
        this = f"{self.run} {self.predicted} ({rounded(self.confidence)})"
        return f"{self.picture}, {self.label}: {this}, first {self.first} ({rounded(self.first_confidence)})"

    def cells(self) -> dict[str, str]:
        names = {"run": self.run, "picture": self.picture, "label": self.label}
        return {**names, "predicted": self.predicted, "first": self.first}


@dataclass(frozen=True, repr=False)
class Comparison(Readable):
    """Runs on the very same `n` pictures; `notes` by run say what a number is marked with ("seen in training").

    `classes` and `slices` are the differences within each class and slice, `changes` the pictures that one of the two
    alone gets right, the surest first.

    >>> score = Score(0.7, 0.5, 0.8, 50)
    >>> runs = ComparedRun("a", {"top1": score}), ComparedRun("b", {"top1": score})
    >>> difference = Difference("b", "a", Score(0.1, -0.02, 0.2, 50), only_this=7, only_first=2, p=0.18)
    >>> Comparison(runs, (difference,), n=50)
    50 pictures, values with 95 % intervals
    run  top1
    a    0.700 [0.500, 0.800]
    b    0.700 [0.500, 0.800]
    b minus a: +0.100 [-0.020, +0.200]
      right only here: 7 pictures, only there: 2
      exact McNemar test over pictures: p = 0.18
    """

    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    n: int
    notes: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[PartDifference, ...] = ()
    slices: tuple[PartDifference, ...] = ()
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        for name in ("runs", "differences", "classes", "slices", "changes"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    @property
    def text(self) -> str:
        """All of it: each run, each difference, each note."""
        head = f"{counted(self.n, 'picture')}, values with 95 % intervals"
        cells = [run.cells() for run in self.runs]
        rows = aligned([list(cells[0]), *(list(row.values()) for row in cells)])
        notes = [f"{name}: {note}" for name, note in self.notes.items()]
        return "\n".join([head, *rows, *map(str, self.differences), *notes])

    def __str__(self) -> str:
        return few(self.text.splitlines())
