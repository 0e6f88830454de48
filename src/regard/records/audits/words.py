"""What an audit of a captioner found: which of the things that are said of its words' maps hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.records.audits.audit import Failure
from regard.records.audits.verdicts import STATUSES, Finding, Verdict
from regard.records.captions import Caption
from regard.records.display import Readable, Row, Rows, counted, few, rounded

CLAIMS = {
    "nouns": "Nouns look at their object",
    "adjectives": "Adjectives look at what they describe",
    "verbs": "Verbs look at the acting part",
    "anywhere": "Other words look anywhere",
    "words_before": "Other words follow from the words before",
}
"""What is claimed of a captioner's words, by name."""
WORDS = ("right", "wrong", "unjudged", "all")
"""Which words a verdict is on: those that are true of the picture, that are not, of which nobody knows; all, where a
word claims nothing that could be true."""
EVIDENCE = ("map", "part", "removal", "gain")
"""What a verdict goes by: where the map lies, whether it lies on the part that acts, what taking the region out does,
what the picture adds to the word."""

PLANTED = ("random", "centre", "shuffled")
"""Maps that do not look at the word, of which verdicts are given too: no claim may be supported by them."""


@dataclass(frozen=True, repr=False)
class WordClaim(Row):
    """A claim (one of CLAIMS) about the right words or about the wrong ones: its `verdicts` by each kind of evidence.

    >>> about = {"claim": "nouns", "words": "right", "by": "map"}
    >>> question = CLAIMS["nouns"]
    >>> verdict = Verdict(question, "cross_attention", about, "3f9a", "77c1", "supported", "", 0.31, 0.27, 0.35, 300)
    >>> WordClaim("nouns", "right", (verdict,))
    Nouns look at their object (right words): supported
    """

    claim: str
    words: str
    verdicts: tuple[Verdict, ...]

    @property
    def question(self) -> str:
        return CLAIMS[self.claim]

    @property
    def status(self) -> str:
        """That of all evidence together: supported where each kind supports it; contradicted where one contradicts it;
        else no better than a control where one is no better; else not decidable."""
        statuses = {each.status for each in self.verdicts}
        if statuses == {"supported"}:
            return "supported"
        return next((each for each in STATUSES[1:] if each in statuses), "not decidable")

    def __str__(self) -> str:
        which = "" if self.words == "all" else f" ({self.words} words)"
        return f"{self.question}{which}: {self.status}"

    def cells(self) -> dict[str, str]:
        by = {str(each.settings.get("by", "")): each.status for each in self.verdicts}
        return {"claim": self.question, "words": self.words, "status": self.status, **by}


@dataclass(frozen=True, repr=False)
class AuditedWord(Row):
    """A word of the audit: its `unit`, the sentence (the picture's name, with the number of one caption among several),
    `place` in it from 0, `kind` of word, the `claim` of CLAIMS that is made of such ("" for none), and whether it is
    `right`, None where it says nothing that could be, or nobody knows.

    `numbers` are those measured on it, by "measure", "measure:control" or a check's name, NaN left out. `picture` is
    the picture's name where a unit is one of its captions, else "": its captions are not independent.

    >>> AuditedWord("3.png", 1, "cat", "noun", "nouns", True, {"share": 0.61, "share:centre": 0.33})
    3.png, word 1: cat (noun, right)
    """

    unit: str
    place: int
    text: str
    kind: str
    claim: str
    right: bool | None
    numbers: Mapping[str, float] = field(default_factory=dict)
    picture: str = ""

    def __str__(self) -> str:
        truth = {True: ", right", False: ", wrong", None: ""}[self.right]
        return f"{self.unit}, word {self.place}: {self.text} ({self.kind}{truth})"

    def cells(self) -> dict[str, str]:
        truth = {True: "right", False: "wrong", None: ""}[self.right]
        about = {"unit": self.unit, "place": str(self.place), "word": self.text, "kind": self.kind}
        return {**about, "truth": truth, **{name: rounded(value) for name, value in self.numbers.items()}}


@dataclass(frozen=True, repr=False)
class WordExample(Readable):
    """A caption of the audit with the maps of its words. `regions` (H, W) bool of the picture have, by a word's place,
    what it speaks of, where that is known; `wrong` are the places of its wrong words.

    >>> WordExample(Caption("cat.jpg", "a dog", ()), {}, (1,))
    cat.jpg: a dog (1 wrong word)
    """

    caption: Caption
    regions: Mapping[int, NDArray[np.bool_]]
    wrong: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.caption.name}: {self.caption.text} ({counted(len(self.wrong), 'wrong word')})"


@dataclass(frozen=True, repr=False)
class WordAudit(Readable):
    """What an audit of a captioner over the words of `n` captions found.

    `sentences` say the most important of it. `verdicts` are on each of CLAIMS: their `settings` have the `claim`, which
    `words` (WORDS), `by` what evidence (EVIDENCE) and the layer, head and row of the maps; their `method` is the word
    method, or a planted map that claims must not hold of, `n` counts pictures, with all captions they have. `findings`
    are all numbers with their intervals and baselines: their part is the claim, their subject which words, their
    condition the control or "". `words` are the single words, `support` the fitted model of word support as JSON where
    there were wrong words enough for one. `skipped` has, by claim or part, why it was not measured, `failures` what
    failed on some captions; `note` marks pictures or words ("captions given"). `provenance` is the network's and
    DATA's. `examples` are a few captions to look at, which are not stored.

    >>> about = {"claim": "nouns", "words": "right", "by": "map"}
    >>> question = CLAIMS["nouns"]
    >>> verdict = Verdict(question, "cross_attention", about, "3f9a", "77c1", "supported", "", 0.31, 0.27, 0.35, 300)
    >>> audit = WordAudit(("Its nouns look at their object.",), (verdict,), n=300)
    >>> audit
    300 captions
    Its nouns look at their object.
    Nouns look at their object (right words): supported
    >>> audit.claim("nouns", "right").status
    'supported'
    >>> WordAudit.from_json(audit.as_json()) == audit
    True
    """

    sentences: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    words: tuple[AuditedWord, ...] = ()
    support: Mapping[str, Any] | None = None
    failures: tuple[Failure, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    n: int = 0
    note: str = ""
    examples: tuple[WordExample, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in ("verdicts", "findings", "words", "failures"):
            object.__setattr__(self, name, Rows(getattr(self, name)))

    @property
    def claims(self) -> tuple[WordClaim, ...]:
        """What is claimed, in order, of right words before wrong ones, each with its verdicts, without planted maps."""
        of: dict[tuple[str, str], list[Verdict]] = {(claim, words): [] for claim in CLAIMS for words in WORDS}
        for each in self.verdicts:
            key = str(each.settings.get("claim")), str(each.settings.get("words"))
            if key in of and each.method not in PLANTED:
                of[key].append(each)
        return Rows(WordClaim(*key, tuple(verdicts)) for key, verdicts in of.items() if verdicts)

    def claim(self, name: str, words: str) -> WordClaim | None:
        """One of CLAIMS, of these words; None where there is no verdict on it."""
        return next((each for each in self.claims if (each.claim, each.words) == (name, words)), None)

    def finding(self, measure: str, subject: str = "", condition: str = "") -> Finding | None:
        """The one finding of this measure, subject and condition; None where there is no such thing."""
        for each in self.findings:
            if (each.measure, each.subject, each.condition) == (measure, subject, condition):
                return each
        return None

    def __str__(self) -> str:
        return few([*self._head, *map(str, self.claims), *self._rest])

    @property
    def text(self) -> str:
        """Its sentences, each claim with how its verdicts follow, and what was left out."""
        lines = []
        for claim in self.claims:
            lines.append(str(claim))
            for each in claim.verdicts:
                evidence = str(each.settings.get("by"))
                by = f"{each.method}'s map" if evidence == "map" else evidence
                lines.append(f"  by {by}: {each.status}: {each.why}")
        return "\n".join([*self._head, *lines, *self._rest])

    @property
    def _head(self) -> list[str]:
        return [f"{counted(self.n, 'caption')}{f' ({self.note})' if self.note else ''}", *self.sentences]

    @property
    def _rest(self) -> list[str]:
        return [*map(str, self.failures), *(f"left out: {part}: {why}" for part, why in self.skipped.items())]

    def as_json(self) -> dict[str, Any]:
        """All but the single words, which have a file of their own; null for what is not a number."""
        about = [{"claim": each.claim, "words": each.words, "status": each.status} for each in self.claims]
        return {
            "n": self.n,
            "note": self.note,
            "sentences": list(self.sentences),
            "claims": about,
            **{name: [each.as_json() for each in getattr(self, name)] for name in ("verdicts", "findings")},
            **{name: dict(getattr(self, name)) for name in ("skipped", "settings", "provenance")},
            "failures": [{**vars(each), "names": list(each.names)} for each in self.failures],
            "support": None if self.support is None else dict(self.support),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], words: tuple[AuditedWord, ...] = ()) -> Self:
        """What `as_json` gave, with the single words."""
        return cls(
            tuple(stored["sentences"]),
            tuple(map(Verdict.from_json, stored["verdicts"])),
            tuple(map(Finding.from_json, stored["findings"])),
            words,
            stored["support"],
            tuple(Failure(**{**each, "names": tuple(each["names"])}) for each in stored["failures"]),
            **{name: stored[name] for name in ("skipped", "settings", "provenance", "n", "note")},
        )
