"""Is a changed network not worse than before, by more than a margin: shown, refuted, or not decidable."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.measurement.intervals import paired
from regard.records import Score
from regard.records.display import Readable


@dataclass(frozen=True, repr=False)
class NotWorse(Readable):
    """`difference` of the shares right, changed less before, with its paired 95 % interval. `answer` is "yes" (its low
    end is above -margin), "no" (its high end is below) or "not decidable"; `smallest` is the least margin that so many
    pictures could show even where not a single answer changed."""

    difference: Score
    margin: float
    answer: str
    smallest: float

    def __str__(self) -> str:
        return f"{self.difference}, not worse by more than {self.margin:.3g}: {self.answer}"


def not_worse(before: NDArray[np.bool_], after: NDArray[np.bool_], margin: float) -> NotWorse:
    """Compare which of the same pictures are right `before` and `after`; `margin` as a share (0.01: one point).

    The interval is Tango's, which he gives for this very question (1998, Statistics in Medicine 17:891).
    """
    gained, lost = (int(each.sum()) for each in (~before & after, before & ~after))
    n = len(before)
    low, high = paired(gained, lost, n)
    unchanged, _ = paired(0, 0, n)
    answer = "yes" if low > -margin else "no" if high < -margin else "not decidable"
    return NotWorse(Score((gained - lost) / n, low, high, n), margin, answer, -unchanged)
