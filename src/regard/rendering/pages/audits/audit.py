"""The page of an audit: verdicts and how they follow, curves, every number with what it is to be read against."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from regard.records import Audit, Finding, Verdict
from regard.records.audits.verdicts import PARTS, is_control
from regard.rendering import colour
from regard.rendering.pages import removal, views
from regard.rendering.pages.anonymiser import pathless
from regard.rendering.pages.audits.pictures import example_maps, galleries
from regard.rendering.pages.audits.pictures import picture_names as picture_names
from regard.rendering.pages.audits.scales import (
    end_texts,
    finding_view,
    interval_text,
    lies,
    scale_ends,
    scale_place,
    subject_words,
    verdict_view,
)
from regard.rendering.pages.audits.words import HEADINGS, MARKS, RULE, measure_words, variant_words
from regard.rendering.pages.columns import audit_columns, slice_filter
from regard.rendering.pages.shell import DRAWING_SCRIPTS, RUN_SCRIPTS, RUN_STYLES, Bar, render, shell

ROWS = 8
"""A table of more rows is folded away, unless it is the first of its part."""


def audit_page(audit: Audit, pictures: Mapping[str, Image.Image] | None = None, title: str = "") -> str:
    """The page of an audit, as HTML text; `pictures` are thumbnails of `picture_names`, by name, upright.

    Without any, maps are drawn by themselves, and pictures are listed by name.
    """
    pictures = pictures or {}
    title = title or f"Audit of {audit.provenance.get('network', 'a network')}"
    parts = [part for name in PARTS if (part := _part(audit, name))]
    examples = example_maps(audit, pictures)
    slices = [each for each in audit.of("quality") if each.subject]
    slices.sort(key=lambda each: each.score.value if math.isfinite(each.score.value) else math.inf)  # the worst first
    columns = audit_columns(audit, pictures)
    context = {
        "title": title,
        "audit": audit,
        "note": views.NOTES.get(audit.note, audit.note),
        "facts": _facts(audit),
        **_verdicts(audit),
        "domain": _domain(audit),
        "curves": removal.panels(audit),
        "parts_of": parts,
        "slices": [
            {
                **finding_view(each, (0.0, 1.0)),
                "name": each.subject,
                "measure": measure_words(each)[0],
                "show": slice_filter(columns["pictures"], *each.subject.partition(": ")[::2]),
            }
            for each in slices
        ],
        "galleries": galleries(audit, pictures),
        "examples": examples,
        "has_blanks": any(each["blank"] for each in examples),
        "skipped": [(name, pathless(why)) for name, why in audit.skipped.items()],
        "failures": [pathless(str(each)) for each in audit.failures],
        "settings": views.facts(audit.settings),
        "provenance": views.facts(audit.provenance),
        "ramp": views.ramp(colour.OVERLAY),
        "marks": MARKS,
        "rule": RULE,
        "signed": any(each.signed for each in audit.examples),
    }
    data = {name: audit.as_json()[name] for name in ("n", "note", "sentences", "verdicts", "findings")}
    return shell(
        title,
        render("audit/audit.html", context),
        bar=Bar(_sections(context), render("shell/controls.html", context) if examples else ""),
        data=data | columns,
        files=(*RUN_STYLES, "audit/audit.css", *DRAWING_SCRIPTS, *RUN_SCRIPTS),
    )


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the navigation lists: (id, name)."""
    possible = [
        ("verdicts", "Verdicts", True),
        ("rule", "Rule", context["followed"]),
        ("in-domain", "In domain", context["domain"]),
        ("curves", "Curves", context["curves"]),
        *((part["id"], part["short"], True) for part in context["parts_of"]),
        ("fooled", "Fooled", context["slices"] or context["galleries"]),
        ("maps-of-pictures", "Maps", context["examples"]),
        ("left-out", "Left out", context["skipped"] or context["failures"]),
        ("provenance", "Provenance", True),
    ]
    return [(key, name) for key, name, present in possible if present]


def _facts(audit: Audit) -> list[tuple[str, str]]:
    methods = [each.method for each in audit.on_maps if not is_control(each.method)]
    about = {
        "Network": audit.provenance.get("network"),
        "Pictures": f"{audit.n} of {audit.provenance['data_name']}" if "data_name" in audit.provenance else audit.n,
        "Classes": len(audit.classes),
        "Methods": ", ".join(methods),
    }
    return views.facts({name: value for name, value in about.items() if value})


# Verdicts


def _verdicts(audit: Audit) -> views.View:
    """The rows of methods and of planted maps, on one scale, and how each follows from its numbers."""
    methods = sorted(
        (each for each in audit.on_maps if not is_control(each.method)),
        key=lambda each: -each.value if math.isfinite(each.value) else math.inf,
    )
    planted = [each for each in audit.on_maps if is_control(each.method)]
    ends = scale_ends([each.score for each in audit.on_maps], least=-0.1)
    second = _second(audit)
    return {
        "asked": [{**verdict_view(each, ends), "second": second.get(each.method, "")} for each in methods],
        "planted": [{**verdict_view(each, ends), "second": second.get(each.method, "")} for each in planted],
        "followed": [view for each in methods if (view := _followed(audit, each))],
        "best": [
            {"half": each.half, "method": each.method, "picked": str(each.picked), "reported": str(each.reported)}
            for each in audit.best
        ],
        "ends": end_texts(ends),
        "margin": [f"{100 * scale_place(each, ends):.2f}%" for each in (-RULE["margin"], RULE["margin"])],
    }


def _second(audit: Audit) -> dict[str, str]:
    """By map, the status of the verdict on the copy."""
    return {} if audit.in_domain is None else {each.method: each.status for each in audit.in_domain.verdicts}


DOMAIN = {"srg": "SRG", "single_deletion": "Single deletion"}
"""What stands side by side of network and copy."""


def _domain(audit: Audit) -> views.View | None:
    """Both verdicts, and the numbers behind them; methods as in the table of verdicts, then planted maps."""
    domain = audit.in_domain
    if domain is None:
        return None
    second = _second(audit)
    rows = sorted(audit.on_maps, key=lambda each: (is_control(each.method), -each.value))
    return {
        "pictures": domain.pictures,
        "steps": domain.settings.get("steps", "some"),
        "same": str(domain.same),
        "differing": domain.differing(audit.verdicts),
        "measures": list(DOMAIN.values()),
        "agreement": [(DOMAIN[name], str(each)) for name, each in domain.agreement.items() if name in DOMAIN],
        "rows": [
            {
                "name": each.method,
                "control": is_control(each.method),
                "first": each.status,
                "second": second.get(each.method, ""),
                "numbers": [
                    tuple("–" if of is None else str(of.score) for of in pair)
                    for name in DOMAIN
                    for pair in [(audit.finding(name, each.method), domain.finding(name, each.method))]
                ],
            }
            for each in rows
        ],
    }


def _answer(each: Verdict) -> views.View:
    """A verdict on something else than a map: its question, and how it lies."""
    number = f"{each.value:+.3f}" if math.isfinite(each.value) else "–"
    interval = interval_text(each.score, signed=True)
    why = f"{number}{f', {interval}' if interval else ''}: {each.why}"
    return {"question": each.question, "status": each.status, "why": why}


def _followed(audit: Audit, each: Verdict) -> views.View | None:
    """SRG, that of the best control, and their difference; None where the SRG is not there."""
    srg = audit.finding("srg", each.method)
    if srg is None:
        return None
    return {
        "method": each.method,
        "status": each.status,
        "srg": str(srg.score),
        "control": subject_words(srg.against),
        "baseline": "" if srg.baseline is None else str(srg.baseline),
        "difference": f"{each.value:+.3f}" if math.isfinite(each.value) else "–",
        "interval": interval_text(each.score, signed=True),
        "where": lies(each),
        "n": each.n,
    }


# The numbers of a part


def _part(audit: Audit, name: str) -> views.View | None:
    """The tables of a part; None where nothing was measured."""
    findings = [each for each in audit.of(name) if not (name == "quality" and each.subject)]  # slices are further below
    if not findings:
        return None
    short, heading, reading = HEADINGS[name]
    whole = [each for each in findings if not each.subject]
    by_measure: dict[tuple[str, str], list[Finding]] = {}
    for each in findings:
        if each.subject:
            by_measure.setdefault((each.measure, each.condition), []).append(each)
    order = [each.method for each in sorted(audit.on_maps, key=lambda each: -each.value) if not is_control(each.method)]
    tables = [_table(rows, condition, order) for (_, condition), rows in by_measure.items()]
    for place, table in enumerate(tables):
        table["open"] = place == 0 or (not table["condition"] and len(table["rows"]) <= ROWS)
    return {
        "id": name,
        "short": short,
        "heading": heading,
        "reading": reading,
        "verdicts": []
        if name != "positions"
        else [_answer(each) for each in audit.verdicts if each not in audit.on_maps],
        "whole": _whole(whole) if whole else None,
        "tables": tables,
    }


def _whole(findings: Sequence[Finding]) -> views.View:
    """Numbers of the network itself, those of one measure together."""
    ends = (scale_ends(each.score for each in findings if abs(each.score.value) <= 1)[0], 1.0)
    rows = []
    before = ""
    for each in sorted(findings, key=lambda row: [other.measure for other in findings].index(row.measure)):
        label, description = measure_words(each)
        rows.append(
            {
                "name": label,
                "condition": variant_words(each),
                "meaning": description if each.measure != before else "",
                "first": each.measure != before,
                "control": False,
                **finding_view(each, ends),
            }
        )
        before = each.measure
    return {"rows": rows, "ends": end_texts(ends)}


def _table(findings: Sequence[Finding], condition: str, order: Sequence[str]) -> views.View:
    """One measure of several maps: methods as in the table of verdicts, then controls."""
    places = {name: place for place, name in enumerate(order)}
    rows = sorted(findings, key=lambda each: (is_control(each.subject), places.get(each.subject, len(order))))
    ends = scale_ends([each.score for each in rows], [each.baseline for each in rows if each.baseline is not None])
    label, description = measure_words(findings[0])
    return {
        "name": label,
        "meaning": description,
        "condition": condition,
        "rows": [
            {
                "name": subject_words(each.subject),
                "condition": "",
                "meaning": "",
                "first": True,
                "control": is_control(each.subject),
                **finding_view(each, ends),
            }
            for each in rows
        ],
        "ends": end_texts(ends),
    }
