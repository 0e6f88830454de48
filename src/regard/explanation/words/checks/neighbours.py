"""What stands beside a word: a network that had trouble there, or has it behind, may have lost the picture."""

import numpy as np

from regard.explanation.words.finished import FinishedCaption, Floats

TOKENS = 3
"""How many tokens to each side count."""


def least_before(caption: FinishedCaption) -> Floats:
    """(words,), at most 0: the least log-probability of the three tokens before the word; 0 of the first."""
    logs = caption.scores.log_probabilities.astype(np.float64)
    sides = (logs[max(word.start - TOKENS, 0) : word.start] for word in caption.words)
    return np.array([side.min(initial=0.0) for side in sides], np.float64)


def least_after(caption: FinishedCaption) -> Floats:
    """(words,), at most 0: the least log-probability of the three tokens after the word, the end among them; 0 where
    nothing follows."""
    logs = caption.scores.log_probabilities.astype(np.float64)
    sides = (logs[word.stop : word.stop + TOKENS] for word in caption.words)
    return np.array([side.min(initial=0.0) for side in sides], np.float64)
