"""How near captions are to what people said: BLEU-1 to 4, ROUGE-L, CIDEr and exact match, each with its interval.

The measures are pycocoevalcap's, which this package has as the extra `captions`; words are split here, without Java,
so that numbers of COCO's own evaluation, which splits a few words otherwise, may differ in the third digit. Intervals
draw pictures, or whole groups of them, again. ROUGE-L, CIDEr and exact match are means over pictures. BLEU is of all
captions together: what is drawn are each picture's counts of n-grams and lengths, from whose sums it is computed anew.
The document frequencies of CIDEr come from the references of all scored pictures and are not drawn again.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import several
from regard.errors import DataError, UsageError
from regard.measurement.intervals import NOWHERE, bootstrapped, percentile, share
from regard.records import Score

LONGEST = 4
"""N-grams of up to so many words are counted."""

Floats = NDArray[np.float64]


class _Signs(dict[int, str]):
    """Every punctuation mark and symbol as a space, but those that may stand inside words."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        self[code] = " " if unicodedata.category(sign)[0] in "PS" and sign not in "'-.,:" else sign
        return self[code]


_SIGNS = _Signs()
_CLITIC = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))\b")
"""What the Penn Treebank writes apart: do n't, the dog 's."""
_LONE = re.compile(r"(?<!\w)-|-(?!\w)|(?<!\d)[.,:]|[.,:](?!\d)|'(?!\w)|(?<!\w)'(?!(?:s|re|ve|ll|d|m)\b)")
"""A hyphen or apostrophe that is not inside a word, a stop, comma or colon that is not inside a number."""


def tokens(text: str) -> list[str]:
    """The words of a caption as they are compared: lower case, without punctuation, English as the Penn Treebank's.

    Hyphens inside words and signs inside numbers stay ("black-and-white", "3.5"); "dog's" is `dog` and `'s`, "don't"
    is `do` and `n't`. A text without spaces (Chinese) is one word, so split it before.
    """
    plain = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    return _LONE.sub(" ", _CLITIC.sub(r" \1 ", plain).translate(_SIGNS)).split()


@dataclass(frozen=True)
class Captioned:
    """What was said of each picture and what people say of it, as words with a space between them.

    `references` has at least one text for each; `groups` (n,) keeps pictures of one person or site together.
    """

    said: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    groups: NDArray[Any] | None = None

    @classmethod
    def of(
        cls, said: Mapping[str, str], references: Mapping[str, Sequence[str]], groups: Mapping[str, str] | None = None
    ) -> Self:
        """From plain texts by the pictures' names; pictures of which nothing was said take no part.

        Raises `DataError` where there is nothing at all, and naming pictures without a reference or a group.
        """
        if not said:
            raise DataError("there are no captions to be scored; give one for each picture")
        _check(said, references, "reference")
        if groups is not None:
            _check(said, groups, "group")
        return cls(
            tuple(" ".join(tokens(text)) for text in said.values()),
            tuple(tuple(" ".join(tokens(text)) for text in references[name]) for name in said),
            None if groups is None else np.array([groups[name] for name in said]),
        )

    def __len__(self) -> int:
        return len(self.said)

    @property
    def independent(self) -> int:
        """How many pictures or groups there are to draw from."""
        return len(self) if self.groups is None else len(np.unique(self.groups))

    @cached_property
    def counts(self) -> Floats:
        """(2 + 2 · LONGEST, n) for BLEU: length said, closest reference's length, n-grams matched, n-grams said."""
        scorer = _scorer("bleu.bleu_scorer", "BleuScorer")(n=LONGEST)
        for said, references in zip(self.said, self.references, strict=True):
            scorer += (said, list(references))
        return np.array([_counted(each) for each in scorer.ctest], np.float64).T


def _check(said: Mapping[str, str], given: Mapping[str, Any], what: str) -> None:
    bare = [name for name in said if not given.get(name)]
    if bare:
        raise DataError(f"{several(bare, 'picture')} without a {what}; give each that was captioned at least one")


def _counted(found: Mapping[str, Any]) -> list[float]:
    length = found["testlen"]
    closest = min(found["reflen"], key=lambda each: (abs(each - length), each))
    return [length, closest, *found["correct"], *found["guess"]]


def caption_scores(
    said: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Score]:
    """All of `SCORES` by name, of one caption and one or more references for each picture, by the pictures' names.

    `groups` are by name too. Raises `UsageError` where pycocoevalcap is not installed; `exact` alone does without.
    """
    captioned = Captioned.of(said, references, groups)
    return {name: score(captioned, seed=seed, resamples=resamples) for name, score in SCORES.items()}


def bleu_1(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `bleu_4`, of single words: the share of them that a reference has too, less where captions are too short."""
    return _bleu(captioned, 1, seed, resamples)


def bleu_2(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `bleu_4`, of words and pairs of them."""
    return _bleu(captioned, 2, seed, resamples)


def bleu_3(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `bleu_4`, of up to three words in a row."""
    return _bleu(captioned, 3, seed, resamples)


def bleu_4(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """BLEU of the whole corpus with up to four words in a row: 0 to 1. Papineni et al. 2002, section 2.3.

    The length compared with is that of each picture's closest reference, of equal ones the shorter, as COCO's
    evaluation does (Chen et al. 2015, arXiv 1504.00325, section 3.2).
    """
    return _bleu(captioned, 4, seed, resamples)


def _bleu(captioned: Captioned, order: int, seed: int, resamples: int) -> Score:
    value, values = bootstrapped(
        captioned.counts,
        lambda totals: _bleu_of(totals, order),
        groups=captioned.groups,
        seed=seed,
        resamples=resamples,
    )
    return percentile(value, values, len(captioned))


def _bleu_of(totals: Floats, order: int) -> Floats:
    """(2 + 2 · LONGEST, any) counts → (any,); the small numbers are pycocoevalcap's, by which 0 / 0 is not NaN."""
    said, reference, matched, guessed = totals[0], totals[1], totals[2 : 2 + order], totals[2 + LONGEST :][:order]
    precision = (matched + 1e-15) / (guessed + 1e-9)  # (order, any)
    ratio = (said + 1e-15) / (reference + 1e-9)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.asarray(np.exp(np.log(precision).mean(axis=0)) * brevity)


def rouge_l(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """The longest common subsequence with the references, as an F-measure with β = 1.2: 0 to 1.

    Lin 2004, eq. 2 to 4, with the best recall and the best precision among the references, as COCO's evaluation takes
    them (Chen et al. 2015, arXiv 1504.00325, section 3.3).
    """
    scorer = _scorer("rouge.rouge", "Rouge")()
    pairs = zip(captioned.said, captioned.references, strict=True)
    each = np.array([scorer.calc_score([said], list(references)) for said, references in pairs], np.float64)
    return _mean(each, captioned, seed, resamples, captioned.independent)


def cider(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """CIDEr-D: how alike the n-grams are, rare ones counting more: 0 to 10. Vedantam et al. 2015 (arXiv 1411.5726).

    How rare an n-gram is follows from the references of these very pictures, so that numbers of different sets of
    pictures do not compare, and that of a single picture is not defined (NaN).
    """
    scorer = _scorer("cider.cider_scorer", "CiderScorer")(n=LONGEST)
    if len(captioned) < 2:
        return NOWHERE
    for said, references in zip(captioned.said, captioned.references, strict=True):
        scorer += (said, list(references))
    return _mean(np.asarray(scorer.compute_score()[1], np.float64), captioned, seed, resamples, None)


def exact(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """The share of captions that are, word for word, one of the references; Wilson's interval."""
    pairs = zip(captioned.said, captioned.references, strict=True)
    return share(np.array([said in references for said, references in pairs], np.bool_), captioned.groups)


SCORES: dict[str, Callable[..., Score]] = {
    "bleu_1": bleu_1,
    "bleu_2": bleu_2,
    "bleu_3": bleu_3,
    "bleu_4": bleu_4,
    "rouge_l": rouge_l,
    "cider": cider,
    "exact": exact,
}
"""Each score by its name."""


def _mean(each: Floats, captioned: Captioned, seed: int, resamples: int, effective: int | None) -> Score:
    value, values = bootstrapped(
        np.stack([each, np.ones(len(each))]),
        lambda totals: totals[0] / totals[1],
        groups=captioned.groups,
        seed=seed,
        resamples=resamples,
    )
    return percentile(value, values, len(each), effective)


def _scorer(module: str, name: str) -> Any:
    try:
        return getattr(import_module(f"pycocoevalcap.{module}"), name)
    except ImportError as error:
        raise UsageError(
            f"captions are scored by pycocoevalcap, which cannot be imported ({error}); "
            "install it: pip install 'regard[captions]'"
        ) from error
