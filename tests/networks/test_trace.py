"""What may be asked of the trace, and what it says; that it is right for every family is in test_families."""

import copy
import math

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from woken import error, wake_timm, written_out

from regard.errors import NetworkError, UsageError
from regard.networks.attention.recorder import AttentionCall
from regard.networks.attention.trace import trace
from regard.networks.load import Network, load

SIZE = (48, 80)  # 3 × 5 patches: not square


def pictures(batch: int = 2, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def small(name: str = "vit_tiny_patch16_224", size: tuple[int, int] = SIZE, **arguments: object) -> Network:
    arguments = {"depth": 2, "embed_dim": 48, "num_heads": 3, "num_classes": 5, **arguments}
    network = load(name, pretrained=False, size=size, arguments=arguments)
    wake_timm(network.module, pictures(2, size))
    return network


@pytest.fixture(scope="module")
def network() -> Network:
    return small()


def test_rows_are_those_asked_for_in_that_order(network: Network) -> None:
    x = pictures()
    _, right = written_out(network.module, x)
    _, traced = trace(network, x, layers=[1, 0], heads=[2, 0], queries=[(2, 4), (0, 1)])
    assert list(traced.attention) == [1, 0]
    assert (traced.heads, traced.queries) == ((2, 0), (1 + 2 * 5 + 4, 2))
    for layer in (0, 1):
        assert error(traced.attention[layer], right[layer][:, [2, 0]][:, :, [15, 2]]) <= 1e-5
    _, cls = trace(network, x)
    assert list(cls.attention) == [1]
    assert cls.attention[1].shape == (2, 3, 1, 16)
    assert error(cls.attention[1], right[1][:, :, :1]) <= 1e-5


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=4), st.lists(st.integers(0, 2), min_size=1, max_size=3))
def test_rows_sum_to_one_and_a_batch_is_its_pictures(queries: list[int], heads: list[int]) -> None:
    network, x = WOKEN, pictures()
    _, both = trace(network, x, layers="all", heads=heads, queries=queries)
    for layer, rows in both.attention.items():
        assert rows.shape == (2, len(heads), len(queries), 16)
        assert torch.allclose(rows.sum(-1), torch.ones(rows.shape[:-1]), atol=1e-6)
        for index in range(2):
            _, one = trace(network, x[index : index + 1], layers="all", heads=heads, queries=queries)
            assert error(one.attention[layer][0], rows[index]) <= 1e-5


WOKEN = small()


def test_fused_attention_stays_on(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fused = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or fused(*a, **k)
    )
    trace(network, pictures(), layers="all")
    assert len(calls) == 2


def test_half_precision_rows_are_float32_and_near(network: Network) -> None:
    x = pictures()
    _, right = trace(network, x, layers="all", queries="all")
    half = copy.deepcopy(network)
    half.module.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, auto = trace(network, x, layers=[0], queries="all")
    _, rounded = trace(half, x, layers=[0], queries="all")
    for rows in (rounded, auto):
        assert rows.attention[0].dtype == torch.float32
        assert (rows.attention[0] - right.attention[0]).abs().max() < 0.2
        assert torch.allclose(rows.attention[0].sum(-1), torch.ones(2, 3, 16), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "there is no layer 2; it goes from 0 to 1"),
        ({"layers": [-1]}, "there is no layer -1; it goes from 0 to 1"),
        ({"layers": "last"}, "indices from 0 to 1"),
        ({"heads": [0, 3]}, "there is no head 3; it goes from 0 to 2"),
        ({"queries": [16]}, "there is no query token 16; it goes from 0 to 15"),
        ({"queries": [(3, 0)]}, r"there is no patch \(3, 0\); \(row, column\) goes from \(0, 0\) to \(2, 4\)"),
        ({"queries": [(0, 0), 1]}, "mixes"),
        ({"queries": "patch"}, "unknown queries 'patch'"),
        ({"queries": []}, "there is no query"),
    ],
)
def test_out_of_range_names_the_range(network: Network, arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trace(network, pictures(), **arguments)


def test_a_picture_of_another_size_is_refused(network: Network) -> None:
    with pytest.raises(UsageError, match="48 × 80 pixels"):
        trace(network, pictures(1, (80, 48)))
    with pytest.raises(UsageError, match=r"\(batch, 3, height, width\)"):
        trace(network, pictures()[0])


def test_without_class_token_a_patch_must_be_named() -> None:
    network = small("vit_base_patch16_siglip_224")
    with pytest.raises(UsageError, match=r"no class token.*\(2, 4\).*'pool'"):
        trace(network, pictures())
    _, traced = trace(network, pictures(), queries=[(1, 1)])
    assert {layer: rows.shape for layer, rows in traced.attention.items()} == {1: (2, 3, 1, 15)}  # the last block


def test_a_pooling_by_attention_is_the_layer_behind_the_blocks() -> None:
    network = small("vit_base_patch16_siglip_224")
    _, right = written_out(network.module, pictures())
    assert len(right) == 3
    _, traced = trace(network, pictures(), queries="pool")
    assert traced.queries == "pool"
    assert error(traced.attention[2], right[2]) <= 1e-5
    with pytest.raises(UsageError, match="query of its pooling only; leave the query out there"):
        trace(network, pictures(), layers=[2], queries=[(1, 1)])


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet18"])
def test_a_network_without_such_attention_says_what_works(name: str) -> None:
    arguments = {"depths": [1, 1, 1, 1], "embed_dim": 16, "num_classes": 3} if name.startswith("swin") else {}
    network = load(f"random:{name}", arguments=arguments)
    x = torch.randn(1, 3, network.preparation.height, network.preparation.width)
    with pytest.raises(NetworkError, match="gradient or perturbation"):
        trace(network, x)
    features, logits = network.features(x)
    assert features.shape[0] == logits.shape[0] == 1
    assert math.isfinite(float(logits.sum()))


class CustomModel(timm.models.vision_transformer.VisionTransformer):
    """A user's own: with attention that nobody has heard of in its last block."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__(img_size=SIZE, embed_dim=48, depth=2, num_heads=3, num_classes=5)
        self.blocks[1].attn = attention


class Added(nn.Module):
    """Attention by sums, which calls neither of torch's functions."""

    def forward(self, x: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return (x[:, None] + x[:, :, None]).mean(-1).softmax(-1) @ x


class Twice(nn.Module):
    """Attention that is made in two calls, of which nobody has said how they are joined."""

    def forward(self, x: torch.Tensor, **kwargs: object) -> torch.Tensor:
        attend = nn.functional.scaled_dot_product_attention
        return (attend(x[:, None], x[:, None], x[:, None]) - attend(-x[:, None], x[:, None], x[:, None]))[:, 0]


@pytest.mark.parametrize(
    ("attention", "message"), [(Added(), "a way of its own"), (Twice(), "attends 2 times in a layer")]
)
def test_attention_that_cannot_be_read_is_never_shown(attention: nn.Module, message: str) -> None:
    network = load(CustomModel(attention))
    with pytest.raises(NetworkError, match=message):
        trace(network, pictures())
    assert trace(network, pictures(), layers=0)[1].attention[0].shape == (2, 3, 1, 16)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())


def test_a_subclass_with_attention_of_its_own_is_heard_as_it_attends() -> None:
    class Backwards(timm.layers.Attention):
        def forward(self, x: torch.Tensor, **kwargs: object) -> torch.Tensor:
            return super().forward(x.flip(1), **kwargs).flip(1)

    network = load(CustomModel(Backwards(48, 3)))
    wake_timm(network.module, pictures())
    _, right = written_out(network.module, pictures())
    _, traced = trace(network, pictures(), queries="all")
    assert error(traced.attention[1], right[1]) <= 1e-5


def test_a_layer_that_does_not_run_is_an_error_not_an_empty_map() -> None:
    network = small()
    network.module.blocks[1].forward = lambda x, **kwargs: x
    with pytest.raises(NetworkError, match=r"ran without its attention in layers \[1\]"):
        trace(network, pictures())


def test_only_the_rows_that_are_asked_for_are_ever_made(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    weights = AttentionCall.weights

    def count(call: AttentionCall, rows: torch.Tensor | None = None, heads: torch.Tensor | None = None) -> torch.Tensor:
        traced = weights(call, rows, heads)
        sizes.append(traced.numel())
        return traced

    monkeypatch.setattr(AttentionCall, "weights", count)
    monkeypatch.setattr("regard.networks.attention.trace._AT_ONCE", 4)
    trace(network, pictures(), layers="all")
    assert sizes == [2 * 3 * 1 * 16] * 2
    sizes.clear()
    averaged = small(global_pool="avg")
    _, right = written_out(averaged.module, pictures())
    _, traced = trace(averaged, pictures(), queries="pool")
    assert max(sizes) == 2 * 3 * 4 * 16
    assert error(traced.attention[1], right[1][:, :, 1:].mean(dim=2, keepdim=True)) <= 1e-5


def test_parts_have_names(network: Network) -> None:
    with pytest.raises(UsageError, match=r"unknown parts \['norm'\].*norms, inputs, queries, keys, values"):
        trace(network, pictures(), also=["norm"])
    _, traced = trace(network, pictures(), layers=1, also=["norms", "keys"])
    assert (list(traced.norms), list(traced.inputs), list(traced.parts)) == ([1], [], ["keys"])


def test_networks_in_float64_are_traced_in_it(network: Network) -> None:
    double = copy.deepcopy(network)
    double.module.double()
    _, traced = trace(double, pictures().double(), queries="all")
    assert traced.attention[1].dtype == torch.float64
    assert torch.allclose(traced.attention[1].sum(-1), torch.ones(2, 3, 16, dtype=torch.float64), atol=1e-14)


def test_dynamic_sizes_have_their_own_grid() -> None:
    network = small(dynamic_img_size=True, size=(48, 48))
    x = pictures(1, (32, 64))
    _, right = written_out(network.module, x)
    _, traced = trace(network, x, layers="all", queries="all")
    assert (traced.rows, traced.columns) == (2, 4)
    assert error(traced.attention[1], right[1]) <= 1e-5
