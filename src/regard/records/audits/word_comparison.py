"""Audits of captioners side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regard.records.audits.comparison import AuditDifference
from regard.records.audits.verdicts import Finding
from regard.records.audits.words import WordAudit, WordClaim
from regard.records.display import Readable, Rows, few, table
from regard.records.scores import Score


@dataclass(frozen=True, repr=False)
class WordAuditComparison(Readable):
    """Audits of captioners by name. `differences` from the first one are of audits of the very same pictures alone,
    paired by caption: their subject is the claim and which words, as "nouns, right". `notes` say what must be known
    before the columns are held against each other.

    >>> from regard.records import Verdict
    >>> about = {"claim": "nouns", "words": "right", "by": "map"}
    >>> question = "Nouns look at their object"
    >>> verdict = Verdict(question, "cross_attention", about, "3f9a", "77c1", "supported", "", 0.31, 0.27, 0.35, 300)
    >>> audit = WordAudit(("",), (verdict,), n=300)
    >>> WordAuditComparison({"first": audit, "again": audit})
    claim                       of           first      again
    Nouns look at their object  right words  supported  supported
    """

    audits: Mapping[str, WordAudit]
    differences: tuple[AuditDifference, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "differences", Rows(self.differences))

    @property
    def claims(self) -> dict[tuple[str, str], dict[str, WordClaim]]:
        """By claim and which words, what each audit says that has a verdict on it."""
        rows: dict[tuple[str, str], dict[str, WordClaim]] = {}
        for name, audit in self.audits.items():
            for each in audit.claims:
                rows.setdefault((each.claim, each.words), {})[name] = each
        return rows

    @property
    def numbers(self) -> dict[tuple[str, str, str, str], dict[str, Finding]]:
        """By claim, measure, which words and condition, the number in each audit that has one."""
        rows: dict[tuple[str, str, str, str], dict[str, Finding]] = {}
        for name, audit in self.audits.items():
            for each in audit.findings:
                rows.setdefault((each.part, each.measure, each.subject, each.condition), {})[name] = each
        return rows

    @property
    def support(self) -> dict[tuple[str, str], dict[str, Score]]:
        """By measure ("auroc", "calibration_error") and kind of word, what finds wrong words in each audit."""
        rows: dict[tuple[str, str], dict[str, Score]] = {}
        for name, audit in self.audits.items():
            for kind, of in ((audit.support or {}).get("measured") or {}).items():
                for measure in ("auroc", "calibration_error"):
                    rows.setdefault((measure, kind), {})[name] = Score.from_json(of[measure])
        return rows

    @property
    def text(self) -> str:
        """The claims below each other, an audit a column; then what finds wrong words, and the differences."""
        claims = [
            {
                "claim": next(iter(row.values())).question,
                "of": f"{words} words",
                **{name: each.status for name, each in row.items()},
            }
            for (_, words), row in self.claims.items()
        ]
        counts = {"number": "captions", **{name: str(each.n) for name, each in self.audits.items()}}
        support = [
            {"number": f"{measure} of {kind}", **{name: str(score) for name, score in row.items()}}
            for (measure, kind), row in self.support.items()
        ]
        tables = [table(rows) for rows in (claims, [counts, *support] if support else []) if rows]
        return "\n".join([*tables, *map(str, self.differences), *self.notes])

    def __str__(self) -> str:
        return few(self.text.splitlines())

    def as_json(self) -> dict[str, Any]:
        """Claims, verdicts and numbers by audit, and the differences."""
        chosen = ("n", "note", "sentences", "claims", "verdicts", "findings", "support")
        audits = [{"name": name, **{key: each.as_json()[key] for key in chosen}} for name, each in self.audits.items()]
        differences = [{**vars(each), "score": each.score.as_json() | {"n": each.score.n}} for each in self.differences]
        return {"notes": list(self.notes), "audits": audits, "differences": differences}
