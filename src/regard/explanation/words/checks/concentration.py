"""How narrowly a word's map looks."""

import numpy as np

from regard.explanation.words.dependence import per_word
from regard.explanation.words.finished import FinishedCaption, Floats


def concentration(caption: FinishedCaption) -> Floats:
    """(words,), 0 to 1: 1 - H(map) / ln(patches), H being the entropy of the word's map brought to sum to 1.

    The map is the mean of its tokens' attention, of the caption's layer, head and row. NaN where it is zero everywhere,
    or of one patch.
    """
    maps = caption.scores.maps.astype(np.float64)  # (tokens, rows, columns)
    flat = per_word(maps.reshape(len(maps), -1), caption.words, np.mean)  # (words, patches)
    total = flat.sum(1, keepdims=True)
    shares = np.divide(flat, total, out=np.full_like(flat, np.nan), where=total > 0)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)
    return 1 - entropy / np.log(flat.shape[1]) if flat.shape[1] > 1 else np.full(len(flat), np.nan)
