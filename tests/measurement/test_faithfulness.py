"""Removal curves and what is made of them: solved by hand, as slow twins in float64, and against sabotage."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_vits import CLS, TINY, Tiny
from torch import Tensor, nn
from vit_twin import Run, embed, forward

from regard.errors import NetworkError, UsageError
from regard.measurement.blur import blurred
from regard.measurement.faithfulness import occluders
from regard.measurement.faithfulness.curves import Curves, area, influence, on_grid, removal_curves
from regard.measurement.faithfulness.occluders import OCCLUDERS, occluders_of
from regard.networks.anatomy.anatomy import Anatomy
from regard.networks.load import load
from regard.networks.network import Network

every_tiny = pytest.mark.parametrize("tiny", TINY, ids=[tiny.name for tiny in TINY])


class Adds(nn.Module):
    """Its logit of class 1 is the sum of the pixels of channel 0, each times its weight; that of class 0 is 0."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        total = (x[:, 0] * self.weight).sum(dim=(1, 2))
        return torch.stack([torch.zeros_like(total), total], dim=1)


def adding(weights: list[list[float]], patch: tuple[int, int] = (1, 1)) -> Network:
    """A network of no tokens whose patches are single pixels."""
    network = load(Adds(weights))
    return replace(network, anatomy=Anatomy(patch=patch))


def maps_of(tiny: Tiny, methods: int = 2) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((methods, 2, 2, 3))


# by hand


def test_curves_solved_by_hand() -> None:
    """Two pixels that bring ln 3 and ln 9: probabilities 27/28, and 3/4 or 9/10 with one gone, and 1/2 without both."""
    network = adding([[np.log(3.0), np.log(9.0)]])
    ones = torch.ones(1, 3, 1, 2)
    curves = removal_curves(network, ones, np.array([[[[1.0, 2.0]]]]), [1], occluder="mean", steps=2)
    np.testing.assert_allclose(curves.mif[0, 0], [27 / 28, 3 / 4, 1 / 2], atol=1e-7)
    np.testing.assert_allclose(curves.lif[0, 0], [27 / 28, 9 / 10, 1 / 2], atol=1e-7)
    assert curves.deletion[0, 0] == pytest.approx((27 / 28 + 1 / 2) / 4 + 3 / 8, abs=1e-7)
    assert curves.insertion[0, 0] == pytest.approx((27 / 28 + 1 / 2) / 4 + 9 / 20, abs=1e-7)
    assert curves.srg[0, 0] == pytest.approx(9 / 20 - 3 / 8, abs=1e-7)


def test_as_many_patches_are_gone_as_the_definition_says() -> None:
    """After step k round(patches · k / steps) are gone: of 7 patches in ten steps 0, 1, 1, 2, 3, 4, 4, 5, 6, 6, 7."""
    network = adding([[1.0] * 7])
    curves = removal_curves(network, torch.ones(1, 3, 1, 7), np.arange(7.0).reshape(1, 1, 1, 7), [1], occluder="mean")
    left = np.log(curves.mif[0, 0] / (1 - curves.mif[0, 0]))
    np.testing.assert_allclose(7 - left, [0, 1, 1, 2, 3, 4, 4, 5, 6, 6, 7], atol=1e-5)


def test_an_area_is_that_of_trapezoids() -> None:
    assert area(np.array([1.0, 1.0, 1.0])) == 1
    assert area(np.array([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0.5, 0.5]
    assert area(np.array([1.0, 0.5, 0.0, 0.0])) == pytest.approx((0.75 + 0.25) / 3)


def test_other_pixels_stand_where_patches_are_gone() -> None:
    """By donors that are 2 everywhere: the sum of two weights 1 goes from 2 over 3 to 4."""
    network = adding([[1.0, 1.0]])
    donors = torch.full((1, 3, 1, 2), 2.0)
    maps = np.array([[[[1.0, 2.0]]]])
    curves = removal_curves(network, torch.ones(1, 3, 1, 2), maps, [1], occluder="other", steps=2, donors=donors)
    np.testing.assert_allclose(curves.mif[0, 0], 1 / (1 + np.exp([-2.0, -3.0, -4.0])), atol=1e-6)


def test_a_blur_leaves_what_is_even_and_takes_what_is_not() -> None:
    even = torch.full((1, 3, 24, 32), 0.7, dtype=torch.float64)
    torch.testing.assert_close(blurred(even, 4.0), even)
    dot = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    dot[..., 20, 20] = 1
    spread = blurred(dot, 3.0)[0, 0]
    place = torch.arange(41.0) - 20
    assert float(spread.sum()) == pytest.approx(1)
    assert float((spread.sum(dim=0) * place**2).sum()) == pytest.approx(9, rel=0.04)  # its variance is sigma²
    assert float(spread[20, 23] / spread[20, 20]) == pytest.approx(np.exp(-0.5), rel=1e-6)
    torch.testing.assert_close(spread, spread.T)


# slow twins


def twin_probability(tiny: Tiny, picture: Tensor, kept: list[int], target: int) -> float:
    """One picture, in float64, with the prefix tokens and these patches alone, written out."""
    vit = tiny.twin
    tokens = embed(vit, picture)
    prefix = len(tokens) - 6
    patches = tokens[prefix:][kept]
    if not kept and tiny.reads != "cls":
        patches = torch.zeros(1, tokens.shape[1], dtype=torch.float64)
    run: Run = forward(vit, torch.cat([tokens[:prefix], patches]))
    return float(run.logits.detach().softmax(dim=0)[target])


@every_tiny
def test_curves_of_tokens_equal_their_twin(tiny: Tiny) -> None:
    maps, targets, steps = maps_of(tiny), [3, 1], 4
    curves = removal_curves(tiny.network(torch.float64), tiny.pictures.double(), maps, targets, steps=steps)
    for method, place, step in np.ndindex(2, 2, steps + 1):
        order = sorted(range(6), key=lambda patch: -maps[method, place].ravel()[patch])
        gone = round(6 * step / steps)
        picture = tiny.pictures[place].double()
        for curve, kept in ((curves.mif, order[gone:]), (curves.lif, order[: 6 - gone])):
            right = twin_probability(tiny, picture, sorted(kept), targets[place])
            assert curve[method, place, step] == pytest.approx(right, abs=1e-9)


@pytest.mark.parametrize("occluder", ["mean", "blur", "other"])
def test_curves_of_pixels_equal_their_twin(occluder: str) -> None:
    network, pixels = CLS.network(torch.float64), CLS.pictures.double()
    maps, targets, donors = maps_of(CLS, 1), [3, 1], pixels.flip(0, 3)
    curves = removal_curves(network, pixels, maps, targets, occluder=occluder, steps=3, donors=donors)
    fill = {"mean": torch.zeros_like(pixels), "blur": blurred(pixels, 8.0), "other": donors}[occluder]
    for place, step in np.ndindex(2, 4):
        changed = pixels[place].clone()
        for patch in np.argsort(-maps[0, place].ravel())[: 2 * step]:
            down, across = divmod(int(patch), 3)
            cell = slice(8 * down, 8 * down + 8), slice(8 * across, 8 * across + 8)
            changed[(slice(None), *cell)] = fill[place][(slice(None), *cell)]
        right = network.logits(changed[None]).softmax(dim=1)[0, targets[place]]
        assert curves.mif[0, place, step] == pytest.approx(float(right), abs=1e-12)


# what must not matter


@pytest.mark.parametrize("occluder", list(OCCLUDERS))
def test_chunks_and_batches_do_not_matter(occluder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, pixels = CLS.network(), CLS.pictures
    maps = np.round(maps_of(CLS, 3))  # with ties
    settings: dict[str, Any] = {"occluder": occluder, "steps": 5, "seed": 4}
    whole = removal_curves(network, pixels, maps, [3, 1], donors=pixels.flip(0), **settings)
    monkeypatch.setattr(occluders, "AT_ONCE", 1)
    for place in range(2):
        one = pixels[place : place + 1]
        donors = pixels.flip(0)[place : place + 1]
        for method in range(3):
            some = maps[method : method + 1, place : place + 1]
            alone = removal_curves(network, one, some, [(3, 1)[place]], donors=donors, **settings)
            np.testing.assert_allclose(alone.mif[0, 0], whole.mif[method, place], atol=1e-6)
            np.testing.assert_allclose(alone.lif[0, 0], whole.lif[method, place], atol=1e-6)


def test_ties_are_broken_at_random_from_the_seed_and_the_picture() -> None:
    one, other = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    even = np.zeros((2, 50))
    first, second = influence(even, one, 0)
    assert first.tolist() == second.tolist() == influence(even, one, 0)[0].tolist()
    assert sorted(first) == list(range(50)) and first.tolist() != list(range(50))
    assert first.tolist() != influence(even, one, 1)[0].tolist()
    assert first.tolist() != influence(even, other, 0)[0].tolist()


def test_signed_maps_and_values_that_are_no_numbers() -> None:
    picture = torch.zeros(3, 8, 8)
    assert influence(np.array([[-2.0, 0.5, np.nan, -np.inf, np.inf]]), picture, 0)[0, :3].tolist() == [4, 1, 0]
    network, pixels = CLS.network(), CLS.pictures
    maps = np.full((3, 2, 2, 3), np.nan)
    maps[1, :, :, 1] = [-1.0, 2.0]
    maps[2] = 5.0
    curves = removal_curves(network, pixels, maps, [0, 1])
    assert np.isfinite(curves.srg).all()
    np.testing.assert_allclose(curves.mif[0], curves.mif[2])  # nothing said, and the same said of all


def test_a_finer_map_is_averaged_over_each_patch() -> None:
    coarse = np.random.default_rng(0).standard_normal((2, 2, 3))
    np.testing.assert_allclose(on_grid(coarse.repeat(4, axis=1).repeat(8, axis=2), 2, 3), coarse)
    np.testing.assert_allclose(on_grid(np.array([[0.0, 3.0, 6.0]]), 1, 2), [[1.0, 5.0]])  # the middle lies in both
    np.testing.assert_allclose(on_grid(np.array([[1.0, np.nan, 4.0, 6.0]]), 1, 2), [[1.0, 5.0]])
    assert np.isnan(on_grid(np.full((4, 4), np.nan), 2, 2)).all()
    np.testing.assert_allclose(on_grid(np.array([[1.0, 2.0]]), 2, 4), [[1, 1, 2, 2]] * 2)


def test_the_network_is_left_as_it_was() -> None:
    network = CLS.network()
    network.module.train()
    before = {path: dict(vars(part)) for path, part in network.module.named_modules()}
    removal_curves(network, CLS.pictures, maps_of(CLS), [0, 1], steps=2)
    assert network.module.training
    for path, part in network.module.named_modules():
        assert vars(part).keys() == before[path].keys()
        assert not part._forward_hooks and not part._forward_pre_hooks


def test_a_network_whose_tokens_count_on_all_gets_pixels() -> None:
    network = adding([[1.0, 1.0]])
    assert occluders_of(network) == ("mean", "blur", "other")
    assert occluders_of(CLS.network())[0] == "tokens"
    pixels = torch.ones(1, 3, 1, 2)
    with pytest.raises(NetworkError, match="cannot be left out as tokens; take one of mean, blur, other"):
        removal_curves(network, pixels, np.ones((1, 1, 1, 2)), [1])
    with pytest.raises(UsageError, match="unknown occluder 'blurr'; did you mean 'blur'"):
        removal_curves(network, pixels, np.ones((1, 1, 1, 2)), [1], occluder="blurr")
    with pytest.raises(UsageError, match=r"'other' needs donors of shape \(1, 3, 1, 2\); came None"):
        removal_curves(network, pixels, np.ones((1, 1, 1, 2)), [1], occluder="other")
    with pytest.raises(UsageError, match="steps is 0"):
        removal_curves(network, pixels, np.ones((1, 1, 1, 2)), [1], occluder="mean", steps=0)


# what it is for: a network of 36 patches of which some decide


def deciding() -> tuple[Network, Tensor, np.ndarray]:
    """A network, 24 pictures (batch, 3, 6, 6), and the true worth of each pixel: (1, batch, 6, 6)."""
    generator = torch.Generator().manual_seed(0)
    network = adding(torch.ones(6, 6).tolist())
    pixels = torch.randn(24, 3, 6, 6, generator=generator)
    pixels[:, 0] += 0.1
    return network, pixels, pixels[:, 0].numpy()[None]


def test_a_sabotaged_map_loses_to_itself() -> None:
    network, pixels, right = deciding()
    wrong = [np.roll(right, (2, 3), axis=(2, 3)), right[..., ::-1], np.roll(right, 1, axis=1), -right]
    curves: Curves = removal_curves(network, pixels, np.concatenate([right, *wrong]), [1] * 24, occluder="mean")
    gain = curves.srg[0] - curves.srg[1:]  # (wrong, pictures)
    low = gain.mean(axis=1) - 3 * gain.std(axis=1) / np.sqrt(24)
    assert (low > 0.3).all()
    assert curves.srg[0].min() > 0.5


def test_a_random_map_gains_nothing_whatever_the_occluder() -> None:
    network, pixels, _ = deciding()
    maps = np.random.default_rng(1).random((20, 24, 6, 6))
    for occluder in ("mean", "other"):
        gains = removal_curves(network, pixels, maps, [1] * 24, occluder=occluder, donors=pixels.roll(1, 0)).srg
        assert abs(gains.mean()) < 3 * gains.std() / np.sqrt(gains.size)
    even = removal_curves(network, pixels, np.ones((1, 24, 6, 6)), [1] * 24, occluder="mean").srg
    assert abs(even.mean()) < 3 * even.std() / np.sqrt(24)
