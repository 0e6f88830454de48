"""The probe: the folded head says what the regression says, groups stay together, and thin classes are refused."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from regard.errors import DataError, NetworkError
from regard.training.tasks.probe import DECADES, fit_probe


def _blobs(classes: int, each: int = 12, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = random.normal(size=(classes, width)) * 2
    features = (centres[labels] + random.normal(size=(len(labels), width))) * [1, 10, 0.1, 1, 1, 1] + 5
    return features.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_folded_head_is_the_regression_on_standardised_features(classes: int) -> None:
    features, labels = _blobs(classes)
    probe = fit_probe(features, labels, tuple("abcde"[:classes]))
    wide = features.astype(np.float64)
    standard = (wide - wide.mean(0)) / wide.std(0)
    twin = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-8).fit(standard, labels)
    logits = probe.logits(features)
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert probe.weight.shape == (classes, 6)
    assert np.abs(probability - twin.predict_proba(standard)).max() < 0.02  # both stop a little before the optimum


def test_the_strength_has_the_least_log_loss_of_the_trials() -> None:
    features, labels = _blobs(4)
    probe = fit_probe(features, labels, tuple("abcd"))
    best = min(probe.trials, key=lambda trial: trial.log_loss)
    assert probe.strength == best.strength
    assert {trial.strength for trial in probe.trials} > set(DECADES)
    assert len(probe.trials) == len(DECADES) + 2


def test_the_same_seed_gives_the_same_head() -> None:
    features, labels = _blobs(3)
    first, second = (fit_probe(features, labels, tuple("abc"), seed=3) for _ in range(2))
    assert np.array_equal(first.weight, second.weight)
    assert first.trials == second.trials


def test_labels_that_mean_nothing_get_a_strong_penalty() -> None:
    features = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, 60)
    probe = fit_probe(features, labels, tuple("abc"))
    assert probe.strength <= 1e-2
    assert min(trial.log_loss for trial in probe.trials) > 0.9 * np.log(3)


def test_groups_keep_copies_out_of_the_folds() -> None:
    """Each picture twice: without groups the copy gives the label away, with groups it cannot."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(40, 30)), 2, axis=0).astype(np.float32)
    labels = np.repeat(random.integers(0, 2, 40), 2)
    groups = np.repeat(np.arange(40).astype(str), 2)
    leaky = max(trial.accuracy for trial in fit_probe(features, labels, ("a", "b")).trials)
    honest = max(trial.accuracy for trial in fit_probe(features, labels, ("a", "b"), groups).trials)
    assert leaky > 0.85
    assert honest < 0.7


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, labels = _blobs(3)
    features[:, 2] = 7.0
    probe = fit_probe(features, labels, tuple("abc"))
    assert np.isfinite(probe.weight).all()
    assert (probe.logits(features).argmax(1) == labels).mean() > 0.8


def test_thin_classes_are_named() -> None:
    features, labels = _blobs(3)
    with pytest.raises(DataError, match="class 'b' has one picture to train on"):
        fit_probe(features[:14], np.where(np.arange(14) == 13, 1, 0), ("a", "b"))
    with pytest.raises(DataError, match="class 'd' has no picture to train on"):
        fit_probe(features, labels, tuple("abcd"))
    with pytest.raises(DataError, match="of class 'a' are of one group"):
        fit_probe(features, labels, tuple("abc"), np.where(labels == 0, "x", np.arange(len(labels)).astype(str)))


def test_features_that_are_not_finite_are_refused() -> None:
    features, labels = _blobs(3)
    features[5, 2] = np.inf
    with pytest.raises(NetworkError, match="not finite"):
        fit_probe(features, labels, tuple("abc"))
