"""How likely the network itself finds a word."""

from regard.explanation.words.finished import FinishedCaption, Floats


def log_probability(caption: FinishedCaption) -> Floats:
    """(words,), at most 0: ln p(word | the words before it, the picture), in nats."""
    return caption.sums(caption.scores.log_probabilities)
