"""Measures: one plain function each, and one row each in METRICS; importing this loads none of them.

A metric of kind `classification` is called as `metric(predictions, seed=0, resamples=2000)` with a
`records.Predictions` and returns a `records.Score`; its value is NaN where it is not defined, and `evaluate` then
leaves it out. Every registered row of that kind appears in `Evaluation.scores` under its name. One of kind `caption`
is called likewise with a `captions.Captioned`.
"""

from dataclasses import dataclass

from regard.errors import UsageError
from regard.registry import Table

RESERVED = frozenset(
    [
        "n",
        "note",
        "classes",
        "confusion",
        "per_class",
        "reliability",
        "slices",
        "worst_slice",
        "mistakes",
        "uncertain",
        "suspects",
        "provenance",
    ]
)
"""What an evaluation's JSON holds beside the scores; no metric can go by such a name."""


@dataclass(frozen=True)
class Metric:
    """A row of METRICS: what a measure is and needs, as data alone."""

    name: str
    kind: str  # "classification" or "caption"
    target: str  # "module:function"
    description: str
    higher_is_better: bool
    range: tuple[float, float | None]  # None: no bound
    needs: tuple[str, ...]  # of "labels", "confidence", "probabilities", "groups", "references"
    source: str  # paper and equation


METRICS = Table(
    "metric",
    (
        Metric(
            name="top1",
            kind="classification",
            target="regard.measurement.classification.scores:top1",
            description="accuracy: share of pictures whose predicted class is the true one",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels",),
            source="interval: Wilson 1927, as eq. 4 of Brown, Cai and DasGupta 2001; by group: cluster bootstrap",
        ),
        Metric(
            name="balanced_accuracy",
            kind="classification",
            target="regard.measurement.classification.scores:balanced_accuracy",
            description="mean of the classes' recall: small classes count as much as large ones",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels",),
            source="Brodersen et al. 2010, section II; interval: bootstrap within classes, or by group",
        ),
        Metric(
            name="top5",
            kind="classification",
            target="regard.measurement.classification.scores:top5",
            description="share of pictures whose true class is among the five most probable; of more than five classes",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels", "probabilities"),
            source="Russakovsky et al. 2015 (arXiv 1409.0575), section 4.1; interval as top1",
        ),
        Metric(
            name="macro_f1",
            kind="classification",
            target="regard.measurement.classification.scores:macro_f1",
            description="mean over classes of F1, the harmonic mean of precision and recall",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels",),
            source="Opitz and Burst 2019 (arXiv 1911.03347), eq. 1; interval: bootstrap within classes, or by group",
        ),
        Metric(
            name="macro_auroc",
            kind="classification",
            target="regard.measurement.classification.scores:macro_auroc",
            description="mean area under the ROC curve, each class against the rest; chance is 0.5",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels", "probabilities"),
            source="Hanley and McNeil 1982; interval: DeLong et al. 1988, eq. 3 to 6, by group as Obuchowski 1997",
        ),
        Metric(
            name="ece",
            kind="classification",
            target="regard.measurement.classification.scores:ece",
            description="expected calibration error, 15 bins of equal width: how far confidence is from accuracy",
            higher_is_better=False,
            range=(0, 1),
            needs=("labels", "confidence"),
            source="Guo et al. 2017 (arXiv 1706.04599), eq. 3; interval: basic bootstrap",
        ),
        Metric(
            name="nll",
            kind="classification",
            target="regard.measurement.classification.scores:nll",
            description="mean negative log-likelihood of the true class, in nats",
            higher_is_better=False,
            range=(0, None),
            needs=("labels", "probabilities"),
            source="Guo et al. 2017 (arXiv 1706.04599), eq. 4; interval: bootstrap",
        ),
        Metric(
            name="brier",
            kind="classification",
            target="regard.measurement.classification.scores:brier",
            description="mean squared error of the probabilities, summed over classes",
            higher_is_better=False,
            range=(0, 2),
            needs=("labels", "probabilities"),
            source="Brier 1950, eq. 2; interval: bootstrap",
        ),
        Metric(
            name="bleu_1",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_1",
            description="BLEU of single words: the share that a reference has too, less where captions are too short",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="Papineni et al. 2002, section 2.3; interval: bootstrap of the counts of n-grams, or by group",
        ),
        Metric(
            name="bleu_2",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_2",
            description="BLEU of words and pairs of them",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="as bleu_1",
        ),
        Metric(
            name="bleu_3",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_3",
            description="BLEU of up to three words in a row",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="as bleu_1",
        ),
        Metric(
            name="bleu_4",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_4",
            description="BLEU of up to four words in a row",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="as bleu_1",
        ),
        Metric(
            name="rouge_l",
            kind="caption",
            target="regard.measurement.captions.scores:rouge_l",
            description="longest common subsequence with the references, as an F-measure with β = 1.2",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="Lin 2004, eq. 2 to 4; interval: bootstrap, or by group",
        ),
        Metric(
            name="cider",
            kind="caption",
            target="regard.measurement.captions.scores:cider",
            description="CIDEr-D: how alike the n-grams are to the references', rare ones counting more",
            higher_is_better=True,
            range=(0, 10),
            needs=("references",),
            source="Vedantam et al. 2015 (arXiv 1411.5726); interval: bootstrap, or by group",
        ),
        Metric(
            name="exact",
            kind="caption",
            target="regard.measurement.captions.scores:exact",
            description="share of captions that are, word for word, one of the references",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="interval as top1",
        ),
    ),
    group="regard.metrics",
)

find = METRICS.__getitem__


def register_metric(row: Metric) -> None:
    """Add a row to METRICS. Raises `UsageError` when its name is taken or its target is not "module:function"."""
    if row.name in RESERVED:
        raise UsageError(
            f"a metric cannot be named {row.name!r}: an evaluation's JSON has other content there; choose another name"
        )
    METRICS.register(row)
