"""The report of a run or an evaluation: gathers the pictures, maps and facts that the page shows."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from regard.audit.notes import artifact_note
from regard.data.dataset import Dataset
from regard.data.images.thumbnails import thumbnails
from regard.explanation.pictures.explain import attention_maps
from regard.explanation.positions.analysis import position_similarity
from regard.measurement.selection import CROSS_VALIDATED
from regard.networks.network import Network
from regard.predictors.inspector.gallery import inspect_gallery
from regard.predictors.overlays import overlays
from regard.rendering.figures.charts import evaluation_charts
from regard.rendering.pages.columns import THUMB
from regard.rendering.pages.report import Report, gallery_names, report, thumb_names
from regard.training.recipe import Recipe
from regard.training.run import Drawing
from regard.training.tasks.base import AnyEvaluation, PageContent

log = logging.getLogger("regard")

EXAMPLES = 24
"""Pictures that the page shows with their captions."""
READERS = {"cls": "CLS", "patches": "the average over patches", "pool": "the pooling by attention"}
"""What the maps are the attention of, by what a network's head reads."""


def page(content: Report, scored: Dataset, network: Network | None = None, repair: str = "") -> str:
    """The HTML of a report, with what its galleries show: `scored` pictures, and the network's attention over them.

    `repair` is the command that moves artifact tokens, offered where they are what the maps show.
    """
    names = gallery_names(content)
    if network is not None:
        content = replace(
            content,
            heatmaps=attention_maps(network, scored, names) if names else {},
            positions=position_similarity(network),
            inspections=inspect_gallery(network, scored, names, content.evaluation.note) if content.evaluation else {},
        )
        if content.heatmaps:
            messages = list(content.messages)
            if note := artifact_note(network, scored, names, repair):
                log.info(note)
                messages.append(note)
            content = replace(content, maps=_about_maps(network), messages=messages)
    thumbs = thumbnails(scored, thumb_names(content), THUMB)
    return report(replace(content, pictures=thumbnails(scored, names), thumbs=thumbs))


def _about_maps(network: Network) -> str:
    """What the maps over the pictures are: the method, the layer, and of what."""
    reader = READERS.get(network.anatomy.reads, network.anatomy.reads)
    return (
        f"The maps are attention (--method attention): what {reader} reads of each patch in the last layer, the mean "
        "over its heads. They are of no class: they show where the network looks, not what speaks for its answer."
    )


def drawing(title: str, no_pictures: bool, anonymise: bool, repair: str = "") -> Drawing:
    """How a run or an evaluation is drawn: its page, as the user wants it, and the charts beside its tables."""

    def report_of(
        content: PageContent,
        pictures: Dataset,
        recipe: Recipe | None,
        history: Sequence[Mapping[str, Any]],
        evaluation: AnyEvaluation | None,
    ) -> str:
        captions = dict(islice(content.captions.items(), 0 if no_pictures else EXAMPLES))
        images = thumbnails(pictures, captions)
        whole = Report(
            title,
            content.evaluation,
            content.labels,
            facts=content.facts,
            messages=content.messages,
            examples=tuple((name, images[name], None, text) for name, text in captions.items() if name in images),
            recipe={} if recipe is None else _shareable(recipe),
            history=tuple(history),
            provenance={} if evaluation is None else evaluation.provenance,
            show_pictures=not no_pictures,
            anonymise=anonymise,
        )
        nothing_new = evaluation is None or evaluation.note == CROSS_VALIDATED
        return page(whole, pictures, content.network, f"{repair} --keep-seen" if repair and nothing_new else repair)

    return Drawing(
        report_of, evaluation_charts, lambda network, pictures: {} if no_pictures else overlays(network, pictures)
    )


def _shareable(recipe: Recipe) -> dict[str, Any]:
    """The recipe's arguments and settings without the folders of this machine."""
    arguments = {
        name: Path(value).name if name in ("model", "weights", "masks") else value
        for name, value in recipe.arguments.items()
        if value is not None
    }
    return {"recipe": recipe.name, **arguments, **({} if recipe.settings is None else recipe.settings.as_json())}
