"""Audits side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.records.audits.audit import Audit
from regard.records.audits.verdicts import Finding, Verdict, is_control
from regard.records.comparison import Change
from regard.records.display import Readable, Row, Rows, few, rounded, table
from regard.records.scores import Score

PRIMARY = ("top1", "background_reliance", "foreground_sensitivity", "srg")
"""Measures of which a comparison says all that there is in its text; the page has the others too."""


@dataclass(frozen=True, repr=False)
class AuditDifference(Row):
    """A measure in the audit called `name` less that in the `first` one, paired by picture; the `subject` is a method,
    "" the network.

    >>> AuditDifference("repaired", "plain", "srg", "rollout", Score(0.04, 0.01, 0.07, 74))
    srg of rollout, repaired minus plain: +0.040 [+0.010, +0.070]
    """

    name: str
    first: str
    measure: str
    subject: str
    score: Score

    @property
    def gain(self) -> str:
        """The difference with its interval, all with their signs."""
        value, low, high = (rounded(each, signed=True) for each in (self.score.value, self.score.low, self.score.high))
        return f"{value} ({self.score.note})" if self.score.note else f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return (
            f"{self.measure}{f' of {self.subject}' * bool(self.subject)}, {self.name} minus {self.first}: {self.gain}"
        )

    def cells(self) -> dict[str, str]:
        return {"measure": self.measure, "of": self.subject, "audit": self.name, "minus": self.first, "by": self.gain}


@dataclass(frozen=True, repr=False)
class AuditComparison(Readable):
    """Audits by name. `differences` from the first one are of audits of the very same pictures alone, as are `changes`,
    the pictures whose answer is another, and `sentences`, which say what changed, what it cost, and whether it is
    real; `notes` say what must be known before the columns are held against each other.

    >>> verdict = Verdict("Faithful?", "rollout", {}, "3f9a", "77c1", "supported", "", 0.19, 0.11, 0.27, 74)
    >>> audit = Audit(("",), (verdict,), n=74)
    >>> AuditComparison({"plain": audit, "repaired": audit})
    verdict on  plain                              repaired
    rollout     supported +0.190 [+0.110, +0.270]  supported +0.190 [+0.110, +0.270]
    """

    audits: Mapping[str, Audit]
    differences: tuple[AuditDifference, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "differences", Rows(self.differences))

    @property
    def verdicts(self) -> dict[tuple[str, str], dict[str, Verdict]]:
        """By method and its settings in words, the verdict in each audit that has one; planted maps left out."""
        rows: dict[tuple[str, str], dict[str, Verdict]] = {}
        for name, audit in self.audits.items():
            for each in audit.on_maps:
                if not is_control(each.method):
                    settings = ", ".join(f"{key} {value}" for key, value in each.settings.items())
                    rows.setdefault((each.method, settings), {})[name] = each
        return rows

    @property
    def numbers(self) -> dict[tuple[str, str, str, str], dict[str, Finding]]:
        """By part, measure, subject and condition, the number in each audit that has one; planted maps left out."""
        rows: dict[tuple[str, str, str, str], dict[str, Finding]] = {}
        for name, audit in self.audits.items():
            for each in audit.findings:
                if not is_control(each.subject):
                    rows.setdefault((each.part, each.measure, each.subject, each.condition), {})[name] = each
        return rows

    @property
    def text(self) -> str:
        """Verdicts and primary numbers below each other, an audit a column, then the differences."""
        verdicts = [
            {
                "verdict on": method,
                **{name: f"{each.status} {each.cells()['difference']}" for name, each in row.items()},
            }
            for (method, _), row in self.verdicts.items()
        ]
        numbers = [
            {
                "measure": measure if not subject else f"{measure} of {subject}",
                **{name: str(each.score) for name, each in row.items()},
            }
            for (_, measure, subject, condition), row in self.numbers.items()
            if measure in PRIMARY and not condition
        ]
        counts = {"measure": "pictures", **{name: str(each.n) for name, each in self.audits.items()}}
        tables = [table(rows) for rows in (verdicts, [counts, *numbers] if numbers else []) if rows]
        return "\n".join([*self.sentences, *tables, *map(str, self.differences), *self.notes])

    def __str__(self) -> str:
        return few(self.text.splitlines())

    def as_json(self) -> dict[str, Any]:
        """Verdicts and numbers by audit, and the differences."""
        audits = [
            {"name": name, **{key: each.as_json()[key] for key in ("n", "note", "sentences", "verdicts", "findings")}}
            for name, each in self.audits.items()
        ]
        differences = [{**vars(each), "score": each.score.as_json() | {"n": each.score.n}} for each in self.differences]
        changes = [{**vars(each), "right": each.right} for each in self.changes]
        about = {"sentences": list(self.sentences), "notes": list(self.notes)}
        return {**about, "audits": audits, "differences": differences, "changes": changes}
