"""The scores of FunnyBirds (Hesse et al. 2023, arXiv 2308.06248) that need no parts of one class put on another.

Arrays go by picture and part; a picture that has fewer parts than another has NaN for the rest. What a network answers
to scenes whose parts are left undrawn comes from outside: `regard.scenes.render(scene, without=...)` draws them. As in
the authors' code, the answer is the class predicted for the whole picture, and scores are logits. What is read here in
one of several ways: a part's importance is the sum of the map over the part as it is seen, without a margin around it
(the authors widen it by two pixels), and it counts as important where it is more than a threshold's share of the map's
*positive* sum (theirs is the whole sum, by which a map whose values cancel calls every part important).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.measurement.ranks import spearman

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.01, 0.5, 80)
"""The shares of a map from which a part counts as important that are tried, as the authors do."""
IRRELEVANT = 0.05
"""A part is irrelevant where the class's score falls by less than this share of itself without it."""


def part_importances(maps: NDArray[Any], masks: Bools) -> tuple[Floats, Floats]:
    """(pictures, parts), the sum of each map (pictures, height, width) over each of the parts' `masks` (pictures,
    parts, height, width), NaN for a part of which nothing is seen; and (pictures,), the sum of its positive values.

    Values that are not numbers add nothing.
    """
    values = np.nan_to_num(np.asarray(maps, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    sums = np.einsum("phw,pnhw->pn", values, masks.astype(np.float64))
    return np.where(masks.any(axis=(2, 3)), sums, np.nan), np.maximum(values, 0).sum(axis=(1, 2))


def important(importances: Floats, totals: Floats, thresholds: NDArray[Any] = THRESHOLDS) -> Bools:
    """(thresholds, pictures, parts): which parts have more than a threshold's share of their total (pictures,)."""
    return np.asarray(importances[None] > np.asarray(thresholds)[:, None, None] * totals[None, :, None])


def preservation_check(whole: NDArray[Any], preserved: NDArray[Any]) -> Floats:
    """PC: (..., pictures) 1 where the class predicted with the important parts alone (..., pictures) is that of the
    whole picture (pictures,), else 0."""
    return np.asarray(preserved == whole, np.float64)


def deletion_check(whole: NDArray[Any], deleted: NDArray[Any]) -> Floats:
    """DC: (..., pictures) 1 where the class predicted without the important parts (..., pictures) is another than that
    of the whole picture (pictures,), else 0."""
    return np.asarray(deleted != whole, np.float64)


def irrelevant(whole: Floats, without: Floats) -> Bools:
    """(pictures, parts): where the class's score without a part (pictures, parts) is higher than the score of the whole
    (pictures,), or lower by less than `IRRELEVANT` of that; no part that there is not (NaN)."""
    drop = whole[:, None] - without
    with np.errstate(invalid="ignore"):
        return np.asarray((drop < 0) | (np.abs(drop) < IRRELEVANT * np.abs(whole)[:, None]))


def distractibility(called: Bools, without_use: Bools) -> Floats:
    """D: (..., pictures) 1 less the share of the irrelevant parts and things (pictures, parts) that are `called`
    important (..., pictures, parts); NaN for a picture of which everything is relevant."""
    count = without_use.sum(axis=-1)
    hit = (called & without_use).sum(axis=-1)
    return 1 - np.divide(hit, count, out=np.full(hit.shape, np.nan), where=count > 0)


def background_independence(whole: Floats, without: Floats) -> Floats:
    """BI: (pictures, things) 1 where the class's score does not fall without the thing by `IRRELEVANT` of itself or
    more, else 0; NaN where there is no thing. Its mean over all things is the network's."""
    return np.where(np.isfinite(without), irrelevant(whole, without), np.nan)


def part_deletion(importances: Floats, whole: Floats, without: Floats) -> Floats:
    """SD: (pictures,) 0 to 1, (1 + ρ) / 2 of Spearman's ρ over the parts between what the map gives to each (pictures,
    parts) and how far the class's score falls from the whole (pictures,) without it (pictures, parts).

    0.5 for a map that gives the same to all; NaN where no score falls otherwise than another, or of fewer than two
    parts.
    """
    scores = np.full(len(whole), np.nan)
    for row, (importance, drop) in enumerate(zip(importances, whole[:, None] - without, strict=True)):
        parts = np.isfinite(importance) & np.isfinite(drop)
        if parts.any():
            scores[row] = (1 + spearman(importance[parts], drop[parts])) / 2
    return scores


def best_threshold(preserved: Floats, deleted: Floats, distracted: Floats) -> int:
    """Which threshold gives the highest (PC + DC) / 2 + D, of scores (thresholds, pictures) each; the first of equals.

    The authors take (CSDC + PC + DC) / 3 + D; CSDC needs parts that can be put on another class.
    """
    return int(np.argmax((preserved.mean(axis=1) + deleted.mean(axis=1)) / 2 + np.nanmean(distracted, axis=1)))
