"""How the network chose a word: how far before the others, and among how many."""

import numpy as np

from regard.explanation.words.finished import FinishedCaption, Floats


def margin(caption: FinishedCaption) -> Floats:
    """(words,) in nats: ln p(token) - ln p(the likeliest other token), the least over the word's tokens; negative where
    another is likelier. NaN of a vocabulary of one token."""
    decoding = caption.trace.decoding
    logs = decoding.alternative_log_probabilities.double().numpy()  # (tokens, alternatives), best first
    if logs.shape[1] < 2:
        return np.full(len(caption.words), np.nan)
    is_word = decoding.alternatives.numpy() == np.asarray(caption.tokens)[:, None]
    best_other = np.where(is_word, -np.inf, logs).max(1)
    return caption.least(decoding.log_probabilities.double().numpy() - best_other)


def certainty(caption: FinishedCaption) -> Floats:
    """(words,) in nats, at most 0: less the entropy of the choice, Σ p ln p, the least over the word's tokens.

    Of the 64 likeliest tokens, all others as one: no more is kept of a large vocabulary.
    """
    logs = caption.trace.decoding.alternative_log_probabilities.double().numpy()  # (tokens, alternatives)
    chances = np.exp(logs)
    rest = np.clip(1 - chances.sum(1), 0, 1)
    of_rest = rest * np.log(np.where(rest > 0, rest, 1))
    return caption.least((chances * np.where(chances > 0, logs, 0)).sum(1) + of_rest)
