"""Pictures with what is known of them, without torch: the records that every layout of DATA is read into."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from regard.data.openers import FileOpener, Opener
from regard.errors import DataError, unknown
from regard.records.display import Readable

log = logging.getLogger("regard")

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "validation", "valid", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
}
"""The names of splits that are known, in any case, and the one each of them goes by; those of Hugging Face datasets."""

CROSS = "+"
CLASS = "class"
"""`class+ground` is each class crossed with each value of the column `ground`."""
CLASSES_NAMED = 10
"""How many classes a line that says how DATA was read names."""


@dataclass(frozen=True, repr=False)
class Picture(Readable):
    """One picture: its `name`, which is its key, and an `opener`.

    The name is a POSIX path relative to DATA that never leads out of a folder; `filename` is what the user calls it (as
    written in a table or argument), the name where None.
    `label` and `split` are None where DATA says nothing of them; `columns` are further columns of its row (groups,
    slices), as text; `annotations` are what a COCO file says of it (captions, boxes, masks), as it stands there.
    """

    name: str
    opener: Opener
    label: str | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    annotations: tuple[Mapping[str, Any], ...] = ()
    filename: str | None = None

    def __str__(self) -> str:
        return ", ".join([self.name, *filter(None, (self.label, self.split))])

    @property
    def path(self) -> Path | None:
        """Its file; None for a picture that lies elsewhere."""
        return self.opener.path if isinstance(self.opener, FileOpener) else None

    @property
    def identity(self) -> Path | str:
        """What one picture has under several names: its file, and page, where it is one, else its name."""
        if not isinstance(self.opener, FileOpener):
            return self.name
        return Path(str(replace(self.opener, path=self.opener.path.resolve())))


@dataclass(frozen=True, repr=False)
class Dataset(Readable):
    """The pictures of DATA in order. `layout` says how it was read; `classes` are the labels in the order of indices.

    A part of a data set keeps all its classes.
    """

    source: Path
    layout: str
    pictures: tuple[Picture, ...]
    classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return summary(self)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def names(self) -> list[str]:
        return [picture.name for picture in self.pictures]

    @property
    def filenames(self) -> list[str]:
        """The pictures as the user calls them: what result tables give back."""
        return [picture.name if picture.filename is None else picture.filename for picture in self.pictures]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(pictures,) int64: indices into `classes`, -1 where a picture has no label."""
        index: dict[str | None, int] = {name: place for place, name in enumerate(self.classes)}
        return np.array([index.get(picture.label, -1) for picture in self.pictures], np.int64)

    @property
    def counts(self) -> "Counter[str | None]":
        """How many pictures have each label; under None those that have none."""
        return Counter(picture.label for picture in self.pictures)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that DATA brings, the well-known ones first; none when it brings none."""
        present = {picture.split for picture in self.pictures if picture.split is not None}
        ordered = [split for split in ("train", "val", "test") if split in present]
        return tuple(ordered + sorted(present.difference(ordered)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns there are beside the file, in order of appearance."""
        names = dict.fromkeys(name for picture in self.pictures for name in picture.columns)
        named = {
            "label": any(picture.label is not None for picture in self.pictures),
            "split": any(picture.split is not None for picture in self.pictures),
        }
        return tuple(dict.fromkeys([*names, *(name for name, present in named.items() if present)]))

    def column(self, name: str) -> NDArray[np.str_]:
        """(pictures,) text: what each picture has in a column, for groups and slices; "" where it has nothing.

        `label` and `split` count as columns. Names with "+" between them are columns crossed, and `class` is the label
        among these. Raises `UsageError` with the nearest names when there is no such column.
        """
        if name not in self.columns and CROSS in name:
            labels = np.array([picture.label or "" for picture in self.pictures], np.str_)
            parts = [labels if part == CLASS else self.column(part) for part in name.split(CROSS)]
            return np.array([", ".join(each or "none" for each in row) for row in zip(*parts, strict=True)], np.str_)
        if name not in self.columns:
            raise unknown("column", name, self.columns, f"These are the columns of {self.source}.")
        defaults = {"label": lambda picture: picture.label or "", "split": lambda picture: picture.split or ""}
        default = defaults.get(name, lambda picture: "")
        return np.array([picture.columns.get(name) or default(picture) for picture in self.pictures], np.str_)

    def check(self, split: str | None, *columns: str | None) -> Self:
        """This data set, if it has the split, where it has any, and the columns that are named (None for none)."""
        for each in filter(None, columns):
            self.column(each)
        if split is not None and self.splits:
            self.part(split)
        return self

    def part(self, split: str) -> Self:
        """The pictures of one split ("validation" and "valid" mean "val"), or of "all".

        Raises `UsageError` with the nearest names when DATA has no such split.
        """
        name = split_name(split)
        if name == "all" and "all" not in self.splits:
            return self
        if name not in self.splits:
            raise unknown("split", split, [*self.splits, "all"], f"These are the splits of {self.source}.")
        return self.select(index for index, picture in enumerate(self.pictures) if picture.split == name)

    def select(self, indices: Iterable[int]) -> Self:
        """The pictures at these indices, in this order."""
        return replace(self, pictures=tuple(self.pictures[index] for index in indices))

    def up_to(self, max_pixels: int) -> Self:
        """This data set, whose files and members of shards are read up to so many pixels each."""
        return replace(
            self,
            pictures=tuple(
                replace(picture, opener=replace(picture.opener, max_pixels=max_pixels))  # type: ignore[type-var]
                if hasattr(picture.opener, "max_pixels")
                else picture
                for picture in self.pictures
            ),
        )

    def unsplit(self) -> Self:
        """This data set without the splits that DATA brought."""
        return replace(self, pictures=tuple(replace(picture, split=None) for picture in self.pictures))

    def relabelled(self, column: str) -> Self:
        """This data set with another column as its label; raises `UsageError` when there is no such column."""
        values = self.column(column)
        pictures = tuple(
            replace(picture, label=str(value) or None) for picture, value in zip(self.pictures, values, strict=True)
        )
        return replace(self, pictures=pictures, classes=class_order(each.label for each in pictures if each.label))

    def labelled(self) -> Self:
        """This data set, whose every picture has a label. Raises `DataError` naming the first that has none."""
        bare = [picture.name for picture in self.pictures if picture.label is None]
        if bare:
            raise DataError(
                f"in {self.source} {several(bare, 'picture')} without a label; every picture needs one here"
            )
        return self

    def fitted(self, classes: Sequence[str]) -> Self:
        """This data set with its labels as indices into a network's classes. Raises `DataError` naming those that fit
        none; pictures without a label stay without one."""
        names = {composed(name): name for name in classes}
        alike = {label: names.get(composed(label), label) for label in self.classes if label not in set(classes)}
        if any(label != name for label, name in alike.items()):
            pictures = (replace(each, label=alike.get(each.label or "", each.label)) for each in self.pictures)
            own = tuple(dict.fromkeys(alike.get(label, label) for label in self.classes))
            return replace(self, pictures=tuple(pictures), classes=own).fitted(classes)
        strange = list(alike)
        used = Counter(picture.label for picture in self.pictures)
        strange = [label for label in strange if used[label]]
        if strange:
            raise DataError(
                f"labels that do not fit the network: in {self.source} {several(strange, 'label')} "
                f"not among its {len(classes)} classes ({listed(classes)}); give data with those labels, or train "
                "on these"
            )
        return replace(self, classes=tuple(classes))


def summary(dataset: Dataset) -> str:
    """A line that says how DATA was read: the layout, splits and classes with counts."""
    splits = Counter(picture.split for picture in dataset.pictures)
    labels = dataset.counts
    captions = sum("caption" in each for picture in dataset.pictures for each in picture.annotations)
    parts = [f"{len(dataset)} picture{'s' if len(dataset) != 1 else ''}"]
    if dataset.layout != "pictures":  # without labels there is no layout, only what lies there
        parts[0] += f", read as {dataset.layout}"
    if captions:
        parts.append(f"{captions} captions")
    if dataset.splits:
        named = [f"{name or 'none'} {splits[name]}" for name in (*dataset.splits, None) if splits[name]]
        parts.append(f"splits: {', '.join(named)}")
    if dataset.classes:
        counts = [f"{name} {labels[name]}" for name in dataset.classes]
        more = f" and {len(counts) - CLASSES_NAMED} more" if len(counts) > CLASSES_NAMED else ""
        without = f"; {labels[None]} without a label" if labels[None] else ""
        kinds = f"{len(counts)} class{'es' if len(counts) != 1 else ''}"
        parts.append(f"{kinds}: {', '.join(counts[:CLASSES_NAMED])}{more}{without}")
    place = "" if dataset.source == Path() else f"{as_written(dataset.source)}: "  # a list has no place of its own
    return f"{place}{'; '.join(parts)}"


def split_name(text: str) -> str:
    """The name that a split goes by: "Validation" → "val"; a name of the user's own stays as it is."""
    return SPLITS.get(text.strip().lower(), text.strip())


def class_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels in the order of class indices: by number where all are integers, else alphabetical.

    Upper and lower case count as equal there: the official class ids of Oxford-IIIT Pet follow that order.
    """
    distinct = set(labels)
    if all(label.removeprefix("-").isdecimal() for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct, key=lambda label: (label.casefold(), label)))


def gathered(source: Path, layout: str, pictures: Iterable[Picture], classes: Sequence[str] | None = None) -> Dataset:
    """A data set of these pictures, its classes in order. Raises `DataError` when there is none, or two of a name."""
    collected = _one_spelling(pictures)
    if not collected:
        raise DataError(f"{as_written(source)} holds no pictures; give data that have some (see docs/data.md)")
    twice = [name for name, count in Counter(picture.name for picture in collected).items() if count > 1]
    if twice:
        raise DataError(
            f"in {as_written(source)} {several(twice, 'name')} there more than once; each picture needs its own"
        )
    labels = (picture.label for picture in collected if picture.label is not None)
    return Dataset(source, layout, collected, class_order(labels) if classes is None else tuple(classes))


def as_written(source: Path) -> str:
    """A path as text; an address has the slashes again that a path takes from it.

    >>> as_written(Path("s3://bucket/shards"))
    's3://bucket/shards'
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])", str(source))
    return str(source) if match is None else f"{match[1]}://{str(source)[match.end() :]}"


def _one_spelling(pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """The pictures with labels that differ only in how accents are written as one, as the first of them is."""
    first: dict[str, str] = {}
    return tuple(
        picture
        if picture.label is None or first.setdefault(composed(picture.label), picture.label) == picture.label
        else replace(picture, label=first[composed(picture.label)])
        for picture in pictures
    )


def several(names: Sequence[str], one: str, many: str | None = None) -> str:
    """`1 label ('cat') is`, or `5 labels ('cat', 'dog', 'eel' and 2 more) are`: what a message names."""
    what, verb = (one, "is") if len(names) == 1 else (many or f"{one}s", "are")
    return f"{len(names)} {what} ({listed(names)}) {verb}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, quoted, and how many more there are."""
    first = ", ".join(repr(name) for name in names[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most} more"


def composed(text: str) -> str:
    """A name as it is compared with others: accents and their letters as one sign (NFC); macOS takes them apart."""
    return normalize("NFC", text)


def short_names(paths: Sequence[str]) -> list[str]:
    """Absolute paths → names with as few of their last parts as tell them apart: no more of anybody's disk."""
    parts = [safe_name(path).split("/") for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return ["/".join(each) for each in parts]


def safe_name(text: str) -> str:
    """A path as the user wrote it → a POSIX path that stays inside of any folder: no drive, no root, no `..`."""
    parts = text.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..") and not part.endswith(":"))


def skipper(skip_bad: bool) -> Callable[[Picture, DataError], None] | None:
    """What is done with a picture that cannot be read: named and skipped on request, else raised."""

    def name(picture: Picture, error: DataError) -> None:
        log.warning(f"skipped: {error}")

    return name if skip_bad else None
