"""What mending a network did: before, after and a placebo, on the very same pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from regard.records.display import Readable, Row, Rows, aligned, counted, few, rounded
from regard.records.scores import Score


@dataclass(frozen=True, repr=False)
class PairedMeasure(Row):
    """A measure (a slice, where `slice` is set) of a network `before` and `after`, and of a `placebo`.

    `gain` is after less before, `placebo_gain` the placebo less before, `over_placebo` after less the placebo, paired
    by picture. `where` names the slices that a worst one is of, in the order before, after, placebo.

    >>> half, most = Score(0.5, 0.3, 0.7, 20), Score(0.9, 0.7, 0.97, 20)
    >>> gain, none = Score(0.4, 0.2, 0.6, 20), Score(0.0, -0.16, 0.16, 20)
    >>> row = PairedMeasure("worst slice", half, most, half, gain, none, gain)
    >>> row
    worst slice: 0.500 before, 0.900 after (+0.400 [+0.200, +0.600]), placebo 0.500 (+0.000 [-0.160, +0.160])
    >>> row.real
    True
    """

    name: str
    before: Score
    after: Score
    placebo: Score
    gain: Score
    placebo_gain: Score
    over_placebo: Score
    where: tuple[str, ...] = ()
    slice: bool = False

    @property
    def real(self) -> bool:
        """Whether it rose, and by more than the placebo's, each with its whole interval."""
        return bool(self.gain.low > 0 and self.over_placebo.low > 0)

    def __str__(self) -> str:
        before, after, placebo = (rounded(each.value) for each in (self.before, self.after, self.placebo))
        gain, other = _signed(self.gain), _signed(self.placebo_gain)
        return f"{self.name}: {before} before, {after} after ({gain}), placebo {placebo} ({other})"

    def cells(self) -> dict[str, str]:
        scores = {name: rounded(getattr(self, name).value) for name in ("before", "after", "placebo")}
        differences = {"after - before": _signed(self.gain), "placebo - before": _signed(self.placebo_gain)}
        return {"": self.name, "n": str(self.before.n), **scores, **differences}

    def as_json(self) -> dict[str, Any]:
        """All of it, scores with their `n`."""
        scores = {name: getattr(self, name).as_json() | {"n": getattr(self, name).n} for name in _SCORES}
        return {"name": self.name, **scores, "where": list(self.where), "slice": self.slice, "real": self.real}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        scores = {name: Score.from_json(stored[name]) for name in _SCORES}
        return cls(stored["name"], **scores, where=tuple(stored["where"]), slice=stored["slice"])


_SCORES = ("before", "after", "placebo", "gain", "placebo_gain", "over_placebo")


_NUMBERS = ("n", "excluded", "each", "draws", "strength")
_TEXTS = ("recipe", "done")
MEANS = {"reweigh": "balancing", "recombine": "recombining"}
"""What each recipe does that its placebo does not."""


def _signed(score: Score) -> str:
    value, low, high = (rounded(each, signed=True) for each in (score.value, score.low, score.high))
    return f"{value} [{low}, {high}]"


@dataclass(frozen=True, repr=False)
class Mending(Readable):
    """A network mended by a `recipe`, judged by `columns` crossed with the class on `n` pictures that it had not seen:
    `rows` are the worst slice, the slice that was worst, the mean over slices and accuracy, then each slice.

    `excluded` counts pictures of DATA that the network had been trained on, `empty` names slices without a picture;
    `done` says in sentences what was done. Of a last layer `each` is how many pictures of each slice were in a draw,
    one of `draws`, and `strength` the inverse of its penalty.

    >>> half, most = Score(0.5, 0.3, 0.7, 20), Score(0.9, 0.7, 0.97, 20)
    >>> gain, none = Score(0.4, 0.2, 0.6, 20), Score(0.0, -0.16, 0.16, 20)
    >>> names = ("worst slice", "slice that was worst", "mean over slices", "accuracy")
    >>> rows = tuple(PairedMeasure(name, half, most, half, gain, none, gain) for name in names)
    >>> mending = Mending(("ground",), rows, n=20, excluded=80, each=5, draws=10, strength=0.1)
    >>> mending.real, mending.sentence[:49]
    (True, 'mended: the worst slice went from 0.500 to 0.900,')
    """

    columns: tuple[str, ...]
    rows: tuple[PairedMeasure, ...]
    n: int
    excluded: int
    each: int = 0
    draws: int = 0
    strength: float = 0.0
    empty: tuple[str, ...] = ()
    recipe: str = "reweigh"
    done: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", Rows(self.rows))

    @property
    def measures(self) -> tuple[PairedMeasure, ...]:
        """The rows over all slices."""
        return Rows(each for each in self.rows if not each.slice)

    @property
    def real(self) -> bool:
        """Whether the slice that was worst rose, by more than the placebo's, and no other is as low as it was."""
        worst, same, *_ = self.measures
        return same.real and bool(worst.gain.value > 0)

    @property
    def sentence(self) -> str:
        """Whether it worked, and what it cost."""
        worst, same, _, accuracy = self.measures
        about = f"the worst slice went from {rounded(worst.before.value)} to {rounded(worst.after.value)}"
        placebo = rounded(worst.placebo.value)
        if self.real:
            answer = f"mended: {about}, and with the placebo to {placebo}"
        elif same.gain.low > 0 and same.placebo_gain.low > 0:
            answer = f"not by {MEANS.get(self.recipe, self.recipe)}: {about}, and with the placebo to {placebo} as well"
        elif worst.gain.high < 0:
            answer = f"worse: {about}"
        elif same.real:
            answer = f"not shown: {about}, as another slice is as low now, and with the placebo to {placebo}"
        elif same.gain.low > 0:
            answer = f"not shown: {about}, which is not told apart from the placebo's {placebo}"
        else:
            answer = f"not shown: {about}, within its interval, and with the placebo to {placebo}"
        return f"{answer}; accuracy on these pictures {_signed(accuracy.gain)}"

    @property
    def text(self) -> str:
        """The sentence, and a line for each measure and slice."""
        cells = [row.cells() for row in self.rows]
        return "\n".join([self.sentence, *aligned([list(cells[0]), *(list(each.values()) for each in cells)])])

    def __str__(self) -> str:
        return few(
            [f"{counted(self.n, 'picture')}, {len(self.rows) - len(self.measures)} slices", *self.text.split("\n")]
        )

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        plain = {name: getattr(self, name) for name in (*_NUMBERS, *_TEXTS)}
        rows = [row.as_json() for row in self.rows]
        lists = {"columns": list(self.columns), "empty": list(self.empty), "rows": rows}
        return {"sentence": self.sentence, "real": self.real, **plain, **lists}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        plain = {name: stored[name] for name in (*_NUMBERS, *_TEXTS) if name in stored}
        rows = tuple(map(PairedMeasure.from_json, stored["rows"]))
        return cls(columns=tuple(stored["columns"]), empty=tuple(stored["empty"]), rows=rows, **plain)
