"""DATA with captions: a COCO-style `.json`, a folder with `captions.json`, or a table with `filename` and `caption`.

Every picture may have several captions, which stand in its `annotations` as `{"caption": text}`.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from regard.data.dataset import Dataset, Picture, gathered, listed, several, summary
from regard.data.layouts import read_with_captions
from regard.data.layouts.coco import read_coco
from regard.data.layouts.table import read_captioned_table
from regard.data.splits import SHARE, all_in, assign, check_groups, check_share
from regard.errors import DataError, UsageError

log = logging.getLogger("regard")

CAPTIONS = "captions.json"
TABLE = "index.csv"
_ALIKE = "picture"
"""The one class that all pictures are of while they are split."""
_SIDES = re.compile(r"\b(left|right)(most|ward|wards|hand|handed)?\b", re.IGNORECASE)


def read_captioned(
    source: Path | str, label: str = "label", image: str | None = None, *, are_needed: bool = True
) -> Dataset:
    """DATA → its pictures, each with a caption at least, in the order of the file; `label` is of no use here.

    A layout from outside comes first, as in `read`; a folder is read by its `captions.json`, else by its `index.csv`.
    Pictures without captions are left out, and named. Where not all pictures `are_needed`, they may be listed and not
    be there. Raises `DataError` for a file that is missing or of another kind, where no picture has a caption, and for
    empty ones.
    """
    pictures = read_with_captions(source, image)
    file = Path(source) if pictures is not None else _file_of(Path(source))
    if pictures is None and file.suffix.lower() == ".csv":
        pictures = read_captioned_table(file, are_needed)
    elif pictures is None:
        pictures = read_coco(file, labels=False, are_needed=are_needed)
    pictures = _with_captions(file, pictures)
    dataset = gathered(file, "captions", (replace(picture, label=None) for picture in pictures))
    log.info(summary(dataset))
    return dataset


def captions_of(picture: Picture) -> tuple[str, ...]:
    """A picture's captions, in the order of its file, blanks at both ends cut."""
    return tuple(str(each["caption"]).strip() for each in picture.annotations if "caption" in each)


def captions_for(
    dataset: Dataset, source: Path | str, which: str | int = 0, skip_bad: bool = False
) -> list[tuple[Picture, str, int | None]]:
    """Each picture of a data set with the caption that `source` has for it: of several the one at `which`, from 0, or
    each of them, with its number, where that is "all".

    Raises `DataError` for pictures without a caption, unless `skip_bad`, which names them and goes on, and for a number
    that a picture's captions do not have; `UsageError` for another `which`.
    """
    number = _parse_which(which)
    by_identity = {
        picture.identity: captions_of(picture) for picture in read_captioned(source, are_needed=False).pictures
    }
    captions = [by_identity.get(picture.identity) for picture in dataset.pictures]
    missing = [name for name, texts in zip(dataset.names, captions, strict=True) if texts is None]
    if missing:
        problem = f"{several(missing, 'picture')} without a caption in {source}"
        if not skip_bad or len(missing) == len(dataset):
            raise DataError(f"{problem}; add captions, or give the pictures that have some (or --skip-bad)")
        log.warning(f"skipped: {problem}")
    rows: list[tuple[Picture, str, int | None]] = []
    for picture, texts in zip(dataset.pictures, captions, strict=True):
        if texts is None:
            continue
        if number is None:
            rows.extend((picture, text, index) for index, text in enumerate(texts))
        elif number < len(texts):
            rows.append((picture, texts[number], None))
        else:
            raise DataError(
                f"{picture.name} has no caption {number}, only 0 to {len(texts) - 1}; give another --which, or all"
            )
    return rows


def _parse_which(which: str | int) -> int | None:
    """ "2" → 2, the third caption of each picture; "all" → None. Raises `UsageError` for anything else."""
    text = str(which).strip().lower()
    if text == "all":
        return None
    if not text.isdecimal():
        raise UsageError(f"--which is {which!r}; it must be the number of a caption, from 0, or all")
    return int(text)


def caption_parts(
    dataset: Dataset,
    *,
    seed: int = 0,
    share: float | None = None,
    group: str | None = None,
    twins: Iterable[tuple[int, int]] = (),
) -> tuple[Dataset, Dataset]:
    """(train, val): the user's own where there are both, else a `share` (by default a fifth) set aside from the seed,
    or with 0 none; `test` is left alone.

    Raises `DataError` where there is no split to train on, a group is on both sides, or pictures are too few for two.
    """
    if dataset.splits and "train" not in dataset.splits:
        raise DataError(f"{dataset.source} has no train split, only {listed(dataset.splits)}; mark what to train on")
    check_share(dataset, share)
    if "val" in dataset.splits:
        train = dataset.part("train")
        val = dataset.part("val")
        check_groups(dataset, train, val, group)
        return train, val
    indices = [at for at, picture in enumerate(dataset.pictures) if picture.split in ("train", None)]
    place = {at: new for new, at in enumerate(indices)}
    chosen = dataset.select(indices)
    if share == 0:
        return all_in(chosen, "train"), chosen.select([])
    bare = tuple(replace(picture, label=_ALIKE) for picture in chosen.pictures)
    alike = replace(chosen, pictures=bare, classes=(_ALIKE,))
    pairs = [(place[one], place[two]) for one, two in twins if one in place and two in place]
    divided = assign(alike, seed=seed, share=SHARE if share is None else share, group=group, twins=pairs)
    pictures = tuple(replace(picture, label=None) for picture in divided.pictures)
    divided = replace(divided, pictures=pictures, classes=())
    return divided.part("train"), divided.part("val")


def mirrored(text: str) -> str:
    """What is said of the mirror image: left for right, and right for left."""

    def other(match: re.Match[str]) -> str:
        side = match[1]
        swapped = "right" if side.lower() == "left" else "left"
        swapped = swapped.upper() if side.isupper() else swapped.title() if side[0].isupper() else swapped
        return swapped + (match[2] or "")

    return _SIDES.sub(other, text)


def _file_of(source: Path) -> Path:
    if source.is_dir():
        file = next((source / name for name in (CAPTIONS, TABLE) if (source / name).is_file()), None)
        if file is None:
            raise DataError(f"{source} has no captions: neither {CAPTIONS} nor {TABLE}; give the file that has them")
        return file
    if not source.is_file():
        raise DataError(
            f"there is no {source}; captions come from a .json in COCO's style or a .csv (filename,caption)"
        )
    if source.suffix.lower() not in (".csv", ".json"):
        raise DataError(f"{source} is neither a .json in COCO's style nor a .csv; captions come from one of these")
    return source


def _with_captions(file: Path, pictures: list[Picture]) -> list[Picture]:
    """The pictures that have captions; the others are named."""
    texts = {picture.name: captions_of(picture) for picture in pictures}
    bare = [name for name, captions in texts.items() if not captions]
    if bare:
        keys = sorted({key for picture in pictures for each in picture.annotations for key in each})
        if len(bare) == len(texts):
            hint = f"; its annotations have {', '.join(keys)}" if keys else ""
            raise DataError(f"in {file} {several(bare, 'picture')} without a caption{hint}; give each a caption")
        log.warning(f"in {file} {several(bare, 'picture')} without a caption and left out")
    empty = [name for name, captions in texts.items() if not all(captions)]
    if empty:
        raise DataError(f"in {file} {several(empty, 'picture')} there with an empty caption; fill it in or remove it")
    return [picture for picture in pictures if texts[picture.name]]
