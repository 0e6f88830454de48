"""The page of an audit: verdicts and how they follow, curves, every number with what it is to be read against."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from regard.records import Audit, Finding, Score, Verdict
from regard.records.audits.verdicts import PARTS, RANDOMISED, is_control
from regard.rendering import colour
from regard.rendering.pages import removal, views
from regard.rendering.pages.anonymiser import pathless
from regard.rendering.pages.audits.pictures import example_maps, galleries
from regard.rendering.pages.audits.pictures import picture_names as picture_names
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
                **_row(each, (0.0, 1.0)),
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
    ends = _ends([each.score for each in audit.on_maps], least=-0.1)
    second = _second(audit)
    return {
        "asked": [{**_verdict(each, ends), "second": second.get(each.method, "")} for each in methods],
        "planted": [{**_verdict(each, ends), "second": second.get(each.method, "")} for each in planted],
        "followed": [view for each in methods if (view := _followed(audit, each))],
        "best": [
            {"half": each.half, "method": each.method, "picked": str(each.picked), "reported": str(each.reported)}
            for each in audit.best
        ],
        "ends": _texts(ends),
        "margin": [f"{100 * _at(each, ends):.2f}%" for each in (-RULE["margin"], RULE["margin"])],
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


def _verdict(each: Verdict, ends: tuple[float, float]) -> views.View:
    return {
        "method": each.method,
        "settings": ", ".join(f"{name} {views.text(value)}" for name, value in each.settings.items()),
        "status": each.status,
        "why": f"{each.why[:1].upper()}{each.why[1:]}.",
        **_score(each.score, ends, signed=True),
    }


def _answer(each: Verdict) -> views.View:
    """A verdict on something else than a map: its question, and how it lies."""
    number = f"{each.value:+.3f}" if math.isfinite(each.value) else "–"
    interval = _interval(each.score, signed=True)
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
        "control": _subject(srg.against),
        "baseline": "" if srg.baseline is None else str(srg.baseline),
        "difference": f"{each.value:+.3f}" if math.isfinite(each.value) else "–",
        "interval": _interval(each.score, signed=True),
        "where": _where(each),
        "n": each.n,
    }


def _where(each: Verdict) -> str:
    """How the interval lies to 0 and to the margin, which is what the rule asks."""
    if not (math.isfinite(each.low) or math.isfinite(each.high)):
        return "there is no interval"
    if each.low > 0:
        return "all of it is above 0"
    if each.high < 0:
        return "all of it is below 0"
    if max(-each.low, each.high) <= RULE["margin"]:
        return f"all of it is within ± {RULE['margin']}"
    return f"it holds 0 and reaches beyond ± {RULE['margin']}"


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
    ends = (_ends(each.score for each in findings if abs(each.score.value) <= 1)[0], 1.0)
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
                **_row(each, ends),
            }
        )
        before = each.measure
    return {"rows": rows, "ends": _texts(ends)}


def _table(findings: Sequence[Finding], condition: str, order: Sequence[str]) -> views.View:
    """One measure of several maps: methods as in the table of verdicts, then controls."""
    places = {name: place for place, name in enumerate(order)}
    rows = sorted(findings, key=lambda each: (is_control(each.subject), places.get(each.subject, len(order))))
    ends = _ends([each.score for each in rows], [each.baseline for each in rows if each.baseline is not None])
    label, description = measure_words(findings[0])
    return {
        "name": label,
        "meaning": description,
        "condition": condition,
        "rows": [
            {
                "name": _subject(each.subject),
                "condition": "",
                "meaning": "",
                "first": True,
                "control": is_control(each.subject),
                **_row(each, ends),
            }
            for each in rows
        ],
        "ends": _texts(ends),
    }


def _row(each: Finding, ends: tuple[float, float]) -> views.View:
    """A number, what it is to be read against, and both on the scale."""
    baseline = each.baseline
    view = _score(each.score, ends)
    at = math.nan if baseline is None else _at(baseline.value, ends)
    return view | {
        "against": _subject(each.against),
        "baseline": "" if baseline is None else views.number(baseline.value),
        "baseline_interval": "" if baseline is None else _interval(baseline),
        "at": f"{at:.4f}" if 0 <= at <= 1 and view["bar"] else None,
        "note": "; ".join(filter(None, [each.note, each.score.note])),
    }


def _subject(name: str) -> str:
    """A control in words."""
    if name == RANDOMISED:
        return "the same on a randomised network"
    method = name.removeprefix(f"{RANDOMISED} ")
    return name if method == name else f"{method} on a randomised network"


def _score(score: Score, ends: tuple[float, float], signed: bool = False) -> views.View:
    """Text and, where it lies on the scale, its places there in shares."""
    low, value, high = (_at(each, ends) for each in (score.low, score.value, score.high))
    inside = math.isfinite(value) and all(
        -1e-9 <= each <= 1 + 1e-9 for each in (low, value, high) if math.isfinite(each)
    )
    low, high = (value if math.isnan(each) else min(max(each, 0.0), 1.0) for each in (low, high))
    zero = _at(0.0, ends)
    return {
        "value": score.value if math.isfinite(score.value) else None,
        "text": f"{score.value:{'+' if signed else ''}.3f}" if math.isfinite(score.value) else "–",
        "interval": _interval(score, signed),
        "n": score.n,
        "bar": {"low": low, "value": value, "high": high} if inside else None,
        "zero": f"{zero:.4f}" if zero > 0 else None,
        "worse": score.value < 0,
        "decided": score.low > 0 or score.high < 0,
    }


def _interval(score: Score, signed: bool = False) -> str:
    if not (math.isfinite(score.low) and math.isfinite(score.high)):
        return ""
    return " to ".join(f"{each:{'+' if signed else ''}.3f}" for each in (score.low, score.high))


def _ends(scores: Iterable[Score], others: Iterable[Score] = (), least: float = 0.0) -> tuple[float, float]:
    """A scale that holds all values and intervals, in twentieths, from 0 unless something is below."""
    values = [value for each in scores for value in (each.low, each.value, each.high) if math.isfinite(value)]
    values += [each.value for each in others if math.isfinite(each.value)]
    high = math.ceil(20 * max([*values, 0.1]) - 1e-9) / 20
    return min(math.floor(20 * min([*values, 0.0]) + 1e-9) / 20, least), high


def _at(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])


def _texts(ends: tuple[float, float]) -> list[str]:
    return [f"{each:g}".replace("-", "\N{MINUS SIGN}") for each in ends]
