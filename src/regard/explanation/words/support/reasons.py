"""Why a word has little support: short sentences, each from one check by a bound in the check's own unit.

The bounds were set by what the numbers mean, before any were looked at: twice as likely, a fifth likelier, half of a
map. They decide what is said of a doubtful word, not whether it is one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from regard.explanation.words.support.context import CONTEXTS, EXPECTED

MOST = 2
"""Reasons of a word, at most, beside what stands around it."""
TOGETHER = "no check alone, but all of them together"


@dataclass(frozen=True)
class Reason:
    """A `sentence` that holds where the `check` is below a `bound`; {rival} stands for the likeliest other word."""

    check: str
    bound: float
    sentence: str


REASONS = (
    Reason("repetition", -0.5, "it was named before, at the same place"),
    Reason("margin", 0.0, "the network would rather have written {rival}"),
    Reason("margin", math.log(2), "the network hesitated between it and {rival}"),
    Reason("gain_over_none", -0.2, "likelier without the picture"),
    Reason("gain_over_none", 0.2, "as likely without the picture"),
    Reason("gain_over_another", 0.2, "another picture gives it as much"),
    Reason("moved_by_another", 0.1, "it looks at the same place in another picture"),
    Reason("deletion", 0.1, "it hardly loses when the place that it looks at is taken out"),
    Reason("concentration", 0.1, "its map is spread over everything"),
    Reason("log_probability", math.log(0.1), "the network hardly expected it"),
    Reason("least_before", math.log(0.1), "the network hardly expected a word shortly before"),
    Reason("least_after", math.log(0.1), "the network hardly expected a word shortly after"),
)
"""The rules. Of those of one check the first that holds; of several checks, without their weights, the first rows."""
_GAINS = ("gain_over_none", "gain_over_another")


def reasons_of(
    checks: Mapping[str, float],
    *,
    context: str = "",
    rival: str | None = None,
    lead: float = math.inf,
    contributions: Mapping[str, float] | None = None,
) -> tuple[str, ...]:
    """Why a word with these `checks` (those of WORD_CHECKS by name, NaN where there is none) may be wrong.

    `context` is that of `contexts`: behind a prompt or a word that names it already, a low gain is no reason by itself,
    and that is said instead. `rival` is the likeliest other word of its kind in its place, by `lead` nats likelier than
    the word (negative: less likely): it is named only where the sentence holds of it, as what the network hesitated
    about may be of another kind. With `contributions`, what each check adds to the log-odds of the word, those that
    speak against it most come first, and those that do not are left out.

    >>> reasons_of({"gain_over_none": 0.01, "margin": 0.3}, rival="girl")
    ('the network hesitated between it and "girl"', 'as likely without the picture')
    >>> reasons_of({"gain_over_none": 0.01}, context="prompt")
    ('as likely without the picture, as the prompt names it already',)
    """
    sentences: dict[str, str] = {}
    for rule in REASONS:
        if checks.get(rule.check, math.nan) < rule.bound and rule.check not in sentences:
            is_named = rival is not None and -lead < rule.bound
            sentences[rule.check] = rule.sentence.format(rival=f'"{rival}"' if is_named else "another word")
    names = list(sentences)
    if contributions is not None:
        weights = {name: contributions.get(name, 0.0) for name in names}
        names = sorted((name for name in names if weights[name] < 0), key=lambda name: weights[name])
    chosen = [sentences[name] for name in names[:MOST]]
    if context in EXPECTED:
        chosen = [
            f"{sentence}, as {CONTEXTS[context]}" if name in _GAINS else sentence
            for name, sentence in zip(names, chosen, strict=False)
        ]
    elif context:
        chosen.insert(0, CONTEXTS[context])
    return tuple(chosen) or (TOGETHER,)
