"""A method over many pictures: maps with their places in the users' own pictures, batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from regard.data.dataset import Dataset, Picture
from regard.data.images.decode import Size, drawable
from regard.data.images.preparation import Preparation
from regard.errors import DataError, UsageError, unknown
from regard.explanation import METHODS, Maps, Method
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.records import Heatmap


def heatmaps(
    network: Network,
    pictures: Dataset,
    method: str = "attention",
    settings: Mapping[str, Any] | None = None,
    *,
    batch_size: int = 8,
    workers: int = 2,
    on_bad: Callable[[Picture, DataError], None] | None = None,
) -> Iterator[Heatmap]:
    """The map of each picture, in order; memory does not grow with their number.

    Raises `UsageError` for a method or setting that there is not, `NetworkError` when the network has not what the
    method requires, and `DataError` naming a picture that cannot be read, unless `on_bad` takes it.
    """
    for batch, pixels in prepared(network, pictures.pictures, batch_size=batch_size, workers=workers, on_bad=on_bad):
        rows = [pictures.pictures[index] for index in batch.indices]
        yield from batch_heatmaps(network, pixels, rows, batch.sizes, method, settings or {})


def batch_heatmaps(
    network: Network,
    pixels: Tensor,
    pictures: Sequence[Picture],
    sizes: Sequence[Size],
    method: str,
    settings: Mapping[str, Any],
    preparation: Preparation | None = None,
) -> Iterator[Heatmap]:
    """The maps of some pictures that are `pixels` (batch, 3, height, width) as the network takes them.

    `sizes` (height, width) are of the pictures, of which `preparation`, by default the network's, showed it a part.
    """
    row = METHODS[method]
    preparation = preparation or network.preparation
    _check_settings(row, settings)
    function = METHODS.load(method)
    with lock_of(network.module):
        maps = _as_maps(function(network, pixels, **settings), row.name, len(pixels))
    for place, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
        values = maps.values[place]
        grid = preparation.grid(size, values.shape[0], values.shape[1], network.anatomy.prefix)
        error = None if maps.error is None else maps.error[place]
        predicted = None if maps.predicted is None else maps.predicted[place]
        image = partial(drawable, picture.opener)
        yield Heatmap(values, grid, picture.name, maps.targets[place], error, predicted, image)


def _as_maps(result: Any, method: str, count: int) -> Maps:
    """What a method gave, which may be the values alone (a row from outside), checked for its shape."""
    maps = result if isinstance(result, Maps) else Maps(np.asarray(result, np.float32), (None,) * count)
    if maps.values.ndim != 3 or len(maps.values) != count:
        raise UsageError(
            f"the method {method} gave values {maps.values.shape} for {count} pictures; they must be "
            f"({count}, rows, columns)"
        )
    return maps


def _check_settings(row: Method, settings: Mapping[str, Any]) -> None:
    strange = [name for name, value in settings.items() if name not in row.settings and value is not None]
    if strange and not row.settings:
        raise UsageError(f"{row.name} has no settings; leave {strange[0]} out")
    if strange:
        raise unknown(f"setting of {row.name}", strange[0], row.settings)
    if row.kind != "picture":
        raise UsageError(f"{row.name} makes maps of words, not of pictures; use it with `regard caption`")
