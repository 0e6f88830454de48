"""How fast units are done: the time that is left, and those that take several times as long as the others."""

import time
from statistics import median

STRAGGLES = 4.0
"""A unit is a straggler where its pictures take more than so many times the median of the others."""
SHORT = 3.0
"""Seconds below which it is not worth a line."""
LEAST = 5
"""Units of which a median says something."""
EVERY = 30.0
"""Seconds between two lines of how far the work has come."""


class Pace:
    """The pace of `pictures` that are to be done, by any number of workers at once."""

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures
        self.count = 0
        self._computed = 0
        self._start = time.monotonic()
        self._line = self._start
        self._seconds: list[float] = []  # a picture's, of the last units

    def add(self, seconds: float, pictures: int, computed: bool = True) -> None:
        """A unit is there; `computed` is whether it took its time."""
        self.count += pictures
        if computed and pictures:
            self._computed += pictures
            self._seconds = [*self._seconds[-99:], seconds / pictures]

    def late(self, seconds: float, pictures: int) -> float | None:
        """How many times the median a unit has taken, where that is several; None where it is not, or not known."""
        if len(self._seconds) < LEAST or not pictures or seconds < SHORT:
            return None
        times = seconds / pictures / max(median(self._seconds), 1e-9)
        return times if times > STRAGGLES else None

    def left(self) -> float | None:
        """Seconds that are left, where something has been computed."""
        if not self._computed:
            return None
        return (time.monotonic() - self._start) / self._computed * (self.pictures - self.count)

    def is_time(self) -> bool:
        """Whether it is time for a line again."""
        now = time.monotonic()
        if now - self._line < EVERY:
            return False
        self._line = now
        return True
