"""Which pictures of DATA are scored, and whether the network knows them from its training."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from regard.data.dataset import Dataset
from regard.data.hashes import picture_hashes
from regard.data.splits import read_split, run_splits, scoring_part
from regard.networks.run import run_of

log = logging.getLogger("regard")


def scored_part(dataset: Dataset, model: Any, split: str | None, keep_seen: bool) -> tuple[Dataset, str]:
    """What is scored of DATA, and the note that goes with the score: "", or "seen in training".

    Pictures are known by the hash of their bytes, so that moved and renamed ones are known too. Where DATA brings no
    split, the run's own holds.
    """
    run = run_of(model)
    file = None if run is None else run / "split.csv"
    rows = read_split(file) if file is not None and file.is_file() else []
    if not rows:
        return scoring_part(dataset, split), ""
    hashes = picture_hashes(dataset.pictures)
    splits = dict(zip(dataset.names, run_splits(hashes.values(), rows), strict=True))  # "" for pictures new to the run
    if not dataset.splits:
        pictures = tuple(replace(picture, split=splits[picture.name] or None) for picture in dataset.pictures)
        dataset = replace(dataset, pictures=pictures)
    if split is not None:
        part = scoring_part(dataset, split)
    else:  # `val`, else `test`, else everything; pictures that no split names are new, and scored with them
        fresh = [index for index, picture in enumerate(dataset.pictures) if picture.split in (None, "val")]
        part = dataset.select(fresh) if fresh else scoring_part(dataset)
    learnt = np.array([splits[name] == "train" for name in part.names], bool)
    if not learnt.any():
        return part, ""
    if keep_seen or learnt.all():
        log.warning(
            f"{int(learnt.sum())} of {len(part)} pictures were seen in training: the score says nothing of new ones"
        )
        return part, "seen in training"
    log.info(
        f"{int(learnt.sum())} of {len(part)} pictures left out, as they were seen in training (--keep-seen keeps them)"
    )
    return part.select(np.flatnonzero(~learnt).tolist()), ""
