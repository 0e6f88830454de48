"""What captions are scored on: their words, those of the references, and of drawn scenes what is true of them.

Words are split here, without Java; n-grams are counted by pycocoevalcap, the extra `captions` of this package.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import several
from regard.errors import DataError, UsageError
from regard.networks.captioners.scripts import is_unspaced, parts
from regard.scenes import JudgedWord, Scene, judge

LONGEST = 4
"""N-grams of up to so many words are counted."""

Floats = NDArray[np.float64]


class _Signs(dict[int, str]):
    """Every punctuation mark and symbol as a space, but those that may stand inside words; what is not seen (joiners,
    soft hyphens, marks of direction, variants of a sign) as nothing."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        kind = unicodedata.category(sign)
        unseen = kind == "Cf" or 0xFE00 <= code <= 0xFE0F
        self[code] = "" if unseen else " " if kind[0] in "PS" and sign not in "'-.,:" else sign
        return self[code]


_SIGNS = _Signs()
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")
"""What the Penn Treebank writes apart: do n't, the dog 's."""
_LONE = re.compile(r"(?<!\w)-|-(?!\w)|(?<!\d)[.,:]|[.,:](?!\d)|'(?!\w)|(?<!\w)'(?!(?:s|re|ve|ll|d|m)\b)")
"""A hyphen or apostrophe that is not inside a word, a stop, comma or colon that is not inside a number."""


def tokens(text: str) -> list[str]:
    """The words of a caption as they are compared: without case or punctuation, English as the Penn Treebank's.

    Hyphens inside words and signs inside numbers stay ("black-and-white", "3.5"); "dog's" is `dog` and `'s`, "don't"
    is `do` and `n't`. Of scripts that write no spaces (Chinese, Japanese, Thai, ...) each letter with its signs is a
    word, so that it does not matter where a space stands.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    words = _LONE.sub(" ", _CLITIC.sub(r" \1 ", folded.replace("’", "'")).translate(_SIGNS)).split()
    return [part for word in words for part in parts(word, is_unspaced)]


@dataclass(frozen=True)
class Captioned:
    """The caption of each picture and its references, as words with a space between them.

    `references` has at least one text for each; `groups` (n,) keeps pictures of one person or site together. Of drawn
    scenes `judged` has, for each caption, its words with what the scene says of them.
    """

    captions: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    groups: NDArray[Any] | None = None
    judged: tuple[tuple[JudgedWord, ...], ...] | None = None

    @classmethod
    def of(
        cls,
        captions: Mapping[str, str],
        references: Mapping[str, Sequence[str]],
        groups: Mapping[str, str] | None = None,
        scenes: Mapping[str, Scene] | None = None,
    ) -> Self:
        """From plain texts by the pictures' names; pictures without a caption take no part.

        Raises `DataError` where there is nothing at all, and naming pictures without a reference, a group or a scene.
        """
        if not captions:
            raise DataError("there are no captions to be scored; give one for each picture")
        _check(captions, references, "reference")
        if groups is not None:
            _check(captions, groups, "group")
        return cls(
            tuple(" ".join(tokens(text)) for text in captions.values()),
            tuple(tuple(" ".join(tokens(text)) for text in references[name]) for name in captions),
            None if groups is None else np.array([groups[name] for name in captions]),
            None if scenes is None else _judged(captions, scenes),
        )

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def independent(self) -> int:
        """How many pictures or groups there are to draw from."""
        return len(self) if self.groups is None else len(np.unique(self.groups))

    @cached_property
    def counts(self) -> Floats:
        """(2 + 2 · LONGEST, n) for BLEU: length, closest reference's length, n-grams matched, n-grams in all."""
        bleu = scorer("bleu.bleu_scorer", "BleuScorer")(n=LONGEST)
        for caption, references in zip(self.captions, self.references, strict=True):
            bleu += (caption, list(references))
        rows = []
        for each in bleu.ctest:
            length = each["testlen"]
            _, closest = min((abs(other - length), other) for other in each["reflen"])
            rows.append([length, closest, *each["correct"], *each["guess"]])
        return np.array(rows, np.float64).T


def _check(captions: Mapping[str, str], values: Mapping[str, Any], what: str) -> None:
    bare = [name for name in captions if not values.get(name)]
    if bare:
        raise DataError(f"{several(bare, 'picture')} without a {what}; give each that was captioned at least one")


def _judged(captions: Mapping[str, str], scenes: Mapping[str, Scene]) -> tuple[tuple[JudgedWord, ...], ...]:
    strange = [name for name in captions if name not in scenes]
    if strange:
        raise DataError(f"no scene is known of {strange[0]!r}; give the folder that `regard scenes` wrote")
    return tuple(judge(text, scenes[name]) for name, text in captions.items())


def scorer(module: str, name: str) -> Any:
    """A class of pycocoevalcap. Raises `UsageError` where that is not installed."""
    try:
        return getattr(import_module(f"pycocoevalcap.{module}"), name)
    except ImportError as error:
        raise UsageError(
            f"captions are scored by pycocoevalcap, which cannot be imported ({error}); "
            "install it: pip install 'regard[captions]'"
        ) from error
