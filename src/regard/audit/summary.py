"""From what was measured of each picture to an audit: every number with its interval and its baseline, and verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regard.audit.pictures.chunk import Floats, Plan
from regard.audit.pictures.gathered import Gathered
from regard.audit.rules import Judgement, best_of_halves, judge
from regard.data.dataset import Dataset
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.scoring import predictions_of
from regard.measurement.localisation.lifts import MEASURES as LOCALISED
from regard.measurement.measure import labelled
from regard.measurement.reliance.foreground import sensitivity
from regard.measurement.reliance.swaps import SWAPS, VARIANTS
from regard.records import AuditedPicture, Evaluation, Finding, RemovalCurves, Score, Verdict
from regard.records.audits.verdicts import PLANTED, RANDOMISED
from regard.results.evaluations import worst_slice

QUESTION = "Does its map mark what this network uses, better than maps that cannot know it?"
"""What the verdict on a method answers."""
PLANTED_QUESTION = "Is this planted map, which does not look at the network, told from one that does?"


@dataclass(frozen=True)
class Digests:
    """What a verdict holds for: the network with its preparation, and the pictures."""

    model: str
    data: str


def controls_of(plan: Plan) -> dict[str, dict[str, str]]:
    """By method and control, the name of the map that is held against it."""
    names = {method.name for method in plan.methods}
    controls = {}
    for method in plan.methods:
        if method.control in names and method.control != method.name:
            continue  # itself a randomised one
        fixed = {name: name for name in ("centre", "edges")}
        randomised = f"{RANDOMISED} {method.name}"
        controls[method.name] = fixed | ({"randomised": randomised} if randomised in names else {})
    return controls


def judged(plan: Plan, gathered: Gathered, audited: bool = True) -> dict[str, Judgement]:
    """The judgements on the methods that were audited about or, not `audited`, on the planted maps, each by itself."""
    controls = controls_of(plan)
    names = [method.name for method in plan.methods if method.name in controls and (method.name in PLANTED) != audited]
    named = [method.name for method in plan.methods if method.control == ""]
    names = named if audited else [name for name in names if name not in named]
    scores = {
        name: _srg(gathered, name)
        for name in (
            *names,
            "centre",
            "edges",
            *(each["randomised"] for each in controls.values() if "randomised" in each),
        )
    }
    opposed = {name: {which: scores[of] for which, of in controls[name].items()} for name in names}
    about: dict[str, Any] = {"seed": plan.settings.seed, "unit": "picture" if gathered.groups is None else "group"}
    families = [names] if audited else [[name] for name in names]
    judgements: dict[str, Judgement] = {}
    for family in families:
        if family:
            judgements |= judge({name: scores[name] for name in family}, opposed, gathered.groups, **about)
    return judgements


def _srg(gathered: Gathered, name: str) -> Floats:
    values = gathered.get("srg", name)
    return np.full(len(gathered), np.nan) if values is None else values


def verdicts(plan: Plan, gathered: Gathered, digests: Digests) -> Iterator[Verdict]:
    """On each method, then on each planted map."""
    methods = {method.name: method for method in plan.methods}
    for audited, question in ((True, QUESTION), (False, PLANTED_QUESTION)):
        for name, each in judged(plan, gathered, audited).items():
            why = each.why
            if audited and f"{RANDOMISED} {name}" not in methods:
                why += "; it came from outside, so there is none of it on a randomised network to hold against it"
            numbers = (each.value, each.low, each.high, each.n)
            settings = methods[name].settings
            yield Verdict(question, name, settings, digests.model, digests.data, each.status, why, *numbers)


def evaluation_of(plan: Plan, gathered: Gathered, dataset: Dataset, note: str) -> Evaluation | None:
    """The score of the network on those of the pictures that have a label; None without any."""
    rows = np.flatnonzero(plan.labels[gathered.indices] >= 0)
    if not len(rows) or plan.network.classes is None:
        return None
    part = dataset.select(gathered.indices[rows].tolist())
    settings = plan.settings
    predictions = predictions_of(part, gathered.probabilities[rows], settings.group, settings.slices)
    return evaluate(predictions, note=note, seed=settings.seed)


def quality(evaluation: Evaluation) -> Iterator[Finding]:
    """How good the network is, on all pictures and each slice, beside one that knows the classes' frequencies alone."""
    predictions = evaluation.predictions
    counts = np.bincount(predictions.labels[predictions.labels >= 0], minlength=len(predictions.classes))
    shares = np.tile((counts / counts.sum()).astype(np.float32), (len(predictions), 1))  # (pictures, classes)
    ignorant = replace(predictions, predicted=shares.argmax(axis=1), probabilities=shares, confidence=None, slices={})
    frequencies = evaluate(ignorant).scores
    for name, score in evaluation.scores.items():
        baseline = frequencies.get(name)
        yield Finding("quality", name, "", score, baseline, "" if baseline is None else "the classes' frequencies")
    whole = evaluation.scores["top1"]
    worst = worst_slice(evaluation)
    for row in evaluation.slices:
        score = replace(row.top1, label=whole.label, description=whole.description)
        note = "the worst slice" if row == worst else ""
        yield Finding("quality", "top1", f"{row.column}: {row.value}", score, whole, "all pictures", note)


def faithfulness(plan: Plan, gathered: Gathered) -> Iterator[Finding]:
    """Of each method and control what its curves say, beside the control that does best."""
    controls = controls_of(plan)
    for place, occluder in enumerate(plan.occluders):
        condition = occluder if place else ""
        for method in plan.methods:
            for measure in ("srg", "insertion", "deletion"):
                values = gathered.get(measure, method.name, condition)
                score = gathered.score(values, measure)
                opposed = controls.get(method.name, {}) if method.name not in PLANTED else {}
                better = -1 if measure == "deletion" else 1
                scores = {
                    each: gathered.score(gathered.get(measure, each, condition), measure) for each in opposed.values()
                }
                best = max(scores, key=lambda name: better * scores[name].value, default=None)
                baseline = None if best is None else scores[best]
                yield Finding("faithfulness", measure, method.name, score, baseline, best or "", condition=condition)


def single_deletions(plan: Plan, gathered: Gathered) -> Iterator[Finding]:
    """Of each method beside a map at random."""
    baseline = gathered.score(gathered.get("single_deletion", "random"), "single_deletion")
    for method in plan.methods:
        score = gathered.score(gathered.get("single_deletion", method.name), "single_deletion")
        against = None if method.name == "random" else baseline
        yield Finding("faithfulness", "single_deletion", method.name, score, against, "random")
    for occluder in plan.occluders:
        score = gathered.score(gathered.get("reliability", "", occluder), "occluder_reliability")
        yield Finding("faithfulness", "occluder_reliability", "", score, condition=occluder)


def sanity(plan: Plan, gathered: Gathered) -> Iterator[Finding]:
    """Whether each map depends on what the network learnt, and on the class."""
    for method in plan.methods:
        for measure in ("emprt", "class_sensitivity"):
            values = gathered.get(measure, method.name)
            if values is not None:
                yield Finding("sanity", measure, method.name, gathered.score(values, measure))
        if not method.control and not method.class_specific:
            score = labelled("class_sensitivity", Score(0.0, np.nan, np.nan, len(gathered)))
            yield Finding("sanity", "class_sensitivity", method.name, score, note="it is of no class")


def localisation(plan: Plan, gathered: Gathered) -> Iterator[Finding]:
    """How much of each map lies on the object, and how much more than of maps that looked at nothing."""
    for method in plan.methods:
        for measure in LOCALISED:
            values = gathered.get(measure, method.name)
            if values is None:
                continue
            score = gathered.score(values, measure)
            for base in ("area", "dot"):
                baseline = gathered.get(measure, f"a {base}")
                if baseline is None:
                    continue
                lift = gathered.score(values - baseline, measure, signed=True)
                of_base = gathered.score(baseline, measure)
                if base == "area":
                    yield Finding("localisation", measure, method.name, score, of_base, "area")
                against = {"area": "a map that is the same everywhere", "dot": "a dot in the centre"}[base]
                yield Finding("localisation", measure, method.name, lift, condition=f"more than {against}")


def reliance(plan: Plan, gathered: Gathered) -> Iterator[Finding]:
    """What the answer owes to the object and to the background."""
    labels = plan.labels[gathered.indices]
    titles = {"accuracy": "Accuracy", "probability": "Probability of the class"}
    named = [each for each in (*VARIANTS, *SWAPS) if gathered.get("probability", "", each) is not None]
    for measure, title in titles.items():
        scores = {}
        for variant in named:
            values = gathered.get(measure, "", variant)
            if values is not None:
                scores[variant] = replace(gathered.score(values, measure), label=title)
        whole = scores.get("original")
        for variant, score in scores.items():
            yield Finding("reliance", measure, "", score, whole, "the picture as it is", condition=variant)
        for name, swap in (("background_reliance", SWAPS[0]), ("background_reliance_same", SWAPS[1])):
            control = gathered.get(measure, "", "control")
            swapped = gathered.get(measure, "", swap)
            if control is None or swapped is None:
                continue
            lost = labelled(name, gathered.score(control - swapped, measure, signed=True))
            condition = "" if measure == "accuracy" else "of the probability"
            note = "its control is the object on its own background, filled"
            yield Finding("reliance", name, "", lost, condition=condition, note=note)
    for measure in ("evidence", "contradiction", "endpoint_null", "total", "endpoint"):
        for thing in ("object", "background"):
            values = gathered.get(measure, "", thing)
            if values is not None:
                yield Finding("reliance", measure, "", gathered.score(values, measure), condition=thing)
    places = [gathered.get("noise_accuracy", "", place) for place in ("object", "background")]
    if all(each is not None for each in places):
        correct = np.stack([each for each in places if each is not None])
        score = labelled("foreground_sensitivity", sensitivity(correct, labels, gathered.groups))
        yield Finding("reliance", "foreground_sensitivity", "", score)


def robustness(gathered: Gathered, evaluation: Evaluation | None) -> Iterator[Finding]:
    """How far accuracy holds when pictures get worse, beside that on the pictures as they are."""
    whole = None if evaluation is None else evaluation.scores["top1"]
    strengths = ("weak", "medium", "strong")
    for (measure, _, condition), values in gathered.numbers.items():
        kind, _, level = condition.partition(" ")
        if measure == "robustness" and level.isdecimal():
            score = gathered.score(values, measure)
            condition = f"{kind}, {strengths[int(level)]}"
            against = "" if whole is None else "the pictures as they are"
            yield Finding("robustness", measure, "", score, whole, against, condition=condition)


def curves(plan: Plan, gathered: Gathered) -> Iterator[RemovalCurves]:
    """The mean curves of each method and control."""
    for method in plan.methods:
        for occluder in plan.occluders:
            values = gathered.curves.get((method.name, occluder))
            if values is None or not np.isfinite(values).any():
                continue
            mif, lif = (
                [gathered.score(values[:, row, step], "probability") for step in range(values.shape[2])]
                for row in (0, 1)
            )
            yield RemovalCurves(method.name, tuple(mif), tuple(lif), occluder)


def pictures(plan: Plan, gathered: Gathered, dataset: Dataset) -> Iterator[AuditedPicture]:
    """A row for each picture: what was measured of it, and to what it flips."""
    classes = plan.network.classes or tuple(map(str, range(plan.classes)))
    names = {key: ":".join(filter(None, key)) for key in gathered.numbers}
    columns = {name: dataset.column(name) for name in plan.settings.slices}
    for row, index in enumerate(gathered.indices.tolist()):
        picture = dataset.pictures[index]
        numbers = {
            names[key]: float(values[row]) for key, values in gathered.numbers.items() if np.isfinite(values[row])
        }
        predicted = int(gathered.predicted[row])
        flips = {}
        control = gathered.changed.get("control")
        for name, change in (("background", SWAPS[0]), ("background of its class", SWAPS[1])):
            swapped = gathered.changed.get(change)
            if control is None or swapped is None or int(control[row]) != predicted:
                continue  # what pasting alone changes is no flip
            if int(swapped[row]) not in (-1, predicted):
                flips[name] = classes[int(swapped[row])]
        label = "" if picture.label is None else picture.label
        confidence = float(gathered.probabilities[row, predicted])
        slices = {name: str(values[index]) for name, values in columns.items()}
        yield AuditedPicture(picture.name, label, classes[predicted], confidence, numbers, flips, slices)


def best(plan: Plan, gathered: Gathered) -> Any:
    """The best method by SRG, picked on one half and reported on the other."""
    audited = {method.name: _srg(gathered, method.name) for method in plan.methods if method.control == ""}
    return best_of_halves(audited, gathered.groups, seed=plan.settings.seed)


def in_words(score: Score, share: bool = True) -> str:
    """A score for a sentence: "84 % [76, 91]", or "0.58 [0.52, 0.63]"."""
    if not np.isfinite(score.value):
        return "not known"
    form = (lambda value: f"{value:.0%}") if share else (lambda value: f"{value:.2f}")
    low, high = form(score.low).rstrip("%"), form(score.high).rstrip("%")
    return f"{form(score.value)} [{low}, {high}]" if np.isfinite(score.low) else form(score.value)
