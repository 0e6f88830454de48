"""The page of audits side by side: verdicts, numbers, and paired differences where pictures are the same."""

import math
from collections.abc import Mapping

from regard.records import AuditComparison, Change, Finding
from regard.records.audits.verdicts import PARTS
from regard.rendering.pages import views
from regard.rendering.pages.anonymiser import Anonymiser
from regard.rendering.pages.audits.words import HEADINGS, MARKS, measure_words, variant_words
from regard.rendering.pages.mending.story import STYLE, of_audits
from regard.rendering.pages.shell import Bar, render, shell

CHANGES = 100
"""Pictures whose answer changed that are listed."""


def audits_page(comparison: AuditComparison, title: str, anonymise: bool = False) -> str:
    """The page of audits side by side, as HTML text; `anonymise` takes what looks like a path out of their names."""
    names = dict.fromkeys(comparison.audits)
    hide = Anonymiser(each.picture for each in comparison.changes)
    labels = {name: hide.text(name) if anonymise else name for name in names}
    if len(set(labels.values())) < len(labels):  # two paths look alike without them
        labels = {name: f"audit {place}" for place, name in enumerate(names, 1)}
    columns = dict(zip(names, views.shortened(list(labels.values()), views.NAME), strict=True))
    verdicts = {
        key: {name: {**vars(each), "difference": each.cells()["difference"]} for name, each in row.items()}
        for key, row in comparison.verdicts.items()
    }
    parts_of = [
        {
            "id": part,
            "short": HEADINGS[part][0],
            "heading": HEADINGS[part][1],
            "rows": [
                _row(row, names, hide if anonymise else None)
                for (of, *_), row in comparison.numbers.items()
                if of == part
            ],
        }
        for part in PARTS
    ]
    story = of_audits(comparison)
    context: views.View = {
        "story": hide.anything(story) if anonymise else story,
        "title": hide.text(title) if anonymise else title,
        "columns": [(columns[name], labels[name]) for name in names],
        "audits": [
            {
                "name": labels[name],
                "sentences": [each for each in audit.sentences if each not in comparison.sentences],
                "n": audit.n,
                "note": views.NOTES.get(audit.note, audit.note),
                "network": audit.provenance.get("network", ""),
            }
            for name, audit in comparison.audits.items()
        ],
        "notes": [hide.text(each) if anonymise else each for each in comparison.notes],
        "verdicts": [
            {"method": method, "settings": settings, "cells": [cells.get(name) for name in names]}
            for (method, settings), cells in verdicts.items()
        ],
        "parts_of": [part for part in parts_of if part["rows"]],
        "differences": [
            {
                "label": each.score.label or each.measure,
                "subject": hide.text(each.subject) if anonymise else each.subject,
                "name": labels[each.name],
                "first": labels[each.first],
                "gain": each.gain,
                "n": each.score.n,
                "decided": each.score.low > 0 or each.score.high < 0,
            }
            for each in comparison.differences
        ],
        "sentences": [hide.text(each) if anonymise else each for each in comparison.sentences],
        "changes": [_change(each, labels, hide if anonymise else None) for each in comparison.changes[:CHANGES]],
        "changed": len(comparison.changes),
        "marks": MARKS,
    }
    parts = [(part["id"], part["short"]) for part in context["parts_of"]]
    middle = [(name, name.capitalize()) for name in ("differences", "changes") if context[name]]
    mended = [("story", "Mending")] if story else []
    sections = [*mended, ("verdicts", "Verdicts"), *middle, *parts]
    data = {} if anonymise else comparison.as_json()
    return shell(title=context["title"], body=render("audit/audits.html", context), bar=Bar(sections), data=data,
                 files=("audit/audit.css", STYLE))  # fmt: skip


def _change(change: Change, labels: Mapping[str, str], hide: Anonymiser | None) -> views.View:
    """A picture whose answer is another: what it was, and what it is, each with how sure."""
    return {
        "name": change.picture if hide is None else hide.name(change.picture),
        "true": change.label,
        "run": labels[change.run],
        "answers": [
            {"text": answer, "right": answer == change.label, "sure": views.number(sure)}
            for answer, sure in ((change.first, change.first_confidence), (change.predicted, change.confidence))
        ],
    }


def _row(row: Mapping[str, Finding], names: Mapping[str, None], hide: Anonymiser | None) -> views.View:
    each = next(iter(row.values()))
    label, description = measure_words(each)
    return {
        "label": label,
        "meaning": description,
        "subject": each.subject if hide is None else hide.text(each.subject),
        "condition": variant_words(each),
        "cells": [_cell(row.get(name)) for name in names],
    }


def _cell(each: Finding | None) -> views.View | None:
    if each is None or not math.isfinite(each.score.value):
        return None
    score = views.score(each.score)
    return {"text": score["text"], "interval": score["interval"], "n": each.score.n}
