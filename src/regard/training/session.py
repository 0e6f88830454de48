"""What every training does around its phases: its folder, its checkpoints, its lines, its random state."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from regard.data.dataset import Dataset
from regard.errors import RegardError, UsageError
from regard.progress import Progress as Bar
from regard.progress import silent as no_bar
from regard.training.checkpoint import Checkpoints
from regard.training.folder import begin
from regard.training.journal import Journal, Progress, silent
from regard.training.parallel.ranks import VirtualRanks, virtual_ranks
from regard.training.processes import World
from regard.training.recipe import Recipe
from regard.training.tracking import Hook, Tracking
from regard.training.trainable import Trainable


class InterruptedTrainingError(RegardError):
    """Ctrl-C, after the checkpoint was written."""

    exit_code = 130


@dataclass
class Stop:
    """Whether the user wants to stop (Ctrl-C, or SIGTERM from a queue). A second Ctrl-C stops at once."""

    pending: bool = False

    @contextmanager
    def watching(self) -> Iterator["Stop"]:
        """Signals only set the flag while inside; in other threads than the first, Python gives no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _handle(self, number: int, frame: Any) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True


@dataclass
class Session:
    """What all phases of a run share."""

    world: World
    checkpoints: Checkpoints
    journal: Journal
    seed: int = 0
    workers: int = 2
    stop: Stop = field(default_factory=Stop)
    ranks: VirtualRanks | None = None
    shard_weights: bool = False

    def interrupt(self, place: str) -> InterruptedTrainingError:
        return InterruptedTrainingError(
            f"interrupted in {place}; a checkpoint is written: the same command with --resume goes on"
        )


@dataclass(frozen=True)
class Options:
    """How a training runs, whatever it learns. `every` writes a checkpoint after so many steps instead of by time.

    `shard_weights`: each process holds its part of them. `progress` is told of phases and steps. `batch_size`,
    `skip_bad` and `bar` are of recipes that compute features. `tensorboard` and `track` name what the run is shown to,
    `tracking` is that, where it is there already.
    """

    seed: int = 0
    workers: int = 2
    resume: bool = False
    overwrite: bool = False
    deterministic: bool = False
    tensorboard: bool = False
    track: "str | Hook | Sequence[str | Hook] | None" = None
    tracking: Tracking | None = None
    shard_weights: bool = False
    progress: Callable[[Progress], None] = silent
    every: int | None = None
    batch_size: int | None = None
    skip_bad: bool = False
    bar: Bar = no_bar

    @property
    def hooks(self) -> "list[str | Hook]":
        """The trackers, each once."""
        several = [self.track] if isinstance(self.track, str) or callable(self.track) else list(self.track or ())
        return [*several, *["tensorboard"] * (self.tensorboard and "tensorboard" not in several)]


@contextmanager
def training_session(
    network: Trainable,
    parts: Sequence[Dataset],
    hashes: Mapping[str, str],
    recipe: Recipe,
    folder: Path,
    world: World,
    facts: Mapping[str, Any],
    options: Options,
) -> Iterator[Session]:
    """The session in which phases run; the folder is begun, or, on request, resumed where all is the same as before.

    `facts` are what else must be the same. Raises what `folder.begin` does; whatever happens, the last checkpoint
    stays.
    """
    facts = {"seed": options.seed, **facts}
    if options.shard_weights:
        _check_shards(world, recipe)
    with virtual_ranks(recipe.settings, network.module, network.name, world) as ranks:
        tracking = Tracking(options.hooks) if options.tracking is None else options.tracking
        begin(folder, world, network, parts, hashes, recipe, facts, options)
        journal = Journal(folder, world.main, options.progress, tracking=tracking)
        checkpoints = Checkpoints(folder, world, options.every, together=options.shard_weights)
        session = Session(world, checkpoints, journal, options.seed, options.workers)
        session.ranks = ranks
        session.shard_weights = options.shard_weights
        # Lines that were written after the checkpoint are cut: the steps they tell of will be done again.
        journal.restore((checkpoints.load() if options.resume else None) or [])
        if world.main:
            tracking.open(folder, len(journal.rows))
        with session.stop.watching(), _random_state(world.device, options.deterministic):
            yield session
        if options.tracking is None:
            tracking.close()
        journal.time(phase="checkpoints", written=checkpoints.count, seconds=round(checkpoints.seconds, 3))


def _check_shards(world: World, recipe: Recipe) -> None:
    if world.size == 1:
        raise UsageError(
            "--shard-weights shares the weights out over processes, and there is one; start several with torchrun "
            "(docs/training.md), or leave it out"
        )
    if recipe.settings is not None and recipe.settings.virtual_ranks:
        raise UsageError(
            "--shard-weights adds gradients up in an order that depends on the number of processes, and "
            "--virtual-ranks in one that does not; give one of them"
        )


@contextmanager
def _random_state(device: torch.device, deterministic: bool) -> Iterator[None]:
    """The process's random state and switches, as they were; inside, on request, only deterministic algorithms."""
    algorithms = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if deterministic:
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, before its first use
                torch.backends.cudnn.benchmark = False
                torch.use_deterministic_algorithms(True)
            yield
        finally:
            torch.use_deterministic_algorithms(algorithms)
            torch.backends.cudnn.benchmark = benchmark
