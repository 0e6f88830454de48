"""DATA with several labels for each picture: a table whose cells hold them as `cat|dog`, or a COCO-style `.json`."""

import logging
from dataclasses import replace
from pathlib import Path

from regard.data.dataset import summary
from regard.data.label_sets import LabelSets, joined, label_sets
from regard.data.layouts import read_unreported
from regard.errors import DataError
from regard.records.multilabel import SEPARATOR

log = logging.getLogger("regard")

TABLES = ("csv", "index")
"""Layouts in whose cells a picture without labels can be told: an empty one."""


def read_multilabelled(source: Path | str, label: str = "label", image: str | None = None) -> LabelSets:
    """DATA → its pictures with any number of labels each, by the first of LAYOUTS that fits; says how it was read.

    In a table the labels of the column `label` stand side by side, `cat|dog`, and an empty cell says that the picture
    has none of them; in a COCO file they are the categories of a picture's annotations, and a picture without any has
    none. Any other layout gives each picture the labels that its text holds, mostly one. Raises `DataError` saying what
    is wrong where. `image` is as of `read`.
    """
    dataset = read_unreported(source, False, image, label)
    if dataset.layout == "coco" and label == "label":
        names = [
            {str(each["category"]) for each in picture.annotations if "category" in each}
            for picture in dataset.pictures
        ]
        if mixed := sorted(name for name in set().union(*names) if SEPARATOR in name):
            raise DataError(
                f"{source}: the category {mixed[0]!r} has {SEPARATOR!r} in its name, which stands "
                "between labels; rename it"
            )
        pictures = tuple(
            replace(picture, label=joined(each)) for picture, each in zip(dataset.pictures, names, strict=True)
        )
    elif label != "label" or (dataset.layout in TABLES and any(picture.label for picture in dataset.pictures)):
        pictures = tuple(replace(picture, label=picture.label or "") for picture in dataset.pictures)
    else:
        pictures = read_unreported(source, True, image).labelled().pictures
    sets = label_sets(replace(dataset, pictures=pictures))
    log.info(summary(sets))
    if bare := sum(not picture.label for picture in sets.pictures):
        log.info(f"{bare} of these {len(sets)} pictures have none of the labels")
    return sets
