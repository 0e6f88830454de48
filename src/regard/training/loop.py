"""The loop: one for every task and every phase, meant to be read in a sitting.

It sees a `Work` (what learns, from what, how that is scored), and gives the position at which it stopped. Whatever
happens to the process, the position and the tensors of the last checkpoint are all that is needed to go on: the order
of pictures, their random changes and dropout are functions of (seed, epoch, index or step).
"""

import math
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError, RegardError
from regard.training.checkpoint import Keeper
from regard.training.journal import Journal, Progress
from regard.training.loader import Batch, Feed, Step
from regard.training.optimise import Average, State, copied, learning, put, rate
from regard.training.processes import World
from regard.training.recipe import Settings

SETTLE = 20
"""On a GPU the losses are fetched, and checked, once in so many steps: each fetch makes it wait."""
DIVERGED = 10.0
"""An epoch whose mean loss is so many times that of guessing has diverged, even where the numbers are still finite."""


class InterruptedTrainingError(RegardError):
    """Ctrl-C, after the checkpoint was written."""

    exit_code = 130


@dataclass
class Stop:
    """Whether the user asked to stop (Ctrl-C, or SIGTERM from a queue). A second Ctrl-C stops at once."""

    asked: bool = False

    @contextmanager
    def watching(self) -> Iterator["Stop"]:
        """Signals only set the flag while inside; in other threads than the first, Python gives no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@dataclass
class Session:
    """What all phases of a run share."""

    world: World
    keeper: Keeper
    journal: Journal
    seed: int = 0
    workers: int = 2
    stop: Stop = field(default_factory=Stop)

    def interrupt(self, where: str) -> InterruptedTrainingError:
        return InterruptedTrainingError(
            f"interrupted in {where}; a checkpoint is written: the same command with --resume goes on"
        )


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
class Work:
    """One phase: `module` learns from `feed`; `validate` scores it after an epoch (its `score` decides what is best).

    `average` and `best` are weights beside those that learn.
    """

    name: str
    module: nn.Module
    feed: Feed
    settings: Settings
    optimiser: torch.optim.Optimizer
    average: Average
    precision: str = "float32"
    validate: Callable[[], Mapping[str, float]] | None = None
    best: State = field(default_factory=dict)

    def tensors(self) -> State:
        """All that a checkpoint needs beside the position."""
        state = {f"module/{name}": value for name, value in learning(self.module).items()}
        state |= {f"average/{name}": value for name, value in self.average.values.items()}
        state |= {f"best/{name}": value for name, value in self.best.items()}
        for number, slots in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser/{number}/{name}": value for name, value in slots.items() if value is not None}
        return state

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
        put(self.module, parts["module"])
        for name, value in parts["average"].items():
            self.average.values[name].copy_(value)
        self.best = parts["best"]
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": slots, "param_groups": groups})

    def size(self) -> int:
        """About how many bytes a checkpoint has."""
        own = sum(value.nbytes for value in learning(self.module).values())
        slots = 0 if self.settings.optimiser == "sgd" and not self.settings.momentum else 2
        return own * (1 + slots + bool(self.average.values) + bool(self.best))


def train(work: Work, session: Session) -> Position:
    """Train until the last epoch, or until `patience` is at its end; goes on from a checkpoint inside this phase.

    Raises `NetworkError` when the loss is not finite or has exploded, `DataError` naming a picture that cannot be
    read, `OutputError` when a checkpoint cannot be written, and, after Ctrl-C, `InterruptedTrainingError`, with a
    checkpoint.
    """
    keeper, journal, settings = session.keeper, session.journal, work.settings
    at = _resumed(work, session)
    parallel = session.world.parallel(work.module)
    pending: list[Tensor] = []
    clock = _Clock(at.total, settings.epochs * work.feed.per_epoch)
    work.module.train()
    with closing(work.feed.steps(settings.epochs, at.epoch, at.step)) as steps:
        while not at.stopped and (step := next(steps, None)) is not None:
            _seed(session, work.name, at.total)
            _set_rate(work, at.total)
            pending.append(_forward_backward(work, parallel, step, session))
            ends = step.number + 1 == work.feed.per_epoch
            settled = ends or session.world.device.type == "cpu" or len(pending) >= SETTLE
            asked = settled and _settle(pending, at, work, session)
            _move(work, at.total)
            at.total, at.step, at.seen = at.total + 1, step.number + 1, at.seen + len(step.indices)
            if ends:
                _end_epoch(work, at, session)
            journal.progress(clock.progress(work.name, at))
            if asked:
                keeper.save(journal.rows, work.name, asdict(at), work.tensors())
                raise session.interrupt(f"{work.name}, epoch {at.epoch}, step {at.step}")
            if settled:
                keeper.maybe(journal.rows, work.name, lambda: (asdict(at), work.tensors()), work.size())
    work.module.eval()
    journal.time(phase=work.name, steps=at.total, **clock.times())
    return at


def _resumed(work: Work, session: Session) -> Position:
    """The position of the checkpoint where it is in this phase, with everything in its place; else the start."""
    given = session.keeper.begin(work.name)
    if given is None:
        return Position()
    position, tensors = given
    work.restore(tensors)
    return Position(**position)


def _seed(session: Session, phase: str, total: int) -> None:
    """Dropout's random numbers: a function of seed, phase, step and process, so that no state of them is kept."""
    text = f"{session.seed}/{phase}/{total}/{session.world.rank}"
    torch.manual_seed(zlib.crc32(text.encode()) << 20 | total & 0xFFFFF)


def _set_rate(work: Work, total: int) -> None:
    now = rate(work.settings, total, work.feed.per_epoch)
    for group in work.optimiser.param_groups:
        group["lr"] = now * group["share"]


def _forward_backward(work: Work, parallel: nn.Module, step: Step, session: Session) -> Tensor:
    """Add up the gradients of one step; returns (loss, right answers, weight of the pictures) of this process."""
    device = session.world.device
    weight = work.feed.lessons.weight(step.indices, step.epoch)
    sums = torch.zeros(3, dtype=torch.float32, device=device)
    for batch in step.batches:
        if batch.last:
            loss, right = _loss(work, parallel, batch, device)
            (loss * (session.world.size / weight)).backward()
        else:
            with session.world.unsynchronised(parallel):
                loss, right = _loss(work, parallel, batch, device)
                (loss * (session.world.size / weight)).backward()
        sums[:2] += torch.stack([loss.detach(), right])
    sums[2] = weight / session.world.size
    return sums


def _loss(work: Work, parallel: nn.Module, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    """The summed loss of a batch, and how many of its answers are right."""
    inputs, lessons = work.feed.inputs(batch, device), work.feed.lessons
    targets, counts = batch.targets.to(device), batch.counts.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=work.precision == "bfloat16"):
        logits = lessons.predict(parallel, inputs, targets)
    losses, right = lessons.judge(logits, targets)
    return (losses * counts).sum(), (right * counts).sum()


def _settle(pending: list[Tensor], at: Position, work: Work, session: Session) -> bool:
    """Fetch the sums of the last steps, over all processes, and check them; returns whether a stop was asked for."""
    asked = torch.full((1, 3), float(session.stop.asked), device=session.world.device)
    rows = session.world.total(torch.cat([torch.stack(pending), asked])).cpu().double()
    pending.clear()
    for loss, right, weight in rows[:-1].tolist():
        if not math.isfinite(loss):
            raise NetworkError(_diverged(f"the loss is {loss}", work, at))
        at.loss, at.right, at.weight = at.loss + loss, at.right + right, at.weight + weight
    return bool(rows[-1, 0] > 0)


def _diverged(what: str, work: Work, at: Position) -> str:
    return (
        f"training diverged: {what} in {work.name}, epoch {at.epoch}, step {at.step}; the last good checkpoint is "
        f"kept. Give a lower --learning-rate than {work.settings.learning_rate:g}"
        f"{' or --precision float32' if work.precision != 'float32' else ''} and start again with --overwrite"
    )


def _move(work: Work, total: int) -> None:
    """One step of the optimiser, and of the average."""
    if work.settings.clip:
        nn.utils.clip_grad_norm_(
            (value for value in work.module.parameters() if value.requires_grad), work.settings.clip
        )
    work.optimiser.step()
    work.optimiser.zero_grad(set_to_none=True)
    work.average.update(work.module, total)


def _end_epoch(work: Work, at: Position, session: Session) -> None:
    """Score the epoch, keep it if it is the best (of equals the later), write its line, and turn to the next."""
    lessons, loss = work.feed.lessons, at.loss / at.weight
    if loss > DIVERGED * lessons.guessing():
        raise NetworkError(_diverged(f"the mean loss of an epoch is {loss:.3g}, far above guessing", work, at))
    row = dict(lessons.summary(at.loss, at.right, at.weight, at.seen))
    if work.validate is not None:
        with work.average.used(work.module):
            row |= work.validate()
            work.module.train()
            if not math.isfinite(row["validation_loss"]):
                raise NetworkError(_diverged(f"the validation loss is {row['validation_loss']}", work, at))
            _keep_best(work, at, float(row["validation_top1"]))
    now = rate(work.settings, at.total - 1, work.feed.per_epoch)
    session.journal.row(phase=work.name, epoch=at.epoch, steps=at.total, learning_rate=now, **row)
    patience = work.settings.patience
    late = at.best_epoch is not None and patience > 0 and at.epoch - at.best_epoch >= patience
    at.stopped = late or at.epoch + 1 == work.settings.epochs
    at.epoch, at.step, at.loss, at.right, at.weight, at.seen = at.epoch + 1, 0, 0.0, 0.0, 0.0, 0


def _keep_best(work: Work, at: Position, score: float) -> None:
    if at.best is None or score >= at.best:
        at.best, at.best_epoch = score, at.epoch
        if work.settings.keep == "best":
            work.best = copied(learning(work.module))


class _Clock:
    """How fast steps go, and how long it takes to the end."""

    def __init__(self, done: int, total: int) -> None:
        self.first, self.total, self.started, self.done = done, total, time.perf_counter(), done

    def progress(self, phase: str, at: Position) -> Progress:
        self.done = at.total
        each = (time.perf_counter() - self.started) / max(1, at.total - self.first)
        loss = at.loss / at.weight if at.weight else None
        return Progress(phase, at.total, self.total, each * (self.total - at.total), loss)

    def times(self) -> dict[str, float]:
        return {"here": self.done - self.first, "seconds": round(time.perf_counter() - self.started, 3)}
