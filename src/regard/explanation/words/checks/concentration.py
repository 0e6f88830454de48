"""How narrowly a word's map looks."""

import numpy as np

from regard.explanation.words.finished import FinishedCaption, Floats


def concentration(caption: FinishedCaption) -> Floats:
    """(words,), 0 to 1: 1 - H(map) / ln(patches), H being the entropy of the word's map brought to sum to 1.

    The map is the mean of its tokens' attention, of the caption's layer, head and row. NaN where it is zero everywhere,
    or of one patch.
    """
    shares = caption.maps
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(1)
    patches = shares.shape[1]
    return 1 - entropy / np.log(patches) if patches > 1 else np.full(len(shares), np.nan)
