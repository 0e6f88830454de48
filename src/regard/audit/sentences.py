"""The three plain sentences that an audit begins with: how good, what it relies on, which map to believe."""

from collections.abc import Mapping, Sequence

import numpy as np

from regard.audit.summary import in_words
from regard.measurement.intervals import NOWHERE
from regard.measurement.reliance.verdict import CHANGES, HARDLY, MOSTLY, RELIES, UNDECIDED, verdict
from regard.records import Choice, Evaluation, Finding, Verdict
from regard.records.audits.verdicts import PLANTED
from regard.records.display import counted
from regard.results.evaluations import worst_slice


def sentences(
    n: int,
    evaluation: Evaluation | None,
    findings: Sequence[Finding],
    verdicts: Sequence[Verdict],
    best: Sequence[Choice],
    skipped: Mapping[str, str],
) -> tuple[str, ...]:
    """How good the network is, what it relies on, and which method's map can be believed here."""
    why = skipped.get("reliance on the background", "no other picture could lend its background")
    return (_quality(n, evaluation), _reliance(findings, why), _maps(verdicts, best))


def _quality(n: int, evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return f"How often it is right on {counted(n, 'picture')} cannot be told, as there are no labels."
    worst = worst_slice(evaluation)
    of_worst = (
        ""
        if worst is None
        else f"; on its worst slice of ten pictures or more, {worst.column} {worst.value}, of {in_words(worst.top1)}"
    )
    note = f" ({evaluation.note})" if evaluation.note else ""
    return (
        f"It is right on {in_words(evaluation.scores['top1'])} of {counted(evaluation.n, 'picture')}{note}{of_worst}."
    )


def _reliance(findings: Sequence[Finding], why: str) -> str:
    scores = {(each.measure, each.condition): each.score for each in findings if each.part == "reliance"}
    lost = scores.get(("background_reliance", ""))
    what = "accuracy"
    if lost is None or not np.isfinite(lost.value):
        lost = scores.get(("background_reliance", "of the probability"))
        what = "the probability of its class"
    if lost is None or not np.isfinite(lost.value):
        return f"What it relies on was not measured: {why}."
    flips = scores.get(("flips", "on the background of a picture of another class"), NOWHERE)
    other = f"the object on another picture's background costs {in_words(lost)} of {what}, beyond what pasting costs"
    changed = f"{in_words(flips)} of them change with it, beyond those that pasting changes"
    return {
        MOSTLY: f"Most of its answers are those of the background: {changed}; {other}.",
        RELIES: f"It relies on the background: {other}.",
        CHANGES: f"Its answers change with the background, though its accuracy does not fall: {changed}; {other}.",
        HARDLY: f"It hardly relies on the background: {other}.",
        UNDECIDED: f"Whether it relies on the background cannot be decided with so few pictures: {other}.",
    }[verdict(lost, flips)]


def _maps(verdicts: Sequence[Verdict], best: Sequence[Choice]) -> str:
    audited = [each for each in verdicts if each.method not in PLANTED]
    supported = [each.method for each in sorted(audited, key=lambda each: -each.value) if each.status == "supported"]
    if not supported:
        if all(each.status == "not decidable" for each in audited):
            return "Which map can be believed here cannot be decided with so few pictures."
        return "No method's map can be believed here: none marks what it uses better than a map that cannot know it."
    believed = f"Of {_listed(supported)} the maps can be believed, as far as they mark what this network uses here"
    doubtful = [each.method for each in audited if each.status in ("contradicted", "no better than a control")]
    refused = f"; those of {_listed(doubtful)} cannot" if doubtful else ""
    unknown = [each.method for each in audited if each.status == "not decidable"]
    undecided = f"; of {_listed(unknown)} it cannot be decided with so few pictures" if unknown else ""
    winners = {each.method for each in best}
    alone = len(winners) == 1 and len(audited) > 1
    picked = f"; {winners.pop()} is the best on either half of the pictures" if alone else ""
    return f"{believed}{refused}{undecided}{picked}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
