"""Runs that are killed at random moments and gone on with, against one that never was: the same bytes?

    python bench/resume.py [--kills 100] [--processes 1 2] [--workers 0 2] [--recipes NAME ...] [--seed 0]

A tiny network (dropout and random changes on, the search by cross-validation too) is trained on drawn pictures in
processes of their own, which are killed with SIGKILL after a random time and started again with --resume until the
run ends; then its bytes are compared. Prints one table; exit code 1 when any byte differs. Needs fork (Linux, macOS).

The recipes with virtual ranks are compared with the run of one process, are run whole by each number of processes too,
and every start takes another number of them: what one process began, four go on with.
"""

import argparse
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import torch
from tiny_captions import caption_recipe, draw_captioned, run_captions
from tiny_training import draw_pictures, run, tiny_recipe

from regard.training.checkpoint import STATE
from regard.training.recipe import Recipe

RECIPES = {
    "finetune": tiny_recipe(epochs=10, crop=0.5, brightness=0.2),
    "search": tiny_recipe(search="always", folds=2, epochs=2),
    "dlcv": tiny_recipe("dlcv", epochs=10),
    "caption": caption_recipe(epochs=10, drop_path=0.1, brightness=0.2),
    "ranks": tiny_recipe(epochs=4, crop=0.5, brightness=0.2, drop_path=0.2, accumulate=2, virtual_ranks=8),
    "ranks, search": tiny_recipe(search="always", folds=2, epochs=2, virtual_ranks=8),
    "ranks, bfloat16": tiny_recipe(epochs=6, precision="bfloat16", average="swa", virtual_ranks=8),
    "ranks, dlcv": tiny_recipe("dlcv", epochs=6, batch_size=4, virtual_ranks=8),
    "ranks, caption": caption_recipe(epochs=6, drop_path=0.1, batch_size=4, virtual_ranks=4),
}
FILES = ("model.safetensors", "metrics.jsonl")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    recipe: Recipe
    processes: tuple[int, ...]
    workers: int


def start(case: Case, data: Path, folder: Path, processes: int) -> list[int]:
    """The run, in so many processes; returns their ids."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [_fork(case, data, folder, rank, port, processes) for rank in range(processes)]


def _fork(case: Case, data: Path, folder: Path, rank: int, port: int, processes: int) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        if processes > 1:  # what torchrun sets
            names = {"WORLD_SIZE": processes, "RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in names.items()}}
        torch.set_num_threads(len(case.processes))  # with virtual ranks, threads change nothing either
        source, train = (data / "captions.csv", run_captions) if "caption" in case.name else (data / "labelled", run)
        train(source, folder, case.recipe, resume=True, every=2, workers=case.workers)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(processes: list[int]) -> bool:
    """Wait for all; whether they ended well (an error is printed by the process and ends the bench)."""
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    if any(code > 0 for code in codes):
        sys.exit(f"a process failed: exit codes {codes}")
    return not any(codes)


def killed_after(seconds: float, processes: list[int]) -> bool:
    """Whether the processes were still at work after this time and are now killed."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        if os.waitid(os.P_PID, processes[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.001)
    for process in processes:
        os.kill(process, signal.SIGKILL)  # one that has ended is still waited for, so its id is nobody else's
    return not ended(processes)


def bench(case: Case, data: Path, base: Path, kills: int, chance: random.Random) -> tuple[int, int, int, int, float]:
    """(kills, of which before a checkpoint, while one was written, runs compared, share of equal ones)."""
    count = bare = writing = runs = equal = 0
    right: list[bytes] = []
    for processes in case.processes:
        whole = base / f"whole {processes}"
        begun = time.perf_counter()
        if not ended(start(case, data, whole, processes)):
            sys.exit("the run that is never killed was killed")
        duration = time.perf_counter() - begun
        found = [(whole / name).read_bytes() for name in FILES]
        runs += bool(right)
        equal += bool(right) and found == right
        right = right or found
    while count < kills:
        folder = base / f"killed {runs}"
        while not (folder / "model.json").exists():
            left = chance.uniform(0, duration / 2) if count < kills else 3600
            if killed_after(left, start(case, data, folder, chance.choice(case.processes))):
                count += 1
                bare += not (folder / STATE).exists()
                writing += any((folder / STATE).parent.glob(".state*"))
        runs += 1
        equal += [(folder / name).read_bytes() for name in FILES] == right
    return count, bare, writing, runs, equal / max(1, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in all, shared out over the rows")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    plain = [name for name in given.recipes if not name.startswith("ranks")]
    counts = [(count,) for count in given.processes]
    grid = [(name, count, workers) for count in counts for workers in given.workers for name in plain]
    virtual = [name for name in given.recipes if name.startswith("ranks")]
    grid += [(name, tuple(given.processes), workers) for workers in given.workers for name in virtual]
    print(
        "| recipe | processes | workers | kills | before the first checkpoint | while one was written | runs "
        "| same bytes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    chance, different = random.Random(given.seed), False
    with tempfile.TemporaryDirectory() as base:
        data = Path(base) / "data"
        draw_pictures(data / "labelled")
        draw_captioned(data)
        for row, (name, count, workers) in enumerate(grid):
            case = Case(name, RECIPES[name], count, workers)
            share = given.kills // len(grid) + (row < given.kills % len(grid))
            skip = not share and len(count) == 1
            found = (0, 0, 0, 0, 1.0) if skip else bench(case, data, Path(base) / str(row), share, chance)
            cells = [name, ", ".join(map(str, count)), workers, *found[:4], f"{found[4]:.0%}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            different |= found[4] < 1
    sys.exit(int(different))


if __name__ == "__main__":
    main()
