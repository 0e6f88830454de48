"""Intervals: against hand values, slow twins, and how often they hold the truth."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit, xlogy
from scipy.stats import skew

from regard.measurement.classification import scores
from regard.measurement.classification.compare import difference
from regard.measurement.intervals import Z, averaged, bounded, effective, mean, paired, share, unskewed, wilson
from regard.records import Predictions, Score


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),  # by hand: (0.8 + 0.19207) / 1.38415 -+ 1.95996 * 0.15998 / 1.38415
        (0, 10, 0.0, 0.2775),  # z² / (n + z²)
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_by_hand(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_of_nothing_is_nothing() -> None:
    assert np.isnan(wilson(0, 0)).all()
    nothing = share(np.zeros(0, bool))
    assert nothing.n == 0
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60, deadline=None)
def test_wilson_ends_solve_the_score_equation(pair: tuple[int, int]) -> None:
    right, n = pair
    value = right / n
    for end in wilson(right, n):
        assert abs(value - end) == pytest.approx(Z * np.sqrt(end * (1 - end) / n), abs=1e-9)
    low, high = wilson(right, n)
    assert 0 <= low <= value <= high <= 1


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((1, 7, 21), -0.517, -0.026),  # Fagerland, Lydersen and Laake 2014, BMC Medical Research Methodology 13:91
        ((0, 0, 36), -0.09642, 0.09642),  # by hand: z² / (36 + z²)
        ((30, 0, 30), 0.77297, 1.0),  # by hand, of all gained: the likeliest losses are (1 - d) / 2 where d is true
    ],
)
def test_tango_s_interval_by_hand(counts: tuple[int, int, int], low: float, high: float) -> None:
    assert paired(*counts) == pytest.approx((low, high), abs=6e-4)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_tango_s_ends_are_just_not_rejected_by_a_slow_twin(gained: int, lost: int, same: int) -> None:
    """The likeliest shares under each difference are searched instead of solved for."""
    n = gained + lost + same
    if n == 0:
        return
    for end in paired(gained, lost, n):
        if abs(end) > 1 - 1e-6:
            continue
        losing = np.linspace(max(0.0, -end), (1 - end) / 2, 200_001)[1:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            likely = xlogy(gained, losing + end) + xlogy(lost, losing) + xlogy(same, 1 - 2 * losing - end)
        best = losing[np.nanargmax(likely)]
        error = np.sqrt(n * (2 * best + end - end * end))
        assert abs(gained - lost - n * end) == pytest.approx(Z * error, abs=0.02 + 2e-3 * n)


def test_a_mean_s_ends_solve_hall_s_cubic() -> None:
    """Hall 1992, eq. 2.3, of values of which few are large: further to their side than to the other."""
    values = np.array([0.01, 0.02, 0.02, 0.03, 0.05, 0.05, 0.06, 0.1, 0.2, 0.5])
    found = unskewed(averaged(values), 10)
    deviation = values.std(ddof=1)
    skewness = skew(values, bias=False)
    for end, sign in ((found.low, 1), (found.high, -1)):
        x = (values.mean() - end) / deviation
        cubic = x + skewness * x**2 / 3 + skewness**2 * x**3 / 27 + skewness / 60
        assert cubic == pytest.approx(sign * stdtrit(9, 0.975) / np.sqrt(10))
    assert found.high - found.value > 1.5 * (found.value - found.low)


def test_a_mean_of_all_or_nothing_is_a_share() -> None:
    hits = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0], np.float64)
    found = mean(hits)
    low, high = wilson(4, 12)
    assert low - 1e-12 <= found.low <= found.high <= high + 1e-12
    assert found.high - found.low > 0.9 * (high - low)


def test_groups_of_alike_pictures_tell_as_much_as_one_of_each() -> None:
    once = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0, 1] * 3, bool)
    hits, groups = np.repeat(once, 8), np.repeat(np.arange(30).astype(str), 8)
    assert 24 < effective(hits, groups) < 30
    alone, together = share(hits), share(hits, groups)
    assert together.value == alone.value
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert effective(np.ones(40, bool), np.repeat(np.arange(5), 8)) == 5
    assert effective(np.array([1, 0, 1], bool), np.zeros(3)) == 1


def test_effective_number_by_hand() -> None:
    hits, groups = np.array([1, 1, 1, 0, 0, 0, 1, 1], bool), np.array(list("aaabbbcc"))
    residuals = np.array([3 - 5 / 8 * 3, 0 - 5 / 8 * 3, 2 - 5 / 8 * 2])
    units = 64 / (9 + 9 + 4)  # groups of one size that tell as much
    variance = units / (units - 1) * (residuals**2).sum() / 64
    assert effective(hits, groups) == pytest.approx(15 / 64 / variance * (Z / stdtrit(units - 1, 0.975)) ** 2)


@given(st.integers(0, 2**31), st.integers(2, 30), st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_the_error_of_groups_is_its_slow_twin(seed: int, n: int, many: int) -> None:
    generator = np.random.default_rng(seed)
    values, groups = generator.random(n), np.arange(n) % many
    found = averaged(values, groups)
    names = sorted(set(groups.tolist()))
    lacking = [values[groups != name].mean() for name in names]
    count = len(names)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(
        np.sqrt((count - 1) / count * sum((each - np.mean(lacking)) ** 2 for each in lacking))
    )
    sizes = [int((groups == name).sum()) for name in names]
    assert found.units == pytest.approx(sum(size**2 for size in sizes) ** 2 / sum(size**4 for size in sizes))


def test_large_groups_alone_know_how_far_groups_spread() -> None:
    """Six groups of 8 among 30 leave 8.9 of them, not 30 nor Kish's 17, so that Student's quantile is 2.27."""
    sizes = [1, 1, 2, 8, 3] * 6
    assert averaged(np.arange(90.0), np.repeat(np.arange(30), sizes)).units == pytest.approx(474**2 / 25170)


def test_the_error_of_a_mean_is_the_textbook_s() -> None:
    values = np.array([0.1, 0.4, 0.4, 0.9])
    assert averaged(values).error == pytest.approx(values.std(ddof=1) / 2)
    assert np.isnan(averaged(values, np.zeros(4)).error)


def test_bounded_is_wilson_s_of_as_many_trials_as_tell_as_much() -> None:
    error = np.sqrt(0.2 * 0.8 / 50)
    shrunk = 50 * (Z / 2.0095752371292397) ** 2  # Student's t of 49 degrees
    found = bounded(0.2, error, 50, 99)
    assert (found.low, found.high) == pytest.approx(wilson(0.2 * shrunk, shrunk))
    signed = bounded(-0.6, 2 * error, 50, 99, least=-1.0)  # as far along from -1 to 1
    assert (signed.low, signed.high) == pytest.approx((2 * found.low - 1, 2 * found.high - 1))
    fewer = bounded(0.2, error, 50, 99, trials=10)
    assert (fewer.low, fewer.high) == pytest.approx(wilson(2, 10))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_units_that_do_not_differ_count_once_each(value: float) -> None:
    found = mean(np.full(40, value), np.repeat(np.arange(10), 4))
    assert (found.low, found.high, found.n) == (*wilson(10 * value, 10), 10)
    settled = mean(np.full(9, -1.0), least=-1.0)
    assert settled.low == -1 and -0.5 < settled.high < -0.2


def held(draw: Callable[[np.random.Generator], tuple[Score, float]], draws: int = 400) -> float:
    """How often an interval holds the truth; bench/coverage.py has all of them, ten times as often."""
    generator = np.random.default_rng(0)
    drawn = [draw(generator) for _ in range(draws)]
    return float(np.mean([score.low <= truth <= score.high for score, truth in drawn]))


@pytest.mark.parametrize("name", ["top1", "balanced_accuracy", "macro_f1"])
@pytest.mark.parametrize(("chance", "sizes"), [(0.8, [1] * 30), (0.5, [2] * 20), (0.8, [10, 10, 10])])
def test_scores_of_small_classes_hold_the_truth(name: str, chance: float, sizes: list[int]) -> None:
    """With as many pictures of each class, and mistakes anywhere, all three have the same truth."""
    labels = np.repeat(np.arange(len(sizes)), sizes)

    def draw(generator: np.random.Generator) -> tuple[Score, float]:
        wrong = generator.integers(len(sizes) - 1, size=len(labels))
        predicted = np.where(generator.random(len(labels)) < chance, labels, wrong + (wrong >= labels))
        names = tuple(map(str, range(len(labels))))
        predictions = Predictions(names, tuple(map(str, range(len(sizes)))), predicted, labels)
        return getattr(scores, name)(predictions, resamples=200), chance

    assert 0.92 <= held(draw) <= 0.985


def test_a_rare_class_that_decides_leaves_no_interval_and_says_why() -> None:
    labels = np.array([0] * 29 + [1])
    predictions = Predictions(tuple(map(str, range(30))), ("a", "b"), np.array([0] * 25 + [1] * 5), labels)
    for score in (scores.balanced_accuracy(predictions), scores.macro_f1(predictions)):
        assert np.isfinite(score.value) and np.isnan([score.low, score.high]).all()
        assert score.note == "no interval: its smallest classes weigh so much that it rests on 4 pictures' worth"
        assert str(score) == f"{score.value:.3f} ({score.note})"
        assert score.as_json()["note"] == score.note
    assert np.isfinite(scores.top1(predictions).low)


@pytest.mark.parametrize("off", [0.0, 0.2])
def test_calibration_error_has_its_value_inside_and_holds_the_truth(off: float) -> None:
    def draw(generator: np.random.Generator) -> tuple[Score, float]:
        sure = generator.uniform(0.3, 1, 60)
        right = generator.random(60) < sure - off
        predicted = np.where(right, 0, 1)
        predictions = Predictions(
            tuple(map(str, range(60))),
            ("a", "b"),
            predicted,
            np.zeros(60, int),
            None,
            confidence=sure.astype(np.float32),
        )
        score = scores.ece(predictions)
        assert score.low < score.value < score.high
        return score, off

    assert 0.92 <= held(draw) <= 0.995


@pytest.mark.parametrize("few", [1, 3, 15])
def test_auroc_of_few_positives_holds_the_truth(few: int) -> None:
    labels = np.array([1] * few + [0] * (30 - few))

    def draw(generator: np.random.Generator) -> tuple[Score, float]:
        sure = 1 / (1 + np.exp(-(generator.standard_normal(30) + labels)))
        values = np.stack([1 - sure, sure], axis=1).astype(np.float32)
        predictions = Predictions(tuple(map(str, range(30))), ("a", "b"), values.argmax(1), labels, values)
        return scores.macro_auroc(predictions), 0.7602499389065233  # Φ(1 / √2)

    assert 0.92 <= held(draw) <= 0.985


@pytest.mark.parametrize(("groups", "size"), [(30, 4), (12, 5)])
def test_pairs_and_shares_by_group_hold_the_truth(groups: int, size: int) -> None:
    unit = np.repeat(np.arange(groups), size)
    names = tuple(map(str, range(len(unit))))

    def draw(generator: np.random.Generator) -> tuple[Score, Score]:
        chance = generator.beta(2, 1, size=groups)[unit]
        before = generator.random(len(unit)) < chance
        after = np.where(generator.random(groups)[unit] < 0.4, generator.random(len(unit)) < 2 / 3, before)
        runs = [
            Predictions(names, ("a", "b"), np.where(right, 0, 1), np.zeros(len(unit), int), None, unit.astype(str))
            for right in (before, after)
        ]
        return share(before, unit), difference("one", runs[0], "two", runs[1]).top1

    assert 0.92 <= held(lambda generator: (draw(generator)[0], 2 / 3)) <= 0.985
    assert 0.92 <= held(lambda generator: (draw(generator)[1], 0.0)) <= 0.995
