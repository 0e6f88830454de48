"""What an audit of a captioner found, in a few sentences."""

import math
from collections.abc import Sequence

from regard.records import WordClaim
from regard.records.audits.words import CLAIMS

GAINS = {
    "map": "of their maps {} more lies there than of the best control",
    "part": "on the acting part lies {} more than of a map that is even over the whole animal",
    "removal": "without it they lose {} nats more than without another region of its size",
    "gain": "the picture adds {} nats to them",
}
"""The number of a verdict, by its evidence."""
NEAR = {
    "map": "of their maps {} more lies on the next object than of the best control",
    "removal": "without an object they lose {} nats more than without another region of its size",
}
"""The same of words that are claimed to look anywhere."""


def sentences(claims: Sequence[WordClaim]) -> tuple[str, ...]:
    """One for each claim: whether it holds of right words and of wrong ones, and the numbers of the first of these."""
    groups = [[each for each in claims if each.claim == name] for name in CLAIMS]
    return tuple(_sentence(group) for group in groups if group)


def _sentence(claims: Sequence[WordClaim]) -> str:
    """The intervals stand with the verdicts."""
    first = claims[0]
    of = {each.words: each.status for each in claims}
    if len(set(of.values())) == 1:
        status = f"{first.status}{_which(list(of))}"
    else:
        status = "; ".join(f"{each}{_which([words])}" for words, each in of.items())
    listed = []
    for each in first.verdicts:
        by = str(each.settings["by"])
        words = NEAR[by] if first.claim == "anywhere" else GAINS[by]
        number = f"{round(each.value, 2) + 0.0:.2f}" if math.isfinite(each.value) else "nothing known"
        unlike = "" if each.status == first.status else f" ({each.status})"
        listed.append(f"{words.format(number)}{unlike}")
    numbers = "; ".join(listed)
    before = f"Of {first.words} words: " if len(claims) > 1 else ""
    return f"{first.question}: {status}. {before}{numbers if before else numbers[0].upper() + numbers[1:]}."


def _which(words: Sequence[str]) -> str:
    return "" if words == ["all"] else f" of {' and '.join(words)} words"
