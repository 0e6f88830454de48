"""The front matter of a model card, as the hub reads it."""

import math
from collections.abc import Iterator
from typing import Any

from regard.exports.card.markdown import plain
from regard.exports.card.subject import Subject
from regard.measurement import METRICS

LIBRARIES = {"hf": "transformers", "timm": "timm", "onnx": "onnx", "web": "onnx", "pt2": "pytorch"}
"""By kind of export, what opens it; the run itself is opened by regard."""
HUB_NAMES = {"top1": "accuracy", "macro_f1": "f1", "macro_auroc": "roc_auc", "ece": "expected_calibration_error"}
"""What the hub calls measures that it knows by another name."""
MEASURES = ("top1", "balanced_accuracy", "macro_f1", "ece", "map", "exact_match")
TASK = "image-classification"


def front_matter(subject: Subject, kind: str) -> str:
    """The YAML between the dashes: a licence only where it is known, scores only where there are any."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [EvalResult(task_type=TASK, **each) for each in _results(subject)]
    fields: dict[str, Any] = {"license": subject.licence or None, "library_name": LIBRARIES.get(kind, "regard")}
    if subject.start.startswith("hf:"):
        fields["base_model"] = plain(subject.start[3:])
    audited = ["audited"] if subject.audit is not None or subject.verdicts else []
    tags = ["regard", "vision", "explainability", *audited]
    data = ModelCardData(
        pipeline_tag=TASK,
        tags=tags,
        model_name=plain(subject.name) if results else None,
        eval_results=results or None,
        **fields,
    )
    return f"---\n{data.to_yaml(original_order=['license', 'library_name', 'pipeline_tag', 'tags'])}\n---"


def _results(subject: Subject) -> Iterator[dict[str, Any]]:
    audit = "unknown data" if subject.audit is None else subject.audit.provenance.get("data_name", "unknown data")
    for evaluation, name, split in (
        (subject.evaluation, "pictures set aside from training", "validation"),
        (subject.audited, plain(audit), "audit"),
    ):
        for measure in MEASURES if evaluation is not None else ():
            score = evaluation.scores.get(measure) if evaluation is not None else None
            if evaluation is None or score is None or not math.isfinite(score.value):
                continue
            ends = f", 95 % interval {score.low:.3f} to {score.high:.3f}" if math.isfinite(score.low) else ""
            note = f", {plain(evaluation.note)}" if evaluation.note else ""
            yield {
                "dataset_type": "imagefolder",
                "dataset_name": name,
                "dataset_split": split,  # the hub's library takes results of one type and split as of one data set
                "metric_type": HUB_NAMES.get(measure, measure),
                "metric_value": round(float(score.value), 4),
                "metric_name": f"{METRICS[measure].label}, {evaluation.n} pictures{ends}{note}",
            }
