"""A map is a grid of this picture's input, or one line says how to give the grid; what a network cannot do is named."""

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from regard.app.cli import main
from regard.errors import NetworkError, RegardError, UsageError
from regard.explanation.pictures.relevance import layer_scale
from regard.networks.load import load
from regard.predictors.classifier import Classifier
from regard.predictors.explainer import Explainer
from regard.predictors.method_options import parse_grid

SIDE = 64
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 96, 3), dtype=np.uint8))


class Attention(nn.Module):
    """Written out, so that weights are an output: (batch, heads, tokens, tokens)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.drop = nn.Dropout(0.1)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = self.drop((q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1))
        return (weights @ v).transpose(1, 2).reshape(batch, tokens, width)


class Own(nn.Module):
    """A ViT that no table knows: a class token or the mean, 4 × 4 patches."""

    def __init__(self, cls: bool = True, heads: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 16, 16)
        self.cls = nn.Parameter(torch.randn(1, 1, 16)) if cls else None
        self.blocks = nn.ModuleList(Attention(16, heads) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x if self.cls is None else torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = x + block(norm(x))
        return self.head(x[:, 0] if self.cls is not None else x.mean(dim=1))


def convolutions(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)).eval()


def explainer(module: nn.Module, **more: Any) -> Explainer:
    return Explainer(module, size=SIDE, **more)


@pytest.mark.parametrize("module", [Own(), Own(cls=False), Own(cls=False, heads=16), Own(cls=False, heads=4)])
def test_tokens_by_tokens_are_no_map(module: nn.Module) -> None:
    with pytest.raises(
        NetworkError, match=r"no map of features that lies over the picture; give the grid .* grid=\("
    ) as caught:
        explainer(module)(PICTURE, "gradcam")
    assert "\n" not in str(caught.value)
    with pytest.raises(NetworkError, match=r"no attention .*; give the grid .*--grid ROWS,COLUMNS"):
        explainer(module)(PICTURE, "attention")


@pytest.mark.parametrize("cls", [True, False])
def test_with_its_grid_gradcam_is_of_the_last_tokens_that_count(cls: bool) -> None:
    torch.manual_seed(0)
    module = Own(cls=cls).eval()
    maps = explainer(module, grid=(4, 4))(PICTURE, "gradcam", target=1).maps
    assert maps.shape == (1, 4, 4)
    assert maps.any()
    if cls:  # the norm before the last attention: its tokens are the last on which the class depends
        return
    x = load(module, size=SIDE).preparation.tensor(PICTURE)[None]
    tokens = []
    hook = module.blocks[-1].register_forward_hook(lambda part, inputs, output: tokens.append(output))
    (gradient,) = torch.autograd.grad(module(x)[0, 1], tokens)
    hook.remove()
    expected = (tokens[0] * gradient.mean(dim=1, keepdim=True)).sum(dim=-1).clamp(min=0).view(4, 4)
    assert np.allclose(maps[0], expected.detach(), atol=1e-6)


def test_a_grid_that_is_not_the_networks_is_refused() -> None:
    with pytest.raises(NetworkError, match="no tokens of 8 × 8 patches"):
        explainer(Own(), grid=(8, 8))(PICTURE, "gradcam")
    with pytest.raises(UsageError, match="does not divide"):
        explainer(Own(), grid=(5, 5))


@pytest.mark.parametrize(("size", "shape"), [((64, 64), (16, 16)), ((64, 96), (16, 24)), ((40, 104), (10, 26))])
def test_maps_of_convolutions_are_still_found(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert Explainer(convolutions(), size=size)(PICTURE, "gradcam").maps[0].shape == shape


def test_width_last_is_found_too() -> None:
    module = timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2, depths=(1, 1, 1, 1))
    assert Explainer(module)(PICTURE, "gradcam").maps[0].shape == (2, 2)


def test_an_own_class_around_a_known_network_has_its_grid() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2, img_size=SIDE)
            self.fc = nn.Linear(192, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.backbone(x))

    assert Explainer(Net())(PICTURE, "gradcam").maps.shape == (1, 4, 4)


def test_a_map_of_zeros_is_said(caplog: pytest.LogCaptureFixture) -> None:
    module = convolutions()
    with torch.no_grad():
        module[-1].weight.zero_()
    with caplog.at_level(logging.INFO, "regard"):
        assert not explainer(module)(PICTURE, "gradcam").maps.any()
    assert "is zero everywhere: gradcam finds nothing there" in caplog.text


@pytest.mark.parametrize("text", ["4", "4,x", "0,4", "4,4,4", ""])
def test_a_grid_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="it must be ROWS,COLUMNS"):
        parse_grid(text)
    assert parse_grid("4,14") == (4, 14)


def test_the_grid_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PICTURE.save(tmp_path / "p.png")
    words = ["explain", str(tmp_path / "p.png"), "--model", "random:mixer_s32_224", "--method", "gradcam"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 1
    assert "--grid ROWS,COLUMNS" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "b"), "--grid", "7,7"]) == 0
    assert np.load(tmp_path / "b" / "maps.npy").shape == (1, 7, 7)
    assert main([*words, "--out", str(tmp_path / "c"), "--grid", "7"]) == 2


# One channel, inference mode, TorchScript, whole numbers


def test_grey_networks_do_all_that_others_do() -> None:
    module = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=SIDE, in_chans=1, num_classes=3)
    explain = Explainer(module)
    for method in ("attention", "gradcam", "occlusion", "input_x_gradient", "edges", "random", "legrad", "transition"):
        assert explain(PICTURE, method).maps.shape == (1, 4, 4)
    grey = Explainer(convolutions(1), size=SIDE)
    assert grey(PICTURE, "gradcam").maps.shape == (1, 16, 16)
    assert explain(torch.zeros(1, SIDE, SIDE), "attention", prepared=True).overlay().size == (SIDE, SIDE)


def test_weights_of_inference_mode_have_gradients() -> None:
    with torch.inference_mode():
        module = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=SIDE, num_classes=3)
        within = Explainer(module)(PICTURE, "legrad").maps
    assert np.allclose(within, Explainer(module)(PICTURE, "legrad").maps, atol=1e-6)
    assert next(module.parameters()).is_inference()


def compiled() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.trace(convolutions(), torch.zeros(1, 3, SIDE, SIDE))


def quantised() -> nn.Module:
    module = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=SIDE, num_classes=3).eval()
    with warnings.catch_warnings(action="ignore"):
        return torch.ao.quantization.quantize_dynamic(module, {nn.Linear})


@pytest.mark.parametrize("make", [compiled, quantised])
def test_compiled_and_quantised_networks_predict_and_are_explained_by_what_needs_no_parts(make: Any) -> None:
    module = make()
    assert Classifier(module, size=SIDE)(PICTURE).probabilities.shape == (1, 3)
    explain = explainer(module)
    for method in ("occlusion", "random", "centre", "edges"):
        assert explain(PICTURE, method).maps.shape == (1, 4, 4)
    name = "TorchScript" if make is compiled else "quantised"
    for method in ("gradcam", "legrad", "grad_attention"):
        with pytest.raises(RegardError, match=name) as caught:
            explain(PICTURE, method)
        assert "\n" not in str(caught.value)


def test_weights_in_whole_numbers_have_a_hash_that_tells_them_apart() -> None:
    torch.manual_seed(0)
    one = load(quantised()).weights_hash()
    torch.manual_seed(0)
    assert load(quantised()).weights_hash() == one
    torch.manual_seed(1)
    assert load(quantised()).weights_hash() != one


def test_what_a_module_raises_is_one_line() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(7, 3))
    with pytest.raises(NetworkError, match=r"Sequential\) cannot compute pictures \(1, 3, 64, 64\)") as caught:
        explainer(module)(PICTURE, "occlusion")
    assert "\n" not in str(caught.value)


# Claims


def test_a_block_that_adds_nothing_does_not_move_the_map_of_transition() -> None:
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", depth=4, img_size=SIDE, num_classes=3, init_values=1.0).eval()
    with torch.no_grad():
        module.blocks[2].ls1.gamma.zero_()
    network = load(module)
    assert layer_scale(network, 2) is module.blocks[2].ls1.gamma or not layer_scale(network, 2).any()
    before = Explainer(module)(PICTURE, "transition", start=2, steps=2).maps
    with torch.no_grad():
        module.blocks[2].attn.qkv.weight.mul_(3)
    assert np.allclose(before, Explainer(module)(PICTURE, "transition", start=2, steps=2).maps, atol=1e-7)


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "cait_xxs24_224", "vit_base_patch14_dinov2"])
def test_layer_scale_is_found_by_its_names(name: str) -> None:
    depth = {"depth": 1, "embed_dim": 48, "num_heads": 3, "init_values": 0.5}
    network = load(timm.create_model(name, img_size=56 if "dino" in name else 64, num_classes=3, **depth))
    assert torch.equal(layer_scale(network, 0), torch.full((48,), 0.5))


def test_how_far_sums_of_integrated_gradients_are_off_is_said(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    module = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=SIDE, num_classes=3)
    with caplog.at_level(logging.INFO, "regard"):
        Explainer(module)(PICTURE, "integrated_gradients", steps=1)
    assert "with 1 steps the maps' sums are off by" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "regard"):
        Explainer(module)(PICTURE, "integrated_gradients", steps=200)
    assert "sums are off" not in caplog.text
