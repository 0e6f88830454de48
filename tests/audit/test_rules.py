"""The verdict's rules: cases solved by hand, a slow twin, and planted truths that they must find, or must not."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from regard.audit import rules
from regard.audit.rules import ALPHA, Judgement, _holm, best_of_halves, judge

Floats = NDArray[np.float64]
NAMES = ("centre", "edges", "randomised")


def _planted(
    rng: np.random.Generator, n: int, lower: tuple[float, ...], methods: int = 1
) -> tuple[dict[str, Floats], dict[str, Mapping[str, Floats]]]:
    """Methods, and controls that are lower by so much in the mean; what they share is most of what varies."""
    scores = {f"method {place}": rng.normal(0.3, 0.2, n) for place in range(methods)}
    controls = {
        name: {control: values - by - rng.normal(0, 0.15, n) for control, by in zip(NAMES, lower, strict=True)}
        for name, values in scores.items()
    }
    return scores, controls


def _one(rng: np.random.Generator, n: int, lower: tuple[float, ...], draws: int = 999) -> Judgement:
    scores, controls = _planted(rng, n, lower)
    return judge(scores, controls, seed=int(rng.integers(1 << 30)), draws=draws)["method 0"]


def test_holm_by_hand() -> None:
    # of three, the smallest is tested at 5/3 %, then at 5/2 %; that one is not shown, so that the last is tested there
    levels = _holm({"a": 0.2, "b": 0.001, "c": 0.03})
    assert levels == pytest.approx({"b": ALPHA / 3, "c": ALPHA / 2, "a": ALPHA / 2})
    assert _holm({"a": 0.01, "b": 0.02}) == pytest.approx({"a": ALPHA / 2, "b": ALPHA})


def test_ends_are_those_of_the_bootstrap_written_out() -> None:
    """By hand, of groups of several sizes: draws of groups, each draw's mean off by its own standard error."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    differences = rng.normal(0.1, 0.2, len(groups)) + rng.normal(0, 0.1, 12)[groups]
    judged = judge({"m": differences}, {"m": {"edges": np.zeros(len(groups))}}, groups, seed=5, draws=999)["m"]

    def mean_and_error(parts: list[Floats]) -> tuple[float, float]:
        total = sum(map(len, parts))
        value = sum(part.sum() for part in parts) / total
        squares = sum((part.sum() - value * len(part)) ** 2 for part in parts)
        return value, math.sqrt(12 / 11 * squares) / total

    whole = [differences[groups == group] for group in range(12)]
    value, error = mean_and_error(whole)
    t = []
    for drawn in np.random.default_rng(5).integers(0, 12, (999, 12)):
        mean_of, error_of = mean_and_error([whole[group] for group in drawn])
        t.append((mean_of - value) / error_of)
    t.sort()
    assert judged.n == 12 and judged.value == pytest.approx(value)
    assert judged.low == pytest.approx(value - t[-25] * error)  # 2.5 % of 1000
    assert judged.high == pytest.approx(value - t[24] * error)


def test_a_method_must_beat_each_control_and_the_best_one_is_named() -> None:
    rng = np.random.default_rng(0)
    better = _one(rng, 74, (0.3, 0.1, 0.4))
    assert better.status == "supported" and better.control == "edges"
    assert better.value == pytest.approx(0.1, abs=0.06) and better.low > 0
    worse = _one(rng, 74, (0.3, -0.1, 0.4))
    assert worse.status == "contradicted" and worse.control == "edges"
    assert "below 0" in worse.why


def test_a_map_like_a_controls_own_is_no_better() -> None:
    values = np.random.default_rng(1).normal(0.2, 0.2, 74)
    centre = np.random.default_rng(2).normal(0, 0.2, 74)
    judged = judge({"m": values}, {"m": {"edges": values, "centre": centre}}, draws=999)["m"]
    assert (judged.status, judged.value, judged.low, judged.high) == ("no better than a control", 0.0, 0.0, 0.0)


def test_a_control_against_itself_is_no_better_whatever_another_control_leaves_open() -> None:
    values = np.random.default_rng(1).normal(0.2, 0.2, 30)
    centre = values - np.random.default_rng(2).normal(0.03, 0.4, 30)
    judged = judge({"edges": values}, {"edges": {"centre": centre, "edges": values}}, draws=999)["edges"]
    assert judged.low < -rules.MARGIN and judged.status == "no better than a control"
    assert judged.why == "its map is that of a control, edges: their SRG is the same on every picture"
    worse = judge({"edges": values}, {"edges": {"centre": centre + 0.9, "edges": values}}, draws=999)["edges"]
    assert worse.status == "contradicted" and worse.control == "centre"
    few = judge({"edges": values[:2]}, {"edges": {"centre": centre[:2], "edges": values[:2]}}, draws=999)["edges"]
    assert few.status == "not decidable"


def test_a_small_difference_within_the_margin_is_none_and_few_pictures_cannot_show_it() -> None:
    values = np.random.default_rng(1).normal(0.2, 0.2, 2000)
    noise = np.random.default_rng(2).normal(0, 0.2, 2000)
    noise -= noise.mean()
    many = judge({"m": values}, {"m": {"edges": values - noise}}, draws=999)["m"]
    assert many.status == "no better than a control"
    few = judge({"m": values[:20]}, {"m": {"edges": (values - noise)[:20]}}, draws=999)["m"]
    assert few.status == "not decidable"
    assert f"{few.value - few.low:.3f} or more" in few.why and few.smallest == pytest.approx(few.value - few.low)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_pictures_decide_nothing(n: int) -> None:
    judged = judge({"m": np.linspace(0.5, 0.6, n)}, {"m": {"edges": np.zeros(n)}}, draws=999)["m"]
    assert judged.status == "not decidable" and not math.isfinite(judged.low) and math.isnan(judged.smallest)
    assert "can show no difference" in judged.why


def test_pictures_on_which_it_failed_are_left_out_and_many_of_them_leave_no_verdict() -> None:
    rng = np.random.default_rng(4)
    scores, controls = _planted(rng, 60, (0.3, 0.3, 0.3))
    whole = judge(scores, controls, draws=999)["method 0"]
    scores["method 0"][:3] = np.nan
    some = judge(scores, controls, draws=999)["method 0"]
    assert whole.status == some.status == "supported" and (whole.n, some.n) == (60, 57)
    scores["method 0"][:10] = np.nan
    many = judge(scores, controls, draws=999)["method 0"]
    assert many.status == "not decidable" and "failed on 17%" in many.why
    scores["method 0"][:] = np.nan
    assert judge(scores, controls, draws=999)["method 0"].status == "not decidable"


def test_by_group_fewer_units_decide_less() -> None:
    rng = np.random.default_rng(5)
    offsets = np.repeat(rng.normal(0.08, 0.2, 10), 20)
    differences = offsets + rng.normal(0, 0.02, 200)
    about: tuple[dict[str, Floats], dict[str, Mapping[str, Floats]]] = {"m": differences}, {"m": {"e": np.zeros(200)}}
    singly = judge(*about, draws=999)["m"]
    grouped = judge(*about, np.repeat(np.arange(10), 20), draws=999, unit="group")["m"]
    assert singly.status == "supported" and grouped.status == "not decidable"
    assert grouped.n == 10 and "10 groups" in grouped.why and singly.value == pytest.approx(grouped.value)


def test_draws_in_parts_give_what_they_give_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, controls = _planted(np.random.default_rng(6), 50, (0.1, 0.2, 0.3))
    whole = judge(scores, controls, draws=999)["method 0"]
    monkeypatch.setattr(rules, "CHUNK", 7 * 50)
    assert judge(scores, controls, draws=999)["method 0"] == whole


def test_planted_truths_are_found_and_what_is_not_there_is_not() -> None:
    """Of methods equal to one control, or to all, at most as many are called better, or worse, as the error allows."""
    rng = np.random.default_rng(7)
    trials = 200
    most = trials * ALPHA / 2 + 3 * math.sqrt(trials * ALPHA / 2)  # three standard errors above one side's error
    for n in (8, 30):
        for lower in ((0.0, 0.0, 0.0), (0.0, 0.3, 0.3)):
            judged = [_one(rng, n, lower) for _ in range(trials)]
            for status in ("supported", "contradicted"):
                assert sum(each.status == status for each in judged) <= most, (n, lower, status)
    shown = [_one(rng, 30, (0.15, 0.15, 0.15)).status for _ in range(50)]
    assert shown.count("supported") >= 45
    covered = [each.low <= 0.1 <= each.high for each in (_one(rng, 20, (0.1, 0.12, 0.3)) for _ in range(trials))]
    assert np.mean(covered) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)


def test_of_many_methods_equal_to_their_controls_hardly_any_audit_calls_one_better() -> None:
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(100):
        scores, controls = _planted(rng, 20, (0.0, 0.3, 0.3), methods=8)
        judged = judge(scores, controls, seed=int(rng.integers(1 << 30)), draws=1999)
        wrong += any(each.status in ("supported", "contradicted") for each in judged.values())
    assert wrong <= 100 * ALPHA + 3 * math.sqrt(100 * ALPHA)


def test_the_best_is_picked_on_one_half_and_reported_on_the_other() -> None:
    rng = np.random.default_rng(9)
    scores = {f"method {place}": rng.normal(0, 0.3, 40) for place in range(30)}  # all are the same
    first, second = best_of_halves(scores)
    for choice in (first, second):
        assert choice.picked.value > 0.05 > choice.reported.value  # what flatters, and what does not
        assert choice.picked.n + choice.reported.n == 40
    better = {**scores, "better": rng.normal(0.5, 0.1, 40)}
    assert {choice.method for choice in best_of_halves(better)} == {"better"}
    assert best_of_halves({"one": scores["method 0"]}) == ()
    assert best_of_halves({name: values[:3] for name, values in scores.items()}) == ()
    one = np.where(np.arange(40) == 7, 0.3, np.nan)  # all failed but on one picture
    assert best_of_halves(dict.fromkeys(scores, one)) == ()


def test_halves_hold_groups_together() -> None:
    groups = np.repeat(np.arange(4), 5)
    values = np.where(groups == 0, 1.0, 0.0)
    choices = best_of_halves({"a": values, "b": 0.9 * values}, groups)
    assert sorted(choice.picked.value for choice in choices) == [0.0, 0.5]
