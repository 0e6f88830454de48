"""DATA as folders: `train/` and `val/`, a folder for each class, with splits inside or not, or flat `{label}_{id}`."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from regard.data.dataset import SPLITS, Picture, listed, several
from regard.data.layouts.store_tree import tree_at
from regard.data.layouts.tree import Tree, is_result
from regard.errors import DataError

log = logging.getLogger("regard")

SplitFolders = list[tuple[Path, str]]
"""Folders that are splits, with the names of these."""


def has_splits(source: str) -> bool:
    tree = tree_at(source)
    if tree is None:
        return False
    return bool(_split_folders(tree, _wrapped(tree)))


def has_class_splits(source: str) -> bool:
    tree = tree_at(source)
    if tree is None:
        return False
    classes = _class_folders(tree, tree.inside(tree.root))
    inner = [_named_splits(tree.folders_in(each)) for each in classes]
    splits = {split for rows in inner for _, split in rows}
    # half of the classes or more, with `train` and another among them
    return 2 * sum(map(bool, inner)) >= len(classes) and "train" in splits and len(splits) > 1


def has_classes(source: str) -> bool:
    tree = tree_at(source)
    if tree is None:
        return False
    return bool(_class_folders(tree, tree.inside(tree.root)))


def is_folder(source: str) -> bool:
    return tree_at(source) is not None


def read_splits(source: str, labels: bool) -> list[Picture]:
    """The pictures of the folders that are splits, in the order train, val, test."""
    tree = _tree(source)
    parent = _wrapped(tree)
    folders = _split_folders(tree, parent)
    pictures = []
    bare: dict[str, Path] = {}
    for folder, split in folders:
        pictures += _labelled(tree, folder, split, labels, bare)
    lost = [folder for name, folder in bare.items() if name not in {picture.label for picture in pictures}]
    _check_lost(tree, lost)
    if bare:
        names = [folder.relative_to(tree.root).as_posix() for folder in bare.values()]
        log.warning(f"in {source} {several(names, 'class folder')} without pictures")
    _report_beside(tree, parent, {folder for folder, _ in folders})
    tree.report()
    return pictures


def read_class_splits(source: str, labels: bool) -> list[Picture]:
    """The pictures of class folders in each of which are `train/` and others. Raises `DataError` for pictures that are
    in none of these."""
    tree = _tree(source)
    parent = tree.inside(tree.root)
    _check_loose(tree, parent)
    pictures = []
    classes = _class_folders(tree, parent)
    splits = sorted({folder.name for each in classes for folder, _ in _named_splits(tree.folders_in(each))})
    for each in classes:
        folders = _named_splits(tree.folders_in(each))
        outside = [*tree.pictures_in(each), *(other for other in tree.folders_in(each) if other not in dict(folders))]
        outside = [path for path in outside if path.is_file() or tree.has_pictures(path)]
        if outside:
            names = [path.relative_to(tree.root).as_posix() for path in outside]
            raise DataError(
                f"in {source} classes hold their splits ({listed(splits)}), but "
                f"{several(names, 'file or folder', 'files and folders')} in none of them; move what is outside into "
                "one, or list all pictures in a .csv with filename,label,split"
            )
        for folder, split in sorted(folders, key=_split_order):
            pictures += [_in_class(tree, file, folder, each.name, split) for file in tree.pictures_below(folder)]
    _check_lost(tree, _bare_folders(tree, parent))
    tree.report()
    return pictures


def read_folder(source: str, labels: bool) -> list[Picture]:
    """The pictures of class folders, or flat ones.

    Raises `DataError` where there are none, or both, where a class has none, and where every class holds folders of
    the same names, which may as well be the classes.
    """
    tree = _tree(source)
    bare: dict[str, Path] = {}
    pictures = _labelled(tree, tree.root, None, labels, bare)
    if not pictures:
        raise DataError(no_pictures(tree))
    _check_alike(tree, tree.inside(tree.root))
    _check_lost(tree, list(bare.values()))
    tree.report()
    return pictures


def read_below(folder: Path | str) -> list[Picture]:
    """All pictures in a folder and below, without labels. Raises `DataError` where there are none."""
    tree = _tree(folder)
    files = tree.pictures_below(tree.root)
    if not files:
        raise DataError(no_pictures(tree))
    tree.report()
    return [Picture(file.relative_to(tree.root).as_posix(), tree.opener(file)) for file in files]


def _tree(source: str | Path) -> Tree:
    """DATA as a tree. Raises `DataError` where it is a result of regard."""
    if is_result(Path(source)):
        raise DataError(
            f"{source} is a result of regard, not pictures to work on; give the folder of the pictures themselves"
        )
    return tree_at(source) or Tree(Path(source))


def no_pictures(tree: Tree) -> str:
    """The message for a folder without pictures, with what it holds instead."""
    folder = tree.root
    tables = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in (".csv", ".json"))
    hint = f"it holds {listed(tables)}: give that file instead" if tables else "give another folder"
    return f"{folder} holds no pictures ({tree.rest_text(folder)}); {hint}"


def _labelled(tree: Tree, folder: Path, split: str | None, labels: bool, bare: dict[str, Path]) -> list[Picture]:
    """The pictures of class folders, or flat ones, in `folder`; class folders that hold none go into `bare`."""
    inner = tree.inside(folder)
    classes = _class_folders(tree, inner)
    if not classes:
        loose = tree.pictures_in(inner)
        flat = _flat_labels(inner, loose, labels and split in (None, "train"))
        return [_picture(tree, file, label, split) for file, label in zip(loose, flat, strict=True)]
    _check_loose(tree, inner)
    bare |= {each.name: each for each in _bare_folders(tree, inner)}
    return [_in_class(tree, file, each, each.name, split) for each in classes for file in tree.pictures_below(each)]


def _picture(tree: Tree, file: Path, label: str | None, split: str | None, inside: str = ".") -> Picture:
    columns = {} if inside == "." else {"folder": inside}
    return Picture(file.relative_to(tree.root).as_posix(), tree.opener(file), label, split, columns)


def _in_class(tree: Tree, file: Path, folder: Path, label: str, split: str | None) -> Picture:
    """A picture of a class, whose pictures lie in and below `folder`."""
    return _picture(tree, file, label, split, file.parent.relative_to(folder).as_posix())


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


# Which folders are splits


def _wrapped(tree: Tree) -> Path:
    """Where the splits are, if there are any: in DATA, in its `images/`, or in the one folder it holds."""
    folder = tree.inside(tree.root)
    below = tree.folders_in(folder)
    if len(below) == 1 and not tree.pictures_in(folder) and below[0].name.lower() not in SPLITS:
        inner = tree.inside(below[0])
        if len(_split_folders(tree, inner)) > 1:
            return inner
    return folder


def _split_folders(tree: Tree, folder: Path) -> SplitFolders:
    """The folders that are splits; none when they look like classes (`train` beside `car`, say).

    They are where all are called so, or `train` and another are. Of longer names (`training_set`) all must be, or hold
    the same classes. Where one is called so and every folder holds the same classes, the others are splits of the
    user's own.
    """
    below = tree.folders_in(folder)
    exact = [(each, SPLITS[each.name.lower()]) for each in below if each.name.lower() in SPLITS]
    if exact and _are_splits(exact, below):
        return sorted(exact, key=_split_order)
    below = [each for each in below if tree.has_pictures(each)]
    named = _named_splits(below)
    are_all = len(named) == len(below) and len({split for _, split in named}) > 1
    if are_all or (_are_splits(named, below) and _alike(tree, [each for each, _ in named])):
        return sorted(named, key=_split_order)
    if exact and len(below) > 1 and _alike(tree, below):
        return sorted([(each, dict(exact).get(each, each.name)) for each in below], key=_split_order)
    return []


def _are_splits(named: SplitFolders, below: Sequence[Path]) -> bool:
    splits = {split for _, split in named}
    return len(named) == len(below) or ("train" in splits and len(splits) > 1)


def _split_order(row: tuple[Path, str]) -> tuple[int, str]:
    order = ("train", "val", "test")
    return order.index(row[1]) if row[1] in order else len(order), row[0].name


def _named_splits(folders: Sequence[Path]) -> SplitFolders:
    """The folders in whose names a split stands as a word: `training_set`, `seg_test`, `val2017`, `TestData`."""
    return [(each, split) for each in folders if (split := split_in(each.name)) is not None]


def split_in(name: str) -> str | None:
    """The one split that stands as a word in a name; None for none, or several."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    words = [re.sub(r"(?<=...)(sets?|data|images?|imgs?|split|folder)$", "", word) for word in words]
    splits = {SPLITS[word] for word in words if word in SPLITS}
    return splits.pop() if len(splits) == 1 else None


def _alike(tree: Tree, folders: Sequence[Path]) -> list[str]:
    """The names of the folders, two or more and at least half of all, that each of these holds instead of pictures."""
    if len(folders) < 2 or any(tree.pictures_in(tree.inside(each)) for each in folders):
        return []
    names = [{each.name for each in _class_folders(tree, tree.inside(folder))} for folder in folders]
    common = set.intersection(*names)
    return sorted(common) if len(common) > 1 and 2 * len(common) >= len(set.union(*names)) else []


# What is wrong with classes


def _class_folders(tree: Tree, folder: Path) -> list[Path]:
    """The folders that hold pictures, at any depth."""
    return [each for each in tree.folders_in(folder) if tree.has_pictures(each)]


def _bare_folders(tree: Tree, folder: Path) -> list[Path]:
    """What would be classes beside others but holds no picture: folders, and links to folders that are gone."""
    folders = [each for each in tree.folders_in(folder) if not tree.has_pictures(each) and tree.is_bare(each)]
    links = [path for path, _ in tree.entries(folder).rest if path.is_symlink() and not path.exists()]
    return folders + [path for path in links if not path.suffix]


def _check_lost(tree: Tree, bare: Sequence[Path]) -> None:
    if bare:
        names = [folder.relative_to(tree.root).as_posix() for folder in bare]
        what = tree.rest_text(bare[0]) if bare[0].is_dir() else "it is a link that leads nowhere"
        raise DataError(
            f"in {tree.root} {several(names, 'class', 'classes')} without a picture that regard reads ({names[0]!r}: "
            f"{what}); add pictures of a kind docs/data.md lists, or take the folder away"
        )


def _check_loose(tree: Tree, folder: Path) -> None:
    classes = _class_folders(tree, folder)
    loose = tree.pictures_in(folder)
    if loose:
        raise DataError(
            f"{folder} holds both folders of pictures ({listed([each.name for each in classes])}) and pictures beside "
            f"them ({listed([file.name for file in loose])}); a class is a folder, or the start of a name, not both"
        )


def _check_alike(tree: Tree, folder: Path) -> None:
    classes = _class_folders(tree, folder)
    common = _alike(tree, classes)
    if common:
        outer = listed([each.name for each in classes])
        raise DataError(
            f"in {tree.root} it cannot be told what the classes are: each of {outer} holds folders of the same names "
            f"({listed(common)}); call folders that are splits train/, val/ or test/, or list the pictures in an "
            "index.csv there with filename,label"
        )


def _report_beside(tree: Tree, parent: Path, splits: set[Path]) -> None:
    """Say which folders of pictures beside the splits are left out, and how much that is."""
    others = {each.name: len(tree.pictures_below(each)) for each in tree.folders_in(parent) if each not in splits}
    others = {name: count for name, count in others.items() if count}
    loose = len(tree.pictures_in(parent))
    if others or loose:
        folders = [f"{name}/ ({count})" for name, count in others.items()] + ([f"{loose} loose ones"] if loose else [])
        log.warning(f"in {tree.root} pictures beside the splits are left out: {', '.join(folders)}")
