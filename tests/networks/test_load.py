"""The grammar of M, what is said, and what is refused."""

import os
import pickle
import socket
import time
from collections import OrderedDict
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from woken import error, wake_timm

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.networks.load import load
from regard.networks.sources import hub

NAME = "vit_tiny_patch16_224"
TINY = {"depth": 1, "embed_dim": 48, "num_heads": 3}


def tiny(**arguments: object) -> nn.Module:
    return timm.create_model(NAME, **{"img_size": 32, "num_classes": 5, **TINY, **arguments})


def text_of(network: object) -> str:
    return " | ".join(network.messages)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a network whose user has not told the hub so."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", fail)


# names


def test_a_random_network_says_so_and_comes_from_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    networks = [load(NAME, pretrained=False, seed=seed, size=32, arguments=TINY) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, again, other = (network.weights_hash() for network in networks)
    assert first == again != other
    assert "untrained" in text_of(networks[0])
    assert load(f"random:{NAME}", size=32, arguments=TINY).weights_hash() == first


def test_timm_preparation_of_the_named_architecture() -> None:
    network = load(f"random:{NAME}")
    assert network.preparation == Preparation(224, 224, "crop", 0.9, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic")
    assert not network.module.training


def test_a_tag_chooses_the_preparation_and_an_unknown_one_is_refused() -> None:
    network = load("random:vit_base_patch16_224.dino", arguments=TINY)
    assert network.preparation.mean == pytest.approx((0.485, 0.456, 0.406))
    with pytest.raises(UsageError, match="augreg_in21k_ft_in1k"):
        load(f"random:{NAME}.augreg_in21k_ft_in1")


@pytest.mark.parametrize(
    ("name", "near"), [("vit_tiny_patch16_225", NAME), ("vit_b_61", "vit_b_16"), ("random:resnet81", "resnet18")]
)
def test_an_unknown_name_offers_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=near) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_torchvision_by_name_non_square_is_refused() -> None:
    network = load("random:vit_b_32", size=64, classes=["a", "b"])
    assert network.logits(torch.zeros(1, 3, 64, 64)).shape == (1, 2)
    assert network.preparation.mean == pytest.approx((0.485, 0.456, 0.406))
    assert network.preparation.crop == pytest.approx(224 / 256)
    assert network.positions().shape == (2, 2, 768)
    with pytest.raises(NetworkError, match="square"):
        load("random:vit_b_32", size=(64, 96))


def test_size_must_hold_whole_patches() -> None:
    with pytest.raises(NetworkError, match=r"patches of 16 × 16.*multiple"):
        load(f"random:{NAME}", size=(32, 50), arguments=TINY)


def test_a_network_of_any_size_only_changes_its_preparation() -> None:
    network = load("random:resnet18", size=(64, 96))
    assert (network.preparation.height, network.preparation.width) == (64, 96)
    assert network.logits(torch.zeros(1, 3, 64, 96)).shape == (1, 1000)


@pytest.mark.parametrize("arguments", [{"pretrained_cfg": {"file": "x"}}, {"checkpoint_path": "x"}, {"depth": [[1]]}])
def test_arguments_are_plain_and_known(arguments: dict) -> None:
    with pytest.raises(NetworkError, match="the arguments may be"):
        load(f"random:{NAME}", arguments=arguments)


def test_published_weights_do_not_fit_another_architecture() -> None:
    with pytest.raises(NetworkError, match=f"depth.*random:{NAME}"):
        load(NAME, arguments={"depth": 2})


# weights


@pytest.mark.shared
def test_the_shared_weights(shared: Path) -> None:
    network = load(NAME, weights=shared / "weights" / "vit_tiny_patch16_224_fp16.safetensors")
    assert network.outputs == 1000
    assert next(network.module.parameters()).dtype == torch.float32
    assert "float16" in text_of(network)
    assert "untrained" not in text_of(network)
    assert network.positions().shape == (14, 14, 192)
    assert network.preparation.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("wrap", ["{}", "state_dict", "ema", "module", "half", "legacy"])
def test_weights_are_unwrapped_and_said(wrap: str, tmp_path: Path) -> None:
    x, module, file = torch.randn(2, 3, 32, 32), tiny(), tmp_path / "w.pth"
    wake_timm(module, x)
    tensors, word = module.state_dict(), ""
    if wrap == "legacy":
        torch.save(tensors, file, _use_new_zipfile_serialization=False)
    elif wrap == "half":
        module.half().float()
        torch.save({name: value.half() for name, value in tensors.items()}, file)
        word = "float16"
    else:
        wrapped = {"module": {f"module.{name}": value for name, value in tensors.items()}}.get(wrap, tensors)
        stale = {name: torch.zeros_like(value) for name, value in tensors.items()}
        content = {"state_dict": {"epoch": 1, "state_dict": tensors}, "ema": {"model": stale, "ema": tensors}}
        torch.save(content.get(wrap, wrapped), file)
        word = {"state_dict": "'state_dict'", "ema": "'ema'", "module": "'module.'"}.get(wrap, "")
    network = load(NAME, weights=file, size=32, arguments=TINY)
    assert word in text_of(network)
    assert network.outputs == 5
    with torch.no_grad():
        assert error(network.logits(x), module.eval()(x)) <= 1e-6


def test_another_number_of_classes_replaces_the_head_and_says_so(tmp_path: Path) -> None:
    module = tiny()
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    network = load(NAME, weights=tmp_path / "w.safetensors", size=32, arguments=TINY, classes=["cat", "dog"])
    assert "replaced the head of 5 outputs by a new one of 2" in text_of(network)
    assert network.classes == ("cat", "dog")
    assert network.architecture["arguments"]["num_classes"] == 2
    bound = 48**-0.5  # nn.Linear's own initialisation
    assert 0.8 * bound < network.module.head.weight.abs().max() <= bound
    assert torch.equal(network.module.blocks[0].attn.qkv.weight, module.blocks[0].attn.qkv.weight)
    same_head = load(NAME, weights=tmp_path / "w.safetensors", size=32, arguments=TINY, classes=5)
    assert "head" not in text_of(same_head)
    assert torch.equal(same_head.module.head.weight, module.head.weight)


def test_a_file_without_head_is_an_encoder_or_gets_a_new_one(tmp_path: Path) -> None:
    tensors = {name: value for name, value in tiny().state_dict().items() if not name.startswith("head.")}
    save_file(tensors, tmp_path / "w.safetensors")
    encoder = load(NAME, weights=tmp_path / "w.safetensors", size=32, arguments=TINY)
    assert "has no head: loaded as an encoder" in text_of(encoder)
    assert encoder.logits(torch.zeros(1, 3, 32, 32)).shape == (1, encoder.module.num_features)
    network = load(NAME, weights=tmp_path / "w.safetensors", size=32, arguments=TINY, classes=3)
    assert "no head; the new one of 3 outputs is untrained" in text_of(network)


def test_positions_of_another_grid_are_interpolated_only_when_size_asks(tmp_path: Path) -> None:
    module = tiny(img_size=64)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(NetworkError, match=r"pos_embed is 1 × 17 × 48 where 1 × 197 × 48 is needed.*--size"):
        load(NAME, weights=tmp_path / "w.safetensors", arguments=TINY)
    network = load(NAME, weights=tmp_path / "w.safetensors", size=(32, 96), arguments=TINY)
    assert "interpolated the positional embeddings" in text_of(network)
    assert "from 4 × 4 to 2 × 6" in text_of(network)
    right = timm.layers.resample_abs_pos_embed(module.pos_embed, new_size=[2, 6], num_prefix_tokens=1)
    assert torch.equal(network.module.pos_embed, right)


def test_keys_that_do_not_fit_are_listed_first_eight_and_a_count(tmp_path: Path) -> None:
    tensors = tiny().state_dict()
    for index in range(11):
        tensors[f"extra{index}"] = torch.zeros(1)
    del tensors["norm.bias"]
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(NetworkError) as caught:
        load(NAME, weights=tmp_path / "w.safetensors", size=32, arguments=TINY)
    for part in ("1 missing: norm.bias", "11 extra: ", "extra0", "and 3 more"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


class Hostile:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("how", ["model", "weights"])
@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_hostile_pickle_is_refused_and_not_run(how: str, kind: str, tmp_path: Path) -> None:
    file, marker = tmp_path / "evil.pth", tmp_path / "marker"
    content = OrderedDict({"class_token": Hostile(marker)})
    if kind == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(NetworkError, match="refused") as caught:
        load(file) if how == "model" else load(NAME, weights=file)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"hello, I am text", b"\x10\0\0\0\0\0\0\0{}", b"\x80\x02"])
def test_a_damaged_file_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(NetworkError, match=r"w\.pth") as caught:
        load(NAME, weights=tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)])
def test_a_file_without_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(NetworkError, match=r"state.dict"):
        load(NAME, weights=tmp_path / "w.pth")


def test_paths_that_are_nothing() -> None:
    with pytest.raises(NetworkError, match="no such file"):
        load("nowhere/vit.pth")
    with pytest.raises(NetworkError, match="no such file"):
        load(NAME, weights="nowhere.safetensors")


def test_a_folder_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"neither a run.*nor a Hugging Face network"):
        load(tmp_path)


# the hub


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", [NAME, "vit_b_16", "hf:google/vit-base-patch16-224"])
def test_without_a_network_it_is_said_at_once(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    start = time.monotonic()
    with pytest.raises(NetworkError, match="no network") as caught:
        load(name)
    assert time.monotonic() - start < 10
    assert all(part in str(caught.value) for part in ("--weights FILE", "run folder", "checkpoint file"))
    assert "\n" not in str(caught.value)


def test_an_offline_setting_is_honoured_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE is set"):
        load("hf:owner/name")


def test_a_network_in_the_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = timm.create_model("test_vit")
    save_file(module.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(hub, "cached", lambda repository, names: str(tmp_path / "model.safetensors"))
    monkeypatch.setattr(hub, "require_hub", lambda what: pytest.fail("asked the hub"))
    network = load("test_vit", classes=3)
    assert torch.equal(network.module.blocks[0].attn.qkv.weight, module.blocks[0].attn.qkv.weight)
    assert "replaced the head of 1000 outputs" in text_of(network)
    larger = load("test_vit", size=(192, 224))
    assert larger.positions().shape[:2] == (12, 14)
    assert "interpolated" in text_of(larger)


@pytest.mark.usefixtures("no_network")
def test_what_is_no_hub_id_is_refused() -> None:
    with pytest.raises(NetworkError, match="no ID of the Hugging Face hub"):
        load("hf:a/b/c/d")


# Hugging Face folders


def save_huggingface(folder: Path, kind: str = "ViT", bare: bool = False) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        image_size=32, patch_size=16, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48
    )
    config.id2label = {0: "cat", 1: "dog", 2: "cow"}
    config.label2id = {"cat": 0, "dog": 1, "cow": 2}
    name = f"{kind}Model" if bare else f"{kind}ForImageClassification"
    module = getattr(transformers, name)(config).eval()
    module.save_pretrained(folder)
    return module


@pytest.mark.parametrize("kind", ["ViT", "DeiT", "Dinov2"])
def test_a_hugging_face_folder(kind: str, tmp_path: Path) -> None:
    module, x = save_huggingface(tmp_path, kind), torch.randn(2, 3, 32, 32)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"shortest_edge": 40}, "do_center_crop": true, "crop_size": {"height": 32, "width": 32},'
        ' "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}'
    )
    for model in (str(tmp_path), f"hf:{tmp_path}"):
        network = load(model)
        with torch.no_grad():
            assert torch.equal(network.logits(x), module(x).logits)
        assert network.classes == ("cat", "dog", "cow")
        colours = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert network.preparation == Preparation(32, 32, "crop", 1.0, *colours, "bicubic", resized=(40, 40))
        assert network.messages == ()
    features, logits = network.features(x)
    assert torch.allclose(network.module.classifier(features), logits, atol=1e-6)
    assert network.positions().shape == (2, 2, 24)


def test_a_hugging_face_head_is_replaced_and_a_size_interpolated(tmp_path: Path) -> None:
    save_huggingface(tmp_path)
    network = load(tmp_path, classes=["a", "b"], size=(32, 48))
    assert "replaced the head of 3 outputs" in text_of(network)
    assert "to 2 × 3 patches" in text_of(network)
    assert network.logits(torch.zeros(1, 3, 32, 48)).shape == (1, 2)
    assert network.classes == ("a", "b")


def test_a_bare_encoder_gets_a_head_for_classes_and_nothing_is_silently_random(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module, x = save_huggingface(tmp_path, bare=True), torch.randn(2, 3, 32, 32)
    capfd.readouterr()
    encoder = load(tmp_path)
    assert "has no head: its outputs are the pooled features" in text_of(encoder)
    assert "untrained" not in text_of(encoder)
    with torch.no_grad():
        assert torch.equal(encoder.logits(x), module(x).pooler_output)
    network = load(tmp_path, classes=4)
    assert "new one of 4 outputs is untrained" in text_of(network)
    assert "dropped pooler.dense.bias, pooler.dense.weight: ViTForImageClassification has no such part" in text_of(
        network
    )
    assert capfd.readouterr() == ("", "")


def test_a_hugging_face_checkpoint_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    module = save_huggingface(tmp_path)
    tensors = {name: value for name, value in module.state_dict().items() if "fc1" not in name}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NetworkError, match=r"2 missing: .*fc1"):
        load(tmp_path)


def test_a_hugging_face_folder_that_is_no_classifier_or_broken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "vit_tiny_patch16_224"}')
    with pytest.raises(NetworkError, match="cannot be loaded as an image classifier"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(NetworkError, match="cannot be loaded as an image classifier") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


# modules


def test_a_module_of_ones_own_is_not_changed() -> None:
    module = tiny().train()
    weight = module.head.weight
    network = load(module, classes=2)
    assert network.module is not module
    assert load(module).module is module
    assert module.head.weight is weight
    assert module.training
    assert network.outputs == 2
    assert network.preparation.height == 32


def test_an_unknown_module_says_what_was_assumed() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    network = load(module, size=4)
    assert "assumed 4 × 4" in text_of(network)
    assert network.architecture["kind"] == "module"
    prepared = load(module, preparation=Preparation(4, 4))
    assert prepared.messages == ()


# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "cat"}, "a list of names"),
        ({"classes": 0}, "a number from 1 on"),
        ({"classes": ["a", "a"]}, "names that differ"),
        ({"size": 0}, "a number of pixels"),
        ({"device": "quantum"}, "device 'quantum'"),
    ],
)
def test_senseless_options(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(f"random:{NAME}", **{"size": 32, "arguments": TINY, **options})
