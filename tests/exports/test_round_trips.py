"""Folders for timm and transformers: what those libraries open has the run's logits, pictures and classes, and so has
what regard opens again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from woken import error, queries_keys, wake, wake_timm

import regard
from regard.data.images.preparation import Preparation
from regard.errors import NetworkError
from regard.networks.edits import applied
from regard.networks.load import load
from regard.networks.network import Network
from regard.scenes import render, sample

CLASSES = ("cat", "dog, brown", "éléphant", "d")
PLAIN = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("vit_tiny_patch16_224", PLAIN),
    "ViT, oblong": ("vit_tiny_patch16_224", {**PLAIN, "img_size": (32, 48)}),
    "ViT, mean of patches": ("vit_tiny_patch16_224", {**PLAIN, "global_pool": "avg", "class_token": False}),
    "ViT, pooled by attention": ("vit_base_patch16_siglip_224", PLAIN),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", {**PLAIN, "init_values": 1.0}),
    "DeiT, distilled": ("deit_tiny_distilled_patch16_224", PLAIN),
    "DeiT III": ("deit3_small_patch16_224", PLAIN),
    "CLIP": ("vit_base_patch32_clip_224", PLAIN),
    "BEiT": ("beit_base_patch16_224", PLAIN),
    "EVA": ("eva02_tiny_patch14_224", PLAIN),
    "CaiT": ("cait_xxs24_224", PLAIN),
    "Swin": ("swin_tiny_patch4_window7_224", {"img_size": 56, "embed_dim": 24, "depths": [1, 1, 1, 1]}),
}


def network_of(name: str, arguments: dict[str, Any]) -> Network:
    """A small network of timm's, awake."""
    network = load(f"random:{name}", arguments={**arguments, "num_classes": len(CLASSES)})
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, network.preparation.height, network.preparation.width, generator=noise)
    wake_timm(network.module, x)
    return replace(network, classes=CLASSES)


def picture_for(network: Network) -> Image.Image:
    height, width = network.preparation.height, network.preparation.width
    return Image.fromarray(render(sample(7), size=(round(1.4 * height), round(1.7 * width))).picture)


@pytest.mark.parametrize("family", FAMILIES)
def test_timm_opens_what_was_trained(family: str, tmp_path: Path) -> None:
    network = network_of(*FAMILIES[family])
    picture = picture_for(network)
    x = network.preparation.tensor(picture)[None]
    right = network.logits(x)
    result = regard.export(network, tmp_path / "out", "timm")
    assert {each.what for each in result.parity} == {"logits", "inputs"} and all(each.holds for each in result.parity)
    module = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    transform = create_transform(**resolve_model_data_config(module), is_training=False)
    assert torch.allclose(transform(picture), x[0], atol=1e-6)
    with torch.no_grad():
        assert error(module(transform(picture)[None]), right) <= 1e-5
    again = load(tmp_path / "out")
    assert again.classes == CLASSES and again.preparation == network.preparation
    assert error(again.logits(x), right) <= 1e-6


def opened(folder: Path) -> tuple[Any, Any]:
    """What transformers makes of a folder: the network and its image processor."""
    module = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    return module, transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize("family", ["ViT, oblong", "ViT, pooled by attention", "DeiT, distilled", "Swin"])
def test_transformers_opens_networks_of_timm(family: str, tmp_path: Path) -> None:
    network = network_of(*FAMILIES[family])
    network.choose_labels()
    picture = picture_for(network)
    x = network.preparation.tensor(picture)[None]
    regard.export(network, tmp_path / "out", "hf")
    module, processor = opened(tmp_path / "out")
    assert torch.allclose(processor(picture)["pixel_values"], x, atol=1e-6)
    with torch.no_grad():
        assert error(module(x).logits, network.logits(x)) <= 1e-5
    assert tuple(module.config.id2label.values()) == CLASSES
    assert module.config.problem_type == "multi_label_classification"
    again = load(tmp_path / "out")
    assert again.several_labels and again.classes == CLASSES
    assert error(again.logits(x), network.logits(x)) <= 1e-6


CLASSIFIER = "ForImageClassification"
TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48, "image_size": 32}
PREPARED = {
    "squash": Preparation(32, 32, "squash", interpolation="bilinear"),
    "crop": Preparation(32, 32, "crop", 1.0, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), "bicubic", resized=(37, 37)),
    "squash, then crop": Preparation(32, 32, "squash", 1.0, resized=(36, 40)),
    "centre": Preparation(32, 32, "centre", 1.0),
}


def of_transformers(kind: str, preparation: Preparation) -> Network:
    """A small network of transformers, awake."""
    config = transformers.AutoConfig.for_model(kind, **TINY, patch_size=8, num_labels=len(CLASSES))
    config.architectures = [{"vit": "ViT", "deit": "DeiT", "dinov2": "Dinov2", "beit": "Beit"}[kind] + CLASSIFIER]
    module = transformers.AutoModelForImageClassification.from_config(config, attn_implementation="eager").eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def attention() -> list[torch.Tensor]:
        with torch.no_grad():
            return list(module(x, output_attentions=True).attentions)

    wake(module, queries_keys(module), attention)
    return load(module, classes=CLASSES, preparation=preparation)


@pytest.mark.parametrize(("kind", "way"), [*zip(["vit", "deit", "dinov2", "beit"], PREPARED, strict=True)])
def test_transformers_opens_its_own(kind: str, way: str, tmp_path: Path) -> None:
    network = of_transformers(kind, PREPARED[way])
    picture = picture_for(network)
    x = network.preparation.tensor(picture)[None]
    regard.export(network, tmp_path / "out", "hf")
    module, chosen = opened(tmp_path / "out")
    backend = {} if way == "centre" else {"backend": "pil"}
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out", **backend)
    assert torch.allclose(torch.as_tensor(np.asarray(processor(picture)["pixel_values"])), x, atol=1e-6)
    level = torch.tensor(network.preparation.std).view(-1, 1, 1) * 255
    assert ((chosen(picture, return_tensors="pt")["pixel_values"] - x) * level).abs().max() <= 1.01
    with torch.no_grad():
        assert error(module(x).logits, network.logits(x)) <= 1e-5
    assert tuple(module.config.id2label.values()) == CLASSES
    again = load(tmp_path / "out")
    assert again.classes == CLASSES and again.preparation.box((90, 50)) == network.preparation.box((90, 50))
    assert error(again.logits(x), network.logits(x)) <= 1e-5
    assert network.module.config.id2label[0] == "LABEL_0"  # the network here is as it was


REFUSED = {
    "an edit": ("timm", lambda net: applied(net, [{"kind": "registers", "neurons": [[0, 3]]}]), "carries an edit"),
    "grey": (
        "timm",
        lambda net: replace(net, preparation=Preparation(32, 32, mean=(0.5,), std=(0.5,), colours="L")),
        "in a way that timm cannot",
    ),
    "a module": ("hf", lambda net: load(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2)), size=32),
                 "a module of your own, which transformers cannot build; `--to pt2`"),
    "no head": ("timm", lambda net: load(f"random:{FAMILIES['ViT'][0]}", arguments={"num_classes": 0}), "no head"),
    "transformers": ("timm", lambda net: of_transformers("vit", PREPARED["squash"]), "transformers' own.*`--to hf`"),
    "torchvision": (
        "hf", lambda net: load(torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 8)),
        "torchvision's, which transformers cannot build",
    ),
    "no processor": (
        "hf", lambda net: of_transformers("vit", Preparation(32, 32, "crop", 0.9)), "that no image processor"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_expressed_is_refused(what: str, tmp_path: Path) -> None:
    """In one line that names what works, and nothing is left."""
    to, change, message = REFUSED[what]
    network = change(network_of(*FAMILIES["ViT"]))
    with pytest.raises(NetworkError, match=message) as refused:
        regard.export(network, tmp_path / "out", to)
    assert "\n" not in str(refused.value) and [*tmp_path.iterdir()] == []
