"""What the pages show of answers with any number of labels: scores beside guessing, labels, mistakes of each; runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from regard.records import (
    Heatmap,
    LabelComparison,
    LabelDifference,
    LabelPredictions,
    LabelScores,
    MultiLabelEvaluation,
)
from regard.rendering.pages import views
from regard.rendering.pages.anonymiser import Anonymiser
from regard.rendering.pages.comparison import extent_of, gain_view
from regard.rendering.pages.shell import Bar, render, shell

WORST = 12
"""Labels whose mistakes are shown: those of the lowest average precision that have some."""
EACH = 3
"""Pictures that miss a label, and that have it wrongly, which are shown of each."""


def label_names(evaluation: MultiLabelEvaluation) -> list[str]:
    """The pictures that the page shows, where there are thumbnails."""
    names = evaluation.predictions.names
    return list(dict.fromkeys(names[place] for each in _worst(evaluation) for place in _pictures(each)))


def label_context(
    evaluation: MultiLabelEvaluation,
    pictures: Mapping[str, Image.Image],
    heatmaps: Mapping[str, Heatmap],
    colours: str,
    signed: bool = False,
) -> views.View:
    """All that `run/labels.html` writes, and the head, scores and calibration of `run/report.html`."""
    mean = evaluation.scores.get("map")
    ece = evaluation.scores.get("label_ece")
    reliability = views.reliability_of(evaluation.reliability, ece)
    labels: list[views.View] = [
        {
            "name": each.name,
            "n": each.n,
            "prevalence": {"value": each.prevalence, "text": views.number(each.prevalence), "interval": ""},
            **{name: views.score(getattr(each, name)) for name in ("ap", "auroc", "precision", "recall", "f1")},
        }
        for each in evaluation.per_label
    ]
    return {
        "summary": _summary(evaluation),
        "score": views.score(mean) if mean else None,
        "score_name": "mAP",
        "messages": [views.NOTES.get(evaluation.note, evaluation.note)] if evaluation.note else [],
        "shows": [],
        "scores": _scores(evaluation),
        "reliability": reliability,
        "labels": {
            "rows": labels,
            "threshold": f"{evaluation.predictions.threshold:g}",
            "undecided": list(evaluation.undecided),
            "slices": [
                {
                    "column": each.column,
                    "group": each.value,
                    "n": each.n,
                    "labels": each.labels,
                    "map": views.score(each.map),
                    "exact": views.score(each.exact_match),
                }
                for each in evaluation.slices
            ],
            "mistakes": [
                _mistakes(evaluation, each, pictures, heatmaps, colours, signed) for each in _worst(evaluation)
            ],
        },
    }


def _summary(evaluation: MultiLabelEvaluation) -> str:
    """One honest sentence: mAP, of how many labels, its interval, and what guessing reaches."""
    predictions = evaluation.predictions
    right = f"Exactly the right labels on {int(predictions.right.sum())} of {evaluation.n} pictures"
    mean = evaluation.scores.get("map")
    if mean is None:
        return f"{right}; no label is had by some of them alone, so there is no mAP."
    count = int(predictions.decided.sum())
    interval = f", 95 % interval {mean.low:.2f} to {mean.high:.2f}" if np.isfinite(mean.low) else ""
    return f"mAP {mean.value:.3f} over {count} labels{interval}; guessing: {evaluation.baseline['map']:.3f}. {right}."


def _scores(evaluation: MultiLabelEvaluation) -> list[views.View]:
    rows = []
    for name, each in evaluation.scores.items():
        meaning = each.description
        if name in evaluation.baseline and "guessing" in meaning:
            meaning = f"{meaning}, here {evaluation.baseline[name]:.3f}"
        rows.append({"name": each.label or name, "meaning": meaning, **views.score(each)})
    return rows


def _worst(evaluation: MultiLabelEvaluation) -> list[LabelScores]:
    """The labels of which mistakes are shown, the lowest average precision first."""
    rows = [each for each in evaluation.per_label if each.missed or each.false]
    return sorted(rows, key=lambda each: float(np.nan_to_num(each.ap.value, nan=2.0)))[:WORST]


def _pictures(each: LabelScores) -> list[int]:
    return [*each.missed[:EACH], *each.false[:EACH]]


def _mistakes(
    evaluation: MultiLabelEvaluation,
    label: LabelScores,
    pictures: Mapping[str, Image.Image],
    heatmaps: Mapping[str, Heatmap],
    colours: str,
    signed: bool,
) -> views.View:
    """One label's pictures that lack it, surest first, then those that have it wrongly."""
    predictions = evaluation.predictions
    place = predictions.classes.index(label.name)
    cards = []
    lines = []
    for row in _pictures(label):
        name = predictions.names[row]
        view: views.View = {
            "name": name,
            "missed": row in label.missed,
            "probability": f"{predictions.probabilities[row, place]:.2f}",
            "true": predictions.named(predictions.truth[row]),
            "given": predictions.named(predictions.answers[row]),
        }
        if name in pictures:
            frame = views.frame(pictures[name], heatmaps.get(name), colours, views.THUMBNAIL, signed)
            cards.append({**view, **frame})
        else:
            lines.append(view)
    views.name_cards(cards)
    counts = label.n - round(label.n * label.recall.value) if label.n else 0
    wrong = int((predictions.answers[:, place] & ~predictions.truth[:, place]).sum())
    return {"name": label.name, "cards": cards, "lines": lines, "missed": counts, "false": wrong}


def anonymous_labels(evaluation: MultiLabelEvaluation, hide: Anonymiser) -> MultiLabelEvaluation:
    """The evaluation with pictures numbered, and no path in any text; labels stay."""
    predictions: LabelPredictions = replace(
        evaluation.predictions, names=tuple(map(hide.name, evaluation.predictions.names)), groups=None, filenames=None
    )
    slices = (replace(each, column=hide.text(each.column), value=hide.text(each.value)) for each in evaluation.slices)
    note = hide.text(evaluation.note)
    return replace(evaluation, predictions=predictions, slices=tuple(slices), note=note, provenance={})


def label_comparison_page(title: str, comparison: LabelComparison, anonymise: bool = False) -> str:
    """The page of a comparison of runs that give several labels, as HTML text."""
    if anonymise:
        comparison = _anonymous(comparison)
        title = Anonymiser(()).text(title)
    extent = extent_of(each.ap for each in comparison.differences)
    of_labels = extent_of(each.ap for each in comparison.per_label)
    context: dict[str, Any] = {
        "title": title,
        "n": comparison.n,
        "summaries": [f"mAP, {each.name} minus {each.first}: {each.gain}." for each in comparison.differences],
        "messages": [f"{name}: {views.NOTES.get(note, note)}" for name, note in comparison.notes.items()],
        "columns": [score.label or name for name, score in comparison.runs[0].scores.items()],
        "runs": [
            {"name": run.name, "scores": [views.score(each) for each in run.scores.values()]} for run in comparison.runs
        ],
        "extent": f"{extent:g}",
        "differences": [_row(each, extent) for each in comparison.differences],
        "exact": [
            {"run": each.name, "minus": each.first, "text": each.gain, "only_this": each.only_this}
            | {"only_first": each.only_first, "p": f"{each.p:.3g}", "remark": each.remark}
            for each in comparison.exact
        ],
        "labels_extent": f"{of_labels:g}",
        "labels": [_row(each, of_labels) for each in sorted(comparison.per_label, key=lambda each: each.ap.value)],
    }
    sections: Sequence[tuple[str, str]] = [("scores", "Scores"), ("differences", "Differences"), ("labels", "Labels")]
    scores = {run.name: {name: each.as_json() for name, each in run.scores.items()} for run in comparison.runs}
    data = {"n": comparison.n, "runs": scores}
    return shell(title, render("run/label_comparison.html", context), bar=Bar(sections), data=data)


def _row(each: LabelDifference, extent: float) -> views.View:
    return {
        "run": each.name,
        "minus": each.first,
        "label": each.label,
        "before": views.score(each.before),
        "after": views.score(each.after),
        **gain_view(each.ap, extent),
    }


def _anonymous(comparison: LabelComparison) -> LabelComparison:
    hide = Anonymiser(())

    def renamed(rows: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(each, name=hide.text(each.name), first=hide.text(each.first)) for each in rows)

    return replace(
        comparison,
        runs=tuple(replace(run, name=hide.text(run.name)) for run in comparison.runs),
        differences=renamed(comparison.differences),
        exact=renamed(comparison.exact),
        per_label=renamed(comparison.per_label),
        notes={hide.text(name): hide.text(note) for name, note in comparison.notes.items()},
    )
