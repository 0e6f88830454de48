"""Parts of speech: what kind of word each word of a caption is, as the Penn Treebank tags it.

By HanTa where it is installed (Wartena 2023, The Hanover Tagger, arXiv 2309.10690; its English model has the tags of
the British National Corpus, which are translated), else by textblob's PatternTagger, else not at all. Both tag the
whole sentence, so that a word's tag follows from those beside it.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, Protocol

PENN = {
    "AJ0": "JJ",
    "AJC": "JJR",
    "AJS": "JJS",
    "AT0": "DT",
    "AV0": "RB",
    "AVP": "RP",
    "AVQ": "WRB",
    "CJC": "CC",
    "CJS": "IN",
    "CJT": "IN",
    "CRD": "CD",
    "DPS": "PRP$",
    "DT0": "DT",
    "DTQ": "WDT",
    "EX0": "EX",
    "IN": "IN",
    "ITJ": "UH",
    "NN": "NN",
    "NN0": "NN",
    "NN1": "NN",
    "NN2": "NNS",
    "NP0": "NNP",
    "ORD": "JJ",
    "PNI": "NN",
    "PNP": "PRP",
    "PNQ": "WP",
    "POS": "POS",
    "PRF": "IN",
    "PRP": "IN",
    "TO0": "TO",
    "UNC": "FW",
    "VM0": "MD",
    "XX0": "RB",
    "ZZ0": "NN",
    **{f"V{verb}{form}": tag for verb in "BDHV" for form, tag in {"B": "VBP", "D": "VBD", "G": "VBG"}.items()},
    **{f"V{verb}{form}": tag for verb in "BDHV" for form, tag in {"I": "VB", "N": "VBN", "Z": "VBZ"}.items()},
}
"""Tags of the British National Corpus (C5) in the words of the Penn Treebank; signs have none."""

_CLITIC = re.compile(r"(?<=\w)(?=(?:n't|'(?:s|m|re|ve|ll|d))$)", re.IGNORECASE)
"""Where what a tagger takes for a word of its own begins at the end of another: "dog's", "don't"."""


class Tagger(Protocol):
    """Tags a sentence, word by word."""

    def __call__(self, words: list[str]) -> list[str | None]: ...


def parts_of_speech(words: Sequence[str]) -> list[str | None]:
    """A Penn Treebank tag for each word of an English sentence; None for each where no tagger is installed.

    Empty words and signs have none. A word with an ending that is a word itself has the tag of what comes before it.
    What has letters and no Latin one is FW, a foreign word, of which English taggers know nothing.
    """
    tagger = _tagger()
    if tagger is None:
        return [None] * len(words)
    # as a tagger takes them: without blanks, an ending that is a word itself apart; none of an empty word
    parts = [list(filter(None, _CLITIC.split(word.replace(" ", "_").replace("’", "'")))) for word in words]
    tags = tagger([part for each in parts for part in each])
    of_words: list[str | None] = []
    start = 0
    for word, each in zip(words, parts, strict=True):
        tag = tags[start] if any(char.isalnum() for char in word) else None
        of_words.append("FW" if is_foreign(word) else tag)
        start += len(each)
    return of_words


def is_foreign(word: str) -> bool:
    """Whether a word has letters, and none of the Latin script."""
    names = [unicodedata.name(char, "") for char in word if char.isalpha()]
    return bool(names) and not any("LATIN" in name for name in names)


def _tagger() -> Tagger | None:
    """The best tagger that is installed: they are extras, which not everybody has."""
    for module, make in (("HanTa.HanoverTagger", _hanta), ("textblob.en.taggers", _textblob)):
        try:
            return make(import_module(module))
        except ImportError:
            continue
    return None


def _hanta(module: Any) -> Tagger:
    model = _model(module)

    def tag(words: list[str]) -> list[str | None]:
        return [PENN.get(tag) for _, _, tag in model.tag_sent(words)]

    return tag


@cache
def _model(module: Any) -> Any:
    """Read once: it takes a fifth of a second."""
    return module.HanoverTagger("morphmodel_en.pgz")


def _textblob(module: Any) -> Tagger:
    tagger = module.PatternTagger()

    def tag(words: list[str]) -> list[str | None]:
        tagged = tagger.tag(" ".join(words), tokenize=False)
        return [tag for _, tag in tagged] if len(tagged) == len(words) else [None] * len(words)

    return tag
