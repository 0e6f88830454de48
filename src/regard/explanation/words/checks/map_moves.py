"""Whether a word's map is its own: does it lie elsewhere with another picture, and where the same word stood before?"""

import numpy as np

from regard.explanation.words.dependence import TokenScores, map_distance
from regard.explanation.words.finished import FinishedCaption, Floats


def moved_by_none(caption: FinishedCaption) -> Floats:
    """(words,), 0 to 1: the share of the word's map that lies elsewhere with a grey picture (see `map_distance`)."""
    return _moved(caption, caption.none)


def moved_by_another(caption: FinishedCaption) -> Floats:
    """(words,), 0 to 1: the share that lies elsewhere with the other picture; NaN where there is no other."""
    if caption.another is None:
        return np.full(len(caption.words), np.nan)
    return _moved(caption, caption.another)


def _moved(caption: FinishedCaption, other: TokenScores) -> Floats:
    if not caption.words:
        return np.zeros(0)
    maps, others = (scores.of_words(caption.words).maps for scores in (caption.scores, other))
    return map_distance(maps, others).astype(np.float64)


def repetition(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 0: less the most that the word's map shares with that of the same word before, Σ min(p, q) of
    maps that sum to 1; 0 of a word that stands for the first time. What is named twice at one place is there once."""
    maps = caption.maps
    texts = [word.text.lower() for word in caption.words]
    shared = np.zeros(len(texts))
    for place, text in enumerate(texts):
        before = [earlier for earlier in range(place) if texts[earlier] == text]
        overlaps = [np.minimum(maps[place], maps[earlier]).sum() for earlier in before]
        shared[place] = -np.nanmax([0.0, *overlaps])
    return shared + 0.0  # no -0.0
