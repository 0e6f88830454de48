"""What a network relies on, which map of it to believe, where it is fooled: as its audit has it."""

import json
from collections.abc import Iterator

import numpy as np

from regard.exports.card.markdown import bullets, code, escaped, joined, pictures, points, share, table
from regard.exports.card.scores import share_or
from regard.exports.card.subject import Subject
from regard.measurement.intervals import NOWHERE, paired
from regard.measurement.reliance.verdict import CHANGES, HARDLY, MOSTLY, RELIES, UNDECIDED, verdict
from regard.records import Finding, Score
from regard.records.audits.verdicts import PLANTED

CONDITIONS = {
    "original": "as they are",
    "object": "the object alone, in front of grey",
    "background": "the background alone, the object's box filled",
    "control": "the object on its own filled background (what pasting costs)",
    "random": "the object on the background of a picture of another class",
    "same": "the object on the background of another picture of its class",
}
"""How pictures are changed, in words; the names are those of the audit."""
STRENGTHS = ("weak", "medium", "strong")
"""How much worse pictures are made, as `numbers` of an audited picture count them."""
FLIPS = "on the background of a picture of another class"
DECISIONS = {
    "supported": "believe it",
    "contradicted": "do not believe it",
    "no better than a control": "do not believe it",
    "not decidable": "not known",
}
"""What a verdict means for who looks at the map."""
WHAT = (
    "A heat map (`regard explain PICTURES --model RUN --out maps`) marks parts of a picture as those that the "
    "answer comes from. Any method draws one, be it true or not."
)
NO_AUDIT = "**Not measured**: no audit came with this export."
RELIANCE = {
    MOSTLY: "**Most of its answers are those of the background, not of the object.**",
    RELIES: "**It relies on the background**: it is right less often where the object stands before another one.",
    CHANGES: "**Its answers change with the background**, though it is right as often.",
    HARDLY: "**It hardly relies on the background.**",
    UNDECIDED: "**Whether it relies on the background is not decided**: the interval is too wide for either answer.",
}
"""What is said by the rules of docs/audit.md."""


def reliance(subject: Subject) -> str:
    """One of the answers of the rules on the background; "" where it was not measured."""
    lost, flips, _ = _background(subject)
    measured = any(np.isfinite(each.value) for each in (lost, flips))
    return verdict(lost, flips) if measured else ""


def _background(subject: Subject) -> tuple[Score, Score, str]:
    """What is lost on another class's background, how often the answer changes with it, and of what is lost."""
    if subject.audit is None:
        return NOWHERE, NOWHERE, ""
    findings = (
        subject.audit.finding("background_reliance"),
        subject.audit.finding("background_reliance", condition="of the probability"),
        subject.audit.finding("flips", condition=FLIPS),
    )
    accuracy, probability, flips = (NOWHERE if each is None else each.score for each in findings)
    if np.isfinite(accuracy.value):
        return accuracy, flips, "accuracy"
    return probability, flips, "the probability of its class"


def reliance_section(subject: Subject) -> str:
    """Object or background: by pictures that were changed."""
    audit = subject.audit
    if audit is None:
        return f"{NO_AUDIT} Whether it looks at the object or at what stands around it is not known."
    answer = reliance(subject)
    if not answer:
        why = audit.skipped.get("reliance on the background", "no other picture could lend its background")
        return f"**Not measured**: {escaped(why)}. Whether it looks at the object or at its background is not known."
    lost, flips, what = _background(subject)
    lines = []
    if np.isfinite(lost.value):
        lines.append(
            f"Moving the object to the background of a picture of another class costs {points(lost)} of {what}, beyond "
            "what cutting and pasting cost. An interval above 0 is reliance on the background; below 0, it gains."
        )
    if np.isfinite(flips.value):
        lines.append(f"{share(flips)} of its answers change with that background alone.")
    rows = [
        {"pictures": CONDITIONS[each.condition], "right": share(each.score), "of": str(each.score.n)}
        for each in audit.of("reliance", "accuracy")
        if each.condition in CONDITIONS
    ]
    note = f" ({escaped(audit.note)})" if audit.note else ""
    measured = f"Measured on {pictures(audit.n)} of {code(audit.provenance.get('data_name', 'unknown data'))}{note}."
    return "\n\n".join(filter(None, [RELIANCE[answer], bullets(lines), table(rows), measured]))


def maps_section(subject: Subject) -> str:
    """Which heat map marks what the network uses, by the verdict on each method."""
    if not subject.verdicts:
        return f"{WHAT}\n\n**Not measured**: no heat map of this network has been tested. Show none as a reason."
    rows = [
        {
            "map (method)": code(each.method),
            "settings": code(json.dumps(dict(each.settings), sort_keys=True, ensure_ascii=False)),
            "verdict": f"**{DECISIONS.get(each.status, each.status)}** ({each.status})",
            "better than the best map that cannot know, by": each.cells()["difference"],
            "pictures": str(each.n),
            "why": escaped(each.why),
        }
        for each in sorted(subject.verdicts, key=lambda each: -each.value)
    ]
    lines = [
        "Tested by taking away the parts that a map marks most, or least, and watching the answer (SRG, symmetric "
        "relevance gain, 0 for a map at random). *Supported* means that the map marks what this network uses better "
        "than maps that do not look at it. It does not mean that what the network uses is right.",
        "A verdict is of this network, of these settings and of pictures like those it was measured on.",
    ]
    audit = subject.audit
    if audit is not None and audit.in_domain is not None:
        lines.append(escaped(audit.in_domain.sentence(audit.verdicts)))
    return "\n\n".join([WHAT, table(rows), bullets([*lines, *_controls(subject)])])


def _controls(subject: Subject) -> Iterator[str]:
    """That the test can fail: what it says of maps that do not look at the network."""
    planted = [] if subject.audit is None else [each for each in subject.audit.verdicts if each.method in PLANTED]
    if planted:
        names = joined([f"`{each.method}` is {each.status}" for each in planted])
        yield f"The same test of maps that do not look at the network: {names}."


def fooled_section(subject: Subject) -> str:
    """What makes it wrong: changed pictures, and spots of attention that mean nothing."""
    audit = subject.audit
    if audit is None:
        return f"{NO_AUDIT} How it takes blur, noise, other light or another background is not known."
    rows = [
        {
            "pictures made worse": escaped(each.condition),
            "right": share(each.score),
            "as they are": share(each.baseline) if each.baseline is not None else "",
            "": "**worse**" if worse(subject, each) else "",
        }
        for each in audit.of("robustness", "robustness")
    ]
    legend = "How it takes worse pictures was not measured."
    if rows:
        legend = (
            "Weak, medium and strong are severities 1, 3 and 5 of ImageNet-C. *Worse*: it is right less often, paired "
            "by picture, in all of the interval."
        )
    lines = [*_artifacts(subject), *_doubts(subject), *(escaped(str(each)) for each in audit.failures)]
    return "\n\n".join(filter(None, [table(rows), legend, bullets(lines)]))


def worse(subject: Subject, finding: Finding) -> bool:
    """Whether it is right less often on worse pictures, paired by picture: the whole interval of the loss is above 0.

    By intervals that do not meet where pictures are held together in groups, which an audit does not store.
    """
    audit = subject.audit
    if audit is None or finding.baseline is None:
        return False
    kind, _, strength = finding.condition.partition(", ")
    key = f"robustness:{kind} {STRENGTHS.index(strength)}" if strength in STRENGTHS else ""
    pairs = [
        (each.numbers[key], each.right) for each in audit.pictures if each.right is not None and key in each.numbers
    ]
    if not pairs or audit.settings.get("group"):
        return bool(finding.score.high < finding.baseline.low)
    gained = sum(after > before for after, before in pairs)
    lost = sum(after < before for after, before in pairs)
    return paired(gained, lost, len(pairs))[1] < 0


def _artifacts(subject: Subject) -> Iterator[str]:
    finding = None if subject.audit is None else subject.audit.finding("artifact_attention")
    if finding is not None and finding.baseline is not None and finding.score.low > finding.baseline.value:
        yield (
            f"Artifact tokens: a few of the squares that it cuts a picture into ({share_or(finding.baseline)}) hold "
            f"notes of the network's own and draw {share(finding.score)} of the last layer's attention: such spots of "
            "a map say nothing of the picture."
        )


def _doubts(subject: Subject) -> Iterator[str]:
    finding = None if subject.audit is None else subject.audit.finding("label_errors")
    if finding is not None and finding.score.value > 0:
        doubt = share_or(finding.score)
        yield f"Of the labels that it was scored by, {doubt} are in doubt: where they are wrong, it is scored too low."


def overconfident(subject: Subject) -> Score | None:
    """The calibration error, where its whole interval is above 5 points."""
    score = None if subject.scores is None else subject.scores.scores.get("ece")
    return score if score is not None and score.low > 0.05 else None


def open_section(subject: Subject) -> str:
    """What was not decided, not measured, or is measured by nobody."""
    skipped = {} if subject.audit is None else subject.audit.skipped
    return bullets(
        [
            *_unscored(subject),
            *_undecided(subject),
            *(f"Not measured: {escaped(part)} ({escaped(why)})." for part, why in skipped.items()),
            "Not measured by regard at all: pictures of another source or time, deliberate attacks, and whether it "
            "treats groups of people alike (unless a slice above names them).",
        ]
    )


def _unscored(subject: Subject) -> Iterator[str]:
    if subject.scores is None:
        yield "How often it is right: never measured."
    if subject.audit is None:
        maps = "" if subject.verdicts else "which map to believe, "
        why = "of the audit that was made only the verdicts on maps are here" if subject.verdicts else "never audited"
        yield f"What it relies on, {maps}and where it is fooled: {why}."


def _undecided(subject: Subject) -> Iterator[str]:
    if reliance(subject) == UNDECIDED:
        yield "Not decided: whether it relies on the background (too few pictures for so small a difference)."
    names = [each.method for each in subject.verdicts if each.status == "not decidable"]
    if names:
        yield f"Not decided: whether the maps of {joined([code(name) for name in names])} can be believed."
