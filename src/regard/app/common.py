"""What several commands do alike: open a network, name bad pictures, say where a result came from."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL
import timm
import torch
from PIL import Image

import regard
from regard.app.console import log
from regard.data.dataset import Dataset, Picture
from regard.data.images.decode import open_picture
from regard.data.layouts import read
from regard.errors import DataError, NetworkError
from regard.explanation.pictures.explain import heatmaps
from regard.networks.load import load
from regard.networks.network import Network
from regard.records import Heatmap

THUMBNAIL = 320  # longest side in the report, in pixels


def open_network(
    model: str | Path | torch.nn.Module,
    weights: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    device: str | None = None,
    precision: str = "float32",
    seed: int = 0,
    grid: tuple[int, int] | None = None,
) -> Network:
    """`load`, with what it had to say told to the user."""
    how = {"weights": weights, "classes": classes, "size": size, "device": device}
    network = load(model, precision=precision, seed=seed, grid=grid, **how)  # type: ignore[arg-type]
    for message in network.messages:
        log.info(message)
    return network


def read_labelled(data: str | Path, label: str = "label") -> Dataset:
    """DATA with a label for every picture: its own, or another column's."""
    dataset = read(data) if label == "label" else read(data, labels=False).relabelled(label)
    return dataset.labelled()


def skipper(skip_bad: bool) -> Callable[[Picture, DataError], None] | None:
    """What is done with a picture that cannot be read: named and skipped on request, else raised."""

    def name(picture: Picture, error: DataError) -> None:
        log.warning(f"skipped: {error}")

    return name if skip_bad else None


def provenance(network: Network | None = None, **more: Any) -> dict[str, Any]:
    """Where a result came from: network, weights, versions. No paths, no time, no names of machines."""
    known: dict[str, Any] = {}
    if network is not None:
        known = {
            "network": network.name,
            "architecture": network.architecture["name"],
            "weights_sha256": network.weights_hash(),
            "preparation": network.preparation.as_json(),
            "precision": network.precision,
        }
    versions = {"torch": torch.__version__, "timm": timm.__version__, "pillow": PIL.__version__}
    return {**known, **more, "regard": regard.__version__, "python": platform.python_version(), **versions}


def thumbnails(pictures: Dataset, names: Iterable[str], longest: int = THUMBNAIL) -> dict[str, Image.Image]:
    """Small upright copies of the named pictures, by name; one that cannot be read is left out."""
    wanted, found = set(names), {}
    for picture in pictures.pictures:
        if picture.name in wanted:
            try:
                image = open_picture(picture.opener)
            except DataError:
                continue
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            found[picture.name] = image
    return found


def attention_maps(
    network: Network, pictures: Dataset, names: Iterable[str], layer: int | None = None
) -> Mapping[str, Heatmap]:
    """CLS attention over the named pictures, by default the last layer's; empty for a network without any."""
    wanted = set(names)
    part = pictures.select(index for index, picture in enumerate(pictures.pictures) if picture.name in wanted)
    found = heatmaps(network, part, settings={"layer": layer}, on_bad=lambda picture, error: None)
    try:
        return {heatmap.name: heatmap for heatmap in found}
    except NetworkError as error:
        log.info(f"no attention maps: {error}")
        return {}
