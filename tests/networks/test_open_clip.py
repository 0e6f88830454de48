"""Files of open_clip: their towers for pictures, against open_clip's own code on small woken networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.run import load_run, save_network

VISION = {"layers": 2, "width": 64, "head_width": 16, "patch_size": 16, "image_size": 64}
PLAIN = {"layers": 2, "width": 64, "patch_size": 16, "image_size": 64}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
CLIPA = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
X = torch.linspace(-1, 1, 2 * 3 * 64 * 64).sin().reshape(2, 3, 64, 64)


def woken(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for value in module.parameters():
        nn.init.normal_(value, std=0.2)
    return module.eval()


def clip(vision: dict[str, Any], quick: bool = False) -> Any:
    return woken(open_clip.CLIP(24, vision, TEXT, quick_gelu=quick))


def folder(path: Path, module: nn.Module, vision: dict[str, Any], quick: bool = False, **preprocess: Any) -> Path:
    """As open_clip's `push_to_hf_hub` writes it."""
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path / FILE)
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT, **({"quick_gelu": True} if quick else {})}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return path


FILE = "open_clip_model.safetensors"


def text_of(network: Network) -> str:
    return " | ".join(network.messages)


def assert_features(network: Network, module: Any, x: Tensor = X) -> None:
    """What the network gives, projected, is what open_clip has for the picture."""
    assert network.outputs == VISION["width"]
    with torch.no_grad():
        torch.testing.assert_close(network.logits(x) @ module.visual.proj, module.encode_image(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("more", [{}, {"ls_init_value": 0.1}, CLIPA, {"pool_type": "avg"}], ids=str)
def test_a_folder_gives_the_features_of_open_clip(quick: bool, more: dict[str, Any], tmp_path: Path) -> None:
    module = clip(VISION | more, quick)
    network = load(folder(tmp_path, module, VISION | more, quick))
    assert_features(network, module)
    assert network.name == tmp_path.name
    assert network.anatomy.family == "timm vision_transformer"
    for said in ("left out its projection", "logit_scale", "has no head"):
        assert said in text_of(network)
    assert "took GELU" not in text_of(network)


def test_as_a_run_and_with_a_head(tmp_path: Path) -> None:
    module = clip(VISION)
    network = load(folder(tmp_path, module, VISION))
    assert_features(load_run(save_network(network, tmp_path / "run")), module)
    headed = load(tmp_path, classes=["a", "b"])
    assert headed.outputs == 2
    assert "untrained" in text_of(headed)
    larger = load(tmp_path, size=96)
    assert larger.positions().shape[:2] == (6, 6)


@pytest.mark.parametrize("prefix", ["", "module.", "model.clip."])
def test_a_file_alone_says_what_it_took(prefix: str, tmp_path: Path) -> None:
    module = clip(PLAIN)
    torch.save({"state_dict": {prefix + name: value for name, value in module.state_dict().items()}}, tmp_path / "c.pt")
    network = load(tmp_path / "c.pt")
    assert_features(network, module)
    assert "took GELU and heads of 64 values" in text_of(network)
    assert "--model vit_base_patch16_clip_quickgelu_224 --weights" in text_of(network)
    prepared = network.preparation
    assert (prepared.mode, prepared.crop, prepared.height) == ("crop", 1.0, 64)
    assert prepared.mean == open_clip.OPENAI_DATASET_MEAN
    assert prepared.std == open_clip.OPENAI_DATASET_STD


def test_the_tower_alone(tmp_path: Path) -> None:
    module = clip(PLAIN)
    torch.save(module.visual.state_dict(), tmp_path / "c.pt")
    assert_features(load(tmp_path / "c.pt"), module)


def test_open_ai_files_compute_quick_gelu(tmp_path: Path) -> None:
    """Its files are known by what stands beside the weights; others by the name that the user gives."""
    module = clip(PLAIN, quick=True)
    state = module.state_dict()
    torch.save({**state, "input_resolution": torch.tensor(64), "vocab_size": torch.tensor(64)}, tmp_path / "openai.pt")
    network = load(tmp_path / "openai.pt")
    assert_features(network, module)
    assert "took QuickGELU" in text_of(network)
    torch.save(state, tmp_path / "c.pt")
    sizes = {"img_size": 64, "embed_dim": 64, "depth": 2, "num_heads": 1}
    named = load("vit_base_patch16_clip_quickgelu_224", weights=tmp_path / "c.pt", arguments=sizes)
    assert_features(named, module)
    assert "took GELU" not in text_of(named)


def test_the_part_that_is_asked_for(tmp_path: Path) -> None:
    """Two networks in one file that is given alone."""
    module = clip(PLAIN)
    right = {f"ema.{name}": value for name, value in module.state_dict().items()}
    other = {f"student.{name}": value + 1 for name, value in module.state_dict().items()}
    torch.save({**other, **right}, tmp_path / "c.pt")
    assert_features(load(tmp_path / "c.pt"), module)
    student = load(tmp_path / "c.pt", weights_part="student")
    assert "'student.visual.'" in text_of(student)
    assert not torch.equal(student.logits(X), load(tmp_path / "c.pt").logits(X))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("test_vit", {"timm_pool": "token", "timm_proj": None}),
        ("test_vit", {"timm_pool": "avg", "timm_proj": "linear"}),
        ("test_vit", {"timm_pool": "", "timm_proj": "mlp"}),
        ("test_vit4", {"timm_pool": "map", "timm_proj": "none"}),
        ("test_convnext", {"timm_pool": "", "timm_proj": "linear"}),
    ],
)
def test_towers_of_timm(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    vision = {"timm_model_name": name, "image_size": 160, **settings}
    module: Any = woken(open_clip.CustomTextCLIP(24, vision, TEXT))
    network = load(folder(tmp_path, module, vision, resize_mode="squash", mean=[0.5] * 3, std=[0.5] * 3))
    x = torch.linspace(-1, 1, 3 * 160 * 160).sin().reshape(1, 3, 160, 160)
    trunk = module.visual.trunk
    with torch.no_grad():
        features = trunk.forward_head(trunk.forward_features(x), pre_logits=True)
        torch.testing.assert_close(network.logits(x), features, rtol=0, atol=1e-5)
    assert (network.preparation.mode, network.preparation.mean) == ("squash", (0.5, 0.5, 0.5))
    (tmp_path / "open_clip_config.json").rename(tmp_path / "elsewhere")
    with pytest.raises(
        NetworkError, match=r"does not say which; put its open_clip_config.json beside it.*--model NAME"
    ):
        load(tmp_path / FILE)


@pytest.mark.parametrize("settings", [{}, {"resize_mode": "squash"}, {"interpolation": "bilinear"}], ids=str)
def test_pictures_are_prepared_as_open_clip_prepares_them(settings: dict[str, Any], tmp_path: Path) -> None:
    module = clip(VISION)
    network = load(folder(tmp_path, module, VISION, **settings))
    values = np.random.default_rng(0).integers(0, 256, (14, 18, 3), np.uint8)
    picture = Image.fromarray(values).resize((180, 140), Image.Resampling.BICUBIC)
    theirs = open_clip.image_transform(64, is_train=False, **settings)(picture)
    torch.testing.assert_close(network.preparation.tensor(picture), theirs, rtol=0, atol=0.03)


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    module = clip(VISION)
    folder(tmp_path, module, VISION | {"qk_norm": True})
    with pytest.raises(NetworkError, match="with qk_norm, which regard does not build; build it with open_clip"):
        load(tmp_path)
    folder(tmp_path, module, VISION | {"head_width": 48})
    with pytest.raises(NetworkError, match="width 64 with heads of 48"):
        load(tmp_path)
    folder(tmp_path, module, VISION, resize_mode="longest")
    with pytest.raises(NetworkError, match="resizes pictures by 'longest', which regard does not"):
        load(tmp_path)
    folder(tmp_path, module, VISION, mean=[1.0])
    with pytest.raises(NetworkError, match="damaged: its preprocess_cfg"):
        load(tmp_path)
    for settings in ({"head_width": 0}, {"head_width": "x"}, {"image_size": [1, 2, 3]}, {"image_size": {}}):
        folder(tmp_path, module, VISION | settings)
        with pytest.raises(NetworkError, match=r"open_clip_config.json is damaged.*; fetch it again"):
            load(tmp_path)
    for config in ("{}", '{"model_cfg": {}}', '{"model_cfg": {"vision_cfg": 3}}', "[", '{"model_cfg": 1}'):
        (tmp_path / "open_clip_config.json").write_text(config)
        with pytest.raises(NetworkError, match=r"open_clip_config.json is damaged.*; fetch it again"):
            load(tmp_path)
    pooled = open_clip.CLIP(24, VISION | {"attentional_pool": True}, TEXT)
    torch.save(pooled.state_dict(), tmp_path / "coca.pt")
    torch.save(clip(VISION | CLIPA).state_dict(), tmp_path / "clipa.pt")
    (tmp_path / "open_clip_config.json").unlink()
    with pytest.raises(NetworkError, match="with attentional_pool"):
        load(tmp_path / "coca.pt")
    with pytest.raises(NetworkError, match="without ln_pre"):
        load(tmp_path / "clipa.pt")
    (tmp_path / FILE).unlink()
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(NetworkError, match=r"has no weights: it holds none of open_clip_model.safetensors"):
        load(tmp_path)
