"""How often each interval that the product prints holds the truth, by the product's own functions on drawn data.

    OMP_NUM_THREADS=1 .venv/bin/python bench/coverage.py [--settings PATTERN] [--draws 4000] [--seed 0] [--into FILE.md]

Every setting below is drawn at truths from .1 to .9. Prints a table in Markdown: the least coverage
among the truths, and where, the mean of them, and how long the intervals are in the mean. Nominal is .95. With `--into`
the rows also take the place of those of the same name in a table that FILE.md has, or are added below it.
"""

import argparse
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from draws import captions, classification, means
from draws.common import Draw, Groups

TRUTHS = [tenth / 10 for tenth in range(1, 10)]
HEAD = "| setting | draws | least | at | mean | length | |"
LEAST = 0.92
MEAN = (0.94, 0.975)
ROUNDING = 1e-9

SIZES: dict[str, Sequence[int]] = {
    "30 classes of 1": [1] * 30,
    "15 classes of 2": [2] * 15,
    "10 classes of 3": [3] * 10,
    "20 of 1 and 5 of 10": [1] * 20 + [10] * 5,
    "2 classes, 28 and 2": [28, 2],
    "2 classes, 29 and 1": [29, 1],
    "3 classes, 40, 15, 5": [40, 15, 5],
    "5 classes of 20": [20] * 5,
    "100 classes of 5": [5] * 100,
}
BY_GROUP = {
    "30 of 4, 3 classes across": (Groups(30, (4,)), 3, True),
    "10 of 3, 2 classes across": (Groups(10, (3,)), 2, True),
    "15 of 1 to 8, 3 classes across": (Groups(15, (1, 1, 2, 8, 3)), 3, True),
    "30 of 4, 5 classes within": (Groups(30, (4,)), 5, False),
    "30 of 4, alike not at all": (Groups(30, (4,), 0.001), 3, True),
    "20 of 5, all alike": (Groups(20, (5,), 0.9), 3, True),
}


@dataclass(frozen=True)
class Setting:
    """A row of the table, and what it draws."""

    name: str
    draw: Draw


def shares() -> Iterator[Setting]:
    for n in (30, 50, 200, 1000):
        yield Setting(f"share (top1, recall, slices, exact match): {n}", classification.shares(n))
    yield Setting("precision of a class: 3 classes of 30", classification.precision)
    yield Setting("top5: 30", classification.top5)
    for title, (groups, classes, across) in BY_GROUP.items():
        yield Setting(f"top1 by group: {title}", classification.by_group("top1", groups, classes, across))


def means_over_classes() -> Iterator[Setting]:
    for measure in ("balanced_accuracy", "macro_f1"):
        for title, sizes in SIZES.items():
            yield Setting(f"{measure}: {title}", classification.by_class(measure, sizes))
        for title in ("10 classes of 3", "30 classes of 1", "2 classes, 28 and 2", "5 classes of 20"):
            draw = classification.by_class(measure, SIZES[title], uneven=True)
            yield Setting(f"{measure}, uneven recalls: {title}", draw)
        for title, (groups, classes, across) in BY_GROUP.items():
            yield Setting(f"{measure} by group: {title}", classification.by_group(measure, groups, classes, across))


def areas() -> Iterator[Setting]:
    for positives, negatives in ((15, 15), (5, 25), (3, 27), (2, 28), (1, 29), (10, 90), (100, 100)):
        yield Setting(f"macro_auroc: {positives} against {negatives}", classification.areas(positives, negatives))
    for positives, negatives in ((15, 15), (5, 25)):
        draw = classification.areas(positives, negatives, ties=True)
        yield Setting(f"macro_auroc, four values: {positives} against {negatives}", draw)
        draw = classification.areas(positives, negatives, spread=2)
        yield Setting(f"macro_auroc, positives vary twice as much: {positives} against {negatives}", draw)
    yield Setting("macro_auroc by group, across: 15 of 4", classification.areas(30, 30, groups=15))
    yield Setting("macro_auroc by group, across: 30 of 4", classification.areas(60, 60, groups=30))
    for title in ("30 classes of 1", "15 classes of 2", "10 classes of 3", "3 classes, 40, 15, 5", "5 classes of 20"):
        yield Setting(f"macro_auroc: {title}", classification.many_areas(SIZES[title]))


def confidences() -> Iterator[Setting]:
    groups = Groups(15, (4,))
    for kind, chance in means.CALIBRATIONS.items():
        for n in (30, 100, 1000) if kind in ("calibrated", "too sure at both ends") else (30, 100):
            yield Setting(f"ece, {kind}: {n}", means.calibration(n, chance))
        yield Setting(f"ece, {kind}, by group: 15 of 4", means.calibration(60, chance, groups=groups))
    for kind in ("calibrated", ".1 too sure"):
        yield Setting(f"ece, {kind}, confidences alike: 100", means.calibration(100, means.CALIBRATIONS[kind], 30))
    for measure in ("nll", "brier"):
        for kind in ("calibrated", "too sure at both ends", "not sure enough"):
            chance = means.CALIBRATIONS[kind]
            for n in (30, 200):
                yield Setting(f"{measure}, {kind}: {n}", means.losses(measure, n, chance))
            yield Setting(f"{measure}, {kind}, very sure: 30", means.losses(measure, 30, chance, 0.7))
            yield Setting(f"{measure}, {kind}, by group: 15 of 4", means.losses(measure, 60, chance, groups=groups))


def measures_of_maps() -> Iterator[Setting]:
    for kind in means.MEANS:
        for n in (30, 100):
            yield Setting(f"mean of maps, {kind}: {n}", means.means(kind, n))
        for groups in (Groups(30, (3,)), Groups(12, (5,)), Groups(30, (1, 1, 2, 8, 3))):
            draw = means.means(kind, len(groups.units), groups)
            yield Setting(f"mean of words' maps by picture, {kind}: {groups}", draw)


def paired_differences() -> Iterator[Setting]:
    for n in (30, 100, 300):
        for change in (0.05, 0.2, 0.6, 0.9):
            draw = classification.pairs(n, change)
            yield Setting(f"paired difference: {n}, {change:.0%} change", draw)
        for change in (0.05, 0.2):
            draw = classification.pairs(n, change, losing=True)
            yield Setting(f"paired difference: {n}, {change:.0%} change for the worse", draw)
    for groups in (Groups(30, (4,)), Groups(10, (6,))):
        for change in (0.05, 0.2, 0.6, 0.9):
            draw = classification.pairs(len(groups.units), change, groups=groups)
            yield Setting(f"paired difference by group: {groups}, {change:.0%} change", draw)
    yield Setting("not worse after a repair: 200, 5% change", classification.repaired)


def captions_scores() -> Iterator[Setting]:
    for measure, often in (("true_words", 0.9), ("true_noun", 0.5), ("true_noun", 0.1)):
        for n in (30, 100):
            draw = captions.words_of_captions(measure, n, often)
            yield Setting(f"{measure}, {8 * often:.1f} words a caption: {n}", draw)
    yield Setting("true_words by group: 15 of 4", captions.words_of_captions("true_words", 60, 0.9, 15))
    for measure in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l"):
        for n in (30, 100):
            yield Setting(f"{measure}: {n}", captions.corpora(measure, n))
    for n in (30, 100):
        yield Setting(f"cider: {n}", captions.consensus(n))


TABLE = (
    shares,
    means_over_classes,
    areas,
    confidences,
    measures_of_maps,
    paired_differences,
    captions_scores,
)
SETTINGS = [setting for part in TABLE for setting in part()]


@dataclass(frozen=True)
class Coverage:
    """At one truth: the share of intervals that hold it, their mean length, and the share of draws that have one."""

    truth: float
    held: float
    length: float
    defined: float


def coverage(setting: Setting, draws: int, seed: int) -> list[Coverage]:
    """How often the intervals of a setting hold each of `TRUTHS`, of streams that depend on `seed`, name and truth."""
    rows = []
    for place in TRUTHS:
        stream = np.random.default_rng([seed, zlib.crc32(setting.name.encode()), round(place * 10)])
        truth, scores = setting.draw(stream, place, draws)
        ends = np.array([(score.low, score.high) for score in scores])
        ends = ends[np.isfinite(ends).all(axis=1)]
        held = (ends[:, 0] - ROUNDING <= truth) & (truth <= ends[:, 1] + ROUNDING)
        if len(ends):
            length = float((ends[:, 1] - ends[:, 0]).mean())
            rows.append(Coverage(place, float(held.mean()), length, len(ends) / draws))
    return rows


def verdict(rows: Sequence[Coverage]) -> str:
    """What of the bar is missed: at least .92 at each truth, and on their mean between .94 and .975."""
    mean = float(np.mean([row.held for row in rows]))
    missed = ["least"] if min(row.held for row in rows) < LEAST else []
    missed += ["narrow"] if mean < MEAN[0] else ["wide"] if mean > MEAN[1] else []
    return ", ".join(missed)


def line(setting: Setting, rows: Sequence[Coverage], draws: int) -> str:
    """One row of the table."""
    if not rows:
        return f"| {setting.name} | {draws} | no interval, and a note | | | | |"
    least = min(rows, key=lambda row: row.held)
    mean = np.mean([row.held for row in rows])
    length = np.mean([row.length for row in rows])
    defined = min(row.defined for row in rows)
    remarks = [verdict(rows), f"none in up to {1 - defined:.0%}" if defined < 1 else ""]
    remark = "; ".join(filter(None, remarks))
    figures = f"{least.held:.3f} | {least.truth:.1f} | {mean:.3f} | {length:.2f}"
    return f"| {setting.name} | {draws} | {figures} | {remark} |"


def merged(text: str, lines: Sequence[str]) -> str:
    """A page with these rows in its table instead of those of the same setting; new ones at its end."""
    old = text.splitlines()
    start = old.index(HEAD) + 2
    end = next((at for at in range(start, len(old)) if not old[at].startswith("|")), len(old))
    table = {row.split("|")[1]: row for row in (*old[start:end], *lines)}
    return "\n".join([*old[:start], *table.values(), *old[end:]]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", default="", help="a pattern that the names of settings match")
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--into", type=Path, help="a page whose table is brought up to date")
    options = parser.parse_args()
    print(f"{HEAD}\n|---|---|---|---|---|---|---|", flush=True)
    for setting in SETTINGS:
        if re.search(options.settings, setting.name):
            row = line(setting, coverage(setting, options.draws, options.seed), options.draws)
            print(row, flush=True)
            if options.into:
                options.into.write_text(merged(options.into.read_text(encoding="utf-8"), [row]), encoding="utf-8")


if __name__ == "__main__":
    main()
