"""Inspection: all that the viewer shows of one picture by one network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from regard.records.display import Viewable, counted
from regard.records.grid import Float, PatchGrid
from regard.records.inspection import packing
from regard.records.inspection.parts import (
    Answer,
    ArtifactTokens,
    InspectedCaption,
    InspectedMap,
    InspectedPicture,
    Keys,
    Lens,
)
from regard.records.quantised import Quantised


@dataclass(frozen=True, repr=False)
class Inspection(Viewable):
    """All that the viewer shows of the picture called `name` by one network.

    `network` is its {"name", "layers", "heads", "reads"}. `arrays` are maps by name, all (..., rows, columns):
    "cls" and, after token repair, "cls_repaired" (layers, heads, ...): what the network's head reads; "cls_mean"
    (layers, ...) where only the mean over heads is held; "patches" (rows, columns, ...): what each patch reads in
    the last layer, mean over heads; "maps" and "signed_maps", which `maps` describe; "words", which `caption` does.
    `layers` are the numbers of the layers in these. `absent` says, by name, what is not held and why.

    >>> grid = PatchGrid.whole(1, 2, prefix=1)
    >>> inspection = Inspection("cat.jpg", grid, {"name": "net", "layers": 1, "heads": 1, "reads": "cls"},
    ...                         {"cls": Quantised.of(np.array([[[[0.25, 0.5]]]]))}, {"cls": (0,)})
    >>> inspection
    cat.jpg by net: 1 × 2 patches; cls
    >>> Inspection.unpack(inspection.pack()).values("cls").tolist()
    [[[[0.25, 0.5]]]]
    """

    name: str
    grid: PatchGrid
    network: Mapping[str, Any]
    arrays: Mapping[str, Quantised] = field(default_factory=dict)
    layers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    picture: InspectedPicture | None = None
    answer: Answer | None = None
    keys: Keys | None = None
    lens: Lens | None = None
    artifacts: ArtifactTokens | None = None
    maps: tuple[InspectedMap, ...] = ()
    caption: InspectedCaption | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        optional = {"keys": self.keys, "lens": self.lens, "caption": self.caption}
        parts = [*self.arrays, *(name for name, part in optional.items() if part is not None)]
        maps = [f"{counted(len(self.maps), 'map')} of methods"] if self.maps else []
        patches = f"{self.grid.rows} × {self.grid.columns} patches"
        return f"{self.name} by {self.network['name']}: {patches}; {', '.join([*parts, *maps])}"

    def values(self, name: str) -> Float:
        """(..., rows, columns) float32: an array's values."""
        return self.arrays[name].values()

    def map_of(self, entry: InspectedMap) -> Float:
        """(rows, columns) float32: the values of one of `maps`."""
        array = self.arrays[entry.array]
        index = slice(entry.index, entry.index + 1)
        return Quantised(array.levels[index], array.low[index], array.high[index], array.transform).values()[0]

    def without(self, part: str, why: str) -> Self:
        """The same without a part, an array or "keys", "lens" or "picture", and with the reason in `absent`."""
        arrays = {name: array for name, array in self.arrays.items() if name != part}
        fields: dict[str, Any] = {part: None} if part in ("keys", "lens", "picture") else {}
        return replace(self, arrays=arrays, absent={**self.absent, part: why}, **fields)

    def with_mean_heads(self, last: int, why: str) -> Self:
        """The same with all heads of the `last` layers alone, and of those before them the mean over heads; of what is
        read after repair those layers alone."""
        arrays = dict(self.arrays)
        layers = dict(self.layers)
        for name in ("cls", "cls_repaired"):
            if name not in arrays or len(layers[name]) <= last:
                continue
            array = arrays[name]
            start = len(array.levels) - last
            if name == "cls":
                means = [array.values()[:start].mean(axis=1)]
                means += [arrays["cls_mean"].values()] if "cls_mean" in arrays else []
                arrays["cls_mean"] = Quantised.of(np.concatenate(means), array.transform)
                layers["cls_mean"] = layers[name][:start] + layers.get("cls_mean", ())
            arrays[name] = Quantised(array.levels[start:], array.low[start:], array.high[start:], array.transform)
            layers[name] = layers[name][start:]
        if layers == self.layers:
            return self
        return replace(self, arrays=arrays, layers=layers, absent={**self.absent, "heads": why})

    def pack(self, clean: Callable[[Any], Any] = lambda header: header) -> bytes:
        """The packed bytes of docs/inspections.md; `clean` may change the header's texts."""
        return packing.pack(*packing.header_and_binary(self, clean))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """From what `pack` gave. Raises `DataError` for another format, a newer version or damaged data."""
        return packing.inspection_of(cls, *packing.unpack(packed))

    def to_json(self) -> dict[str, Any]:
        """The JSON twin: the header with the binary as base64."""
        return packing.as_twin(*packing.header_and_binary(self))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From what `to_json` gave. Raises `DataError` as `unpack` does."""
        return packing.inspection_of(cls, *packing.of_twin(stored))

    def __eq__(self, other: object) -> bool:
        """Equal in all that is stored."""
        return isinstance(other, Inspection) and np.array_equal(
            np.frombuffer(self.pack(), np.uint8), np.frombuffer(other.pack(), np.uint8)
        )
