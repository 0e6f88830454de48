"""Is a network more easily disturbed on the object or beside it: relative foreground sensitivity.

Moayeri et al. 2022 (RIVAL10, arXiv 2201.10766, section 4): Gaussian noise on the object alone and on the background
alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.measurement.intervals import jackknifed, unskewed
from regard.measurement.reliance.answers import Answers, Floats, answers, noise
from regard.networks.network import Network
from regard.records import Score

PLACES = ("object", "background")
SIGMA = 0.25
DRAWS = 3


def under_noise(
    network: Network,
    pictures: Tensor,
    masks: Tensor,
    targets: NDArray[Any],
    *,
    sigma: float = SIGMA,
    draws: int = DRAWS,
    seed: int = 0,
    batch_size: int = 32,
) -> Answers:
    """What the network answers with noise on the objects, and with the same noise on all the rest, `draws` times each.

    Pictures and masks are as in `compositing`; a picture whose object is nowhere or everywhere has no answers. Values
    stay in [0, 1]. The variants are "object 0", "background 0", "object 1" and so on.
    """
    among = masks.flatten(1).any(dim=1) & ~masks.flatten(1).all(dim=1)

    def variants() -> Iterator[tuple[str, Tensor, Tensor]]:
        for draw, field in enumerate(noise(pictures, seed, draws)):
            for place, where in zip(PLACES, (masks, ~masks), strict=True):
                yield f"{place} {draw}", (pictures + sigma * field * where[:, None]).clamp(0, 1), among

    return answers(network, variants(), targets, batch_size)


def by_place(values: Floats) -> Floats:
    """Values (variants, pictures) of `under_noise`, correct or probability → (2, pictures): the mean over draws with
    noise on the object, and on the background."""
    return np.stack([values[0::2].mean(axis=0), values[1::2].mean(axis=0)])


def sensitivity(correct: Floats, labels: NDArray[Any], groups: NDArray[Any] | None = None) -> Score:
    """Relative foreground sensitivity, -1 (only the background counts) to 1 (only the object does), with its interval.

    (b - a) / (2 · min(m, 1 - m)): a is the accuracy under noise on the object, b on the background, each the mean over
    the classes' own, m the mean of the two. `correct` (2, pictures) is that of `by_place`, `labels` (pictures,) the
    true classes. NaN where both accuracies are 0 or 1, as nothing can then differ. The interval leaves out each
    picture, or each of the `groups`, in turn.
    """
    valid = np.isfinite(correct).all(axis=0)
    classes, members = np.unique(np.asarray(labels)[valid], return_inverse=True)
    one_hot = np.eye(len(classes))[members].T  # (classes, pictures)
    sums = np.concatenate([one_hot, *(one_hot * row for row in correct[:, valid])])  # (3 · classes, pictures)

    def statistic(totals: Floats) -> Floats:
        counts, on_object, on_background = totals.reshape(3, len(classes), -1)
        occupied = counts > 0.5
        accuracies = [np.where(occupied, part / np.maximum(counts, 1), 0) for part in (on_object, on_background)]
        a, b = (part.sum(axis=0) / np.maximum(occupied.sum(axis=0), 1) for part in accuracies)
        room = np.minimum((a + b) / 2, 1 - (a + b) / 2)
        return np.divide(b - a, 2 * room, out=np.full_like(room, np.nan), where=room > 1e-12)

    if not valid.any() or not np.isfinite(statistic(sums.sum(axis=1, keepdims=True))[0]):
        return Score(float("nan"), float("nan"), float("nan"), int(valid.sum()))
    estimate = jackknifed(sums, statistic, None if groups is None else np.asarray(groups)[valid])
    count = int(valid.sum()) if groups is None else len(np.unique(np.asarray(groups)[valid]))
    return unskewed(estimate, count, least=-1.0)
