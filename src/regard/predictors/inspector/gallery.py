"""What the report of a run holds of the pictures that it shows: the answer, attention, and maps of two classes."""

import logging
from collections.abc import Sequence
from typing import Any

from regard.data.dataset import Dataset
from regard.errors import DataError, NetworkError
from regard.measurement.selection import CROSS_VALIDATED
from regard.networks.network import Network
from regard.predictors.inspector.inspector import Inspector
from regard.records import Inspection

log = logging.getLogger("regard")

METHODS = ("attention", "libra_fullgrad_plus")
"""Where a network looks, and what speaks for its answer: without removal curves, which take ten forwards a map."""
MOST = 24
"""Pictures that are inspected: a report is not to wait for more than that."""
SEEN = ("seen in training", CROSS_VALIDATED)
LONGEST = 512
"""The longer side in pixels of their pictures."""


def inspect_gallery(
    network: Network, pictures: Dataset, names: Sequence[str], note: str = ""
) -> dict[str, list[Inspection]]:
    """Inspections of the first of the named pictures, by name, each with maps of the predicted and the true class.

    `note` is the evaluation's, which says whether the network was trained on them. Pictures that cannot be read are
    left out, and all are where the network cannot be inspected.
    """
    rows = {picture.name: picture for picture in pictures.pictures}
    chosen = [rows[name] for name in names[:MOST] if name in rows]
    if chosen:
        log.info(f"looking into {len(chosen)} pictures for the report")
    inspector = Inspector(network)
    seen = note in SEEN
    settings: dict[str, Any] = {"curve": False, "classes": 2, "keys": False, "longest": LONGEST}
    inspections = {}
    for picture in chosen:
        try:
            inspections[picture.name] = [inspector(picture, METHODS, true=picture.label, seen=seen, **settings)]
        except DataError:  # it was named when it was to be scored
            continue
        except NetworkError as error:
            log.info(f"the report holds no maps to look into: {error}")
            break
    return inspections
