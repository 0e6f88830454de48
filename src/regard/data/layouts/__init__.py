"""Where pictures and their labels come from: DATA in any of its layouts, one file each and a row each in LAYOUTS.

docs/data.md shows each. Splitting is in `data/splits.py`, hashes and duplicates in `data/hashes.py`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from regard.data.dataset import Dataset, Picture, gathered, short_names, summary
from regard.data.images.formats import SUFFIXES
from regard.data.layouts.finder import FileFinder
from regard.data.layouts.folder import read_below
from regard.data.layouts.store_tree import tree_at
from regard.data.openers import FileOpener
from regard.data.stores import is_address
from regard.errors import DataError, UsageError
from regard.files import check_local
from regard.registry import Described, Table

log = logging.getLogger("regard")

LABEL = "label"
"""The column that has the labels where no other is named."""

__all__ = [
    "LAYOUTS",
    "Dataset",
    "Layout",
    "Picture",
    "fitting",
    "read",
    "read_labelled",
    "read_pictures",
    "read_with_captions",
    "register_layout",
]


@dataclass(frozen=True, repr=False)
class Layout(Described):
    """A row of LAYOUTS: a way in which DATA may lie, as data alone.

    `fits(source)` says whether DATA, text as the user wrote it, is of this kind, and is asked before anything is read.
    `target(source, labels)` gives the pictures, in order, and raises `DataError` saying what is wrong where; without
    `labels` those that cannot be told are None instead of refused. `unlabelled` says whether pictures that need no
    labels come by this way too; where not, they are found as files and folders. `source(data, options)`, where DATA lie
    in shards, opens them as a `regard.data.shards.Source`.
    """

    name: str
    description: str
    fits: str  # "module:function"
    target: str  # "module:function"
    unlabelled: bool = True
    source: str = ""  # "module:function"


_ROWS = (
    Layout(
        name="webdataset",
        description="WebDataset tars: shards/{000000..000099}.tar, or a folder of them, with .cls, .json or .txt beside"
        " each picture",
        fits="regard.data.layouts.webdataset:is_tars",
        target="regard.data.layouts.webdataset:read_tars",
        source="regard.data.layouts.webdataset:open_tars",
    ),
    Layout(
        name="parquet",
        description="Parquet with the bytes of pictures, a file or a folder of them; --image and --label name columns",
        fits="regard.data.layouts.parquet:is_parquet",
        target="regard.data.layouts.parquet:read_parquet",
        source="regard.data.layouts.parquet:open_parquet",
    ),
    Layout(
        name="saved-datasets",
        description="a folder by save_to_disk of Hugging Face's datasets, with its splits",
        fits="regard.data.layouts.huggingface:is_saved",
        target="regard.data.layouts.huggingface:read_saved",
        source="regard.data.layouts.huggingface:open_saved",
    ),
    Layout(
        name="hub",
        description="hf:OWNER/DATASET[:CONFIG], a data set of the Hugging Face hub, fetched once",
        fits="regard.data.layouts.huggingface:is_on_hub",
        target="regard.data.layouts.huggingface:read_hub",
        source="regard.data.layouts.huggingface:open_hub",
    ),
    Layout(
        name="keys",
        description="a list of keys: a .csv in a store, or with addresses, or bucket and key of an inventory",
        fits="regard.data.layouts.keys:is_keys",
        target="regard.data.layouts.keys:read_keys",
        source="regard.data.layouts.keys:open_keys",
    ),
    Layout(
        name="csv",
        description="a .csv with filename,label and, as needed, split, group and slice columns",
        fits="regard.data.layouts.table:is_table",
        target="regard.data.layouts.table:read_table",
    ),
    Layout(
        name="index",
        description="a folder with such a table, called index.csv",
        fits="regard.data.layouts.table:has_index",
        target="regard.data.layouts.table:read_index",
        unlabelled=False,
    ),
    Layout(
        name="coco",
        description="a COCO-style .json with a category for each picture",
        fits="regard.data.layouts.coco:is_coco",
        target="regard.data.layouts.coco:read_coco",
        unlabelled=False,
    ),
    Layout(
        name="oxford-pets",
        description="the Oxford-IIIT Pet photographs by their name, downloaded once",
        fits="regard.data.layouts.oxford_pets:is_oxford_pets",
        target="regard.data.layouts.oxford_pets:read_oxford_pets",
        unlabelled=False,
    ),
    Layout(
        name="splits",
        description="a folder with train/ and val/ (also Training, validation, dev, test_set ...), each with class"
        " folders or flat",
        fits="regard.data.layouts.folder:has_splits",
        target="regard.data.layouts.folder:read_splits",
        unlabelled=False,
    ),
    Layout(
        name="class-splits",
        description="a folder for each class, with train/ and others in it",
        fits="regard.data.layouts.folder:has_class_splits",
        target="regard.data.layouts.folder:read_class_splits",
        unlabelled=False,
    ),
    Layout(
        name="classes",
        description="a folder for each class",
        fits="regard.data.layouts.folder:has_classes",
        target="regard.data.layouts.folder:read_folder",
        unlabelled=False,
    ),
    Layout(
        name="flat",
        description="a folder of pictures whose names begin with their label: label_id.jpg",
        fits="regard.data.layouts.folder:is_folder",
        target="regard.data.layouts.folder:read_folder",
        unlabelled=False,
    ),
)
LAYOUTS = Table("layout", _ROWS, "regard.layouts")
"""The layouts in the order in which DATA is tried; those that users add come before these."""


def register_layout(row: Layout) -> None:
    """Add a layout. Raises `UsageError` when the name is taken or the target is not "module:function"."""
    LAYOUTS.register(row)


def read(source: Path | str, *, labels: bool = True, image: str | None = None) -> Dataset:
    """DATA → its pictures with labels, splits and columns, by the first of LAYOUTS that fits; says how it was read.

    With `labels` False those that cannot be told are left None instead of refused. `image` names the column, or the
    ending of members, that is the picture. Raises `DataError` saying what is wrong where.
    """
    return _reported(read_unreported(source, labels, image))


def read_labelled(source: Path | str, label: str = "label", image: str | None = None) -> Dataset:
    """DATA with a label for every picture: its own, or another column's."""
    return _reported(read_unreported(source, True, image, label).labelled())


def read_pictures(source: Path | str | Sequence[Path | str], image: str | None = None) -> Dataset:
    """Pictures without labels, to be predicted or explained: a file, a folder with all below it, a `.csv`, or a list.

    `image` is as of `read`. A file goes by its own name, all else by its POSIX path relative to the folder or table;
    where names in a list would be equal, by as much of their paths as tells them apart. Raises `DataError` when there
    is nothing.
    """
    if isinstance(source, Path | str):
        return _reported(gathered(Path(source), "pictures", _unlabelled(source, image)))
    parts = [_unlabelled(each, image) for each in source]
    counts = Counter(picture.name for pictures in parts for picture in pictures)
    pictures = [picture for part in parts for picture in part]
    equal = [index for index, picture in enumerate(pictures) if counts[picture.name] > 1]
    for index, name in zip(equal, short_names([str(pictures[index].opener) for index in equal]), strict=True):
        pictures[index] = replace(pictures[index], name=name)
    return _reported(gathered(Path(source[0]) if len(source) == 1 else Path(), "pictures", pictures))


def read_with_captions(source: Path | str, image: str | None = None) -> list[Picture] | None:
    """The pictures of DATA in shards, or that a row from outside reads, with whatever captions they have; None for all
    other DATA."""
    row = fitting(str(source), [row for row in LAYOUTS if row.source or row not in _ROWS])
    return None if row is None else _pictures(row, str(source), False, image)


def _reported(dataset: Dataset) -> Dataset:
    log.info(summary(dataset))
    return dataset


def read_unreported(source: Path | str, labels: bool, image: str | None = None, label: str = LABEL) -> Dataset:
    """As `read`, and nothing is said of it; `label` is the column with the labels, where it is another one."""
    path = _located(source)
    source = path if str(path) != str(Path(source)) else source
    row = fitting(str(source), list(LAYOUTS))
    if row is not None and (label == LABEL or row.source):
        return gathered(path, row.name, _pictures(row, str(source), labels, image, label))
    if row is not None:
        return gathered(path, row.name, _pictures(row, str(source), False, image)).relabelled(label)
    if path.is_file():
        raise DataError(
            f"{path} is neither a folder nor a .csv or .json file; labelled pictures come from one of these"
        )
    _check_address(source)
    raise DataError(
        f"there is no {path} to read pictures from{_nearest(path, ('.csv', '.json'))}; give a folder, .csv or .json"
    )


def fitting(source: str, rows: Sequence[Layout]) -> Layout | None:
    """The first layout that fits."""
    for row in sorted(rows, key=lambda row: row in _ROWS):  # those from outside first: they are the more special
        fits: Callable[[str], bool] = LAYOUTS.load(row.name, "fits")
        if fits(source):
            return row
    return None


def _pictures(row: Layout, source: str, labels: bool, image: str | None, label: str = LABEL) -> list[Picture]:
    """The pictures by a layout; of DATA in shards by the columns that are named."""
    if image is None and (label == LABEL or not row.source):
        return list(LAYOUTS.load(row.name)(source, labels))
    row = LAYOUTS["keys"] if row.name == "csv" else row
    if not row.source:
        raise UsageError(
            f"{source} is read as {row.name}, whose pictures are files; leave --image out, or give DATA whose pictures "
            "stand in a column (Parquet, a data set, a list of keys) or are members of tars"
        )
    from regard.data.shards.base import Options

    opened = LAYOUTS.load(row.name, "source")(source, Options(image, None if label == LABEL else label))
    if labels and label == LABEL and hasattr(opened, "check_labels"):
        opened.check_labels()
    return [picture for shard in opened.shards for picture in opened.pictures(shard)]


def _unlabelled(source: Path | str, image: str | None = None) -> list[Picture]:
    """The pictures of one file, folder or table, or of what is no file, with neither label nor split."""
    path = _located(source)
    row = fitting(str(path) if path.exists() else str(source), [row for row in LAYOUTS if row.unlabelled])
    if row is not None:
        pictures = _pictures(row, str(path) if path.exists() else str(source), False, image)
        return [replace(picture, label=None, split=None) for picture in pictures]
    if path.is_dir() or tree_at(source) is not None:
        return read_below(path if path.is_dir() else str(source))
    opener = FileOpener.of(path)
    if not opener.path.is_file():
        _check_address(source)
        raise DataError(f"there is no {path}{_nearest(path, {*SUFFIXES, '.csv'})}; give a picture, a folder or a .csv")
    return [Picture(path.name, opener, filename=str(source))]


def _check_address(source: Path | str) -> None:
    """Raise `DataError` for the address of a store, at which nothing was found."""
    if is_address(source) and not str(source).startswith("http"):
        raise DataError(f"{source} holds no pictures, shards or tables that regard reads; check the address")
    check_local(source)


def _located(source: Path | str) -> Path:
    """The path, or the one that is there and differs only in how accents are written."""
    path = Path(source)
    return path if path.exists() else FileFinder().path(Path(), str(source)) or path


def _nearest(path: Path, endings: Container[str]) -> str:
    """A hint at what is called nearly so: a folder, or a file with one of these endings."""
    folder = path.parent
    names = (
        [each.name for each in folder.iterdir() if each.is_dir() or each.suffix.lower() in endings]
        if folder.is_dir()
        else []
    )
    near = get_close_matches(path.name, names, n=1)
    return f" (did you mean {str(folder / near[0])!r}?)" if near else ""
