"""The support model of an audited captioner, fitted to the words whose truth its data know."""

from collections.abc import Iterator
from typing import Any

from regard.audit.words.gathered import Gathered
from regard.errors import UsageError
from regard.explanation.words.checks import WORD_CHECKS
from regard.explanation.words.support.fit import fit
from regard.explanation.words.support.judged import JudgedWord
from regard.explanation.words.support.kinds import CONTENT


def fitted_support(
    gathered: Gathered, network: str, data: str, *, given: bool = False, seed: int = 0
) -> tuple[dict[str, Any] | None, str]:
    """The model as JSON, or None and why there is none; `network` is the hash of the weights, `data` in a few words
    what the words are of. Sentences of one picture are left out together."""
    words = list(judged_words(gathered, network, given))
    try:
        return dict(fit(words, data=data, seed=seed).as_json()), ""
    except UsageError as error:  # too few of either
        return None, str(error)


def judged_words(gathered: Gathered, network: str, given: bool = False) -> Iterator[JudgedWord]:
    """The words of content that are known to be right or wrong, with their checks; those of captions that were `given`
    are none that the network chose."""
    for word in gathered.words:
        entry = word.entry
        if entry["right"] is not None and entry["kind"] in CONTENT:
            checks = {name: value for name, value in entry["numbers"].items() if name in WORD_CHECKS}
            errors = "planted" if given else "natural"
            about = (word.picture, entry["text"], entry["kind"], entry["right"], checks)
            yield JudgedWord(*about, errors=errors, network=network)
