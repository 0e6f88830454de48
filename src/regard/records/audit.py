"""What an audit found: verdicts on methods, and every number with its interval and its baseline."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from regard.records.display import Readable, Row, Rows, counted, few, rounded
from regard.records.maps import Explanation
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
        baseline = None if self.baseline is None else _score_json(self.baseline)
        return {**vars(self), "score": _score_json(self.score), "baseline": baseline}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        baseline = None if stored["baseline"] is None else Score.from_json(stored["baseline"])
        return cls(**{**stored, "score": Score.from_json(stored["score"]), "baseline": baseline})


@dataclass(frozen=True, repr=False)
class RemovalCurves(Row):
    """The probability of the class while more and more of the picture goes, a mean over pictures with its interval.

    In `mif` the patches go that a method calls the most influential first, in `lif` the least; both have a score for
    each step, from nothing removed to all, at equal shares of the patches.

    >>> half = Score(0.5, 0.4, 0.6, 74)
    >>> curves = RemovalCurves("attention", (half, half, half), (half, half, half))
    >>> curves.shares
    (0.0, 0.5, 1.0)
    """

    method: str
    mif: tuple[Score, ...]
    lif: tuple[Score, ...]
    occluder: str = "tokens"

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of patches that is gone at each step, from 0 to 1."""
        return tuple(step / (len(self.mif) - 1) for step in range(len(self.mif)))

    def __str__(self) -> str:
        ends = f"{rounded(self.mif[0].value)} to {rounded(self.mif[-1].value)}"
        return f"{self.method}, {self.occluder}: {counted(len(self.mif), 'step')}, {ends}"

    def cells(self) -> dict[str, str]:
        halfway = len(self.mif) // 2
        least, most = (rounded(curve[halfway].value) for curve in (self.lif, self.mif))
        return {"method": self.method, "occluder": self.occluder, "least first": least, "most first": most}

    def as_json(self) -> dict[str, Any]:
        """The two curves as lists of scores."""
        curves = {name: [_score_json(each) for each in getattr(self, name)] for name in ("mif", "lif")}
        return {"method": self.method, "occluder": self.occluder, **curves}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(**{**stored, **{name: tuple(map(Score.from_json, stored[name])) for name in ("mif", "lif")}})


@dataclass(frozen=True, repr=False)
class AuditedPicture(Row):
    """A picture of the audit: its label ("" where there is none), what is predicted of it, and how surely.

    `numbers` are those measured on it, by "measure", "measure:subject" or "measure:subject:condition", NaN left out.
    `flips` has, by what was changed in it ("background"), the class that is predicted then, where that is another;
    `slices`, by column, the slice that it is of.

    >>> AuditedPicture("cat.jpg", "cat", "cat", 0.97, {"srg:attention": 0.41}, {"background": "dog"})
    cat.jpg: cat 0.970; background: dog
    """

    name: str
    label: str
    predicted: str
    confidence: float
    numbers: Mapping[str, float] = field(default_factory=dict)
    flips: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool | None:
        """Whether the prediction is right; None where the label is not known."""
        return self.predicted == self.label if self.label else None

    def __str__(self) -> str:
        flips = "".join(f"; {change}: {name}" for change, name in self.flips.items())
        return f"{self.name}: {self.predicted} {rounded(self.confidence)}{flips}"

    def cells(self) -> dict[str, str]:
        sure = {"predicted": self.predicted, "confidence": rounded(self.confidence)}
        return {"name": self.name, "label": self.label, **sure, **self.flips}


@dataclass(frozen=True, repr=False)
class Choice(Row):
    """The best method by SRG, picked on one half of the pictures and reported on the other.

    >>> Choice("first", "grad_attention", Score(0.55, 0.49, 0.6, 37), Score(0.52, 0.45, 0.58, 37))
    grad_attention, picked on the first half: 0.520 [0.450, 0.580] on the other
    """

    half: str  # on which it was picked: "first" or "second"
    method: str
    picked: Score  # on the half on which it is the best, so that it flatters
    reported: Score  # on the other half

    def __str__(self) -> str:
        return f"{self.method}, picked on the {self.half} half: {self.reported} on the other"

    def cells(self) -> dict[str, str]:
        scores = {"there": str(self.picked), "on the other": str(self.reported)}
        return {"picked on": f"{self.half} half", "method": self.method, **scores}

    def as_json(self) -> dict[str, Any]:
        """All of it, scores with their `n`."""
        return {**vars(self), "picked": _score_json(self.picked), "reported": _score_json(self.reported)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave."""
        return cls(**{**stored, **{name: Score.from_json(stored[name]) for name in ("picked", "reported")}})


@dataclass(frozen=True, repr=False)
class Failure(Row):
    """A method, or a measure, that failed on pictures: how many, the first `names`, and what it said.

    >>> Failure("gradcam", 1, ("cat.jpg",), "its map is not finite")
    gradcam failed on 1 picture: its map is not finite (cat.jpg)
    """

    subject: str
    n: int
    names: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        more = ", …" if self.n > len(self.names) else ""
        return f"{self.subject} failed on {counted(self.n, 'picture')}: {self.message} ({', '.join(self.names)}{more})"

    def cells(self) -> dict[str, str]:
        return {"subject": self.subject, "n": str(self.n), "what it said": self.message}


@dataclass(frozen=True, repr=False)
class Audit(Readable):
    """What an audit of a network on `n` pictures found.

    `sentences` say the most important of it; `verdicts` one for each method and question, `claims` one for each claim
    about the network itself; `findings` every number, with interval and baseline; `curves` of each method and occluder.
    `skipped` has, by part, why it was not done; `failures` what failed on some pictures. `note` marks the pictures
    ("seen in training"). `examples` are maps of each method over the same few pictures. `settings` are the audit's own,
    `provenance` is the network's, with its digest; `classes` are the names of its outputs.

    >>> verdict = Verdict("Faithful?", "attention", {}, "3f9a", "77c1", "supported", "", 0.19, 0.11, 0.27, 74)
    >>> audit = Audit(("The map of attention can be believed.",), (verdict,), n=74)
    >>> audit
    74 pictures
    The map of attention can be believed.
    attention: supported, +0.190 [+0.110, +0.270], 74 pictures
    >>> Audit.from_json(audit.as_json()) == audit
    True
    """

    sentences: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    curves: tuple[RemovalCurves, ...] = ()
    pictures: tuple[AuditedPicture, ...] = ()
    best: tuple[Choice, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    n: int = 0
    note: str = ""
    examples: tuple[Explanation, ...] = field(default=(), compare=False)
    claims: tuple[Verdict, ...] = ()

    def __post_init__(self) -> None:
        for name in ("verdicts", "claims", "findings", "curves", "pictures", "best", "failures"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    def __str__(self) -> str:
        return few([*self._head, *map(str, self.verdicts), *self._rest])

    @property
    def text(self) -> str:
        """Its sentences, each verdict with how it follows, and what failed or was left out."""
        verdicts = [f"{each}: {each.why}" for each in self.verdicts]
        claims = [f"{each.question} {each.status}: {each.why}" for each in self.claims]
        return "\n".join([*self._head, *verdicts, *claims, *self._rest])

    @property
    def _head(self) -> list[str]:
        return [f"{counted(self.n, 'picture')}{f' ({self.note})' if self.note else ''}", *self.sentences]

    @property
    def _rest(self) -> list[str]:
        return [*map(str, self.failures), *(f"left out: {part}: {why}" for part, why in self.skipped.items())]

    def of(self, part: str, measure: str | None = None) -> tuple[Finding, ...]:
        """The findings of a part, of one measure of it alone where that is given."""
        return Rows(each for each in self.findings if each.part == part and measure in (None, each.measure))

    def finding(self, measure: str, subject: str = "", condition: str = "") -> Finding | None:
        """The one finding of this measure, subject and condition; None where there is no such thing."""
        for each in self.findings:
            if (each.measure, each.subject, each.condition) == (measure, subject, condition):
                return each
        return None

    @property
    def on_maps(self) -> tuple[Verdict, ...]:
        """The verdicts on maps, of methods and planted ones; the others answer what a measure of positions asks."""
        others = {each.measure for each in self.of("positions")}
        return Rows(each for each in self.verdicts if each.method not in others)

    def verdict(self, method: str) -> Verdict | None:
        """The first verdict on a method; None where there is none."""
        return next((each for each in self.verdicts if each.method == method), None)

    def as_json(self) -> dict[str, Any]:
        """All but the pictures and the examples, which have files of their own; null for what is not a number."""
        rows = ("verdicts", "claims", "findings", "curves", "best")
        return {
            "n": self.n,
            "note": self.note,
            "sentences": list(self.sentences),
            **{name: [each.as_json() for each in getattr(self, name)] for name in rows},
            "failures": [{**vars(each), "names": list(each.names)} for each in self.failures],
            **{name: dict(getattr(self, name)) for name in ("skipped", "settings", "provenance")},
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(
        cls,
        stored: Mapping[str, Any],
        pictures: tuple[AuditedPicture, ...] = (),
        examples: tuple[Explanation, ...] = (),
    ) -> Self:
        """What `as_json` gave, with what has files of its own."""
        return cls(
            tuple(stored["sentences"]),
            tuple(map(Verdict.from_json, stored["verdicts"])),
            tuple(map(Finding.from_json, stored["findings"])),
            tuple(map(RemovalCurves.from_json, stored["curves"])),
            pictures,
            tuple(map(Choice.from_json, stored["best"])),
            tuple(Failure(**{**each, "names": tuple(each["names"])}) for each in stored["failures"]),
            **{name: stored[name] for name in ("skipped", "settings", "provenance", "n", "note")},
            classes=tuple(stored["classes"]),
            claims=tuple(map(Verdict.from_json, stored.get("claims", ()))),
            examples=examples,
        )


def _score_json(score: Score) -> dict[str, Any]:
    """A score with what its own JSON leaves out."""
    words = {name: getattr(score, name) for name in ("label", "description") if getattr(score, name)}
    return score.as_json() | {"n": score.n} | words
