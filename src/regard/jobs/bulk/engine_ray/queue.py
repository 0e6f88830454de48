"""Units that are to be done, and who is at which."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from regard.jobs.bulk.plan import Unit


@dataclass(eq=False)
class Place:
    """A worker: its actor and node, and the unit that it is at since a time. It reads `ahead` meanwhile.

    `call` is what its answer comes to; None where it is idle.
    """

    actor: Any
    node: str
    call: Any
    has_begun: bool = False
    unit: Unit | None = None
    ahead: Unit | None = None
    since: float = 0.0
    is_late: bool = False

    @property
    def is_idle(self) -> bool:
        return self.has_begun and self.call is None


@dataclass
class Queue:
    """The units of a job: `waiting` ones, and the names of all that are `left`, those in work among them.

    `deaths` counts the workers that died on a unit, `failures` the errors that one raised.
    """

    waiting: deque[Unit]
    left: set[str]
    deaths: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(units: Sequence[Unit]) -> "Queue":
        return Queue(deque(units), {unit.name for unit in units})

    def take(self, place: Place, places: Sequence[Place]) -> Unit | None:
        """The next unit of a worker, and what it reads ahead; None where there is nothing for it.

        That is what it reads already, then what nobody has, then what another one reads ahead, and at the end what
        another one is late with: who is done first has done it.
        """
        unit = place.ahead or self._waiting() or self._ahead(places) or self._late(places)
        place.unit = unit
        place.ahead = self._waiting() if unit is not None else None
        return unit

    def give_back(self, place: Place) -> None:
        """A worker is gone: what it was at and what it read come first again."""
        for unit in (place.ahead, place.unit):
            if unit is not None and unit.name in self.left:
                self.waiting.appendleft(unit)
        place.unit = None
        place.ahead = None

    def finish(self, unit: Unit) -> bool:
        """Whether a unit was still left; it is not any more."""
        was_left = unit.name in self.left
        self.left.discard(unit.name)
        return was_left

    def _waiting(self) -> Unit | None:
        while self.waiting:
            unit = self.waiting.popleft()
            if unit.name in self.left:
                return unit
        return None

    def _ahead(self, places: Sequence[Place]) -> Unit | None:
        for place in places:
            if place.ahead is not None:
                unit = place.ahead
                place.ahead = None
                return unit
        return None

    def _late(self, places: Sequence[Place]) -> Unit | None:
        workers = Counter(place.unit.name for place in places if place.unit is not None)
        late = [place.unit for place in places if place.is_late and place.unit is not None]
        return next((unit for unit in late if workers[unit.name] == 1 and unit.name in self.left), None)
