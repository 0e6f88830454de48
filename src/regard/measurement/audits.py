"""Audits held against each other: of the very same pictures, differences paired by picture."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from regard.measurement.intervals import averaged, paired, unskewed
from regard.measurement.measure import labelled
from regard.records import Audit, AuditComparison, AuditDifference, AuditedPicture, Score
from regard.records.audit import is_control

Floats = NDArray[np.float64]

OTHERS = "{} has other pictures than {}: a difference may be that of the pictures, and none is given with an interval"
GROUPS = "{}: pictures were held together in groups, which audits do not store, so that no differences are given"
APART = "each column has its own intervals: that two overlap does not mean that the two are alike"


def compare_audits(audits: Mapping[str, Audit]) -> AuditComparison:
    """Audits side by side, with what each later one has more than the first where both have the very same pictures."""
    (first, base), *others = audits.items()
    differences: list[AuditDifference] = []
    notes = [APART]
    for name, audit in others:
        if audit.provenance.get("data") != base.provenance.get("data") or "data" not in audit.provenance:
            notes.append(OTHERS.format(name, first))
        elif audit.settings.get("group") or base.settings.get("group"):
            notes.append(GROUPS.format(name))
        else:
            differences += _differences(name, audit, first, base)
    return AuditComparison(dict(audits), tuple(differences), tuple(notes))


def _differences(name: str, audit: Audit, first: str, base: Audit) -> Iterator[AuditDifference]:
    """Accuracy, reliance on the background, and the SRG of each method that both have with the same settings."""
    before = {each.name: each for each in base.pictures}
    pairs = [(each, before[each.name]) for each in audit.pictures if each.name in before]
    settings = {each.method: each.settings for each in base.verdicts}
    methods = [each.method for each in audit.verdicts
               if not is_control(each.method) and settings.get(each.method) == each.settings]  # fmt: skip
    for measure, subject in (("top1", ""), ("background_reliance", ""), *(("srg", method) for method in methods)):
        values = np.array([_number(this, measure, subject) - _number(that, measure, subject) for this, that in pairs])
        values = values[np.isfinite(values)]
        if len(values):
            yield AuditDifference(name, first, measure, subject, labelled(measure, _score(values, measure)))


def _number(picture: AuditedPicture, measure: str, subject: str) -> float:
    """What an audit has of a measure on one picture; NaN where it has none."""
    if measure == "top1":
        return np.nan if picture.right is None else float(picture.right)
    if measure == "background_reliance":
        control, other = (picture.numbers.get(f"accuracy:{condition}", np.nan) for condition in ("control", "random"))
        return control - other
    return picture.numbers.get(f"{measure}:{subject}", np.nan)


def _score(values: Floats, measure: str) -> Score:
    """The mean of paired differences (pictures,) with its interval."""
    count = len(values)
    if measure == "top1":
        ends = paired(float((values > 0).sum()), float((values < 0).sum()), count)
        return Score(float(values.mean()), *ends, count)
    if np.ptp(values) == 0:
        return Score(float(values[0]), np.nan, np.nan, count, note="all alike")
    return unskewed(averaged(values), count, least=-2.0, most=2.0)
