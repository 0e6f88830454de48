"""The trace against written-out attention, on networks that are awake."""

import copy
import math

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from regard.errors import NetworkError, UsageError
from regard.networks.load import Network, load
from regard.networks.trace import trace
from woken import error, is_awake, wake, wake_timm, written_out

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


@pytest.mark.parametrize(
    ("name", "arguments", "prefix"),
    [
        ("vit_tiny_patch16_224", {}, 1),
        ("vit_tiny_patch16_224", {"qk_norm": True, "qkv_bias": False}, 1),
        ("vit_base_patch14_reg4_dinov2", {"patch_size": 16, "init_values": 1.0}, 5),
        ("deit3_small_patch16_224", {"init_values": 1.0}, 1),
        ("deit_tiny_distilled_patch16_224", {}, 2),
        ("vit_base_patch16_siglip_224", {}, 0),
        ("vit_small_patch16_36x1_224", {"init_values": 1.0}, 1),
    ],
)
def test_trace_equals_written_out_attention(name: str, arguments: dict, prefix: int) -> None:
    network, x = small(name, **arguments), pictures()
    right_logits, right = written_out(network.module, x)
    assert is_awake(right)
    logits, found = trace(network, x, layers="all", queries="all")
    assert error(logits, right_logits) <= 1e-5
    assert (found.prefix, found.rows, found.columns) == (prefix, 3, 5)
    assert list(found.attention) == list(range(len(right)))
    for layer, rows in enumerate(right):
        assert found.attention[layer].shape == rows.shape == (2, 3, prefix + 15, prefix + 15)
        assert error(found.attention[layer], rows) <= 1e-5


def test_rows_are_those_asked_for_in_that_order(network: Network) -> None:
    x = pictures()
    _, right = written_out(network.module, x)
    _, found = trace(network, x, layers=[1, 0], heads=[2, 0], queries=[(2, 4), (0, 1)])
    assert list(found.attention) == [1, 0]
    assert (found.heads, found.queries) == ((2, 0), (1 + 2 * 5 + 4, 2))
    for layer in (0, 1):
        assert error(found.attention[layer], right[layer][:, [2, 0]][:, :, [15, 2]]) <= 1e-5
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


def test_torchvision_equals_its_own_weights() -> None:
    module = VisionTransformer(48, 16, 2, 3, 48, 96, num_classes=5).eval()
    x, parts = pictures(2, (48, 48)), [layer.self_attention for layer in module.encoder.layers]

    def own_weights() -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []

        def asks(part: nn.Module, args: tuple, kwargs: dict) -> None:
            x = args[0]
            seen.append(nn.MultiheadAttention.forward(part, x, x, x, need_weights=True, average_attn_weights=False)[1])

        hooks = [part.register_forward_pre_hook(asks, with_kwargs=True) for part in parts]
        module(x)
        for hook in hooks:
            hook.remove()
        return seen

    with torch.no_grad():
        wake(module, [part.in_proj_weight.detach()[:96] for part in parts], own_weights)
        right, logits = own_weights(), module(x)
    assert is_awake(right)
    came, found = trace(load(module), x, layers="all", queries="all")
    assert error(came, logits) <= 1e-5
    for layer in (0, 1):
        assert error(found.attention[layer], right[layer]) <= 1e-5


@pytest.mark.parametrize(("kind", "prefix"), [("ViT", 1), ("DeiT", 2), ("Dinov2", 1)])
def test_hugging_face_equals_its_eager_attentions(kind: str, prefix: int) -> None:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        image_size=48, patch_size=16, hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96
    )
    config.num_labels, config.layerscale_value = 5, 1.0
    module = getattr(transformers, f"{kind}ForImageClassification")(config).eval()
    x, twin = pictures(2, (48, 48)), None

    def eager() -> list[torch.Tensor]:
        return list(module(x, output_attentions=True).attentions)

    module.set_attn_implementation("eager")
    queries_keys = [value for name, value in module.named_parameters() if "q_proj.w" in name or "k_proj.w" in name]
    with torch.no_grad():
        wake(module, queries_keys, eager)
        right, twin = eager(), module(x).logits
    assert is_awake(right)
    module.set_attn_implementation("sdpa")
    came, found = trace(load(module), x, layers="all", queries="all")
    assert found.prefix == prefix
    assert error(came, twin) <= 1e-5
    for layer in (0, 1):
        assert error(found.attention[layer], right[layer]) <= 1e-5


def state(module: nn.Module) -> list[tuple]:
    """All that a guest could leave behind."""
    return [
        (
            part.training,
            dict(part._forward_hooks),
            dict(part._forward_pre_hooks),
            dict(part._backward_hooks),
            getattr(part, "fused_attn", None),
            "forward" in vars(part),
            [(p.requires_grad, p.grad, p.dtype, p.device) for p in part.parameters(recurse=False)],
        )
        for part in module.modules()
    ]


def test_the_network_is_left_as_found_after_an_exception_too() -> None:
    network, x = copy.deepcopy(WOKEN), pictures()
    module = network.module
    module.train()
    module.blocks[0].eval()
    module.head.weight.requires_grad_(False)
    hook = module.blocks[1].register_forward_hook(lambda *_: None)
    before, weights = state(module), copy.deepcopy(module.state_dict())
    trace(network, x, layers="all")
    network.features(x)
    assert state(module) == before

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    hook.remove()
    last = module.norm.register_forward_hook(fail)
    before = state(module)
    for guest in (lambda: trace(network, x, layers="all"), lambda: network.features(x), lambda: network.logits(x)):
        with pytest.raises(RuntimeError, match="in the middle"):
            guest()
        assert state(module) == before
    last.remove()
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in weights.items())
    assert torch.is_grad_enabled()


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
    _, came = trace(half, x, layers=[0], queries="all")
    for rows in (came, auto):
        assert rows.attention[0].dtype == torch.float32
        assert (rows.attention[0] - right.attention[0]).abs().max() < 0.2
        assert torch.allclose(rows.attention[0].sum(-1), torch.ones(2, 3, 16), atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "said"),
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
def test_out_of_range_names_the_range(network: Network, asked: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trace(network, pictures(), **asked)


def test_a_picture_of_another_size_is_refused(network: Network) -> None:
    with pytest.raises(UsageError, match="48 × 80 pixels"):
        trace(network, pictures(1, (80, 48)))
    with pytest.raises(UsageError, match=r"\(batch, 3, height, width\)"):
        trace(network, pictures()[0])


def test_without_class_token_a_patch_must_be_named() -> None:
    network = small("vit_base_patch16_siglip_224")
    with pytest.raises(UsageError, match=r"no class token.*\(2, 4\)"):
        trace(network, pictures())
    _, found = trace(network, pictures(), queries=[(1, 1)])
    assert found.attention[1].shape == (2, 3, 1, 15)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet18", "vit_dp_medium_patch16_rope_224"])
def test_a_network_without_such_attention_says_what_works(name: str) -> None:
    if name.startswith("vit_dp") and not timm.is_model(name):
        name = "vit_base_patch16_rope_224"
    arguments = {"depths": [1, 1, 1, 1], "embed_dim": 16, "num_classes": 3} if name.startswith("swin") else {}
    if "rope" in name:
        arguments = {"depth": 1}
    network = load(f"random:{name}", arguments=arguments)
    x = torch.randn(1, 3, network.preparation.height, network.preparation.width)
    with pytest.raises(NetworkError, match="gradient or perturbation"):
        trace(network, x)
    features, logits = network.features(x)
    assert features.shape[0] == logits.shape[0] == 1
    assert math.isfinite(float(logits.sum()))


def test_dynamic_sizes_have_their_own_grid() -> None:
    network = small(dynamic_img_size=True, size=(48, 48))
    x = pictures(1, (32, 64))
    _, right = written_out(network.module, x)
    _, found = trace(network, x, layers="all", queries="all")
    assert (found.rows, found.columns) == (2, 4)
    assert error(found.attention[1], right[1]) <= 1e-5
