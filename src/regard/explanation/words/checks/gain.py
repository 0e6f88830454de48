"""What a word's log-probability gains by its own picture: what `--depends` computes, by the same passes."""

import numpy as np

from regard.explanation.words.finished import FinishedCaption, Floats


def gain_over_none(caption: FinishedCaption) -> Floats:
    """(words,) in nats: ln p(word | picture) - ln p(word | a grey picture of its size)."""
    return caption.sums(caption.scores.gain(caption.none))


def gain_over_another(caption: FinishedCaption) -> Floats:
    """(words,) in nats: ln p(word | picture) - ln p(word | the other picture); NaN where there is no other."""
    if caption.another is None:
        return np.full(len(caption.words), np.nan)
    return caption.sums(caption.scores.gain(caption.another))
