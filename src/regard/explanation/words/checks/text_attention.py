"""How much of a word's attention goes to the words before it (PAS): a word that follows from them needs no picture."""

import numpy as np

from regard.explanation.words.finished import FinishedCaption, Floats


def text_attention(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 0: less Σ over the caption's tokens before the word of the attention in the row that predicts it,
    mean over heads and the middle layers. Prompt and picture are no words before; the first word has 0.

    In a decoder with an attention of its own to the picture this is the attention among tokens, whose rest goes to what
    stands before the caption: how much is taken from the picture it does not say.
    """
    weights = caption.attention[:, caption.trace.first_word :]  # (tokens, tokens)
    return caption.means(-np.tril(weights, -1).sum(1))
