"""Numbers of an audit on a scale, as plain dictionaries for the templates: texts, places in shares, and baselines."""

import math
from collections.abc import Iterable

from regard.records import Finding, Score, Verdict
from regard.records.audits.verdicts import RANDOMISED
from regard.rendering.pages import views
from regard.rendering.pages.audits.words import RULE


def lies(each: Verdict) -> str:
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


def verdict_view(each: Verdict, ends: tuple[float, float]) -> views.View:
    """A verdict on a map: its settings in words, and why it is so, on the scale."""
    return {
        "method": each.method,
        "settings": ", ".join(f"{name} {views.text(value)}" for name, value in each.settings.items()),
        "status": each.status,
        "why": f"{each.why[:1].upper()}{each.why[1:]}.",
        **score_view(each.score, ends, signed=True),
    }


def finding_view(each: Finding, ends: tuple[float, float]) -> views.View:
    """A number, what it is to be read against, and both on the scale."""
    baseline = each.baseline
    view = score_view(each.score, ends)
    at = math.nan if baseline is None else scale_place(baseline.value, ends)
    return view | {
        "against": subject_words(each.against),
        "baseline": "" if baseline is None else views.number(baseline.value),
        "baseline_interval": "" if baseline is None else interval_text(baseline),
        "at": f"{at:.4f}" if 0 <= at <= 1 and view["bar"] else None,
        "note": "; ".join(filter(None, [each.note, each.score.note])),
    }


def subject_words(name: str) -> str:
    """A control in words."""
    if name == RANDOMISED:
        return "the same on a randomised network"
    method = name.removeprefix(f"{RANDOMISED} ")
    return name if method == name else f"{method} on a randomised network"


def score_view(score: Score, ends: tuple[float, float], signed: bool = False) -> views.View:
    """Text and, where it lies on the scale, its places there in shares."""
    low, value, high = (scale_place(each, ends) for each in (score.low, score.value, score.high))
    inside = math.isfinite(value) and all(
        -1e-9 <= each <= 1 + 1e-9 for each in (low, value, high) if math.isfinite(each)
    )
    low, high = (value if math.isnan(each) else min(max(each, 0.0), 1.0) for each in (low, high))
    zero = scale_place(0.0, ends)
    return {
        "value": score.value if math.isfinite(score.value) else None,
        "text": f"{_unsigned_zero(score.value):{'+' if signed else ''}.3f}" if math.isfinite(score.value) else "–",
        "interval": interval_text(score, signed),
        "n": score.n,
        "bar": {"low": low, "value": value, "high": high} if inside else None,
        "zero": f"{zero:.4f}" if zero > 0 else None,
        "worse": score.value < 0,
        "decided": score.low > 0 or score.high < 0,
    }


def interval_text(score: Score, signed: bool = False) -> str:
    if not (math.isfinite(score.low) and math.isfinite(score.high)):
        return ""
    return " to ".join(f"{_unsigned_zero(each):{'+' if signed else ''}.3f}" for each in (score.low, score.high))


def scale_ends(scores: Iterable[Score], others: Iterable[Score] = (), least: float = 0.0) -> tuple[float, float]:
    """A scale that holds all values and intervals, in twentieths, from 0 unless something is below."""
    values = [value for each in scores for value in (each.low, each.value, each.high) if math.isfinite(value)]
    values += [each.value for each in others if math.isfinite(each.value)]
    high = math.ceil(20 * max([*values, 0.1]) - 1e-9) / 20
    return min(math.floor(20 * min([*values, 0.0]) + 1e-9) / 20, least), high


def scale_place(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])


def end_texts(ends: tuple[float, float]) -> list[str]:
    return [f"{each:g}".replace("-", "\N{MINUS SIGN}") for each in ends]


def _unsigned_zero(value: float) -> float:
    """No "-0.000"."""
    return round(value, 3) + 0.0
