"""Few pictures: folds, views of frozen blocks, the race of candidates, and a score by cross-validation."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from tiny_training import draw_pictures, parts_of, run, tiny_network, tiny_recipe

import regard
from regard.app.commands.train import as_text
from regard.data.splits import folds_of, together
from regard.errors import DataError, NetworkError, UsageError
from regard.measurement.classification.optimism import optimism
from regard.measurement.classification.scoring import stored_evaluation, stored_predictions
from regard.networks.attention.replay import from_block, tokens_before
from regard.records import Predictions
from regard.training.journal import Progress
from regard.training.optimise import eager_attention
from regard.training.schedule import Schedule, Stage, duration
from regard.training.session import InterruptedTrainingError
from regard.training.tasks import plan
from regard.training.tasks.probe import fit_probe
from regard.training.tasks.views import views_for

SEARCH = {"search": "always", "folds": 3, "epochs": 2}
DEPTH = 6  # candidates open four blocks and two, so that two stay as they are


class Killed(BaseException):
    """What no code catches, at a place that the test chooses."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data", each=6)


# Folds.


@pytest.mark.parametrize("seed", range(4))
def test_folds_are_stratified_even_and_of_whole_units(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, 4, 60))
    units = np.where(random.random(60) < 0.4, labels * 100 + random.integers(0, 3, 60), 1000 + np.arange(60))
    folds = folds_of(labels, tuple("abcd"), units, 5, seed)
    assert set(folds) == set(range(5))
    for unit in np.unique(units):
        assert len(set(folds[units == unit])) == 1
    for label in range(4):
        assert len(set(folds[labels == label])) >= 2
    alone = folds_of(labels, tuple("abcd"), None, 5, seed)
    counts = np.array([np.bincount(alone[labels == label], minlength=5) for label in range(4)])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert np.ptp(np.bincount(alone)) <= 4
    assert np.array_equal(alone, folds_of(labels, tuple("abcd"), None, 5, seed))


def test_more_folds_than_pictures_of_a_class_leave_one_of_it_out_at_a_time() -> None:
    labels = np.repeat(np.arange(3), 2)
    folds = folds_of(labels, tuple("abc"), None, 5)
    assert folds.max() + 1 == 5 or folds.max() + 1 == 3  # as many as are filled
    for label in range(3):
        assert len(set(folds[labels == label])) == 2


def test_units_of_several_classes_are_parted_so_that_every_class_is_always_learnt() -> None:
    """Two large groups hold all but one picture of both classes; a greedy choice may put them into one fold."""
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0, 1])
    units = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    for seed in range(5):
        folds = folds_of(labels, ("a", "b"), units, 2, seed)
        assert all(len(set(folds[labels == label])) == 2 for label in (0, 1))


@pytest.mark.parametrize(
    ("labels", "units", "text"),
    [
        ([0, 0, 1], None, "class 'b' has one picture to train on"),
        ([0, 0, 1, 1], [0, 1, 2, 2], "of class 'b' are of one group, or copies"),
    ],
)
def test_folds_that_cannot_be_are_refused(labels: list[int], units: list[int] | None, text: str) -> None:
    with pytest.raises(DataError, match=text):
        folds_of(np.array(labels), ("a", "b"), None if units is None else np.array(units))


def test_copies_and_groups_stay_together(data: Path) -> None:
    training, _, _ = parts_of(data)
    units = together(training, None, [(0, 5), (5, 9)])
    assert units[0] == units[5] == units[9]
    assert len(set(units.tolist())) == len(training) - 2


def test_the_probe_never_saw_what_it_is_scored_on() -> None:
    """Each row out of fold is what a probe says that was fitted, and standardised, on the other folds alone."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    features = random.normal(size=(24, 5)).astype(np.float32) + labels[:, None]
    probe = fit_probe(features, labels, tuple("abc"), folds=4, keep=True)
    assert probe.out_of_fold is not None
    far = features.copy()
    far[probe.folds == 2] += 100.0  # what is left out may be anything: the probes of that fold do not change
    moved = fit_probe(far, labels, tuple("abc"), folds=4, keep=True)
    place = [trial.strength for trial in probe.trials].index(1.0)
    other = [trial.strength for trial in moved.trials].index(1.0)
    assert moved.out_of_fold is not None
    weight, bias = _twin(features, labels, probe.folds != 2)
    expected = features[probe.folds == 2] @ weight.T + bias
    np.testing.assert_allclose(softmax(probe.out_of_fold[place][probe.folds == 2], 1), softmax(expected, 1), atol=0.02)
    np.testing.assert_allclose(
        softmax(moved.out_of_fold[other][probe.folds == 2], 1), softmax(far[probe.folds == 2] @ weight.T + bias, 1),
        atol=0.02,
    )  # fmt: skip


def _twin(features: np.ndarray, labels: np.ndarray, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    part = features[fitted].astype(np.float64)
    mean, deviation = part.mean(0), part.std(0)
    model = LogisticRegression(C=1.0, max_iter=5000, tol=1e-9).fit((part - mean) / deviation, labels[fitted])
    weight = model.coef_ / deviation
    return weight, model.intercept_ - weight @ mean


# Views.


@pytest.mark.parametrize("block", [0, 2, 5, 6])
def test_from_a_block_on_the_module_says_the_same_and_learns_the_same(block: int) -> None:
    network = tiny_network(("a", "b"), depth=DEPTH)
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.module.eval()
    network.module(pixels).sum().backward()
    last = network.module.blocks[-1].mlp.fc1.weight if block < 6 else network.module.head.weight
    expected = last.grad.clone()
    logits = network.module(pixels).detach()
    network.module.zero_grad()
    tokens = tokens_before(network, pixels, block)
    assert not tokens.requires_grad
    with from_block(network, pixels[:1] * 0, block):
        found = network.module(tokens)
        found.sum().backward()
    torch.testing.assert_close(found.detach(), logits)
    torch.testing.assert_close(last.grad, expected)
    torch.testing.assert_close(network.module(pixels).detach(), logits)  # as it was, outside


class Convolution(torch.nn.Module):
    """Over one plane of tokens and width: of few channels, and yet no reader of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x[:, None])[:, 0]


def test_a_convolution_inside_a_block_sees_each_picture_of_its_own() -> None:
    network = tiny_network(("a", "b"), depth=DEPTH)
    network.module.blocks[4].mlp.act = Convolution()
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = network.module.eval()(pixels).detach()
    tokens = tokens_before(network, pixels, 2)
    with from_block(network, pixels[:1] * 0, 2):
        torch.testing.assert_close(network.module(tokens).detach(), logits)


def test_training_on_views_is_training_on_pictures(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without random changes every view is the picture: the same weights, but for the rounding of stored tokens."""
    recipe = tiny_recipe(**SEARCH, flip=0.0, crop=1.0, brightness=0.0, contrast=0.0, saturation=0.0, dropout=0.0,
                         open_layers=4)  # fmt: skip
    monkeypatch.setattr(plan, "FEW", {**plan.FEW, "drop_path": 0.0})
    with_views = run(data, tmp_path / "views", recipe, depth=DEPTH, save=False)
    monkeypatch.setattr(plan, "views_for", lambda *given: None)
    without = run(data, tmp_path / "pictures", recipe, depth=DEPTH, save=False)
    losses = [
        [row["training_loss"] for row in each.metrics if "training_loss" in row] for each in (with_views, without)
    ]
    assert len(losses[0]) == len(losses[1]) > 4
    np.testing.assert_allclose(losses[0], losses[1], rtol=3e-2, atol=2e-3)
    scores = [[row["log_loss"] for row in each.metrics if row["phase"] == "search"] for each in (with_views, without)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=3e-2, atol=1e-3)


def test_a_candidate_that_diverges_has_lost_and_the_last_one_stops_the_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"open_layers": 2, "learning_rate": 1e25}
    recipe = tiny_recipe(**{**SEARCH, "epochs": 4})  # an epoch of so few pictures is not far above guessing yet
    monkeypatch.setattr(plan, "CANDIDATES", (plan.CANDIDATES[0], bad))
    found = run(data, tmp_path / "run", recipe, depth=DEPTH, save=False)
    assert any("candidate 2 of the search diverged" in message for message in found.messages)
    assert found.facts["chosen"]["settings"]["learning_rate"] == plan.CANDIDATES[0]["learning_rate"]
    assert all(np.isfinite(row["log_loss"]) for row in found.metrics if row["phase"] == "search")
    monkeypatch.setattr(plan, "CANDIDATES", (bad,))
    with pytest.raises(NetworkError, match=r"diverged.*last good checkpoint is kept"):
        run(data, tmp_path / "again", recipe, depth=DEPTH, save=False)


def test_views_are_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network(("a", "b"), depth=DEPTH)
    size = 17 * 32 * 2  # tokens, width, bytes
    assert views_for(network, 10, 4, 10) == (2, 5)
    assert views_for(network, 10, 4, 3) == (2, 3)
    assert views_for(network, 10, 6, 10) is None  # nothing stays as it is
    assert views_for(network, 10, None, 10) is None
    monkeypatch.setattr("regard.training.tasks.views.LARGEST", 10 * size * 4)
    assert views_for(network, 10, 4, 10) == (2, 3)
    monkeypatch.setattr("regard.training.tasks.views.LARGEST", 10 * size * 2)
    assert views_for(network, 10, 4, 10) is None


def ended(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl", "split.csv"))


def at_call(number: int, error: type[BaseException] = Killed):
    calls = iter(range(number + 1))

    def report(progress: Progress) -> None:
        if next(calls) == number:
            raise error

    return report


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(data, folder, tiny_recipe(**SEARCH), depth=DEPTH)
    return folder


@pytest.mark.parametrize("call", [1, 2, 3, 6, 14, 20])
def test_killed_in_every_phase_and_gone_on_with(call: int, data: Path, whole: Path, tmp_path: Path) -> None:
    """Among the views, in the first trial, after the race, in the last training: the same bytes."""
    recipe = tiny_recipe(**SEARCH)
    with pytest.raises(Killed):
        run(data, tmp_path / "run", recipe, depth=DEPTH, every=2, progress=at_call(call))
    run(data, tmp_path / "run", recipe, depth=DEPTH, every=2, resume=True)
    assert ended(tmp_path / "run") == ended(whole)


def test_stopped_among_the_views_it_says_how_to_go_on(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(**SEARCH)

    def stop(progress: Progress) -> None:
        if progress.phase == "views" and progress.done < progress.total:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(InterruptedTrainingError, match=r"interrupted in views; .* --resume goes on"):
        run(data, tmp_path / "run", recipe, depth=DEPTH, progress=stop)
    run(data, tmp_path / "run", recipe, depth=DEPTH, resume=True)
    assert ended(tmp_path / "run") == ended(whole)


@pytest.mark.parametrize("damage", ["row", "file"])
def test_damaged_views_are_computed_anew(damage: str, data: Path, whole: Path, tmp_path: Path) -> None:
    """A bit that fell over in a row, and a file that is none: neither is used, and the bytes are the same."""
    recipe = tiny_recipe(**SEARCH)
    with pytest.raises(Killed):
        run(data, tmp_path / "run", recipe, depth=DEPTH, every=1, progress=at_call(8))
    file = tmp_path / "run" / "checkpoint" / "views.sqlite"
    if damage == "file":
        file.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    else:
        with closing(sqlite3.connect(file)) as base, base:
            ((name, value),) = base.execute("SELECT hash, value FROM checked LIMIT 1").fetchall()
            wrong = bytearray(value)
            wrong[100] ^= 64
            base.execute("UPDATE checked SET value = ? WHERE hash = ?", (bytes(wrong), name))
    outcome = run(data, tmp_path / "run", recipe, depth=DEPTH, resume=True)
    assert ended(tmp_path / "run") == ended(whole)
    assert any("views could not be kept" in message for message in outcome.messages) is (damage == "file")


# The race, and the score.


def test_the_worse_candidate_is_given_up_after_the_first_fold(whole: Path) -> None:
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    trials = {row["phase"] for row in rows if row["phase"].startswith("search ")}
    results = [row for row in rows if row["phase"] == "search"]
    first = {row["settings"]["open_layers"]: row for row in results}
    assert {"search 0/0", "search 0/1"} < trials and len(trials) == 4
    assert {row["pictures"] for row in results} == {min(r["pictures"] for r in results), 20}
    assert set(first) == {4, 2}


def test_optimism_is_what_the_best_of_many_guesses_has_too_much() -> None:
    """Candidates that know nothing: the best of 30 seems good, and the correction brings it back to chance."""
    seemed, corrected = [], []
    for seed in range(25):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 4, 60)
        logits = random.normal(size=(30, 60, 4)).astype(np.float32)
        losses = -np.log(softmax(logits, 2))[:, np.arange(60), labels].mean(1)
        best = int(losses.argmin())
        values = softmax(logits[best], 1)
        names = tuple(map(str, range(60)))
        predictions = Predictions(names, tuple("abcd"), values.argmax(1), labels, values)
        moved = optimism(predictions, logits, best, seed, draws=30)
        seemed.append(float(predictions.right.mean()))
        corrected.append(seemed[-1] - moved["top1"])
        assert moved["nll"] < 0  # of the loss, where less is better, too little
    assert np.mean(seemed) > 0.29
    assert abs(np.mean(corrected) - 0.25) < 0.03


def test_folds_that_have_the_classes_in_the_shares_that_were_learnt_flatter_and_that_is_taken_off() -> None:
    """Classes that differ in nothing, drawn evenly: whoever says the commonest is right by chance alone, and seems
    better. Where as many of each were taken, the shares are no chance."""
    seemed, corrected = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        labels = random.integers(0, 3, 30)
        shares = np.bincount(labels, minlength=3) / 30
        logits = np.tile(np.log(np.maximum(shares, 0.01)), (1, 30, 1)).astype(np.float32)
        values = softmax(logits[0], 1)
        predictions = Predictions(tuple(map(str, range(30))), tuple("abc"), values.argmax(1), labels, values)
        moved = optimism(predictions, logits, 0, seed)
        seemed.append(float(predictions.right.mean()))
        corrected.append(seemed[-1] - moved["top1"])
    assert np.mean(seemed) > 0.41
    assert abs(np.mean(corrected) - 1 / 3) < 0.03


def test_one_candidate_of_classes_alike_in_number_is_not_optimistic() -> None:
    labels = np.arange(20) % 2
    values = softmax(np.random.default_rng(0).normal(size=(20, 2)), 1)
    predictions = Predictions(tuple(map(str, range(20))), ("a", "b"), values.argmax(1), labels, values)
    assert set(optimism(predictions, np.log(values)[None].astype(np.float32), 0, draws=20).values()) == {0.0}


@pytest.mark.parametrize("recipe", ["probe", "finetune"])
def test_few_pictures_are_all_trained_on_and_scored_out_of_fold(recipe: str, data: Path, tmp_path: Path) -> None:
    more = {} if recipe == "probe" else {"epochs": 1, "size": 96}
    done = regard.train(data, tmp_path / "run", recipe=recipe, workers=0, no_pictures=True, folds=3, **more)
    evaluation = done.evaluation
    assert (evaluation.n, evaluation.note, evaluation.provenance["folds"]) == (24, "cross-validated", 3)
    rows = (tmp_path / "run" / "split.csv").read_text().splitlines()[1:]
    assert sum(",train," in row for row in rows) == 24
    assert sum(",earlier," in row for row in rows) == len(rows) - 24 == 185  # that pets-tiny had learnt
    stored = stored_evaluation(tmp_path / "run")
    assert {name: score.value for name, score in stored.scores.items()} == pytest.approx(
        {name: score.value for name, score in evaluation.scores.items()}
    )
    found = regard.evaluate(data, tmp_path / "run", workers=0).evaluation
    assert found.note == "cross-validated"
    assert found.scores["top1"].value == pytest.approx(evaluation.scores["top1"].value)
    np.testing.assert_allclose(
        found.predictions.probabilities, stored_predictions(tmp_path / "run").probabilities, atol=1e-6
    )
    seen = regard.evaluate(data, tmp_path / "run", workers=0, keep_seen=True).evaluation
    assert seen.note == "seen in training"
    assert "3-fold cross-validation" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_without_a_score(data: Path, tmp_path: Path) -> None:
    done = regard.train(data, tmp_path / "run", recipe="probe", workers=0, val=0)
    assert done.evaluation is None
    assert not (tmp_path / "run" / "evaluation").exists()
    assert regard.load(tmp_path / "run").classes == ("blue", "green", "grey", "red")
    assert as_text(done).startswith("trained on all pictures, and not scored (--val 0)")


def test_a_share_is_set_aside_on_request(data: Path, tmp_path: Path) -> None:
    done = regard.train(data, tmp_path / "run", recipe="probe", workers=0, val=0.5)
    assert (done.evaluation.n, done.evaluation.note) == (12, "")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"val": 0.2, "folds": 4}, "--val 0.2 sets pictures aside .* give one of them"),
        ({"recipe": "dlcv", "val": 0}, "--keep best chooses on pictures set aside, and there are none; give --val"),
        ({"folds": 1, "recipe": "probe"}, "--folds is 1; it must be at least 2"),
        ({"val": 1.5, "recipe": "probe"}, "validation share of 1.5 is out of range"),
    ],
)
def test_what_excludes_each_other_is_said(more: dict, text: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=text):
        regard.train(data, tmp_path / "run", workers=0, **more)
    assert not (tmp_path / "run" / "model.json").exists()


# How long it takes.


def test_the_steps_of_all_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by hand: 10 s a unit forward, 30 s a unit of training, of which half is known to come."""
    now = [0.0]
    monkeypatch.setattr("regard.training.schedule.time.perf_counter", lambda: now[0])
    told: list[float] = []
    stages = [Stage("features", "looking", 1.0, "forward"), Stage("search 0/", "fold", 2.0, "training"),
              Stage("train", "all", 4.0, "training")]  # fmt: skip
    schedule = Schedule(stages, told.append)
    assert schedule.placed(Progress("features", 0, 2)).left is None
    now[0] = 10.0
    schedule.placed(Progress("features", 2, 2))
    schedule.placed(Progress("search 0/1", 0, 10))
    now[0] = 40.0
    placed = schedule.placed(Progress("search 0/1", 5, 10))
    assert placed.step == "step 2 of 3: fold"
    assert placed.left == pytest.approx(30.0 * (1.0 + 4.0))
    assert told == [placed.left]
    assert schedule.placed(Progress("result", 0, 1)).step == ""


@pytest.mark.parametrize(("seconds", "text"), [(3, "10 s"), (44, "40 s"), (100, "2 min"), (4000, "1 h 7 min")])
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# What makes it quick.


def test_attention_is_written_out_while_a_cpu_trains_in_bfloat16_and_fused_again_after(
    data: Path, tmp_path: Path
) -> None:
    """The same training but for rounding, and the network is handed back as it was."""
    network = tiny_network(("a", "b"))
    parts = [part for part in network.module.modules() if hasattr(part, "fused_attn")]
    before = [part.fused_attn for part in parts]
    assert any(before)
    for device, precision, fused in (("cpu", "bfloat16", False), ("cpu", "float32", True), ("meta", "bfloat16", True)):
        with eager_attention(network.module, torch.device(device), precision):
            assert all(part.fused_attn is fused for part in parts)
        assert [part.fused_attn for part in parts] == before
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.module.eval()
    with eager_attention(network.module, torch.device("cpu"), "bfloat16"):
        eager = network.module(pixels)
    torch.testing.assert_close(eager, network.module(pixels), rtol=1e-4, atol=1e-5)
