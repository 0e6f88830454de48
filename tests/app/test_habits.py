"""Habits of the command line: names from standard input, addresses, and machines that are too small."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_training import draw_pictures

from regard.app.options import complete_captioners, complete_models
from regard.explanation.pictures import shapley as sampling
from regard.networks.load import load

Run = Callable[..., tuple[int, str, str]]
PETS = ("--model", "pets-tiny", "--workers", 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data", each=2)


@pytest.mark.parametrize("end", [b"\n", b"\0", b"\r\n"])
def test_names_from_standard_input(end: bytes, data: Path, tmp_path: Path, run: Run, monkeypatch) -> None:
    """A line each, or ended by NUL, as `find` writes them."""
    names = [data / "red" / "0.png", data / "blue" / "1.png"]
    content = b"".join(os.fsencode(name) + end for name in names)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    code, _, err = run("predict", "-", *PETS, "--out", tmp_path / "p.csv")
    assert code == 0, err
    rows = (tmp_path / "p.csv").read_text().splitlines()
    assert len(rows) == 3 and "0.png" in rows[1] and "1.png" in rows[2]


def test_standard_input_without_names(tmp_path: Path, run: Run, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    code, _, err = run("predict", "-", *PETS, "--out", tmp_path / "p.csv")
    assert code == 2
    assert "standard input" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "https://example.org/cat.jpg"),
        ("caption", "http://example.org/cat.jpg"),
        ("train", "https://example.org/data"),
        ("predict", ".", "--model", "vit_tiny_patch16_224", "--weights", "https://example.org/data/model.safetensors"),
        ("predict", ".", "--model", "https://example.org/data/model.safetensors"),
    ],
)
def test_an_address_is_named_as_one(words: tuple, data: Path, tmp_path: Path, run: Run) -> None:
    """The slash that a path loses stands again."""
    words = tuple(str(data) if word == "." else word for word in words)
    address = next(word for word in words if "://" in word)
    code, _, err = run(*words, "--out", tmp_path / "out")
    assert code == 1
    assert f"{address} is an address; download it" in err.splitlines()[-1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_out_of_memory_is_one_line(error: Exception, data: Path, tmp_path: Path, run: Run, monkeypatch) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("regard.networks.network.Network.forward", fails)
    words = ("--method", "shapley", "--samples", 4, "--out", tmp_path / "maps")
    code, _, err = run("explain", data, *PETS, *words)
    assert code == 1
    last = err.splitlines()[-1]
    assert "out of memory" in last and "--batch-size (now 8)" in last and "--samples (now 4)" in last


def test_another_error_of_torch_is_none_of_memory(data: Path, tmp_path: Path, run: Run, monkeypatch) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("regard.networks.network.Network.forward", fails)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run("explain", data, *PETS, "--method", "shapley", "--out", tmp_path / "maps")


def test_shapley_draws_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are those of all samples at once, and no more orders are computed together than a chunk has."""
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    network = load("random:vit_tiny_patch16_224", classes=2, arguments=arguments)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sizes = set()
    logits_with = sampling.Tokens.logits_with

    def counted(tokens: sampling.Tokens, pictures: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        if patches.shape[1]:  # the score of no patch is one for all
            sizes.add(len(patches))
        return logits_with(tokens, pictures, patches)

    monkeypatch.setattr(sampling.Tokens, "logits_with", counted)
    whole = sampling.shapley(network, pixels, target=0, samples=10)
    monkeypatch.setattr(sampling, "CHUNK", 4)
    parts = sampling.shapley(network, pixels, target=0, samples=10)
    assert sizes == {20, 8, 4}
    torch.testing.assert_close(parts.values, whole.values, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(parts.error, whole.error, atol=1e-6, rtol=1e-5)


def test_what_can_caption_is_offered_where_a_captioner_is_asked_for(tmp_path: Path, monkeypatch) -> None:
    for task in ("classification", "captioning"):
        (tmp_path / "runs" / task).mkdir(parents=True)
        (tmp_path / "runs" / task / "model.json").write_text(json.dumps({"task": task}))
    (tmp_path / "odd" / "model.json").mkdir(parents=True)  # a folder of that name is no run, nor a fault
    monkeypatch.chdir(tmp_path)
    assert list(complete_captioners("")) == ["scenes-captioner", "runs/captioning"]
    assert list(complete_captioners("runs/c")) == ["runs/captioning"]
    assert set(complete_models("runs/")) == {"runs/classification", "runs/captioning"}
