"""What stands around a word and decides what its checks can say of it: a prompt that names it, the same word before.

A word that the prompt or an earlier word gives already is as likely without the picture, right or wrong: there a low
gain is no sign that it was made up. Of a word that the network could not read, or in letters that no fit has seen, the
checks say nothing at all.
"""

from collections.abc import Iterable, Sequence
from string import punctuation

from regard.explanation.words.tagging import is_foreign
from regard.networks.captioners.pieces import UNKNOWN
from regard.networks.captioners.scripts import parts
from regard.records.captions import END

CONTEXTS = {
    "unknown": "the network does not know this word, and read another in its place",
    "foreign": "its letters are no Latin ones, and support was measured on English words",
    "alone": "one word is no sentence, and support was measured on sentences",
    "cut": "the caption was cut here, perhaps within the word",
    "prompt": "the prompt names it already",
    "repeated": "it was said before",
}
"""Each context as a reason."""
UNSUPPORTED = ("unknown", "foreign", "alone")
"""Contexts in which no probability can be given."""
EXPECTED = ("prompt", "repeated")
"""Contexts in which a word is as likely without the picture, whether it is right or wrong."""


def contexts(
    words: Sequence[str], *, prompt: str | None = None, unknown: Iterable[str] = (), finished: bool = True
) -> tuple[str, ...]:
    """The context of each word of a caption, as it is shown: a name of CONTEXTS, or "".

    `unknown` are the words that the vocabulary lacks, `finished` is false where the length limit came before the end.
    Of several the first in the table holds. A plural with s is the same word as its singular.

    >>> contexts("the cat is a black cat".split(), prompt="What colour is the cat?")
    ('prompt', 'prompt', 'prompt', '', '', 'prompt')
    >>> contexts("two dogs and a dog".split(), finished=False)
    ('', '', '', '', 'cut')
    """
    lacking = set(unknown)
    are_words = [text != END and any(map(str.isalnum, text)) for text in words]
    named = {folded(part) for word in (prompt or "").split() for part in parts(word.strip(punctuation))}
    before: set[str] = set()
    names = []
    for place, (text, is_word) in enumerate(zip(words, are_words, strict=True)):
        word = folded(text)
        holding = {
            "unknown": text in lacking or text in UNKNOWN,  # a network may say that, too
            "foreign": is_foreign(text),
            "alone": sum(are_words) == 1,
            "cut": not finished and place + 1 == len(words),
            "prompt": word in named,
            "repeated": word in before,
        }
        names.append(next((name for name, holds in holding.items() if holds and (is_word or name == "unknown")), ""))
        before |= {word} if is_word else set()
    return tuple(names)


def folded(text: str) -> str:
    word = text.casefold().strip(punctuation)
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
