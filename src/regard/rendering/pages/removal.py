"""Removal curves as drawings for `removal.svg`: a panel for each method, controls behind it in grey."""

import math
from collections.abc import Sequence

from regard.records import Audit, RemovalCurves, Score
from regard.records.audits.verdicts import PLANTED, RANDOMISED, is_control
from regard.rendering.pages import views

WIDE = 250
HIGH = 150
"""The plot's size in the drawing's units."""
LINES = ("lif", "mif")
TICKS = (0.0, 0.5, 1.0)


def panels(audit: Audit) -> list[views.View]:
    """By occluder, the first one that of the verdicts: its panels, in the order in which curves come."""
    by_occluder: dict[str, list[RemovalCurves]] = {}
    for each in audit.curves:
        by_occluder.setdefault(each.occluder, []).append(each)
    groups = []
    for place, (occluder, curves) in enumerate(by_occluder.items()):
        controls = [each for each in curves if is_control(each.method)]
        gains = {}
        for each in curves:
            srg = audit.finding("srg", each.method, occluder if place else "")
            gains[each.method] = srg.score.value if srg and math.isfinite(srg.score.value) else -math.inf
        methods = sorted((each for each in curves if not is_control(each.method)), key=lambda each: -gains[each.method])
        plots = [_panel(audit, each, controls, place) for each in methods or controls]
        groups.append({"occluder": occluder, "panels": plots})
    return groups


def _panel(audit: Audit, curves: RemovalCurves, controls: Sequence[RemovalCurves], place: int) -> views.View:
    srg = audit.finding("srg", curves.method, "" if place == 0 else curves.occluder)
    verdict = audit.verdict(curves.method) if place == 0 else None
    behind = [
        {"name": each.method, "kind": line, "path": _path(curves.shares, getattr(each, line))}
        for each in controls
        if each.method in PLANTED or each.method == f"{RANDOMISED} {curves.method}"
        for line in LINES
    ]
    # the area between the two curves, which is the SRG where LIF lies above
    least, most = (
        [(share, each.value) for share, each in zip(curves.shares, line, strict=True)]
        for line in (curves.lif, curves.mif)
    )
    step = WIDE / (len(curves.mif) - 1)
    hits = [
        {
            "at": f"{share * WIDE:.1f}",
            "left": f"{max(0.0, share * WIDE - step / 2):.1f}",
            "width": f"{step if 0 < share < 1 else step / 2:.1f}",
            "text": f"{share:.0%} gone: least important first {last}, most important first {first}",
        }
        for share, last, first in zip(curves.shares, curves.lif, curves.mif, strict=True)
    ]
    return {
        "name": curves.method,
        "srg": "" if srg is None else str(srg.score),
        "status": "" if verdict is None else verdict.status,
        "behind": behind,
        "between": _points([each for each in [*least, *reversed(most)] if math.isfinite(each[1])]),
        "lines": [
            {
                "kind": line,
                "path": _path(curves.shares, getattr(curves, line)),
                "band": _band(curves.shares, getattr(curves, line)),
            }
            for line in LINES
        ],
        "rows": [(f"{_height(each):.1f}", f"{each:g}") for each in TICKS],
        "columns": [(f"{each * WIDE:.1f}", f"{each:.0%}") for each in (0.0, 0.5, 1.0)],
        "hits": hits,
    }


def _path(shares: Sequence[float], line: Sequence[Score]) -> str:
    """An SVG path, with a gap at what is no number."""
    parts = []
    pen = "M"
    for share, score in zip(shares, line, strict=True):
        if math.isfinite(score.value):
            parts.append(f"{pen}{share * WIDE:.1f} {_height(score.value):.1f}")
        pen = "L" if math.isfinite(score.value) else "M"
    return "".join(parts)


def _band(shares: Sequence[float], line: Sequence[Score]) -> str:
    """The points of a polygon around all intervals."""
    finite = [(share, each) for share, each in zip(shares, line, strict=True) if math.isfinite(each.low + each.high)]
    above = [(share, each.high) for share, each in finite]
    below = [(share, each.low) for share, each in reversed(finite)]
    return _points([*above, *below])


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{share * WIDE:.1f},{_height(value):.1f}" for share, value in places)


def _height(value: float) -> float:
    return HIGH * (1 - min(max(value, 0.0), 1.0))
