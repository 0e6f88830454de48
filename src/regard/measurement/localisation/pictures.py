"""Does a map lie on the object of its picture: area under the curve and pointing, on whole patches.

A map that only finds the middle has found nothing, as objects are mostly there: compare with the baselines `centre`
and `random`, and look at the pictures whose object is away from the centre.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.measurement.intervals import mean
from regard.measurement.localisation.measures import Cover, Floats, auc, pointing
from regard.records import Score

BASELINES = ("centre", "random")
"""Maps that need no network, and that any other must beat."""


def localise(maps: Mapping[str, Iterable[NDArray[Any]]], objects: Sequence[Cover]) -> dict[str, dict[str, Score]]:
    """The scores of several maps (rows, columns) of each picture, by the maps' name; `BASELINES` are among them.

    `objects` are where the patches of each picture lie, see `on_object`. What a map has more than a baseline is the
    mean of the differences, picture by picture.
    """
    areas: dict[str, Floats] = {}
    peaks: dict[str, Floats] = {}
    for name, values in maps.items():
        pairs = list(zip(values, objects, strict=True))
        areas[name] = np.array([auc(*pair) for pair in pairs])
        peaks[name] = np.array([pointing(*pair) for pair in pairs])
    off = []  # whether the object leaves the middle of the grid uncovered
    for cover in objects:
        rows, columns = cover.inside.shape
        middle = cover.inside[(rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1]
        off.append(not middle.all())
    away = np.array(off, bool)
    lifts = {}
    for name, base in product(areas, BASELINES):
        lift = mean(areas[name] - areas[base], least=-1.0)
        # a baseline has exactly nothing more than itself
        lifts[name, base] = Score(0.0, 0.0, 0.0, lift.n) if name == base else lift
    return {
        name: {
            "auc": mean(areas[name]),
            **{f"auc_over_{base}": lifts[name, base] for base in BASELINES},
            "peak_on_object": mean(peaks[name]),
            "auc_away_from_centre": mean(areas[name][away]),
            "peak_away_from_centre": mean(peaks[name][away]),
        }
        for name in areas
    }
