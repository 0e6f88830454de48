"""Checkpoints as trainers write them: each layout of the table gives the logits of the network that was stored."""

import argparse
import pathlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.distributed.checkpoint
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint import format_utils

from regard.app.cli import main
from regard.errors import NetworkError, UsageError
from regard.networks.load import load
from regard.networks.network import Network
from regard.predictors.classifier import Classifier

NAME = "vit_tiny_patch16_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
State = Mapping[str, Tensor]
X = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)


def vit(seed: int, outputs: int = 5, **more: Any) -> nn.Module:
    torch.manual_seed(seed)
    module: nn.Module = timm.create_model(NAME, num_classes=outputs, **SMALL, **more)
    for value in module.parameters():
        nn.init.normal_(value, std=0.2)
    return module.eval()


RIGHT = vit(1)
OTHER = vit(2)
"""The network that is meant, and one that is stored beside it."""


def under(prefix: str, state: State) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def inside(state: State, wrapper: str) -> dict[str, Tensor]:
    """A wrapper around each block."""
    return {name.replace("blocks.0.", f"blocks.0.{wrapper}."): value for name, value in state.items()}


HEAD = {"head.mlp.0.weight": torch.ones(4, 24), "head.last_layer.weight_v": torch.ones(9, 4)}
LOSS = {"criterion.weight": torch.ones(5)}
OPTIMISER = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}

Layout = Callable[[State, State], Any]
LAYOUTS: dict[str, Layout] = {
    "bare": lambda s, o: dict(s),
    "DataParallel": lambda s, o: under("module.", s),
    "DataParallel, then compiled": lambda s, o: under("_orig_mod.module.", s),
    "compiled, then DataParallel": lambda s, o: under("module._orig_mod.", s),
    "blocks compiled one by one": lambda s, o: inside(s, "_orig_mod"),
    "blocks checkpointed": lambda s, o: inside(s, "_checkpoint_wrapped_module"),
    "FSDP, consolidated": lambda s, o: {"model": inside(under("_fsdp_wrapped_module.", s), "_fsdp_wrapped_module")},
    "Fabric": lambda s, o: {"model": under("_forward_module.", s), "optimizer": OPTIMISER, "step": 3},
    "Fabric and compile": lambda s, o: {"model": under("_forward_module._orig_mod.", s)},
    "Lightning": lambda s, o: {
        "state_dict": under("model.", s), "epoch": 2, "optimizer_states": [OPTIMISER], "loops": {"a": {"b": 1}},
        "hyper_parameters": {"lr": 0.1}, "callbacks": {"c": {"best": torch.ones(1)}},
    },
    "Lightning, with weights in its loss": lambda s, o: {"state_dict": under("model.", s) | LOSS},
    "Lightning, a loss beside bare keys": lambda s, o: {"state_dict": {**s, **LOSS}},
    "Lightning, net and torchmetrics": lambda s, o: {"state_dict": under("net.", s) | {"auroc.total": torch.ones(1)}},
    "Lightning, a copy averaged": lambda s, o: {"state_dict": under("model.", o) | under("ema_model.", s)},
    "Lightning, swa": lambda s, o: {"state_dict": under("module.", s) | {"n_averaged": torch.tensor(7)}},
    "backbone.": lambda s, o: under("backbone.", s),
    "backbone. and a projector": lambda s, o: under("backbone.", s) | {"projector.0.weight": torch.ones(3, 24)},
    "any name of one's own": lambda s, o: under("my_classifier.trunk.", s),
    "DINO": lambda s, o: {
        "student": under("module.backbone.", o) | under("module.", HEAD), "teacher": under("backbone.", s) | HEAD,
        "optimizer": OPTIMISER, "epoch": 9, "args": argparse.Namespace(lr=1),
        "dino_loss": {"center": torch.ones(1, 9)},
    },
    "DINOv2": lambda s, o: {
        "model": under("student.backbone.", o) | under("teacher.backbone.", s) | under("teacher.dino_", HEAD),
    },
    "MoCo v3": lambda s, o: {
        "state_dict": under("module.base_encoder.", o) | under("module.momentum_encoder.", s), "arch": "vit_small",
    },
    "BYOL": lambda s, o: {"online_network": dict(o), "target_network": dict(s)},
    "MAE": lambda s, o: {
        "model": {
            **s, "mask_token": torch.ones(1, 1, 24), "decoder_embed.weight": torch.ones(2, 24),
            "decoder_blocks.0.norm1.weight": torch.ones(2), "decoder_pos_embed": torch.ones(1, 17, 2),
        },
        "args": argparse.Namespace(lr=0.1), "scaler": {"scale": 2.0},
    },
    "iBOT's mask token": lambda s, o: {"state_dict": {**s, "mask_token": torch.ones(1, 24)}},
    "timm": lambda s, o: {
        "arch": NAME, "state_dict": dict(o), "state_dict_ema": dict(s), "args": argparse.Namespace(a=1),
    },
    "torch's reference": lambda s, o: {
        "model": dict(o), "model_ema": under("module.", s) | {"n_averaged": torch.ones(1)},
    },
    "DeiT": lambda s, o: {"model": dict(s), "args": argparse.Namespace(lr=1), "max_accuracy": np.float64(0.8)},
    "open_clip's trunk": lambda s, o: {
        "state_dict": under("module.visual.trunk.", s) | {
            "module.logit_scale": torch.ones(()), "module.transformer.resblocks.0.ln_1.weight": torch.ones(8),
        },
    },
    "ignite": lambda s, o: {"trainer": {"epoch": 1}, "model": dict(s), "optimizer": OPTIMISER},
    "mmengine": lambda s, o: {"meta": {"cfg": "x"}, "state_dict": under("backbone.", s), "message_hub": {"a": 1}},
    "numbers of numpy and paths": lambda s, o: {
        "state_dict": dict(s), "best_acc": np.float64(0.9), "path": pathlib.PurePosixPath("/a"),
        "out": pathlib.Path("b"),
        "history": np.arange(3.0), "confusion": np.ones((2, 2), np.int64),
    },
    "arrays of numpy": lambda s, o: {"model": {name: value.numpy() for name, value in s.items()}},
    "parameters": lambda s, o: {name: nn.Parameter(value.clone()) for name, value in s.items()},
    "half precision": lambda s, o: {name: value.half() for name, value in s.items()},
    "deep": lambda s, o: {"checkpoint": {"nets": {"classifier": under("module.", s)}}},
}  # fmt: skip


def logits(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(X)


def opened(path: Path, **more: Any) -> Network:
    return load(NAME, weights=path, arguments=SMALL, **more)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_as_what_is_meant(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(LAYOUTS[name](RIGHT.state_dict(), OTHER.state_dict()), path)
    network = opened(path)
    assert network.outputs == 5
    torch.testing.assert_close(
        network.logits(X), logits(RIGHT), rtol=1e-2, atol=5e-2 if name == "half precision" else 1e-5
    )


@pytest.mark.parametrize(
    ("name", "part", "meant"),
    [
        ("DINO", "student", OTHER), ("DINO", "teacher", RIGHT), ("DINOv2", "student", OTHER),
        ("DINOv2", "teacher", RIGHT), ("timm", "ema", RIGHT), ("timm", "state_dict", OTHER),
        ("MoCo v3", "base", OTHER), ("BYOL", "online", OTHER), ("torch's reference", "model", OTHER),
        ("Lightning, a copy averaged", "model", OTHER), ("Lightning, a copy averaged", "ema", RIGHT),
    ],
)  # fmt: skip
def test_the_part_that_is_asked_for(name: str, part: str, meant: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(LAYOUTS[name](RIGHT.state_dict(), OTHER.state_dict()), path)
    torch.testing.assert_close(opened(path, weights_part=part).logits(X), logits(meant), rtol=1e-4, atol=1e-5)


def test_the_part_that_the_command_line_asks_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two networks that answer differently whatever they see."""
    Image.new("RGB", (64, 64)).save(tmp_path / "p.png")
    state = timm.create_model("test_vit", num_classes=3).state_dict()
    parts = {
        name: {**state, "head.bias": 1000 * torch.eye(3)[index]} for index, name in enumerate(("student", "teacher"))
    }
    torch.save(parts, tmp_path / "dino.pth")
    table = tmp_path / "labels.csv"
    words = ["predict", str(tmp_path / "p.png"), "--model", "test_vit", "--out", str(table), "--overwrite"]
    weights = ["--weights", str(tmp_path / "dino.pth")]
    for more, label in (([], "1"), (["--weights-part", "student"], "0"), (["--weights-part", "teacher"], "1")):
        assert main([*words, *weights, *more]) == 0
        assert table.read_text().splitlines()[-1].endswith(f",{label}")
    assert main([*words, *weights, "--weights-part", "tutor"]) == 2
    assert "dino.pth has student, teacher." in capsys.readouterr().err
    assert main([*words, "--weights-part", "student"]) == 2
    assert "give it with weights (--weights FILE)" in capsys.readouterr().err


def test_what_is_taken_and_what_is_left_is_said(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(LAYOUTS["DINO"](RIGHT.state_dict(), OTHER.state_dict()), path)
    said = " | ".join(opened(path).messages)
    assert "under 'teacher'" in said and "student as well: --weights-part" in said
    assert "left out of" in said and "head.mlp" in said
    with pytest.raises(UsageError, match="unknown part of the weights 'tacher'; did you mean 'teacher'"):
        opened(path, weights_part="tacher")
    with pytest.raises(UsageError, match=r"weights_part.*give it with weights"):
        load(NAME, weights_part="teacher")


def test_a_file_without_a_head_is_an_encoder(tmp_path: Path) -> None:
    encoder = vit(3, outputs=0)
    torch.save(encoder.state_dict(), tmp_path / "dino.pth")
    network = opened(tmp_path / "dino.pth")
    assert any("has no head: loaded as an encoder" in message for message in network.messages)
    torch.testing.assert_close(network.logits(X), logits(encoder))
    assert opened(tmp_path / "dino.pth", classes=3).outputs == 3
    assert network.has_classes is False and opened(tmp_path / "dino.pth", classes=3).has_classes is True
    torch.save(timm.create_model(NAME, num_classes=0).state_dict(), tmp_path / "dino.pth")
    with pytest.raises(NetworkError, match="has no head, so that its 192 outputs are features and no classes"):
        Classifier(NAME, weights=tmp_path / "dino.pth").fingerprint()


def test_a_network_of_pooled_patches(tmp_path: Path) -> None:
    """MAE's fine-tuned files have `fc_norm` where others have `norm`: their head reads the mean of the patches."""
    module = vit(4, global_pool="avg")
    torch.save({"model": module.state_dict()}, tmp_path / "mae.pth")
    torch.testing.assert_close(opened(tmp_path / "mae.pth").logits(X), logits(module))


def test_what_does_not_fit_is_never_left_out(tmp_path: Path) -> None:
    """A block too many is another network; a token of distillation takes part in what is computed."""
    for extra in ("blocks.2.norm1.weight", "dist_token", "reg_token", "norm_pre.weight"):
        torch.save({"model": {**RIGHT.state_dict(), extra: torch.ones(24)}}, tmp_path / "weights.pth")
        with pytest.raises(NetworkError, match=f"do not fit: 1 extra: {extra}"):
            opened(tmp_path / "weights.pth")


class Hostile:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("where", ["beside", "as the state", "in the settings"])
def test_no_code_is_run(where: str, tmp_path: Path) -> None:
    """Whatever is called is refused or inert, and nothing of it happens."""
    import os
    import subprocess

    mark = tmp_path / "happened"
    calls = [
        Hostile(os.system, f"touch {mark}"), Hostile(eval, f"open({str(mark)!r}, 'w')"), Hostile(mark.touch),
        Hostile(subprocess.run, ["touch", str(mark)]), Hostile(pathlib.Path.touch, mark),
        Hostile(np.save, str(mark), 1),
        Hostile(torch.save, 1, str(mark)), Hostile(np.loadtxt, str(mark)), Hostile(torch.hub.load, "a/b", "c"),
        Hostile(getattr, "x", "upper"),
    ]  # fmt: skip
    for call in calls:
        content = {"beside": {"state_dict": RIGHT.state_dict(), "x": call}, "as the state": {"state_dict": call}}
        content["in the settings"] = {"state_dict": RIGHT.state_dict(), "args": argparse.Namespace(x=call)}
        torch.save(content[where], tmp_path / "weights.pth")
        try:
            opened(tmp_path / "weights.pth")
        except NetworkError as error:
            assert "would run code" in str(error) or "holds no tensors" in str(error)
        assert not mark.exists() and not mark.with_suffix(".npy").exists()


def test_other_kinds_of_files_are_named(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and around
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), str(tmp_path / "script.pt"))
    with pytest.raises(NetworkError, match=r"is a TorchScript program.*torch\.jit\.load\(FILE\)\.state_dict"):
        opened(tmp_path / "script.pt")
    torch.save(RIGHT, tmp_path / "whole.pth")
    with pytest.raises(NetworkError, match=r"whole\.pth.*save `model\.state_dict\(\)`"):
        opened(tmp_path / "whole.pth")
    save_file({name: value.contiguous() for name, value in RIGHT.state_dict().items()}, tmp_path / "weights.pth")
    torch.testing.assert_close(opened(tmp_path / "weights.pth").logits(X), logits(RIGHT))  # by what it is


@pytest.mark.filterwarnings("ignore")  # torch's own, of reading and writing without other processes
def test_a_checkpoint_in_parts_says_how_to_make_one_file_of_it(tmp_path: Path) -> None:
    """And the way that is named leads there."""
    folder = tmp_path / "step_9"
    torch.distributed.checkpoint.save({"model": RIGHT.state_dict()}, checkpoint_id=folder, no_dist=True)
    part = next(folder.glob("*.distcp"))
    for ask in (lambda: load(folder), lambda: opened(folder), lambda: opened(part), lambda: load(part)):
        with pytest.raises(
            NetworkError, match=r"in parts \(FSDP\); make one file.*dcp_to_torch_save.*--model"
        ) as error:
            ask()
        assert "\n" not in str(error.value)
    format_utils.dcp_to_torch_save(folder, tmp_path / "weights.pth")
    torch.testing.assert_close(opened(tmp_path / "weights.pth").logits(X), logits(RIGHT))
    deepspeed = tmp_path / "deepspeed"
    deepspeed.mkdir()
    (deepspeed / "zero_to_fp32.py").write_text("raise SystemExit('was run')")
    for ask in (lambda: load(deepspeed), lambda: opened(deepspeed)):
        with pytest.raises(NetworkError, match=r"with its own zero_to_fp32.py"):
            ask()
    with pytest.raises(NetworkError, match="is a folder; give the file of weights that is in it"):
        opened(tmp_path)


def test_folders_that_are_no_network_say_what_to_give(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(NetworkError, match=r"is an adapter \(LoRA\).*merge_and_unload"):
        load(str(adapter))
    for step in (500, 1000):
        (tmp_path / "trainer" / f"checkpoint-{step}").mkdir(parents=True)
        (tmp_path / "trainer" / f"checkpoint-{step}" / "config.json").write_text("{}")
    with pytest.raises(NetworkError, match=r"Trainer's checkpoints .*give one of them: .*checkpoint-1000 is the last"):
        load(str(tmp_path / "trainer"))
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "best.pth").write_bytes(b"x")
    with pytest.raises(NetworkError, match=r"name it: --model NAME --weights .*best\.pth"):
        load(str(tmp_path / "loose"))


def google_names(module: nn.Module, numbers: tuple[int, int, int], before: str = "") -> dict[str, np.ndarray]:
    """The inverse of what is tested, written from the public layout: Flax's names and orders for a ViT of timm."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    width = state["cls_token"].shape[-1]
    heads = module.blocks[0].attn.num_heads  # type: ignore[index, union-attr]
    attention, second, mlp = numbers
    arrays = {
        "cls": state["cls_token"],
        "embedding/kernel": np.einsum("dchw->hwcd", state["patch_embed.proj.weight"]),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": np.einsum("kd->dk", state["head.weight"]),
        "head/bias": state["head.bias"],
    }
    for number in range(len(module.blocks)):  # type: ignore[arg-type]
        block = f"Transformer/encoderblock_{number}"
        old = f"blocks.{number}"
        for at, name in ((0, "norm1"), (second, "norm2")):
            arrays[f"{block}/LayerNorm_{at}/scale"] = state[f"{old}.{name}.weight"]
            arrays[f"{block}/LayerNorm_{at}/bias"] = state[f"{old}.{name}.bias"]
        qkv = state[f"{old}.attn.qkv.weight"].reshape(3, heads, width // heads, width)
        bias = state[f"{old}.attn.qkv.bias"].reshape(3, heads, width // heads)
        place = f"{block}/MultiHeadDotProductAttention_{attention}"
        for index, name in enumerate(("query", "key", "value")):
            arrays[f"{place}/{name}/kernel"] = np.einsum("hvd->dhv", qkv[index])
            arrays[f"{place}/{name}/bias"] = bias[index]
        out = state[f"{old}.attn.proj.weight"].reshape(width, heads, width // heads)
        arrays[f"{place}/out/kernel"] = np.einsum("dhv->hvd", out)
        arrays[f"{place}/out/bias"] = state[f"{old}.attn.proj.bias"]
        for index in (0, 1):
            dense = f"{block}/MlpBlock_{mlp}/Dense_{index}"
            arrays[f"{dense}/kernel"] = np.einsum("oi->io", state[f"{old}.mlp.fc{index + 1}.weight"])
            arrays[f"{dense}/bias"] = state[f"{old}.mlp.fc{index + 1}.bias"]
    return {f"{before}{name}": np.ascontiguousarray(value) for name, value in arrays.items()}


@pytest.mark.parametrize(("numbers", "before"), [((1, 2, 3), ""), ((0, 1, 0), ""), ((1, 2, 3), "opt/target/")])
def test_googles_own_files(numbers: tuple[int, int, int], before: str, tmp_path: Path) -> None:
    """By both programs' numbers; alone, in a named architecture, and at another size."""
    path = tmp_path / "ViT.npz"
    np.savez(path, **google_names(RIGHT, numbers, before))
    torch.testing.assert_close(opened(path).logits(X), logits(RIGHT))
    alone = load(path)
    torch.testing.assert_close(alone.logits(X), logits(RIGHT))
    assert (alone.preparation.height, alone.preparation.mode, alone.preparation.mean) == (32, "squash", (0.5, 0.5, 0.5))
    assert load(path, size=64).logits(torch.ones(1, 3, 64, 64)).shape == (1, 5)
    if numbers == (1, 2, 3) and not before:  # timm reads these as well, by code of its own
        module = timm.create_model(NAME, num_classes=5, **SMALL)
        module.load_pretrained(str(path))
        torch.testing.assert_close(alone.logits(X), logits(module.eval()))


def test_googles_files_that_are_refused(tmp_path: Path) -> None:
    arrays = google_names(RIGHT, (1, 2, 3))
    np.savez(tmp_path / "a.npz", **arrays, **{"pre_logits/kernel": np.ones((24, 24), np.float32)})
    with pytest.raises(NetworkError, match="holds a representation layer"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **arrays, **{"conv_root/kernel": np.ones(3, np.float32)})
    with pytest.raises(NetworkError, match="is a hybrid"):
        load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", **{"embedding/kernel": np.zeros((16, 16, 3, 8), np.float32)})
    for how in ({"model": tmp_path / "c.npz"}, {"model": NAME, "weights": tmp_path / "c.npz"}):
        with pytest.raises(NetworkError, match=r"c\.npz has names of Google's ViT.*not whole"):
            load(**how)
    np.savez(tmp_path / "d.npz", x=np.array([print], object))
    with pytest.raises(NetworkError, match="archive of NumPy that cannot be read"):
        load(tmp_path / "d.npz")
