"""Which pictures are trained on, chosen with and scored on; kept in `split.csv`, with hashes, so that a run knows."""

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Dataset, class_order, listed, several
from regard.errors import DataError, UsageError
from regard.files import reading

HEADER = ("filename", "label", "split", "sha256", "group")
EARLIER = "earlier"
"""The split of pictures that a network had learnt before what the run is of: its last layer was fitted again since."""
LEARNT = ("train", EARLIER)
SHARE = 0.2
"""The part of each class that is set aside for validation where DATA brings no split."""

AnyDataset = TypeVar("AnyDataset", bound=Dataset)


@dataclass(frozen=True)
class SplitRow:
    """A line of `split.csv`: a picture, its label, the side it was on, the hash of its content, and its group or ""."""

    filename: str
    label: str
    split: str
    sha256: str
    group: str = ""


def training_parts(
    dataset: Dataset,
    *,
    seed: int = 0,
    share: float | None = None,
    group: str | None = None,
    twins: Iterable[tuple[int, int]] = (),
) -> tuple[Dataset, Dataset]:
    """(train, val) of a data set whose pictures all have labels, of two classes at least.

    The user's own `train` and `val` where there are both; where there is no `val`, a `share` of `train` (or of
    everything, when there are no splits) is set aside as `assign` does it, by default a fifth; with a share of 0
    nothing is, and `val` is empty. `test` is never touched. Raises `DataError` for too few classes or pictures, for a
    class that only `val` has, and for a group on both sides, and `UsageError` for a share beside a `val` of the user's
    own.
    """
    if dataset.splits and "train" not in dataset.splits:
        raise DataError(f"{dataset.source} has no train split, only {listed(dataset.splits)}; mark what to train on")
    check_share(dataset, share)
    if "val" in dataset.splits:
        both = [at for at, picture in enumerate(dataset.pictures) if picture.split in ("train", "val")]
    else:
        both = [at for at, picture in enumerate(dataset.pictures) if picture.split in ("train", None)]
        place = {at: new for new, at in enumerate(both)}
        twins = [(place[one], place[two]) for one, two in twins if one in place and two in place]
    chosen = _classed(dataset.select(both))
    if share == 0:
        return all_in(chosen, "train"), chosen.select([])
    if "val" not in dataset.splits:
        chosen = assign(chosen, seed=seed, share=SHARE if share is None else share, group=group, twins=twins)
    train = chosen.part("train")
    val = chosen.part("val")
    _check_sides(dataset, train, val, group)
    return train, val


def check_share(dataset: Dataset, share: float | None) -> None:
    """Raise `UsageError` for a share to set aside beside a `val` of the user's own."""
    if share is not None and "val" in dataset.splits:
        raise UsageError(
            f"--val is {share:g}, but {dataset.source} has a val split of its own; leave --val out, or give "
            "--split train to split that part anew"
        )


def all_in(dataset: AnyDataset, split: str) -> AnyDataset:
    """The data set with every picture in one split."""
    return replace(dataset, pictures=tuple(replace(picture, split=split) for picture in dataset.pictures))


def scoring_part(dataset: AnyDataset, split: str | None = None) -> AnyDataset:
    """What is scored or explained: the split that was asked for, by default `val`, else `test`, else everything."""
    if split is not None:
        return dataset.part(split)
    return next((dataset.part(name) for name in ("val", "test") if name in dataset.splits), dataset)


def assign(
    dataset: Dataset,
    *,
    seed: int = 0,
    share: float = SHARE,
    group: str | None = None,
    twins: Iterable[tuple[int, int]] = (),
) -> Dataset:
    """The data set with every picture in `train` or `val`: stratified, drawn from the seed and the pictures' names.

    About `share` of each class is in `val`, and at least one picture of it on each side. Pictures with the same value
    in the column `group` stay together (an empty value is no group), and so do `twins`, pairs of indices such as
    duplicates. Raises `DataError` when a class has one picture, or lies wholly in one group.
    """
    if not 0 < share < 1:
        raise UsageError(f"a validation share of {share} is out of range; it must lie between 0 and 1 (0.2 is usual)")
    counts = Counter(picture.label for picture in dataset.labelled().pictures)
    alone = [str(label) for label, count in counts.items() if count == 1]
    if alone:
        raise DataError(
            f"{several(alone, 'class', 'classes')} of one picture only, too few for both sides of a split; add "
            "pictures, take it out, or give a split of your own"
        )
    units = units_of(dataset, group, twins)
    _check_units(dataset, units, group)
    held_out = _held_out(dataset, shuffled_units(dataset, units, seed), share)
    pictures = tuple(
        replace(picture, split="val" if at in held_out else "train") for at, picture in enumerate(dataset.pictures)
    )
    return replace(dataset, pictures=pictures)


FOLDS = 0xF01D  # keeps the numbers that order pictures for folds apart from others of the same seed


def together(dataset: Dataset, group: str | None, twins: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """(pictures,) equal numbers for pictures that no split and no fold may part: of one group, or twins."""
    numbers = np.zeros(len(dataset), np.int64)
    for number, unit in enumerate(units_of(dataset, group, twins)):
        numbers[unit] = number
    return numbers


def folds_of(
    labels: NDArray[np.int64], classes: Sequence[str], units: NDArray[Any] | None = None, count: int = 5, seed: int = 0
) -> NDArray[np.int64]:
    """(pictures,) the fold of each: stratified by class, of sizes as even as can be, equal `units` in one fold.

    There are `count` folds, or as many as there are units. Of every class some pictures lie outside of each fold.
    Raises `DataError` for a class of one picture, or wholly of one unit.
    """
    units = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    _check_folds(labels, units, classes)
    sizes = np.bincount(units)  # (units,) pictures
    members = np.split(labels[np.argsort(units, kind="stable")], np.cumsum(sizes)[:-1])  # the labels of each unit
    folds = min(count, len(members))
    size = np.bincount(labels, minlength=len(classes))  # (classes,)
    sums = np.zeros((folds, len(classes)), np.int64)
    whole = np.zeros(folds, np.int64)
    place = np.zeros(len(members), np.int64)

    def put(unit: int, fold: int, times: int = 1) -> None:
        place[unit] = fold
        np.add.at(sums[fold], members[unit], times)
        whole[fold] += times * sizes[unit]

    order = np.random.default_rng((seed, FOLDS)).permutation(len(members))
    for unit in order[np.argsort(-sizes[order], kind="stable")]:  # large ones first, while there is room
        crowded = (sums[:, members[unit]] / size[members[unit]]).sum(axis=1)  # (folds,) its classes that are there
        put(unit, int(np.lexsort((whole, np.round(crowded, 9)))[0]))
    for label in np.flatnonzero(((sums > 0).sum(axis=0) == 1) & (size > 0)):  # its units are of other classes too
        unit = min(np.unique(units[labels == label]), key=lambda each: int(sizes[each]))
        put(unit, int(place[unit]), -1)
        others = np.flatnonzero(np.arange(folds) != place[unit])
        put(unit, int(others[np.argmin(whole[others])]))
    alone = [classes[int(label)] for label in np.flatnonzero(((sums > 0).sum(axis=0) == 1) & (size > 0))]
    if alone:
        raise DataError(
            f"{several(alone, 'class', 'classes')} cannot be in two of {folds} folds with these groups; give fewer "
            "--folds, leave --group out, or set pictures aside (--val 0.2)"
        )
    return np.unique(place, return_inverse=True)[1][units]


def _check_folds(labels: NDArray[np.int64], units: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Every class must have pictures in two units: one is left out, and the others are learnt."""
    counts = np.bincount(labels, minlength=len(classes))
    if (counts < 2).any():
        few = int(np.argmax(counts < 2))
        raise DataError(
            f"class {classes[few]!r} has {('no', 'one')[counts[few]]} picture to train on; each class needs at least "
            "two, so that one can be left out to choose by: add pictures or take the class out"
        )
    several_units = np.bincount(np.unique(np.stack([labels, units]), axis=1)[0], minlength=len(classes))
    if (several_units < 2).any():
        name = classes[int(np.argmax(several_units < 2))]
        raise DataError(
            f"all training pictures of class {name!r} are of one group, or copies of one another; each class needs at "
            "least two groups to choose by: add pictures, or leave out --group"
        )


def units_of(dataset: Dataset, group: str | None, twins: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The pictures as lists of those that stay together: same group, or twins, or twins of twins."""
    parent = list(range(len(dataset)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    pairs = list(twins)
    if group is not None:
        first: dict[str, int] = {}
        pairs += [(first.setdefault(str(value), at), at) for at, value in enumerate(dataset.column(group)) if value]
    for one, two in pairs:
        parent[root(two)] = root(one)
    units: dict[int, list[int]] = defaultdict(list)
    for at in range(len(dataset)):
        units[root(at)].append(at)
    return list(units.values())


def _check_units(dataset: Dataset, units: Sequence[Sequence[int]], group: str | None) -> None:
    """Every class must have two units, to be on both sides."""
    together = Counter(label for unit in units for label in {dataset.pictures[at].label for at in unit})
    alone = [str(label) for label, count in together.items() if count == 1]
    if alone:
        what = f"all of one group (column {group!r}) or duplicates" if group else "all duplicates of one another"
        raise DataError(
            f"the pictures of {several(alone, 'class', 'classes')} {what}, so none can be on both sides of a split; "
            "add pictures, take the class out, or give a split of your own"
        )


def shuffled_units(dataset: Dataset, units: list[list[int]], seed: int) -> list[list[int]]:
    """The units in an order that depends on the seed and their names alone, not on what else there is."""

    def key(unit: Sequence[int]) -> bytes:
        name = min(dataset.pictures[at].name for at in unit)
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

    return sorted(units, key=key)


def _held_out(dataset: Dataset, units: Sequence[Sequence[int]], share: float) -> set[int]:
    """The pictures of `val`: units are taken in order while they bring the classes nearer to their shares.

    Then each class that got none gives its smallest unit. No unit is taken that would leave `train` without a class.
    """
    labels = dataset.labels
    classes = len(dataset.classes)
    counts = np.bincount(labels, minlength=classes)
    targets = np.where(counts > 0, np.maximum(1, np.rint(share * counts)), 0)
    held_out = set[int]()
    sums = np.zeros(classes, np.int64)
    tally = [np.bincount(labels[list(unit)], minlength=classes) for unit in units]

    def take(at: int) -> None:
        held_out.update(units[at])
        sums[:] += tally[at]

    def spared(at: int) -> bool:
        return not ((tally[at] > 0) & (counts - sums - tally[at] < 1)).any()

    for at, unit in enumerate(tally):
        if _distance(sums + unit, targets) < _distance(sums, targets) and spared(at):
            take(at)
    for label in np.flatnonzero((sums == 0) & (counts > 0)):
        able = [at for at, unit in enumerate(tally) if unit[label] and spared(at)]
        if sums[label] == 0 and able:
            take(min(able, key=lambda at: len(units[at])))
    return held_out


def _distance(sums: NDArray[np.int64], targets: NDArray[np.float64]) -> float:
    return float(((sums - targets) ** 2).sum())


def _classed(dataset: Dataset) -> Dataset:
    """The data set with the classes it has pictures of, which must be two at least."""
    classes = class_order(str(picture.label) for picture in dataset.labelled().pictures)
    if len(classes) < 2:
        raise DataError(
            f"{dataset.source} has one class only ({classes[0]!r}); a classifier needs two or more; is it the folder "
            "above or below that has a folder for each class?"
        )
    return replace(dataset, classes=classes)


def _check_sides(dataset: Dataset, train: Dataset, val: Dataset, group: str | None) -> None:
    """Every class must be trained on, and no group may be on both sides."""
    unseen = sorted(
        {str(picture.label) for picture in val.pictures} - {str(picture.label) for picture in train.pictures}
    )
    if unseen:
        raise DataError(
            f"in {dataset.source} {several(unseen, 'class', 'classes')} in val but not in train; add some there"
        )
    check_groups(dataset, train, val, group)


def check_groups(dataset: Dataset, train: Dataset, val: Dataset, group: str | None) -> None:
    """Raise `DataError` for groups on both sides of a split."""
    if group is None:
        return
    both = sorted((set(train.column(group)) & set(val.column(group))) - {""})
    if both:
        raise DataError(
            f"by column {group!r} {several([str(value) for value in both], 'group')} on both sides of the split of "
            f"{dataset.source}; keep each on one side, or leave the split to regard"
        )


def split_rows(parts: Iterable[Dataset], hashes: Mapping[str, str], group: str | None = None) -> list[SplitRow]:
    """The lines of `split.csv` for the parts of a run; `hashes` are SHA-256 by name."""
    rows = []
    for part in parts:
        groups = np.full(len(part), "") if group is None or not len(part) else part.column(group)  # none has no columns
        rows += [
            SplitRow(picture.name, picture.label or "", picture.split or "", hashes[picture.name], str(value))
            for picture, value in zip(part.pictures, groups, strict=True)
        ]
    return rows


def split_text(rows: Iterable[SplitRow]) -> str:
    """The content of `split.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((row.filename, row.label, row.split, row.sha256, row.group) for row in rows)
    return text.getvalue()


def read_split(file: Path | str) -> list[SplitRow]:
    """The lines of a `split.csv`. Raises `DataError` when it is none."""
    file = Path(file)
    if not file.is_file():
        raise DataError(f"there is no {file}; a run has one beside its model.json")
    with (
        reading(file, "restore it"),
        file.open(encoding="utf-8", errors="surrogateescape", newline="") as text,
    ):
        reader = csv.reader(text)
        if tuple(next(reader, [])) != HEADER:
            raise DataError(f"{file} is not a run's split; its first line must be {','.join(HEADER)}")
        lines = list(reader)
    if any(len(line) != len(HEADER) for line in lines):
        raise DataError(f"{file} is not whole; each line needs the {len(HEADER)} fields {','.join(HEADER)}")
    return [SplitRow(*line) for line in lines]


def run_splits(hashes: Iterable[str], rows: Iterable[SplitRow]) -> NDArray[np.str_]:
    """(pictures,) text: the split in which a run had the picture with each hash, "" for pictures it never saw.

    "train" is for pictures it learnt from, "earlier" for those before it did, "val" for those it was selected with; of
    both, what was learnt counts.
    """
    by_hash: dict[str, str] = {}
    for row in rows:
        if by_hash.get(row.sha256) not in LEARNT:
            by_hash[row.sha256] = row.split
    return np.array([by_hash.get(each, "") for each in hashes], np.str_)
