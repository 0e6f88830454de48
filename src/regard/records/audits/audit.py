"""What an audit found: verdicts on methods, and every number with its interval and its baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from regard.records.audits.in_domain import InDomain
from regard.records.audits.verdicts import Finding, Verdict, score_json
from regard.records.display import Readable, Row, Rows, counted, few, rounded
from regard.records.maps import Explanation
from regard.records.mending import Mending
from regard.records.scores import Score


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
        curves = {name: [score_json(each) for each in getattr(self, name)] for name in ("mif", "lif")}
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
        return {**vars(self), "picked": score_json(self.picked), "reported": score_json(self.reported)}

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
    about the network itself, `in_domain` those on a copy that knows removal, `mending` what mending the network did
    where it was mended; `findings` every number, with interval and baseline; `curves` of each method and occluder.
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
    in_domain: InDomain | None = None
    mending: Mending | None = None

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
        again = () if self.in_domain is None else (f"in domain: {each}" for each in self.in_domain.by_method.values())
        return "\n".join([*self._head, *verdicts, *again, *claims, *self._rest])

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
            **{name: each.as_json() for name in ("in_domain", "mending") if (each := getattr(self, name)) is not None},
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
            in_domain=InDomain.from_json(stored["in_domain"]) if "in_domain" in stored else None,
            mending=Mending.from_json(stored["mending"]) if "mending" in stored else None,
        )
