"""By which rules it is said that a network relies on the background; docs/audit.md says them in words.

They stood before `bench/planted.py` held them against planted truth. Two numbers enter: by how much accuracy falls when
the object moves to the background of another class (`lost`), and how often the answer is another there (`flips`). The
second is needed where labels and backgrounds have nothing to do with each other: there an answer that always follows
the background is right as rarely before as after, and loses nothing.
"""

import math

from regard.records import Score

MOST = 0.5
"""Answers that change in more than this share are mostly those of the background."""
SOME = 0.1
"""Answers that change in more than this share depend on the background, be they right or wrong."""
LITTLE = 0.05
"""What is lost of accuracy where the background hardly counts is less."""

MOSTLY = "mostly"
RELIES = "relies"
CHANGES = "changes"
HARDLY = "hardly"
UNDECIDED = "not decidable"


def verdict(lost: Score, flips: Score) -> str:
    """The first that holds: `MOSTLY`, the interval of flips lies above `MOST`; `RELIES`, that of what is lost above 0;
    `CHANGES`, that of flips above `SOME`; `HARDLY`, that of what is lost below `LITTLE`. Else `UNDECIDED`.

    A number that was not measured is NaN, and decides nothing.
    """
    if flips.low > MOST:
        return MOSTLY
    if lost.low > 0:
        return RELIES
    if flips.low > SOME:
        return CHANGES
    return HARDLY if math.isfinite(lost.high) and lost.high < LITTLE else UNDECIDED
