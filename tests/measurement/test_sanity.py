"""Sanity of maps, single deletion and reliability: by hand, written out slowly, and on networks that are known."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from scipy.stats import spearmanr
from test_faithfulness import adding, deciding
from tiny_vits import CLS, TINY, Tiny
from torch import nn

from regard.errors import NetworkError, UsageError
from regard.measurement.faithfulness.deletion import coarse_cells, single_deletion
from regard.measurement.faithfulness.reliability import reliability
from regard.measurement.ranks import spearman
from regard.measurement.sanity.classes import class_sensitivity, other_classes
from regard.measurement.sanity.randomisation import emprt, entropy
from regard.networks.load import load
from regard.networks.randomised import randomised

# ranks


def test_ranks_correlate_as_by_hand_and_as_scipy_has_it() -> None:
    assert spearman(np.array([1.0, 5, 9]), np.array([2.0, 1, 3])) == pytest.approx(0.5)  # 1 - 6 · 2 / 24
    generator = np.random.default_rng(0)
    first, second = (np.round(generator.standard_normal((4, 12)) * 2) for _ in range(2))
    right = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman(first, second), right)
    assert spearman(np.ones(3), np.arange(3.0)) == 0
    assert np.isnan(spearman(np.arange(3.0), np.ones(3)))


# single deletion


def test_single_deletion_solved_by_hand() -> None:
    """Of four cells with worths 3 > 2 > 1 > 0 a map that swaps the two least has ρ = 1 - 6 · 2 / 60 = .8."""
    network = adding([[3.0, 2.0, 1.0, 0.0]])
    maps = np.array([[9.0, 8, 7, 6], [9, 8, 6, 7], [6, 7, 8, 9], [1, 1, 1, 1], [9, 8, np.nan, -1]])[:, None, None]
    found = single_deletion(network, torch.ones(1, 3, 1, 4), maps, [1], occluder="mean")
    np.testing.assert_allclose(found[:, 0], [1, 0.8, -1, 0, 1], atol=1e-12)


def test_single_deletion_equals_its_twin() -> None:
    """A grid of 5 × 7 patches, whose cells are not all as large."""
    network = adding(torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).tolist())
    pixels = torch.randn(3, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    maps = np.random.default_rng(0).standard_normal((2, 3, 5, 7))
    found = single_deletion(network, pixels, maps, [0, 1, 1], occluder="mean")
    whole = network.logits(pixels).softmax(dim=1)
    for method, place in np.ndindex(2, 3):
        target = (0, 1, 1)[place]
        sums, drops = [], []
        for down, across in np.ndindex(4, 4):
            rows = [row for row in range(5) if row * 4 // 5 == down]
            columns = [column for column in range(7) if column * 4 // 7 == across]
            changed = pixels[place : place + 1].clone()
            changed[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 0
            sums.append(sum(maps[method, place, row, column] for row in rows for column in columns))
            drops.append(float(whole[place, target] - network.logits(changed).softmax(dim=1)[0, target]))
        assert found[method, place] == pytest.approx(spearmanr(sums, drops).statistic, abs=1e-9)


def test_single_deletion_of_tokens_knows_the_true_worth() -> None:
    network, pixels, right = deciding()
    found = single_deletion(network, pixels, np.concatenate([right, -right, right[:, ::-1]]), [1] * 24, occluder="mean")
    assert found[0].min() > 0.9
    np.testing.assert_allclose(found[1], -found[0])
    assert abs(found[2].mean()) < 3 * found[2].std() / np.sqrt(24)
    tokens = single_deletion(CLS.network(), CLS.pictures, np.ones((1, 2, 2, 3)), [0, 1])
    assert tokens.tolist() == [[0, 0]]
    assert coarse_cells(2, 3).tolist() == [0, 1, 2, 3, 4, 5]


# reliability


def test_an_occluder_that_changes_nothing_is_believed_wholly() -> None:
    network, pixels, _ = deciding()
    whole = network.logits(pixels).double().softmax(dim=1)[:, 1]
    same = reliability(network, pixels, [1] * 24, occluder="other", donors=pixels)
    np.testing.assert_allclose(same, whole.numpy(), atol=1e-6)
    sure = pixels.abs()  # all speak for class 1, and each that goes takes some of it away
    grey = reliability(network, sure, [1] * 24, occluder="mean", draws=2)
    assert (grey < reliability(network, sure, [1] * 24, occluder="other", donors=sure)).all()


def test_reliability_solved_by_hand_and_of_the_picture_alone() -> None:
    """Two pixels alike: ln 9 each, so whatever the order the probability goes from 81/82 over 9/10 to 1/2."""
    network = adding([[np.log(9.0)] * 2])
    found = reliability(network, torch.ones(1, 3, 1, 2), [1], occluder="mean", steps=2, draws=3)
    assert found[0] == pytest.approx((81 / 82 + 1 / 2) / 4 + 9 / 20, abs=1e-6)
    network, pixels, _ = deciding()
    many = reliability(network, pixels[:3], [1] * 3, occluder="mean", seed=2)
    one = reliability(network, pixels[2:3], [1], occluder="mean", seed=2)
    np.testing.assert_allclose(one, many[2:], atol=1e-6)
    assert one[0] != reliability(network, pixels[2:3], [1], occluder="mean", seed=3)[0]
    with pytest.raises(UsageError, match="draws is 0"):
        reliability(network, pixels, [1] * 24, occluder="mean", draws=0)


# the randomised network


@pytest.mark.parametrize("tiny", TINY, ids=[tiny.name for tiny in TINY])
def test_all_weights_are_drawn_anew_from_the_seed(tiny: Tiny) -> None:
    network = tiny.network()
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    state = torch.get_rng_state()
    other, again, third = randomised(network), randomised(network), randomised(network, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
    for (name, weight), same in zip(other.module.named_parameters(), again.module.parameters(), strict=True):
        assert torch.equal(weight, same), name
        alike = torch.equal(weight, before[name])
        assert not alike or before[name].unique().numel() == 1, name
    assert not torch.equal(third.module.head.weight, other.module.head.weight)  # type: ignore[arg-type,union-attr]
    assert other.name == f"{network.name}, randomised"
    assert other.logits(tiny.pictures).isfinite().all()
    assert (other.logits(tiny.pictures) - network.logits(tiny.pictures)).abs().max() > 0.1
    assert other.weights_hash() != network.weights_hash()


def test_torchs_own_attention_and_tables_are_drawn_too() -> None:
    import torchvision

    sizes = {"image_size": 16, "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
    module = torchvision.models.VisionTransformer(**sizes, num_classes=3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * 3 + 1)
    network = load(module)
    drawn = {name: weight.detach() for name, weight in randomised(network).module.named_parameters()}
    for name, weight in module.named_parameters():
        assert not torch.equal(drawn[name], weight), name
    positions = drawn["encoder.pos_embedding"]
    assert 2 < float(positions.std()) < 4 and 0 < float(positions.mean()) < 2  # the table's own mean and spread
    assert drawn["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"].abs().max() < 1


def test_what_cannot_be_drawn_anew_says_so() -> None:
    network = CLS.network()
    with warnings.catch_warnings(action="ignore"):  # of its own age
        sealed = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(NetworkError, match="cannot be drawn anew, as it is compiled"):
        randomised(replace(network, module=sealed))


# eMPRT


def test_the_entropy_of_a_map_solved_by_hand() -> None:
    """Half of it 0, a quarter 1, a quarter 2: ln 2 / 2 + ln 4 / 2."""
    half = np.array([[0.0, 0, 1, 2]])
    assert entropy(half) == pytest.approx(1.5 * np.log(2))
    assert emprt(half, np.array([[0.0, 1, 2, 3]])) == pytest.approx((np.log(4) - 1.5 * np.log(2)) / (1.5 * np.log(2)))
    assert emprt(half, half * -7 + 3) == 0  # neither scale nor place nor sign matters
    assert emprt(half, np.ones((1, 4))) == -1
    assert np.isnan(emprt(np.ones((1, 4)), half))
    assert emprt(np.array([[0.0, 0, 1, 2, np.nan, np.inf]]), half.repeat(2)[None]) == pytest.approx(0)
    assert entropy(np.full((2, 3, 3), np.nan)).tolist() == [0, 0]
    assert entropy(np.array([[1.0, 1 + 2e-16]])) == pytest.approx(np.log(2))


def test_emprt_equals_its_twin() -> None:
    generator = np.random.default_rng(0)
    maps, other = generator.standard_normal((2, 3, 4, 14, 14))
    found = emprt(maps, other)
    assert found.shape == (3, 4)
    for place in np.ndindex(3, 4):
        before, after = (scipy_entropy(np.histogram(each[place], bins=100)[0]) for each in (maps, other))
        assert found[place] == pytest.approx((after - before) / before)


# the class


def test_sensitivity_to_the_class_solved_by_hand() -> None:
    one = np.array([[1.0, 2], [3, 4]])
    assert class_sensitivity(one, one * 3 + 1) == 0
    assert class_sensitivity(one, -one) == 2
    assert class_sensitivity(one, np.array([[1.0, 2], [4, 3]])) == pytest.approx(0.2)  # 1 - (1 - 6 · 2 / 60)
    assert class_sensitivity(np.ones((2, 2)), np.zeros((2, 2))) == 0
    assert class_sensitivity(one, np.ones((2, 2))) == class_sensitivity(np.ones((2, 2)), one) == 1
    assert class_sensitivity(np.array([[np.nan, 2], [3, 4]]), np.array([[-5.0, 2], [3, 4]])) == 0
    assert class_sensitivity(np.full((2, 2), np.nan), one) == 1
    assert class_sensitivity(np.stack([one] * 3), np.stack([one, -one, one])).tolist() == [0, 2, 0]


def test_the_other_class_is_another_and_of_the_picture_alone() -> None:
    pixels = torch.randn(200, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    targets = np.arange(200) % 4
    drawn = other_classes(pixels, targets, 4)
    assert (drawn != targets).all() and set(drawn) == {0, 1, 2, 3}
    counts = np.bincount((drawn - targets) % 4, minlength=4)
    assert counts[0] == 0 and counts[1:].min() > 40
    assert other_classes(pixels[7:9], targets[7:9], 4).tolist() == drawn[7:9].tolist()
    assert other_classes(pixels[:5], [1] * 5, 2).tolist() == [0] * 5
    with pytest.raises(UsageError, match="has 1 class"):
        other_classes(pixels, targets, 1)
