"""What every training does around its phases: its folder, its checkpoints, its lines, its random state."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from regard.data.dataset import Dataset
from regard.training.checkpoint import Keeper
from regard.training.folder import begin
from regard.training.journal import Journal, Progress, open_board, silent
from regard.training.learner import Learner
from regard.training.loop import Session
from regard.training.processes import World
from regard.training.recipe import Recipe


@dataclass(frozen=True)
class How:
    """How a training runs, whatever it learns. `every` writes a checkpoint after so many steps instead of by time."""

    seed: int = 0
    workers: int = 2
    resume: bool = False
    overwrite: bool = False
    deterministic: bool = False
    tensorboard: bool = False
    progress: Callable[[Progress], None] = silent
    every: int | None = None


@contextmanager
def running(
    learner: Learner,
    parts: Sequence[Dataset],
    hashes: Mapping[str, str],
    recipe: Recipe,
    folder: Path,
    world: World,
    facts: Mapping[str, Any],
    how: How,
) -> Iterator[Session]:
    """The session in which phases run; the folder is begun, or, on request, gone on with where it is of the same.

    `facts` are what else must be the same. Raises what `folder.begin` does; whatever happens, the last checkpoint
    stays.
    """
    facts = {"seed": how.seed, **facts}
    begin(folder, world, learner, parts, hashes, recipe, facts, resume=how.resume, overwrite=how.overwrite)
    board = open_board(folder) if how.tensorboard and world.main else None
    journal = Journal(folder, world.main, how.progress, board)
    keeper = Keeper(folder, world, how.every)
    session = Session(world, keeper, journal, how.seed, how.workers)
    journal.restore((keeper.load() if how.resume else None) or [])
    with session.stop.watching(), _random_state(world.device, how.deterministic):
        yield session
    journal.time(phase="checkpoints", written=keeper.written, seconds=round(keeper.spent, 3))


@contextmanager
def _random_state(device: torch.device, deterministic: bool) -> Iterator[None]:
    """The process's random state and switches, as they were; inside, on request, only deterministic algorithms."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, before its first use
                torch.backends.cudnn.benchmark = False
                torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.backends.cudnn.benchmark = before[1]
