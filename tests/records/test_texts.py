"""Records print as people read them: every public one, in Python and in a notebook, is no dump of its fields."""

import re
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import torch
from audits import example_audit
from word_audits import example_word_audit

import regard
import regard.app.commands
import regard.records
from regard.audit.repair import RepairAudit
from regard.data.dataset import Dataset, Picture
from regard.data.label_sets import LabelSets
from regard.data.openers import BytesOpener
from regard.explanation.artifacts import Artifacts, BlockArtifacts, Observation, Repair, Trial
from regard.measurement.audits import compare_audits
from regard.measurement.classification.compare import compare
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.noninferiority import NotWorse
from regard.measurement.localisation.captions import CaptionScores
from regard.measurement.localisation.words import TrueWord, WordRow, WordScores
from regard.measurement.multilabel.compare import compare as compare_labels
from regard.measurement.multilabel.evaluation import evaluate as evaluate_labels
from regard.measurement.word_audits import compare_word_audits
from regard.records import (
    Caption,
    CaptionEvaluation,
    Captions,
    Classification,
    Completeness,
    Explanation,
    Exported,
    Heatmap,
    LabelPredictions,
    Mending,
    PairedMeasure,
    Parity,
    PatchGrid,
    Positions,
    Predictions,
    Score,
    Variant,
    Word,
)
from regard.records.captions import Focus, Peak, Step, WordDependence, WordSupport
from regard.records.display import MOST_LINES, Rows
from regard.records.quantised import Quantised, QuantisedMaps
from regard.records.removal import RemovalCurve
from regard.training.run import Run

MANY = 3 * MOST_LINES
THIRD = 1 / 3
LONG = re.compile(r"\d\.\d{4,}|array\(|tensor\(|PosixPath|object at 0x|=\(|=\{|\bnan\b")
"""What nobody wants to read: numbers that are not rounded, arrays, fields."""


def _predictions(shift: int = 0) -> Predictions:
    labels = np.arange(MANY) % 3
    probabilities = np.full((MANY, 3), THIRD / 2, np.float32)
    probabilities[np.arange(MANY), (labels + (np.arange(MANY) % 4 == shift)) % 3] = 2 * THIRD
    names = tuple(f"picture_{index:03d}.jpg" for index in range(MANY))
    sites = {"site": np.array([f"site {index % 40}" for index in range(MANY)])}
    predicted = probabilities.argmax(axis=1)
    return Predictions(names, ("cat", "dog", "eel"), predicted, labels, probabilities, slices=sites)


def _label_predictions() -> LabelPredictions:
    truth = (np.arange(MANY)[:, None] % np.array([2, 3, 5])) == 0
    values = np.random.default_rng(0).random((MANY, 3), np.float32)
    sites = {"site": np.array([f"site {index % 40}" for index in range(MANY)])}
    names = tuple(f"picture_{index:03d}.jpg" for index in range(MANY))
    return LabelPredictions(names, ("cat", "dog", "eel"), truth, values, slices=sites)


def _samples() -> list[Any]:
    """One of each, larger than a screen where it can be."""
    score = Score(THIRD, THIRD / 2, 2 * THIRD, MANY)
    evaluation = evaluate(_predictions(), threshold=0.25)
    comparison = compare({f"run {index}": _predictions(index % 4) for index in range(12)})
    grid = PatchGrid(14, 14, 5, (333, 500), (10 * THIRD, 0.0, 400 * THIRD, 333.0))
    sums = Completeness(22 * THIRD, THIRD, 21 * THIRD, THIRD, -THIRD)
    plain = Heatmap(np.full((14, 14), THIRD, np.float32), grid, "cat.jpg", (7, 3), predicted=7)
    heatmap = replace(plain, completeness=sums)
    dependence = WordDependence(THIRD, 2 * THIRD, THIRD, THIRD)
    support = WordSupport(THIRD, "noun", ("as likely without the picture",), "dog")
    word = Word("cat", THIRD, heatmap, "noun", -2 * THIRD, (0, 1), dependence, support=support)
    caption = Caption("cat.jpg", "a cat", (word,), grid=grid)
    blocks = tuple(BlockArtifacts(block, THIRD, THIRD, THIRD, 9.0, THIRD) for block in range(MANY))
    measured = Artifacts(blocks, 3, THIRD, THIRD, np.ones((3, 196), bool))
    trial = Trial(3, THIRD, THIRD, THIRD)
    repair = Repair(measured, ((3, 77),), (trial,) * MANY)
    not_worse = NotWorse(score, 0.01, "yes", THIRD)
    bases = ("", "_over_random", "_over_centre", "_over_shuffled")
    scores = {f"{measure}{base}": score for measure in ("pointing", "iou", "share") for base in bases}
    row = WordRow("noun", True, 7, 5, scores)
    words = WordScores((row,) * MANY, 7, 5, 2)
    quantised = Quantised.of(heatmap.values[None])
    picture = Picture("cat.jpg", BytesOpener("cat.jpg", b""), "cat", "val")
    explanation = Explanation((heatmap,) * MANY, "attention")
    captioned = CaptionEvaluation({"cider": score}, {"a.jpg": "a cat"}, {"a.jpg": ("a cat",)}, "selected on")
    truth = CaptionScores(words, 3)
    positions = Positions(np.full((2, 3, 2, 3), THIRD, np.float32), {"neighbours": THIRD}, tested={"neighbours": {
        "value": THIRD, "p": THIRD, "control": THIRD, "before": float("nan")}})  # fmt: skip
    audit = example_audit()
    of_words = example_word_audit()
    curve = RemovalCurve(3, "tokens", (THIRD,) * 11, (2 * THIRD,) * 11)
    seen = Observation(torch.ones(2, 3, 4, dtype=torch.bool), *[torch.full((2, 3, 4), THIRD)] * 3)
    paired = PairedMeasure("worst slice", *[score] * 6, where=("cat, ground=grass",) * 3)
    mending = Mending(("ground",), (paired,) * 4 + (replace(paired, slice=True),) * MANY, MANY, 7, 3, 10, THIRD)
    place = Path("results")
    labels = _label_predictions()
    several = evaluate_labels(labels)
    parity = (Parity("logits", THIRD * 1e-6, 1e-4),) * MANY
    exported = Exported(
        "onnx", place / "a.onnx", ("a.onnx",), parity, (Variant("int8", MANY, score, score),), ("a note",)
    )
    both = compare_labels({"a": labels, "b": replace(labels, probabilities=1 - labels.probabilities)})
    return [
        labels, several, several.per_label[0], several.slices[0], both, both.differences[0],
        LabelSets(Path("data"), "csv", (replace(picture, label="cat|dog"),), ("cat", "dog")),
        score, evaluation, evaluation.predictions, comparison, grid, heatmap, word, caption, measured, trial, repair,
        not_worse, row, words, quantised, picture, explanation, captioned, truth, positions, dependence, blocks[0],
        sums, comparison.classes[0], comparison.changes[0], comparison.slices[0],
        evaluation.per_class[0], evaluation.reliability[-1], evaluation.slices[0], comparison.runs[0],
        comparison.differences[0], Focus(THIRD, THIRD), Peak(1, 2, THIRD, (THIRD, 0.0, 20 * THIRD, 5.0)),
        Step(" cat", -THIRD, ((" dog", -2 * THIRD),)), Captions((caption,) * MANY), WordDependence(*[THIRD] * 4),
        support,
        Classification(evaluation.predictions.names, ("cat", "dog", "eel"), evaluation.predictions.probabilities),
        TrueWord("cat.jpg", "cat", "noun", True, heatmap, np.arange(6).reshape(2, 3) < 2),
        QuantisedMaps("cat.jpg", grid, {"cls": quantised}), Dataset(Path("data"), "folder", (picture,), ("cat",)),
        RepairAudit("the repair holds", repair, measured, measured, not_worse, THIRD, {"map": scores}),
        Run(place, "classify", evaluation, ("a note",)),
        compare_audits({"a": audit, "b": audit}), compare_audits({"a": audit, "b": audit}).differences[0],
        audit, audit.verdicts[0], audit.findings[0], audit.curves[0], audit.pictures[1], audit.best[0],
        exported, exported.parity[0], exported.variants[0], audit.failures[0], paired,
        of_words, of_words.words[0], of_words.claims[0], of_words.examples[0],
        compare_word_audits({"a": of_words, "b": of_words}),
        mending, curve, seen, *_results(place, evaluation, explanation, positions, truth),
    ]  # fmt: skip


def _results(place: Path, evaluation: Any, explanation: Any, positions: Any, truth: Any) -> Iterator[Any]:
    """What commands give back."""
    from regard.app.commands import audit, caption, demo, explain, predict, scenes, serve
    from regard.app.commands import evaluate as scoring
    from regard.app.commands import positions as positioning
    from regard.app.listing import Listing

    yield Listing("metrics", tuple({"name": f"metric {index}", "description": "what it is"} for index in range(MANY)))
    yield audit.AuditResult(example_audit(), place)
    yield scoring.Result(evaluation, "classify", place)
    yield explain.ExplainResult(explanation, MANY, 14, 14)
    yield predict.PredictResult(place, 1)
    yield positioning.PositionsResult((positions,) * 12, place)
    yield demo.DemoResult(place, evaluation)
    yield scenes.DrawnScenes(12, place)
    yield serve.Served("http://127.0.0.1:8000/", {"requests": MANY, "jobs": MANY, "restarts": 0})
    yield caption.Result(place, 3, 0, "scenes-captioner", {}, (("a.jpg", "a cat"),), truth)


SAMPLES = _samples()


def _public_records() -> Iterator[type]:
    """Every dataclass of `regard.records`, and what the functions of the package give back."""
    places = [module.name for module in iter_modules(regard.records.__path__, "regard.records.")]
    places += [module.name for module in iter_modules(regard.app.commands.__path__, "regard.app.commands.")]
    places += ["regard.explanation.artifacts", "regard.measurement.localisation.words", "regard.app.listing"]
    places += ["regard.measurement.localisation.captions", "regard.measurement.classification.noninferiority"]
    for place in places:
        for name, each in vars(import_module(place)).items():
            if is_dataclass(each) and isinstance(each, type) and each.__module__ == place and not name.startswith("_"):
                yield each
    yield from (RepairAudit, Run, Dataset, Picture)


@pytest.mark.parametrize("kind", [*_public_records()], ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_record_prints_as_people_read_it(kind: type) -> None:
    samples = [each for each in SAMPLES if type(each) is kind]
    assert samples, f"no sample of {kind.__name__}: add one to `_samples`"
    for sample in samples:
        for text in (str(sample), repr(sample)):
            assert text.strip() and not text.startswith(f"{kind.__name__}("), text
            assert len(text.splitlines()) <= MOST_LINES + 1, text
            assert not LONG.search(text), (LONG.search(text), text)


def test_rows_print_as_tables() -> None:
    evaluation = next(each for each in SAMPLES if isinstance(each, regard.records.Evaluation))
    head, *rows = repr(evaluation.per_class).splitlines()
    assert head.split() == [
        "class",
        "n",
        "recall",
        "precision",
        "f1",
        "auroc",
        "threshold",
        "sensitivity",
        "specificity",
    ]
    assert len(rows) == 3 and rows[0].startswith(f"cat    {MANY // 3}") and "[" in rows[0]
    places = {line.index("[") for line in rows}
    assert len(places) == 1  # below each other
    assert repr(evaluation.slices).splitlines()[-1] == f"… and {40 - MOST_LINES + 2} more"
    assert evaluation.per_class == tuple(evaluation.per_class) and repr(Rows()) == "()"
    comparison = next(each for each in SAMPLES if isinstance(each, regard.records.Comparison))
    assert repr(comparison.differences).splitlines()[0].split()[:3] == ["run", "minus", "top1"]


def test_tables_of_what_there_is_print_names() -> None:
    assert repr(regard.METRICS).startswith(f"{len(regard.METRICS)} rows of metrics: top1")
    assert repr(regard.METHODS["legrad"]).startswith("legrad: ")
