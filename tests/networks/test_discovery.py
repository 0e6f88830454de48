"""A module that regard does not know: its attention is found by its patch grid, and is what it computes."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from woken import error

import regard
from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.explanation import METHODS
from regard.networks.attention.trace import trace
from regard.networks.load import load

SIZE, GRID = (32, 48), (2, 3)


class CustomAttention(nn.Module):
    """Attention as nobody's library has it: one matrix for all, a gate, fused."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed = nn.Linear(24, 72)
        self.out = nn.Linear(24, 24)

    def queries(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.unflatten(-1, (2, 12)).transpose(1, 2) for each in (3 * self.mixed(x)).chunk(3, dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.queries(x)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Step(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm, self.attend, self.mlp = nn.LayerNorm(24), attention, nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        if isinstance(self.attend, nn.MultiheadAttention):
            x = x + self.attend(normed, normed, normed, need_weights=False)[0]
        else:
            x = x + self.attend(normed)
        return x + F.gelu(self.mlp(x))


class CustomModel(nn.Module):
    """A classifier that no library has."""

    def __init__(self, kind: str, tokens: int, patches: int) -> None:
        super().__init__()
        make = CustomAttention if kind == "custom" else lambda: nn.MultiheadAttention(24, 2, batch_first=True)
        self.cut = nn.Conv2d(3, 24, 16, 16)
        self.first = nn.Parameter(torch.randn(1, tokens, 24))
        self.place = nn.Parameter(torch.randn(1, tokens + patches, 24))
        self.steps = nn.ModuleList(Step(make()) for _ in range(3))
        self.last = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1) + self.place
        for step in self.steps:
            x = step(x)
        return self.last(x[:, 0] if self.first.shape[1] else x.mean(dim=1))


def custom(kind: str = "custom", tokens: int = 1, patches: int = 6) -> CustomModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CustomModel(kind, tokens, patches).eval()


def pictures() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "tokens"), [("custom", 1), ("custom", 3), ("custom", 0), ("multi-head", 1)])
def test_its_layers_are_found(kind: str, tokens: int) -> None:
    network = load(custom(kind, tokens), size=SIZE, grid=GRID)
    anatomy = network.anatomy
    assert anatomy.attentions == tuple(f"steps.{layer}.attend" for layer in range(3))
    assert anatomy.blocks == ("steps.0", "steps.1", "steps.2")
    assert (anatomy.prefix, anatomy.cls, anatomy.patch) == (tokens, tokens > 0, (16, 16))
    assert anatomy.reads == ("cls" if tokens else "patches")
    assert any("3 layers that attend to 2 × 3 patches" in message for message in network.messages)


def test_what_is_shown_is_what_it_computes() -> None:
    module, x = custom(), pictures()
    network = load(module, size=SIZE, grid=GRID)
    recorded: list[Tensor] = []
    hooks = [
        step.attend.register_forward_pre_hook(lambda part, inputs: recorded.append(inputs[0])) for step in module.steps
    ]
    with torch.no_grad():
        right = module(x)
    for hook in hooks:
        hook.remove()
    logits, traced = trace(network, x, layers="all", queries="all")
    assert error(logits, right) <= 1e-5
    for layer, step in enumerate(module.steps):
        q, k, _ = step.attend.queries(recorded[layer].double().float())
        weights = (q @ k.transpose(-2, -1) / 12**0.5).softmax(-1).detach()
        assert weights.max() > 0.3  # awake
        assert error(traced.attention[layer], weights) <= 1e-5


@pytest.mark.parametrize("method", [row.name for row in METHODS if row.kind == "picture"])
def test_every_method_works_there(method: str) -> None:
    network = load(custom(), size=SIZE, grid=GRID)
    maps = METHODS.load(method)(network, pictures()).values
    assert maps.shape == ((2, *SIZE) if method == "dave" else (2, 2, 3))  # it has a value a pixel
    assert np.isfinite(maps).all()


def test_a_module_without_attention_has_the_grid_alone() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    network = load(plain, size=SIZE, grid=(4, 6))
    assert network.anatomy.attentions == ()
    assert METHODS.load("occlusion")(network, pictures()).values.shape == (2, 4, 6)
    with pytest.raises(NetworkError, match="no attention"):
        trace(network, pictures())


def test_from_python_with_pictures(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    result = regard.explain(tmp_path / "a.png", model=custom(patches=196), grid=(14, 14), workers=0)
    assert result.explanation.maps.shape == (1, 14, 14)


def test_a_grid_that_is_not_the_networks_is_refused() -> None:
    with pytest.raises(UsageError, match="5 × 3 patches does not divide pictures of 32 × 48"):
        load(custom(), size=SIZE, grid=(5, 3))
    assert load("pets-tiny", grid=(14, 14)).anatomy == load("pets-tiny").anatomy
    with pytest.raises(UsageError, match="has a grid of 14 × 14 patches, not of 7 × 7; leave grid out"):
        load("pets-tiny", grid=(7, 7))
    network = load("random:vit_tiny_patch16_224", size=SIZE, arguments={"depth": 1, "embed_dim": 24, "num_heads": 2})
    with pytest.raises(UsageError, match="has a grid of 2 × 3 patches, not of 1 × 1"):
        load(network.module, grid=(1, 1))
    assert load(network.module, grid=GRID).anatomy == network.anatomy
    with pytest.raises(NetworkError, match="does not take pictures of 48 × 48"):
        load(custom(), size=(48, 48), grid=(3, 3))


# A module that holds a network of a known family: nothing of it need be named.


class Wrapper(nn.Module):
    """A network of timm inside somebody's classifier, which normalises by itself and reads as `read` says."""

    def __init__(self, read: str, name: str = "vit_tiny_patch16_224", gradients: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.backbone = timm.create_model(name, img_size=SIZE, depth=2, embed_dim=24, num_heads=2, num_classes=0)
            self.classifier = nn.Linear(24, 4)
        self.read = read
        self.gradients = gradients

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) / 0.25
        with nullcontext() if self.gradients else torch.no_grad():
            if self.read == "pooled":
                return self.classifier(self.backbone(x))
            if self.read == "two":
                return self.classifier(self.backbone(x) + self.backbone(x.flip(-1)))
            tokens = self.backbone.forward_features(x)
        return self.classifier(tokens[:, 1:].mean(dim=1) if self.read == "patches" else tokens[:, 0])


@pytest.mark.parametrize(("read", "reads"), [("pooled", "cls"), ("cls", "cls"), ("patches", "patches")])
def test_a_network_inside_a_wrapper_is_known(read: str, reads: str) -> None:
    module = Wrapper(read)
    network = load(module, classes=["a", "b", "c", "d"], preparation=Preparation(*SIZE))
    inside = load(module.backbone).anatomy
    assert network.module is module
    assert network.classes == ("a", "b", "c", "d")
    assert network.preparation == Preparation(*SIZE)
    assert network.anatomy.attentions == ("backbone.blocks.0.attn", "backbone.blocks.1.attn")
    assert network.anatomy.blocks == ("backbone.blocks.0", "backbone.blocks.1")
    assert network.anatomy.grid(*SIZE) == inside.grid(*SIZE) == GRID
    assert (network.anatomy.reads, network.anatomy.prefix) == (reads, 1)
    assert network.head_path() == "classifier"
    assert torch.equal(network.positions(), load(module.backbone).positions())
    logits, traced = trace(network, pictures(), layers="all", queries="all")
    _, direct = trace(load(module.backbone), (pictures() - 0.5) / 0.25, layers="all", queries="all")
    assert torch.equal(logits, network.logits(pictures()))
    for layer in (0, 1):
        assert torch.equal(traced.attention[layer], direct.attention[layer])


def test_a_wrapper_without_gradients_inside_is_read_as_its_network_declares() -> None:
    assert load(Wrapper("patches", gradients=False), size=SIZE).anatomy.reads == "cls"
    assert load(Wrapper("pooled", gradients=False), size=SIZE).anatomy.attentions


@pytest.mark.parametrize("method", ["gradcam", "legrad", "grad_attention", "libra_fullgrad", "input_x_gradient"])
def test_methods_by_gradient_say_so_where_gradients_do_not_get_through(method: str) -> None:
    network = load(Wrapper("cls", gradients=False), size=SIZE)
    with pytest.raises(NetworkError, match=r"gradients do not get through .*torch\.no_grad"):
        METHODS.load(method)(network, pictures())


def test_a_pooling_that_the_wrapper_leaves_out_is_no_layer() -> None:
    pooled = load(Wrapper("pooled", "vit_base_patch16_siglip_224"), size=SIZE).anatomy
    assert (len(pooled.attentions), pooled.readers, pooled.reads) == (3, 1, "pool")
    cut = load(Wrapper("cls", "vit_base_patch16_siglip_224"), size=SIZE).anatomy
    assert (len(cut.attentions), cut.readers, cut.reads) == (2, 0, "patches")


def test_a_network_that_gets_two_pictures_is_not_guessed_at() -> None:
    network = load(Wrapper("two"), size=SIZE)
    assert network.anatomy.attentions == ()
    assert "is not known" in network.messages[-1]


def test_a_wrapper_of_another_size_or_of_two_networks_is_not_guessed_at() -> None:
    class Larger(Wrapper):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.avg_pool2d(x, 2))

    assert load(Larger("cls"), size=(64, 96)).anatomy.attentions == ()
    both = nn.Sequential(Wrapper("pooled"), nn.Linear(4, 4))
    both.second = Wrapper("pooled")
    assert load(both, size=SIZE).anatomy.attentions == ()


def test_its_pictures_are_prepared_as_the_network_inside_declares_and_said_so() -> None:
    module = Wrapper("pooled")
    network = load(module)
    assert network.preparation == load(module.backbone).preparation
    assert any("prepared as for backbone (VisionTransformer)" in message for message in network.messages)


@pytest.mark.parametrize("method", ["rollout", "gradcam", "legrad", "libra_fullgrad"])
def test_methods_work_in_a_wrapper(method: str) -> None:
    module = Wrapper("patches")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    maps = METHODS.load(method)(load(module, size=SIZE), pictures()).values
    assert maps.shape == (2, *GRID)
    assert np.isfinite(maps).all()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(weight.requires_grad for weight in module.parameters())
    assert not module.backbone.blocks[-1]._forward_hooks
