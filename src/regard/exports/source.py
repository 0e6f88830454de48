"""What is exported, opened once: the network, and what is known of it."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from regard.audit.verdicts import AGAIN, VERDICTS, model_digest
from regard.data.images.preparation import Preparation
from regard.errors import DataError, NetworkError
from regard.files import is_file, read_json, reading
from regard.measurement.classification import scoring
from regard.measurement.multilabel import scoring as several
from regard.networks.arguments import views_text
from regard.networks.load import load
from regard.networks.network import Network
from regard.networks.provenance import provenance
from regard.networks.run import run_of, task_of
from regard.networks.tasks import CAPTIONING, CLASSIFICATION, MULTILABEL
from regard.records import Audit, Evaluation, MultiLabelEvaluation, Verdict
from regard.results.audits import read_audit
from regard.results.evaluations import EVALUATION

log = logging.getLogger("regard")


@dataclass(frozen=True)
class ExportSource:
    """A network in float32 on the CPU, in evaluation mode, with what is known of it.

    `evaluation` is its run's stored score, None where it was never evaluated; `audit` the one that was given, and
    `verdicts` those that hold for this very network, of its run and of the audit.
    """

    model: Any
    network: Network
    evaluation: Evaluation | MultiLabelEvaluation | None = None
    audit: Audit | None = None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def run(self) -> Path | None:
        """The run folder that it was read from; None where it is a network of another kind."""
        return run_of(self.network)

    @property
    def name(self) -> str:
        """What it is called: its run's folder, or the network."""
        return self.network.name if self.run is None else self.run.resolve().name

    @property
    def task(self) -> str:
        return MULTILABEL if self.network.several_labels else CLASSIFICATION

    @property
    def preparation(self) -> Preparation:
        return self.network.preparation

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the outputs in their order; their indices where they have none."""
        return self.network.classes or tuple(map(str, range(self.network.outputs)))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where it came from, as any result says it, and `model`, the digest that verdicts are bound to."""
        about = provenance(self.network)
        return {**about, "model": model_digest(about)}

    def card(self, kind: str = "") -> str:
        """The model card: Markdown with the hub's front matter; `kind` is the row of EXPORTS that it lies beside."""
        from regard.exports.card import card

        return card(self, kind)


def open_source(
    model: Any,
    *,
    weights: str | Path | None = None,
    weights_part: str | None = None,
    size: int | None = None,
    audit: str | Path | None = None,
) -> ExportSource:
    """What `--model` takes, with its run's stored score and verdicts, and those of the folder of an `audit`.

    Raises `NetworkError` for a captioner, and `DataError` for an audit of another network.
    """
    run = run_of(model)
    if run is not None and task_of(run) == CAPTIONING:
        raise NetworkError(
            f"{model} is a captioner, and exports are of classifiers alone: no graph of one forward pass captions; "
            "share its run folder, which `regard caption` opens anywhere"
        )
    network = load(model, weights=weights, weights_part=weights_part, size=size, device="cpu")
    network.module.float().eval()
    source = ExportSource(model, network, _stored_evaluation(network))
    audit_record = None if audit is None else read_audit(audit)
    digest = source.provenance["model"]
    if audit_record is not None and model_digest(audit_record.provenance) != digest:
        raise DataError(
            f"{audit} is an audit of another network than {source.name} (other weights, or another preparation); give "
            f"one of this network: `regard audit DATA --model {model} --out FOLDER`"
        )
    verdicts = [*_stored_verdicts(source.run), *(() if audit_record is None else audit_record.verdicts)]
    verdicts = [each for place, each in enumerate(verdicts) if each.model == digest and each not in verdicts[:place]]
    return replace(source, audit=audit_record, verdicts=tuple(verdicts))


def _stored_evaluation(network: Network) -> Evaluation | MultiLabelEvaluation | None:
    """What its run scored; None, said, where the network is not as it was then, being loaded at another size."""
    run = run_of(network)
    if run is None or not (run / EVALUATION).is_dir():
        return None
    evaluation = several.stored_evaluation(run) if network.several_labels else scoring.stored_evaluation(run)
    about = provenance(network)
    if any(evaluation.provenance.get(name, about[name]) != about[name] for name in ("preparation", "weights_sha256")):
        log.info(f"the score stored in {run} is of other weights or another preparation, and is left out")
        return None
    # an export answers by one view, so that a score by several is not its own, and says so wherever it stands
    return replace(evaluation, note="; ".join(filter(None, (evaluation.note, views_text(evaluation.provenance)))))


def _stored_verdicts(run: Path | None) -> list[Verdict]:
    """All that audits left beside a run, of whatever network it was then."""
    path = None if run is None else run / VERDICTS
    if path is None or not is_file(path):
        return []
    stored = read_json(path, AGAIN, fields={"verdicts": list, "data": dict})
    with reading(path, AGAIN):
        return list(map(Verdict.from_json, stored["verdicts"]))
