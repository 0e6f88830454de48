"""The page of an audit of a captioner: what its words look at, by each kind of evidence, and its wrong words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from regard.records import AuditedWord, Finding, Score, Verdict, WordAudit, WordClaim, WordExample
from regard.records.audits.words import CLAIMS, EVIDENCE, PLANTED
from regard.rendering.figures.caption_panels import LONGEST, caption_panel, cells_of
from regard.rendering.pages import views
from regard.rendering.pages.anonymiser import pathless
from regard.rendering.pages.audits.claims import EVIDENCE_WORDS, EXAMPLES, GROUPS_OF, KINDS, SUPPORT, group_words
from regard.rendering.pages.audits.scales import end_texts, finding_view, scale_ends, score_view
from regard.rendering.pages.audits.words import MARKS, measure_words
from regard.rendering.pages.shell import Bar, render, shell

SENTENCES = 60
"""Captions with a wrong word that are listed."""
FEWEST = 10
"""Of fewer pictures with such words nothing is decided: that of `audit/words/rules.py`."""
SETTINGS = ("claim", "words", "by")
"""What a verdict's settings have that stands in the page's own columns."""
MEASURED = {
    "map_share": "Of its map there",
    "fall": "Nats lost without it",
    "gain_over_another": "Nats over another picture",
    "log_probability": "Log-probability",
}
"""What stands beside a wrong word, by its column."""
ROW: views.View = {"name": "", "condition": "", "meaning": "", "first": True, "control": False}
"""A row of numbers, before it is filled."""


def word_audit_page(audit: WordAudit, title: str = "", pictures: bool = True) -> str:
    """The page of an audit of a captioner's words, as HTML text; with `pictures`, its examples are drawn."""
    title = title or f"What the words of {audit.provenance.get('network', 'a captioner')} look at"
    evidence = [view for by in EVIDENCE if (view := _evidence(audit, by))]
    sentences = wrong_sentences(audit)
    context = {
        "title": title,
        "audit": audit,
        "note": views.NOTES.get(audit.note, audit.note),
        "facts": _facts(audit),
        "kinds": [(view["by"], view["column"]) for view in evidence],
        "claims": _claims(audit, [view["by"] for view in evidence]),
        "evidence": evidence,
        "numbers_of": _numbers(audit),
        "support": _support(audit),
        "sentences": [_sentence(each) for each in sentences[:SENTENCES]],
        "wrong": len(sentences),
        "measured": list(MEASURED.values()),
        "examples": [views.panel(each.caption.name, _panel(each)) for each in audit.examples] if pictures else [],
        "failures": [pathless(str(each)) for each in audit.failures],
        "skipped": [(name, pathless(why)) for name, why in audit.skipped.items()],
        "settings": views.facts(audit.settings),
        "provenance": views.facts(audit.provenance),
        "marks": MARKS,
    }
    data = {name: audit.as_json()[name] for name in ("n", "note", "sentences", "claims", "verdicts", "findings")}
    return shell(
        title,
        render("audit/captioner.html", context),
        bar=Bar(_sections(context)),
        data=data,
        files=("audit/audit.css", "audit/captioner.css"),
    )


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the navigation lists: (id, name)."""
    possible = [
        ("claims", "Claims", True),
        *((f"by-{view['by']}", view["column"], True) for view in context["evidence"]),
        ("numbers", "Numbers", context["numbers_of"]),
        ("believed", "Which words to believe", context["support"]),
        ("examples", "Maps", context["examples"]),
        ("wrong", "Wrong words", context["sentences"]),
        ("left-out", "Left out", context["skipped"] or context["failures"]),
        ("provenance", "Provenance", True),
    ]
    return [(key, name) for key, name, present in possible if present]


def _facts(audit: WordAudit) -> list[tuple[str, str]]:
    judged = [each.right for each in audit.words if each.right is not None]
    maps = next((each for each in audit.verdicts if each.method not in PLANTED), None)
    settings = {} if maps is None else {k: v for k, v in maps.settings.items() if k not in SETTINGS and v is not None}
    about = {
        "Captioner": audit.provenance.get("network"),
        "Captions": f"{audit.n} of {audit.provenance['data_name']}" if "data_name" in audit.provenance else audit.n,
        "Words": len(audit.words) or None,
        "Right, and wrong": f"{judged.count(True)} and {judged.count(False)}" if judged else None,
        "Maps": None
        if maps is None
        else ", ".join([maps.method, *(f"{k} {views.text(v)}" for k, v in settings.items())]),
    }
    return views.facts(about)


# The claims


def _claims(audit: WordAudit, kinds: Sequence[str]) -> list[views.View]:
    """The five claims, each with its groups of words, and what each kind of evidence says of them."""
    views_of = []
    for claim, question in CLAIMS.items():
        groups = [each for each in audit.claims if each.claim == claim]
        rows = [
            {"words": group_words(each.words), "status": each.status, "cells": _cells(each, kinds)} for each in groups
        ]
        views_of.append({"question": question, "meaning": EXAMPLES[claim], "rows": rows})
    return views_of


def _cells(claim: WordClaim, kinds: Sequence[str]) -> list[views.View | None]:
    of = {str(each.settings.get("by")): each for each in claim.verdicts if each.method not in PLANTED}
    return [
        None if by not in of else {"status": of[by].status, "text": score_view(of[by].score, (0.0, 1.0), True)["text"]}
        for by in kinds
    ]


def _evidence(audit: WordAudit, by: str) -> views.View | None:
    """The verdicts by one kind of evidence on one scale, planted maps apart; None where there are none."""
    verdicts = [each for each in audit.verdicts if each.settings.get("by") == by]
    if not verdicts:
        return None
    ends = scale_ends(_decisive([each.score for each in verdicts]), least=-0.1)
    of_maps = [each for each in verdicts if each.method not in PLANTED]
    planted = [each for each in verdicts if each.method in PLANTED]
    return {
        "by": by,
        **EVIDENCE_WORDS[by],
        "rows": _verdicts(of_maps, ends),
        "planted": _verdicts(planted, ends),
        "ends": end_texts(ends),
    }


def _decisive(scores: Sequence[Score]) -> Sequence[Score]:
    """Those of enough captions, which a scale is made for: of few an interval may reach over all that is possible."""
    return [each for each in scores if each.n >= FEWEST] or scores


def _verdicts(verdicts: Sequence[Verdict], ends: tuple[float, float]) -> list[views.View]:
    order = {claim: place for place, claim in enumerate(CLAIMS)}
    rows = []
    before = None
    for each in sorted(verdicts, key=lambda each: order.get(str(each.settings.get("claim")), len(order))):
        method = f", by the map “{each.method}”" if each.method in PLANTED else ""
        about = {
            "question": each.question,
            "first": each.question != before,
            "words": f"{group_words(str(each.settings.get('words')))}{method}",
            "status": each.status,
            "why": f"{each.why[:1].upper()}{each.why[1:]}{'' if each.why.endswith('.') else '.'}",
        }
        rows.append({**about, **score_view(each.score, ends, signed=True)})
        before = each.question
    return rows


# Numbers


def _numbers(audit: WordAudit) -> list[views.View]:
    """For each measure a table of its values, and one of what they are over each control, paired."""
    by_measure: dict[str, list[Finding]] = {}
    for each in audit.findings:
        by_measure.setdefault(each.measure, []).append(each)
    tables = []
    for findings in by_measure.values():
        plain = [each for each in findings if not each.condition]
        paired = [each for each in findings if each.condition]
        label, description = measure_words(findings[0])
        about = {"name": label, "meaning": description}
        tables.append({**about, "plain": plain and _table(plain), "paired": paired and _table(paired)})
    return tables


def _table(findings: Sequence[Finding]) -> views.View:
    baselines = [each.baseline for each in findings if each.baseline]
    ends = scale_ends(_decisive([each.score for each in findings]), _decisive(baselines))
    rows = []
    before = None
    for each in findings:
        of = GROUPS_OF.get(each.part, each.part)
        name = of if each.subject in ("", "all") else f"{of}, {group_words(each.subject)}"
        about = {"name": name, "condition": each.condition, "first": name != before}
        rows.append({**ROW, **about, **finding_view(each, ends)})
        before = name
    return {"rows": rows, "ends": end_texts(ends)}


def _support(audit: WordAudit) -> views.View | None:
    """How well the fitted model tells right words from wrong ones, by kind; None where none was fitted."""
    if audit.support is None or not audit.support.get("measured"):
        return None
    tables = []
    for name, chance in (("auroc", Score(0.5, math.nan, math.nan, 0)), ("calibration_error", None)):
        findings = []
        for kind, of in audit.support["measured"].items():
            note = f"{of['n_right']} right and {of['n_wrong']} wrong words"
            score = Score.from_json(of[name])
            findings.append(Finding("support", name, kind, score, chance, "guessing" if chance else "", note))
        ends = scale_ends([each.score for each in findings])
        rows = [{**ROW, "name": KINDS.get(each.subject, each.subject), **finding_view(each, ends)} for each in findings]
        tables.append({**SUPPORT[name], "rows": rows, "ends": end_texts(ends)})
    return {"tables": tables, "data": str(audit.support.get("data", ""))}


# Captions


def _panel(example: WordExample) -> Image.Image:
    """Every word's map over the picture, with what it speaks of outlined; the picture alone where there is none."""
    caption = example.caption
    if caption.image is None:
        raise ValueError(f"the example {caption.name} brings no picture")
    picture, *cells = cells_of(caption)
    for place in range(len(cells)):
        cells[place] = replace(cells[place], region=example.regions.get(place), wrong=place in example.wrong)
    return caption_panel(caption.image(LONGEST), caption.name, caption.text, [picture, *cells])


def wrong_sentences(audit: WordAudit) -> list[list[AuditedWord]]:
    """The captions that have a wrong word, each with all its words in their order."""
    sentences: dict[str, list[AuditedWord]] = {}
    for word in audit.words:
        sentences.setdefault(word.unit, []).append(word)
    return [sorted(words, key=lambda each: each.place) for words in sentences.values()
            if any(each.right is False for each in words)]  # fmt: skip


def _sentence(words: Sequence[AuditedWord]) -> views.View:
    return {
        "name": words[0].unit,
        "words": [{"text": each.text, "right": each.right} for each in words],
        "wrong": [
            {
                "text": each.text,
                "numbers": [
                    f"{round(each.numbers[name], 2) + 0.0:.2f}" if name in each.numbers else "" for name in MEASURED
                ],
            }
            for each in words
            if each.right is False
        ],
    }
