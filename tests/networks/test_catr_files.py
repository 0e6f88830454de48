"""CATR's checkpoints: the public ones load, and whatever else there is in a file is refused by name."""

import math
import pickle
import socket
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from regard.errors import NetworkError, RegardError, UsageError
from regard.networks.captioners.families import catr as catr_module
from regard.networks.captioners.families.catr import PUBLIC, Catr, is_catr, load_catr


def layout() -> dict[str, Tensor]:
    """The full layout with ones, of which a file holds one number each."""
    with torch.device("meta"):
        whole = Catr().state_dict()
    return {name: torch.ones(1).expand(tensor.shape) for name, tensor in whole.items()}


def refused(path: Path, match: str, kind: type[RegardError] = NetworkError) -> None:
    with pytest.raises(kind, match=match) as caught:
        load_catr(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_the_layout_is_read(tmp_path: Path) -> None:
    tensors = layout()
    assert len(tensors) == 716 and is_catr(tensors)
    before = torch.random.get_rng_state()
    torch.save({"model": OrderedDict(tensors), "optimizer": {"state": {}}, "epoch": 29}, tmp_path / "catr.pth")
    catr, _ = load_catr(tmp_path / "catr.pth")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not catr.training and all(bool((value == 1).all()) for value in catr.state_dict().values())
    assert not any(value.is_meta for value in catr.buffers())


def test_a_layout_that_does_not_fit_is_refused_by_key(tmp_path: Path) -> None:
    path, word = tmp_path / "catr.pth", "transformer.embeddings.word_embeddings.weight"
    for change, match in (
        ({word: None}, rf"1 missing: {word}"),
        ({"transformer.more": torch.ones(2)}, "1 extra: transformer.more"),
        ({word: torch.ones(1).expand(21128, 256)}, rf"{word} is 21128 × 256 where 30522 × 256 is needed"),
        ({"mlp.layers.0.bias": torch.ones(512, dtype=torch.long)}, "1 are not plain.*mlp.layers.0.bias"),
        ({"input_proj.bias": torch.ones(256).to_sparse()}, "1 are not plain.*input_proj.bias"),
        ({"input_proj.bias": torch.full((256,), math.nan)}, "not finite: input_proj.bias"),
    ):
        tensors = {name: value for name, value in (layout() | change).items() if value is not None}
        torch.save({"model": tensors}, path)
        refused(path, match)


def test_what_is_no_checkpoint_of_catr_is_refused(tmp_path: Path) -> None:
    save_file(
        {"cls_token": torch.ones(1, 1, 8), "blocks.0.attn.qkv.weight": torch.ones(24, 8)}, tmp_path / "vit.safetensors"
    )
    refused(tmp_path / "vit.safetensors", r"no checkpoint of CATR.*blocks.0.attn.qkv.weight.*catr-v1")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Trap()}))
    refused(tmp_path / "evil.pth", "would run code")
    assert not Trap.sprung
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    refused(tmp_path / "cut.pth", "damaged")
    refused(tmp_path / "none.pth", "no such file")
    refused(Path("catr-v4"), "did you mean.*catr-v", UsageError)


class Trap:
    """Springs when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple:
        return setattr, (Trap, "sprung", True)


def test_a_public_checkpoint_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(NetworkError, match="no network: cannot fetch catr-v2"):
        load_catr("catr-v2")


def test_a_public_checkpoint_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(address: str, path: str) -> None:
        asked.append(address)
        torch.save({"model": layout()}, path)

    monkeypatch.setattr(catr_module, "require", lambda address, what: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        load_catr("catr-v3")
    assert asked == [PUBLIC["catr-v3"]]
