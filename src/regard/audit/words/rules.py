"""The rules by which what is claimed of words is decided; docs/audit.md says them in words.

They were fixed before any number was seen. What is compared are means over words, less those of the same words under a
control; intervals draw captions, and their error is shared among all verdicts, as in `regard.audit.rules`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from regard.audit.rules import Difference
from regard.records.display import counted

SHARE = 0.05
"""Of a map, in shares: what is less is no difference."""
NATS = 0.1
"""Of a word's log-probability, in nats: what is less (a tenth of its probability) is no difference."""
FEWEST = 10
"""Of fewer pictures with such words nothing is decided."""


@dataclass(frozen=True)
class Ruling:
    """A `status` of STATUSES, and `why` in a sentence."""

    status: str
    why: str


@dataclass(frozen=True)
class Evidence:
    """How one kind of evidence is spoken of: what is compared, `what` of `control`, and the margin in `unit`."""

    what: str
    margin: float
    unit: str = ""

    def text(self, value: float) -> str:
        return f"{value:.3f}{self.unit}"


MAP = Evidence("the share of their maps that lies there", SHARE)
PART = Evidence("the share of their maps that lies on the acting part", SHARE)
REMOVAL = Evidence("what they lose when that region is taken out", NATS, " nats")
NEARNESS = Evidence("how near to some object of the caption their maps lie", SHARE)
FALL = Evidence("what they lose when an object of the caption is taken out", NATS, " nats")
GAIN = Evidence("what the picture adds to them", NATS, " nats")

CONTROLS: Mapping[str, str] = {
    "random": "a map at random",
    "centre": "the centre of the picture",
    "shuffled": "the map of such a word in another picture",
    "animal": "a map that is even over the whole animal",
    "elsewhere": "another region of its size",
    "another": "another picture",
    "none": "no picture",
}
"""Controls, as a sentence names them."""


def looks(difference: Difference, evidence: Evidence) -> Ruling:
    """Whether words look where it is claimed: more than by each control.

    Contradicted only where it is less than by chance: by a map at random, where that is a control, else by the one
    that there is.
    """
    if difference.n < FEWEST:
        return _few(difference)
    control = CONTROLS[difference.control]
    chance = "random" if "random" in difference.of else difference.control
    if difference.low > 0:
        return Ruling("supported", f"{evidence.what} is more than by the best control, {control}: all of the interval "
                      "is above 0")  # fmt: skip
    if difference.of[chance][2] < 0:
        return Ruling("contradicted", f"{evidence.what} is less than by {CONTROLS[chance]}: all of the interval is "
                      "below 0")  # fmt: skip
    if difference.high < evidence.margin:
        return Ruling("no better than a control", f"{evidence.what} is hardly more than by {control}, if at all: all "
                      f"of the interval is below {evidence.text(evidence.margin)}")  # fmt: skip
    return _open(difference, evidence, 0.0)


def looks_nowhere(difference: Difference, evidence: Evidence, content: str) -> Ruling:
    """Whether other words look anywhere: no more than by the best control. `difference` has what they have more than
    controls, less the margin; `content` is the status of nouns by the same evidence."""
    if difference.n < FEWEST:
        return _few(difference)
    control = CONTROLS[difference.control]
    if difference.low > 0:
        return Ruling("contradicted", f"{evidence.what} is more than by each control, the best of them {control}: all "
                      f"of the interval is above {evidence.text(evidence.margin)}")  # fmt: skip
    if difference.high < 0 and content == "supported":
        return Ruling("supported", f"{evidence.what} is no more than by {control}: all of the interval is below "
                      f"{evidence.text(evidence.margin)}, while nouns do look at their object by this")  # fmt: skip
    if difference.high < 0:
        return Ruling("no better than a control", f"{evidence.what} is no more than by {control}, but nouns are not "
                      "shown to look at their object by this either: nothing sets other words apart")  # fmt: skip
    return _open(difference, evidence, evidence.margin)


def follows(difference: Difference, content: Difference) -> Ruling:
    """Whether other words follow from the words before: the picture adds nothing to them.

    `difference` is the margin less what the picture adds, over another picture and over none, whichever is more;
    `content` what it adds to the content words of the same captions less what it adds to these, over either.
    """
    if difference.n < FEWEST:
        return _few(difference)
    control = CONTROLS[difference.control]
    if difference.high < 0:
        return Ruling("contradicted", f"{GAIN.what} over {control} is more than nothing: all of the interval is above "
                      f"{GAIN.text(NATS)}")  # fmt: skip
    if difference.low > 0 and content.low > 0:
        return Ruling("supported", f"{GAIN.what}, over another picture and over none, is hardly anything: all of the "
                      f"interval is below {GAIN.text(NATS)}, and to content words it adds more")  # fmt: skip
    if difference.low > 0:
        return Ruling("no better than a control", f"{GAIN.what} is hardly anything (all of the interval is below "
                      f"{GAIN.text(NATS)}), but neither is what it is shown to add to content words")  # fmt: skip
    return _open(difference, GAIN, NATS)


def _few(difference: Difference) -> Ruling:
    return Ruling(
        "not decidable", f"only {counted(difference.n, 'picture')} with such words; fewer than {FEWEST} decide nothing"
    )


def _open(difference: Difference, evidence: Evidence, at: float) -> Ruling:
    return Ruling("not decidable", f"the interval of {evidence.what}, over {CONTROLS[difference.control]}, reaches to "
                  f"either side of {evidence.text(at)}; {difference.n} pictures cannot tell")  # fmt: skip
