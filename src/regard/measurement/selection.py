"""Which pictures of DATA are scored, and whether the network knows them from its training."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regard.data.hashes import picture_hashes
from regard.data.splits import EARLIER, LEARNT, AnyDataset, SplitRow, read_split, run_splits, scoring_part
from regard.files import is_file, read_json
from regard.networks.run import run_of

log = logging.getLogger("regard")

SPLIT = "split.csv"
CROSS_VALIDATED = "cross-validated"
"""The note of a score by networks that had not seen the pictures, of a run that was then trained on them."""


def scored_part(dataset: AnyDataset, model: Any, split: str | None, keep_seen: bool) -> tuple[AnyDataset, str]:
    """What is scored of DATA, and the note that goes with the score: "", "seen in training" or "cross-validated".

    Pictures are known by the hash of their bytes, so that moved and renamed ones are known too. Where DATA brings no
    split, the run's own holds. Pictures that a run was trained on, all of them, are "cross-validated" where it has
    answers for them by networks that had not seen them.
    """
    from regard.results.evaluations import EVALUATION  # imports pandas, which other commands do not need

    run = run_of(model)
    file = None if run is None else run / SPLIT
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
    places = np.array([splits[name] for name in part.names], np.str_)
    learnt = np.isin(places, LEARNT)
    if not learnt.any():
        return part, ""
    manifest = Path() if run is None else run / EVALUATION / "manifest.json"
    note = read_json(manifest, "restore it", fields={"note": str})["note"] if is_file(manifest) else ""
    earlier = places == EARLIER
    if learnt.all() and not keep_seen and note == CROSS_VALIDATED and not earlier.all():
        if earlier.any():
            log.info(f"{int(earlier.sum())} of {len(part)} pictures left out, as the network had learnt them before")
            part = part.select(np.flatnonzero(~earlier).tolist())
        log.info(
            f"the run was trained on all of these {len(part)} pictures: each is scored by a network that had not seen "
            "it, as the run was (cross-validation); --keep-seen scores the network that was kept"
        )
        return part, CROSS_VALIDATED
    if keep_seen or learnt.all():
        log.warning(
            f"{int(learnt.sum())} of {len(part)} pictures were seen in training: the score says nothing of new ones"
        )
        return part, "seen in training"
    log.info(
        f"{int(learnt.sum())} of {len(part)} pictures left out, as they were seen in training (--keep-seen keeps them)"
    )
    return part.select(np.flatnonzero(~learnt).tolist()), ""


def learnt_by(model: Any) -> frozenset[str]:
    """The SHA-256 of the pictures that a run was trained on; empty for other networks."""
    return frozenset(row.sha256 for row in earlier_rows(model))


def earlier_rows(model: Any) -> list[SplitRow]:
    """What a run was trained on, and before it, as lines of the `split.csv` of one that goes on from it."""
    run = run_of(model)
    rows = [] if run is None or not is_file(run / SPLIT) else read_split(run / SPLIT)
    return [replace(row, split=EARLIER) for row in rows if row.split in LEARNT]
