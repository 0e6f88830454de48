"""The report of a run or an evaluation: gathers the pictures, maps and facts that the page shows."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from regard.data.dataset import Dataset
from regard.data.images.decode import open_picture
from regard.errors import DataError, NetworkError
from regard.explanation.pictures.explain import heatmaps
from regard.explanation.positions.analysis import positions as similarity_of
from regard.networks.network import Network
from regard.records import Evaluation, Heatmap, Positions
from regard.rendering.pages.report import GALLERIES, Report, report

log = logging.getLogger("regard")

THUMBNAIL = 320  # longest side in the report, in pixels
Example = tuple[str, Image.Image, Heatmap | None, str]


def page(
    title: str,
    evaluation: Evaluation | None,
    scored: Dataset,
    network: Network | None = None,
    *,
    facts: Mapping[str, str] | None = None,
    messages: Sequence[str] = (),
    recipe: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    provenance: Mapping[str, Any] | None = None,
    examples: Sequence[Example] = (),
    panels: Sequence[tuple[str, Image.Image]] = (),
    no_pictures: bool = False,
    anonymise: bool = False,
) -> str:
    """The HTML of a report; pictures are opened and explained only where the page shows them."""
    names = [] if evaluation is None or no_pictures else _shown(evaluation)
    return report(
        Report(
            title=title,
            evaluation=evaluation,
            facts=facts or {},
            messages=tuple(messages),
            pictures=thumbnails(scored, names),
            heatmaps=attention_maps(network, scored, names) if network is not None and names else {},
            positions=None if network is None else _positions(network),
            examples=tuple(examples),
            panels=tuple(panels),
            recipe=recipe or {},
            history=tuple(history),
            provenance=provenance or {},
            show_pictures=not no_pictures,
            anonymise=anonymise,
        )
    )


def _shown(evaluation: Evaluation) -> list[str]:
    """The names of the pictures in the page's galleries."""
    names = evaluation.predictions.names
    indices = {index for field, *_, count in GALLERIES for index in getattr(evaluation, field)[:count]}
    return [names[index] for index in sorted(indices)]


def _positions(network: Network) -> Positions | None:
    """The similarity of the network's positions, or None where it has no absolute ones."""
    try:
        return similarity_of(network.positions().double().numpy().astype(np.float64))
    except NetworkError:
        return None


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
