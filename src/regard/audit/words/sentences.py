"""What an audit of a captioner found, in a few sentences."""

from collections.abc import Sequence

from regard.records import Verdict, WordClaim
from regard.records.display import rounded

GAINS = {
    "map": "their maps have {} more there than the best control",
    "part": "on the acting part they have {} more than a map that is even over the whole animal",
    "removal": "without it they lose {} nats more than without another region of its size",
    "gain": "the picture adds {} nats to them",
}
"""The number of a verdict, by its evidence."""
NEAR = {
    "map": "their maps lie {} nearer to the next object than those of the best control",
    "removal": "without an object they lose {} nats more than without another region of its size",
}
"""The same of words that are claimed to look anywhere."""


def sentences(claims: Sequence[WordClaim]) -> tuple[str, ...]:
    """One for each claim and kind of words: whether it holds, and the numbers that say so."""
    return tuple(map(_sentence, claims))


def _sentence(claim: WordClaim) -> str:
    which = "" if claim.words == "all" else f", of {claim.words} words"
    numbers = "; ".join(f"{_number(each)}{_unlike(each, claim)}" for each in claim.verdicts)
    return f"{claim.question}{which}: {claim.status}. {numbers[0].upper()}{numbers[1:]}."


def _number(verdict: Verdict) -> str:
    by = str(verdict.settings["by"])
    words = NEAR[by] if verdict.settings["claim"] == "anywhere" else GAINS[by]
    value, low, high = (rounded(each, signed=True) for each in (verdict.value, verdict.low, verdict.high))
    return words.format(f"{value} [{low}, {high}]")


def _unlike(verdict: Verdict, claim: WordClaim) -> str:
    return "" if verdict.status == claim.status else f" ({verdict.status})"
