"""Maps of methods for the classes that a reader asks about, with the removal curves and the verdict of each."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.decode import Size
from regard.data.images.preparation import Preparation
from regard.errors import NetworkError, UsageError
from regard.explanation import METHODS, Method, method_named
from regard.explanation.pictures.explain import batch_heatmaps
from regard.measurement.faithfulness.curves import class_curves, on_grid
from regard.measurement.faithfulness.occluders import occluders_of
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.predictors.method_options import MethodOptions, described
from regard.records import Explanation, Float, Heatmap, PatchGrid, RemovalCurve
from regard.records.inspection import InspectedMap
from regard.records.quantised import Quantised

log = logging.getLogger("regard")

CONTROLS = ("random", "centre", "edges")
"""Maps that look at nothing, beside which any other stands."""

FindVerdict = Callable[[Explanation, Picture], Mapping[str, str] | None]
"""What an audit found of an explanation's method on this picture's network: {"status", "text"}, or None."""


@dataclass(frozen=True)
class Subject:
    """One picture as the network takes it: `pixels` (1, 3, height, width), and where its cells lie."""

    picture: Picture
    pixels: Tensor
    size: Size
    preparation: Preparation
    grid: PatchGrid


@dataclass
class MapSet:
    """Maps of methods, as they come: `entries` describe `values`, (rows, columns) each."""

    entries: list[InspectedMap] = field(default_factory=list)
    values: list[Float] = field(default_factory=list)
    classes: list[int | None] = field(default_factory=list)  # whose probability a map's curve follows
    absent: dict[str, str] = field(default_factory=dict)

    def arrays(self) -> dict[str, Quantised]:
        """The arrays of an inspection; `entries` then say where each map lies."""
        arrays = {}
        for name, signed, transform in (("maps", False, "sqrt"), ("signed_maps", True, "linear")):
            places = [place for place, entry in enumerate(self.entries) if entry.signed == signed]
            if places:
                arrays[name] = Quantised.of(np.stack([self.values[place] for place in places]), transform)
            for index, place in enumerate(places):
                self.entries[place] = replace(self.entries[place], array=name, index=index)
        return arrays


@dataclass(frozen=True)
class MapMaker:
    """Makes maps with a network: of each method those of all the classes, best first, that are asked about.

    `names` are those of the outputs. `verdicts` finds what an audit found. `provenance` is the network's.
    """

    network: Network
    names: Sequence[str]
    provenance: Mapping[str, Any]
    seed: int = 0
    verdicts: FindVerdict | None = None

    def add(self, maps: MapSet, name: str, subject: Subject, classes: Sequence[int]) -> None:
        """The maps of one method: of each class, and of the first against the second where there are two.

        What the network cannot give is left out, and why is in `maps.absent`. Raises `UsageError` for a method that
        there is not.
        """
        row = method_named(name, "picture")
        options = MethodOptions(seed=self.seed)
        options.check(row)
        targets: list[Any] = [None]
        if row.class_specific:
            targets = [*classes, *([tuple(classes[:2])] if len(classes) > 1 else [])]
        try:
            if not targets:
                raise NetworkError(f"{self.network.name} has no classes, and {name} explains one")
            settings = options.settings(row, self.network)
            verdict = self._verdict(row, settings, subject.picture)
            about = described(row, settings, self.network)
            about.pop("target", None)
            for target in targets:
                chosen = settings if target is None else {**settings, "target": target}
                values = on_cells(self._heatmap(row, chosen, subject), subject.grid)
                first, against = target if isinstance(target, tuple) else (target, None)
                entry = InspectedMap(
                    name,
                    name.replace("_", " "),
                    "",
                    0,
                    about,
                    None if first is None else self.names[first],
                    None if against is None else self.names[against],
                    row.signed,
                    verdict,
                    control=name in CONTROLS,
                    description=row.description,
                )
                maps.entries.append(entry)
                maps.values.append(values)
                maps.classes.append(first)
        except (NetworkError, UsageError) as error:
            maps.absent[name] = str(error)

    def add_curves(self, maps: MapSet, subject: Subject, classes: Sequence[int]) -> None:
        """Give each map its removal curves: of its class, and a map of no class those of all `classes`."""
        precise = replace(self.network, precision="float32")
        with lock_of(precise.module):
            occluder = occluders_of(precise)[0]
            curves = class_curves(
                precise, subject.pixels, np.stack(maps.values), classes, occluder=occluder, seed=self.seed
            )  # (classes, 2, maps, points)
        for place, (entry, of) in enumerate(zip(maps.entries, maps.classes, strict=True)):
            each = {}
            for index, (mif, lif) in zip(classes, curves[:, :, place], strict=True):
                about = RemovalCurve(index, occluder, tuple(mif.tolist()), tuple(lif.tolist())).as_json()
                points = {name: np.round(about[name], 4).tolist() for name in ("mif", "lif", "srg")}
                each[index] = {"occluder": occluder, **points}
            others = {} if of is not None else {self.names[index]: curve for index, curve in each.items()}
            maps.entries[place] = replace(entry, curve=each[classes[0] if of is None else of], curves=others)

    def _heatmap(self, row: Method, settings: Mapping[str, Any], subject: Subject) -> Heatmap:
        (heatmap,) = batch_heatmaps(
            self.network,
            subject.pixels,
            [subject.picture],
            [subject.size],
            row.name,
            settings,
            subject.preparation,
        )
        return heatmap

    def _verdict(self, row: Method, settings: Mapping[str, Any], picture: Picture) -> Mapping[str, str] | None:
        if self.verdicts is None or row.name in CONTROLS:
            return None
        about = described(row, settings, self.network)
        return self.verdicts(Explanation((), row.name, row.signed, about, self.provenance), picture)


def on_cells(heatmap: Heatmap, grid: PatchGrid) -> Float:
    """(rows, columns): a map on the cells of the inspection; a finer one is summed, a coarser one spread out."""
    rows, columns = heatmap.values.shape
    values = heatmap.values
    if rows >= grid.rows and columns >= grid.columns:
        values = grid.on_patches(values)
    elif (rows, columns) != (grid.rows, grid.columns):
        values = on_grid(values, grid.rows, grid.columns).astype(np.float32)
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def methods_of(names: Sequence[str]) -> tuple[str, ...]:
    """The methods that were named, each once, and the controls behind them. Raises `UsageError` for one that there is
    not."""
    for name in names:
        if method_named(name, "picture").kind != "picture":
            raise UsageError(f"{name} makes maps of words, not of pictures; leave it out of --methods")
    return tuple(dict.fromkeys([*names, *(name for name in CONTROLS if name in METHODS)]))
