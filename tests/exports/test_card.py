"""The model card: what a stranger reads of a run that was audited, only evaluated, or never scored."""

import ast
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from audits import example_audit, score
from huggingface_hub import ModelCard

from regard.exports.card import card
from regard.exports.card.trust import FLIPS
from regard.exports.source import ExportSource, open_source
from regard.measurement.multilabel.evaluation import evaluate
from regard.records import Audit, Finding, LabelPredictions

STORED = Path(__file__).parents[1] / "stored"
EVIL = "<script>alert(1)</script>|`*b*`](x)\nhttps://example.org"


@pytest.fixture(scope="module")
def source() -> ExportSource:
    """A run with its scores, from an earlier version."""
    return open_source(str(STORED / "finetune"))


def audit_of(source: ExportSource, *more: Finding, **changes: Any) -> Audit:
    """An audit as one of this network might come out."""
    audit = example_audit()
    origin = {"regard": "0.1.0", "torch": "2.9", "model": source.provenance["model"], "data": "77", "data_name": "pets"}
    verdicts = tuple(replace(each, model=source.provenance["model"]) for each in audit.verdicts)
    flips = Finding("reliance", "flips", "", score(0.02, 0.01), condition=FLIPS)
    findings = (*more, *audit.findings, flips)
    return replace(audit, provenance=origin, verdicts=verdicts, findings=findings, **changes)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def parsed(text: str) -> Any:
    """The front matter as the hub's own library reads it, which raises for what is amiss."""
    return ModelCard(text, ignore_metadata_errors=False).data


def test_an_audited_run_says_what_it_is_right_on_relies_on_and_which_map_to_believe(source: ExportSource) -> None:
    text = replace(source, audit=audit_of(source)).card("hf")
    data = parsed(text)
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "image-classification", None)
    top1 = source.evaluation.scores["top1"].value  # type: ignore[union-attr]
    results = {(each.dataset_name, each.metric_type): each for each in data.eval_results}
    assert results["pictures set aside from training", "accuracy"].metric_value == pytest.approx(top1, abs=1e-4)
    assert "95 % interval" in results["pets", "accuracy"].metric_name
    short = section(text, "In short")
    assert "evaluated, audited" in short
    assert "`rollout`; not those of `gradcam` and" in short
    assert "not known of `attention`." in short
    relies = section(text, "What it relies on")
    assert "**It relies on the background**" in relies
    assert "costs 8 points [2, 14] of accuracy" in relies
    assert "2 % [1, 3] of its answers change" in relies
    maps = section(text, "Which map of it to believe")
    assert "| `libra_fullgrad_plus` |" in maps
    assert "**believe it** (supported)" in maps
    assert "`random` is contradicted" in maps
    assert "| blur, strong | 54 % [46, 62] | 84 % [76, 92] | **worse** |" in section(text, "Where it is fooled")
    unknown = section(text, "What was not decided or not measured")
    assert "maps of `attention` can be believed" in unknown
    assert "Not measured: ceiling" in unknown
    limits = section(text, "What not to use it for")
    assert "other backgrounds" in limits
    assert "blur, strong" in limits
    assert source.provenance["weights_sha256"] in section(text, "Where this comes from")


def test_worse_pictures_are_held_against_the_same_as_they_are(source: ExportSource) -> None:
    """Paired by picture: intervals that meet can be of a loss that is certain."""
    pictures = tuple(
        replace(each, numbers={"robustness:blur 0": float(each.right is True and place % 5 > 0)})
        for place, each in enumerate(example_audit().pictures)
    )
    text = replace(source, audit=audit_of(source, pictures=pictures)).card()
    assert "| blur, weak | 82 % [74, 90] | 84 % [76, 92] | **worse** |" in section(text, "Where it is fooled")


def test_a_run_that_was_only_evaluated_says_that_nothing_else_is_known(source: ExportSource) -> None:
    text = source.card()
    assert parsed(text).library_name == "regard"
    assert "evaluated, never audited" in section(text, "In short")
    for title in ("What it relies on", "Which map of it to believe", "Where it is fooled"):
        assert "**Not measured" in section(text, title), title
    assert "Show none as a reason" in section(text, "Which map of it to believe")
    right = section(text, "How often it is right")
    evaluation = source.evaluation
    assert evaluation is not None
    assert f"On **{evaluation.n} pictures** set aside" in right
    assert str(evaluation.scores["top1"]) in right
    classes = section(text, "Each class")
    assert all(f"`{name}`" in classes for name in source.classes)
    assert re.search(r"\| `cat` \| \d+ \| \d+ \|", classes), "trained on, and scored on"


def test_a_network_that_was_never_evaluated_says_so() -> None:
    text = open_source("random:test_vit", size=32).card("timm")
    assert parsed(text).eval_results is None
    assert "model-index" not in text
    assert "never evaluated, never audited" in section(text, "In short")
    assert "**Never measured.**" in section(text, "How often it is right")
    assert "Not recorded" in section(text, "What it was trained on")
    assert "was never measured" in section(text, "What not to use it for")


def test_an_audit_alone_gives_the_scores_of_a_network_that_has_none() -> None:
    source = open_source("pets-tiny")
    text = replace(source, audit=audit_of(source)).card("onnx")
    data = parsed(text)
    assert data.license == "apache-2.0", "that of a shipped network is known"
    assert {each.dataset_name for each in data.eval_results} == {"pets"}
    assert "On **74 pictures** of `pets`, when it was audited" in section(text, "How often it is right")


def test_verdicts_beside_a_run_are_told_without_the_rest_of_their_audit(source: ExportSource) -> None:
    verdicts = audit_of(source).verdicts
    text = replace(source, verdicts=verdicts).card()
    assert "its maps audited, the rest not" in section(text, "In short")
    assert "| `rollout` |" in section(text, "Which map of it to believe")
    assert "only the verdicts on maps are here" in section(text, "What was not decided or not measured")
    assert "edges" not in section(text, "Which map of it to believe").split("- ")[0].replace("control, edges", "")


@pytest.mark.parametrize(
    ("lost", "flips", "words"),
    [
        (0.0, 0.7, "Most of its answers are those of the background"),
        (0.0, 0.3, "answers change with the background"),
        (0.0, 0.02, "hardly relies"),
    ],
)
def test_what_it_relies_on_follows_the_rules_of_the_audit(
    source: ExportSource, lost: float, flips: float, words: str
) -> None:
    findings = (
        Finding("reliance", "background_reliance", "", score(lost, 0.02)),
        Finding("reliance", "flips", "", score(flips, 0.02), condition=FLIPS),
    )
    text = replace(source, audit=audit_of(source, *findings)).card()
    assert words in section(text, "What it relies on")


def test_names_are_no_markup_and_no_folder_of_a_machine_is_named(source: ExportSource) -> None:
    import markdown

    network = replace(source.network, classes=(EVIL, *source.classes[1:]), name=EVIL, folder=None)
    source = ExportSource(source.model, network, source.evaluation)
    pictures = tuple(replace(each, name=f"patient_{index}.jpg") for index, each in enumerate(example_audit().pictures))
    note = audit_of(source, pictures=pictures, skipped={EVIL: EVIL}, note=EVIL)
    note = replace(note, provenance={**note.provenance, "data_name": EVIL})
    text = replace(source, audit=note).card()
    assert isinstance(parsed(text).to_dict(), dict)
    html = markdown.markdown(text.split("---\n", 2)[2], extensions=["tables", "fenced_code"])
    assert "<script" not in html
    assert "<b>" not in html
    assert "<a " not in html
    assert "patient_" not in text, "a picture's name can say who is on it"
    for kind in ("/home/me/secret/net.pth", r"C:\Users\me\secret\net.pth"):
        run = SimpleNamespace(recipe={"recipe": "finetune", "arguments": {"model": kind, "weights": kind}})
        from regard.exports.card.subject import Subject

        subject = replace(Subject.of(source), recipe=run.recipe)
        from regard.exports.card.origin import training_section

        assert subject.start == "net.pth"
        assert "secret" not in training_section(subject)


def test_several_labels_have_a_card_too(source: ExportSource) -> None:
    truth = np.array([[True, False], [False, True], [True, True]])
    values = np.array([[0.9, 0.2], [0.6, 0.7], [0.8, 0.9]], np.float32)
    evaluation = evaluate(LabelPredictions(("a", "b", "c"), ("cat", "dog"), truth, values))
    network = replace(source.network, multilabel=True, classes=("cat", "dog"))
    text = card(replace(source, network=network, evaluation=evaluation))
    assert "any number of 2 labels" in text
    assert {each.metric_type for each in parsed(text).eval_results} == {"map", "exact_match"}
    assert "a probability for each label" in text
    assert "softmax(" not in section(card(replace(source, network=network), "timm"), "How to use it")


@pytest.mark.parametrize("kind", ["", "hf", "timm", "onnx", "pt2", "web"])
def test_the_code_of_each_kind_is_python(source: ExportSource, kind: str) -> None:
    use = section(source.card(kind), "How to use it")
    for block in re.findall(r"```python\n(.*?)```", use, re.DOTALL):
        ast.parse(block)
    assert ("```python" in use) != (kind == "web")
    assert ("no audit of this network has tested" in use) == (kind in ("onnx", "web"))
    verdict = replace(example_audit().verdicts[0], method="direct_logit", model=source.provenance["model"])
    believed = section(replace(source, verdicts=(verdict,)).card(kind), "How to use it")
    assert ("`direct_logit`: **believe it** (supported)" in believed) == (kind in ("onnx", "web"))


def scored_as(folder: Path, **facts: Any) -> ExportSource:
    """A run whose stored score says that it came about in another way."""
    run = folder / "run"
    shutil.copytree(STORED / "finetune", run)
    manifest = run / "evaluation" / "manifest.json"
    about = json.loads(manifest.read_text())
    about["provenance"].update(facts)
    manifest.write_text(json.dumps(about))
    return open_source(str(run))


def test_a_score_of_other_weights_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert scored_as(tmp_path, weights_sha256="0" * 64).evaluation is None
    assert "is of other weights or another preparation, and is left out" in caplog.text


def test_a_score_by_several_views_is_not_told_as_the_networks_own(tmp_path: Path) -> None:
    text = scored_as(tmp_path, tta={"name": "flip", "views": 2, "mean": "probabilities"}).card("hf")
    views = "by 2 views of each picture (flip), the mean of their probabilities"
    assert views in section(text, "In short").replace("\\", "")
    assert f"The answers are {views}; of one view" in section(text, "How often it is right").replace("\\", "")
    assert all(views in each.metric_name for each in parsed(text).eval_results)
