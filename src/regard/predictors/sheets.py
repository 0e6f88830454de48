"""`--sheet`: the maps of several methods, of all layers or of all heads, for the same pictures."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from regard.data.dataset import Picture
from regard.errors import NetworkError, UsageError, unknown
from regard.explanation import METHODS, Method
from regard.records import Heatmap

if TYPE_CHECKING:
    from regard.predictors.explainer import ExplanationJob

log = logging.getLogger("regard")

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


class SheetColumn(NamedTuple):
    """The maps under one title, and whether they have a sign."""

    title: str
    signed: bool
    maps: list[Heatmap]


def sheet_columns(sheet: Sheet, job: "ExplanationJob", pictures: Sequence[Picture]) -> list[SheetColumn]:
    """The maps of the pictures by each method, layer or head of the sheet."""
    return list((_methods if sheet.kind == "methods" else _numbered)(sheet, job, pictures))


def _numbered(sheet: Sheet, job: "ExplanationJob", pictures: Sequence[Picture]) -> Iterator[SheetColumn]:
    """A column for each layer or head, as many as the method says there are."""
    setting = sheet.kind.removesuffix("s")
    for number in range(MOST):
        try:
            maps = _maps(replace(job, settings={**job.settings, setting: number}), pictures)
        except UsageError:
            if number == 0:
                raise
            return  # this one does not exist: the last one did
        yield SheetColumn(f"{setting} {number}", job.method.signed, maps)


def _methods(sheet: Sheet, job: "ExplanationJob", pictures: Sequence[Picture]) -> Iterator[SheetColumn]:
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
            yield SheetColumn(row.name, row.signed, maps)
        except NetworkError as error:
            log.info(f"left out of the sheet: {row.name}: {error}")


def _maps(job: "ExplanationJob", pictures: Sequence[Picture]) -> list[Heatmap]:
    return [heatmap for _, heatmap in job.heatmaps(pictures)]
