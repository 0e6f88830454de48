"""How well numbers tell wrong words from right ones, and whether probabilities hold; intervals draw sentences again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regard.explanation.words.support.judged import JudgedWord
from regard.explanation.words.support.model import SupportScore
from regard.records.scores import Score

Floats = NDArray[np.float64]
RESAMPLES = 2000
BINS = 15
"""Of equal width, for the calibration error."""


@dataclass(frozen=True)
class JudgedUnits:
    """Words (n,): whether they are `right`, and the number of each one's sentence, `units` from 0 on."""

    right: NDArray[np.bool_]
    units: NDArray[np.int64]

    @classmethod
    def of(cls, words: Sequence[JudgedWord]) -> "JudgedUnits":
        return cls(np.array([word.right for word in words], bool), units_of(words))

    @property
    def has_both(self) -> bool:
        """Whether there are right words and wrong ones."""
        return bool(self.right.any() and not self.right.all())

    @cached_property
    def draws(self) -> Floats:
        """(resamples, units): how often each sentence is drawn; the same for all numbers, so that they are paired."""
        count = int(self.units.max()) + 1
        chance = np.random.default_rng(0)
        return chance.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)

    def auroc(self, values: Floats) -> Score:
        """The share of pairs of a right and a wrong word in which the right one has more, ties one half."""
        return self._score(self._auroc(values, self._once)[0], self._auroc(values, self.draws))

    def difference(self, values: Floats, others: Floats) -> Score:
        """AUROC of the values less that of the others, of the same words in every draw."""
        once = self._auroc(values, self._once)[0] - self._auroc(others, self._once)[0]
        return self._score(once, self._auroc(values, self.draws) - self._auroc(others, self.draws))

    def calibration_error(self, probabilities: Floats) -> Score:
        """Expected calibration error (Guo et al. 2017, eq. 3) of the probability that a word is right, 15 bins of equal
        width. It is biased upwards; what its draws are beside that, on the average, is taken off them."""
        bins = np.clip(np.ceil(probabilities * BINS).astype(int) - 1, 0, BINS - 1)
        excess = np.zeros((self.draws.shape[1], BINS))  # (units, bins)
        np.add.at(excess, (self.units, bins), probabilities - self.right)
        sizes = np.bincount(self.units, minlength=len(excess))
        once, draws = (np.abs(each @ excess).sum(1) / (each @ sizes) for each in (self._once, self.draws))
        return self._score(once[0], np.maximum(draws - (draws.mean() - once[0]), 0))

    @property
    def _once(self) -> Floats:
        return np.ones((1, self.draws.shape[1]))

    def _auroc(self, values: Floats, draws: Floats) -> Floats:
        """(draws,) of how often each sentence is there (draws, units); words without a value stand below all others."""
        values = np.where(np.isfinite(values), values, -np.inf)
        wrong, units = values[~self.right], self.units[~self.right]
        right = values[self.right][:, None]
        count = draws.shape[1]
        above = np.zeros((count, len(wrong)))  # (units, wrong words): the right words of a sentence above each
        np.add.at(above, self.units[self.right], (right > wrong) + 0.5 * (right == wrong))
        pairs = ((draws @ above) * draws[:, units]).sum(1)
        good, bad = (np.bincount(self.units[of], minlength=count) for of in (self.right, ~self.right))
        total = (draws @ good) * (draws @ bad)
        return np.divide(pairs, total, out=np.full(len(pairs), np.nan), where=total > 0)

    def _score(self, value: float, draws: Floats) -> Score:
        """With the 2.5th and 97.5th percentile of what is defined among the draws."""
        finite = draws[np.isfinite(draws)]
        low, high = np.percentile(finite, (2.5, 97.5)) if len(finite) else (np.nan, np.nan)
        return Score(float(value), float(low), float(high), len(self.right))


def units_of(words: Sequence[JudgedWord]) -> NDArray[np.int64]:
    """(words,): the number of each word's sentence, of which each network has its own."""
    return np.unique([f"{word.network} {word.unit}" for word in words], return_inverse=True)[1]


def support_score(words: Sequence[JudgedWord], probabilities: Floats) -> SupportScore:
    """How well probabilities (words,) tell which of the words are right; AUROC is NaN without wrong or right ones."""
    units = JudgedUnits.of(words)
    n_right = int(units.right.sum())
    return SupportScore(
        n_right,
        len(words) - n_right,
        int(units.units.max()) + 1,
        units.auroc(probabilities),
        units.calibration_error(probabilities),
    )
