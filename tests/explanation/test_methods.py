"""Every method equals its slow twin, and the laws that its maps must obey; on tiny woken ViTs of each way to read."""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import twins
from samples import NAMES, SAMPLES, awake
from tiny_vits import CLS, TINY, Tiny
from torch import Tensor
from vit_twin import embed, forward, run_on, score
from woken import error, is_awake, written_out

import regard.explanation.pictures.shapley
from regard.errors import NetworkError
from regard.explanation import METHODS, Maps
from regard.explanation.pictures.libra import fullgrad
from regard.networks.load import load

PICTURE_METHODS = [row.name for row in METHODS if row.kind == "picture"]
CLOSE, CLOSE_FLOAT32 = 1e-6, 1e-5
WHOLE, CONTRAST = 2, (3, 1)
every_tiny = pytest.mark.parametrize("tiny", TINY, ids=[tiny.name for tiny in TINY])
Target = int | tuple[int, int]


CHEAP: dict[str, dict[str, Any]] = {"dave": {"samples": 2, "seed": 1}}


def maps(method: str, tiny: Tiny, dtype: torch.dtype = torch.float64, **settings: Any) -> Maps:
    settings = CHEAP.get(method, {}) | settings
    return METHODS.load(method)(tiny.network(dtype), tiny.pictures.to(dtype), **settings)


def twin_maps(method: str, tiny: Tiny, targets: list[Target], **settings: Any) -> Tensor:
    vit, pictures = tiny.twin, tiny.pictures.double()
    settings = CHEAP.get(method, {}) | settings
    found = [twins.TWINS[method](vit, x, y, **settings) for x, y in zip(pictures, targets, strict=True)]
    return torch.stack(found)


@cache
def predicted(tiny: Tiny) -> list[Target]:
    """The classes with the largest logits, as the twin computes them."""
    return [int(run_on(tiny.twin, picture).logits.argmax()) for picture in tiny.pictures.double()]


def far(found: Maps, right: Tensor) -> float:
    return error(torch.from_numpy(found.values), right)


# the ground: the twin is the network, and the network is awake


@every_tiny
def test_the_written_out_network_is_the_network(tiny: Tiny) -> None:
    logits, rows = written_out(tiny.network(torch.float64).module, tiny.pictures.double())
    assert is_awake(rows)
    runs = [run_on(tiny.twin, picture) for picture in tiny.pictures.double()]
    assert error(torch.stack([run.logits.detach() for run in runs]), logits) < 1e-12
    for layer, right in enumerate(rows):
        assert error(torch.stack([run.attention[layer].detach() for run in runs]), right) < 1e-12


def test_every_method_has_a_twin() -> None:
    """`random` is noise, and has laws instead."""
    assert set(twins.TWINS) == set(PICTURE_METHODS) - {"random"}


# twins


@every_tiny
@pytest.mark.parametrize("method", sorted(set(twins.TWINS) - {"shapley"}))
def test_a_method_equals_its_twin(method: str, tiny: Tiny) -> None:
    right = twin_maps(method, tiny, predicted(tiny))
    found = maps(method, tiny)
    assert found.values.dtype == np.float32
    assert found.targets == (tuple(predicted(tiny)) if METHODS[method].class_specific else (None, None))
    assert far(found, right) <= CLOSE
    assert far(maps(method, tiny, torch.float32), right) <= CLOSE_FLOAT32


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *(("attention", {"layer": 1, "head": head, "query": query}) for head in (None, 2) for query in (None, (1, 2))),
    ("attention", {"layer": 0}),
    ("attention", {"query": (0, 1)}),
    ("rollout", {"query": (1, 0)}),
    ("rollout", {"start": 1}),
    ("grad_attention", {"start": 1}),
    ("transition", {"start": 0, "steps": 7}),
    *(("legrad", {"start": start}) for start in (0, 2)),
    ("logit_lens", {"layer": 0}),
    ("gradcam", {"layer": 1}),
    ("integrated_gradients", {"steps": 11}),
    ("activation_patching", {"start": 0}),
]


@every_tiny
@pytest.mark.parametrize(("method", "settings"), SETTINGS, ids=[f"{name} {more}" for name, more in SETTINGS])
def test_settings_are_those_of_the_twin(method: str, settings: dict[str, Any], tiny: Tiny) -> None:
    assert far(maps(method, tiny, **settings), twin_maps(method, tiny, predicted(tiny), **settings)) <= CLOSE


CLASS_SPECIFIC = [name for name in PICTURE_METHODS if METHODS[name].class_specific and name != "shapley"]


@pytest.mark.parametrize("target", [WHOLE, CONTRAST], ids=str)
@pytest.mark.parametrize("method", CLASS_SPECIFIC)
def test_a_given_class_and_a_contrast_are_those_of_the_twin(method: str, target: Target) -> None:
    for tiny in (CLS, TINY[-1]):
        found = maps(method, tiny, target=target)
        assert found.targets == (target, target)
        assert far(found, twin_maps(method, tiny, [target, target])) <= CLOSE


def test_activation_patching_over_several_blocks() -> None:
    """The middle third of six blocks is two."""
    tiny = Tiny("deep", more={"depth": 6})
    assert far(maps("activation_patching", tiny), twin_maps("activation_patching", tiny, predicted(tiny))) <= CLOSE


@every_tiny
def test_integrated_gradients_are_the_integral(tiny: Tiny) -> None:
    """A fine Riemann sum; in networks as restless as these the rule needs more nodes than the default's 32."""
    right = twin_maps("integrated_gradients", tiny, predicted(tiny), steps=200, rule="midpoint")
    assert far(maps("integrated_gradients", tiny, steps=150), right) <= 1e-3


# shapley


class _AllOrders:
    """In the place of a random generator: every order of the patches once."""

    def __init__(self, seed: int) -> None:
        self.orders: Iterator[tuple[int, ...]] | None = None

    def permutation(self, count: int) -> np.ndarray:
        self.orders = self.orders or itertools.permutations(range(count))
        return np.array(next(self.orders))


@every_tiny
def test_shapley_over_all_orders_is_exact(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regard.explanation.pictures.shapley.np.random, "default_rng", _AllOrders)
    found = maps("shapley", tiny, samples=720)
    assert far(found, twin_maps("shapley", tiny, predicted(tiny))) <= CLOSE
    assert far(maps("shapley", tiny, samples=720, target=CONTRAST), twin_maps("shapley", tiny, [CONTRAST] * 2)) <= CLOSE


@every_tiny
def test_sampled_shapley_is_near_and_sums_to_what_there_is(tiny: Tiny) -> None:
    found, classes = maps("shapley", tiny, samples=100, seed=1), predicted(tiny)
    assert found.error is not None
    assert found.error.shape == found.values.shape
    away = np.abs(found.values - twin_maps("shapley", tiny, classes).numpy())
    assert (away <= 4 * found.error + 1e-6).all()
    for values, picture, target in zip(found.values, tiny.pictures.double(), classes, strict=True):
        of = twins.worth(tiny.twin, picture, target)
        assert values.sum() == pytest.approx(of(frozenset(range(6))) - of(frozenset()), abs=1e-5)


def test_the_errors_of_shapley_are_honest() -> None:
    """Over many seeds, what values are off by is as large as they say, and two errors hold nearly all."""
    right = twin_maps("shapley", CLS, predicted(CLS)).numpy()
    runs = [maps("shapley", CLS, torch.float32, samples=12, seed=seed) for seed in range(60)]
    off = np.stack([run.values - right for run in runs])
    said = np.stack([run.error for run in runs])
    assert 0.85 < np.sqrt((off**2).mean() / (said**2).mean()) < 1.15
    assert 0.88 < (np.abs(off) <= 2 * said).mean() < 0.98
    assert np.abs(off.mean(0)).max() < 4 * np.sqrt((said**2).mean()) / np.sqrt(60)


def test_shapley_of_another_seed_is_another() -> None:
    one, other, again = (maps("shapley", CLS, samples=2, seed=seed).values for seed in (0, 1, 0))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


# laws


@pytest.mark.parametrize("row", [row for row in METHODS if row.kind == "picture"], ids=PICTURE_METHODS)
def test_signs_are_what_the_row_says(row: Any) -> None:
    values = np.concatenate([maps(row.name, tiny, torch.float32).values.ravel() for tiny in TINY])
    assert np.isfinite(values).all()
    assert values.max() > 0
    assert (values.min() < 0) == row.signed


SIGNED = [row.name for row in METHODS if row.kind == "picture" and row.signed]


@pytest.mark.parametrize("method", SIGNED)
def test_a_contrast_is_the_difference_of_two(method: str) -> None:
    """Every signed method is linear in what it explains."""
    for_one, against, both = (maps(method, CLS, target=target).values for target in (3, 1, CONTRAST))
    assert np.allclose(both, for_one - against, rtol=0, atol=1e-6)
    assert np.abs(both).max() > 0.01


@every_tiny
def test_attention_and_rollout_are_shares(tiny: Tiny) -> None:
    for method, settings in [
        ("attention", {"layer": 1}),
        ("attention", {}),
        ("rollout", {}),
        ("rollout", {"start": 2}),
    ]:
        found = maps(method, tiny, torch.float32, **settings).values
        sums = found.sum((1, 2))
        assert found.min() >= 0
        assert (sums <= 1 + 1e-6).all()
        if tiny.twin.prefix == 0:
            assert np.allclose(sums, 1, atol=1e-5)


@every_tiny
def test_integrated_gradients_sum_to_the_change_from_grey(tiny: Tiny) -> None:
    found, vit = maps("integrated_gradients", tiny, torch.float32, steps=150), tiny.twin
    for values, picture, target in zip(found.values, tiny.pictures.double(), predicted(tiny), strict=True):
        whole, grey = (float(score(run_on(vit, x).logits.detach(), target)) for x in (picture, 0 * picture))
        assert values.sum() == pytest.approx(whole - grey, rel=1e-2)


@every_tiny
def test_the_twin_of_libra_is_complete(tiny: Tiny) -> None:
    for picture, target in zip(tiny.pictures.double(), predicted(tiny), strict=True):
        parts = twins.fullgrad(tiny.twin, picture, target)
        assert float(parts.tokens[0].sum() + parts.biases.sum() + parts.rest) == pytest.approx(
            float(parts.logit), abs=1e-10
        )
        run = forward(tiny.twin, embed(tiny.twin, picture))
        assert float(parts.logit) == pytest.approx(float(score(run.logits, target)), abs=1e-12)


@every_tiny
def test_the_parts_of_libra_are_those_of_the_twin(tiny: Tiny) -> None:
    found, targets = fullgrad(tiny.network(torch.float64), tiny.pictures.double())
    assert targets == tuple(predicted(tiny))
    right = [twins.fullgrad(tiny.twin, x, y) for x, y in zip(tiny.pictures.double(), targets, strict=True)]
    tokens = len(right[0].biases)
    for index in range(tiny.twin.depth):
        assert error(found.tokens[index], torch.stack([parts.tokens[index] for parts in right])) < 1e-12
    assert error(found.biases[:, -tokens:], torch.stack([parts.biases for parts in right])) < 1e-10
    assert error(found.total(), torch.stack([parts.logit for parts in right])) < 1e-10


COMPLETE = 1e-3


@pytest.mark.parametrize("sample", SAMPLES, ids=NAMES)
def test_libra_is_complete_for_every_family(sample: Any) -> None:
    """The sum of all parts is the logit, to a thousandth of what the picture changes in it."""
    module, logits, rows = awake(sample)
    network = load(module)
    assert is_awake(rows)
    parts, targets = fullgrad(network, sample.pictures)
    grey = network.logits(torch.zeros_like(sample.pictures[:1]))[0]
    for total, own, target in zip(parts.total(), logits, targets, strict=True):
        assert abs(float(total - own[target])) <= COMPLETE * abs(float(own[target] - grey[target]))


def test_a_network_that_libra_has_no_rule_for_is_told() -> None:
    network = CLS.network()
    for block in network.module.blocks:
        block.mlp.act = torch.nn.Softplus()
    with pytest.raises(NetworkError, match=r"do not sum to it \(off by .*use legrad or integrated_gradients"):
        METHODS.load("libra_fullgrad")(network, CLS.pictures)


# baselines


def test_random_is_uniform_noise_of_the_seed_and_the_picture() -> None:
    network, pictures = CLS.network(), torch.randn(300, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    found = METHODS.load("random")(network, pictures, seed=3).values
    assert found.shape == (300, 2, 3)
    assert (found >= 0).all()
    assert (found < 1).all()
    assert abs(found.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 1800)
    assert abs(found.var() - 1 / 12) < 0.01
    assert abs(np.corrcoef(found.reshape(300, 6).T)[np.triu_indices(6, 1)]).max() < 4 / np.sqrt(300)
    assert len(np.unique(found)) > 0.99 * found.size
    assert np.array_equal(METHODS.load("random")(network, pictures[5:6], seed=3).values, found[5:6])
    assert not np.array_equal(METHODS.load("random")(network, pictures[5:6], seed=4).values, found[5:6])


def test_edges_of_one_edge() -> None:
    """A step of one between columns 11 and 12 of grey: Sobel / 8 gives a half in both, and nothing elsewhere."""
    pictures = torch.zeros(1, 3, 16, 24)
    pictures[..., 12:] = 1
    found = METHODS.load("edges")(CLS.network(), pictures).values
    assert np.allclose(found, [[[0, 0.5 * 2 / 8, 0]] * 2])


def test_centre_by_hand() -> None:
    """2 × 3 cells: the middle ones are a quarter of the height away, of the √½ that a corner is: on the unit square."""
    found = METHODS.load("centre")(CLS.network(), CLS.pictures).values
    middle = 1 - 0.25 / np.sqrt(0.5)
    side = 1 - np.hypot(0.25, 1 / 3) / np.sqrt(0.5)
    assert np.allclose(found, [[[side, middle, side]] * 2] * 2)
