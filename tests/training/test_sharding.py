"""Weights in shards: two processes hold half of them each, and a run of theirs is one like any other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_shards import sharded_recipe
from tiny_training import draw_pictures, run, tiny_recipe

from regard.errors import UsageError
from regard.training.checkpoint import STATE, unpack
from regard.training.tasks import finetune

SCRIPT = Path(__file__).parents[1] / "support" / "tiny_shards.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data")


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("runs")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(data), str(base)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return base


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [row[name] for row in rows for name in ("training_loss", "validation_loss") if name in row]


def test_two_processes_hold_about_half_of_the_weights_each(runs: Path) -> None:
    """By number and by memory; nothing is held twice, and the network has its own weights again afterwards."""
    facts = [json.loads((runs / f"facts {rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    total = facts[0]["total"]
    assert sum(each["held"] for each in facts) == total
    for each in facts:
        assert each["same after"]
        assert 0.45 * total < each["held"] < 0.55 * total
        assert 4 * each["held"] <= each["bytes"] < 0.6 * 4 * total


def test_what_comes_out_is_what_whole_weights_give(runs: Path) -> None:
    """Of equal names, shapes and kinds, and equal but for rounding; so are the losses of each epoch."""
    plain, shards = (load_file(runs / name / "model.safetensors") for name in ("plain", "shards"))
    assert {name: (value.shape, value.dtype) for name, value in plain.items()} == {
        name: (value.shape, value.dtype) for name, value in shards.items()
    }
    assert all(torch.allclose(value, shards[name], rtol=1e-3, atol=2e-4) for name, value in plain.items())
    assert losses(runs / "plain") == pytest.approx(losses(runs / "shards"), rel=1e-4)


def test_stopped_and_gone_on_with_it_ends_with_the_same_bytes(runs: Path) -> None:
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (runs / "stopped" / name).read_bytes() == (runs / "shards" / name).read_bytes()


def test_one_process_goes_on_with_what_shards_began(runs: Path, data: Path) -> None:
    """The checkpoint holds weights, moments and averages whole, as that of any run."""
    folder = runs / "begun"
    facts, tensors = unpack((folder / STATE).read_bytes(), folder)
    assert facts["position"]["total"] == 3
    weights = load_file(runs / "plain" / "model.safetensors")
    for part in ("module", "average", "best"):
        shapes = {name.partition("/")[2]: value.shape for name, value in tensors.items() if f"phase/{part}/" in name}
        assert {name.removeprefix(f"{part}/"): shape for name, shape in shapes.items()} == {
            name: value.shape for name, value in weights.items()
        }
    run(data, folder, sharded_recipe(), workers=0, resume=True)
    assert losses(folder) == pytest.approx(losses(runs / "plain"), rel=1e-4)


def test_shards_that_cannot_be_are_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"--shard-weights shares .* and there is one; start several with torchrun"):
        run(data, tmp_path / "run", tiny_recipe(), shard_weights=True)
    with pytest.raises(UsageError, match=r"40 pictures are few|32 pictures are few, .*or give --search never"):
        run(data, tmp_path / "run", tiny_recipe(search="always"), shard_weights=True)
    assert not (tmp_path / "run").exists()

    def two(device: object) -> finetune.World:
        return finetune.World(0, 2, torch.device("cpu"))

    monkeypatch.setattr(finetune, "join", two)
    with pytest.raises(UsageError, match=r"--shard-weights adds gradients up in an order .*; give one of them"):
        run(data, tmp_path / "run", tiny_recipe(virtual_ranks=8), shard_weights=True)
