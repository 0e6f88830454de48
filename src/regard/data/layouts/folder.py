"""DATA as folders: `train/` and `val/`, a folder for each class, or flat `{label}_{id}.ext`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from regard.data.dataset import SPLITS, SUFFIXES, Picture, listed, several
from regard.data.openers import FileOpener
from regard.errors import DataError

_BESIDE = frozenset({"masks", "annotations", "labels", "trimaps", "segmentations", "boxes"})
"""Folders that, beside one called `images`, describe its pictures and hold none of their own."""


def has_splits(source: str) -> bool:
    return Path(source).is_dir() and bool(_split_folders(_inside(Path(source))))


def has_classes(source: str) -> bool:
    return Path(source).is_dir() and bool(_class_folders(_inside(Path(source))))


def is_folder(source: str) -> bool:
    return Path(source).is_dir()


def read_splits(source: str, labels: bool) -> Iterator[Picture]:
    """The pictures of the folders that are splits, in the order train, val, test."""
    path = Path(source)
    for folder, split in _split_folders(_inside(path)):
        yield from _labelled(path, folder, split, labels)


def read_folder(source: str, labels: bool) -> list[Picture]:
    """The pictures of class folders, or flat ones. Raises `DataError` where there are none, or both."""
    path = Path(source)
    pictures = list(_labelled(path, path, None, labels))
    if not pictures:
        raise DataError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}){tables_in(path)}")
    return pictures


def _labelled(source: Path, folder: Path, split: str | None, labels: bool) -> Iterator[Picture]:
    """The pictures of class folders, or flat ones, in `folder`, named relative to `source`."""
    inner = _inside(folder)
    classes = _class_folders(inner)
    loose = _pictures_in(inner)
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
    labels = [file.stem.rpartition("_")[0].strip() or None for file in files]
    bare = [file.name for file, label in zip(files, labels, strict=True) if label is None]
    if bare and (needed or len(bare) < len(files)):
        raise DataError(
            f"{several(bare, 'picture')} without a label in {folder}; put each in a folder called by its class, name "
            "it label_id.jpg, or list all in a .csv with filename,label"
        )
    return labels


def _split_folders(folder: Path) -> list[tuple[Path, str]]:
    """The folders that are splits, with the split; none when they look like classes (`train` beside `car`, say)."""
    below = _folders_in(folder)
    named = [(each, SPLITS[each.name.lower()]) for each in below if each.name.lower() in SPLITS]
    splits = {split for _, split in named}
    are_splits = len(named) == len(below) or ("train" in splits and len(splits) > 1)
    return sorted(named, key=lambda pair: (list(SPLITS).index(pair[1]), pair[0].name)) if are_splits else []


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


def _walk(folder: Path, visited: set[Path]) -> Iterator[Path]:
    """Pictures at any depth, through links too, but into no folder twice: links can make circles."""
    real = folder.resolve()
    if real in visited:
        return
    visited.add(real)
    yield from _pictures_in(folder)
    for each in _folders_in(folder):
        yield from _walk(each, visited)


def _pictures_in(folder: Path) -> list[Path]:
    """The visible picture files right in a folder, by name."""
    return sorted(
        file for file in folder.iterdir() if _visible(file) and file.suffix.lower() in SUFFIXES and file.is_file()
    )


def _folders_in(folder: Path) -> list[Path]:
    """The visible folders right in a folder, by name, without the descriptions beside `images/`."""
    folders = sorted(each for each in folder.iterdir() if _visible(each) and each.is_dir())
    if any(each.name.lower() == "images" for each in folders):
        return [each for each in folders if each.name.lower() not in _BESIDE]
    return folders


def _visible(path: Path) -> bool:
    return not path.name.startswith((".", "__MACOSX"))


def tables_in(folder: Path) -> str:
    """A hint at tables in a folder without pictures."""
    tables = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in (".csv", ".json"))
    return f"; it holds {listed(tables)}: give that file instead" if tables else "; give another folder"
