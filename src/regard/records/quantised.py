"""Maps as bytes for the viewer: a byte a patch, small enough to carry every layer and head of a picture in a page.

The file is one JSON object, so that JavaScript reads it without a library (docs/quantised.md has the ten lines):

    {"format": "regard-maps", "version": 1, "name": "cat.jpg",
     "grid": {"rows", "columns", "prefix", "picture": [height, width], "box": [left, top, right, bottom]},
     "arrays": [{"name": "cls", "shape": [layers, heads, rows, columns], "transform": "sqrt", "start": 0}, ...],
     "data": "<base64>"}

`data` holds, for each array from its byte `start` on: the lowest value of each map (float32, little-endian), the
highest of each, and a byte for each patch, filled with zeros to a multiple of 4. A byte b of a map stands for
low + (high - low) · t, where t is b / 255 for "linear" and (b / 255)² for "sqrt".
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regard.errors import DataError, unknown
from regard.records.display import Readable
from regard.records.grid import Float, PatchGrid

FORMAT = "regard-maps"
VERSION = 1
TRANSFORMS = {"linear": 1, "sqrt": 2}
"""The power of b / 255 that a byte stands for. Attention is heavy-tailed: most patches lie near zero, where "sqrt" has
the finer steps; maps with a sign are "linear"."""
STEPS = {"linear": 1 / 510, "sqrt": 1 / 255}
"""The largest error of a value, in shares of its map's extent (high - low), but for the rounding to float32."""

ROUNDING = 1e-6
"""That rounding, in shares of the largest value of the map."""
SMALLEST = 1e-44
"""Where float32 ends."""


@dataclass(frozen=True, repr=False)
class Quantised(Readable):
    """Maps (..., rows, columns) as `levels` uint8; `low` and `high` (...) float32 are each map's own ends.

    >>> quantised = Quantised.of([[1.0, 1.25, 2.0]], "linear")
    >>> quantised.levels.tolist()
    [[0, 64, 255]]
    >>> bool(abs(quantised.values() - [[1.0, 1.25, 2.0]]).max() < quantised.bound())
    True
    """

    levels: NDArray[np.uint8]
    low: Float
    high: Float
    transform: str = "sqrt"

    def __str__(self) -> str:
        return f"{' × '.join(map(str, self.levels.shape))} levels of 256 ({self.transform})"

    @classmethod
    def of(cls, maps: NDArray[Any], transform: str = "sqrt") -> Self:
        """Quantise maps (..., rows, columns) of finite values. Raises `DataError` for others."""
        if transform not in TRANSFORMS:
            raise unknown("transform", transform, TRANSFORMS)
        maps = np.asarray(maps, np.float32)
        if maps.ndim < 2 or not maps.size or not np.isfinite(maps).all():
            raise DataError(
                f"maps of shape {maps.shape} with {np.count_nonzero(~np.isfinite(maps))} values that are not finite "
                "cannot become bytes; give (..., rows, columns) of finite values"
            )
        low = maps.min(axis=(-2, -1))
        high = maps.max(axis=(-2, -1))
        extent = _extent(low, high)
        place = (maps.astype(np.float64) - low[..., None, None]) / np.where(extent > 0, extent, 1)
        levels = np.rint(255 * place ** (1 / TRANSFORMS[transform])).astype(np.uint8)
        return cls(levels, low, high, transform)

    def values(self) -> Float:
        """(..., rows, columns) float32: what the bytes stand for."""
        place = (self.levels / 255.0) ** TRANSFORMS[self.transform]
        return (self.low[..., None, None] + _extent(self.low, self.high) * place).astype(np.float32)

    def bound(self) -> NDArray[np.float64]:
        """(...): no value of a map is farther from the original than this."""
        largest = np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float64)
        return STEPS[self.transform] * _extent(self.low, self.high)[..., 0, 0] + ROUNDING * largest + SMALLEST


def _extent(low: Float, high: Float) -> NDArray[np.float64]:
    """(..., 1, 1) high - low, in double precision as it may exceed the largest float32."""
    return (high.astype(np.float64) - low)[..., None, None]


@dataclass(frozen=True, repr=False)
class QuantisedMaps(Readable):
    """All that the viewer shows of one picture: its name, its grid, and arrays of maps by name.

    Arrays are (..., rows, columns) on `grid`. Those of attention are `cls` (layers, heads, rows, columns) and `patches`
    (rows, columns, rows, columns): what each patch reads, the mean over the last layer's heads.

    >>> grid = PatchGrid.whole(1, 2, prefix=1)
    >>> attention = np.full((12, 3, 3), 1 / 3)  # (layers, heads, tokens)
    >>> maps = QuantisedMaps.of_attention("cat.jpg", grid, attention)
    >>> maps.arrays["cls"].levels.shape, QuantisedMaps.loads(maps.dumps()).name
    ((12, 3, 1, 2), 'cat.jpg')
    """

    name: str
    grid: PatchGrid
    arrays: Mapping[str, Quantised]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(f'{name} {array}' for name, array in self.arrays.items())}"

    @classmethod
    def of_attention(cls, name: str, grid: PatchGrid, rows: NDArray[Any], patches: NDArray[Any] | None = None) -> Self:
        """From the attention rows of one picture, as a trace holds them.

        `rows` (layers, heads, tokens) are those of CLS; `patches` (patches, tokens), or (tokens, tokens), the last
        layer's mean over heads. Prefix tokens are left out: what a map lacks of one went to them.
        """
        arrays = {"cls": Quantised.of(grid.fold(np.asarray(rows)))}
        if patches is not None:
            square = np.asarray(patches)[-grid.patches :]  # (patches, tokens)
            arrays["patches"] = Quantised.of(grid.fold(np.moveaxis(grid.fold(square), 0, -1)).transpose(2, 3, 0, 1))
        return cls(name, grid, arrays)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the format above."""
        entries = []
        data = bytearray()
        for name, array in self.arrays.items():
            entry = {"name": name, "shape": list(array.levels.shape), "transform": array.transform, "start": len(data)}
            entries.append(entry)
            data += array.low.astype("<f4").tobytes() + array.high.astype("<f4").tobytes() + array.levels.tobytes()
            data += bytes(-len(data) % 4)  # JavaScript's Float32Array begins at multiples of 4
        head = {"format": FORMAT, "version": VERSION, "name": self.name, "grid": asdict(self.grid), "arrays": entries}
        return {**head, "data": base64.b64encode(data).decode("ascii")}

    def dumps(self) -> str:
        """The same as text, in one line."""
        return json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """From the object of `to_json`. Raises `DataError` for another format, a newer version or damaged data."""
        if not isinstance(stored, Mapping) or stored.get("format") != FORMAT:
            raise DataError(f"this is not the JSON of quantised maps; its `format` must be {FORMAT!r}")
        version = stored.get("version")
        if isinstance(version, int) and version > VERSION:
            raise DataError(f"these maps have version {version}, newer than {VERSION}; upgrade regard")
        try:
            if version != VERSION:
                raise ValueError(f"version {version!r}")
            data = base64.b64decode(stored["data"], validate=True)
            arrays = {entry["name"]: _array(entry, data) for entry in stored["arrays"]}
            return cls(stored["name"], PatchGrid.from_json(stored["grid"]), arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the quantised maps are damaged ({error}); make them again") from error

    @classmethod
    def loads(cls, text: str) -> Self:
        """From the text of `dumps`. Raises `DataError` as `from_json` does."""
        try:
            return cls.from_json(json.loads(text))
        except ValueError as error:
            raise DataError(f"the quantised maps are no JSON ({error}); make them again") from error


def _array(entry: Mapping[str, Any], data: bytes) -> Quantised:
    """One array out of the bytes, as its entry describes it."""
    shape = tuple(entry["shape"])
    maps = int(np.prod(shape[:-2]))
    start = entry["start"]
    ends = np.frombuffer(data, "<f4", 2 * maps, start).astype(np.float32).reshape(2, *shape[:-2])
    levels = np.frombuffer(data, np.uint8, int(np.prod(shape)), start + 8 * maps).reshape(shape)
    if entry["transform"] not in TRANSFORMS:
        raise ValueError(f"unknown transform {entry['transform']!r}")
    return Quantised(levels, ends[0], ends[1], entry["transform"])
