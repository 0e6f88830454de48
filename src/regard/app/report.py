"""The report of a run or an evaluation: gathers the pictures, maps and facts that the page shows."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from regard.data.dataset import Dataset
from regard.data.images.decode import open_picture
from regard.errors import DataError, NetworkError
from regard.explanation.pictures.explain import heatmaps
from regard.explanation.positions.analysis import positions as similarity_of
from regard.networks.network import Network
from regard.records import Heatmap, Positions
from regard.rendering.pages.report import GALLERIES, Report, report

log = logging.getLogger("regard")

THUMBNAIL = 320  # longest side in the report, in pixels


def page(content: Report, scored: Dataset, network: Network | None = None) -> str:
    """The HTML of a report, with what its galleries show: `scored` pictures, and the network's attention over them."""
    names: list[str] = []
    if content.evaluation is not None and content.show_pictures:
        indices = {index for field, *_, count in GALLERIES for index in getattr(content.evaluation, field)[:count]}
        names = [content.evaluation.predictions.names[index] for index in sorted(indices)]
    if network is not None:
        content = replace(
            content,
            heatmaps=attention_maps(network, scored, names) if names else {},
            positions=_position_similarity(network),
        )
    return report(replace(content, pictures=thumbnails(scored, names)))


def _position_similarity(network: Network) -> Positions | None:
    """None for a network without absolute positions."""
    try:
        return similarity_of(network.positions().double().numpy().astype(np.float64))
    except NetworkError:
        return None


def thumbnails(pictures: Dataset, names: Iterable[str], longest: int = THUMBNAIL) -> dict[str, Image.Image]:
    """Small upright copies of the named pictures, by name; one that cannot be read is left out."""
    chosen = set(names)
    images = {}
    for picture in pictures.pictures:
        if picture.name in chosen:
            try:
                image = open_picture(picture.opener)
            except DataError:
                continue
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            images[picture.name] = image
    return images


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
