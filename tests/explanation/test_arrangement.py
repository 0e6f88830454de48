"""Numbers of positions: cases solved by hand, the written-out definitions, p-values, and what random grids show."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from timm.layers import resample_abs_pos_embed

from regard.errors import UsageError
from regard.explanation.positions.analysis import around_each, by_offset
from regard.explanation.positions.arrangement import OffsetArrangement, PairArrangement, p_values
from regard.explanation.positions.controls import (
    Control,
    pretraining_grid,
    resized_embeddings,
    resized_table,
)
from regard.networks.anatomy.encodings import Encoding


def _cosine(x: np.ndarray) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit @ unit.T


def _places(rows: int, columns: int) -> list[tuple[int, int]]:
    return [divmod(place, columns) for place in range(rows * columns)]


def test_a_grid_whose_rows_are_alike_by_hand() -> None:
    """6 × 6, similarity 1 in a row and 0 elsewhere: 30 of 60 neighbours and 90 of 630 pairs share a row."""
    rows = np.repeat(np.eye(6), 6, axis=0)  # one-hot of the row: cosine 1 or 0
    numbers = PairArrangement(rows @ rows.T, 6, 6, rows).numbers()
    assert numbers["neighbours"] == pytest.approx(0.5)
    assert numbers["neighbour_gain"] == pytest.approx(0.5 - 90 / 630)
    assert numbers["row_gain"] == pytest.approx(1)  # (0, 5) against (3, 4) and (4, 3)
    assert numbers["column_gain"] == pytest.approx(0)
    assert numbers["similarity_r2"] == pytest.approx(1)
    assert numbers["embedding_r2"] == pytest.approx(1)


def test_straight_and_askew_are_compared_at_the_very_same_distance() -> None:
    """What depends on Euclidean distance alone has no gain; one more on (0, 5) alone shows as it is."""
    places = np.array(_places(7, 9))
    apart = np.abs(places[:, None] - places[None])  # (patches, patches, 2)
    isotropic = np.exp(-np.hypot(*np.moveaxis(apart, -1, 0)) / 3)
    even = PairArrangement(isotropic, 7, 9).numbers()
    assert even["row_gain"] == pytest.approx(0, abs=1e-12)
    assert even["column_gain"] == pytest.approx(0, abs=1e-12)
    assert even["distance_spearman"] == pytest.approx(-1)
    across = PairArrangement(isotropic + 0.25 * ((apart == (0, 5)).all(-1)), 7, 9).numbers()
    assert across["row_gain"] == pytest.approx(0.25)
    assert across["column_gain"] == pytest.approx(0, abs=1e-12)


def test_distances_are_weighted_by_their_pairs() -> None:
    """14 columns and 11 rows have (0, 5), (0, 10) and (0, 13): 11 · 9, 11 · 4 and 11 · 1 pairs."""
    places = np.array(_places(11, 14))
    apart = np.abs(places[:, None] - places[None])
    gains = {5: 1.0, 10: 10.0, 13: 100.0}
    similarity = sum(gain * (apart == (0, step)).all(-1) for step, gain in gains.items())
    assert PairArrangement(similarity.astype(float), 11, 14).numbers()["row_gain"] == pytest.approx((9 + 40 + 100) / 14)


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (7, 3)])
def test_numbers_of_pairs_as_written_out(rows: int, columns: int) -> None:
    generator = np.random.default_rng(rows)
    x = generator.normal(size=(rows * columns, 5))
    similarity, places = _cosine(x), _places(rows, columns)
    order = generator.permutation(rows * columns)
    similarity_permuted, x_permuted = similarity[np.ix_(order, order)], x[order]
    numbers = PairArrangement(similarity, rows, columns, x).numbers(order)
    pairs = [(a, b) for a in range(len(places)) for b in range(a)]
    values = np.array([similarity_permuted[pair] for pair in pairs])
    steps = [(abs(places[a][0] - places[b][0]), abs(places[a][1] - places[b][1])) for a, b in pairs]
    near = np.array([step in ((0, 1), (1, 0)) for step in steps])
    assert numbers["neighbours"] == pytest.approx(values[near].mean())
    assert numbers["neighbour_gain"] == pytest.approx(values[near].mean() - values.mean())
    assert numbers["distance_spearman"] == pytest.approx(spearmanr(values, [a * a + b * b for a, b in steps])[0])
    straight = [value for value, step in zip(values, steps, strict=True) if step == (0, 5)]
    askew = [value for value, step in zip(values, steps, strict=True) if step in ((3, 4), (4, 3))]
    expected = np.mean(straight) - np.mean(askew) if straight and askew else np.nan
    assert numbers["row_gain"] == pytest.approx(expected, nan_ok=True)
    assert numbers["embedding_r2"] == pytest.approx(
        _least_squares(x_permuted, [p[0] for p in places], [p[1] for p in places])
    )
    every = [(a, b) for a in places for b in places]
    of_rows, of_columns = ([a[side] * 99 + b[side] for a, b in every] for side in (0, 1))
    flat = similarity_permuted.reshape(-1, 1)
    assert numbers["similarity_r2"] == pytest.approx(_least_squares(flat, of_rows, of_columns))


def _least_squares(y: np.ndarray, first: list[int], second: list[int]) -> float:
    """R² of a model with a free value for each level of two factors."""
    dummies = [np.array(factor)[:, None] == np.unique(factor) for factor in (first, second)]
    design = np.hstack([np.ones((len(y), 1)), *dummies]).astype(float)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - (residual**2).sum() / ((y - y.mean(axis=0)) ** 2).sum())


def test_numbers_of_offsets_as_written_out() -> None:
    """5 × 7 patches, so offsets from (-4, -6) to (4, 6), opposite ones of which are averaged first."""
    kernel = np.random.default_rng(3).normal(size=(9, 13))
    even = (kernel + kernel[::-1, ::-1]) / 2
    half = {(a, b): even[a + 4, b + 6] for a in range(-4, 5) for b in range(-6, 7) if (a, b) > (0, 0)}
    numbers, values = OffsetArrangement(kernel).numbers(), np.array(list(half.values()))
    near = (half[0, 1] + half[1, 0]) / 2
    assert numbers["neighbours"] == pytest.approx(near)
    assert numbers["neighbour_gain"] == pytest.approx(near - values.mean())
    assert numbers["distance_spearman"] == pytest.approx(spearmanr(values, [a * a + b * b for a, b in half])[0])
    askew = np.mean([half[step] for step in ((3, 4), (3, -4), (4, 3), (4, -3))])
    assert numbers["row_gain"] == pytest.approx(half[0, 5] - askew)
    assert np.isnan(numbers["column_gain"])  # no offset of five rows
    levels = np.divmod(np.arange(even.size), 13)
    assert numbers["similarity_r2"] == pytest.approx(_least_squares(even.reshape(-1, 1), *map(list, levels)))


def test_a_kernel_permuted_keeps_its_middle_and_its_symmetry() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 5))
    offsets = OffsetArrangement(kernel)
    order = np.random.default_rng(1).permutation(offsets.labels)
    even = ((kernel + kernel[::-1, ::-1]) / 2).ravel()
    moved = even[8:][order]
    expected = OffsetArrangement(np.concatenate([moved[::-1], [even[7]], moved]).reshape(3, 5)).numbers()
    assert offsets.numbers(order) == pytest.approx(expected, nan_ok=True)


def test_an_additive_kernel_is_all_rows_and_columns() -> None:
    down, across = np.cos(0.7 * np.arange(-3, 4)), np.cos(0.3 * np.arange(-5, 6))
    assert OffsetArrangement(down[:, None] + across).numbers()["similarity_r2"] == pytest.approx(1)
    assert OffsetArrangement(down[:, None] * across).numbers()["similarity_r2"] < 0.95


def test_what_a_grid_does_not_have_is_not_a_number() -> None:
    row = PairArrangement(_cosine(np.random.default_rng(0).normal(size=(4, 3))), 1, 4, np.ones((4, 3))).numbers()
    assert np.isnan([row["row_gain"], row["column_gain"], row["embedding_r2"]]).all()
    assert np.isfinite(row["neighbour_gain"])
    constant = p_values(PairArrangement(np.ones((12, 12)), 3, 4), permutations=5)
    assert np.isnan(constant["distance_spearman"].value) and np.isnan(constant["distance_spearman"].p)
    assert np.isnan(constant["similarity_r2"].value)
    assert constant["neighbour_gain"].p == 1


def test_p_counts_permutations_that_reach_the_value_and_the_value_itself() -> None:
    similarity = _cosine(np.random.default_rng(5).normal(size=(12, 3)))
    pairs = PairArrangement(similarity, 3, 4)
    generator, value = np.random.default_rng(7), pairs.numbers()
    others = [pairs.numbers(generator.permutation(12)) for _ in range(19)]
    results = p_values(pairs, permutations=19, seed=7)
    larger = sum(other["neighbour_gain"] >= value["neighbour_gain"] for other in others)
    smaller = sum(other["distance_spearman"] <= value["distance_spearman"] for other in others)
    assert results["neighbour_gain"].p == (1 + larger) / 20
    assert results["distance_spearman"].p == (1 + smaller) / 20
    assert str(p_values(pairs, permutations=19, seed=7)) == str(results)  # NaN is not equal to itself


@pytest.mark.parametrize("kind", ["pairs", "offsets"])
def test_p_values_are_uniform_where_there_is_nothing(kind: str) -> None:
    """Under the null P(p ≤ a) = a for a = k / 20: the counts stay within four standard deviations."""
    generator, times = np.random.default_rng(11), 400
    p: dict[str, list[float]] = {}
    for seed in range(times):
        if kind == "pairs":
            x = generator.normal(size=(6 * 6, 4))
            arrangement: PairArrangement | OffsetArrangement = PairArrangement(_cosine(x), 6, 6, x)
        else:
            arrangement = OffsetArrangement(generator.normal(size=(11, 13)))
        for name, result in p_values(arrangement, permutations=19, seed=seed).items():
            p.setdefault(name, []).append(result.p)
    for name, values in p.items():
        for share in (0.05, 0.25, 0.5, 0.75):
            spread = 4 * np.sqrt(share * (1 - share) / times)
            assert np.mean(np.array(values) <= share + 1e-9) == pytest.approx(share, abs=spread), (name, share)


def test_p_values_are_small_on_what_was_planted_and_24_by_24_is_feasible() -> None:
    generator = np.random.default_rng(0)
    rows, columns = generator.normal(size=(2, 24, 32)).cumsum(axis=1) / 3  # neighbouring rows are alike
    x = (rows[:, None] + columns[None]).reshape(576, 32) + 0.3 * generator.normal(size=(576, 32))
    results = p_values(PairArrangement(_cosine(x), 24, 24, x), permutations=999)
    for name in ("neighbour_gain", "distance_spearman", "similarity_r2", "embedding_r2"):
        assert results[name].p == 0.001, name


def test_random_embeddings_resized_look_like_a_finding() -> None:
    """DESIGN's control: 14 × 14 to 24 × 24, as timm does it, gives a neighbour cosine of 0.62 to 0.67."""
    values = np.random.default_rng(0).normal(size=(24, 24, 256))
    encoding = Encoding("embeddings", "", 24, 24, values)
    mean = {}
    for interpolation in ("bicubic", "bilinear"):
        torch.manual_seed(0)
        grown = resample_abs_pos_embed(
            torch.randn(1, 196, 256), [24, 24], [14, 14], num_prefix_tokens=0, interpolation=interpolation
        )
        value = PairArrangement(_cosine(grown[0].double().numpy()), 24, 24).numbers()["neighbours"]
        mean[interpolation], low, high = Control(encoding, (14, 14), interpolation).numbers()["neighbours"]
        assert low - 0.01 < value < high + 0.01
    assert mean["bicubic"] == pytest.approx(0.62, abs=0.01)
    assert mean["bilinear"] == pytest.approx(0.67, abs=0.01)
    assert Control(encoding, None).numbers()["neighbours"][0] == pytest.approx(0, abs=0.01)
    assert "14 × 14, interpolated to 24 × 24 (bicubic)" in Control(encoding, (14, 14)).description


def test_a_random_table_has_the_spread_of_the_one_it_stands_for() -> None:
    kernel = 3 * np.random.default_rng(0).normal(size=(1, 1, 27, 27))
    control = Control(Encoding("relative", "", 14, 14, kernel), (7, 7))
    random = control._table(torch.Generator().manual_seed(0))
    assert random.shape == (27, 27)
    assert random.std() == pytest.approx(kernel.std())
    grown = control.numbers()["neighbours"]
    plain = Control(Encoding("relative", "", 14, 14, kernel)).numbers()["neighbours"]
    assert grown[2] - grown[1] > plain[2] - plain[1]  # interpolation makes neighbours vary together


def test_what_a_control_cannot_be() -> None:
    encoding = Encoding("embeddings", "", 2, 2, np.ones((2, 2, 3)))
    with pytest.raises(UsageError, match="bicubic"):
        Control(encoding, None, "cubic")
    with pytest.raises(UsageError, match="rows and columns go from 1"):
        Control(encoding, (0, 3))


@pytest.mark.parametrize(
    ("grid", "patch", "before"),
    [
        ((14, 14), (16, 16), None),
        ((24, 24), (16, 16), (14, 14)),
        ((7, 14), (32, 16), None),
        ((37, 37), (14, 14), (16, 16)),
        ((12, 7), (32, 32), (7, 7)),
        ((2, 2), (300, 300), None),
    ],
)
def test_larger_grids_were_grown_from_that_of_224_pixels(grid, patch, before) -> None:
    assert pretraining_grid(*grid, patch) == before


def test_resizing_leaves_what_fits_and_keeps_what_is_flat() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    assert np.allclose(resized_embeddings(x, (3, 5)), x)
    assert np.allclose(resized_embeddings(np.ones((3, 5, 4)), (6, 2)), 1, atol=1e-5)
    assert resized_table(np.ones((2, 5, 5)), (5, 4)).shape == (2, 9, 7)


def test_kernels_around_each_query_and_back() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 7))  # 2 × 4 patches
    matrix = around_each(kernel, 2, 4)
    places = _places(2, 4)
    for query, (row, column) in enumerate(places):
        for key, (other_row, other_column) in enumerate(places):
            assert matrix[query, key] == kernel[other_row - row + 1, other_column - column + 3]
    assert np.allclose(by_offset(matrix, 2, 4), kernel)
