"""What a row of METRICS is, for the packages that have some."""

from dataclasses import dataclass

from regard.registry import Described

AUDITED = ("faithfulness", "localisation", "sanity", "reliance", "artifacts", "positions", "parts")
"""The kinds whose functions have arguments of their own and give arrays by picture, which an audit joins; all but
those of parts, for which scenes are drawn anew."""


@dataclass(frozen=True, repr=False)
class Metric(Described):
    """A row of METRICS: what a measure is and needs, as data alone."""

    name: str
    label: str  # on pages and in sentences
    kind: str  # "classification", "multilabel", "caption" or one of AUDITED
    target: str  # "module:function"
    description: str
    unit: str
    higher_is_better: bool
    range: tuple[float, float | None]  # None: no bound
    needs: tuple[
        str, ...
    ]  # of "labels", "confidence", "probabilities", "references", "scenes", "masks", "pycocoevalcap"
    source: str  # paper and equation
    cost: float = 0.0  # in plain forward passes a picture, beyond the predictions
