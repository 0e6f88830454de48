"""The METRICS table: data alone, every target there, open to rows from outside."""

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import pytest

from regard.errors import UsageError
from regard.measurement import METRICS, RESERVED, Metric, find, register_metric
from regard.measurement.captions.captioned import Captioned
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.metric import AUDITED
from regard.measurement.multilabel.evaluation import evaluate as evaluate_labels
from regard.records import LabelPredictions, Predictions, Score
from regard.results.evaluations import as_json
from regard.results.multilabel import as_json as labels_json
from regard.scenes import Item, Scene

MINE = Metric(
    name="error_rate",
    label="Error rate",
    kind="classification",
    target=f"{__name__}:error_rate",
    description="share of wrong answers",
    unit="share",
    higher_is_better=False,
    range=(0, 1),
    needs=("labels",),
    source="none",
)


def error_rate(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Score:
    wrong = float(np.mean(predictions.predicted != predictions.labels))
    return Score(wrong, 0.0, 1.0, len(predictions))


def no_score(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> float:
    return 0.5


@pytest.fixture
def registered(request: pytest.FixtureRequest) -> Iterator[Metric]:
    row = replace(MINE, **getattr(request, "param", {}))
    register_metric(row)
    yield row
    del METRICS._rows[row.name]


def _predictions(probabilities: bool = True) -> Predictions:
    generator = np.random.default_rng(0)
    values = generator.dirichlet(np.ones(7), size=60).astype(np.float32)
    labels = generator.integers(7, size=60)
    names = tuple(f"{index}.jpg" for index in range(60))
    return Predictions(names, tuple("abcdefg"), values.argmax(1), labels, values if probabilities else None)


def test_importing_the_table_imports_nothing_heavy() -> None:
    code = (
        "import sys, regard.measurement as m; assert len(m.METRICS) > 5; "
        "print(*{'torch', 'sklearn', 'pandas', 'scipy', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


CLASSIFICATION = [row for row in METRICS if row.kind == "classification"]
MULTILABEL = [row for row in METRICS if row.kind == "multilabel"]
CAPTION = [row for row in METRICS if row.kind == "caption" and "references" in row.needs]
SCENES = [row for row in METRICS if row.needs == ("scenes",)]


def test_every_row_is_of_a_kind_that_is_tested() -> None:
    audited = [row for row in METRICS if row.kind in AUDITED]
    assert len(CLASSIFICATION) + len(MULTILABEL) + len(CAPTION) + len(SCENES) + len(audited) == len(METRICS)
    assert all(row.label and row.unit and (row.cost == 0 or row in audited) for row in METRICS)


def test_rows_of_an_audit_are_no_scores_of_predictions() -> None:
    """Each has its own arguments; nothing that calls a table's rows with predictions or captions may call them."""
    audited = {row.name for row in METRICS if row.kind in AUDITED}
    assert {"srg", "energy", "emprt", "background_reliance"} <= audited
    assert not audited & set(evaluate(_predictions(), resamples=20).scores)
    assert all(METRICS[name].range[0] in (-2, -1, 0) and callable(METRICS.load(name)) for name in audited)


def _label_predictions(right: bool = True) -> LabelPredictions:
    truth = np.arange(60)[:, None] % np.array([2, 3, 4]) == 0
    values = np.where(truth == right, 0.9, 0.2).astype(np.float32)
    return LabelPredictions(tuple(f"{index}.jpg" for index in range(60)), tuple("abc"), truth, values)


@pytest.mark.parametrize("row", MULTILABEL, ids=lambda row: row.name)
def test_every_row_of_several_labels_is_true_of_its_function(row: Metric) -> None:
    best, worst = (METRICS.load(row.name)(_label_predictions(right), seed=1, resamples=20) for right in (True, False))
    assert (best.value > worst.value) == row.higher_is_better and best.n == 60
    for score in (best, worst):
        assert row.range[0] <= score.low <= score.value <= score.high <= (row.range[1] or math.inf)
    assert row.description and row.source


@pytest.mark.parametrize("row", CAPTION, ids=lambda row: row.name)
def test_every_row_for_captions_is_true_of_its_function(row: Metric) -> None:
    texts = ("a red cat sleeps here", "the blue dog runs there", "one bird flies over it")
    names = ("a", "b", "c")
    references = {name: [text] for name, text in zip(names, texts, strict=True)}
    right, wrong = (
        Captioned.of(dict(zip(names, said, strict=True)), references) for said in (texts, (*texts[1:], texts[0]))
    )
    best, worst = (METRICS.load(row.name)(each, seed=1, resamples=20) for each in (right, wrong))
    assert METRICS.load(row.name).__name__ == row.name
    assert (best.value > worst.value) == row.higher_is_better
    assert row.range[0] <= worst.value <= best.value <= row.range[1] + 1e-9  # type: ignore[operator]
    assert row.description and row.source and best.n == 3


@pytest.mark.parametrize("row", SCENES, ids=lambda row: row.name)
def test_every_row_for_scenes_is_true_of_its_function(row: Metric) -> None:
    scene = Scene((Item("cat", "red", 0.5, 0.9, pose="sitting"),), ground="snow")
    texts = {"right": "one red cat sits in the snow", "wrong": "two blue dogs lie on the grass"}
    best, worst = (
        METRICS.load(row.name)(Captioned.of({"a": text}, {"a": [text]}, scenes={"a": scene}), resamples=20)
        for text in texts.values()
    )
    assert METRICS.load(row.name).__name__ == row.name
    assert (best.value, worst.value) == (1, 0)
    assert math.isnan(METRICS.load(row.name)(Captioned.of({"a": "..."}, {"a": ["b"]}, scenes={"a": scene})).value)
    assert row.higher_is_better and row.range == (0, 1) and row.description and row.source and best.n == 1


@pytest.mark.parametrize("row", CLASSIFICATION, ids=lambda row: row.name)
def test_every_row_is_true_of_its_function(row: Metric) -> None:
    score = METRICS.load(row.name)(_predictions(), seed=1, resamples=50)
    assert isinstance(score, Score)
    low, high = row.range[0], math.inf if row.range[1] is None else row.range[1]
    assert low <= score.low <= score.value <= score.high <= high
    assert score.n == 60
    assert row.description
    assert row.source
    missing = METRICS.load(row.name)(_predictions(probabilities=False), seed=1, resamples=50)
    assert math.isnan(missing.value) == bool({"probabilities", "confidence"} & set(row.needs))
    assert not any(isinstance(value, float) and not math.isfinite(value) for value in asdict(row).values())


@pytest.mark.parametrize("row", CLASSIFICATION, ids=lambda row: row.name)
def test_every_row_says_rightly_which_end_is_better(row: Metric) -> None:
    labels = np.arange(60) % 7
    sure = np.eye(7, dtype=np.float32)[labels] * 0.9 + 0.1 / 7
    right = Predictions(_predictions().names, tuple("abcdefg"), labels, labels, sure)
    bad = _predictions()
    best, worst = (METRICS.load(row.name)(each, resamples=20).value for each in (right, bad))
    assert (best > worst) == row.higher_is_better


def test_an_unknown_metric_offers_the_nearest() -> None:
    assert find("top1").name == "top1"
    with pytest.raises(UsageError, match="unknown metric 'balanced_acuracy'; did you mean 'balanced_accuracy'"):
        find("balanced_acuracy")


def test_a_registered_metric_shows_up_in_an_evaluation(registered: Metric) -> None:
    evaluation = evaluate(_predictions(), resamples=20)
    assert evaluation.scores["error_rate"].label == "Error rate"
    assert evaluation.scores["error_rate"].value == pytest.approx(1 - evaluation.scores["top1"].value)
    assert as_json(evaluation)["error_rate"]["high"] == 1.0


@pytest.mark.parametrize("registered", [{"kind": "perturbation"}, {"needs": ("masks",)}], indirect=True)
def test_a_metric_of_another_kind_or_need_does_not(registered: Metric) -> None:
    assert "error_rate" not in evaluate(_predictions(), resamples=20).scores


@pytest.mark.parametrize("registered", [{"target": f"{__name__}:no_score"}], indirect=True)
def test_a_metric_that_returns_no_score_is_named(registered: Metric) -> None:
    with pytest.raises(UsageError, match=r"metric 'error_rate' .* returned float; it must return a records.Score"):
        evaluate(_predictions(), resamples=20)


def test_names_that_an_evaluation_needs_itself_are_refused() -> None:
    content = {*as_json(evaluate(_predictions(), resamples=20)), *labels_json(evaluate_labels(_label_predictions()))}
    assert content - set(METRICS.names) == RESERVED
    with pytest.raises(UsageError, match="cannot be named 'n'"):
        register_metric(replace(MINE, name="n"))
    with pytest.raises(UsageError, match="exists already"):
        register_metric(replace(MINE, name="top1"))
