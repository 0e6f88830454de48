"""Scores of several labels a picture: cases by hand, slow twins from the definitions, intervals that hold."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from regard.errors import DataError, UsageError
from regard.measurement.classification.scores import auroc
from regard.measurement.multilabel import scores as measures
from regard.measurement.multilabel.compare import compare
from regard.measurement.multilabel.evaluation import evaluate
from regard.records import LabelPredictions
from regard.results.multilabel import as_json, read_label_predictions, write_labels


def answers(truth: np.ndarray, values: np.ndarray, **more: object) -> LabelPredictions:
    names = tuple(f"{row}.jpg" for row in range(len(truth)))
    classes = tuple(f"l{place}" for place in range(truth.shape[1]))
    return LabelPredictions(names, classes, truth.astype(bool), values.astype(np.float32), **more)  # type: ignore[arg-type]


def drawn(n: int = 80, labels: int = 4, seed: int = 0, gain: float = 1.5) -> LabelPredictions:
    random = np.random.default_rng(seed)
    truth = random.random((n, labels)) < np.geomspace(0.5, 0.15, labels)
    return answers(truth, expit(random.normal(-1, 1, (n, labels)) + gain * truth))


def slow_precision(values: np.ndarray, true: np.ndarray, weights: np.ndarray) -> float:
    """The mean, over pictures that have the label, of the precision among all that are ranked at least as high."""
    total = 0.0
    for row in np.flatnonzero(true):
        above = values >= values[row]
        total += weights[row] * (weights * true)[above].sum() / weights[above].sum()
    return float(total / (weights * true).sum())


BY_HAND = answers(
    np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 1]]),
    np.array([[0.9, 0.2, 0.9], [0.8, 0.6, 0.9], [0.7, 0.4, 0.9], [0.1, 0.1, 0.9]]),
)
"""Three labels of four pictures; all pictures have the last, so that nothing can be ranked there."""


def test_by_hand() -> None:
    """AP of the first: (1/1 + 2/3) / 2; of the second, ranked 1, 2, 0: (1/1 + 2/3) / 2."""
    evaluation = evaluate(BY_HAND)
    assert evaluation.undecided == ("l2",)
    assert [round(each.ap.value, 6) for each in evaluation.per_label[:2]] == [round(5 / 6, 6)] * 2
    assert math.isnan(evaluation.per_label[2].ap.value) and math.isnan(evaluation.per_label[2].f1.value)
    assert evaluation.scores["map"].value == pytest.approx(5 / 6)
    assert evaluation.baseline["map"] == 0.5
    assert evaluation.scores["label_auroc"].value == pytest.approx((0.75 + 0.75) / 2)
    assert evaluation.scores["exact_match"].value == 0.5  # the last two
    first, second, _ = evaluation.per_label
    assert (first.precision.value, first.recall.value) == (pytest.approx(2 / 3), 1.0)
    assert (second.missed, second.false, first.false) == ((0,), (), (1,))
    assert evaluation.mistakes == (0, 1)


def test_nothing_is_decided_where_all_or_none_have_a_label() -> None:
    evaluation = evaluate(answers(np.array([[1, 0], [1, 0]]), np.full((2, 2), 0.6)))
    assert evaluation.undecided == ("l0", "l1")
    assert "map" not in evaluation.scores and "label_auroc" not in evaluation.scores and not evaluation.baseline
    assert as_json(evaluation)["per_label"][0]["ap"] == {"value": None, "low": None, "high": None}


@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_precisions_are_those_of_the_definition_with_ties(seed: int, n: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    true = np.zeros(n, bool)
    true[random.permutation(n)[: random.integers(1, n)]] = True
    values = random.integers(0, levels, n) / levels
    value, pull = measures._precisions(values, true)
    assert value == pytest.approx(slow_precision(values, true, np.ones(n)))
    assert value == pytest.approx(average_precision_score(true, values))
    assert pull.sum() == pytest.approx(0, abs=1e-9)
    for row in range(n):
        step = 1e-6 * (np.arange(n) == row)
        slope = (slow_precision(values, true, 1 + step) - slow_precision(values, true, 1 - step)) / 2e-6
        assert pull[row] == pytest.approx(slope, abs=1e-6)


def test_means_are_sklearns() -> None:
    each = drawn()
    scores = evaluate(each).scores
    truth, values, given_ = each.truth, each.probabilities, each.answers
    assert scores["map"].value == pytest.approx(average_precision_score(truth, values, average="macro"))
    assert scores["map_micro"].value == pytest.approx(average_precision_score(truth, values, average="micro"))
    assert scores["label_auroc"].value == pytest.approx(roc_auc_score(truth, values, average="macro"))
    assert scores["label_f1"].value == pytest.approx(f1_score(truth, given_, average="macro"))
    assert scores["exact_match"].value == pytest.approx((truth == given_).all(1).mean())
    likely = np.where(truth, values, 1 - values).astype(np.float64)
    assert scores["label_nll"].value == pytest.approx(-np.log(likely).mean())
    assert scores["label_brier"].value == pytest.approx(((values - truth) ** 2).mean())
    assert auroc(values[:, 0], truth[:, 0]) == pytest.approx(evaluate(each).per_label[0].auroc.value)
    for name, score in scores.items():
        assert score.low <= score.value <= score.high and score.n == 80, name


def _weighted(each: LabelPredictions, place: int, weights: np.ndarray) -> np.ndarray:
    """(draws,) average precision of pictures that are there so many times (draws, pictures)."""
    order = np.argsort(-each.probabilities[:, place], kind="stable")
    true = each.truth[order, place]
    counts = weights[:, order]
    precision = np.cumsum(counts * true, axis=1) / np.maximum(np.cumsum(counts, axis=1), 1)
    return np.asarray((precision * counts * true).sum(axis=1) / (counts * true).sum(axis=1))


def test_the_interval_is_that_of_a_bootstrap_of_pictures_or_groups() -> None:
    each = drawn(400)
    groups = np.repeat(np.arange(50), 8).astype(np.str_)
    for units, which in ((np.arange(400), None), (np.repeat(np.arange(50), 8), groups)):
        count = units.max() + 1
        weights = np.random.default_rng(1).multinomial(count, np.full(count, 1 / count), 500)[:, units]  # (draws, 400)
        drawn_means = np.mean([_weighted(each, place, weights) for place in range(4)], axis=0)
        score = measures.mean_ap(replace(each, groups=which))
        assert (score.high - score.low) / 3.92 == pytest.approx(np.std(drawn_means), rel=0.2)


def test_a_mean_over_labels_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = measures.mean_ap(drawn(20_000, seed=1)).value
    held = [score.low <= truth <= score.high for score in (measures.mean_ap(drawn(seed=seed)) for seed in range(100))]
    assert 0.88 <= np.mean(held) <= 1


def test_another_threshold_changes_what_is_given_and_no_ranking() -> None:
    plain = evaluate(drawn())
    strict = evaluate(replace(drawn(), threshold=0.9))
    assert strict.scores["map"] == plain.scores["map"]
    assert strict.predictions.answers.sum() < plain.predictions.answers.sum()
    with pytest.raises(UsageError, match=r"threshold is 1\.5"):
        evaluate(replace(drawn(), threshold=1.5))


def test_slices_count_their_own_labels() -> None:
    truth = np.array([[1, 0], [0, 0], [1, 1], [1, 0]])
    each = answers(truth, np.abs(truth - 0.2), slices={"site": np.array(["a", "a", "b", "b"])})
    assert [(row.value, row.labels, row.map.value, row.n) for row in evaluate(each).slices] == [
        ("a", 1, 1.0, 2),
        ("b", 1, 1.0, 2),
    ]


def test_an_evaluation_comes_back_from_its_folder(tmp_path: Path) -> None:
    each = replace(drawn(), groups=np.repeat(np.arange(20), 4).astype(np.str_), threshold=0.4)
    write_labels(tmp_path, evaluate(each))
    again = evaluate(read_label_predictions(tmp_path, each.classes))
    assert again.scores == evaluate(each).scores and again.predictions.threshold == 0.4
    with pytest.raises(DataError, match="has the label 'l0', which is none"):
        read_label_predictions(tmp_path, ("x", "l1", "l2", "l3"))


def test_runs_side_by_side_are_paired() -> None:
    one = drawn(300)
    noise = np.random.default_rng(5).normal(0, 0.05, one.probabilities.shape)
    other = replace(one, probabilities=np.clip(one.probabilities + noise, 0, 1).astype(np.float32))
    comparison = compare({"one": one, "other": other, "worse": drawn(300, gain=0.3)})
    near, far = comparison.differences
    assert near.ap.value == pytest.approx(near.after.value - near.before.value)
    assert near.ap.high - near.ap.low < 0.5 * (near.before.high - near.before.low)  # as the pictures are the same
    assert near.ap.low < 0 < near.ap.high and far.ap.high < 0
    same = compare({"one": one, "same": one}).differences[0].ap
    assert same.value == 0 and 0 < same.high < 0.05 and same.low == -same.high
    shuffled = replace(
        one, classes=one.classes[::-1], truth=one.truth[:, ::-1], probabilities=one.probabilities[:, ::-1]
    )
    assert compare({"one": one, "shuffled": shuffled}).differences[0].ap.value == 0
    assert len(comparison.per_label) == 8 and "worse minus one" in comparison.text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"truth": ~drawn().truth}, "scored with different labels: 80 pictures"),
        ({"classes": ("l0", "l1", "l2", "x")}, r"other labels than the first run: 2 labels \('l3', 'x'\)"),
        ({"names": tuple("x" * row for row in range(1, 81))}, "scored on different pictures"),
        ({"probabilities": np.full((80, 4), 2, np.float32)}, "probabilities outside of 0 to 1"),
    ],
)
def test_runs_that_cannot_be_compared(change: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        compare({"one": drawn(), "other": replace(drawn(), **change)})  # type: ignore[arg-type]
