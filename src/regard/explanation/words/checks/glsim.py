"""GLSim (Park and Li 2025, arXiv 2508.19972): a word's hidden state beside the scene's and beside its patches'."""

import torch.nn.functional as F

from regard.explanation.words.finished import FinishedCaption, Floats

GLOBAL = 0.6
"""The weight of the part that is of the whole scene; the rest is of the patches'."""
PATCHES = 32
"""How many patches a word is held against, those that say it most; all where there are fewer."""


def glsim(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 1: 0.6 · `glsim_global` + 0.4 · `glsim_local`."""
    return GLOBAL * glsim_global(caption) + (1 - GLOBAL) * glsim_local(caption)


def glsim_global(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 1: cos(h of the word, h of the last token before the caption), mean over the word's tokens."""
    words = caption.lens.words.double()  # (tokens + 1, width)
    return caption.means(F.cosine_similarity(words[1:], words[:1]))


def glsim_local(caption: FinishedCaption) -> Floats:
    """(words,), -1 to 1: the mean of cos(h of the word, h of a patch) over the patches whose logit lens gives each of
    its tokens most.

    A decoder with an attention of its own to the picture has no state of a patch among its words'; there h of a patch
    is what the layer's attention would bring to a word that looked at it alone (our reading).
    """
    lens = caption.lens
    best = lens.logs.topk(min(PATCHES, lens.logs.shape[1])).indices  # (tokens, patches)
    words = lens.words[1:, None].double()  # (tokens, 1, width)
    return caption.means(F.cosine_similarity(words, lens.patches[best].double(), dim=-1).mean(1))
