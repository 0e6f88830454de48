"""The task `multilabel`: what it learns from drawn scenes and noise, to the same bytes, and what others do with it."""

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

import regard
from regard.data.hashes import picture_hashes
from regard.data.images.augment import Augmentation, draw
from regard.data.layouts.multilabel import read_multilabelled
from regard.data.stratified import multilabel_parts
from regard.errors import NetworkError, RegardError, UsageError
from regard.networks.load import load
from regard.networks.run import save_network, task_of
from regard.training.objectives import LabelSetObjective
from regard.training.recipe import recipe_for
from regard.training.session import InterruptedTrainingError
from regard.training.tasks import finetune
from regard.training.tasks.multilabel.head import fit_labels, refit_labels
from regard.training.tasks.multilabel.targets import SeveralLabels, positive_weights
from regard.training.tasks.table import ClassifierSettings

NO_CHANGES = draw(Augmentation(), np.random.default_rng(0))
CORNERS = {"red": (0, 0), "green": (0, 1), "blue": (1, 0)}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 noisy pictures with a red, green or blue corner each, in any company; some have none."""
    folder = tmp_path_factory.mktemp("several")
    random = np.random.default_rng(0)
    rows = []
    for number in range(48):
        labels = [name for name in CORNERS if random.random() < 0.5]
        pixels = random.normal(60, 25, (32, 32, 3))
        for name in labels:
            down, across = CORNERS[name]
            pixels[16 * down : 16 * down + 16, 16 * across : 16 * across + 16, list(CORNERS).index(name)] += 150
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append([f"{number}.png", "|".join(labels), "ab"[number % 2]])
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["filename", "label", "site"], *rows])
    return folder


def test_a_head_is_sklearns_regression_of_each_label() -> None:
    random = np.random.default_rng(0)
    features = (random.normal(size=(120, 6)) * np.array([1, 5, 0.1, 1, 1, 1]) + 3).astype(np.float32)
    truth = features @ random.normal(size=(6, 3)) + random.normal(size=(120, 3))
    truth = truth > np.median(truth, axis=0) + np.array([0, 1, -2])
    weight, bias = refit_labels(features, truth, 0.3)
    inputs = (features - features.mean(0)) / features.std(0)
    for place in range(3):
        twin = LogisticRegression(C=0.3, tol=1e-8, max_iter=5000).fit(inputs.astype(np.float64), truth[:, place])
        expected = twin.decision_function(inputs.astype(np.float64))
        np.testing.assert_allclose(features @ weight[place] + bias[place], expected, atol=2e-3)


def test_a_label_of_all_pictures_or_none_gets_a_bias_alone() -> None:
    weight, bias = refit_labels(np.eye(4, dtype=np.float32), np.array([[1, 0]] * 4, bool), 1.0)
    assert not weight.any()
    np.testing.assert_allclose(bias, [np.log(9), -np.log(9)], rtol=1e-5)


def test_no_picture_has_a_say_in_its_own_score() -> None:
    """Labels of noise: at the strength that the picture's own fold would choose, guessing looks better than it is."""
    random = np.random.default_rng(3)
    features = random.normal(size=(60, 20)).astype(np.float32)
    truth = random.random((60, 2)) < 0.5
    probe = fit_labels(features, truth, ("a", "b"), folds=5)
    losses = [each.log_loss for each in probe.trials]
    unseen = np.logaddexp(0, np.where(truth, -probe.unseen, probe.unseen)).mean()  # type: ignore[operator]
    assert probe.strength == min(zip(losses, (each.strength for each in probe.trials), strict=True))[1]
    assert unseen >= min(losses) - 1e-9


def test_the_loss_is_the_formula_and_mixed_targets_mix() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 0]], np.float32)
    objective = LabelSetObjective(truth, torch.tensor([2.0, 1.0, 1.0]), smoothing=0.1)
    logits = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, -2.0]])
    targets = objective.collate([objective.target(row, 0, NO_CHANGES) for row in (0, 1)])
    losses, right = objective.losses(logits, targets)
    smooth = targets.double() * 0.9 + 0.05
    chance = torch.sigmoid(logits.double())
    weights = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    by_hand = -(weights * smooth * chance.log() + (1 - smooth) * (1 - chance).log()).mean(1)
    torch.testing.assert_close(losses.double(), by_hand, atol=1e-6, rtol=0)
    assert right.tolist() == pytest.approx([1.0, 2 / 3])
    plain = LabelSetObjective(truth)
    mixed = plain.losses(logits, 0.25 * targets + 0.75 * targets.flip(0))[0]
    parts = [plain.losses(logits, each)[0] for each in (targets, targets.flip(0))]
    torch.testing.assert_close(mixed, 0.25 * parts[0] + 0.75 * parts[1])
    assert plain.weight([0, 1], 0) == 2 and plain.summary(2.0, 1.5, 2.0, 2)["training_answers"] == 0.75


def test_balanced_weights_let_those_with_a_label_weigh_as_much_as_those_without() -> None:
    truth = np.arange(400)[:, None] < np.array([[200, 100, 1]])
    assert positive_weights(truth, ClassifierSettings()) is None
    weights = positive_weights(truth, ClassifierSettings(class_weights="balanced"))
    assert weights is not None and weights.tolist() == [1.0, 3.0, 100.0]
    logits = torch.zeros(400, 2)
    losses = F.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(truth[:, :2]).float(), pos_weight=weights[:2], reduction="none"
    )
    assert losses[truth[:, 1], 1].sum() == pytest.approx(float(losses[~truth[:, 1], 1].sum()))


def _trained(data: Path, folder: Path, resume: bool = False, stop: bool = False) -> Any:
    """A small run; with `stop` interrupted in its second epoch."""
    overrides = {"epochs": 3, "batch_size": 8, "precision": "float32", "dropout": 0.1, "flip": 0.0, "crop": 1.0}
    recipe = recipe_for("finetune", "multilabel").changed(overrides)
    dataset = read_multilabelled(data)
    training, validation = multilabel_parts(dataset, seed=0)
    network = load("random:vit_tiny_patch16_224", classes=training.classes, arguments=SMALL, seed=0)
    more: dict[str, Any] = {"resume": resume, "workers": 0}

    def watch(progress: Any) -> None:
        if stop and progress.phase == "train" and progress.done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    parts = training, validation, picture_hashes(dataset.pictures)
    outcome = finetune.run(network, *parts, recipe, folder, None, SeveralLabels(), progress=watch, **more)
    save_network(network, folder)
    return outcome


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(data: Path, tmp_path: Path) -> None:
    whole = _trained(data, tmp_path / "whole")
    with pytest.raises(InterruptedTrainingError, match="train, epoch 1"):
        _trained(data, tmp_path / "stopped", stop=True)
    again = _trained(data, tmp_path / "stopped", resume=True)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1] and np.array_equal(whole.logits, again.logits)
    lines = (tmp_path / "whole/metrics.jsonl").read_text()
    assert lines == (tmp_path / "stopped/metrics.jsonl").read_text() and '"validation_map"' in lines
    assert task_of(tmp_path / "whole") == "multi-label classification"


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe, as the command makes it."""
    out = tmp_path_factory.mktemp("runs") / "probe"
    result = regard.train(data, out, task="multilabel", recipe="probe", slices=["site"], workers=0)
    assert result.evaluation.note == "cross-validated" and result.evaluation.scores["map"].value > 0.9
    assert 'id="labels"' in (out / "report.html").read_text()
    return out


def test_a_run_answers_several_labels_everywhere(data: Path, run: Path, tmp_path: Path) -> None:
    network = load(run)
    assert network.several_labels and network.classes == ("blue", "green", "red")
    result = regard.evaluate(data, model=run, slices=["site"], workers=0, out=tmp_path / "scored")
    assert result.evaluation.note == "cross-validated" and len(result.evaluation.slices) == 2
    stored = json.loads((tmp_path / "scored/scores.json").read_text())
    assert {"map", "baseline", "per_label", "undecided", "threshold"} <= stored.keys()
    assert "<title>" in (tmp_path / "scored/report.html").read_text()
    regard.predict(data, tmp_path / "rows.csv", model=run, probs=True, workers=0)
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    for row in rows:
        given = [name for name in CORNERS if float(row[f"p:{name}"]) >= 0.5]
        assert row["label"] == "|".join(sorted(given))
    answers = regard.Classifier(run)([data / "0.png", data / "1.png"])
    assert list(answers.labels) == [row["label"] for row in rows if row["filename"] in ("0.png", "1.png")]
    explained = regard.explain(data / "0.png", method="gradcam", target="red", against="blue", model=run, workers=0)
    assert explained.n == 1
    seen = regard.evaluate(data, model=run, keep_seen=True, threshold=0.9, workers=0).evaluation
    assert seen.note == "seen in training" and seen.predictions.threshold == 0.9


def test_runs_are_compared_and_mixed_ones_are_not(data: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    regard.train(data, other, task="multilabel", recipe="probe", seed=1, workers=0)
    comparison = regard.compare([run, other], out=tmp_path / "both")
    assert comparison.n == 48 and {each.label for each in comparison.per_label} == set(CORNERS)
    assert json.loads((tmp_path / "both/comparison.json").read_text())["differences"][0]["map"]["value"] is not None
    assert "Labels" in (tmp_path / "both/report.html").read_text()
    with pytest.raises(UsageError, match=r"gives several labels a picture and pets-tiny does not"):
        regard.compare([run, "pets-tiny"])


@pytest.mark.parametrize("command", ["audit", "registers"])
def test_what_chooses_one_class_says_so(command: str, data: Path, run: Path) -> None:
    with pytest.raises(NetworkError, match="gives a picture any number of labels"):
        getattr(regard, command)(data, model=run, workers=0)


def test_a_classifier_is_no_network_of_several_labels(data: Path) -> None:
    with pytest.raises(UsageError, match="chooses one class among all"):
        regard.evaluate(data, task="multilabel", workers=0)


def test_a_head_of_transformers_for_several_labels_is_evaluated_as_one(data: Path, tmp_path: Path) -> None:
    import transformers

    names = dict(enumerate(CORNERS))
    config = transformers.ViTConfig(
        hidden_size=48,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=96,
        image_size=32,
        patch_size=8,
        problem_type="multi_label_classification",
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    module = transformers.ViTForImageClassification(config)
    module.save_pretrained(tmp_path / "model")
    with pytest.raises(RegardError, match="several labels"):
        regard.evaluate(data, model=tmp_path / "model", label="site", workers=0)
    evaluation = regard.evaluate(data, model=tmp_path / "model", task="multilabel", workers=0).evaluation
    values = evaluation.predictions.probabilities
    assert abs(values.sum(axis=1) - 1).max() > 0.05
    network = load(tmp_path / "model")
    picture = network.preparation.tensor(Image.open(data / "0.png").convert("RGB"))
    expected = torch.sigmoid(module.eval()(pixel_values=picture[None]).logits).detach().numpy()
    np.testing.assert_allclose(values[evaluation.predictions.names.index("0.png")], expected[0], atol=1e-5)
    save_network(network, tmp_path / "saved")
    assert load(tmp_path / "saved").several_labels and task_of(tmp_path / "saved") == "multi-label classification"


def test_another_head_is_one_of_one_class(run: Path) -> None:
    assert not load(run, classes=["a", "b"]).several_labels
    network = load(run)
    network.choose_one_class()
    assert not network.several_labels
    assert replace(network, multilabel=True).probabilities(torch.zeros(1, 3)).tolist() == [[0.5] * 3]


def test_what_a_fine_tuning_of_labels_does_not_do(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--search always chooses by cross-validation"):
        regard.train(data, tmp_path / "run", task="multilabel", search="always", workers=0)
    with pytest.raises(UsageError, match="the recipe dlcv is for classify"):
        regard.train(data, tmp_path / "run", task="multilabel", recipe="dlcv", workers=0)
