"""Encoders without a classifier: from a folder in Hugging Face's format, or as a module, for explaining."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.attention.trace import trace
from regard.networks.load import Network, load
from regard.networks.run import load_run, save_network

SIZES = {
    "image_size": 48,
    "patch_size": 16,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 8,
    "eos_token_id": 1,
    "bos_token_id": 0,
    "pad_token_id": 0,
}
DECODER = {
    "decoder_hidden_size": 32,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
}
ENCODERS = {
    "ViTModel": ("ViTConfig", {}),
    "ViTMAEModel": ("ViTMAEConfig", {}),
    "DINOv3ViTModel": ("DINOv3ViTConfig", {"num_register_tokens": 4}),
    "Dinov2Model": ("Dinov2Config", {}),
    "CLIPVisionModel": ("CLIPVisionConfig", {}),
    "SiglipVisionModel": ("SiglipVisionConfig", {}),
    "Siglip2VisionModel": ("Siglip2VisionConfig", {}),
    "IJepaModel": ("IJepaConfig", {}),
    "ViTMSNModel": ("ViTMSNConfig", {}),
    "BeitModel": ("BeitConfig", {}),
    "Data2VecVisionModel": ("Data2VecVisionConfig", {}),
}
OTHERS = {
    "CLIPModel": ("CLIPConfig", "CLIPVisionModel", "vision_model", "text_model"),
    "SiglipModel": ("SiglipConfig", "SiglipVisionModel", "vision_model", "text_model"),
    "Siglip2Model": ("Siglip2Config", "Siglip2VisionModel", "vision_model", "text_model"),
    "ViTMAEForPreTraining": ("ViTMAEConfig", "ViTMAEModel", "vit", "decoder"),
    "ViTForMaskedImageModeling": ("ViTConfig", "ViTModel", "vit", "decoder"),
    "BeitForMaskedImageModeling": ("BeitConfig", "BeitModel", "beit", "lm_head"),
}
SILENT = ("", "")


def build(kind: str) -> nn.Module:
    """A small one with random values, also where it starts with zeros."""
    if kind in ENCODERS:
        config, more = ENCODERS[kind]
        settings = {**SIZES, **more}
    else:
        config, settings = OTHERS[kind][0], {**SIZES, **(DECODER if "MAE" in kind else {})}
        settings = {"vision_config": SIZES, "text_config": TEXT} if "text_model" in OTHERS[kind] else settings
    module = getattr(transformers, kind)(getattr(transformers, config)(**settings)).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return module


def text_of(network: Network) -> str:
    return " | ".join(network.messages)


def pictures() -> Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def of_equal_weights(network: Network, module: nn.Module) -> bool:
    right, loaded = module.state_dict(), network.module.state_dict()
    return right.keys() >= loaded.keys() and all(torch.equal(loaded[name], right[name]) for name in loaded)


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_folder_with_an_encoder_loads_and_says_what_its_outputs_are(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module = build(kind)
    module.save_pretrained(tmp_path)
    capfd.readouterr()
    network = load(tmp_path)
    assert type(network.module).__name__ == kind
    assert of_equal_weights(network, module)
    assert f"{tmp_path.name} has no head: its outputs are the pooled features" in text_of(network)
    assert not any(word in text_of(network) for word in ("untrained", "dropped"))
    assert network.classes is None
    logits, traced = trace(network, pictures(), layers="all", queries="pool")
    assert logits.shape == (2, 48)
    assert network.outputs == 48
    again = load(module)
    assert torch.allclose(again.logits(pictures()), logits, atol=1e-6)
    assert f"{kind} has no head: its outputs are the pooled features" in text_of(again)
    assert traced.attention[0].shape[-1] == 9 + network.anatomy.prefix
    assert capfd.readouterr() == SILENT


@pytest.mark.parametrize("kind", OTHERS)
def test_of_a_network_with_more_than_an_encoder_the_encoder_is_used(kind: str, tmp_path: Path) -> None:
    _, tower, path, other = OTHERS[kind]
    module = build(kind)
    module.save_pretrained(tmp_path)
    network = load(tmp_path)
    assert type(network.module).__name__ == tower
    assert of_equal_weights(network, module.get_submodule(path))
    assert "has no head: its outputs are the pooled features" in text_of(network)
    assert "dropped" in text_of(network)
    assert other in text_of(network)
    assert f"{tower} has no such part" in text_of(network)
    assert "untrained" not in text_of(network)
    assert trace(network, pictures(), queries="pool")[0].shape == (2, 48)


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel", "Siglip2Model", "ViTMAEForPreTraining"])
def test_a_module_with_more_than_an_encoder_is_used_in_part(kind: str) -> None:
    module = build(kind)
    network = load(module)
    path = OTHERS[kind][2]
    assert network.module is module.get_submodule(path)
    assert f"of this {kind} only {path}" in text_of(network)
    assert trace(network, pictures(), queries="pool")[0].shape == (2, 48)


def test_an_open_clip_model_is_used_for_what_it_sees() -> None:
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16}
    module = open_clip.CLIP(20, vision, text).eval()
    network = load(module)
    assert network.module is module.visual
    assert "of this CLIP only visual (VisionTransformer) is used" in text_of(network)
    with torch.no_grad():
        assert torch.equal(network.logits(pictures()), module.encode_image(pictures()))
    timm_vision = {"timm_model_name": "test_vit", "image_size": 48, "timm_pool": "", "timm_proj": ""}
    module = open_clip.CustomTextCLIP(64, timm_vision, text).eval()
    network = load(module)
    assert network.module is module.visual.trunk
    assert network.anatomy.family == "timm vision_transformer"


def test_without_a_pooling_layer_the_class_token_is_what_is_read(tmp_path: Path) -> None:
    config = transformers.ViTConfig(**SIZES)
    module = transformers.ViTModel(config, add_pooling_layer=False).eval()
    module.save_pretrained(tmp_path)
    network = load(tmp_path)
    assert network.module.pooler is None
    with torch.no_grad():
        assert torch.equal(network.logits(pictures()), module(pictures()).last_hidden_state[:, 0])


@pytest.mark.parametrize("kind", ["CLIPModel", "SiglipModel", "Dinov2Model", "IJepaModel", "ViTMSNModel"])
def test_classes_put_a_new_head_on_an_encoder_that_has_a_classifier(kind: str, tmp_path: Path) -> None:
    build(kind).save_pretrained(tmp_path)
    network = load(tmp_path, classes=["a", "b", "c"])
    assert type(network.module).__name__.endswith("ForImageClassification")
    assert "has no head; the new one of 3 outputs is untrained" in text_of(network)
    assert "pooled features" not in text_of(network)
    assert trace(network, pictures(), queries="pool")[0].shape == (2, 3)
    assert network.classes == ("a", "b", "c")


@pytest.mark.parametrize("kind", ["DINOv3ViTModel", "ViTMAEModel", "CLIPVisionModel"])
def test_classes_for_an_encoder_that_has_no_classifier_are_refused(kind: str, tmp_path: Path) -> None:
    module = build(kind)
    module.save_pretrained(tmp_path)
    with pytest.raises(
        NetworkError, match=rf"{kind}\) has no head, and transformers has no classifier.*leave `classes`"
    ):
        load(tmp_path, classes=3)
    with pytest.raises(NetworkError, match="does not end in one linear layer"):
        load(module, classes=3)


def test_an_encoder_is_saved_as_a_run_and_loaded_again(tmp_path: Path) -> None:
    for kind in ("CLIPVisionModel", "DINOv3ViTModel"):
        network = load(build(kind))
        save_network(network, tmp_path / kind)
        again = load_run(tmp_path / kind)
        assert type(again.module).__name__ == kind
        assert torch.equal(again.logits(pictures()), network.logits(pictures()))


def test_an_encoder_that_lacks_a_layer_or_has_one_too_many_is_refused(tmp_path: Path) -> None:
    build("CLIPModel").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lacking = {name: value for name, value in tensors.items() if "vision_model.encoder.layers.1.mlp.fc1" not in name}
    save_file(lacking, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NetworkError, match=r"2 missing: .*fc1"):
        load(tmp_path)
    more = {**tensors, "vision_model.encoder.layers.7.mlp.fc1.weight": torch.zeros(2)}
    save_file(more, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NetworkError, match=r"1 extra: .*layers\.7"):
        load(tmp_path)


def test_a_network_of_texts_is_refused(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**{**TEXT, "type_vocab_size": 2})).save_pretrained(tmp_path)
    with pytest.raises(NetworkError, match="is a BertModel, which takes no pictures") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "file", "stored", "size"),
    [
        ("DINOv3ViTModel", "preprocessor_config.json", {"size": {"height": 64, "width": 32}}, (64, 32)),
        ("Dinov2Model", "preprocessor_config.json", {"size": {"shortest_edge": 40}, "do_center_crop": True}, (32, 32)),
        ("CLIPVisionModel", "processor_config.json", {"size": {"shortest_edge": 48}, "do_center_crop": True}, (48, 48)),
        ("Siglip2VisionModel", "preprocessor_config.json", {"max_num_patches": 256, "patch_size": 16}, (256, 256)),
    ],
)
def test_pictures_are_prepared_as_the_folder_says(
    kind: str, file: str, stored: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    build(kind).save_pretrained(tmp_path)
    stored = {**stored, "crop_size": {"height": 32, "width": 32}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5] * 3}
    stored = {"image_processor": stored, "tokenizer": {}} if file.startswith("processor") else stored
    (tmp_path / file).write_text(json.dumps(stored))
    network = load(tmp_path)
    assert (network.preparation.height, network.preparation.width) == size
    assert network.preparation.mean == (0.1, 0.2, 0.3)
    assert "assumed" not in text_of(network)
    assert network.logits(torch.zeros(1, 3, *size)).shape == (1, 48)


def test_a_clip_encoder_at_another_size_has_its_positions_interpolated(tmp_path: Path) -> None:
    build("CLIPVisionModel").save_pretrained(tmp_path)
    network = load(tmp_path, size=64)
    assert "interpolated the positional embeddings" in text_of(network)
    assert "from 3 × 3 to 4 × 4 patches" in text_of(network)
    assert trace(network, torch.zeros(1, 3, 64, 64))[1].attention[1].shape == (1, 3, 1, 17)
