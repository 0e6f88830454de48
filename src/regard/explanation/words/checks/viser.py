"""VisER (2026, arXiv 2608.30480): what patches say of a word, and how much of its attention is on them."""

import numpy as np
import torch.nn.functional as F

from regard.explanation.words.finished import FinishedCaption, Floats

EVIDENCE = 0.4
"""The weight of the evidence; the rest is the ratio's."""
TEMPERATURE = 1.0
STRONGEST = 10
"""How many of the attentions to the picture, and of those to the text, count."""


def viser(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 1: 0.4 · `viser_evidence` + 0.6 · `viser_ratio`."""
    return EVIDENCE * viser_evidence(caption) + (1 - EVIDENCE) * viser_ratio(caption)


def viser_evidence(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 1: cos(h of the token before, h of the word) · σ(M / τ), mean over the word's tokens.

    M is the sum over the patches of the probability that the logit lens gives the token there, τ = 1. The token before
    is the one that predicts the word: it stands for the context.
    """
    lens = caption.lens
    words = lens.words.double()  # (tokens + 1, width)
    mass = lens.logs.double().exp().sum(1)  # (tokens,)
    return caption.means(F.cosine_similarity(words[:-1], words[1:]) * (mass / TEMPERATURE).sigmoid())


def viser_ratio(caption: FinishedCaption) -> Floats:
    """(words,), 0 to 1: S_picture / (S_picture + S_text), the sums of the ten strongest attentions of the row that
    predicts the word to the picture's tokens and to all others, mean over heads and the middle layers."""
    attention = caption.attention  # (tokens, keys)
    picture = np.zeros(attention.shape[1], bool)
    picture[caption.trace.picture_keys] = True
    sums = [np.sort(attention[:, keys], axis=1)[:, -STRONGEST:].sum(1) for keys in (picture, ~picture)]
    return caption.means(sums[0] / (sums[0] + sums[1]))
