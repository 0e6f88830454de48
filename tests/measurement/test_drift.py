"""The interval of a drift: solved by hand, planted, and where there is none."""

import numpy as np
import pytest
from scipy.stats import t, ttest_ind

from regard.measurement.drift import BY_PICTURE, Sums, drift_of, mean_of


def sums_of(values: np.ndarray) -> Sums:
    """Of (shards, pictures)."""
    return Sums.of([(len(row), row.sum(), row @ row) for row in values])


def drawn(generator: np.random.Generator, shards: int, mean: float) -> np.ndarray:
    """Pictures of one shard are alike: half of what varies does between shards."""
    return mean + generator.normal(0, 0.1, (shards, 1)) + generator.normal(0, 0.1, (shards, 50))


def test_by_picture_it_is_welchs_and_by_shard_that_of_the_shards_means() -> None:
    generator = np.random.default_rng(0)
    now, before = generator.random((3, 40)), generator.random((4, 30))
    score = drift_of(sums_of(now), sums_of(before))
    expected = ttest_ind(now.ravel(), before.ravel(), equal_var=False).confidence_interval()
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high))
    assert score.note == BY_PICTURE and score.value == pytest.approx(now.mean() - before.mean())
    many = generator.random((12, 40))
    means = many.mean(axis=1)
    half = t.ppf(0.975, 11) * means.std(ddof=1) / np.sqrt(12)
    assert mean_of(sums_of(many)).high == pytest.approx(means.mean() + half)


def test_a_planted_drift_is_seen_and_no_drift_is_not() -> None:
    """400 pairs of dates with 20 shards each: 95 % of the intervals hold the truth, be it 0 or not."""
    generator = np.random.default_rng(1)
    planted = nothing = seen = 0
    for _ in range(400):
        before, now = drawn(generator, 20, 0.5), drawn(generator, 20, 0.5)
        score = drift_of(sums_of(now), sums_of(before))
        nothing += score.low <= 0 <= score.high
        score = drift_of(sums_of(now - 0.15), sums_of(before))
        planted += score.low <= -0.15 <= score.high
        seen += score.high < 0
    assert nothing == planted and 0.92 <= nothing / 400 <= 0.98
    assert seen / 400 > 0.95


def test_pictures_of_a_shard_that_are_alike_are_no_independent_draws() -> None:
    """Taken by picture, the same intervals would hold the truth in less than half of the cases."""
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        values = [drawn(generator, 20, 0.5).reshape(1, -1) for _ in range(2)]  # one shard: by picture
        score = drift_of(*map(sums_of, values))
        held += score.low <= 0 <= score.high
    assert held / 200 < 0.5


def test_what_nothing_varies_in_has_no_interval() -> None:
    score = mean_of(sums_of(np.zeros((3, 5))))
    assert score.value == 0 and np.isnan(score.low) and "do not differ" in score.note
    assert np.isnan(mean_of(Sums.of([])).value)
