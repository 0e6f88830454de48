"""The page of audits of captioners side by side."""

import math
from collections.abc import Mapping

from regard.records import AuditComparison, Score, WordAuditComparison, WordClaim
from regard.records.audits.words import CLAIMS
from regard.rendering.pages import views
from regard.rendering.pages.anonymiser import Anonymiser
from regard.rendering.pages.audits.claims import EVIDENCE_WORDS, GROUPS_OF, KINDS, SUPPORT, group_words
from regard.rendering.pages.audits.comparison import audits_page
from regard.rendering.pages.audits.words import MARKS, measure_words
from regard.rendering.pages.shell import Bar, render, shell


def any_audits_page(comparison: AuditComparison | WordAuditComparison, title: str, anonymise: bool = False) -> str:
    """The page of audits of one kind side by side, as HTML text."""
    if isinstance(comparison, WordAuditComparison):
        return word_audits_page(comparison, title, anonymise)
    return audits_page(comparison, title, anonymise)


def word_audits_page(comparison: WordAuditComparison, title: str, anonymise: bool = False) -> str:
    """The page of audits of captioners; `anonymise` takes what looks like a path out of their names."""
    names = dict.fromkeys(comparison.audits)
    hide = Anonymiser(word.unit for audit in comparison.audits.values() for word in audit.words)
    labels = {name: hide.text(name) if anonymise else name for name in names}
    if len(set(labels.values())) < len(labels):  # two paths look alike without them
        labels = {name: f"audit {place}" for place, name in enumerate(names, 1)}
    columns = dict(zip(names, views.shortened(list(labels.values()), views.NAME), strict=True))
    text = hide.text if anonymise else str
    context: views.View = {
        "title": text(title),
        "columns": [(columns[name], labels[name]) for name in names],
        "audits": [
            {
                "name": labels[name],
                "sentences": [text(each) for each in audit.sentences],
                "n": audit.n,
                "note": views.NOTES.get(audit.note, audit.note),
                "network": text(str(audit.provenance.get("network", ""))),
            }
            for name, audit in comparison.audits.items()
        ],
        "notes": [text(each) for each in comparison.notes],
        "claims": [
            {"question": CLAIMS[claim], "words": group_words(words), "cells": [_claim(row.get(name)) for name in names]}
            for (claim, words), row in comparison.claims.items()
        ],
        "numbers": _numbers(comparison, names),
        "support": [
            {
                "label": SUPPORT[measure]["name"],
                "subject": KINDS.get(kind, kind),
                "condition": "",
                "meaning": SUPPORT[measure]["meaning"],
                "cells": [_score(row.get(name)) for name in names],
            }
            for (measure, kind), row in comparison.support.items()
        ],
        "differences": [
            {
                "label": each.score.label or each.measure,
                "subject": _subject(*each.subject.partition(", ")[::2]),
                "name": labels[each.name],
                "first": labels[each.first],
                "gain": each.gain,
                "n": each.score.n,
                "decided": each.score.low > 0 or each.score.high < 0,
            }
            for each in comparison.differences
        ],
        "marks": MARKS,
    }
    possible = [("claims", "Claims"), ("differences", "Differences"), ("support", "Which words to believe"),
                ("numbers", "Numbers")]  # fmt: skip
    return shell(
        title=context["title"],
        body=render("audit/captioners.html", context),
        bar=Bar([(key, name) for key, name in possible if context[key]]),
        data={} if anonymise else comparison.as_json(),
        files=("audit/audit.css", "audit/captioner.css"),
    )


def _claim(claim: WordClaim | None) -> views.View | None:
    """What all evidence says together, and what each kind does."""
    if claim is None:
        return None
    by = [(EVIDENCE_WORDS[str(each.settings["by"])]["column"], each.status, f"{each.value:+.3f}", each.why)
          for each in claim.verdicts if str(each.settings.get("by")) in EVIDENCE_WORDS]  # fmt: skip
    return {"status": claim.status, "by": by}


def _numbers(comparison: WordAuditComparison, names: Mapping[str, None]) -> list[views.View]:
    rows = []
    for (claim, _, words, condition), row in comparison.numbers.items():
        label, description = measure_words(next(iter(row.values())))
        about = {"label": label, "subject": _subject(claim, words), "condition": condition, "meaning": description}
        scores = {name: each.score for name, each in row.items()}
        rows.append({**about, "cells": [_score(scores.get(name)) for name in names]})
    return rows


def _subject(claim: str, words: str) -> str:
    """The words that a number is of."""
    of = GROUPS_OF.get(claim, claim)
    return of if words in ("", "all") else f"{of}, {group_words(words)}"


def _score(each: Score | None) -> views.View | None:
    if each is None or not math.isfinite(each.value):
        return None
    score = views.score(each)
    return {"text": score["text"], "interval": score["interval"], "n": each.n}
