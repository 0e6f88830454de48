"""The share of words in captions of drawn scenes that are true, by the facts, whatever the references say.

Words that claim nothing (a, the, and) do not count; one that is not in the lexicon is false. A score is NaN where no
caption has a word of its kind. The interval is from how much pictures vary.
"""

import numpy as np

from regard.measurement.captions.captioned import Captioned, Floats
from regard.measurement.intervals import NOWHERE, jackknifed, unskewed
from regard.records import Score


def true_words(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """The share of content words that are true, of all parts of speech."""
    return _share(captioned, None, seed, resamples)


def true_noun(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `true_words`, of nouns."""
    return _share(captioned, "noun", seed, resamples)


def true_adjective(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `true_words`, of adjectives."""
    return _share(captioned, "adjective", seed, resamples)


def true_verb(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `true_words`, of verbs."""
    return _share(captioned, "verb", seed, resamples)


def true_relation(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `true_words`, of relations (left of, on)."""
    return _share(captioned, "relation", seed, resamples)


def true_count(captioned: Captioned, *, seed: int = 0, resamples: int = 2000) -> Score:
    """As `true_words`, of counts (two, three)."""
    return _share(captioned, "count", seed, resamples)


def _share(captioned: Captioned, part: str | None, seed: int, resamples: int) -> Score:
    """Ratio of sums: a caption of many words counts more than one of few. `n` counts the pictures."""
    rows = []
    for words in captioned.judged or ():
        true = [word.true for word in words if word.true is not None and part in (None, word.part)]
        rows.append((sum(true), len(true)))
    sums = np.array(rows, np.float64).T  # (true or all, pictures)
    if not sums.size or not sums[1].any():
        return NOWHERE
    overall = sums[0].sum() / sums[1].sum()  # what a resample without any such word is taken to have

    def ratio(totals: Floats) -> Floats:
        return np.divide(totals[0], totals[1], out=np.full_like(totals[0], overall), where=totals[1] > 0)

    counted = sums[1] > 0
    estimate = jackknifed(sums[:, counted], ratio, None if captioned.groups is None else captioned.groups[counted])
    return unskewed(estimate, len(rows), trials=estimate.units)
