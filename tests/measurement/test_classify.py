"""Scores of classifiers: cases solved by hand, slow twins, scikit-learn where it has the same, and what is odd."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit
from sklearn import metrics as sk

from regard.errors import DataError, UsageError
from regard.measurement import METRICS
from regard.measurement.classification import scores
from regard.measurement.classification.evaluation import evaluate, margins, suspects
from regard.measurement.intervals import wilson
from regard.records import Evaluation, Predictions
from regard.results.evaluations import as_json, worst_slice


def _made(labels: Any, probabilities: Any = None, predicted: Any = None, classes: str = "", **more: Any) -> Predictions:
    labels = np.asarray(labels, np.int64)
    values = None if probabilities is None else np.asarray(probabilities, np.float32)
    said = values.argmax(1) if predicted is None and values is not None else np.asarray(predicted, np.int64)
    count = len(classes) or (int(max(labels.max(), said.max())) + 1 if values is None else values.shape[1])
    named = tuple(classes) or tuple(f"class {index}" for index in range(count))
    return Predictions(tuple(f"{index}.jpg" for index in range(len(labels))), named, said, labels, values, **more)


def _random(seed: int, n: int = 200, classes: int = 6, decimals: int = 2) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=n)
    logits = generator.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1.5
    values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    values = np.round(values, decimals) + 1e-3  # so that there are ties
    return _made(labels, values / values.sum(1, keepdims=True))


def _names(*needs: str) -> set[str]:
    """The classification rows of METRICS that need nothing else."""
    return {row.name for row in METRICS if row.kind == "classification" and set(row.needs) <= set(needs)}


def _quick(predictions: Predictions, **settings: Any) -> Evaluation:
    return evaluate(predictions, resamples=settings.pop("resamples", 30), **settings)


HAND = _made(
    [0, 0, 0, 1, 1, 2],
    [[0.75, 0.25, 0], [0.5, 0.25, 0.25], [0.25, 0.75, 0], [0, 1, 0], [0.5, 0.5, 0], [0.25, 0.5, 0.25]],
)
"""Predicted 0 0 1 1 0 1: confusion [[2, 1, 0], [1, 1, 0], [0, 1, 0]]."""


def test_six_pictures_by_hand() -> None:
    evaluation = _quick(HAND)
    value = {name: score.value for name, score in evaluation.scores.items()}
    np.testing.assert_array_equal(evaluation.confusion, [[2, 1, 0], [1, 1, 0], [0, 1, 0]])
    assert value["top1"] == 3 / 6
    assert value["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert value["macro_f1"] == pytest.approx((4 / 6 + 2 / 5 + 0) / 3)
    assert value["nll"] == pytest.approx(-np.log([0.75, 0.5, 0.25, 1, 0.5, 0.25]).mean())
    squares = [0.0625 * 2, 0.25 + 0.0625 * 2, 0.5625 * 2, 0, 0.5, 0.0625 + 0.25 + 0.5625]
    assert value["brier"] == pytest.approx(np.mean(squares))
    # confidences 0.75 0.5 0.75 1 0.5 0.5; right 1 1 0 1 0 0: bins of 0.5 (3), of 0.75 (2) and of 1 (1)
    assert value["ece"] == pytest.approx(3 / 6 * abs(1 / 3 - 0.5) + 2 / 6 * abs(1 / 2 - 0.75) + 0)
    # class 0: 0.75 0.5 0.25 against 0 0.5 0.25: 3 + 2.5 + 1.5 of 9 pairs; class 1: 1 0.5 against 0.25 0.25 0.75 0.5
    areas = [7 / 9, (4 + 2.5) / 8, (3 + 1 + 0.5 * 0 + 0.5) / 5]
    assert [each.auroc for each in evaluation.per_class] == pytest.approx([7 / 9, 6.5 / 8, 4.5 / 5])
    assert value["macro_auroc"] == pytest.approx(np.mean(areas))
    assert "top5" not in value
    assert evaluation.n == 6


def test_classes_by_hand() -> None:
    first, _, last = _quick(HAND).per_class
    assert (first.name, first.n, first.f1) == ("class 0", 3, pytest.approx(4 / 6))
    assert (first.precision.value, first.precision.n) == (pytest.approx(2 / 3), 3)
    assert (first.recall.low, first.recall.high) == wilson(2, 3)
    assert first.sensitivity == first.recall
    assert (first.specificity.value, first.specificity.n) == (pytest.approx(2 / 3), 3)
    assert np.isnan(first.threshold)
    assert np.isnan(last.precision.value)  # never predicted
    assert last.precision.n == 0
    assert (last.recall.value, last.f1) == (0, 0)


def test_sensitivity_and_specificity_at_a_threshold() -> None:
    first = _quick(HAND, threshold=0.25).per_class[0]  # 0.75 0.5 0.25 | 0 0.5 0.25: a class is said from 0.25 on
    assert (first.sensitivity.value, first.specificity.value) == (1, pytest.approx(1 / 3))
    assert first.threshold == 0.25
    assert first.recall.value == pytest.approx(2 / 3)
    two = _made([0, 1, 1, 0], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6]])
    assert _quick(two, threshold=0.15).per_class[1].sensitivity.value == 1
    assert _quick(two, threshold=0.5).per_class[1].sensitivity == _quick(two).per_class[1].sensitivity
    assert _quick(_made([0, 1], [[0.8, 0.2], [0.7, 0.3]]), threshold=0.3).per_class[1].sensitivity.value == 1  # float32


def test_auroc_by_hand_and_with_ties() -> None:
    true = np.array([1, 1, 0, 0], bool)
    assert scores.auroc(np.array([0.9, 0.8, 0.2, 0.1]), true) == 1
    assert scores.auroc(np.array([0.5, 0.5, 0.5, 0.5]), true) == 0.5
    assert scores.auroc(np.array([0.9, 0.4, 0.4, 0.1]), true) == 3.5 / 4
    assert np.isnan(scores.auroc(np.array([0.1, 0.2]), np.array([True, True])))
    assert np.isnan(scores.auroc(np.array([0.1, 0.2]), np.array([False, False])))


def test_bins_are_closed_above() -> None:
    sure = np.array([0, 1e-6, 1 / 15, 0.0667, 0.2, 0.4, 0.6, 0.8, 1 - 1e-6, 1], np.float32)
    assert scores.bins_of(sure).tolist() == [0, 0, 0, 1, 2, 5, 8, 11, 14, 14]


def test_reliability_bins_add_up_to_ece() -> None:
    evaluation = _quick(_random(5))
    assert len(evaluation.reliability) == 15
    filled = [each for each in evaluation.reliability if each.n]
    assert sum(each.n for each in filled) == 200
    assert all(each.low < each.confidence <= each.high + 1e-6 for each in filled)
    total = sum(each.n / 200 * abs(each.accuracy - each.confidence) for each in filled)
    assert evaluation.scores["ece"].value == pytest.approx(total)


def _slow(said: Predictions) -> dict[str, float]:
    """Every score with loops in float64, straight from the formulas."""
    values, labels = np.asarray(said.probabilities, np.float64), said.labels
    n, count = values.shape
    there = [c for c in range(count) if (labels == c).any()]
    found = {"top1": sum(int(said.predicted[i] == labels[i]) for i in range(n)) / n}
    recalls, ones, areas = [], [], []
    for c in there:
        tp = sum(1 for i in range(n) if labels[i] == c and said.predicted[i] == c)
        fp = sum(1 for i in range(n) if labels[i] != c and said.predicted[i] == c)
        fn = sum(1 for i in range(n) if labels[i] == c and said.predicted[i] != c)
        recalls.append(tp / (tp + fn))
        ones.append(2 * tp / (2 * tp + fp + fn))
        pairs = [(values[i, c], values[j, c]) for i in range(n) for j in range(n) if labels[i] == c != labels[j]]
        if pairs:
            areas.append(sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs))
    found |= {"balanced_accuracy": sum(recalls) / len(there), "macro_f1": sum(ones) / len(there)}
    found["macro_auroc"] = sum(areas) / len(areas) if areas else np.nan
    first = [sorted(range(count), key=lambda c, row=row: (-row[c], c))[:5] for row in values]
    found["top5"] = sum(int(labels[i] in first[i]) for i in range(n)) / n if count > 5 else np.nan
    found["nll"] = -sum(np.log(max(values[i, labels[i]], 2.0**-23)) for i in range(n)) / n
    found["brier"] = sum((values[i, c] - (labels[i] == c)) ** 2 for i in range(n) for c in range(count)) / n
    found["ece"] = 0.0
    for b in range(15):
        low, high = (-1 if b == 0 else np.float32(b / 15)), np.float32((b + 1) / 15)
        inside = [i for i in range(n) if low < np.float32(values[i, said.predicted[i]]) <= high]
        gap = sum(int(said.predicted[i] == labels[i]) - values[i, said.predicted[i]] for i in inside)
        found["ece"] += abs(gap) / n
    return found


@given(st.integers(0, 2**31), st.integers(1, 25), st.integers(2, 8))
@settings(max_examples=30, deadline=None)
def test_scores_are_their_slow_twins(seed: int, n: int, classes: int) -> None:
    said = _random(seed, n, classes, decimals=1)
    fast, slow = evaluate(said, resamples=3).scores, _slow(said)
    assert set(fast) == {name for name, value in slow.items() if np.isfinite(value)}
    for name, score in fast.items():
        assert score.value == pytest.approx(slow[name], abs=1e-6), name


def test_scores_are_scikit_learns_where_it_has_the_same() -> None:
    said = _random(3, n=400, classes=8)
    value = {name: score.value for name, score in _quick(said).scores.items()}
    true, given_values = said.labels, said.probabilities
    assert given_values is not None
    values = given_values / given_values.sum(1, keepdims=True, dtype=np.float64)
    assert value["top1"] == pytest.approx(sk.accuracy_score(true, said.predicted))
    assert value["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(true, said.predicted))
    assert value["macro_f1"] == pytest.approx(sk.f1_score(true, said.predicted, average="macro"))
    areas = [sk.roc_auc_score(true == index, given_values[:, index]) for index in range(8)]
    assert value["macro_auroc"] == pytest.approx(np.mean(areas))
    assert [each.auroc for each in _quick(said).per_class] == pytest.approx(areas)
    assert value["nll"] == pytest.approx(sk.log_loss(true, values), rel=1e-5)
    assert value["brier"] == pytest.approx(np.mean(((values - np.eye(8)[true]) ** 2).sum(1)), rel=1e-5)
    np.testing.assert_array_equal(_quick(said).confusion, sk.confusion_matrix(true, said.predicted))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(true, said.predicted)
    for each, expected in zip(_quick(said).per_class, zip(precision, recall, f1, strict=True), strict=True):
        assert (each.precision.value, each.recall.value, each.f1) == pytest.approx(expected)


def test_intervals_hold_their_values_and_narrow_with_pictures() -> None:
    few, many = (evaluate(_random(1, n=n), resamples=300).scores for n in (60, 960))
    for name in few:
        assert few[name].low <= few[name].value <= few[name].high
        assert 2.5 < (few[name].high - few[name].low) / (many[name].high - many[name].low) < 7, name
    assert few == evaluate(_random(1, n=60), resamples=300).scores  # the same seed, the same interval


def test_auroc_interval_is_delongs() -> None:
    said = _random(8, n=80, classes=2)
    score = scores.macro_auroc(said)
    values, true = said.probabilities, said.labels
    assert values is not None
    a = np.array([[(x > y) + 0.5 * (x == y) for y in values[true == 0, 1]] for x in values[true == 1, 1]])
    m, k = a.shape
    area = a.mean()
    expected = (area / (2 - area) + 2 * area**2 / (1 + area)) / 2 - area**2  # Hanley and McNeil, as two pictures more
    ones = (a.mean(1).var() * m + 2 * expected) / (m + 1) / m
    zeros = (a.mean(0).var() * k + 2 * expected) / (k + 1) / k
    # both classes' curves are the same one, so the mean of the two areas has its variance
    number = area * (1 - area) / (ones + zeros) * (1.959964 / stdtrit(79, 0.975)) ** 2
    assert (score.value, score.low, score.high) == pytest.approx((area, *wilson(area * number, number)), abs=1e-4)
    delong = np.sqrt(a.mean(1).var(ddof=1) / m + a.mean(0).var(ddof=1) / k)
    assert score.high - score.low == pytest.approx(2 * 1.96 * delong, rel=0.1)


def test_groups_of_alike_pictures_widen_every_interval() -> None:
    once = _random(2, n=60, classes=6)
    copies = np.repeat(np.arange(60), 6)
    assert once.probabilities is not None
    plain = _made(once.labels[copies], once.probabilities[copies], slices={"site": np.array(["a", "b"])[copies % 2]})
    alone, together = _quick(plain, resamples=400), _quick(replace(plain, groups=copies.astype(str)), resamples=400)
    for name, score in together.scores.items():
        assert score.value == pytest.approx(alone.scores[name].value)
        factor = 1.4 if name == "ece" else 1.7  # about 6 ** 0.5; that of ECE is cut at 0
        assert score.high - score.low > factor * (alone.scores[name].high - alone.scores[name].low), name
    for one, other in zip(alone.per_class, together.per_class, strict=True):
        assert other.recall.high - other.recall.low > 1.3 * (one.recall.high - one.recall.low)
    wide, narrow = together.slices[0].top1, alone.slices[0].top1
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_groups_of_one_picture_change_little() -> None:
    said = _random(6, n=300)
    alone = _quick(said, resamples=1000).scores
    single = _quick(replace(said, groups=np.arange(300).astype(str)), resamples=1000).scores
    for name, score in alone.items():
        assert (single[name].low, single[name].high) == pytest.approx((score.low, score.high), abs=0.02), name


def test_all_right_still_has_an_interval() -> None:
    labels = np.repeat([0, 1], [30, 10])
    perfect = _made(labels, np.eye(2)[labels])
    found = _quick(perfect).scores
    assert (found["top1"].low, found["top1"].high) == wilson(40, 40)
    number = 4 / (1 / 30 + 1 / 10)
    for name in ("balanced_accuracy", "macro_f1", "macro_auroc"):
        assert (found[name].low, found[name].high) == pytest.approx(wilson(number, number)), name
    grouped = _quick(replace(perfect, groups=(np.arange(40) // 5).astype(str))).scores
    assert (grouped["top1"].low, grouped["top1"].high) == wilson(8, 8)
    one_group = _quick(replace(perfect, groups=np.full(40, "x"))).scores
    assert (one_group["top1"].low, one_group["top1"].high) == wilson(1, 1)


def test_one_picture() -> None:
    evaluation = _quick(_made([1], [[0.25, 0.75, 0]]))
    assert set(evaluation.scores) == _names("labels", "confidence", "probabilities") - {"top5", "macro_auroc"}
    assert (evaluation.scores["top1"].low, evaluation.scores["balanced_accuracy"].high) == (wilson(1, 1)[0], 1)
    assert np.isnan(evaluation.scores["nll"].low)
    json.dumps(as_json(evaluation), allow_nan=False)


def test_classes_without_pictures_are_left_out_of_means() -> None:
    said = _made([0, 0, 4, 4], np.eye(8)[[0, 7, 4, 4]] * 0.92 + 0.01)
    found = _quick(said)
    assert found.scores["balanced_accuracy"].value == 0.75
    assert found.scores["macro_f1"].value == pytest.approx((2 / 3 + 1) / 2)
    assert found.scores["top5"].value == 1.0  # of equals the lower index comes first: 7, 0, ... holds 0
    empty = found.per_class[7]
    assert (empty.n, empty.precision.value) == (0, 0.0)
    assert np.isnan([empty.recall.value, empty.auroc, found.per_class[2].f1]).all()


def test_without_probabilities_nothing_is_made_up() -> None:
    said = _made([0, 1, 1, 0], predicted=[0, 1, 0, 0])
    evaluation = _quick(said)
    assert set(evaluation.scores) == _names("labels")
    assert (evaluation.reliability, evaluation.uncertain, evaluation.suspects) == ((), (), ())
    assert evaluation.mistakes == (2,)
    assert np.isnan(evaluation.per_class[0].auroc)
    with pytest.raises(UsageError, match="a threshold needs the probability of every class"):
        _quick(said, threshold=0.5)


def test_a_confidence_alone_gives_calibration() -> None:
    said = _made([0, 1, 1, 0], predicted=[0, 1, 0, 1], confidence=np.array([0.9, 0.5, 0.6, 0.8], np.float32))
    evaluation = _quick(said)
    assert set(evaluation.scores) == _names("labels", "confidence")
    assert evaluation.scores["ece"].value == pytest.approx((0.1 + 0.5 + 0.6 + 0.8) / 4)
    assert evaluation.mistakes == (3, 2)
    assert evaluation.uncertain == (1, 2, 3, 0)
    assert len(evaluation.reliability) == 15


def test_pictures_to_look_at() -> None:
    evaluation = _quick(HAND)
    assert evaluation.mistakes == (2, 4, 5)  # 0.75, then 0.5 and 0.5 in their order
    assert evaluation.uncertain == (4, 1, 5, 0, 2, 3)  # margins 0 0.25 0.25 0.5 0.5 1
    assert margins(HAND) == pytest.approx([0.5, 0.25, 0.5, 1, 0, 0.25])


def test_planted_label_errors_are_found_and_few_others() -> None:
    generator = np.random.default_rng(4)
    true = generator.integers(5, size=400)
    logits = generator.normal(size=(400, 5))
    logits[np.arange(400), true] += 5
    values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    planted = generator.choice(400, 15, replace=False)
    given_labels = true.copy()
    given_labels[planted] = (true[planted] + 1) % 5
    said = _made(given_labels, values)
    found = suspects(said)
    assert len(set(found) & set(planted.tolist())) >= 13
    assert len(set(found) - set(planted.tolist())) <= 4
    assert set(found[:8]) <= set(planted.tolist())
    assert _quick(said).suspects == found
    assert _quick(said, note="selected on").suspects == found
    assert _quick(said, note="seen in training").suspects == ()


def test_suspects_by_hand() -> None:
    values = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6]]
    said = _made([0, 0, 0, 1, 1, 0], values)
    # thresholds: class 0 (0.9 + 0.8 + 0.1 + 0.4) / 4 = 0.55, class 1 0.75; picture 5 does not reach 0.75
    assert suspects(said) == (2,)
    # thresholds 0.375 and 0.5: picture 0 is answered with the other class, but its own reaches its threshold
    assert suspects(_made([0, 0, 1], [[0.45, 0.55], [0.3, 0.7], [0.5, 0.5]], predicted=[1, 1, 1])) == (1,)


def test_slices_and_the_worst_of_them() -> None:
    labels = np.zeros(45, np.int64)
    predicted = np.array([0] * 18 + [1] * 2 + [0] * 12 + [1] * 8 + [1] * 5)
    site = np.array(["north"] * 20 + ["south"] * 20 + ["tiny"] * 4 + [""])
    evaluation = _quick(_made(labels, predicted=predicted, slices={"site": site}))
    assert [(each.value, each.top1.n) for each in evaluation.slices] == [("tiny", 4), ("south", 20), ("north", 20)]
    south = evaluation.slices[1].top1
    assert (south.value, south.low, south.high) == (0.6, *wilson(12, 20))
    worst = worst_slice(evaluation)
    assert worst is not None
    assert (worst.column, worst.value) == ("site", "south")  # tiny has fewer than ten pictures
    assert as_json(evaluation)["worst_slice"]["value"] == "south"
    assert worst_slice(_quick(HAND)) is None


def test_json_has_scores_by_name_and_no_nan() -> None:
    found = as_json(_quick(HAND, note="selected on", provenance={"network": "tiny"}))
    text = json.dumps(found, allow_nan=False)
    assert set(found["top1"]) == {"value", "low", "high"}
    assert (found["n"], found["note"], found["provenance"]) == (6, "selected on", {"network": "tiny"})
    assert found["per_class"][2]["precision"] == {"value": None, "low": None, "high": None}
    assert {"label": "class 1", "predicted": "class 0", "n": 1} in found["confusion"]
    assert sum(each["n"] for each in found["confusion"]) == 6
    assert found["mistakes"][0] == "2.jpg"
    assert "NaN" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, -1, 0, 1, 1, 2])}, "'1.jpg' has the label -1, which is none of 0 to 2"),
        ({"labels": np.array([0, 3, 0, 1, 1, 2])}, "label 3, which is none of 0 to 2"),
        ({"predicted": np.array([0, 0, 1, 1, 0, 9])}, "prediction 9"),
        ({"labels": np.array([0, 1])}, "2 times a label for 6 pictures"),
        ({"groups": np.array(["a"])}, "1 times a group for 6 pictures"),
        ({"slices": {"site": np.array(["a"])}}, "1 times a value of 'site' for 6"),
        ({"probabilities": np.ones((6, 2), np.float32) / 2}, r"the probabilities are \(6, 2\)"),
        ({"probabilities": np.ones((6, 3), np.float32)}, "'0.jpg' sum to 3, not 1"),
        ({"probabilities": np.full((6, 3), np.nan, np.float32)}, "outside of 0 to 1, or NaN"),
        ({"confidence": np.full(6, 80, np.float32)}, "outside of 0 to 1"),
    ],
)
def test_predictions_that_cannot_be_scored_say_why(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(replace(HAND, **change))


def test_settings_that_cannot_be_say_why() -> None:
    with pytest.raises(DataError, match="no pictures to score"):
        evaluate(Predictions((), ("a",), np.zeros(0, np.int64), np.zeros(0, np.int64)))
    with pytest.raises(UsageError, match=r"threshold is 1.5; it is a probability"):
        evaluate(HAND, threshold=1.5)
    with pytest.raises(UsageError, match="resamples is 0"):
        evaluate(HAND, resamples=0)


def test_many_pictures_are_quick() -> None:
    import time

    said = _random(0, n=4000, classes=10)
    started = time.process_time()
    evaluate(said)
    assert time.process_time() - started < 2.5  # 0.6 s alone on the machine it was written on


def test_a_network_that_is_sure_beyond_rounding_has_a_calibration_error() -> None:
    """A softmax in float32 may say 1.0000001; its bin's chance is no chance, and is taken as 1."""
    sure = np.float32(1) + np.finfo(np.float32).eps
    values = np.tile(np.array([[sure, 0.0]], np.float32), (6, 1))
    labels = np.array([0, 0, 0, 0, 0, 1])
    predictions = Predictions(tuple("abcdef"), ("x", "y"), np.zeros(6, np.int64), labels, values)
    score = scores.ece(predictions)
    assert score.value == pytest.approx(1 / 6, abs=1e-6) and 0 <= score.low < score.value < score.high <= 1
