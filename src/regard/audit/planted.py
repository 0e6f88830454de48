"""What the planted maps of a full audit came to: whether an adversary keeps its gain, and what a ceiling reaches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from regard.audit.adversary import COARSE, HELD_OUT, OBJECTIVE, gains
from regard.audit.pictures.chunk import Floats, Plan
from regard.audit.pictures.gathered import Gathered
from regard.audit.rules import judge
from regard.records import Finding, Score, Verdict
from regard.records.audits.verdicts import ADVERSARY, CEILING, is_control

CONTROLS = ("centre", "edges", "random")
"""Maps that a ceiling must beat."""
BOUNDED = ("srg", "insertion", "deletion", "single_deletion")
"""The measures that a ceiling is measured by."""
STATUSES = {
    "none": "there was no gain that could be kept or vanish",
    "kept": "the gain is kept: by this number too the adversary is better",
    "vanished": "the gain has vanished",
    "not decidable": "whether the gain is kept cannot be decided with so few pictures",
}


def adversary_findings(plan: Plan, gathered: Gathered) -> Iterator[Finding]:
    """Of the adversary and the method that MIF alone calls the best, and what is left of the gain on other measures."""
    adverse = gathered.get(OBJECTIVE, ADVERSARY)
    if adverse is None:
        return
    among = np.isfinite(adverse)
    areas = {}
    for method in plan.methods:
        values = gathered.get(OBJECTIVE, f"{method.name}{COARSE}")
        if not method.control and values is not None and np.isfinite(values[among]).any():
            areas[f"{method.name}{COARSE}"] = float(np.nanmean(values[among]))
    if not areas:
        return
    best = min(areas, key=lambda name: areas[name])
    held_out = plan.occluders[1] if len(plan.occluders) > 1 else ""
    keys = {name: (name.removesuffix(", held out"), held_out if name.endswith("held out") else "")
            for name in (OBJECTIVE, *HELD_OUT)}  # fmt: skip
    scores = {}
    for subject in (ADVERSARY, best):
        numbers = {name: gathered.get(measure, subject, condition) for name, (measure, condition) in keys.items()}
        scores[subject] = {
            name: np.where(among, values, np.nan)
            for name, values in numbers.items()
            if values is not None and np.isfinite(values[among]).any()
        }

    def interval(values: Floats) -> Score:
        return gathered.score(values, "srg")

    for gain in gains(scores[ADVERSARY], scores[best], interval):
        measure, condition = keys[gain.measure]
        score, baseline = (gathered.score(scores[each][gain.measure], measure) for each in (ADVERSARY, best))
        yield Finding("faithfulness", measure, ADVERSARY, score, baseline, best, condition=condition)
        note = STATUSES.get(gain.status, "what it was built for")
        where = f"{condition}, better" if condition else "better"
        labelled = replace(gain.score, label=score.label, description=score.description)
        yield Finding("faithfulness", measure, ADVERSARY, labelled, condition=f"{where} than {best}", note=note)


def ceiling_findings(gathered: Gathered, seed: int = 0) -> Iterator[Finding]:
    """Of the ceiling and the best of the maps that it must beat, on the same pictures; a note where it does not."""
    for measure in BOUNDED:
        values = gathered.get(measure, CEILING)
        if values is None:
            continue
        among = np.isfinite(values)
        opposed = {name: values_of for name in CONTROLS if (values_of := gathered.get(measure, name)) is not None}
        sign = -1.0 if measure == "deletion" else 1.0
        groups = None if gathered.groups is None else gathered.groups[among]
        controls = {name: sign * values_of[among] for name, values_of in opposed.items()}
        judgement = judge({CEILING: sign * values[among]}, {CEILING: controls}, groups, seed=seed)[CEILING]
        baseline = gathered.score(np.where(among, opposed[judgement.control], np.nan), measure)
        score = gathered.score(values, measure)
        note = (
            ""
            if judgement.status == "supported"
            else "not decidable here: the ceiling is not shown to beat the controls"
        )
        yield Finding("faithfulness", measure, CEILING, score, baseline, judgement.control, note)


def tempered(verdicts: Sequence[Verdict], ceiling: Sequence[Finding]) -> tuple[Verdict, ...]:
    """The verdicts, those that are not "supported" left open where the ceiling does not beat the controls on SRG."""
    if not any(each.measure == "srg" and each.note for each in ceiling):
        return tuple(verdicts)
    why = "the ceiling itself does not beat the controls here, so SRG could not have told; without it: "
    return tuple(
        each
        if each.status == "supported" or is_control(each.method)
        else replace(each, status="not decidable", why=f"{why}{each.status}, {each.why}")
        for each in verdicts
    )
