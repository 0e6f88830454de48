"""Where pictures and their labels come from: DATA in any of its layouts, read into a `Dataset`.

The layouts are tried in the order of `read`; docs/data.md shows each. Tables are read in `tables.py`, COCO files in
`coco.py`; splitting is in `splits.py`, hashes and duplicates in `hashes.py`. Nothing here needs torch.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from regard.data.dataset import SPLITS, SUFFIXES, Dataset, Picture, class_order, gathered, listed, safe_name, several
from regard.data.layouts.coco import read_coco
from regard.data.layouts.oxford_pets import oxford_pets
from regard.data.layouts.table import read_table
from regard.data.openers import FileOpener
from regard.errors import DataError

__all__ = ["Dataset", "Picture", "class_order", "read", "read_pictures"]

_BESIDE = frozenset({"masks", "annotations", "labels", "trimaps", "segmentations", "boxes"})
"""Folders that, beside one called `images`, describe its pictures and hold none of their own."""


def read(source: Path | str, *, labels: bool = True) -> Dataset:
    """DATA → its pictures with labels, splits and columns, in the order of the file or of the names.

    In this order: a `.csv` or a folder with `index.csv`; a COCO-style `.json`; `oxford-pets`; a folder with `train/`
    and `val/` (also `validation`, `valid`, `test`); class folders; flat `{label}_{id}.ext`. With `labels` False those
    that cannot be told are left None instead of refused. Raises `DataError` saying what is wrong where.
    """
    path = Path(source)
    if str(source) == "oxford-pets" and not path.exists():
        return oxford_pets()
    if path.is_file():
        return _read_file(path, labels)
    if not path.is_dir():
        raise DataError(f"there is no {path} to read pictures from{_nearest(path)}; give a folder, .csv or .json")
    if (path / "index.csv").is_file():
        return gathered(path, "index", read_table(path / "index.csv", labels))
    if splits := _split_folders(_inside(path)):
        pictures = [picture for folder, split in splits for picture in _labelled(path, folder, split, labels)]
        return gathered(path, "splits", pictures)
    found = list(_labelled(path, path, None, labels))
    if not found:
        raise DataError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}){_tables(path)}")
    return gathered(path, "classes" if _class_folders(_inside(path)) else "flat", found)


def read_pictures(source: Path | str | Sequence[Path | str]) -> Dataset:
    """Pictures without labels, to be predicted or explained: a file, a folder with all below it, a `.csv`, or a list.

    A file goes by its own name, all else by its POSIX path relative to the folder or table; in a list whose names
    would be equal, by the path as it was given. Raises `DataError` when there is nothing.
    """
    if isinstance(source, Path | str):
        return gathered(Path(source), "pictures", _bare(Path(source)))
    each = [_bare(Path(one)) for one in source]
    counts = Counter(picture.name for pictures in each for picture in pictures)
    chosen = [
        picture if counts[picture.name] == 1 else replace(picture, name=safe_name(str(picture.opener)))
        for pictures in each
        for picture in pictures
    ]
    return gathered(Path(), "pictures", chosen)


def _bare(path: Path) -> list[Picture]:
    """The pictures of one file, folder or table, with neither label nor split."""
    if path.is_dir():
        found = [Picture(file.relative_to(path).as_posix(), FileOpener(file)) for file in pictures_below(path)]
        if not found:
            raise DataError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}){_tables(path)}")
        return found
    if not path.is_file():
        raise DataError(f"there is no {path}{_nearest(path)}; give a picture, a folder or a .csv")
    if path.suffix.lower() == ".csv":
        return [replace(picture, label=None, split=None) for picture in read_table(path, labels=False)]
    return [Picture(path.name, FileOpener(path))]


def _read_file(path: Path, labels: bool) -> Dataset:
    """A table or a COCO file."""
    if path.suffix.lower() == ".csv":
        return gathered(path, "csv", read_table(path, labels))
    if path.suffix.lower() == ".json":
        return gathered(path, "coco", read_coco(path, labels))
    raise DataError(f"{path} is neither a folder nor a .csv or .json file; labelled pictures come from one of these")


def _labelled(source: Path, folder: Path, split: str | None, labels: bool) -> Iterator[Picture]:
    """The pictures of class folders, or flat ones, in `folder`, named relative to `source`."""
    inner = _inside(folder)
    classes, loose = _class_folders(inner), _pictures_in(inner)
    if classes and loose:
        raise DataError(
            f"{inner} holds both folders of pictures ({listed([each.name for each in classes])}) and pictures beside "
            f"them ({listed([file.name for file in loose])}); a class is a folder, or the start of a name, not both"
        )
    for each in classes:
        for file in pictures_below(each):
            inside = file.parent.relative_to(each).as_posix()
            columns = {} if inside == "." else {"folder": inside}
            yield Picture(file.relative_to(source).as_posix(), FileOpener(file), each.name, split, columns)
    for file, label in zip(loose, _flat_labels(inner, loose, labels and split in (None, "train")), strict=True):
        yield Picture(file.relative_to(source).as_posix(), FileOpener(file), label, split)


def _flat_labels(folder: Path, files: Sequence[Path], needed: bool) -> list[str | None]:
    """What comes before the last underscore of each name; where no name has one (a test set, say), None for all."""
    found = [file.stem.rpartition("_")[0].strip() or None for file in files]
    bare = [file.name for file, label in zip(files, found, strict=True) if label is None]
    if bare and (needed or len(bare) < len(files)):
        raise DataError(
            f"{several(bare, 'picture')} without a label in {folder}; put each in a folder called by its class, name "
            "it label_id.jpg, or list all in a .csv with filename,label"
        )
    return found


def _split_folders(folder: Path) -> list[tuple[Path, str]]:
    """The folders that are splits, with the split; none when they look like classes (`train` beside `car`, say)."""
    below = _folders_in(folder)
    known = [(each, SPLITS[each.name.lower()]) for each in below if each.name.lower() in SPLITS]
    splits = {split for _, split in known}
    told = len(known) == len(below) or ("train" in splits and len(splits) > 1)
    return sorted(known, key=lambda pair: (list(SPLITS).index(pair[1]), pair[0].name)) if told else []


def _class_folders(folder: Path) -> list[Path]:
    """The folders that hold pictures, at any depth."""
    return [each for each in _folders_in(folder) if next(_walk(each, set()), None) is not None]


def _inside(folder: Path) -> Path:
    """Where the pictures are: in `images/` when nothing but descriptions of them lies beside it."""
    below = _folders_in(folder)
    if [each.name.lower() for each in below] == ["images"] and not _pictures_in(folder):
        return below[0]
    return folder


def pictures_below(folder: Path) -> list[Path]:
    """All pictures in a folder and below, by their POSIX path, without hidden ones and masks beside `images/`."""
    return sorted(_walk(folder, set()), key=lambda file: file.relative_to(folder).as_posix())


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Pictures at any depth, through links too, but into no folder twice: links can make circles."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    yield from _pictures_in(folder)
    for each in _folders_in(folder):
        yield from _walk(each, seen)


def _pictures_in(folder: Path) -> list[Path]:
    """The visible picture files right in a folder, by name."""
    return sorted(
        file for file in folder.iterdir() if _visible(file) and file.suffix.lower() in SUFFIXES and file.is_file()
    )


def _folders_in(folder: Path) -> list[Path]:
    """The visible folders right in a folder, by name, without the descriptions beside `images/`."""
    found = sorted(each for each in folder.iterdir() if _visible(each) and each.is_dir())
    if any(each.name.lower() == "images" for each in found):
        return [each for each in found if each.name.lower() not in _BESIDE]
    return found


def _visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def _tables(folder: Path) -> str:
    """A hint at tables in a folder without pictures."""
    tables = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in (".csv", ".json"))
    return f"; it holds {listed(tables)}: give that file instead" if tables else "; give another folder"


def _nearest(path: Path) -> str:
    """A hint at what is called nearly so."""
    folder = path.parent
    near = get_close_matches(path.name, [each.name for each in folder.iterdir()], n=1) if folder.is_dir() else []
    return f" (did you mean {str(folder / near[0])!r}?)" if near else ""
