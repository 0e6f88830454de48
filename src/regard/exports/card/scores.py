"""How often a network is right: with intervals, by class, and on its worst slice."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from regard.exports.card.markdown import bullets, code, escaped, pictures, share, table
from regard.exports.card.subject import AnyEvaluation, Subject
from regard.measurement import METRICS
from regard.records import Evaluation, MultiLabelEvaluation, SliceScore
from regard.records.display import rounded
from regard.results.evaluations import SMALLEST_SLICE, worst_slice

FEW = 10
"""Pictures of a class with fewer of which nothing can be said of it alone."""
ROWS = 100
"""Rows of a table, at most."""
NOTES = {
    "": "None of them was trained on, and nothing was chosen by them.",
    "selected on": "**They also chose the best epoch or setting, so that the numbers flatter.**",
    "cross-validated": "Each was answered by a network that had not been trained on it (cross-validation); the "
    "network here was then trained on all of them.",
    "seen in training": "**It was trained on them: the numbers say nothing of new pictures.**",
}
"""What an evaluation's note means for a reader."""
NEW = "None of them is one that it was trained on, as far as its run has a list of those."
NEVER = (
    "**Never measured.** As far as this card knows, nobody has scored this network on pictures with known classes. "
    "Nothing here says that it is right more often than a guess: `regard audit DATA --model RUN` would."
)


def scores_section(subject: Subject) -> str:
    """All that is stored of how often it is right."""
    parts = []
    if subject.evaluation is not None:
        note, _, views = subject.evaluation.note.partition("by ")
        note = note.removesuffix("; ")
        note = NOTES.get(note, escaped(note))
        if views:
            note += (
                f" **The answers are by {escaped(views)}; of one view, as the code below takes it, none is scored.**"
            )
        parts.append(_scored(subject.evaluation, f"set aside when it was trained. {note}"))
    if subject.audited is not None and subject.audit is not None:
        note = NOTES.get(subject.audited.note, escaped(subject.audited.note)) if subject.audited.note else NEW
        name = code(subject.audit.provenance.get("data_name", "other data"))
        parts.append(_scored(subject.audited, f"of {name}, when it was audited. {note}"))
    return "\n\n".join(parts) if parts else NEVER


def _scored(evaluation: AnyEvaluation, where: str) -> str:
    rows = [
        {
            "measure": escaped(METRICS[name].label),
            "value": escaped(str(score)).replace("\\[", "[").replace("\\]", "]"),
            "what it says": escaped(METRICS[name].description),
        }
        for name, score in evaluation.scores.items()
        if name in METRICS and name not in ("nll", "brier")
    ]
    parts = [f"On **{pictures(evaluation.n)}** {where}", table(rows)]
    if isinstance(evaluation, Evaluation):
        parts += [bullets(_remarks(evaluation)), _slices(evaluation)]
    else:
        parts += [bullets(_label_remarks(evaluation))]
    return "\n\n".join(filter(None, parts))


def _remarks(evaluation: Evaluation) -> Iterator[str]:
    labels = evaluation.predictions.labels
    most = np.bincount(labels).max() / len(labels)
    yield f"For comparison: always naming the most frequent class would be right on {100 * most:.0f} % of them."
    worst = worst_of(evaluation)
    if worst is not None:
        yield (
            f"**Worst slice** of {SMALLEST_SLICE} pictures or more: {code(worst.column)} {code(worst.value)}, right on "
            f"{share(worst.top1)} of {pictures(worst.top1.n)}. The lowest of several looks worse than it is."
        )
    else:
        yield f"A worst slice is not known: no column of the data has two values of {SMALLEST_SLICE} pictures or more."
    wrong = confusions(evaluation)
    if wrong:
        yield f"Most frequent mistakes: {'; '.join(wrong)}."
    elif not evaluation.predictions.right.all():
        yield "No mistake was made twice."


def worst_of(evaluation: AnyEvaluation) -> SliceScore | None:
    """The worst slice of those that are large enough; None where there are not two of them to be told apart."""
    if not isinstance(evaluation, Evaluation):
        return None
    large = sum(each.top1.n >= SMALLEST_SLICE for each in evaluation.slices)
    return worst_slice(evaluation) if large > 1 else None


def _label_remarks(evaluation: MultiLabelEvaluation) -> Iterator[str]:
    yield f"A label is given where its probability is {evaluation.predictions.threshold:g} or more."
    for name, value in evaluation.baseline.items():
        label = METRICS[name].label if name in METRICS else name
        yield f"For comparison: guessing reaches {escaped(label)} {rounded(value)}."
    if evaluation.undecided:
        names = ", ".join(map(code, evaluation.undecided))
        yield f"Labels that all of these pictures have, or none, of which nothing is known: {names}."


def confusions(evaluation: Evaluation, most: int = 3) -> list[str]:
    """The most frequent mistakes that were made more than once, in words."""
    classes = evaluation.predictions.classes
    counts = evaluation.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most].tolist()
    totals = evaluation.confusion.sum(axis=1)
    return [
        f"{code(classes[true])} taken for {code(classes[other])} ({counts[true, other]} of {totals[true]})"
        for true, other in (divmod(place, len(classes)) for place in order)
        if counts[true, other] > 1
    ]


def _slices(evaluation: Evaluation) -> str:
    rows = [
        {"slice": f"{code(each.column)} {code(each.value)}", "pictures": str(each.top1.n), "right": share(each.top1)}
        for each in evaluation.slices[:ROWS]
    ]
    return table(rows)


def classes_section(subject: Subject) -> str:
    """A row for each class: how many pictures it was trained on, and how often it is found and meant."""
    trained = subject.counts.get("train")
    evaluation = subject.scores
    rows_of: Any = ()
    if evaluation is not None:
        rows_of = evaluation.per_class if isinstance(evaluation, Evaluation) else evaluation.per_label
    scores = {each.name: each for each in rows_of}
    names = subject.classes or ()
    rows = []
    for name in names[:ROWS]:
        row = {"class": code(name)}
        if trained is not None:
            row["trained on"] = str(trained.get(name, 0))
        if name in scores:
            row["scored on"] = str(scores[name].n)
            row["found (recall)"] = share_or(scores[name].recall)
            row["right where it is named (precision)"] = share_or(scores[name].precision)
        rows.append(row)
    more = f"\n\n… and {len(names) - ROWS} more." if len(names) > ROWS else ""
    return f"{table(rows)}{more}" if rows else "Its outputs have no names."


def share_or(score: Any) -> str:
    """A share in words; where there was nothing to count, that."""
    return share(score) if np.isfinite(score.value) else "not known"


def few_classes(subject: Subject) -> list[str]:
    """The classes with so few scored pictures that nothing can be said of each alone."""
    evaluation = subject.scores
    if evaluation is None:
        return []
    rows: Any = evaluation.per_class if isinstance(evaluation, Evaluation) else evaluation.per_label
    return [each.name for each in rows if each.n < FEW]
