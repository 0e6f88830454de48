"""`--require` of an audit of a captioner: what must hold of its words, written as `NAME>=NUMBER`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from regard.audit.requirements import LISTED, PATTERN, VERDICT, relation_holds, score_text, threshold_of
from regard.audit.words.measures import MEASURES, OF_SUPPORT, RIGHT
from regard.errors import UsageError, unknown
from regard.explanation.words.support.kinds import KINDS
from regard.records import Score, WordAudit
from regard.records.audits.verdicts import STATUSES
from regard.records.audits.words import CLAIMS, EVIDENCE, WORDS

FORM = (
    "write NAME>=NUMBER, such as fall:nouns:right.low>=0.5 or auroc:noun.low>=0.9, or verdict:nouns:right=supported; "
    "docs/audit.md lists them"
)
OF_ALL = ("anywhere", "words_before")
"""Claims of words that are neither right nor wrong."""


@dataclass(frozen=True)
class WordRequirement:
    """A rule: a measure of the `words` (one of WORDS) of a `claim`, under a `condition` where it names one, held
    against a number; or the claim's verdict, of one kind of evidence where `condition` names it, against a status.

    Of a measure of word support `words` is the kind of word, and the claim "". `end` is "value", "low" or "high".
    """

    text: str
    measure: str
    claim: str
    words: str
    condition: str
    end: str
    relation: str
    value: float
    status: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `UsageError` for what is no rule, or names nothing that an audit of words can measure."""
        match = PATTERN.fullmatch(text)
        if match is None:
            raise UsageError(f"--require {text!r} is no rule; {FORM}")
        name, end, relation, threshold = match.groups()
        measure, *rest = name.split(":")
        names = [VERDICT, *MEASURES, *OF_SUPPORT]
        if measure not in names:
            raise unknown("measure of words in --require", measure, names, FORM)
        if measure == RIGHT:
            about = _of_truth(text, rest)
        else:
            about = _of_support(text, rest) if measure in OF_SUPPORT else _of_claim(text, rest)
        if measure == VERDICT:
            if threshold not in STATUSES or relation != "=" or end:
                raise UsageError(f"--require {text!r} is no rule; a verdict is one of {', '.join(STATUSES)}: {FORM}")
            if about[2] not in ("", *EVIDENCE):
                raise unknown("evidence in --require", about[2], EVIDENCE, f"{text!r} names it.")
            return cls(text, measure, *about, "value", "=", math.nan, threshold)
        value = threshold_of(text, relation, threshold, FORM)
        return cls(text, measure, *about, (end or ".value")[1:], relation, value)

    def unmet(self, audit: WordAudit) -> str | None:
        """Why an audit does not meet it, in a line; None where it does."""
        if self.measure == VERDICT:
            status = self._status(audit)
            which = f"{CLAIMS[self.claim]}, {self.words} words"
            return None if status == self.status else f"{self.text} is not met: {which}: {status}"
        score = self._score(audit)
        if score is None or not math.isfinite(getattr(score, self.end)):
            return f"{self.text} is not met: it names nothing that was measured{self._available(audit)}"
        if relation_holds(getattr(score, self.end), self.relation, self.value):
            return None
        return f"{self.text} is not met: {score_text(score, self.end)}"

    def _status(self, audit: WordAudit) -> str:
        claim = audit.claim(self.claim, self.words)
        if claim is None:
            return "no verdict"
        of = {str(each.settings.get("by")): each.status for each in claim.verdicts}
        return of.get(self.condition, "no verdict") if self.condition else claim.status

    def _score(self, audit: WordAudit) -> Score | None:
        if self.measure in OF_SUPPORT:
            measured = ((audit.support or {}).get("measured") or {}).get(self.words)
            return None if measured is None else Score.from_json(measured[self.measure])
        about = (self.claim, self.measure, self.words, self.condition)
        rows = (each for each in audit.findings if (each.part, each.measure, each.subject, each.condition) == about)
        return next((each.score for each in rows), None)

    def _available(self, audit: WordAudit) -> str:
        """What there is of this measure, for a message."""
        if self.measure in OF_SUPPORT:
            names = [f"{self.measure}:{kind}" for kind in (audit.support or {}).get("measured") or {}]
        else:
            names = [
                ":".join([each.measure, each.part, each.subject, each.condition]).rstrip(":")
                for each in audit.findings
                if each.measure == self.measure
            ]
        more = "; …" if len(names) > LISTED else ""
        return f"; there are: {'; '.join(names[:LISTED])}{more}" if names else ""


def _of_claim(text: str, names: Sequence[str]) -> tuple[str, str, str]:
    """Claim, words and condition of what stands behind a measure's name."""
    claim, words, condition = [*names, "", "", ""][:3]
    if claim not in CLAIMS:
        raise unknown("claim in --require", claim, CLAIMS, f"{text!r} names it.")
    words = words or ("all" if claim in OF_ALL else "")
    if words not in WORDS or (words == "all") != (claim in OF_ALL):
        among = ("all",) if claim in OF_ALL else WORDS[:-1]
        raise UsageError(f"--require {text!r} is of {words!r} words; {claim} are {', '.join(among)}: {FORM}")
    return claim, words, condition


def _of_truth(text: str, names: Sequence[str]) -> tuple[str, str, str]:
    claims = [each for each in CLAIMS if each not in OF_ALL]
    if len(names) != 1 or names[0] not in claims:
        raise unknown(f"claim behind {RIGHT} in --require", ":".join(names), claims, f"{text!r} names it.")
    return names[0], "", ""


def _of_support(text: str, names: Sequence[str]) -> tuple[str, str, str]:
    kind, *rest = names or ["all"]
    kinds = ("all", *(each for each in KINDS if each != "other"))
    if kind not in kinds or rest:
        raise unknown("kind of word in --require", ":".join(names), kinds, f"{text!r} names it.")
    return "", kind, ""


def unmet(audit: WordAudit, rules: Sequence[WordRequirement]) -> tuple[str, ...]:
    """A line for each rule that is not met."""
    return tuple(line for rule in rules if (line := rule.unmet(audit)) is not None)
