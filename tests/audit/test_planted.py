"""What an audit plants: an adversary, a ceiling and positions whose answers are known beforehand."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from tiny_vits import CLS
from torch import Tensor, nn

from regard.audit.adversary import HELD_OUT, OBJECTIVE, adversary, coarse, gains
from regard.audit.ceiling import cell_shapley, oracle
from regard.audit.positions import audit_positions, drawn, judged, weighted
from regard.errors import NetworkError, UsageError
from regard.explanation.positions.arrangement import PairArrangement
from regard.measurement.faithfulness.curves import removal_curves
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.anatomy.encodings import Encoding
from regard.networks.load import load
from regard.networks.network import Network
from regard.records import Score

# the adversary


class Both(nn.Module):
    """Its logit of class 1 is that of each pixel times its weight, and 3 more where the first two are both there."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        total = (x[:, 0] * self.weight).sum(dim=(1, 2)) + 3 * x[:, 0, 0, 0] * x[:, 0, 0, 1]
        return torch.stack([torch.zeros_like(total), total], dim=1)


def pixelwise(weights: list[list[float]]) -> Network:
    """Patches are single pixels."""
    return replace(load(Both(weights)), anatomy=Anatomy(patch=(1, 1)))


def test_the_adversary_solved_by_hand() -> None:
    """The first goes (1.5 + 3 lost), then the third (2), the last (1), and the second, worth 0.5 alone."""
    network = pixelwise([[1.5, 0.5, 2.0, 1.0]])
    (values,) = adversary(network, torch.ones(1, 3, 1, 4), [1], occluder="mean")
    np.testing.assert_allclose(values, [[1.0, 0.25, 0.75, 0.5]])


def test_no_order_of_the_cells_of_an_additive_network_has_less_area_than_the_adversary() -> None:
    network = pixelwise([[0.3, -0.2, 2.0, 1.0]])
    pixels = torch.ones(1, 3, 1, 4)
    pixels[..., 0] = 0
    (values,) = adversary(network, pixels, [1], occluder="mean")
    orders = np.array([values[0], *permutations(range(4))], float).reshape(-1, 1, 1, 4)
    areas = removal_curves(network, pixels, orders, [1], occluder="mean", steps=4).deletion[:, 0]
    assert areas[0] <= areas.min() + 1e-9


def test_the_adversary_of_tokens_depends_on_no_batch_and_marks_every_cell_once() -> None:
    network = CLS.network()
    pixels = CLS.pictures
    both = adversary(network, pixels, [1, 3])
    assert all(sorted(each.ravel()) == pytest.approx(np.arange(1, 7) / 6) for each in both)
    for place, target in enumerate((1, 3)):
        np.testing.assert_array_equal(both[place], adversary(network, pixels[place : place + 1], [target])[0])


def interval(values: np.ndarray) -> Score:
    return Score(float(values.mean()), float(values.min()), float(values.max()), len(values))


def test_a_gain_is_kept_has_vanished_or_cannot_be_decided() -> None:
    best = {name: np.array([0.5, 0.5]) for name in (OBJECTIVE, *HELD_OUT)}
    made = {OBJECTIVE: np.array([0.3, 0.2])}  # 0.2 and 0.3 less
    other = {
        "insertion": np.array([0.4, 0.45]),
        "srg": np.array([0.7, 0.6]),
        "deletion, held out": np.array([0.5, 0.45]),
        "srg, held out": np.array([0.4, 0.9]),
    }
    statuses = {each.measure: each.status for each in gains(made | other, best, interval)}
    assert statuses == {
        OBJECTIVE: "",
        "insertion": "vanished",
        "srg": "kept",
        "deletion, held out": "vanished",
        "srg, held out": "not decidable",
    }
    nothing = gains(best | {"srg": np.array([0.9, 0.9])}, best, interval)
    assert {each.status for each in nothing[1:]} == {"none"}  # there was no gain that could have gone


def test_a_map_is_made_coarse_by_means_of_what_is_a_number() -> None:
    maps = np.arange(25.0).reshape(1, 5, 5)  # cells of one patch, but the first of a side, which is of two
    maps[0, 0, 0] = np.nan
    (coarsened,) = coarse(maps)
    assert (coarsened[:2, :2] == (1 + 5 + 6) / 3).all() and coarsened[4, 4] == 24 and coarsened[0, 4] == (4 + 9) / 2
    maps[0, :2, :2] = np.nan
    assert np.isnan(coarse(maps)[0, :2, :2]).all()


# the ceiling


def test_shapley_values_of_cells_solved_by_hand_and_as_all_orders_give_them() -> None:
    network = pixelwise([[1.5, 0.5, 2.0]])
    pixels = torch.ones(1, 3, 1, 3)

    def chance(present: set[int]) -> float:
        logit = sum((1.5, 0.5, 2.0)[each] for each in present) + 3 * ({0, 1} <= present)
        return float(1 / (1 + np.exp(-logit)))

    exact = np.zeros(3)
    for order in permutations(range(3)):
        for place, each in enumerate(order):
            exact[each] += (chance({*order[: place + 1]}) - chance({*order[:place]})) / 6
    values = cell_shapley(network, pixels, [1], occluder="mean", samples=4000)[0, 0]
    np.testing.assert_allclose(values, exact, atol=0.01)
    assert values.sum() == pytest.approx(chance({0, 1, 2}) - 0.5, abs=1e-6)


def test_shapley_values_sum_to_what_is_lost_and_depend_on_no_batch() -> None:
    network = CLS.network()
    both = cell_shapley(network, CLS.pictures, [1, 3], samples=3)
    curves = removal_curves(network, CLS.pictures, both[None], [1, 3], steps=2)
    np.testing.assert_allclose(both.sum(axis=(1, 2)), curves.mif[0, :, 0] - curves.mif[0, :, -1], atol=1e-6)
    np.testing.assert_allclose(both[1], cell_shapley(network, CLS.pictures[1:], [3], samples=3)[0], atol=1e-6)
    with pytest.raises(UsageError, match="from 1 on"):
        cell_shapley(network, CLS.pictures, [1, 3], samples=0)


def test_a_network_that_keeps_its_tokens_is_told_which_occluders_it_can_have() -> None:
    network = pixelwise([[1.0, 2.0]])
    for planted in (adversary, cell_shapley):
        with pytest.raises(NetworkError, match="take one of mean"):
            planted(network, torch.ones(1, 3, 1, 2), [1])


def test_the_oracle_is_the_share_of_each_patch_that_lies_on_the_truth() -> None:
    mask = np.zeros((1, 4, 6), bool)
    mask[0, :3, :2] = True
    np.testing.assert_allclose(oracle(mask, 2, 3), [[[1, 0, 0], [0.5, 0, 0]]])


# positions


def arrangement(embeddings: np.ndarray) -> tuple[PairArrangement, Encoding]:
    rows, columns, width = embeddings.shape
    flat = embeddings.reshape(-1, width)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return PairArrangement(flat @ flat.T, rows, columns), Encoding("embeddings", embeddings, rows, columns, "planted")


def test_with_each_place_once_the_numbers_are_those_of_the_arrangement() -> None:
    measured, _ = arrangement(np.random.default_rng(0).standard_normal((7, 11, 4)))
    once = weighted(measured.similarity, 7, 11, np.ones((1, 77)))
    for name, value in once.items():
        assert value[0] == pytest.approx(measured.numbers()[name], abs=1e-12), name


def test_a_place_drawn_twice_counts_as_one_more_like_it_and_never_with_itself() -> None:
    similarity = np.array([[1.0, 0.2, 0.5], [0.2, 1.0, 0.6], [0.5, 0.6, 1.0]])  # a row of three places
    (value,) = weighted(similarity, 1, 3, np.array([[2.0, 1.0, 0.0]]))["neighbour_gain"]
    assert value == pytest.approx(0)  # only the first and the second were drawn, and they are neighbours
    (value,) = weighted(similarity, 1, 3, np.array([[2.0, 1.0, 1.0]]))["neighbour_gain"]
    assert value == pytest.approx((2 * 0.2 + 0.6) / 3 - (2 * 0.2 + 2 * 0.5 + 0.6) / 5)


def test_planted_positions_have_the_verdict_that_was_planted() -> None:
    random = np.random.default_rng(1)
    row, column = np.indices((6, 8)).astype(float)
    smooth = np.stack([np.cos(row / 3), np.sin(row / 3), np.cos(column / 3), np.sin(column / 3)], axis=-1)
    board = np.where((row + column) % 2, 1.0, -1.0)[..., None] * np.ones(3) + random.standard_normal((6, 8, 3)) / 10
    noise = random.standard_normal((6, 8, 4000))
    control = [("random", dict.fromkeys(("neighbour_gain", "row_gain", "column_gain"), (0.0, -0.02, 0.02)))]
    statuses = []
    for embeddings in (smooth, board, noise):
        verdicts, findings = judged(*arrangement(embeddings), control)
        statuses.append({each.method: each.status for each in verdicts}["neighbour_gain"])
        assert all(each.score.low <= each.score.value <= each.score.high and each.against == "random"
                   for each in findings)  # fmt: skip
    assert statuses == ["supported", "contradicted", "no better than a control"]


def test_positions_of_a_network_have_their_controls_and_of_one_without_the_reason() -> None:
    found = audit_positions(CLS.network(), "digest")
    assert not found.skipped and {each.model for each in found.verdicts} == {"digest"}
    assert all("random embeddings of 2 × 3" in each.against for each in found.findings)
    none = audit_positions(pixelwise([[1.0]]), "digest")
    assert "not known to regard" in none.skipped and not none.verdicts and not none.findings


def test_places_are_drawn_from_the_seed() -> None:
    measured, _ = arrangement(np.random.default_rng(0).standard_normal((3, 4, 5)))
    one, same, other = (drawn(measured.similarity, 3, 4, draws=20, seed=seed)["neighbour_gain"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
