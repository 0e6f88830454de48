"""Intervals: against hand values, slow twins, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.measurement.intervals import (
    Z,
    _pooled,
    _weights,
    basic,
    bootstrapped,
    effective,
    newcombe,
    percentile,
    share,
    wilson,
)


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
        ((36, 12, 2, 0), 0.0569, 0.3404),  # an example of Newcombe 1998, Statistics in Medicine 17:2635, for method 10
        # by hand: phi = (14 · 22 - 18) / 308 = 0.94156; Wilson's arms 0.14104 and 0.16247
        ((14, 0, 0, 22), -0.05601, 0.05601),
        # by hand: phi = 0; Wilson's [0.93359, 1] for 54 of 54 and [0.90229, 0.99673] for 53 of 54
        ((53, 1, 0, 0), -0.04962, 0.09771),
        # by hand: a difference of 1, phi = 0, arms of 0.11351 each: 1 - 0.16053
        ((0, 30, 0, 0), 0.83947, 1.0),
    ],
)
def test_newcombe_by_hand(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    assert newcombe(*counts) == pytest.approx((low, high), abs=6e-5)


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
    variance = 3 / 2 * (residuals**2).sum() / 64
    assert effective(hits, groups) == pytest.approx(15 / 64 / variance * (Z / 4.302652729911275) ** 2)


def test_weights_keep_every_stratum_at_its_size_and_draw_one_fewer() -> None:
    strata = np.array([0, 1, 0, 0, 1, 0, 2, 2, 2])
    weights = np.concatenate(list(_weights(strata, seed=3, resamples=500)))
    assert weights.shape == (500, 9)
    for stratum, size in ((0, 4), (1, 2), (2, 3)):
        inside = weights[:, strata == stratum]
        np.testing.assert_allclose(inside.sum(axis=1), size)
        np.testing.assert_allclose(inside * (size - 1) / size, np.round(inside * (size - 1) / size))
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.2)


def test_strata_of_a_single_unit_are_pooled() -> None:
    assert _pooled(np.array([0, 1, 2, 2, 2])).tolist() == [0, 0, 1, 1, 1]
    assert _pooled(np.array([0, 0, 0, 1, 2, 2])).tolist() == [0, 0, 0, 1, 1, 1]  # a last one joins the next smallest
    assert _pooled(np.array([0, 0, 1, 1])).tolist() == [0, 0, 1, 1]
    assert _pooled(np.array([0])).tolist() == [0]


def test_bootstrap_variance_is_unbiased_in_small_strata() -> None:
    values = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])  # three strata of two: each mean has variance 0.5² / (2 - 1)
    strata = np.repeat(np.arange(3), 2)
    sums = np.stack([values, np.ones(6)])
    value, resampled = bootstrapped(sums, lambda t: t[0] / t[1], strata=strata, resamples=20000)
    assert value == 0.5
    assert resampled.var() == pytest.approx(3 * 0.25 / 9, rel=0.05)


@given(st.integers(0, 2**31), st.integers(2, 30), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_bootstrap_of_groups_is_its_slow_twin(seed: int, n: int, many: int) -> None:
    generator = np.random.default_rng(seed)
    values, groups = generator.random(n), generator.integers(many, size=n)
    sums = np.stack([values, np.ones(n)])
    value, fast = bootstrapped(sums, lambda t: t[0] / t[1], groups=groups, seed=seed, resamples=5)
    names = sorted(set(groups.tolist()))
    weights = np.concatenate(list(_weights(np.zeros(len(names), int), seed, 5)))
    for row, found in zip(weights, fast, strict=True):
        top = bottom = 0.0
        for picture in range(n):
            weight = row[names.index(groups[picture])]
            top, bottom = top + weight * values[picture], bottom + weight
        assert found == pytest.approx(top / bottom)
    assert value == pytest.approx(values.mean())


def test_a_group_in_several_strata_undoes_the_strata() -> None:
    groups, strata = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    sums = np.stack([np.arange(6.0), np.ones(6)])
    mixed = bootstrapped(sums, lambda t: t[0] / t[1], groups=groups, strata=strata, resamples=50)[1]
    plain = bootstrapped(sums, lambda t: t[0] / t[1], groups=groups, resamples=50)[1]
    np.testing.assert_array_equal(mixed, plain)


def test_intervals_of_resamples_that_do_not_differ() -> None:
    same = np.full(100, 1.0)
    assert (percentile(1.0, same, 40, effective=10).low, percentile(1.0, same, 40, effective=10).high) == wilson(10, 10)
    assert np.isnan(percentile(0.3, same * 0.3, 40).low)
    assert np.isnan(basic(0.3, same * 0.3, 40).high)


def test_intervals_hold_their_value_and_mirror() -> None:
    values = np.linspace(0.2, 0.4, 2001)
    assert percentile(0.3, values, 9).low == pytest.approx(0.205)
    mirrored = basic(0.22, values, 9)
    assert (mirrored.low, mirrored.high) == pytest.approx((2 * 0.22 - 0.395, 2 * 0.22 - 0.205))
    assert basic(0.1, values, 9).low == 0.0  # cut
    assert basic(0.1, values, 9).high == 0.1  # never below the value


def test_bootstrap_by_group_holds_the_truth_about_as_often_as_it_says() -> None:
    generator, held, wilson_held = np.random.default_rng(0), 0, 0
    for trial in range(150):
        chance = generator.beta(2, 1, size=40)  # mean 2/3, pictures of a group much alike
        hits = generator.random((40, 10)) < chance[:, None]
        groups = np.repeat(np.arange(40), 10)
        sums = np.stack([hits.ravel(), np.ones(400)])
        value, values = bootstrapped(sums, lambda t: t[0] / t[1], groups=groups, seed=trial, resamples=300)
        score = percentile(value, values, 400)
        plain, by_group = share(hits.ravel()), share(hits.ravel(), groups)
        held += score.low <= 2 / 3 <= score.high
        wilson_held += plain.low <= 2 / 3 <= plain.high
        assert by_group.high - by_group.low > plain.high - plain.low
    assert 0.89 <= held / 150 <= 0.99
    assert wilson_held / 150 < 0.85
