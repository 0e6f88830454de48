"""A module that regard does not know: its attention is found by its patch grid, and is what it computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from woken import error

import regard
from regard.errors import NetworkError, UsageError
from regard.explanation import METHODS
from regard.networks.attention.trace import trace
from regard.networks.load import load

SIZE, GRID = (32, 48), (2, 3)


class Looks(nn.Module):
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
        self.norm, self.looks, self.mlp = nn.LayerNorm(24), attention, nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        if isinstance(self.looks, nn.MultiheadAttention):
            x = x + self.looks(normed, normed, normed, need_weights=False)[0]
        else:
            x = x + self.looks(normed)
        return x + F.gelu(self.mlp(x))


class Own(nn.Module):
    """A classifier that no library has."""

    def __init__(self, kind: str, tokens: int, patches: int) -> None:
        super().__init__()
        make = Looks if kind == "own" else lambda: nn.MultiheadAttention(24, 2, batch_first=True)
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


def own(kind: str = "own", tokens: int = 1, patches: int = 6) -> Own:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Own(kind, tokens, patches).eval()


def pictures() -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("kind", "tokens"), [("own", 1), ("own", 3), ("own", 0), ("multi-head", 1)])
def test_its_layers_are_found(kind: str, tokens: int) -> None:
    network = load(own(kind, tokens), size=SIZE, grid=GRID)
    anatomy = network.anatomy
    assert anatomy.attentions == tuple(f"steps.{layer}.looks" for layer in range(3))
    assert anatomy.blocks == ("steps.0", "steps.1", "steps.2")
    assert (anatomy.prefix, anatomy.cls, anatomy.patch) == (tokens, tokens > 0, (16, 16))
    assert anatomy.reads == ("cls" if tokens else "patches")
    assert any("3 layers that attend to 2 × 3 patches" in message for message in network.messages)


def test_what_is_shown_is_what_it_computes() -> None:
    module, x = own(), pictures()
    network = load(module, size=SIZE, grid=GRID)
    seen: list[Tensor] = []
    hooks = [step.looks.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0])) for step in module.steps]
    with torch.no_grad():
        right = module(x)
    for hook in hooks:
        hook.remove()
    logits, found = trace(network, x, layers="all", queries="all")
    assert error(logits, right) <= 1e-5
    for layer, step in enumerate(module.steps):
        q, k, _ = step.looks.queries(seen[layer].double().float())
        written = (q @ k.transpose(-2, -1) / 12**0.5).softmax(-1).detach()
        assert written.max() > 0.3  # awake
        assert error(found.attention[layer], written) <= 1e-5


@pytest.mark.parametrize("method", [row.name for row in METHODS if row.kind == "picture"])
def test_every_method_works_there(method: str) -> None:
    network = load(own(), size=SIZE, grid=GRID)
    maps = METHODS.load(method)(network, pictures()).values
    assert maps.shape == (2, 2, 3)
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
    result = regard.explain(tmp_path / "a.png", model=own(patches=196), grid=(14, 14), workers=0)
    assert result.explanation.maps.shape == (1, 14, 14)


def test_a_grid_that_is_not_the_networks_is_refused() -> None:
    with pytest.raises(UsageError, match="5 × 3 patches does not divide pictures of 32 × 48"):
        load(own(), size=SIZE, grid=(5, 3))
    with pytest.raises(UsageError, match="leave it out for a named network"):
        load("pets-tiny", grid=(14, 14))
    known = load("random:vit_tiny_patch16_224", size=SIZE, arguments={"depth": 1, "embed_dim": 24, "num_heads": 2})
    with pytest.raises(UsageError, match="has a grid of 2 × 3 patches, not of 1 × 1"):
        load(known.module, grid=(1, 1))
    assert load(known.module, grid=GRID).anatomy == known.anatomy
    with pytest.raises(NetworkError, match="does not take pictures of 48 × 48"):
        load(own(), size=(48, 48), grid=(3, 3))
