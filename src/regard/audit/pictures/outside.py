"""Maps that came from outside: found by the pictures' names, and brought to what the network sees."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regard.data.dataset import Picture
from regard.data.images.decode import upright_size
from regard.errors import DataError, UsageError
from regard.explanation import METHODS
from regard.networks.cells import cells
from regard.networks.network import Network
from regard.records import Box, Explanation
from regard.records.audits.verdicts import PLANTED

Array = NDArray[np.float32]
Size = tuple[int, int]


@dataclass(frozen=True)
class MapBatch:
    """Pictures whose maps are wanted: `pixels` (batch, 3, height, width) ready for the network, the class each map is
    to be of, the pictures' names and upright sizes (height, width)."""

    pixels: Tensor
    targets: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[Size, ...]

    def one(self, index: int) -> "MapBatch":
        """The batch of one of these pictures alone."""
        part = slice(index, index + 1)
        return MapBatch(self.pixels[part], self.targets[part], self.names[part], self.sizes[part])

    def __len__(self) -> int:
        return len(self.names)


Maker = Callable[[MapBatch], Array]
"""A batch → its maps (batch, rows, columns)."""


@dataclass(frozen=True)
class MapsFromOutside:
    """The maps of one method from outside, by its folder's name; `settings` are what is known of how they were made."""

    name: str
    make: Maker
    settings: Mapping[str, Any]
    signed: bool = False


Find = Callable[[str], "NDArray[Any] | None"]
"""A picture's name → its map, which may lie on the disk, None where there is none."""


def maps_from(folder: Path, pictures: Sequence[Picture], network: Network) -> list[MapsFromOutside]:
    """The methods whose maps lie in a folder: one, or one in each of its folders.

    A method's maps are what `regard explain` wrote, or arrays `NAME.npy` under the pictures' names: of the network's
    patches, of its input's pixels, or of the picture's own. Raises `DataError` where none belongs to any of the
    pictures, or one has another shape.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder of maps; give one with NAME.npy for each picture, or what explain wrote"
        )
    whole = _of_folder(folder, pictures, network)  # arrays in folders of classes are one method's
    parts = [] if whole is not None else sorted(each for each in folder.iterdir() if each.is_dir())
    methods = [method for each in parts if (method := _of_folder(each, pictures, network)) is not None]
    methods = methods if whole is None else [whole]
    if not methods:
        name = pictures[0].name
        raise DataError(
            f"no map in {folder} has the name of a picture (of {name!r} it would be {_array_name(name)!r}); name each "
            "map as its picture, or give a folder that `regard explain` wrote"
        )
    clashes = [method.name for method in methods if method.name in METHODS or method.name in PLANTED]
    if clashes:
        raise UsageError(f"maps from outside are called {clashes[0]!r}, as a method of regard is; rename their folder")
    return methods


def _of_folder(folder: Path, pictures: Sequence[Picture], network: Network) -> MapsFromOutside | None:
    settings: dict[str, Any] = {"maps": "arrays"}
    signed = False
    find: Find = partial(_array, folder)
    if (folder / "manifest.json").is_file():
        explanation = Explanation.load(folder)
        maps = {heatmap.name: heatmap.values for heatmap in explanation}
        find = maps.get
        settings = {"maps": explanation.method, **explanation.settings}
        signed = explanation.signed
    shapes = list(_shapes(find, pictures))
    if not shapes:
        return None
    for picture, shape in shapes:
        _check(folder, picture, shape, network)
    return MapsFromOutside(folder.name, partial(_read, find, folder.name, network), settings, signed)


def _shapes(find: Find, pictures: Sequence[Picture]) -> Iterator[tuple[Picture, tuple[int, ...]]]:
    for picture in pictures:
        values = find(picture.name)
        if values is not None:
            yield picture, values.shape


def _check(folder: Path, picture: Picture, shape: tuple[int, ...], network: Network) -> None:
    grid = cells(network, network.blank())
    inputs = (network.preparation.height, network.preparation.width)
    if shape in (grid, inputs):
        return
    size = upright_size(picture.opener)
    if shape != size:
        allowed = [f"{rows} × {columns} ({what})" for (rows, columns), what in (
            (grid, "the network's patches"), (inputs, "its input's pixels"), (size, "the picture's own"))]  # fmt: skip
        sides = " × ".join(map(str, shape)) or "a single number"
        raise DataError(
            f"in {folder} the map of {picture.name!r} has the shape {sides}; it must be {', or '.join(allowed)}; save "
            "it so, rows first"
        )


def _array_name(name: str) -> str:
    return PurePosixPath(name).with_suffix(".npy").as_posix()


def _array(folder: Path, name: str) -> NDArray[Any] | None:
    path = folder / _array_name(name)
    if not path.is_file():
        return None
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array ({error}); give a .npy file of rows × columns") from error
    if values.dtype.kind not in "fiub":
        raise DataError(f"{path} holds {values.dtype}, no numbers; give a .npy file of rows × columns")
    return values


def _read(find: Find, folder: str, network: Network, batch: MapBatch) -> Array:
    """Raises `DataError` for a picture without a map."""
    grid = cells(network, batch.pixels)
    inputs = tuple(batch.pixels.shape[2:])
    maps = []
    for name, size in zip(batch.names, batch.sizes, strict=True):
        values = find(name)
        if values is None:
            raise DataError(f"{folder} has no map of it")
        values = np.asarray(values, np.float64)
        if values.shape not in (grid, inputs):
            values = within(values, network.preparation.box(size), *grid)
        maps.append(values.astype(np.float32))
    if len({each.shape for each in maps}) > 1:  # some of patches, some of pixels
        maps = [within(each, (0, 0, each.shape[1], each.shape[0]), *grid).astype(np.float32) for each in maps]
    return np.stack(maps)


def within(values: NDArray[Any], box: Box, rows: int, columns: int) -> NDArray[np.float64]:
    """(rows, columns): the mean of `values` (height, width) of a picture in each cell of the part `box` of it; NaN
    where that lies beyond the picture."""
    left, top, right, bottom = box
    down = _overlaps(values.shape[0], top, bottom, rows)
    across = _overlaps(values.shape[1], left, right, columns)
    finite = np.isfinite(values)
    sums = down @ np.where(finite, values, 0) @ across.T
    weights = down @ finite @ across.T
    return np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 1e-9)


def _overlaps(pixels: int, start: float, stop: float, count: int) -> NDArray[np.float64]:
    """(count, pixels): how much of each pixel lies in each of `count` cells from `start` to `stop`."""
    edges = np.linspace(start, stop, count + 1)
    pixel = np.arange(pixels)
    return np.maximum(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0)
