"""Runs side by side: paired differences by hand, exact McNemar, groups, and runs that do not fit together."""

from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import DataError, UsageError
from regard.measurement.classification.compare import compare, mcnemar
from regard.measurement.intervals import paired
from regard.records import Predictions


def _made(right: Any, labels: Any = None, **more: Any) -> Predictions:
    right = np.asarray(right, bool)
    labels = np.zeros(len(right), np.int64) if labels is None else np.asarray(labels, np.int64)
    names = tuple(f"{index}.jpg" for index in range(len(right)))
    return Predictions(names, ("cat", "dog"), np.where(right, labels, 1 - labels), labels, **more)


FIRST = _made([1] * 60 + [0] * 20 + [1] * 2 + [0] * 12)
SECOND = _made([1] * 60 + [0] * 20 + [0] * 2 + [1] * 12)


def test_a_difference_by_hand() -> None:
    found = compare({"old": FIRST, "new": SECOND}, resamples=20)
    (each,) = found.differences
    assert (each.name, each.first, found.n) == ("new", "old", 94)
    assert (each.only_this, each.only_first) == (12, 2)
    assert each.top1.value == pytest.approx(10 / 94)
    assert (each.top1.low, each.top1.high) == paired(12, 2, 94)
    assert each.top1.low > 0
    assert each.p == pytest.approx(2 * (1 + 14 + 91) / 2**14)
    assert (each.by_group, each.remark) == (False, "")
    assert [run.name for run in found.runs] == ["old", "new"]
    assert found.runs[0].scores["top1"].value == pytest.approx(62 / 94)
    assert set(found.runs[0].scores) == {"top1", "balanced_accuracy"}  # no probabilities, no ECE


def test_the_other_way_round_is_the_mirror() -> None:
    one = compare({"old": FIRST, "new": SECOND}, resamples=20).differences[0]
    (other,) = compare({"old": FIRST, "new": SECOND}, against="new", resamples=20).differences
    assert (other.name, other.first, other.only_this, other.p) == ("old", "new", 2, one.p)
    assert (other.top1.low, other.top1.high) == pytest.approx((-one.top1.high, -one.top1.low))


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (6, 0, 0.03125), (9, 1, 22 / 1024), (3, 3, 1.0)],
)
def test_mcnemar_by_hand(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_mcnemar_is_its_slow_twin(gained: int, lost: int) -> None:
    n, few = gained + lost, min(gained, lost)
    slow = min(1.0, 2 * sum(comb(n, k) for k in range(few + 1)) / 2**n)
    assert mcnemar(gained, lost) == pytest.approx(slow, rel=1e-9)
    assert n >= 6 or slow > 0.05


def test_few_changes_are_remarked() -> None:
    other = _made([1] * 60 + [0] * 15 + [1] * 5 + [1] * 2 + [0] * 12)
    (each,) = compare({"old": FIRST, "new": other}, resamples=20).differences
    assert each.p == 0.0625
    assert each.remark == "only 5 pictures tell the two apart: with fewer than six, p cannot fall below 0.05"


def test_runs_without_any_difference_keep_an_interval() -> None:
    (each,) = compare({"old": FIRST, "same": FIRST}, resamples=20).differences
    assert (each.top1.value, each.p) == (0, 1)
    assert each.top1.low < 0 < each.top1.high
    groups = (np.arange(94) // 10).astype(str)
    (wide,) = compare({"old": replace(FIRST, groups=groups), "same": FIRST}, resamples=20).differences
    assert wide.top1.low < each.top1.low


def test_groups_are_drawn_and_counted_whole() -> None:
    before, after = np.repeat([1, 1, 0, 0, 0, 0, 0, 1, 1, 0], 9), np.repeat([1, 1, 1, 1, 0, 1, 0, 0, 1, 1], 9)
    groups = np.repeat(np.arange(10), 9).astype(str)
    plain = compare({"a": _made(before), "b": _made(after)}, resamples=500).differences[0]
    by_group = compare({"a": _made(before), "b": _made(after, groups=groups)}, resamples=500).differences[0]
    assert by_group.by_group
    assert by_group.top1.value == plain.top1.value == pytest.approx(0.3)
    assert by_group.top1.high - by_group.top1.low > 2 * (plain.top1.high - plain.top1.low)
    assert (by_group.only_this, by_group.only_first) == (36, 9)
    assert by_group.p == pytest.approx(2 * (1 + 5) / 2**5)  # four groups gained, one lost
    assert plain.p < 0.001
    assert "5 groups tell the two apart" in by_group.remark


def test_three_runs_are_compared_with_one() -> None:
    found = compare({"a": FIRST, "b": SECOND, "c": FIRST}, resamples=20, notes={"b": "seen in training"})
    assert [(each.name, each.first) for each in found.differences] == [("b", "a"), ("c", "a")]
    assert found.notes == {"b": "seen in training"}


def test_pictures_are_matched_by_name_and_labels_by_class() -> None:
    back = np.arange(94)[::-1]
    turned = replace(SECOND, names=tuple(SECOND.names[i] for i in back), predicted=SECOND.predicted[back])
    turned = replace(turned, classes=("dog", "cat"), predicted=1 - turned.predicted, labels=1 - turned.labels)
    found = compare({"old": FIRST, "new": turned}, resamples=20)
    assert found.differences == compare({"old": FIRST, "new": SECOND}, resamples=20).differences


def test_other_pictures_are_an_error_or_left_out() -> None:
    fewer = Predictions(SECOND.names[4:], SECOND.classes, SECOND.predicted[4:], SECOND.labels[4:])
    with pytest.raises(DataError, match=r"4 pictures \('0.jpg', '1.jpg', '2.jpg' and 1 more\) are not in both"):
        compare({"old": FIRST, "new": fewer})
    found = compare({"old": FIRST, "new": fewer}, common=True, resamples=20)
    assert found.n == 90
    assert found.differences[0].only_this == 12
    assert found.notes == {"old": "4 pictures left out, which not all have"}
    apart = replace(SECOND, names=tuple(f"x{name}" for name in SECOND.names))
    with pytest.raises(DataError, match="not in both"):
        compare({"old": FIRST, "new": apart}, common=True)


def test_other_labels_are_an_error() -> None:
    labels = SECOND.labels.copy()
    labels[7] = 1
    with pytest.raises(DataError, match=r"1 picture \('7.jpg'\) is labelled otherwise"):
        compare({"old": FIRST, "new": replace(SECOND, labels=labels)})


def test_calls_that_cannot_be_say_why() -> None:
    with pytest.raises(UsageError, match="1 run to compare; give two at least"):
        compare({"old": FIRST})
    with pytest.raises(UsageError, match="unknown run 'olt'; did you mean 'old'"):
        compare({"old": FIRST, "new": SECOND}, against="olt")
    twice = replace(SECOND, names=("0.jpg", *SECOND.names[:-1]))
    with pytest.raises(DataError, match="new has several predictions of one picture"):
        compare({"old": FIRST, "new": twice})
    with pytest.raises(DataError, match="label -1"):
        compare({"old": FIRST, "new": replace(SECOND, labels=SECOND.labels - 1)})
