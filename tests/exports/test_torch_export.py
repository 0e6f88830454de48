"""Graphs of torch: opened by torch alone they have the network's logits, and what cannot be traced is named."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
from test_round_trips import CLASSES, FAMILIES, PLAIN, PREPARED, network_of, of_transformers
from torch import Tensor, nn
from woken import error

import regard
from regard.errors import NetworkError, OutputError, UsageError
from regard.networks.edits import applied
from regard.networks.load import load
from regard.networks.network import Network


def opened(path: Path) -> tuple[Any, dict[str, Any]]:
    extra = {"regard.json": "", "README.md": ""}
    module = torch.export.load(path, extra_files=extra).module()
    assert extra["README.md"].startswith("---")
    return module, json.loads(extra["regard.json"])


def pictures(network: Network, count: int) -> Tensor:
    shape = (count, 3, network.preparation.height, network.preparation.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("family", ["ViT", "EVA", "Swin"])
def test_a_graph_has_the_logits_of_the_network(family: str, tmp_path: Path) -> None:
    network = network_of(*FAMILIES[family])
    (tmp_path / ".a.pt2.abcd_123.part").mkdir()  # of one that was killed
    result = regard.export(network, tmp_path / "a.pt2", "pt2")
    assert [each.what for each in result.parity] == ["logits"] and result.files == ("a.pt2",) and not result.notes
    module, about = opened(tmp_path / "a.pt2")
    for count in (1, 3):
        x = pictures(network, count)
        assert error(module(x).detach(), network.logits(x)) <= 1e-4
    assert tuple(about["classes"]) == CLASSES and about["preparation"] == network.preparation.as_json()
    assert [*tmp_path.iterdir()] == [tmp_path / "a.pt2"]
    with ZipFile(tmp_path / "a.pt2") as parts:  # where the code lay on this machine goes nowhere
        texts = [parts.read(name) for name in parts.namelist() if name.endswith(".json")]
    assert texts and not [text for text in texts if b".py" in text or b"site-packages" in text]


def test_repaired_registers_are_inside(tmp_path: Path) -> None:
    network = network_of(*FAMILIES["ViT"])
    x = pictures(network, 2)
    before = network.logits(x)
    network = applied(network, [{"kind": "registers", "neurons": [[0, 3], [1, 7]]}])
    assert error(network.logits(x), before) > 1e-3
    regard.export(network, tmp_path / "a.pt2", "pt2")
    assert error(opened(tmp_path / "a.pt2")[0](x).detach(), network.logits(x)) <= 1e-4


def test_a_network_of_transformers_and_a_module_of_ones_own(tmp_path: Path) -> None:
    own = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.GELU(), nn.Flatten(), nn.Linear(128, 4)).eval()
    for name, network in (("a", of_transformers("vit", PREPARED["squash"])), ("b", load(own, size=32))):
        regard.export(network, tmp_path / f"{name}.pt2", "pt2", batch=3)
        x = pictures(network, 3)
        assert error(opened(tmp_path / f"{name}.pt2")[0](x).detach(), network.logits(x)) <= 1e-4


def test_a_file_that_gives_back_another_card_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_graph = torch.export.load

    def cut(path: Path, extra_files: dict[str, str]) -> Any:
        program = load_graph(path, extra_files=extra_files)
        extra_files["README.md"] = extra_files["README.md"][:-1]
        return program

    monkeypatch.setattr(torch.export, "load", cut)
    network = load(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)).eval(), size=32)
    with pytest.raises(OutputError, match=r"a\.pt2 does not give back .*; nothing was written: choose another export"):
        regard.export(network, tmp_path / "a.pt2", "pt2")
    assert not [*tmp_path.iterdir()]


def test_sizes_that_vary(tmp_path: Path) -> None:
    network = load("random:vit_tiny_patch16_224", arguments={**PLAIN, "dynamic_img_size": True, "num_classes": 4})
    regard.export(network, tmp_path / "a.pt2", "pt2", dynamic=True)
    module, _ = opened(tmp_path / "a.pt2")
    for size in ((32, 32), (48, 24)):
        x = torch.randn(2, 3, *size)
        assert error(module(x).detach(), network.logits(x)) <= 1e-4
    with pytest.raises(UsageError, match=r"takes pictures of 32 × 32 pixels .*leave --dynamic out"):
        regard.export(network_of(*FAMILIES["ViT"]), tmp_path / "b.pt2", "pt2", dynamic=True)


class Choosing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean().item() > 0 else -x


def test_the_part_that_cannot_be_traced_is_named(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Sequential(nn.GELU(), Choosing()), nn.Flatten(), nn.Linear(128, 2))
    old = tmp_path / "a.pt2"
    old.write_text("what stood here")
    with pytest.raises(
        NetworkError, match=r"cannot be traced: 1\.1 \(Choosing\) stopped it .*no \.item\(\)"
    ) as refused:
        regard.export(load(module.eval(), size=32), old, "pt2", overwrite=True)
    assert "\n" not in str(refused.value)
    assert old.read_text() == "what stood here" and [*tmp_path.iterdir()] == [old]


class OneByOne(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[index : index + 1].flatten(1)[:, :3] for index in range(len(x))])


def test_a_batch_that_cannot_vary_is_told(tmp_path: Path) -> None:
    network = load(OneByOne(), size=8)
    result = regard.export(network, tmp_path / "a.pt2", "pt2")
    assert "its batch is fixed at 2" in str(result)
    x = pictures(network, 2)
    assert torch.equal(opened(tmp_path / "a.pt2")[0](x).detach(), network.logits(x))
