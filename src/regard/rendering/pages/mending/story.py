"""The story of a mended network in four panels: before, what was found, what was done, after.

Each number after stands with its paired difference and its interval, and beside it what the placebo did.
"""

import math
from collections.abc import Iterable

from regard.records import AuditComparison, Finding, Mending, PairedMeasure, Score
from regard.rendering.pages import views

STYLE = "mending/story.css"
SLICES = 4
"""Slices that the second panel lists, the lowest first; the table has all."""
FLIPS = "on the background of a picture of another class"
WORST = "worst_slice"
NOWHERE = Score(math.nan, math.nan, math.nan, 0)
UNKNOWN = "From {} to {}. What was done between the two is not written in the network."


def of_run(mending: Mending) -> views.View:
    """What `regard train` found out when it mended a run."""
    worst, same, mean, accuracy = mending.measures
    slices = sorted((each for each in mending.rows if each.slice), key=lambda each: each.before.value)
    by = " and ".join(["class", *mending.columns])
    where = [f" ({each})" for each in worst.where] or ["", "", ""]
    low, high = slices[0], slices[-1]
    found = [
        f"Sliced by {by}, it is right on {low.before.value:.0%} of “{low.name}”, and on {high.before.value:.0%} of "
        f"“{high.name}”. The lowest of several looks worse than it is: the last "
        "number here is of a slice that was found on one half of the pictures, and judged on the other."
    ]
    if mending.empty:
        found.append(f"No picture is in {', '.join(mending.empty)}: of these nothing is known.")
    numbers = [
        _paired(f"Worst slice{where[1]}", worst),
        _paired("The slice that was worst", same),
        _paired("Mean over slices", mean),
        _paired("Accuracy", accuracy),
    ]
    before = [(f"Worst slice{where[0]}", worst), ("Mean over slices", mean), ("Accuracy", accuracy)]
    return {
        "panels": [
            _panel(
                "Before",
                [f"As it was, on {mending.n} pictures that it had not learnt."],
                [_number(name, each.before) for name, each in before],
            ),
            _panel(
                "What was found",
                found,
                [
                    *(_number(each.name, each.before) for each in slices[:SLICES]),
                    _number("The slice that was worst", same.before),
                ],
            ),
            _panel("What was done", _done(mending), []),
            _panel("After", ["On the very same pictures, paired."], numbers),
        ],
        "verdict": [f"{mending.sentence[:1].upper()}{mending.sentence[1:]}."],
        "real": mending.real,
        "slices": [
            {
                **_paired(each.name, each),
                "before": views.score(each.before),
                "other": views.score(each.placebo),
                "other_gain": _signed(each.placebo_gain),
            }
            for each in slices
        ],
    }


def of_audits(comparison: AuditComparison) -> views.View | None:
    """What two audits of the very same pictures say, the second after the first; None where nothing is paired."""
    if len(comparison.audits) != 2 or not comparison.differences:
        return None
    first, second = comparison.audits.values()
    mending = second.mending
    gains = {(each.measure, each.subject): each.score for each in comparison.differences}
    placebo = {} if mending is None else dict(zip((WORST, "top1"), mending.measures[1::2], strict=False))
    slices = sorted((each for each in first.of("quality") if each.subject), key=lambda each: each.score.value)
    worst = next((each for each in slices if each.note), None)
    rows: list[tuple[str, str, Finding | None, Finding | None]] = []
    if worst is not None:
        name = f"Worst slice ({worst.subject})"
        gains[WORST, ""] = gains.get(("top1", worst.subject), gains.get((WORST, ""), NOWHERE))
        rows.append((WORST, name, worst, second.finding("top1", worst.subject)))
    rows += [
        (measure, name, first.finding(measure, "", condition), second.finding(measure, "", condition))
        for measure, name, condition in (
            ("top1", "Accuracy", ""),
            ("background_reliance", "Accuracy lost on other backgrounds", ""),
            ("flips", "Answers that change with the background", FLIPS),
        )
    ]
    rows = [row for row in rows if row[2] is not None and row[3] is not None]
    names = [str(each.provenance.get("network", "a network")) for each in (first, second)]
    after = []
    for measure, name, _, there in rows:
        number = _number(name, None if there is None else there.score)
        if (measure, "") in gains:
            gain = gains[measure, ""]
            number |= {"gain": _signed(gain), "decided": gain.low > 0 or gain.high < 0}
        if measure in placebo:
            number["placebo"] = f"{_signed(placebo[measure].placebo_gain)}, when it was mended"
        after.append(number)
    return {
        "panels": [
            _panel(
                "Before",
                [first.sentences[0]],
                [_number(name, None if here is None else here.score) for _, name, here, _ in rows],
            ),
            _panel(
                "What was found",
                first.sentences[1:2],
                [_number(each.subject, each.score) for each in slices[:SLICES]],
            ),
            _panel("What was done", _done(mending) if mending else [UNKNOWN.format(*names)], []),
            _panel("After", [f"On the very same {second.n} pictures, paired."], after),
        ],
        "verdict": [],  # it stands at the head of the page
        "real": None,
        "slices": [],
    }  # fmt: skip


def _done(mending: Mending) -> list[str]:
    lines = [mending.done or f"It was mended by {mending.recipe}."]
    if mending.excluded:
        lines.append(f"It is not judged by the {mending.excluded} pictures of DATA that it had been trained on before.")
    return lines


def _panel(heading: str, texts: Iterable[str], numbers: Iterable[views.View]) -> views.View:
    return {"heading": heading, "texts": [each for each in texts if each], "numbers": list(numbers)}


def _number(name: str, score: Score | None) -> views.View:
    """A number with its interval; neither difference nor placebo."""
    view = views.score(score or NOWHERE)
    return {"name": name, **view, "gain": "", "decided": False, "placebo": ""}


def _paired(name: str, row: PairedMeasure) -> views.View:
    """What a measure is after, by how much more, and what the placebo has more."""
    placebo = f"{_signed(row.placebo_gain)}, to {views.number(row.placebo.value)}"
    more = {"gain": _signed(row.gain), "decided": row.gain.low > 0 or row.gain.high < 0, "placebo": placebo}
    return {**_number(name, row.after), **more}


def _signed(score: Score) -> str:
    if not math.isfinite(score.value):
        return "–"
    ends = f" [{score.low:+.3f}, {score.high:+.3f}]" if math.isfinite(score.low) and math.isfinite(score.high) else ""
    return f"{score.value:+.3f}{ends}"
