"""A method over many pictures: maps with their places in the users' own pictures, batch by batch."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regard.data.dataset import Dataset
from regard.errors import DataError, UsageError, unknown
from regard.explanation import METHODS, Method
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
    on_bad: Callable[[Path, DataError], None] | None = None,
) -> Iterator[Heatmap]:
    """The map of each picture, in order; memory does not grow with their number.

    Raises `UsageError` for a method or setting that there is not, `NetworkError` when the network has not what the
    method requires, and `DataError` naming a picture that cannot be read, unless `on_bad` takes it.
    """
    row, settings = METHODS[method], settings or {}
    _check_settings(row, settings)
    function = METHODS.load(method)
    for batch, pixels in prepared(network, pictures.paths, batch_size=batch_size, workers=workers, on_bad=on_bad):
        maps = function(network, pixels, **settings)
        for index, size, values in zip(batch.indices, batch.sizes, maps, strict=True):
            grid = network.preparation.grid(size, values.shape[0], values.shape[1], network.anatomy.prefix)
            yield Heatmap(values, grid, pictures.pictures[index].name, settings.get("target"))


def _check_settings(row: Method, settings: Mapping[str, Any]) -> None:
    strange = [name for name, value in settings.items() if name not in row.settings and value is not None]
    if strange:
        raise unknown(f"setting of {row.name}", strange[0], row.settings)
    if row.kind != "picture":
        raise UsageError(f"{row.name} makes maps of words, not of pictures; use it with `regard caption`")
