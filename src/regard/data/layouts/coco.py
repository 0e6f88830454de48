"""DATA as a COCO-style `.json`: pictures with captions, boxes and masks, and a label where each has one category."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.data.dataset import Picture, safe_name, split_name
from regard.data.layouts.finder import FileFinder
from regard.data.openers import FileOpener
from regard.errors import DataError

_FIELDS = ("id", "file_name", "split")


def is_coco(source: str) -> bool:
    return Path(source).suffix.lower() == ".json" and Path(source).is_file()


def read_coco(file: Path | str, labels: bool = True, are_needed: bool = True) -> list[Picture]:
    """The pictures of a COCO file, in its order, their files relative to it, to `images/` beside it, or in the folders
    of COCO's own layout.

    Each picture's `annotations` are the file's own, with the category's name added as `category`; `columns` are the
    simple fields of its entry. Its label is its category, where it has one alone. With `labels`, a picture of several
    categories is refused; without, it has no label. Where not all `are_needed`, a picture may be listed and not be
    there. Raises `DataError` when the file is not of this kind.
    """
    file = Path(file)
    content = _content(file)
    try:
        annotations = _annotations(content)
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is not a COCO-style file: an annotation or category of it is amiss ({error})"
        ) from error
    keys = [_key(each["id"]) for each in content["images"]]
    strange = set(annotations) - set(keys)
    if strange:
        raise DataError(
            f"{file} has annotations of image {min(strange)}, which is not among its images; list the image, or leave "
            "its annotations out"
        )
    finder = FileFinder()
    paths = []
    for entry in content["images"]:
        name = str(entry["file_name"])
        names = dict.fromkeys((name, name.lstrip("/\\")))  # some tools write the path from the root of the data
        paths.append(next(filter(None, (finder.file(place, each) for each in names for place in _places(file))), None))
    missing = [str(entry["file_name"]) for entry, path in zip(content["images"], paths, strict=True) if path is None]
    if missing and (are_needed or len(missing) == len(paths)):
        more = f" (and {len(missing) - 1} more of {len(paths)} are missing)" if len(missing) > 1 else ""
        raise DataError(
            f"{file}: there is no picture {missing[0]!r}{more} in {file.parent} or its images/; put the pictures there"
        )
    return [
        _picture(file, entry, path or file.parent / str(entry["file_name"]), annotations.get(key, []), labels)
        for entry, path, key in zip(content["images"], paths, keys, strict=True)
    ]


def _key(value: Any) -> str:
    """An id as it is compared: tools write the same one as 7, 7.0, "7" and "0007"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return str(int(text)) if text.isdecimal() else text


def _annotations(content: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The annotations of each picture by its id's key, with the names of their categories."""
    categories = {_key(each["id"]): str(each["name"]) for each in content.get("categories") or ()}
    by_image: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for each in content.get("annotations") or ():
        has_category = each.get("category_id") is not None and categories
        named = {"category": categories[_key(each["category_id"])]} if has_category else {}
        by_image[_key(each["image_id"])].append({**each, **named})
    return by_image


def _picture(
    file: Path, entry: Mapping[str, Any], path: Path, annotations: Sequence[Mapping[str, Any]], labels: bool
) -> Picture:
    names = sorted({each["category"] for each in annotations if "category" in each})
    if labels and len(names) > 1:
        raise DataError(
            f"{file}: {entry['file_name']!r} has the categories {', '.join(names)}; several labels per picture are "
            "learnt with --task multilabel; give that, or keep one category for each picture to classify them"
        )
    filename = str(entry["file_name"])
    inside = path.relative_to(file.parent) if path.is_relative_to(file.parent) else Path(filename)
    if inside.is_absolute():
        inside = Path(inside.name)
    columns = {
        key: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for key, value in entry.items()
        if key not in _FIELDS and isinstance(value, str | int | float)
    }
    split = split_name(str(entry.get("split") or "")) or None
    label = names[0] if len(names) == 1 else None
    return Picture(safe_name(inside.as_posix()), FileOpener(path), label, split, columns, tuple(annotations), filename)


def _content(file: Path) -> dict[str, Any]:
    """The file's JSON, with at least a list of pictures that have names and ids."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{file} is not JSON ({error}); a COCO-style file is needed") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(each, dict) for each in images):
        raise DataError(f"{file} is not a COCO-style file; it needs a list of images, each with id and file_name")
    if any("id" not in each or "file_name" not in each for each in images):
        raise DataError(f"{file} has images without id or file_name; each needs both")
    keys = Counter(_key(each["id"]) for each in images)
    if len(keys) < len(images):
        raise DataError(f"{file} has the image id {keys.most_common(1)[0][0]} more than once; each needs its own")
    return content


def _places(file: Path) -> list[Path]:
    """Where the pictures of a file may be: beside it, or, where it is in COCO's own `annotations/`, in the folder that
    its name ends with (`captions_val2017.json`: `val2017/`) or `images/` beside that."""
    beside = [file.parent, file.parent / "images"]
    if file.parent.name != "annotations":
        return beside
    whole = file.parent.parent
    return [*beside, whole / file.stem.rpartition("_")[2], whole / "images", whole]
