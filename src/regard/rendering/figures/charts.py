"""Charts for papers and slides, by matplotlib's object interface: nothing global is touched.

Every function returns a `Figure`; `chart_png` and `chart_svg` make bytes of it. Texts are plain, never formulas: a
class may be called `a$b`. The report page draws its own, in HTML (`pages/`).
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from regard.errors import DataError
from regard.records import ClassScores, Evaluation, ReliabilityBin, Score
from regard.rendering.curves import ACCURACY, LOSS, Curves, Trials, curves, limits, trials
from regard.rendering.lettering import distinct

BLUE = "#2166ac"
ORANGE = "#d55e00"
INK = "#1a1c21"
FAINT = "#686d76"
LONGEST = 28
"""Characters of a class's name on an axis."""


def chart_png(chart: Figure, dpi: int = 150) -> bytes:
    """A chart as PNG bytes, without a date or a program's name."""
    return _bytes(chart, "png", dpi=dpi, metadata={"Software": None})


def chart_svg(chart: Figure) -> bytes:
    """A chart as SVG bytes, the same for the same chart: no date, no random names."""
    with matplotlib.rc_context({"svg.hashsalt": "regard"}):
        return _bytes(chart, "svg", metadata={"Date": None, "Creator": None})


def evaluation_charts(evaluation: Evaluation) -> dict[str, bytes]:
    """A classifier's charts for a paper, as PNG files by name."""
    charts = {
        "confusion.png": confusion_chart(evaluation.confusion, evaluation.predictions.classes),
        "per_class.png": classes_chart(evaluation.per_class),
    }
    if evaluation.reliability:
        charts["reliability.png"] = reliability_chart(evaluation.reliability, evaluation.scores.get("ece"))
    return {name: chart_png(chart) for name, chart in charts.items()}


def confusion_chart(confusion: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """True class (rows) against predicted class (columns): counts written, rows coloured by their share.

    Legible from 2 to about 60 classes: the figure grows with their number.
    """
    count = len(classes)
    if confusion.shape != (count, count):
        raise DataError(
            f"a confusion matrix of shape {confusion.shape} does not fit {count} classes; it must be square"
        )
    names = _short(classes)
    size = max(2.2, 0.27 * count)
    letters = 10 if count <= 12 else 7.5
    label = 0.075 * letters / 10 * max(map(len, names)) + 0.75
    chart, axes = _figure((size + label + 0.9, size + label + 0.35))
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(_two_coloured(shares), aspect="equal", interpolation="nearest")
    _write_counts(axes, confusion, shares, letters)
    axes.set_xticks(range(count), names, rotation=90 if count > 6 else 30, fontsize=letters, parse_math=False)
    axes.set_yticks(range(count), names, fontsize=letters, parse_math=False)
    for text in axes.get_xticklabels() if count <= 6 else ():
        text.set_horizontalalignment("right")
        text.set_rotation_mode("anchor")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_color("#d5d8de")
    return chart


def reliability_chart(bins: Sequence[ReliabilityBin], ece: Score | float | None = None) -> Figure:
    """How often the network is right when it is so sure: accuracy per bin, the gap to the diagonal, counts below."""
    chart = _blank((4.6, 5.4))
    upper, lower = chart.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = [each for each in bins if each.n]
    places = [(each.low + each.high) / 2 for each in filled]
    widths = [(each.high - each.low) * 0.94 for each in filled]
    accuracy = np.array([each.accuracy for each in filled])
    confidence = np.array([each.confidence for each in filled])
    over = np.maximum(confidence - accuracy, 0)
    under = np.maximum(accuracy - confidence, 0)
    upper.bar(places, np.minimum(accuracy, confidence), widths, color=BLUE)
    upper.bar(places, over, widths, accuracy, color=ORANGE, alpha=0.5, label="surer than right")
    upper.bar(places, under, widths, confidence, color=BLUE, alpha=0.4, label="more often right than sure")
    upper.plot((0, 1), (0, 1), color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label="as sure as right")
    lower.bar(places, [each.n for each in filled], widths, color=FAINT)
    upper.set(ylabel="share right", ylim=(0, 1), xlim=(0, 1))
    lower.set(xlabel="confidence of the prediction", ylabel="pictures")
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    value = ece.value if isinstance(ece, Score) else ece
    upper.set_title("" if value is None else f"expected calibration error {value:.3f}", fontsize=10, loc="left")
    for axes in (upper, lower):
        _quiet(axes)
    return chart


def classes_chart(per_class: Sequence[ClassScores]) -> Figure:
    """Recall of every class with its 95 % interval, the best on top; the count of pictures beside the name."""
    ranked = sorted(per_class, key=lambda each: (np.nan_to_num(each.recall.value, nan=-1.0), each.name))
    chart, axes = _figure((6.4, 0.9 + 0.24 * len(ranked)))
    values = np.array([each.recall.value for each in ranked])
    ends = np.array([[each.recall.low, each.recall.high] for each in ranked]).reshape(-1, 2)
    rows = np.arange(len(ranked))
    axes.hlines(rows, ends[:, 0], ends[:, 1], color=BLUE, alpha=0.4, linewidth=4)
    axes.plot(values, rows, "o", color=BLUE, markersize=5)
    names = zip(_short([each.name for each in ranked]), ranked, strict=True)
    axes.set_yticks(rows, [f"{name}  ({each.n})" for name, each in names], fontsize=9, parse_math=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.7, len(ranked) - 0.3), xlabel="recall, with 95 % interval")
    axes.grid(axis="x", color="#e4e6ea", linewidth=0.8)
    _quiet(axes)
    return chart


def learning_chart(history: Sequence[Mapping[str, Any]], best: float | None = None) -> Figure:
    """Loss and accuracy over epochs, and the head's cross-validation, of the lines of a training's `metrics.jsonl`.

    Whatever the lines do not hold has no panel. `best`: the epoch to mark, as in the lines (the first is 0). Raises
    `DataError` where there is nothing to draw.
    """
    epochs = curves(history)
    probe = trials(history)
    quantities = [each for each in (LOSS, ACCURACY) if epochs and epochs.pair(each)]
    count = len(quantities) + (probe is not None)
    if not count:
        raise DataError("these lines of metrics hold no epoch and no trial; give those of a training's metrics.jsonl")
    chart = _blank((4.2 * count, 3.2))
    panels = chart.subplots(1, count, squeeze=False)[0]
    for axes, quantity in zip(panels, quantities, strict=False):
        _draw_epochs(axes, epochs, quantity, best)  # type: ignore[arg-type]
    if probe is not None:
        _draw_trials(panels[-1], probe)
    for axes in panels:
        _quiet(axes)
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    return chart


def _draw_epochs(axes: Axes, curves: Curves, quantity: str, best: float | None) -> None:
    """Training dashed and grey, validation in blue, the best epoch as an upright line."""
    styles: dict[str, dict[str, Any]] = {
        "training": {"color": FAINT, "linestyle": (0, (4, 2)), "linewidth": 1.3, "label": "training, as it ran"},
        "validation": {"color": BLUE, "linewidth": 1.8, "label": "validation"},
    }
    lines = curves.pair(quantity)
    for kind, values in lines.items():
        axes.plot(curves.epochs, values, marker="o" if len(values) <= 40 else "", markersize=3.5, **styles[kind])
    if best is not None:
        axes.axvline(best, color=INK, linewidth=0.8, zorder=0.5)
        axes.annotate(f"kept: {best:g}", (best, 1.0), (0, 2), ("data", "axes fraction"), "offset points", ha="center")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    room = 0.5 if len(curves.epochs) == 1 else 0.02 * float(np.ptp(curves.epochs))
    axes.set(xlim=(curves.epochs[0] - room, curves.epochs[-1] + room))
    axes.set(ylim=limits(lines.values(), quantity == ACCURACY))
    axes.set(xlabel="epoch, counted from 0", ylabel="loss (nats)" if quantity == LOSS else "share right")
    axes.legend(frameon=False, fontsize=9)


def _draw_trials(axes: Axes, probe: Trials) -> None:
    """Log-loss over strength, the chosen one ringed."""
    chosen = probe.chosen
    best = probe.strength[chosen], probe.log_loss[chosen]
    axes.plot(probe.strength, probe.log_loss, marker="o", markersize=3.5, color=BLUE, linewidth=1.8)
    axes.plot(*best, "o", markersize=10, markerfacecolor="none", color=INK, label=f"chosen: {best[0]:.3g}")
    axes.set(xscale="log", ylim=limits([probe.log_loss]), xlabel="strength (C)", ylabel="log-loss (nats)")
    axes.legend(frameon=False, fontsize=9)


def _two_coloured(shares: NDArray[Any]) -> NDArray[Any]:
    """Right answers in blues, wrong ones in oranges, nothing where there is nothing: (classes, classes, 4)."""
    strength = np.where(shares > 0, 0.12 + 0.78 * shares, 0)
    right = np.eye(len(shares), dtype=bool)[..., None]
    return (
        np.where(right, matplotlib.colormaps["Blues"](strength), matplotlib.colormaps["Oranges"](strength))
        * (shares > 0)[..., None]
    )


def _write_counts(axes: Axes, confusion: NDArray[np.int64], shares: NDArray[Any], letters: float) -> None:
    for row, column in np.argwhere(confusion):
        shade = "white" if shares[row, column] > 0.55 else INK
        text = str(confusion[row, column])
        small = letters * min(1.0, 3.2 / len(text)) if len(confusion) > 4 else letters
        axes.text(column, row, text, ha="center", va="center", fontsize=small, color=shade)


def _figure(inches: tuple[float, float]) -> tuple[Figure, Axes]:
    chart = _blank(inches)
    return chart, chart.subplots()


def _blank(inches: tuple[float, float]) -> Figure:
    chart = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(chart)
    return chart


def _quiet(axes: Axes) -> None:
    """Only the lines that carry something."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b8bcc4")
    axes.tick_params(colors=FAINT, labelcolor=INK)
    axes.set_axisbelow(True)


def _short(names: Sequence[str]) -> list[str]:
    return distinct(names, lambda name: len(name) <= LONGEST)


def _bytes(chart: Figure, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box in its place says it well enough
        chart.savefig(file, format=kind, **options)
    return file.getvalue()
