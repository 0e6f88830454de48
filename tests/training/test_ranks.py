"""Virtual ranks: 1, 2 and 4 processes with any number of threads give the same bytes, and go on with each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import draw_pictures, run, tiny_recipe
from torch import nn
from torch.nn import functional as F

from regard.errors import NetworkError, UsageError
from regard.training.journal import Progress
from regard.training.parallel.ranks import VirtualRanks, apart, keyed, replayed, virtual_ranks
from regard.training.processes import ALONE, World

SCRIPT = Path(__file__).parents[1] / "support" / "tiny_training.py"
BENCH = Path(__file__).parents[2] / "bench" / "resume.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data")


def ended(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl", "split.csv")]


@pytest.mark.parametrize("filled", [8, 5, 1])
def test_the_sum_is_that_of_the_tree(filled: int) -> None:
    """Numbers whose sum depends on the order, against the tree written out; those that have none count nothing."""
    values = torch.tensor([1e8, 1.0, -1e8, 3.3, 1e-3, 2.0, 5.0, -7.0])
    one, two, three, four, five, six, seven, eight = (
        value if place < filled else torch.tensor(0.0) for place, value in enumerate(values)
    )
    tree = ((one + two) + (three + four)) + ((five + six) + (seven + eight))

    def terms(rank: int) -> list[torch.Tensor] | None:
        return [values[rank].clone().view(1)] if rank < filled else None

    (total,) = VirtualRanks(8, ALONE).total(terms, filled, [torch.Size([1])])
    assert torch.equal(total, tree.view(1))
    assert filled < 8 or total.item() != np.cumsum(values.numpy())[-1]


def test_processes_hold_neighbours() -> None:
    held = [list(VirtualRanks(8, World(rank, 4, CPU)).indices) for rank in range(4)]
    assert held == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_gradients_that_are_views_of_one_tensor_are_parted() -> None:
    whole = torch.arange(6.0).view(2, 3)
    values = apart([whole[:1], whole[:, 1:], whole.t()])
    assert len({value.untyped_storage().data_ptr() for value in values}) == 3
    assert all(value.is_contiguous() for value in values)
    assert all(torch.equal(*pair) for pair in zip(values, [whole[:1], whole[:, 1:], whole.t()], strict=True))


def mask_of(pictures: list[int], shape: tuple[int, ...], key: str = "0/train/0") -> torch.Tensor:
    with keyed(key, pictures, CPU):
        return F.dropout(torch.ones(len(pictures), *shape), 0.5)


def test_dropout_is_a_function_of_the_picture() -> None:
    """Whatever stands beside it; and not of the process's own random state, which stays as it was."""
    before = torch.get_rng_state()
    together = mask_of([3, 9, 4], (50,))
    assert torch.equal(torch.get_rng_state(), before)
    for place, index in enumerate([3, 9, 4]):
        assert torch.equal(together[place], mask_of([index], (50,))[0])
    assert not torch.equal(mask_of([3], (50,)), mask_of([3], (50,), "0/train/1"))
    assert 0.3 < (mask_of([3], (5000,)) == 0).float().mean() < 0.7


def test_heads_go_with_their_picture_and_fused_attention_without_dropout_is_no_draw() -> None:
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    tokens = torch.randn(3, 5, 8)

    def attended(pictures: list[int], tokens: torch.Tensor) -> torch.Tensor:
        with keyed("key", pictures, CPU):
            return attention(tokens, tokens, tokens, need_weights=True)[0].detach()

    together = attended([1, 2, 3], tokens)
    assert torch.allclose(together[1:2], attended([2], tokens[1:2]), atol=1e-6)
    with keyed("key", [1], CPU):
        F.scaled_dot_product_attention(tokens[None], tokens[None], tokens[None])


def test_draws_that_are_nobodys_are_refused() -> None:
    refusal = pytest.raises(
        NetworkError, match=r"not keyed by picture \(aten.rand.*give --dropout 0.*--virtual-ranks 0"
    )
    with refusal, keyed("key", [1, 2], CPU):
        torch.rand(3)
    with pytest.raises(NetworkError, match="not keyed by picture"), keyed("key", [1, 2], CPU):
        F.dropout(torch.ones(3, 4), 0.5)


def test_what_is_computed_again_draws_the_same() -> None:
    """As gradient checkpointing does: the block runs twice, the second time while gradients are taken."""

    def block(values: torch.Tensor) -> torch.Tensor:
        return F.dropout(values, 0.5) * values

    gradients = []
    for again in (False, True):
        start = torch.ones(2, 40, requires_grad=True)
        with keyed("key", [5, 6], CPU):
            values = F.dropout(start, 0.5)
            if again:
                values = torch.utils.checkpoint.checkpoint(block, values, use_reentrant=False, context_fn=replayed)
            else:
                values = block(values)
            values = F.dropout(values, 0.5)
        gradients.append(torch.autograd.grad(values.sum(), start)[0])
    assert torch.equal(*gradients) and gradients[0].any()


def test_what_cannot_be_trained_so_is_refused(data: Path, tmp_path: Path) -> None:
    settings = tiny_recipe(virtual_ranks=8).settings
    network = nn.Sequential(nn.Linear(2, 2))
    refusal = pytest.raises(UsageError, match=r"3 processes cannot share 8 virtual ranks .*; start 1 or 2 or 4 or 8")
    with refusal, virtual_ranks(settings, network, "tiny", World(0, 3, CPU)):
        pass
    normalised = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    refusal = pytest.raises(UsageError, match=r"tiny normalises over the batch \(1\).*give --virtual-ranks 0")
    with refusal, virtual_ranks(settings, normalised, "tiny", ALONE):
        pass
    with pytest.raises(UsageError, match=r"--virtual-ranks is 6, and .* it must be 0, or a power of two up to 64"):
        tiny_recipe(virtual_ranks=6)
    with virtual_ranks(tiny_recipe(virtual_ranks=8, batch_size=5).settings, network, "tiny", ALONE) as ranks:
        assert ranks is not None and ranks.count == 4  # fewer where the batch is smaller
    assert not list(tmp_path.iterdir())


def test_threads_change_no_byte_and_the_loss_is_that_of_a_plain_run(data: Path, tmp_path: Path) -> None:
    """Without dropout a plain run differs by rounding alone; the last batch has pictures for some ranks only."""
    recipe = tiny_recipe(epochs=2, batch_size=10, dropout=0.0, optimiser="sgd", learning_rate=0.01)
    virtual = recipe.changed({"virtual_ranks": 8})
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            run(data, tmp_path / f"{threads} threads", virtual, workers=0)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert ended(tmp_path / "1 threads") == ended(tmp_path / "3 threads")
    run(data, tmp_path / "plain", recipe, workers=0)
    plain, exact = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("plain", "1 threads")
    )
    losses = [[row["training_loss"] for row in rows if row["phase"] == "train"] for rows in (plain, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the bench forks, as Linux and macOS do")
def test_any_number_of_processes_and_killed_at_one_gone_on_with_at_another() -> None:
    """Whole runs of 1, 2 and 4 processes, and runs that are killed and gone on with by another number of them."""
    command = [sys.executable, str(BENCH), "--kills", "3", "--workers", "0", "--recipes", "ranks"]
    command += ["--processes", "1", "2", "4", "--seed", "1"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "%" in line]
    assert row.startswith("| ranks | 1, 2, 4 | 0 | 3 |") and row.endswith("| 100% |"), done.stdout


def test_begun_by_one_process_and_ended_under_torchrun(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(epochs=2, virtual_ranks=4)

    class Killed(BaseException):
        pass

    def killer(progress: Progress) -> None:
        if progress.phase == "train" and progress.done == 5:
            raise Killed

    run(data, tmp_path / "whole", recipe, workers=0)
    with pytest.raises(Killed):
        run(data, tmp_path / "run", recipe, every=1, workers=0, progress=killer)
    with pytest.raises(UsageError, match="virtual_ranks was 4 and is now 0"):
        run(data, tmp_path / "run", recipe.changed({"virtual_ranks": 0}), resume=True)
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.as_json()), encoding="utf-8")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT)]
    command = [sys.executable, *launcher, str(data), str(tmp_path / "run"), str(tmp_path / "recipe.json")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ended(tmp_path / "run") == ended(tmp_path / "whole")
