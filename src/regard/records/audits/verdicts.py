"""Verdicts on methods, and numbers with what they are to be read against."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from regard.records.display import Row, counted, rounded
from regard.records.scores import Score

STATUSES = ("supported", "contradicted", "no better than a control", "not decidable")
"""What a verdict can be."""
PARTS = ("quality", "faithfulness", "localisation", "sanity", "reliance", "robustness", "artifacts", "positions")
"""The parts of an audit, in their order."""
PLANTED = ("random", "centre", "edges", "constant")
"""Maps that do not look at the network: whoever believes a measure must see it reject these."""
RANDOMISED = "randomised"
"""What the name of a control begins with that is a method on a randomised network."""


ADVERSARY = "adversary"
CEILING = "ceiling"
"""What else is planted with `full`: a map that games one measure, and the best that is to be had."""


def is_control(name: str) -> bool:
    """Whether a map of this name was planted to be held against methods, rather than asked about."""
    return name in (*PLANTED, ADVERSARY, CEILING) or name.startswith(f"{RANDOMISED} ")


@dataclass(frozen=True, repr=False)
class Verdict(Row):
    """The answer to one `question` about a `method` with these `settings`, on the network and the pictures whose
    digests are `model` and `data`: one of STATUSES, and `why`, a sentence.

    `value` is what was measured, `low` and `high` the interval that decides, corrected for how many methods were
    asked about; `n` counts pictures (or groups). A map of another network or of other settings has no verdict from it.

    >>> verdict = Verdict("Faithful?", "attention", {"layer": 11}, "3f9a", "77c1", "supported",
    ...                   "its SRG is higher than that of the best control", 0.19, 0.11, 0.27, 74)
    >>> verdict
    attention: supported, +0.190 [+0.110, +0.270], 74 pictures
    >>> verdict.holds_for("attention", {"layer": 11}, "3f9a"), verdict.holds_for("attention", {"layer": 0}, "3f9a")
    (True, False)
    """

    question: str
    method: str
    settings: Mapping[str, Any]
    model: str
    data: str
    status: str
    why: str
    value: float
    low: float
    high: float
    n: int

    @property
    def score(self) -> Score:
        """The value with its corrected interval."""
        return Score(self.value, self.low, self.high, self.n)

    def holds_for(self, method: str, settings: Mapping[str, Any], model: str) -> bool:
        """Whether a map of this method, with these settings, of the network with this digest has this verdict."""
        return (self.method, dict(self.settings), self.model) == (method, dict(settings), model)

    def __str__(self) -> str:
        value, low, high = (rounded(each, signed=True) for each in (self.value, self.low, self.high))
        return f"{self.method}: {self.status}, {value} [{low}, {high}], {counted(self.n, 'picture')}"

    def cells(self) -> dict[str, str]:
        value, low, high = (rounded(each, signed=True) for each in (self.value, self.low, self.high))
        return {"method": self.method, "verdict": self.status, "difference": f"{value} [{low}, {high}]"}

    def as_json(self) -> dict[str, Any]:
        """All of it; null for what is not a number."""
        values = {name: float(getattr(self, name)) for name in ("value", "low", "high")}
        numbers = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return {**vars(self), "settings": dict(self.settings), **numbers}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(
            **{
                **stored,
                **{name: math.nan if stored[name] is None else stored[name] for name in ("value", "low", "high")},
            }
        )


@dataclass(frozen=True, repr=False)
class Finding(Row):
    """One number of an audit: the `measure` by its name in METRICS, in a part (one of PARTS), of a `subject`.

    The subject is a method, a control, a slice, "" the network itself; `condition` says under which occluder, fill or
    strength, "" the default one. `baseline` is what it is to be read against, and `against` says what that is.

    >>> Finding("faithfulness", "srg", "attention", Score(0.38, 0.33, 0.43, 74), Score(0.19, 0.14, 0.25, 74), "edges")
    srg of attention: 0.380 [0.330, 0.430]; edges 0.190 [0.140, 0.250]
    """

    part: str
    measure: str
    subject: str
    score: Score
    baseline: Score | None = None
    against: str = ""
    note: str = ""
    condition: str = ""

    def __str__(self) -> str:
        subject = f" of {self.subject}" if self.subject else ""
        condition = f" ({self.condition})" if self.condition else ""
        baseline = f"; {self.against} {self.baseline}" if self.baseline is not None else ""
        return f"{self.measure}{subject}{condition}: {self.score}{baseline}{f' ({self.note})' if self.note else ''}"

    def cells(self) -> dict[str, str]:
        baseline = {} if self.baseline is None else {"baseline": f"{self.against} {self.baseline}"}
        about = {"measure": self.measure, "of": self.subject, "under": self.condition}
        return {**about, "value": str(self.score), **baseline}

    def as_json(self) -> dict[str, Any]:
        """All of it, scores with their `n` and label."""
        baseline = None if self.baseline is None else score_json(self.baseline)
        return {**vars(self), "score": score_json(self.score), "baseline": baseline}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        baseline = None if stored["baseline"] is None else Score.from_json(stored["baseline"])
        return cls(**{**stored, "score": Score.from_json(stored["score"]), "baseline": baseline})


def score_json(score: Score) -> dict[str, Any]:
    """A score with what its own JSON leaves out."""
    words = {name: getattr(score, name) for name in ("label", "description") if getattr(score, name)}
    return score.as_json() | {"n": score.n} | words
