"""Measures: one plain function each, and one row each in METRICS; importing this loads none of them.

A metric of kind `classification` is called as `metric(predictions, seed=0, resamples=2000)` with a
`records.Predictions` and returns a `records.Score`; its value is NaN where it is not defined, and `evaluate` then
leaves it out. Every registered row of that kind appears in `Evaluation.scores` under its name. One of kind `caption`
is called likewise with a `captions.captioned.Captioned`. `measure.measure` calls all rows of a kind.
"""

from dataclasses import dataclass

from regard.errors import UsageError
from regard.registry import Described, Table

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


@dataclass(frozen=True, repr=False)
class Metric(Described):
    """A row of METRICS: what a measure is and needs, as data alone."""

    name: str
    label: str  # on pages and in sentences
    kind: str  # "classification" or "caption"
    target: str  # "module:function"
    description: str
    unit: str
    higher_is_better: bool
    range: tuple[float, float | None]  # None: no bound
    needs: tuple[str, ...]  # of "labels", "confidence", "probabilities", "references", "scenes", "pycocoevalcap"
    source: str  # paper and equation
    cost: float = 0.0  # in plain forward passes a picture, beyond the predictions


METRICS = Table(
    "metric",
    (
        Metric(
            name="top1",
            label="Accuracy",
            kind="classification",
            target="regard.measurement.classification.scores:top1",
            description="share of pictures whose predicted class is the true one",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels",),
            source="interval: Wilson 1927, as eq. 4 of Brown, Cai and DasGupta 2001; by group: Korn and Graubard 1998",
        ),
        Metric(
            name="balanced_accuracy",
            label="Balanced accuracy",
            kind="classification",
            target="regard.measurement.classification.scores:balanced_accuracy",
            description="mean of the classes' recall: small classes count as much as large ones",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels",),
            source="Brodersen et al. 2010, section II; interval: Wilson's of as many pictures as tell as much",
        ),
        Metric(
            name="top5",
            label="Top-5 accuracy",
            kind="classification",
            target="regard.measurement.classification.scores:top5",
            description="share of pictures whose true class is among the five most probable; of more than five classes",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels", "probabilities"),
            source="Russakovsky et al. 2015 (arXiv 1409.0575), section 4.1; interval as top1",
        ),
        Metric(
            name="macro_f1",
            label="Macro F1",
            kind="classification",
            target="regard.measurement.classification.scores:macro_f1",
            description="mean over classes of F1, the harmonic mean of precision and recall",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels",),
            source="Opitz and Burst 2019 (arXiv 1911.03347), eq. 1; interval as balanced_accuracy",
        ),
        Metric(
            name="macro_auroc",
            label="AUROC",
            kind="classification",
            target="regard.measurement.classification.scores:macro_auroc",
            description="mean area under the ROC curve, each class against the rest; chance is 0.5",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("labels", "probabilities"),
            source="Hanley and McNeil 1982; interval: DeLong et al. 1988, Satterthwaite 1946, Obuchowski 1997",
        ),
        Metric(
            name="ece",
            label="Calibration error",
            kind="classification",
            target="regard.measurement.classification.scores:ece",
            description="expected calibration error, 15 bins of equal width: how far confidence is from accuracy",
            unit="share",
            higher_is_better=False,
            range=(0, 1),
            needs=("labels", "confidence"),
            source="Guo et al. 2017 (arXiv 1706.04599), eq. 3; interval: test inversion, Cornish and Fisher 1938",
        ),
        Metric(
            name="nll",
            label="Log loss",
            kind="classification",
            target="regard.measurement.classification.scores:nll",
            description="mean negative log-likelihood of the true class, in nats",
            unit="nats",
            higher_is_better=False,
            range=(0, None),
            needs=("labels", "probabilities"),
            source="Guo et al. 2017 (arXiv 1706.04599), eq. 4; interval: Hall 1992",
        ),
        Metric(
            name="brier",
            label="Brier score",
            kind="classification",
            target="regard.measurement.classification.scores:brier",
            description="mean squared error of the probabilities, summed over classes",
            unit="squared error",
            higher_is_better=False,
            range=(0, 2),
            needs=("labels", "probabilities"),
            source="Brier 1950, eq. 2; interval: Hall 1992",
        ),
        Metric(
            name="true_words",
            label="words that are true",
            kind="caption",
            target="regard.measurement.captions.true_words:true_words",
            description="share of the content words in captions of drawn scenes that are true of the scene",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("scenes",),
            source="interval: jackknife over pictures or groups, and Hall 1992",
        ),
        Metric(
            name="true_noun",
            label="nouns that are true",
            kind="caption",
            target="regard.measurement.captions.true_words:true_noun",
            description="share of the nouns in captions of drawn scenes that are true of the scene",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("scenes",),
            source="as true_words",
        ),
        Metric(
            name="true_adjective",
            label="adjectives that are true",
            kind="caption",
            target="regard.measurement.captions.true_words:true_adjective",
            description="share of the adjectives in captions of drawn scenes that are true of the scene",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("scenes",),
            source="as true_words",
        ),
        Metric(
            name="true_verb",
            label="verbs that are true",
            kind="caption",
            target="regard.measurement.captions.true_words:true_verb",
            description="share of the verbs in captions of drawn scenes that are true of the scene",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("scenes",),
            source="as true_words",
        ),
        Metric(
            name="true_relation",
            label="relations that are true",
            kind="caption",
            target="regard.measurement.captions.true_words:true_relation",
            description="share of the relations in captions of drawn scenes that are true of the scene",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("scenes",),
            source="as true_words",
        ),
        Metric(
            name="true_count",
            label="counts that are true",
            kind="caption",
            target="regard.measurement.captions.true_words:true_count",
            description="share of the counts in captions of drawn scenes that are true of the scene",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("scenes",),
            source="as true_words",
        ),
        Metric(
            name="bleu_1",
            label="BLEU-1",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_1",
            description="BLEU of single words: the share that a reference has too, less where captions are too short",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("references", "pycocoevalcap"),
            source="Papineni et al. 2002, section 2.3; interval: jackknife of the counts of n-grams, and Hall 1992",
        ),
        Metric(
            name="bleu_2",
            label="BLEU-2",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_2",
            description="BLEU of words and pairs of them",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("references", "pycocoevalcap"),
            source="as bleu_1",
        ),
        Metric(
            name="bleu_3",
            label="BLEU-3",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_3",
            description="BLEU of up to three words in a row",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("references", "pycocoevalcap"),
            source="as bleu_1",
        ),
        Metric(
            name="bleu_4",
            label="BLEU-4",
            kind="caption",
            target="regard.measurement.captions.scores:bleu_4",
            description="BLEU of up to four words in a row",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("references", "pycocoevalcap"),
            source="as bleu_1",
        ),
        Metric(
            name="rouge_l",
            label="ROUGE-L",
            kind="caption",
            target="regard.measurement.captions.scores:rouge_l",
            description="longest common subsequence with the references, as an F-measure with β = 1.2",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("references", "pycocoevalcap"),
            source="Lin 2004, eq. 2 to 4; interval: Hall 1992",
        ),
        Metric(
            name="cider",
            label="CIDEr",
            kind="caption",
            target="regard.measurement.captions.scores:cider",
            description="CIDEr-D: how alike the n-grams are to the references', rare ones counting more",
            unit="points of 10",
            higher_is_better=True,
            range=(0, 10),
            needs=("references", "pycocoevalcap"),
            source="Vedantam et al. 2015 (arXiv 1411.5726); interval: Hall 1992",
        ),
        Metric(
            name="exact",
            label="exact match",
            kind="caption",
            target="regard.measurement.captions.scores:exact",
            description="share of captions that are, word for word, one of the references",
            unit="share",
            higher_is_better=True,
            range=(0, 1),
            needs=("references",),
            source="interval as top1",
        ),
    ),
    group="regard.metrics",
    hint="`regard metrics` lists them.",
)

find = METRICS.__getitem__


def register_metric(row: Metric) -> None:
    """Add a row to METRICS. Raises `UsageError` when its name is taken or its target is not "module:function"."""
    if row.name in RESERVED:
        raise UsageError(
            f"a metric cannot be named {row.name!r}: an evaluation's JSON has other content there; choose another name"
        )
    METRICS.register(row)
