"""Audits held against each other: of the very same pictures, differences paired by picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from regard.errors import DataError, UsageError
from regard.measurement.intervals import averaged, paired, unskewed
from regard.measurement.measure import labelled
from regard.records import Audit, AuditComparison, AuditDifference, AuditedPicture, Change, Score
from regard.records.audits.verdicts import is_control
from regard.records.display import counted
from regard.version import __version__

OTHERS = "{} has other pictures than {}: a difference may be that of the pictures, and none is given with an interval"
GROUPS = "{}: pictures were held together in groups, which audits do not store, so that no differences are given"
WORST = "worst_slice"
"""The measure of the slice that was worst in the first audit."""
SMALLEST = 10
"""Pictures that a slice needs to be called the worst."""
NOW = "this audit"
"""What an audit is called beside one before it."""
APART = "each column has its own intervals: that two overlap does not mean that the two are alike"


def compare_audits(audits: Mapping[str, Audit]) -> AuditComparison:
    """Audits side by side, with what each later one has more than the first where both have the very same pictures."""
    (first, base), *others = audits.items()
    differences: list[AuditDifference] = []
    changes: list[Change] = []
    sentences: list[str] = []
    notes = [APART]
    for name, audit in others:
        if audit.provenance.get("data") != base.provenance.get("data") or "data" not in audit.provenance:
            notes.append(OTHERS.format(name, first))
        elif audit.settings.get("group") or base.settings.get("group"):
            notes.append(GROUPS.format(name))
        else:
            before = {each.name: each for each in base.pictures}
            pairs = [(each, before[each.name]) for each in audit.pictures if each.name in before]
            these = [*_differences(name, audit, first, base, pairs)]
            changed = [*_changes(name, pairs)]
            differences += these
            changes += changed
            sentences += _sentences(f"from {first} to {name}", these, changed, len(pairs))
    return AuditComparison(dict(audits), tuple(differences), tuple(notes), tuple(changes), tuple(sentences))


def check_before(name: str, before: Audit, data: str, count: int, group: str | None) -> None:
    """Raise `DataError` where an audit, called `name`, was of other pictures than those with the digest `data`, of
    which there are so many, or by another version, and `UsageError` where either was by group."""
    version = before.provenance.get("regard")
    if version != __version__:
        raise DataError(
            f"{name} was made by regard {version or 'of a version that it does not name'}, and this is {__version__}: "
            "what differs might be the versions; audit the network before again, with this one"
        )
    if before.provenance.get("data") != data:
        raise DataError(
            f"{name} is an audit of other pictures ({before.n} of {before.provenance.get('data_name', 'other data')}) "
            f"than these {count}: nothing can be paired; give the same DATA and --split, with --keep-seen where one of "
            "the two networks was trained on some of them"
        )
    if group is not None or before.settings.get("group"):
        raise UsageError(f"{GROUPS.format(name)}; audit both without --group, or leave --before out")


Pairs = Sequence[tuple[AuditedPicture, AuditedPicture]]
"""Each picture in an audit, and in the first."""


def _differences(name: str, audit: Audit, first: str, base: Audit, pairs: Pairs) -> Iterator[AuditDifference]:
    """Accuracy, on each slice too, reliance on the background, and the SRG of each method that both have with the same
    settings."""
    settings = {each.method: each.settings for each in base.verdicts}
    methods = [each.method for each in audit.verdicts
               if not is_control(each.method) and settings.get(each.method) == each.settings]  # fmt: skip
    for measure, subject in (("top1", ""), ("background_reliance", ""), *(("srg", method) for method in methods)):
        if (score := _score(pairs, measure, subject)) is not None:
            yield AuditDifference(name, first, measure, subject, labelled(measure, score))
    slices: dict[str, list[tuple[AuditedPicture, AuditedPicture]]] = {}
    for pair in pairs:
        for column, value in pair[1].slices.items():
            slices.setdefault(f"{column}: {value or 'none'}", []).append(pair)
    if (score := _score(_worst(slices), "top1", "")) is not None:
        label = "Accuracy on the slice that was worst"
        about = "It is found on one half of the pictures and judged on the other, both ways round."
        yield AuditDifference(name, first, WORST, "", replace(score, label=label, description=about))
    for subject, some in slices.items():
        if (score := _score(some, "top1", "")) is not None:
            yield AuditDifference(name, first, "top1", subject, labelled("top1", score))


def _worst(slices: Mapping[str, Pairs]) -> Pairs:
    """The pictures of the slice with the lowest accuracy before: on half of the pictures found, of the other half."""
    chosen: list[tuple[AuditedPicture, AuditedPicture]] = []
    halves = {name: (some[::2], some[1::2]) for name, some in slices.items() if len(some) >= SMALLEST}
    for half in range(2):
        shares = {name: np.mean([_number(that, "top1", "") for _, that in some[1 - half]])
                  for name, some in halves.items()}  # fmt: skip
        known = [name for name in shares if np.isfinite(shares[name])]
        if known:
            chosen += halves[min(known, key=shares.__getitem__)][half]
    return chosen


def _changes(name: str, pairs: Pairs) -> Iterator[Change]:
    """The pictures whose answer is another, those first that were surest."""
    changed = [(this, that) for this, that in pairs if this.predicted != that.predicted]
    for this, that in sorted(changed, key=lambda pair: -max(each.confidence for each in pair)):
        yield Change(this.name, name, this.label, this.predicted, that.predicted, this.confidence, that.confidence)


def _sentences(
    between: str, differences: Sequence[AuditDifference], changes: Sequence[Change], count: int
) -> list[str]:
    """What changed, what it cost, and whether it is real: whether the whole interval lies on one side of 0."""
    scores = {each.measure: each.score for each in reversed(differences) if not each.subject}
    labelled_changes = [each for each in changes if each.label]
    right = sum(each.right for each in labelled_changes)
    wrong = sum(each.first == each.label for each in labelled_changes)
    sides = f", {right} to the right one and {wrong} from it" if changes else ""
    lines = [f"{len(changes)} of {counted(count, 'answer')} changed {between}{sides}."]
    for measure, rose, fell in (
        (WORST, "The slice that was worst is better", "The slice that was worst is worse"),
        ("background_reliance", "It relies more on the background", "It relies less on the background"),
        ("top1", "Accuracy rose", "It cost accuracy"),
    ):
        if measure not in scores:
            continue
        score = scores[measure]
        points = f"{100 * score.value:+.0f} points [{100 * score.low:+.0f}, {100 * score.high:+.0f}]"
        if score.low > 0 or score.high < 0:
            lines.append(f"{rose if score.low > 0 else fell}: {points}.")
        elif np.isfinite(score.low):
            lines.append(f"{UNDECIDED[measure]} is not told apart from nothing: {points}.")
    return lines


UNDECIDED = {
    WORST: "What became of the slice that was worst",
    "background_reliance": "What became of the reliance on the background",
    "top1": "What it cost in accuracy",
}


def _number(picture: AuditedPicture, measure: str, subject: str) -> float:
    """What an audit has of a measure on one picture; NaN where it has none."""
    if measure == "top1":
        return np.nan if picture.right is None else float(picture.right)
    if measure == "background_reliance":
        control, other = (picture.numbers.get(f"accuracy:{condition}", np.nan) for condition in ("control", "random"))
        return control - other
    return picture.numbers.get(f"{measure}:{subject}", np.nan)


def _score(pairs: Pairs, measure: str, subject: str) -> Score | None:
    """The mean of paired differences with its interval; None where no picture has one."""
    values = np.array([_number(this, measure, subject) - _number(that, measure, subject) for this, that in pairs])
    values = values[np.isfinite(values)]
    count = len(values)
    if not count:
        return None
    if measure == "top1":
        ends = paired(float((values > 0).sum()), float((values < 0).sum()), count)
        return Score(float(values.mean()), *ends, count)
    if np.ptp(values) == 0:
        return Score(float(values[0]), np.nan, np.nan, count, note="all alike")
    return unskewed(averaged(values), count, least=-2.0, most=2.0)
