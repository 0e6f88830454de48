"""The loop: one for every task and every phase, meant to be read in a sitting.

It sees a `Phase` (what learns, from what, how that is scored), and gives the position at which it stopped. Whatever
happens to the process, the position and the tensors of the last checkpoint are all that is needed to go on: the order
of pictures, their random changes and dropout are functions of (seed, epoch, index or step).
"""

import math
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.data.dataset import Dataset
from regard.data.images.longest_side import LongestSide
from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.training.journal import Progress
from regard.training.layers.recompute import recomputed
from regard.training.loader import Batch, Loader, Step
from regard.training.objectives import Objective
from regard.training.optimise import (
    Average,
    State,
    dropout,
    eager_attention,
    learning_rate,
    load_values,
    on_cpu,
    optimiser,
    trained_state,
)
from regard.training.parallel.ranks import VirtualRanks, apart, keyed
from regard.training.session import Session
from regard.training.settings import Settings
from regard.training.trainable import Trainable

if TYPE_CHECKING:
    from regard.training.parallel.sharding import Shards

COLLECT_EVERY = 20
"""On a GPU the losses are fetched, and checked, once in so many steps: each fetch makes it wait."""
DIVERGED = 10.0
"""An epoch whose mean loss is so many times that of guessing has diverged, even where the numbers are still finite."""


class DivergedError(NetworkError):
    """A training whose loss is no number, or far above that of guessing."""


@dataclass
class Position:
    """Where a phase is, and what its epoch has added up so far; equal in all processes, and saved with checkpoints."""

    epoch: int = 0
    step: int = 0
    total: int = 0
    loss: float = 0.0
    right: float = 0.0
    weight: float = 0.0
    seen: int = 0
    best: float | None = None
    best_epoch: int | None = None
    stopped: bool = False


@dataclass
class Phase:
    """`module` learns from `loader`; `validate` scores it after an epoch, of which its
    objective's `best_by` says what is best.

    `average` and `best` are weights beside those that learn.
    """

    name: str
    module: nn.Module
    loader: Loader
    settings: Settings
    optimiser: torch.optim.Optimizer
    average: Average
    precision: str
    validate: Callable[[], Mapping[str, float]] | None
    best: State = field(default_factory=dict)
    shards: "Shards | None" = None

    def tensors(self) -> State:
        """All that a checkpoint needs beside the position."""
        state = {f"module/{name}": value for name, value in trained_state(self.module).items()}
        state |= {f"average/{name}": value for name, value in self.average.values.items()}
        state |= {f"best/{name}": value for name, value in self.best.items()}
        for number, slots in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser/{number}/{name}": value for name, value in slots.items() if value is not None}
        return state if self.shards is None else self.shards.whole(state)

    def restore(self, tensors: State) -> None:
        """What `tensors` gave, back in its places."""
        parts: dict[str, State] = {"module": {}, "average": {}, "best": {}}
        slots: dict[int, State] = {}
        for path, value in tensors.items():
            part, _, name = path.partition("/")
            if part == "optimiser":
                number, _, slot = name.partition("/")
                slots.setdefault(int(number), {})[slot] = value
            else:
                parts[part][name] = value
        if self.shards is not None:
            parts = {name: self.shards.parts(values) for name, values in parts.items()}
            slots = self.shards.slots(slots, self.optimiser)
        load_values(self.module, parts["module"])
        for name, value in parts["average"].items():
            self.average.values[name].copy_(value)
        self.best = parts["best"]
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})

    def size(self) -> int:
        """About how many bytes a checkpoint has."""
        weights = sum(value.nbytes for value in trained_state(self.module).values())
        slots = 0 if self.settings.optimiser == "sgd" and not self.settings.momentum else 2
        weights *= 1 if self.shards is None else self.shards.mesh.size()
        return weights * (1 + slots + bool(self.average.values) + bool(self.best))


def loader_of(
    part: Dataset,
    objective: Objective,
    preparation: Preparation | LongestSide,
    settings: Settings,
    session: Session,
) -> Loader:
    """Pictures with their targets, in batches as the settings have them."""
    return Loader(
        part.pictures,
        objective,
        preparation,
        settings.augmentation,
        settings.batch_size,
        settings.accumulate,
        session.seed,
        session.workers,
        session.world,
        session.ranks,
        settings.mixing,
    )


def check_choice(settings: Settings, held_out: int) -> None:
    """Raise `UsageError` where a choice is to be made on pictures set aside, and there are none."""
    if not held_out and (settings.keep == "best" or settings.patience):
        option = "--keep best" if settings.keep == "best" else f"--patience {settings.patience}"
        raise UsageError(f"{option} chooses on pictures set aside, and there are none; give --val 0.2, or leave it out")


def fit(
    network: Trainable,
    name: str,
    settings: Settings,
    loader: Loader,
    session: Session,
    precision: str,
    validate: Callable[[], Mapping[str, float]] | None,
) -> Position:
    """The loop with the optimiser, average and dropout that the settings ask for; the best or averaged weights stay."""
    with _in_shards(network, session) as shards:
        module = network.module
        with (
            dropout(network, settings),
            eager_attention(module, session.world.device, precision),
            recomputed(network, settings),
        ):
            average = Average(module, settings, settings.epochs * loader.per_epoch)
            learns = optimiser(network, settings)
            phase = Phase(name, module, loader, settings, learns, average, precision, validate, shards=shards)
            position = train(phase, session)
        load_values(module, phase.best if settings.keep == "best" and phase.best else phase.average.values)
    return position


def _in_shards(network: Trainable, session: Session) -> AbstractContextManager["Shards | None"]:
    """`sharding.sharded` where it was asked for; imported late, as it takes long."""
    if not session.shard_weights:
        return nullcontext()
    from regard.training.parallel.sharding import sharded

    return sharded(network, session.world)


def train(phase: Phase, session: Session) -> Position:
    """Train until the last epoch, or until `patience` is at its end; goes on from a checkpoint inside this phase.

    Raises `NetworkError` when the loss is not finite or has exploded, `DataError` naming a picture that cannot be
    read, `OutputError` when a checkpoint cannot be written, and, after Ctrl-C, `InterruptedTrainingError`, with a
    checkpoint.
    """
    checkpoints = session.checkpoints
    journal = session.journal
    settings = phase.settings
    position = Position()
    if (saved := checkpoints.resume(phase.name)) is not None:
        position = Position(**saved[0])
        phase.restore(saved[1])
    parallel = phase.module if session.ranks or phase.shards else session.world.parallel(phase.module)
    pending: list[Tensor] = []  # the sums of steps whose losses were not fetched yet
    clock = _Clock(position.total, settings.epochs * phase.loader.per_epoch)
    phase.module.train()
    with closing(phase.loader.steps(settings.epochs, position.epoch, position.step)) as steps:
        while not position.stopped and (step := next(steps, None)) is not None:
            # Dropout's random numbers are a function of seed, phase, step and process: no state of them is saved.
            text = f"{session.seed}/{phase.name}/{position.total}/{session.world.rank}"
            torch.manual_seed(zlib.crc32(text.encode()) << 20 | position.total & 0xFFFFF)
            rate = learning_rate(settings, position.total, phase.loader.per_epoch)
            for group in phase.optimiser.param_groups:
                group["lr"] = rate * group["share"]
            if session.ranks is None:
                pending.append(_accumulate_gradients(phase, parallel, step, session))
            else:
                pending.append(_add_up_gradients(phase, step, session, session.ranks))
            epoch_ends = step.number + 1 == phase.loader.per_epoch
            collects = epoch_ends or session.world.device.type == "cpu" or len(pending) >= COLLECT_EVERY
            stops = collects and _collect(pending, position, phase, session)
            _optimiser_step(phase, position.total)
            position.total += 1
            position.step = step.number + 1
            position.seen += len(step.indices)
            if epoch_ends:
                _end_epoch(phase, position, session)
            journal.progress(clock.progress(phase.name, position))
            # A checkpoint stands between two steps only: there the position and the tensors belong together.
            if stops:
                checkpoints.save(journal.rows, phase.name, asdict(position), phase.tensors())
                raise session.interrupt(f"{phase.name}, epoch {position.epoch}, step {position.step}")
            if collects:
                checkpoints.save_if_due(
                    journal.rows, phase.name, lambda: (asdict(position), phase.tensors()), phase.size()
                )
    phase.module.eval()
    journal.time(phase=phase.name, steps=position.total, **clock.times())
    return position


def _accumulate_gradients(phase: Phase, parallel: nn.Module, step: Step, session: Session) -> Tensor:
    """Add up the gradients of one step; returns (loss, right answers, weight of the pictures) of this process."""
    device = session.world.device
    weight = phase.loader.objective.weight(step.indices, step.epoch)
    sums = torch.zeros(3, dtype=torch.float32, device=device)
    for batch in step.batches:
        # Gradients travel between processes once a step, with its last batch. DDP takes their mean over processes:
        # times the number of processes, the sum of losses over the weight of the whole step comes out.
        if batch.last:
            loss, right = _loss(phase, parallel, batch, device)
            (loss * (session.world.size / weight)).backward()
        else:
            with session.world.unsynchronised(parallel):
                loss, right = _loss(phase, parallel, batch, device)
                (loss * (session.world.size / weight)).backward()
        sums[:2] += torch.stack([loss.detach(), right])
    sums[2] = weight / session.world.size
    return sums


def _add_up_gradients(phase: Phase, step: Step, session: Session, ranks: VirtualRanks) -> Tensor:
    """The same from virtual ranks, along their tree; all processes have the same gradients, the first has the sums."""
    device = session.world.device
    weight = phase.loader.objective.weight(step.indices, step.epoch)
    weights = [value for value in phase.module.parameters() if value.requires_grad]

    def gradients(rank: int) -> list[Tensor] | None:
        """Of the summed loss of a virtual rank's pictures over the weight of the whole step; behind them the sums."""
        terms: list[Tensor] | None = None
        for batch, (place, pictures) in zip(step.batches, step.shares, strict=True):
            if place == rank:
                with keyed(f"{session.seed}/{phase.name}/{step.epoch}", pictures, device):
                    loss, right = _loss(phase, phase.module, batch, device)
                parts = torch.autograd.grad(loss / weight, weights, materialize_grads=True)
                values = [*apart(parts), torch.stack([loss.detach(), right])]
                if terms is None:
                    terms = values
                else:
                    torch._foreach_add_(terms, values)
        return terms

    filled = min(ranks.count, phase.loader.batch_size, len(step.indices))
    shapes = [*(value.shape for value in weights), torch.Size([2])]
    *total, sums = ranks.total(gradients, filled, shapes)
    for value, gradient in zip(weights, total, strict=True):
        value.grad = gradient
    whole = torch.tensor([weight], device=device)
    # What `_collect` adds up over processes: zeros change no number, in whichever order.
    return torch.cat([sums, whole]) if session.world.main else torch.zeros(3, device=device)


def _loss(phase: Phase, parallel: nn.Module, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """The summed loss of a batch, and how many of its answers are right."""
    objective = phase.loader.objective
    inputs = phase.loader.inputs(batch, device)
    targets = batch.targets.to(device)
    counts = batch.counts.to(device)  # (pictures,)
    with torch.autocast(device.type, torch.bfloat16, enabled=phase.precision == "bfloat16"):
        logits = objective.logits(parallel, inputs, targets)
    losses, right = objective.losses(logits, targets)  # (pictures,) each
    return (losses * counts).sum(), (right * counts).sum()


def _collect(pending: list[Tensor], position: Position, phase: Phase, session: Session) -> bool:
    """Fetch the sums of the last steps, over all processes, and check them; returns whether any process is to stop."""
    stop = torch.full((1, 3), float(session.stop.pending), device=session.world.device)
    rows = session.world.total(torch.cat([torch.stack(pending), stop])).cpu().double()  # (steps + 1, 3)
    pending.clear()
    for loss, right, weight in rows[:-1].tolist():
        if not math.isfinite(loss):
            raise DivergedError(_diverged(f"the loss is {loss}", phase, position))
        position.loss += loss
        position.right += right
        position.weight += weight
    return bool(rows[-1, 0] > 0)


def _diverged(what: str, phase: Phase, position: Position) -> str:
    return (
        f"training diverged: {what} in {phase.name}, epoch {position.epoch}, step {position.step}; the last good "
        f"checkpoint is kept. Give a lower --learning-rate than {phase.settings.learning_rate:g}"
        f"{' or --precision float32' if phase.precision != 'float32' else ''} and start again with --overwrite"
    )


def _optimiser_step(phase: Phase, total: int) -> None:
    """One step of the optimiser, and of the average."""
    if phase.settings.clip:
        trained = (value for group in phase.optimiser.param_groups for value in group["params"])
        nn.utils.clip_grad_norm_(trained, phase.settings.clip)
    phase.optimiser.step()
    phase.optimiser.zero_grad(set_to_none=True)
    phase.average.update(total)


def _end_epoch(phase: Phase, position: Position, session: Session) -> None:
    """Score the epoch, keep it if it is the best (of equals the later), write its line, and turn to the next."""
    objective = phase.loader.objective
    settings = phase.settings
    loss = position.loss / position.weight
    if loss > DIVERGED * objective.chance_loss():
        raise DivergedError(_diverged(f"the mean loss of an epoch is {loss:.3g}, far above guessing", phase, position))
    row = dict(objective.summary(position.loss, position.right, position.weight, position.seen))
    if phase.validate is not None:
        with phase.average.applied(phase.module):
            row |= phase.validate()
            phase.module.train()
            if not math.isfinite(row["validation_loss"]):
                raise DivergedError(_diverged(f"the validation loss is {row['validation_loss']}", phase, position))
            score = float(row.get(objective.best_by, 0.0))  # left out where no label can be scored
            if position.best is None or score >= position.best:
                position.best = score
                position.best_epoch = position.epoch
                if settings.keep == "best":
                    phase.best = on_cpu(trained_state(phase.module))  # the averaged weights, where there are such
    rate = learning_rate(settings, position.total - 1, phase.loader.per_epoch)
    session.journal.row(phase=phase.name, epoch=position.epoch, steps=position.total, learning_rate=rate, **row)
    patience = settings.patience
    late = position.best_epoch is not None and patience > 0 and position.epoch - position.best_epoch >= patience
    position.stopped = late or position.epoch + 1 == settings.epochs
    position.epoch += 1
    position.step = position.seen = 0
    position.loss = position.right = position.weight = 0.0


class _Clock:
    """How fast steps go, and how long it takes to the end."""

    def __init__(self, first: int, total: int) -> None:
        self.first = first
        self.last = first
        self.total = total
        self.started = time.perf_counter()

    def progress(self, phase: str, position: Position) -> Progress:
        self.last = position.total
        seconds = (time.perf_counter() - self.started) / max(1, position.total - self.first)
        loss = position.loss / position.weight if position.weight else None
        return Progress(phase, position.total, self.total, seconds * (self.total - position.total), loss)

    def times(self) -> dict[str, Any]:
        return {"here": self.last - self.first, "seconds": round(time.perf_counter() - self.started, 3)}
