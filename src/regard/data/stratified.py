"""Pictures with several labels each, divided so that every part has its share of every label.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data", ECML
PKDD, algorithm 1): the label with the fewest pictures left comes first, and each of its pictures goes to the part that
still wants most of that label. What is put somewhere is a unit: a picture, or all pictures of a group.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import listed, several
from regard.data.label_sets import LabelSets
from regard.data.splits import FOLDS, SHARE, all_in, check_groups, check_share, shuffled_units, units_of
from regard.errors import DataError, UsageError

Counts = NDArray[np.int64]


def stratified(
    counts: Counts, sizes: Counts, shares: Sequence[float], order: Sequence[int], fixed: Sequence[int] = ()
) -> Counts:
    """(units,) the part of each unit: `counts` (units, labels) pictures of each label, `sizes` (units,) all of them.

    `shares` (parts,) sum to 1. Where parts want equally much of a label, the one that wants more pictures is taken,
    then the first; units of a label go in `order`, large ones first. Units that are `fixed` are in the first part.
    """
    weights = np.asarray(shares, np.float64)[:, None]  # (parts, 1)
    shortfall = weights * counts.sum(axis=0)  # (parts, labels)
    room = weights[:, 0] * sizes.sum()  # (parts,)
    place = np.full(len(counts), -1, np.int64)
    ranked = np.array(sorted(order, key=lambda unit: -int(sizes[unit])), np.int64)

    def put(unit: int, part: int) -> None:
        place[unit] = part
        shortfall[part] -= counts[unit]
        room[part] -= sizes[unit]

    for unit in fixed:
        put(unit, 0)
    while (place < 0).any():
        left = counts[place < 0].sum(axis=0)  # (labels,)
        if left.any():
            label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
            for unit in ranked[(place[ranked] < 0) & (counts[ranked, label] > 0)].tolist():
                put(unit, int(np.lexsort((-room, -np.round(shortfall[:, label], 9)))[0]))
        else:
            for unit in ranked[place[ranked] < 0].tolist():
                put(unit, int(np.argmax(np.round(room, 9))))
    return place


def multilabel_parts(
    dataset: LabelSets,
    *,
    seed: int = 0,
    share: float | None = None,
    group: str | None = None,
    twins: Iterable[tuple[int, int]] = (),
) -> tuple[LabelSets, LabelSets]:
    """(train, val) of pictures with sets of labels, of which two labels at least occur: as `splits.training_parts`.

    Without a `val` of the user's own, `share` of the pictures is set aside so that each label has its share there; the
    pictures of one group, and `twins`, stay together. A label of one picture or group is trained on. Raises
    `DataError` where no picture has several labels, for a label that only `val` has and for a group on both sides.
    """
    if dataset.splits and "train" not in dataset.splits:
        raise DataError(f"{dataset.source} has no train split, only {listed(dataset.splits)}; mark what to train on")
    check_share(dataset, share)
    has_val = "val" in dataset.splits
    chosen_places = [
        at for at, each in enumerate(dataset.pictures) if each.split in ("train", *(["val"] if has_val else [None]))
    ]
    place = {at: new for new, at in enumerate(chosen_places)}
    pairs = [(place[one], place[two]) for one, two in twins if one in place and two in place]
    chosen = dataset.select(chosen_places)
    counts = chosen.counts
    chosen = replace(chosen, classes=tuple(name for name in chosen.classes if counts[name]))
    _check_labels(chosen)
    if share == 0:
        return all_in(chosen, "train"), chosen.select([])
    if not has_val:
        chosen = _assigned(chosen, seed, SHARE if share is None else share, group, pairs)
    train = chosen.part("train")
    val = chosen.part("val")
    learnt = train.counts
    unseen = [name for name in chosen.classes if not learnt[name]]
    if unseen:
        raise DataError(f"in {dataset.source} {several(unseen, 'label')} in val but not in train; add some there")
    check_groups(dataset, train, val, group)
    return train, val


def _check_labels(dataset: LabelSets) -> None:
    if not (dataset.truth.sum(axis=1) > 1).any():
        raise DataError(
            f"no picture of {dataset.source} has several labels, so there is a class for each; leave --task multilabel "
            "out to train a classifier, or write the labels of a picture as 'cat|dog'"
        )


def _assigned(
    dataset: LabelSets, seed: int, share: float, group: str | None, twins: Iterable[tuple[int, int]]
) -> LabelSets:
    if not 0 < share < 1:
        raise UsageError(f"a validation share of {share} is out of range; it must lie between 0 and 1 (0.2 is usual)")
    units = shuffled_units(dataset, units_of(dataset, group, twins), seed)
    if len(units) < 2:
        raise DataError(f"all pictures of {dataset.source} are of one group or copies of one another; add others")
    truth = dataset.truth
    counts = np.array([truth[unit].sum(axis=0) for unit in units], np.int64)
    sizes = np.array([len(unit) for unit in units], np.int64)
    alone = (counts > 0).sum(axis=0) == 1  # (labels,) in one unit: learnt or tested, not both
    learnt = np.flatnonzero((counts[:, alone] > 0).any(axis=1)).tolist()
    sides = stratified(counts, sizes, (1 - share, share), range(len(units)), learnt)
    if (sides == 0).all():
        raise DataError(
            f"every picture of {dataset.source} is the only one of some label, so that none can be set aside; add "
            "pictures, or give --val 0"
        )
    held_out = {at for unit, side in zip(units, sides.tolist(), strict=True) if side for at in unit}
    pictures = (replace(each, split="val" if at in held_out else "train") for at, each in enumerate(dataset.pictures))
    return replace(dataset, pictures=tuple(pictures))


def label_folds(
    truth: NDArray[np.bool_],
    names: Sequence[str],
    units: NDArray[Any] | None = None,
    count: int = 5,
    seed: int = 0,
) -> Counts:
    """(pictures,) the fold of each, of `truth` (pictures, labels): every label in as even parts as can be, equal
    `units` in one fold. There are `count` folds, or as many as there are units.

    Of every label some pictures lie outside of each fold. Raises `DataError` where that cannot be.
    """
    unit = np.arange(len(truth)) if units is None else np.unique(units, return_inverse=True)[1]
    sizes = np.bincount(unit)
    counts = np.zeros((len(sizes), truth.shape[1]), np.int64)
    np.add.at(counts, unit, truth.astype(np.int64))
    folds = min(count, len(sizes))
    order = np.random.default_rng((seed, FOLDS)).permutation(len(sizes))
    place = stratified(counts, sizes, [1 / folds] * folds, order.tolist())

    def crowded() -> NDArray[np.int64]:
        """The labels all of whose pictures are in one fold."""
        spread = np.array([(counts[place == fold] > 0).any(axis=0) for fold in range(folds)])  # (folds, labels)
        return np.flatnonzero(spread.sum(axis=0) == 1)

    for label in crowded():
        unit_of_label = min(np.flatnonzero(counts[:, label]), key=lambda each: int(sizes[each]))
        room = np.bincount(place, weights=sizes, minlength=folds)
        room[place[unit_of_label]] = np.inf
        place[unit_of_label] = int(np.argmin(room))
    if len(alone := crowded()):
        raise DataError(
            f"{several([names[label] for label in alone.tolist()], 'label')} in one of {folds} folds alone, as there "
            "are too few pictures or groups of it; add pictures, take it out, or set pictures aside (--val 0.2)"
        )
    return np.unique(place, return_inverse=True)[1][unit]
