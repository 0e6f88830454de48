"""`--sheet`: the first pictures with the maps of several methods, of all layers or of all heads side by side."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from PIL import Image

from regard.app.console import progress
from regard.data.dataset import Picture
from regard.errors import NetworkError, UsageError, unknown
from regard.explanation import METHODS, Method
from regard.records import Heatmap
from regard.rendering.figures.panel import target_words
from regard.rendering.figures.sheets import Column, common_caption, comparison

if TYPE_CHECKING:
    from regard.predictors.explainer import ExplanationJob

log = logging.getLogger("regard")

ROWS = 12  # pictures on a comparison, at most
MOST = 512  # layers or heads that are looked for
DEAR = 100.0
"""A method that takes more plain forwards than this, or some for each patch, is compared only when it is named."""


@dataclass(frozen=True)
class Sheet:
    """What is compared: "layers", "heads" or "methods", of which some may be named."""

    kind: str
    methods: tuple[str, ...] = ()

    KINDS: ClassVar = ("methods", "layers", "heads")

    @property
    def file(self) -> str:
        return f"sheet_{self.kind}.png"

    def check(self, row: Method) -> None:
        """Raise `UsageError` when the method has no layers or heads to compare, naming those that have."""
        setting = self.kind.removesuffix("s")
        if self.kind != "methods" and setting not in row.settings:
            able = ", ".join(each.name for each in METHODS if setting in each.settings)
            raise UsageError(f"--sheet {self.kind} needs a method that takes --{setting}, not {row.name}: {able}")


def parse_sheet(text: str | None) -> Sheet | None:
    """ "layers" → all layers; "methods" → all methods for pictures; "attention,rollout" → these methods."""
    if text is None or text in Sheet.KINDS:
        return None if text is None else Sheet(text)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in METHODS:
            raise unknown(
                "sheet or method", name, [*Sheet.KINDS, *(row.name for row in METHODS if row.kind == "picture")]
            )
        if METHODS[name].kind != "picture":
            raise UsageError(f"{name} makes maps of words, not of pictures; leave it out of --sheet")
    if not names:
        raise UsageError(f"--sheet is {text!r}; it must be methods, layers, heads or names of methods with commas")
    return Sheet("methods", names)


def compare(
    sheet: Sheet,
    job: "ExplanationJob",
    pictures: Sequence[Picture],
    items: Sequence[tuple[Image.Image, Heatmap]],
    colours: str | None = None,
) -> Image.Image:
    """The comparison of the first `pictures`, of which `items` are thumbnails and maps."""
    items = items[:ROWS]
    with progress(f"comparing {sheet.kind}", 0):
        columns = list((_methods if sheet.kind == "methods" else _numbered)(sheet, job, pictures[:ROWS]))
    classes = job.network.classes or ()
    rows = []
    for image, heatmap in items:
        title = [heatmap.name, target_words(heatmap.predicted, classes)]
        rows.append((image, " · predicted ".join(filter(None, title))))
    caption = _caption(sheet, job, [heatmap for _, heatmap in items], len(columns))
    return comparison(rows, columns, colours=colours, caption=caption)


def _caption(sheet: Sheet, job: "ExplanationJob", maps: Sequence[Heatmap], count: int) -> str:
    """What holds for all the maps: the layers or heads in one word, or only what was chosen for all methods."""
    head = job.with_maps(*maps)
    if sheet.kind == "methods":
        bare = tuple(replace(heatmap, target=None) for heatmap in maps)
        head = replace(head, heatmaps=bare, method="as written above", settings=job.options.chosen())
    else:
        head = replace(head, settings={**head.settings, sheet.kind.removesuffix("s"): f"0 to {count - 1}"})
    return common_caption(head)


def _numbered(sheet: Sheet, job: "ExplanationJob", pictures: Sequence[Picture]) -> Iterator[Column]:
    """A column for each layer or head, as many as the method says there are."""
    setting = sheet.kind.removesuffix("s")
    for number in range(MOST):
        try:
            maps = _maps(replace(job, settings={**job.settings, setting: number}), pictures)
        except UsageError:
            if number == 0:
                raise
            return  # this one does not exist: the last one did
        yield Column(f"{setting} {number}", job.method.signed, maps)


def _methods(sheet: Sheet, job: "ExplanationJob", pictures: Sequence[Picture]) -> Iterator[Column]:
    """A column for each method that fits the network and does not take too long; the others are named."""
    rows = [METHODS[name] for name in sheet.methods] or [row for row in METHODS if row.kind == "picture"]
    for row in rows:
        if (row.cost_per or row.cost > DEAR) and not sheet.methods:
            price = f"{row.cost:g} forward{'' if row.cost == 1 else 's'}{f' a {row.cost_per}' if row.cost_per else ''}"
            log.info(f"left out of the sheet: {row.name}, which takes {price}; name it in --sheet to have it")
            continue
        settings = job.options.settings(row, job.network)
        try:
            other = replace(job, method=row, settings=settings)
            maps = _maps(other, pictures)
            if row.name != job.method.name:  # of its own maps it is said where they are written
                other.warn_incomplete(heatmap.completeness for heatmap in maps)
            yield Column(row.name, row.signed, maps)
        except NetworkError as error:
            log.info(f"left out of the sheet: {row.name}: {error}")


def _maps(job: "ExplanationJob", pictures: Sequence[Picture]) -> list[Heatmap]:
    return [heatmap for _, heatmap in job.heatmaps(pictures)]
