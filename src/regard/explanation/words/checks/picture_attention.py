"""How much of a word's attention goes to the picture (SVAR), where words and picture share one attention."""

from regard.explanation.words.finished import FinishedCaption, Floats


def picture_attention(caption: FinishedCaption) -> Floats:
    """(words,), 0 to 1: Σ over the picture's tokens of the attention in the row that predicts the word, mean over heads
    and the middle layers.

    A decoder with an attention of its own to the picture gives all of that to it, always, so it has no such share.
    """
    return caption.means(caption.attention[:, caption.trace.picture_keys].sum(1))
