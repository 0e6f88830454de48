"""pytorch_pretrained_vit's checkpoints: the converted network must compute what the original package computes."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from pytorch_pretrained_vit import ViT
from pytorch_pretrained_vit import model as original
from pytorch_pretrained_vit.configs import PRETRAINED_MODELS
from safetensors.torch import save_file
from torch import Tensor, nn
from woken import error, is_awake, wake

from regard.errors import NetworkError
from regard.networks.attention.trace import trace
from regard.networks.load import load
from regard.networks.run import load_run, save_network
from regard.networks.sources.checkpoint import Checkpoint, read_checkpoint
from regard.networks.sources.foreign import recognise


def make(
    monkeypatch: pytest.MonkeyPatch, depth: int = 2, patch: int = 16, size: int = 64, outputs: int = 5, width: int = 128
) -> nn.Module:
    """A small network of the package, whose `name=None` path asks for a name that it forgot to define."""
    monkeypatch.setattr(original, "resize_positional_embedding", False, raising=False)
    return ViT(
        patches=patch, dim=width, ff_dim=2 * width, num_heads=width // 64, num_layers=depth, image_size=size,
        num_classes=outputs,
    )  # fmt: skip


def awake(module: nn.Module, x: Tensor) -> nn.Module:
    module.eval()

    def scores() -> list[Tensor]:
        module(x)
        return [block.attn.scores for block in module.transformer.blocks]

    weights = [value for name, value in module.named_parameters() if "proj_q.w" in name or "proj_k.w" in name]
    return wake(module, weights, scores)


def pictures(size: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(2))


def assert_parity(module: nn.Module, file: Path, x: Tensor) -> None:
    """Logits and last-layer attention, relative error ≤ 1e-5."""
    torch.save(module.state_dict(), file)
    with torch.no_grad():
        right = module(x)
    scores = module.transformer.blocks[-1].attn.scores
    assert is_awake([scores])
    network = load(file)
    logits, traced = trace(network, x, queries="all")
    assert logits.shape == right.shape
    assert error(logits, right) <= 1e-5
    assert error(traced.attention[len(module.transformer.blocks) - 1], scores) <= 1e-5
    prepared = network.preparation
    assert (prepared.height, prepared.width, prepared.mode) == (x.shape[2], x.shape[3], "squash")
    assert prepared.mean == prepared.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("outputs", "depth"), [(37, 12), (1000, 1)])
def test_b16_imagenet1k_at_384(outputs: int, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problem 1's network, once in full depth."""
    monkeypatch.setitem(PRETRAINED_MODELS["B_16_imagenet1k"]["config"], "num_layers", depth)
    x = pictures(384)
    module = awake(ViT("B_16_imagenet1k", num_classes=outputs), x)
    assert_parity(module, tmp_path / "vit.pth", x)


@pytest.mark.parametrize(
    "name", ["B_16", "B_32", "L_16", "L_32", "B_32_imagenet1k", "L_16_imagenet1k", "L_32_imagenet1k"]
)
def test_every_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of each, in its own width, heads and patches, with the outputs of ImageNet-1k."""
    monkeypatch.setitem(PRETRAINED_MODELS[name]["config"], "num_layers", 1)
    x = pictures(96)
    module = awake(ViT(name, num_classes=1000, image_size=96), x)
    assert_parity(module, tmp_path / "vit.pth", x)


def test_small_networks_round_trip_as_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = pictures(64, batch=2)
    assert_parity(awake(make(monkeypatch), x), tmp_path / "vit.pth", x)
    network = load(tmp_path / "vit.pth", classes=["a", "b", "c", "d", "e"])
    again = load_run(save_network(network, tmp_path / "run"))
    assert torch.equal(again.logits(x), network.logits(x))
    assert again.classes == ("a", "b", "c", "d", "e")


def test_wrappers_prefixes_and_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = make(monkeypatch)
    tensors = {f"module.model.{name}": value.half() for name, value in module.state_dict().items()}
    torch.save({"epoch": 3, "model_state": tensors}, tmp_path / "vit.pth")
    network = load(tmp_path / "vit.pth")
    text = " | ".join(network.messages)
    for part in ("'model_state'", "'module.'", "'model.'", "float16", "pytorch_pretrained_vit"):
        assert part in text
    assert network.outputs == 5


def test_another_head_is_replaced_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(make(monkeypatch).state_dict(), tmp_path / "vit.pth")
    network = load(tmp_path / "vit.pth", classes=7)
    assert network.outputs == 7
    assert any("head of 5 outputs by a new one of 7" in message for message in network.messages)


def test_positions_are_interpolated_only_when_size_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(make(monkeypatch).state_dict(), tmp_path / "vit.pth")
    network = load(tmp_path / "vit.pth", size=(96, 64))
    assert network.positions().shape == (6, 4, 128)
    assert any("from 4 × 4 to 6 × 4 patches" in message for message in network.messages)
    assert network.logits(torch.zeros(1, 3, 96, 64)).shape == (1, 5)
    same = load(tmp_path / "vit.pth", size=64)
    assert not any("interpolated" in message for message in same.messages)


def with_representation(module: nn.Module, width: int = 128) -> OrderedDict[str, Tensor]:
    """The state dict plus pre_logits.*, as in a file whose network has no such layer."""
    tensors = module.state_dict()
    tensors["pre_logits.weight"], tensors["pre_logits.bias"] = torch.randn(width, width), torch.zeros(width)
    return tensors


def test_an_unused_representation_layer_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = awake(make(monkeypatch), pictures(64)), pictures(64)
    torch.save(with_representation(module), tmp_path / "vit.pth")
    network = load(tmp_path / "vit.pth")
    assert any("dropped pre_logits.weight and pre_logits.bias" in message for message in network.messages)
    with torch.no_grad():
        assert error(network.logits(x), module(x)) <= 1e-5


def test_a_representation_layer_goes_with_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(dict(with_representation(make(monkeypatch))), tmp_path / "vit.safetensors")
    network = load(tmp_path / "vit.safetensors", classes=37)
    assert any("dropped pre_logits" in message for message in network.messages)
    with pytest.raises(NetworkError, match=r"representation layer \(pre_logits"):
        load(tmp_path / "vit.safetensors")
    with pytest.raises(NetworkError, match="representation layer"):
        load(tmp_path / "vit.safetensors", classes=5)


def test_a_representation_layer_in_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRETRAINED_MODELS["B_32"]["config"], "num_layers", 1)
    module = ViT("B_32", load_repr_layer=True, image_size=64, num_classes=37)
    torch.save(module.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(NetworkError, match="representation layer"):
        load(tmp_path / "vit.pth")
    assert load(tmp_path / "vit.pth", classes=5).outputs == 5


def test_a_21k_head_needs_its_representation_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(with_representation(make(monkeypatch, outputs=21843)), tmp_path / "vit.pth")
    with pytest.raises(NetworkError, match="representation layer"):
        load(tmp_path / "vit.pth")


def test_a_representation_of_another_width_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = with_representation(make(monkeypatch))
    tensors["norm.weight"] = tensors["norm.bias"] = torch.zeros(64)
    tensors["fc.weight"] = torch.zeros(5, 64)
    torch.save(tensors, tmp_path / "vit.pth")
    with pytest.raises(NetworkError):
        load(tmp_path / "vit.pth", classes=3)


def test_missing_extra_and_misshapen_keys_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = make(monkeypatch).state_dict()
    del tensors["transformer.blocks.1.attn.proj_k.weight"]
    tensors["surprise"] = torch.zeros(3)
    tensors["norm.bias"] = torch.zeros(3)
    torch.save(tensors, tmp_path / "vit.pth")
    with pytest.raises(NetworkError) as caught:
        load(tmp_path / "vit.pth")
    message = str(caught.value)
    for part in ("1 missing: blocks.1.attn.qkv.weight", "surprise", "norm.bias is 3 where 128 is needed"):
        assert part in message
    assert "\n" not in message


def test_recognition_is_by_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recognised = recognise(Checkpoint(tmp_path, dict(make(monkeypatch).state_dict())))
    assert recognised is not None
    assert recognised[0].name == "pytorch_pretrained_vit"
    assert recognise(Checkpoint(tmp_path, {"cls_token": torch.zeros(1)})) is None
    torch.save({"stem.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(NetworkError, match=r"not recognised.*stem.weight.*--weights"):
        load(tmp_path / "other.pth")


def test_it_is_found_behind_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its record of modules, which tells that the representation layer is not in use."""
    module = make(monkeypatch)
    holder = nn.ModuleDict({"my_classifier": nn.ModuleDict({"trunk": module, "other": nn.Linear(3, 2)})})
    state = holder.state_dict()
    state["my_classifier.trunk.pre_logits.weight"] = torch.randn(128, 128)
    state["my_classifier.trunk.pre_logits.bias"] = torch.zeros(128)
    torch.save(state, tmp_path / "vit.pth")
    network = load(tmp_path / "vit.pth")
    with torch.no_grad():
        torch.testing.assert_close(network.logits(pictures(64)), module(pictures(64)), rtol=0, atol=1e-5)
    assert any("begin with 'my_classifier.trunk.'" in message for message in network.messages)
    assert any("my_classifier.other (2 entries" in message for message in network.messages)
    assert any(message.startswith("dropped pre_logits") for message in network.messages)


def test_the_module_record_survives_a_safe_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(make(monkeypatch).state_dict(), tmp_path / "vit.pth")
    modules = read_checkpoint(tmp_path / "vit.pth").modules
    assert modules is not None
    assert "transformer.blocks.0.attn" in modules
