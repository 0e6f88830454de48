"""Which checks a network has what it takes for, and the checks of one caption together."""

from collections.abc import Iterable

from regard.explanation.words.checks import WORD_CHECKS, WordCheck
from regard.explanation.words.finished import FinishedCaption, Floats
from regard.explanation.words.methods import NEEDS
from regard.networks.captioners.base import CaptionNetwork


def rows_of(level: str) -> tuple[WordCheck, ...]:
    """The checks of a level: "quick", or all for "full"."""
    return tuple(row for row in WORD_CHECKS if level == "full" or row.level == level)


def fitting_checks(network: CaptionNetwork, level: str) -> tuple[str, ...]:
    """The checks of a level that this network can give."""
    return tuple(row.name for row in rows_of(level) if network.capabilities.issuperset(row.requires))


def missing_checks(network: CaptionNetwork, level: str) -> dict[str, str]:
    """The checks of a level that this network cannot give, each with what it lacks for it."""
    lacking = {
        row.name: [NEEDS[each] for each in row.requires if each not in network.capabilities] for row in rows_of(level)
    }
    return {name: " and ".join(needs) for name, needs in lacking.items() if needs}


def checks_of(caption: FinishedCaption, names: Iterable[str]) -> dict[str, Floats]:
    """(words,) of each of these checks, whose passes are made once."""
    return {name: WORD_CHECKS.load(name)(caption) for name in names}
