"""What a card is about: the network, the run it comes from, and what is stored of its scores and its audit."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.data.splits import read_split
from regard.files import is_file, read_json, readable
from regard.measurement.classification.evaluation import evaluate
from regard.networks.sources.shipped import LICENCES
from regard.records import Audit, Evaluation, MultiLabelEvaluation, Predictions, Verdict
from regard.records.audits.verdicts import is_control
from regard.records.multilabel import SEPARATOR

if TYPE_CHECKING:
    from regard.exports.source import ExportSource

AnyEvaluation = Evaluation | MultiLabelEvaluation


@dataclass(frozen=True)
class Subject:
    """A network's facts as a card needs them: `counts` are pictures by split and class, `verdicts` those on maps that
    hold for this very network, the audit's own first; `audited` is the audit's scores, where its pictures had labels.
    """

    name: str
    classes: tuple[str, ...] | None
    several: bool
    architecture: str
    parameters: int
    preparation: Any
    digest: str
    provenance: Mapping[str, Any]
    edits: tuple[Mapping[str, Any], ...] = ()
    licence: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Counter[str]] = field(default_factory=dict)
    evaluation: AnyEvaluation | None = None
    audit: Audit | None = None
    audited: Evaluation | None = None
    verdicts: tuple[Verdict, ...] = ()

    @classmethod
    def of(cls, source: "ExportSource") -> "Subject":
        network = source.network
        run = source.run
        of_audit = () if source.audit is None else source.audit.on_maps
        others = [each for each in source.verdicts if each not in of_audit]
        return cls(
            bare(source.name),
            network.classes,
            network.several_labels,
            str(network.architecture["name"]),
            sum(each.numel() for each in network.module.parameters()),
            source.preparation,
            str(source.provenance["model"]),
            source.provenance,
            tuple(network.edits),
            LICENCES.get(str(source.model), ""),
            {} if run is None or not is_file(run / "recipe.json") else read_json(run / "recipe.json", "restore it"),
            _counts(run, network.several_labels),
            source.evaluation,
            source.audit,
            None if source.audit is None else _scores(source.audit),
            tuple(each for each in (*of_audit, *others) if not is_control(each.method)),
        )

    @property
    def start(self) -> str:
        """The network that training began with, without its folder; "" where that is not recorded."""
        model = str((self.recipe.get("arguments") or {}).get("model") or "")
        return model if not model or model.startswith("hf:") else bare(model)

    @property
    def scores(self) -> AnyEvaluation | None:
        """The scores that stand first: those of the run, else those of the audit."""
        return self.audited if self.evaluation is None else self.evaluation


def bare(path: object) -> str:
    """The last part of a path of any system, so that no folder of a machine is named."""
    return PurePath(PureWindowsPath(str(path)).as_posix().rstrip("/")).name or "network"


def _counts(run: Path | None, several: bool) -> dict[str, Counter[str]]:
    if run is None or not is_file(run / "split.csv"):
        return {}
    counts: dict[str, Counter[str]] = {}
    for row in read_split(run / "split.csv"):
        counts.setdefault(row.split, Counter()).update(row.label.split(SEPARATOR) if several else [row.label])
    return counts


def _scores(audit: Audit) -> Evaluation | None:
    """The scores of an audit's pictures, with every class and slice; None where none has a label."""
    rows = [each for each in audit.pictures if each.label]
    if not rows or not audit.classes:
        return None
    place = {text: index for index, name in enumerate(audit.classes) for text in (name, readable(name))}
    columns = sorted({column for each in rows for column in each.slices})
    predictions = Predictions(
        tuple(each.name for each in rows),
        audit.classes,
        np.array([place[each.predicted] for each in rows]),
        np.array([place[each.label] for each in rows]),
        slices={column: np.array([each.slices.get(column, "") for each in rows], np.str_) for column in columns},
        confidence=np.array([each.confidence for each in rows], np.float32),
    )
    evaluation = evaluate(predictions, note=audit.note)
    scores = {each.measure: each.score for each in audit.of("quality") if not each.subject}
    if audit.settings.get("group"):  # which pictures belong together is not stored: the audit's own intervals stand
        return replace(evaluation, scores=scores, per_class=(), slices=())
    return replace(evaluation, scores={**evaluation.scores, **scores})
