"""The page of a comparison: each run's scores, paired differences by class and by slice, and what changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from regard.records import Change, Comparison, Difference, PartDifference, Score
from regard.rendering.pages import views
from regard.rendering.pages.anonymiser import Anonymiser
from regard.rendering.pages.shell import Bar, render, shell

CARDS = 24
"""Pictures of each side of a change that are shown."""
LINES = 100
"""Those that are listed, where there are no thumbnails."""


@dataclass(frozen=True)
class ComparisonPage:
    """What the page shows: the comparison, thumbnails of pictures that changed by name, and the `files` beside it.

    `anonymise` replaces the names of pictures, and what looks like a path in the names of runs.
    """

    title: str
    comparison: Comparison
    pictures: Mapping[str, Image.Image] = field(default_factory=dict)
    files: Sequence[str] = ()
    anonymise: bool = False


def changed_names(comparison: Comparison) -> list[str]:
    """The pictures that the page shows, where there are thumbnails."""
    return [change.picture for each in comparison.differences for right in (True, False)
            for change in _changes(comparison, each, right)[:CARDS]]  # fmt: skip


def comparison_page(content: ComparisonPage) -> str:
    """The page of a comparison, as HTML text."""
    if content.anonymise:
        content = _anonymous(content)
    comparison = content.comparison
    blocks = [_block(content, place, each) for place, each in enumerate(comparison.differences, 1)]
    extent = extent_of(each.top1 for each in comparison.differences)
    context = {
        "title": content.title,
        "n": comparison.n,
        "summaries": [_summary(each, comparison.n) for each in comparison.differences],
        "messages": [f"{name}: {views.NOTES.get(note, note)}" for name, note in comparison.notes.items()],
        "columns": [
            score.label or name.replace("_", " ").capitalize() for name, score in comparison.runs[0].scores.items()
        ],
        "runs": [
            {"name": run.name, "scores": [views.score(each) for each in run.scores.values()]} for run in comparison.runs
        ],
        "differences": [_difference(each, extent) for each in comparison.differences],
        "extent": f"{extent:g}",
        "blocks": blocks,
        "files": list(content.files),
    }
    sections = [("scores", "Scores"), ("differences", "Differences")]
    for block in blocks:
        of = f" of {block['name']}" if len(blocks) > 1 else ""
        parts = {"classes": "Classes", "slices": "Subgroups", "changes": "Changed pictures"}
        sections += [(f"{key}-{block['id']}", f"{name}{of}") for key, name in parts.items() if block[key]]
    scores = {run.name: {name: each.as_json() for name, each in run.scores.items()} for run in comparison.runs}
    data = {"n": comparison.n, "runs": scores}
    return shell(content.title, render("run/comparison.html", context), bar=Bar(sections), data=data)


def _block(content: ComparisonPage, place: int, difference: Difference) -> views.View:
    """What is shown of one run against the first: classes and slices, the worst first, and the pictures."""
    comparison = content.comparison
    names = [run.name for run in comparison.runs]
    short = dict(zip(names, views.shortened(names, views.NAME), strict=True))
    changes = [
        _gallery(content, f"Right only in {name}", _changes(comparison, difference, right))
        for name, right in ((difference.name, True), (difference.first, False))
    ]
    return {
        "id": place,
        "name": difference.name,
        "first": difference.first,
        "short": short[difference.name],
        "first_short": short[difference.first],
        "classes": _parts(comparison.classes, difference),
        "slices": _parts(comparison.slices, difference),
        "changes": [each for each in changes if each["of"]],
    }


def _parts(parts: Iterable[PartDifference], difference: Difference) -> views.View | None:
    """The parts of one run on one scale, the largest loss first."""
    rows = sorted(
        (part for part in parts if part.difference.name == difference.name),
        key=lambda part: (part.difference.top1.value, -part.difference.top1.n),
    )
    if not rows:
        return None
    extent = extent_of(part.difference.top1 for part in rows)
    return {
        "extent": f"{extent:g}",
        "rows": [
            {
                "column": part.column,
                "name": part.value,
                "first_share": views.score(part.first),
                "this_share": views.score(part.this),
                **_difference(part.difference, extent),
            }
            for part in rows
        ],
    }


def _difference(each: Difference, extent: float) -> views.View:
    """A difference with its counts and its test."""
    return {
        "run": each.name,
        "minus": each.first,
        **gain_view(each.top1, extent),
        "only_this": each.only_this,
        "only_first": each.only_first,
        "p": f"{each.p:.3g}",
        "units": each.units,
        "remark": each.remark,
    }


def gain_view(gain: Score, extent: float) -> views.View:
    """A difference as text, and its place on a scale from -extent to extent."""
    low, value, high = (0.5 + each / (2 * extent) for each in (gain.low, gain.value, gain.high))
    finite = all(map(np.isfinite, (low, value, high)))
    return {
        "value": gain.value,
        "text": f"{gain.value:+.3f}",
        "interval": f"{gain.low:+.3f} to {gain.high:+.3f}" if finite else gain.note,
        "bar": {"low": low, "value": value, "high": high} if finite else None,
        "decided": finite and not gain.low <= 0 <= gain.high,
        "n": gain.n,
    }


def extent_of(scores: Iterable[Score]) -> float:
    """The end of a scale that holds all values and intervals, in twentieths."""
    values = [abs(each) for score in scores for each in (score.low, score.value, score.high) if np.isfinite(each)]
    return float(max(0.05, np.ceil(20 * max(values, default=0) - 1e-9) / 20))


def _summary(each: Difference, n: int) -> str:
    """One honest sentence, and what the interval says."""
    gain = each.top1
    counts = f"{each.name} alone is right on {each.only_this} of {n} pictures, {each.first} alone on {each.only_first}"
    sentence = f"{counts}: a difference of {gain.value:+.3f}"
    if not np.isfinite(gain.low):
        return f"{sentence}."
    sentence += f", 95 % interval {gain.low:+.3f} to {gain.high:+.3f}."
    if gain.low <= 0 <= gain.high:
        return f"{sentence} These pictures do not tell which of the two is better."
    return f"{sentence} {each.name if gain.value > 0 else each.first} is the better one on pictures like these."


def _changes(comparison: Comparison, difference: Difference, right: bool) -> list[Change]:
    """The pictures that the run alone gets right, or the first alone."""
    return [each for each in comparison.changes if each.run == difference.name and each.right == right]


def _gallery(content: ComparisonPage, name: str, changes: Sequence[Change]) -> views.View:
    """Cards of pictures, and lines for those of which there is no thumbnail."""
    cards: list[views.View] = []
    lines = []
    for change in changes[:LINES]:
        view = {
            "name": change.picture,
            "true": change.label,
            "answers": [
                {"text": answer, "right": answer == change.label, "sure": views.number(sure), "this": this}
                for answer, sure, this in (
                    (change.first, change.first_confidence, False),
                    (change.predicted, change.confidence, True),
                )
            ],
        }
        image = content.pictures.get(change.picture)
        if image is None:
            lines.append(view)
        elif len(cards) < CARDS:
            cards.append({**view, **views.frame(image, None, "inferno")})
    views.name_cards(cards)
    lines = [] if cards else lines
    return {"name": name, "cards": cards, "lines": lines, "of": len(changes), "shown": len(cards) + len(lines)}


def _anonymous(content: ComparisonPage) -> ComparisonPage:
    """Pictures by numbers, and no path in the name of a run or slice; class names stay."""
    comparison = content.comparison
    names = dict.fromkeys([*(change.picture for change in comparison.changes), *content.pictures])
    classes = {part.value for part in comparison.classes} | {change.label for change in comparison.changes}
    hide = Anonymiser(names, classes)
    runs = {run.name: hide.text(run.name) for run in comparison.runs}
    if len(set(runs.values())) < len(runs):  # two paths look alike without them
        runs = {name: f"run {place}" for place, name in enumerate(runs, 1)}

    def renamed(each: Difference) -> Difference:
        return replace(each, name=runs[each.name], first=runs[each.first])

    hidden = replace(
        comparison,
        runs=tuple(replace(run, name=runs[run.name]) for run in comparison.runs),
        differences=tuple(map(renamed, comparison.differences)),
        notes={runs.get(name, hide.text(name)): hide.text(note) for name, note in comparison.notes.items()},
        classes=tuple(replace(part, difference=renamed(part.difference)) for part in comparison.classes),
        slices=tuple(
            replace(
                part, column=hide.text(part.column), value=hide.text(part.value), difference=renamed(part.difference)
            )
            for part in comparison.slices
        ),
        changes=tuple(
            replace(change, picture=hide.name(change.picture), run=runs[change.run]) for change in comparison.changes
        ),
    )
    pictures = {hide.name(name): picture for name, picture in content.pictures.items()}
    parts: dict[str, Any] = {"title": hide.text(content.title), "comparison": hidden, "pictures": pictures}
    return replace(content, **parts)
