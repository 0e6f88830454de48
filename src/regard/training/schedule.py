"""The steps of a whole training, and how long the rest of them takes: known once each kind of work has been timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from regard.training.journal import Progress

FIRST = 20.0
"""Seconds until the time that is left is told: before, start-up and the first pictures are most of what was timed."""
LONG = 120.0
"""Seconds left from which `on_long` is told."""


@dataclass
class Stage:
    """A phase by what its name begins with, what it is called for people, and its `work`, in units of its `kind`."""

    name: str
    text: str
    work: float
    kind: str


@dataclass
class Schedule:
    """What is to be done, in order. `on_long` gets the seconds left, once, where they are many."""

    stages: list[Stage] = field(default_factory=list)
    on_long: Callable[[float], None] = lambda seconds: None

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        self._since = self.started
        self._seconds: dict[str, float] = {}  # by kind, of work that is done
        self._work: dict[str, float] = {}
        self._last: tuple[str, float] | None = None  # the phase, and how much of it is done
        self._warned = False

    @property
    def elapsed(self) -> float:
        """Seconds since the training began."""
        return time.perf_counter() - self.started

    def placed(self, progress: Progress) -> Progress:
        """The same with its step among all, and the time that is left of all, where that is known."""
        place = next((at for at, stage in enumerate(self.stages) if progress.phase.startswith(stage.name)), None)
        if place is None:
            return progress
        stage = self.stages[place]
        share = progress.done / max(1, progress.total)
        now = time.perf_counter()
        before = self._last[1] if self._last is not None and self._last[0] == stage.name else None
        if before is not None:  # the first report of a phase may be of what a checkpoint had
            self._seconds[stage.kind] = self._seconds.get(stage.kind, 0.0) + now - self._since
            self._work[stage.kind] = self._work.get(stage.kind, 0.0) + (share - before) * stage.work
        self._since = now
        self._last = (stage.name, share)
        left = self._left(place, share) if self.elapsed >= FIRST else None
        if left is not None and left > LONG and not self._warned:
            self._warned = True
            self.on_long(left)
        text = f"step {place + 1} of {len(self.stages)}: {stage.text}"
        return replace(progress, step=text, left=left)

    def _left(self, place: int, share: float) -> float | None:
        """Seconds, where something has been timed; work of a kind that was not is taken to be as quick as the rest."""
        done = sum(self._work.values())
        if done <= 0:
            return None
        usual = sum(self._seconds.values()) / done
        seconds = 0.0
        for at, stage in enumerate(self.stages[place:]):
            work = self._work.get(stage.kind, 0.0)
            rate = self._seconds[stage.kind] / work if work > 0 else usual
            seconds += stage.work * (1 - share if at == 0 else 1.0) * rate
        return seconds


def duration(seconds: float) -> str:
    """For people: "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
