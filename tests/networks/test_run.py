"""The run folder: what is saved computes the same, bit for bit, from the folder alone."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from test_load import NAME, TINY, save_huggingface, tiny
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, OutputError, UsageError
from regard.networks.captioners.run import load_captioner_run
from regard.networks.edits import applied
from regard.networks.load import Network, load
from regard.networks.run import is_run, load_run, save_network


def network(tmp_path: Path, kind: str) -> Network:
    """A small network of each kind that can be saved."""
    if kind == "timm":
        return load(f"random:{NAME}", size=(32, 48), arguments={**TINY, "attn_drop_rate": 0.1}, classes=["a", "b"])
    if kind == "timm module":
        return load(tiny(img_size=(32, 48)))
    if kind == "torchvision":
        return load(VisionTransformer(32, 16, 1, 2, 24, 48, num_classes=3))
    if kind == "resnet":
        return load("random:test_resnet", classes=4)
    save_huggingface(tmp_path / "hf", kind)
    return load(tmp_path / "hf", classes=["x", "y"])


@pytest.mark.parametrize("kind", ["timm", "timm module", "torchvision", "resnet", "ViT", "DeiT", "Dinov2"])
def test_saved_and_loaded_gives_equal_logits_bit_for_bit(kind: str, tmp_path: Path) -> None:
    before = network(tmp_path, kind)
    prepared = before.preparation
    x = torch.randn(2, 3, prepared.height, prepared.width)
    save_network(before, tmp_path / "run")
    assert is_run(tmp_path / "run")
    if (tmp_path / "hf").exists():
        (tmp_path / "hf").rename(tmp_path / "gone")  # the run alone must do
    after = load(tmp_path / "run")
    assert torch.equal(after.logits(x), before.logits(x))
    assert (after.preparation, after.classes, after.name) == (before.preparation, before.classes, before.name)
    assert after.architecture == json.loads(json.dumps(before.architecture))
    assert after.weights_hash() == before.weights_hash()
    assert after.messages == ()
    assert not after.module.training


def test_a_probed_head_is_in_the_run(tmp_path: Path) -> None:
    before = network(tmp_path, "ViT")
    before.replace_head(torch.randn(4, 24), torch.randn(4), list("wxyz"))
    after = load_run(save_network(before, tmp_path / "run"))
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(after.logits(x), before.logits(x))
    assert after.classes == ("w", "x", "y", "z")


def test_the_description_says_what_the_contract_asks(tmp_path: Path) -> None:
    before = network(tmp_path, "timm")
    edit = {"kind": "registers", "neurons": [[0, 3]]}
    save_network(applied(before, [edit]), tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "model.json").read_text())
    assert stored["schema"] == 1
    assert stored["task"] == "classification"
    assert stored["architecture"]["name"] == NAME
    assert stored["architecture"]["arguments"]["img_size"] == [32, 48]
    assert stored["classes"] == ["a", "b"]
    assert stored["edits"] == [edit]
    assert stored["weights_sha256"] == load_run(tmp_path / "run").weights_hash() != before.weights_hash()


def test_the_hash_is_of_names_shapes_and_values() -> None:
    first, again, other = (load(tiny()) for _ in range(3))
    again.module.load_state_dict(first.module.state_dict())
    other.module.load_state_dict(first.module.state_dict())
    with torch.no_grad():
        other.module.norm.bias[3] += 1e-6
    assert first.weights_hash() == again.weights_hash() != other.weights_hash()


def test_nothing_that_was_there_is_overwritten(tmp_path: Path) -> None:
    before = network(tmp_path, "timm")
    save_network(before, tmp_path / "run")
    with pytest.raises(OutputError, match="holds a network already"):
        save_network(before, tmp_path / "run")
    save_network(before, tmp_path / "run", overwrite=True)
    with pytest.raises(NetworkError, match="module of your own"):
        save_network(load(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), size=2), tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_run_with_other_classes_gets_a_new_head_and_says_so(tmp_path: Path) -> None:
    save_network(network(tmp_path, "timm"), tmp_path / "run")
    after = load(tmp_path / "run", classes=3)
    assert "replaced the head of 2 outputs by a new one of 3" in " ".join(after.messages)
    assert after.classes is None
    larger = load(tmp_path / "run", size=64)
    assert larger.positions().shape == (4, 4, 48)
    again = load_run(save_network(larger, tmp_path / "larger"))
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again.logits(x), larger.logits(x))
    (tmp_path / "w.pth").touch()
    with pytest.raises(UsageError, match="weights of its own; leave --weights out"):
        load(tmp_path / "run", weights=tmp_path / "w.pth")


def damage(run: Path, how: str) -> None:
    description = json.loads((run / "model.json").read_text())
    if how == "not JSON":
        (run / "model.json").write_text("{")
    elif how == "a list":
        (run / "model.json").write_text("[]")
    elif how == "no weights":
        (run / "model.safetensors").unlink()
    elif how == "cut weights":
        content = (run / "model.safetensors").read_bytes()
        (run / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif how == "newer":
        (run / "model.json").write_text(json.dumps({**description, "schema": 2}))
    elif how == "lacks a part":
        del description["preparation"]
        (run / "model.json").write_text(json.dumps(description))
    elif how == "another network":
        description["architecture"]["arguments"]["depth"] = 2
        (run / "model.json").write_text(json.dumps(description))
    elif how == "hostile":
        description["architecture"] = {"kind": "timm", "name": "hf-hub:someone/else", "arguments": {}}
        (run / "model.json").write_text(json.dumps(description))
    else:
        description["architecture"]["arguments"]["pretrained_cfg"] = {"file": "elsewhere.pth"}
        (run / "model.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("not JSON", "damaged: it is not JSON"),
        ("a list", "damaged: it has no schema"),
        ("no weights", r"damaged: it has no model\.safetensors"),
        ("cut weights", r"model\.safetensors cannot be read"),
        ("newer", "schema version 2, newer than the 1"),
        ("lacks a part", "damaged.*preparation"),
        ("another network", "missing: blocks.1"),
        ("hostile", "is damaged.*unknown timm network"),
        ("hostile arguments", "cannot be built"),
    ],
)
def test_a_damaged_run_is_one_line(how: str, message: str, tmp_path: Path) -> None:
    save_network(network(tmp_path, "timm"), tmp_path / "run")
    damage(tmp_path / "run", how)
    with pytest.raises(NetworkError, match=message) as caught:
        load(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_what_is_no_run(tmp_path: Path) -> None:
    assert not is_run(tmp_path)
    with pytest.raises(NetworkError, match="not a run folder"):
        load_run(tmp_path)


def test_the_preparation_given_is_the_one_saved(tmp_path: Path) -> None:
    preparation = Preparation(32, 32, "squash", interpolation="bilinear")
    before = load(tiny(), preparation=preparation)
    assert load_run(save_network(before, tmp_path / "run")).preparation == preparation


@pytest.mark.parametrize("kind", ["timm", "torchvision", "ViT"])
@pytest.mark.parametrize("size", [10**30, 10**7, 4000])
def test_a_damaged_size_builds_nothing_large(kind: str, size: int, tmp_path: Path) -> None:
    """Each whole number of a description in turn: refused, or of no weight at all, and within a second or so."""
    folder = save_network(network(tmp_path, kind), tmp_path / "run")
    path = folder / "model.json"
    stored = json.loads(path.read_text())
    refused = set()
    for name, value in stored["architecture"]["arguments"].items():
        if type(value) is not int and not (type(value) is list and value and type(value[0]) is int):
            continue
        changed = size if type(value) is int else [size] * len(value)
        arguments = {**stored["architecture"]["arguments"], name: changed}
        path.write_text(json.dumps({**stored, "architecture": {**stored["architecture"], "arguments": arguments}}))
        start = time.process_time()
        try:
            load_run(folder)
        except NetworkError as error:
            refused.add(name)
            assert "\n" not in str(error)
            assert ";" in str(error)
        assert time.process_time() - start < 10
    assert refused >= DEPTHS[kind]


DEPTHS = {"timm": {"depth", "embed_dim", "num_classes"}, "torchvision": {"num_layers", "hidden_dim", "mlp_dim"}} | {
    "ViT": {"num_hidden_layers", "hidden_size", "intermediate_size"}
}


def test_a_captioners_depth_is_bound_too(tmp_path: Path) -> None:
    folder = tmp_path / "captioner"
    shutil.copytree(Path(__file__).parents[1] / "stored/captioner", folder)
    stored = json.loads((folder / "model.json").read_text())

    def deeper(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: 5000 if key in DEEP else deeper(each) for key, each in value.items()}
        return value

    changed = deeper(stored)
    assert changed != stored
    (folder / "model.json").write_text(json.dumps(changed))
    with pytest.raises(NetworkError, match=r"model.json is damaged: it describes a network larger than the one in"):
        load_captioner_run(folder)


DEEP = ("depth", "layers", "encoder_layers", "decoder_layers")
