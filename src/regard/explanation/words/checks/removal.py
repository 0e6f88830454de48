"""What happens to a word when the patches of its map are taken out, and when those alone are left: is its map faithful?

Of an order of the patches, a word has, for each of some fractions f, what it loses without the first f of them and what
it has with the first f alone. Both are means over the fractions, and as these lie symmetrically around one half, their
sum is the symmetric relevance gain, the mean difference between taking out the last first and the first first (Blücher
et al. 2024, arXiv 2401.06654): 0 for an order that says nothing of the word, whatever stands in the place of patches.

How patches are taken out is the network's (`CaptionNetwork.removed`): as tokens where its encoder can do without them,
else painted in the picture's mean colour. Each pass has all words, so that a word's value by the maps of the others
costs nothing more.
"""

from dataclasses import dataclass

import numpy as np
import torch

from regard.errors import UsageError
from regard.explanation.words.dependence import per_word
from regard.explanation.words.finished import FinishedCaption, Floats
from regard.measurement.chance import generator_of
from regard.measurement.faithfulness.curves import influence
from regard.measurement.localisation.measures import centre

FRACTIONS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the patches; symmetric around one half, as the sum of both curves is SRG then alone."""


@dataclass(frozen=True)
class Removal:
    """The log-probabilities of words (words,) with all patches, and by orders (orders, fractions, words) `without` the
    first of each and with the first `alone`. The orders are those of the words' own maps, then of a random map and of
    the centre."""

    whole: Floats
    without: Floats
    alone: Floats

    @property
    def deletion(self) -> Floats:
        """(orders, words): what is lost, in nats."""
        return self.whole - self.without.mean(1)

    @property
    def insertion(self) -> Floats:
        """(orders, words): what is there, in nats, less what there is with all patches."""
        return self.alone.mean(1) - self.whole

    @property
    def gain(self) -> Floats:
        """(orders, words): both together, the symmetric relevance gain in nats."""
        return self.deletion + self.insertion


def removal_of(caption: FinishedCaption) -> Removal:
    """The removal of a caption's words by their own maps and the baselines' orders; computed once for a caption.

    Raises `UsageError` where the picture that it was prepared from is not there, or has one patch.
    """
    return caption.once(_removal)


def _removal(caption: FinishedCaption) -> Removal:
    if caption.image is None:
        raise UsageError("patches are taken out of the picture that a caption is of; give its image")
    maps = per_word(caption.scores.maps.astype(np.float64), caption.words, np.mean)
    rows, columns = maps.shape[1:]
    patches = rows * columns
    if patches < 2:
        raise UsageError(f"a picture of {patches} patch has none that could be taken out")
    pixels = next(value for value in caption.picture.inputs.values() if value.is_floating_point())
    chance = generator_of(pixels, 0, "removal").random((1, rows, columns))
    values = np.concatenate([maps, chance, centre(rows, columns)[None]])  # (orders, rows, columns)
    orders = influence(values.reshape(len(values), -1), pixels, 0)
    ranks = np.argsort(orders, axis=1)  # (orders, patches): 0 is the most influential
    counts = [min(max(round(patches * fraction), 1), patches - 1) for fraction in FRACTIONS]
    first = np.stack([ranks < count for count in counts], axis=1)  # (orders, fractions, patches)
    visible = torch.from_numpy(np.stack([~first, first]).reshape(-1, rows, columns))
    logs = caption.network.removed(caption.picture, caption.image, caption.tokens, visible, caption.prompt)
    words = np.stack([caption.sums(each) for each in logs.double()])
    without, alone = words.reshape(2, len(orders), len(FRACTIONS), -1)
    return Removal(caption.sums(caption.scores.log_probabilities), without, alone)


def deletion(caption: FinishedCaption) -> Floats:
    """(words,) in nats, the mean over the fractions: ln p(word) - ln p(word | without the first f of its map)."""
    return np.diagonal(removal_of(caption).deletion)


def insertion(caption: FinishedCaption) -> Floats:
    """(words,) in nats, the mean over the fractions: ln p(word | the first f of its map alone) - ln p(word)."""
    return np.diagonal(removal_of(caption).insertion)


def removal(caption: FinishedCaption) -> Floats:
    """(words,) in nats: deletion and insertion together; 0 for a map that says nothing of the word."""
    return np.diagonal(removal_of(caption).gain)


def removal_over_random(caption: FinishedCaption) -> Floats:
    """(words,): `removal` less that of one random order, the same for the same picture."""
    return removal(caption) - removal_of(caption).gain[-2]


def removal_over_centre(caption: FinishedCaption) -> Floats:
    """(words,): `removal` less that of the middle of the picture."""
    return removal(caption) - removal_of(caption).gain[-1]


def removal_over_words(caption: FinishedCaption) -> Floats:
    """(words,): `removal` less the mean of what the maps of the other words have for this one; NaN for a word alone."""
    count = len(caption.words)
    if count < 2:
        return np.full(count, np.nan)
    gain = removal_of(caption).gain[:count]  # (maps, words)
    return removal(caption) - (gain.sum(0) - np.diagonal(gain)) / (count - 1)
