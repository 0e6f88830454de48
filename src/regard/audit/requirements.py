"""`--require`: what an audit must find, written as `NAME>=NUMBER`, for people's own checks."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from regard.data.dataset import Dataset
from regard.errors import UsageError, unknown
from regard.explanation import DEFAULT_METHODS
from regard.measurement import METRICS
from regard.records import Audit, Score
from regard.records.audits.verdicts import ADVERSARY, CEILING, PLANTED, RANDOMISED, STATUSES

PATTERN = re.compile(
    r"\s*(?P<name>[^<>=]+?)(?P<end>\.low|\.high)?\s*(?P<relation>>=|<=|>|<|=)\s*(?P<value>[^<>=]+?)\s*"
)
WORST = "worst_slice"
VERDICT = "verdict"
FORM = "write NAME>=NUMBER, such as top1>=0.8, worst_slice>=0.8, srg:attention.low>=0.3, or verdict:attention=supported"
QUALITY = ("classification",)
OF_METHODS = ("faithfulness", "localisation", "sanity")
OF_NETWORK = ("occluder_reliability",)
"""Measures of these kinds that are of no method."""
LISTED = 12
"""Names that a message lists."""
MORE = ("accuracy", "probability", "endpoint", "total")
"""What an audit measures that is no row of METRICS."""


@dataclass(frozen=True)
class Requirement:
    """A rule: a measure, of a subject and under a condition where it names them, held against a number.

    `end` is "value", "low" or "high", of its interval. A rule on a verdict has the status in the place of the number.
    """

    text: str
    measure: str
    subject: str
    condition: str
    end: str
    relation: str
    value: float
    status: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `UsageError` for what is no rule, or names no measure."""
        match = PATTERN.fullmatch(text)
        if match is None:
            raise UsageError(f"--require {text!r} is no rule; {FORM}")
        name, end, relation, threshold = match.groups()
        measure, subject, condition = [*name.split(":"), "", ""][:3]
        names = [WORST, VERDICT, *MORE, *METRICS.names]
        if measure not in names:
            raise unknown("measure in --require", measure, names, "`regard metrics` lists them.")
        if measure == VERDICT:
            if threshold not in STATUSES or relation != "=" or not subject:
                raise UsageError(f"--require {text!r} is no rule; a verdict is one of {', '.join(STATUSES)}: {FORM}")
            return cls(text, measure, subject, condition, "value", "=", math.nan, threshold)
        value = threshold_of(text, relation, threshold, FORM)
        return cls(text, measure, subject, condition, (end or ".value")[1:], relation, value)

    def check(self, methods: Collection[str], slices: Sequence[str], labelled: bool, masks: bool) -> None:
        """Raise `UsageError` where it can be known before any work that the rule names nothing."""
        lacking = None
        kind = METRICS[self.measure].kind if self.measure in METRICS else ""
        if kind == "parts":
            lacking = "an audit does not draw scenes anew; docs/audit.md says how it is measured"
        elif self.measure == WORST and not slices:
            lacking = "there are no slices; give --slice COLUMN"
        elif (kind in QUALITY or self.measure == WORST) and not labelled:
            lacking = "the pictures have no labels"
        elif kind in ("localisation", "reliance") and self.measure not in ("robustness", "grid_pointing") and not masks:
            lacking = "that needs to know where the object is; give --masks"
        elif self.subject == "" and kind in OF_METHODS and self.measure not in OF_NETWORK:
            lacking = f"{self.measure} is of a method; write {self.measure}:METHOD ({', '.join(methods)})"
        elif (kind in OF_METHODS or self.measure == VERDICT) and self.subject not in {"", *methods}:
            lacking = f"{self.subject!r} is none of the methods that are audited ({', '.join(methods)})"
        if lacking is not None:
            raise UsageError(f"--require {self.text!r} names nothing: {lacking}")

    def unmet(self, audit: Audit) -> str | None:
        """Why an audit does not meet it, in a line; None where it does."""
        if self.measure == VERDICT:
            verdict = audit.verdict(self.subject)
            status = "no verdict" if verdict is None else verdict.status
            return (
                None if status == self.status else f"{self.text} is not met: the verdict on {self.subject} is {status}"
            )
        score = self._score(audit)
        if score is None or not math.isfinite(getattr(score, self.end)):
            names = [":".join([each.measure, each.subject, each.condition]).rstrip(":") for each in audit.findings
                     if each.measure == self.measure]  # fmt: skip
            available = (
                f"; there are: {'; '.join(names[:LISTED])}{'; …' if len(names) > LISTED else ''}" if names else ""
            )
            return f"{self.text} is not met: it names nothing that was measured{available}"
        value = getattr(score, self.end)
        return (
            None
            if relation_holds(value, self.relation, self.value)
            else f"{self.text} is not met: {score_text(score, self.end)}"
        )

    def _score(self, audit: Audit) -> Score | None:
        if self.measure == WORST:
            return next((each.score for each in audit.of("quality") if each.note == "the worst slice"), None)
        finding = audit.finding(self.measure, self.subject, self.condition)
        return None if finding is None else finding.score


def threshold_of(text: str, relation: str, threshold: str, form: str) -> float:
    """The number of a rule. Raises `UsageError` for what is none, or is held against it by "=" alone."""
    try:
        value = float(threshold)
    except ValueError:
        raise UsageError(f"--require {text!r} holds {threshold!r}, which is no number; {form}") from None
    if relation == "=" or not math.isfinite(value):
        raise UsageError(f"--require {text!r} is no rule; {form}")
    return value


def score_text(score: Score, end: str) -> str:
    """What was measured, where its `end` did not meet a rule, for a message."""
    return f"it is {score}" if end == "value" else f"it is {score}, whose {end} end counts"


def relation_holds(value: float, relation: str, threshold: float) -> bool:
    """Whether a number meets a rule's relation."""
    relations = {
        ">=": value >= threshold,
        "<=": value <= threshold,
        ">": value > threshold,
        "<": value < threshold,
    }
    return relations[relation]


def unmet(audit: Audit, rules: Sequence[Requirement]) -> tuple[str, ...]:
    """A line for each rule that is not met."""
    return tuple(line for rule in rules if (line := rule.unmet(audit)) is not None)


def check_rules(
    rules: Sequence[Requirement],
    named: Sequence[str],
    outside: Path | None,
    dataset: Dataset,
    slices: Sequence[str],
    masks: bool,
) -> None:
    """Raise `UsageError` for a rule that can be seen to name nothing: of methods that are `named` or the default ones,
    and of maps in the folder `outside`."""
    folders = [] if outside is None else [outside.name, *(each.name for each in outside.glob("*/"))]
    audited = named or (DEFAULT_METHODS if outside is None else ())
    methods = [*audited, *PLANTED, *folders, *(f"{RANDOMISED} {name}" for name in audited), ADVERSARY, CEILING]
    labelled = any(picture.label is not None for picture in dataset.pictures)
    for rule in rules:
        rule.check(methods, slices, labelled, masks)
