"""A method over many pictures: maps with their places in the users' own pictures, batch by batch."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from regard.data.dataset import Dataset, Picture
from regard.data.images.decode import Size, drawable
from regard.data.images.preparation import Preparation
from regard.errors import DataError, NetworkError, UsageError, unknown
from regard.explanation import METHODS, Maps, Method, method_named
from regard.networks.guard import is_quantised, is_sealed, lock_of
from regard.networks.network import Network
from regard.networks.predict import prepared
from regard.records import Completeness, Heatmap
from regard.records.completeness import INCOMPLETE, gaps_in_words, relative_gaps

log = logging.getLogger("regard")


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


def attention_maps(
    network: Network, pictures: Dataset, names: Iterable[str], layer: int | None = None
) -> Mapping[str, Heatmap]:
    """CLS attention over the named pictures, by default the last layer's; empty for a network without any."""
    chosen = set(names)
    part = pictures.select(index for index, picture in enumerate(pictures.pictures) if picture.name in chosen)
    maps = heatmaps(network, part, settings={"layer": layer}, on_bad=lambda picture, error: None)
    try:
        return {heatmap.name: heatmap for heatmap in maps}
    except NetworkError as error:
        log.info(f"no attention maps: {error}")
        return {}


def explicit(method: str, settings: Mapping[str, Any], network: Network) -> dict[str, Any]:
    """A method's settings as what they mean on this network, so that a default and its number are the same: a `start`
    that was left out as the layer's number, and the last `layer` as None."""
    from regard.explanation.pictures.perturbation import middle_third
    from regard.explanation.pictures.relevance import last_blocks, middle_layer

    settings = dict(settings)
    starts = {"legrad": last_blocks, "transition": middle_layer, "activation_patching": middle_third}
    if method in starts and settings.get("start") is None:
        settings["start"] = starts[method](network)
    anatomy = network.anatomy
    last = len(anatomy.attentions) - 1
    if method != "attention" or anatomy.reads == "patches" or settings.get("query") is not None:
        last -= anatomy.readers
    if method in ("attention", "gradcam", "logit_lens") and settings.get("layer") == last:
        settings["layer"] = None
    return settings


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
    row = method_named(method, "picture")
    preparation = preparation or network.preparation
    _check_settings(row, settings)
    _check_kind(row, network)
    function = METHODS.load(method)
    with lock_of(network.module):
        maps = _as_maps(function(at_precision_of(row, network), pixels, **settings), row, len(pixels))
    empty = [picture.name for picture, values in zip(pictures, maps.values, strict=True) if not values.any()]
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        log.info(f"the map of {', '.join(empty[:3])}{more} is zero everywhere: {method} finds nothing there")
    rows, columns = (0, 0) if network.anatomy.patch is None else network.anatomy.grid(*map(int, pixels.shape[-2:]))
    for place, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
        values = maps.values[place]
        whole = 0 < rows <= values.shape[0] and 0 < columns <= values.shape[1]  # a value for each patch, or finer
        down, across = (rows, columns) if whole else values.shape
        grid = preparation.grid(size, down, across, network.anatomy.prefix)
        error = None if maps.error is None else maps.error[place]
        predicted = None if maps.predicted is None else maps.predicted[place]
        image = partial(drawable, picture.opener)
        completeness = None if maps.completeness is None else maps.completeness[place]
        yield Heatmap(values, grid, picture.name, maps.targets[place], error, predicted, image, completeness)


def at_precision_of(method: Method, network: Network) -> Network:
    """The network as the method computes with it: in float32 where its maps are not known to hold in less."""
    return network if method.reduced or network.precision == "float32" else replace(network, precision="float32")


def _check_kind(row: Method, network: Network) -> None:
    """Refuse what a network that is compiled or quantised has not: parts to be watched, gradients."""
    others = "use occlusion, or give the module that it was made of"
    if is_sealed(network.module) and (row.name == "gradcam" or {"attention", "blocks"} & set(row.requires)):
        raise NetworkError(f"{network.name} is TorchScript, whose parts cannot be watched for {row.name}; {others}")
    if "gradients" in row.requires and is_quantised(network.module):
        raise NetworkError(f"{network.name} is quantised, and {row.name} needs gradients, which end there; {others}")


def warn_incomplete(method: str, settings: Mapping[str, Any], records: Iterable[Completeness | None]) -> bool:
    """Say in one line how far the sums of maps are off, where that is more than a hundredth for any of them."""
    gaps = relative_gaps(records)
    large = not (gaps <= INCOMPLETE).all()  # also one that is no number
    if large:
        steps = f"with {settings['steps']} steps " if "steps" in settings else ""
        advice = "more --steps help" if steps else "float32 helps networks in half precision"
        log.info(
            f"{method}: {steps}the maps' sums are off by {gaps_in_words(gaps)} of {METHODS[method].sums_to}; {advice}, "
            "and each map has its own gap with it"
        )
    return large


def _as_maps(result: Any, method: Method, count: int) -> Maps:
    """What a method gave, which may be the values alone (a row from outside), checked for its shape."""
    maps = result if isinstance(result, Maps) else Maps(np.asarray(result, np.float32), (None,) * count)
    if maps.values.ndim != 3 or len(maps.values) != count:
        raise UsageError(
            f"the method {method.name} gave values {maps.values.shape} for {count} pictures; they must be "
            f"({count}, rows, columns)"
        )
    if bool(method.sums_to) != (maps.completeness is not None):
        raise UsageError(
            f"the method {method.name} gave {'no' if method.sums_to else 'a'} completeness, and its row says sums_to="
            f"{method.sums_to!r}; a method gives one if, and only if, its row says what its parts sum to"
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
