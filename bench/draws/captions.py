"""Words that are true, BLEU, ROUGE-L and CIDEr."""

import string
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import numpy as np

from draws.common import Bools, Draw, Drawn, Floats, Groups, Ints, Random, numbered
from regard.measurement.captions import scores, true_words
from regard.measurement.captions.captioned import Captioned
from regard.measurement.intervals import mean
from regard.records import Score
from regard.scenes import JudgedWord

# Captions. Of words that are true: captions of several words, those of one caption alike. Of BLEU and the others: a
# population of captions beside five references, words of which are replaced; pictures are drawn from it.

WORDS = {True: JudgedWord("cat", "noun", True, ()), False: JudgedWord("dog", "noun", False, ())}


def words_of_captions(measure: str, n: int, often: float, groups: int = 0) -> Draw:
    """A caption has a word of the kind at each of its eight places with the chance `often`."""

    def draw(random: Random, p: float, draws: int) -> Drawn:
        each = Groups(groups or n, (8 * n // (groups or n),), 0.2).chances(random, p, draws).reshape(draws, n, 8)
        right = random.random(each.shape) < each
        spoken = random.random(each.shape) < often
        units = np.arange(n) // (n // groups) if groups else None
        return p, (_true_words(measure, *row, units) for row in zip(right, spoken, strict=True))

    return draw


def _true_words(measure: str, right: Bools, spoken: Bools, units: Ints | None) -> Score:
    rows = zip(right.tolist(), spoken.tolist(), strict=True)
    judged = tuple(tuple(WORDS[word] for word, here in zip(*row, strict=True) if here) for row in rows)
    score: Score = getattr(true_words, measure)(Captioned(numbered(len(judged)), ((),) * len(judged), units, judged))
    return score


@dataclass(frozen=True, eq=False)
class Corpus(Captioned):
    """Captions without their texts."""

    counts: Floats = field(default_factory=lambda: np.empty(0))


VOCABULARY = [first + second for first, second in product(string.ascii_lowercase, "aeiou")]
PICTURES = 600
STEPS = 10


@cache
def population(wrong: float) -> Captioned:
    """Captions of ten words, five references each; a word of a caption is another with a chance about `wrong`."""
    random = np.random.default_rng(7)
    texts = random.choice(len(VOCABULARY), (PICTURES, 10), p=_zipf())
    references = np.where(
        random.random((5, PICTURES, 10)) < 0.3, random.choice(len(VOCABULARY), (5, PICTURES, 10)), texts
    )
    chance = random.beta(3 * wrong, 3 * (1 - wrong), (PICTURES, 1)) if 0 < wrong < 1 else wrong
    captions = np.where(random.random((PICTURES, 10)) < chance, random.choice(len(VOCABULARY), (PICTURES, 10)), texts)
    return Captioned(tuple(map(_text, captions)), tuple(tuple(map(_text, references[:, at])) for at in range(PICTURES)))


def _zipf() -> Floats:
    often = 1 / np.arange(1, len(VOCABULARY) + 1)
    return np.asarray(often / often.sum())


def _text(words: Ints) -> str:
    return " ".join(VOCABULARY[word] for word in words)


@cache
def ladder(measure: str) -> Floats:
    """The scores of the populations whose share of wrong words rises from 0 to 1 in steps of .1."""
    return np.array([score_of(measure, population(step / STEPS)) for step in range(STEPS + 1)])


@cache
def score_of(measure: str, whole: Captioned) -> float:
    value: float = getattr(scores, measure)(whole).value
    return value


def corpora(measure: str, n: int) -> Draw:
    """BLEU and ROUGE-L of pictures from a population whose own score is the truth, about p of what it may be."""

    def draw(random: Random, p: float, draws: int) -> Drawn:
        steps = ladder(measure)
        wrong = float(np.interp(-p * steps[0], -steps, np.arange(STEPS + 1) / STEPS))
        whole = population(round(wrong, 3))
        picked = random.integers(len(whole), size=(draws, n))
        truth = score_of(measure, whole)
        if measure == "rouge_l":
            each = longest_common(whole)
            return truth, (mean(each[row]) for row in picked)
        return truth, (getattr(scores, measure)(corpus(whole.counts[:, row])) for row in picked)

    return draw


@cache
def longest_common(whole: Captioned) -> Floats:
    """ROUGE-L of each caption alone."""
    single = [Captioned((text,), (others,)) for text, others in zip(whole.captions, whole.references, strict=True)]
    return np.array([scores.rouge_l(each).value for each in single])


def corpus(counts: Floats) -> Captioned:
    """Pictures whose counts for BLEU are known already."""
    captioned = Corpus(numbered(counts.shape[1]), ((),) * counts.shape[1])
    object.__setattr__(captioned, "counts", counts)
    return captioned


def consensus(n: int) -> Draw:
    """CIDEr, whose words are as rare as these very references say: the truth is its mean over draws of so many."""

    def draw(random: Random, p: float, draws: int) -> Drawn:
        whole = population((10 - round(10 * p)) / 10)
        drawn = []
        for row in random.integers(len(whole), size=(draws, n)):
            references = tuple(whole.references[at] for at in row)
            drawn.append(scores.cider(Captioned(tuple(whole.captions[at] for at in row), references)))
        return float(np.mean([score.value for score in drawn])), iter(drawn)

    return draw
