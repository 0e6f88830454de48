"""What maps of pictures have more on the object than maps that looked at nothing: a dot in the centre, and any
place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError
from regard.measurement.localisation.measures import (
    Bools,
    Cover,
    Floats,
    average_precision,
    centre,
    pointing,
    share,
    visible,
)
from regard.measurement.localisation.objects import input_cover

MEASURES: Mapping[str, Callable[[NDArray[Any], Cover], float]] = {
    "energy": share,
    "average_precision": average_precision,
    "pointing": pointing,
}
"""Each measure by its name in METRICS."""
BASELINES = ("area", "dot", "centre")
"""Maps that looked at nothing: the same everywhere (each measure is then the object's share of the area), all of it in
the middle, and falling from the middle to the corners."""


@dataclass(frozen=True)
class Lifts:
    """Each measure's `values` (methods, pictures) by name, and by baseline what that has (pictures,); NaN where the
    object is nowhere or everywhere in what a map speaks of."""

    values: dict[str, Floats]
    baselines: dict[str, dict[str, Floats]]

    def over(self, measure: str, baseline: str) -> Floats:
        """(methods, pictures): what the maps have more than a baseline, picture by picture."""
        return self.values[measure] - self.baselines[measure][baseline]


def lifts(maps: NDArray[Any], masks: Bools) -> Lifts:
    """All measures of maps (methods, pictures, rows, columns) of what the network sees.

    `masks` (pictures, height, width) are of its input (see `objects.input_masks`). A map may be finer than the patches.
    Values that are not finite do not count: each baseline is measured where the first method's map speaks. Raises
    `DataError` for maps of other pictures than the masks.
    """
    if maps.ndim != 4 or masks.ndim != 3 or maps.shape[1] != len(masks):
        raise DataError(
            f"maps {maps.shape} do not belong to masks {masks.shape}; give maps (methods, pictures, rows, columns) and "
            "masks (pictures, height, width)"
        )
    rows, columns = maps.shape[2:]
    blank = {"area": np.ones((rows, columns)), "dot": dot(rows, columns), "centre": centre(rows, columns)}
    values = {name: np.full(maps.shape[:2], np.nan) for name in MEASURES}
    baselines = {name: {base: np.full(len(masks), np.nan) for base in BASELINES} for name in MEASURES}
    for picture, mask in enumerate(masks):
        cover = input_cover(mask, rows, columns)
        finite = np.isfinite(maps[:1, picture]).all(axis=0)
        for name, measure in MEASURES.items():
            for method, each in enumerate(maps[:, picture]):
                values[name][method, picture] = _measured(measure, each, cover)
            for base, each in blank.items():
                baselines[name][base][picture] = _measured(measure, np.where(finite, each, np.nan), cover)
    return Lifts(values, baselines)


def dot(rows: int, columns: int) -> Floats:
    """One in the middle cell, or in the two or four cells around the middle, and zero elsewhere: (rows, columns)."""
    values = np.zeros((rows, columns))
    values[(rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1] = 1
    return values


def _measured(measure: Callable[[NDArray[Any], Cover], float], values: NDArray[Any], cover: Cover) -> float:
    _, area, inside = visible(values, cover)
    if not 0 < inside.sum() < area.sum() * (1 - 1e-12):
        return float("nan")
    return measure(values, cover)
