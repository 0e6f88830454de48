"""`reweigh`: balanced draws against sklearn, the three sets, the placebo, and what cannot be balanced."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

import regard
from regard.app.commands.train import as_json, as_text
from regard.data.layouts import read
from regard.data.regions import own_regions
from regard.data.splits import read_split
from regard.errors import DataError, NetworkError, UsageError
from regard.measurement.classification.mending import paired_measures
from regard.measurement.classification.scoring import stored_evaluation
from regard.measurement.selection import learnt_by
from regard.progress import silent
from regard.records import Mending
from regard.training.tasks.mending import background, balance
from regard.training.tasks.mending.background import _clusters, _features, _merged
from regard.training.tasks.mending.balance import Pictures, fit_layer, regress

GROUNDS = {"light": 200, "dark": 60}
COLOURS = {"red": (230, 40, 40), "green": (40, 230, 40)}


def _draw(folder: Path, counts: dict[tuple[str, str], int], seed: int, table: str = "index.csv") -> Path:
    """A table of pictures of a small square (the class) on a ground, so many of each (class, ground)."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for (label, ground), count in counts.items():
        for number in range(count):
            pixels = np.full((32, 32, 3), GROUNDS[ground]) + random.normal(0, 30, (32, 32, 3))
            top, left = random.integers(2, 22, 2)
            pixels[top : top + 8, left : left + 8] = np.array(COLOURS[label]) + random.normal(0, 30, (8, 8, 3))
            name = f"{table[0]}_{label}_{ground}_{number}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
            rows.append((name, label, ground, f"{label} too", str(number // 2)))
    return _table(folder / table, rows)


def _table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "label", "ground", "same", "pair"), *rows])
    return path


def _rows(table: Path) -> list[tuple[str, ...]]:
    with table.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def _even(each: int) -> dict[tuple[str, str], int]:
    return {(label, ground): each for label in COLOURS for ground in GROUNDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reweigh")


@pytest.fixture(scope="module")
def biased(folder: Path) -> Path:
    """A run whose training pictures have red on light and green on dark, in 38 of 40."""
    counts = {("red", "light"): 38, ("green", "dark"): 38, ("red", "dark"): 2, ("green", "light"): 2}
    table = _draw(folder / "data", counts, seed=0, table="biased.csv")
    regard.train(table, folder / "run", recipe="probe", model="random:test_vit", size=32, workers=0, val=0)
    return folder / "run"


@pytest.fixture(scope="module")
def even(folder: Path) -> Path:
    return _draw(folder / "data", _even(40), seed=1, table="even.csv")


def _reweigh(data: Path, run: Path, out: Path, **more: Any) -> Any:
    how = {"recipe": "reweigh", "model": run, "slices": ["ground"], "workers": 0, **more}
    return regard.train(data, out, **how)


@pytest.fixture(scope="module")
def rest(folder: Path) -> Path:
    """Pictures that the run has not seen, with its bias."""
    counts = {("red", "light"): 150, ("green", "dark"): 150, ("red", "dark"): 20, ("green", "light"): 20}
    return _draw(folder / "data", counts, seed=2, table="rest.csv")


@pytest.fixture(scope="module")
def done(folder: Path, biased: Path, rest: Path) -> Any:
    """What the run learnt is in the data again: it is to be left out."""
    both = _table(folder / "data" / "both.csv", [*_rows(folder / "data" / "biased.csv"), *_rows(rest)])
    return _reweigh(both, biased, folder / "again")


# The fit.


@pytest.mark.parametrize(("classes", "strength"), [(2, 0.1), (3, 0.1), (3, 1.0), (5, 0.03)])
def test_the_fit_is_that_of_sklearn(classes: int, strength: float) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(90) % classes
    features = random.normal(size=(90, 12)) + 1.5 * random.normal(size=(classes, 12))[labels]
    weight, bias = regress(features, labels, strength, classes)
    twin = LogisticRegression(l1_ratio=1, C=strength, solver="saga", max_iter=20000, tol=1e-7).fit(features, labels)

    def loss(logits: np.ndarray) -> float:
        return float(-log_softmax(logits, axis=1)[np.arange(90), labels].sum())

    ours = strength * loss(features @ weight.T + bias) + np.abs(weight).sum()
    if classes == 2:  # sklearn has one row for two classes, whose share of the penalty is as large
        theirs = (
            strength * loss(np.column_stack([0 * labels, twin.decision_function(features)])) + np.abs(twin.coef_).sum()
        )
    else:
        theirs = strength * loss(twin.decision_function(features)) + np.abs(twin.coef_).sum()
    assert ours <= theirs * (1 + 1e-4)
    assert ours >= theirs * (1 - 1e-3)


def _spurious(counts: tuple[int, int, int, int], seed: int = 0) -> Pictures:
    """Features of which one follows the class and a stronger one the ground; cells class × ground."""
    random = np.random.default_rng(seed)
    cells = np.repeat(np.arange(4), counts)
    labels, ground = cells // 2, cells % 2
    features = random.normal(size=(len(cells), 8))
    features[:, 0] += 1.5 * (2 * labels - 1)
    features[:, 1] += 5 * (2 * ground - 1)
    return Pictures(features.astype(np.float32) * 3 + 1, labels, cells, np.arange(len(cells)), 2)


def test_draws_are_balanced_and_the_placebos_as_large() -> None:
    data = _spurious((60, 7, 9, 50))
    for balanced in (True, False):
        draws = balance._draws(data, balanced, 10, seed=0)
        assert {len(draw) for draw in draws} == {28}
        assert all(len(set(draw.tolist())) == 28 for draw in draws)
        counts = np.array([np.bincount(data.cells[draw], minlength=4) for draw in draws])
        assert (counts == 7).all() == balanced
        assert len({tuple(sorted(draw.tolist())) for draw in draws}) == 10


def test_the_weights_are_a_mean_over_draws_on_plain_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standardised or not, draw by draw: the folded layer gives the mean of the draws' logits."""
    data = _spurious((30, 9, 9, 30))
    monkeypatch.setattr(balance, "STRENGTHS", (0.3,))
    layer = fit_layer(data)
    standard = (data.features - data.features.mean(0)) / data.features.std(0)
    logits = []
    for draw in balance._draws(data, True, 10, seed=0):
        weight, bias = regress(standard[draw].astype(np.float64), data.labels[draw], 0.3, 2)
        logits.append(standard @ weight.T + bias)
    np.testing.assert_allclose(layer.logits(data.features), np.mean(logits, axis=0), atol=1e-3)
    assert (layer.strength, layer.each) == (0.3, 9)


def test_balanced_draws_help_the_rare_slices_and_the_placebo_does_not() -> None:
    data, fresh = _spurious((100, 6, 6, 100)), _spurious((200, 200, 200, 200), seed=1)
    worst = {}
    for balanced in (True, False):
        right = fit_layer(data, balanced=balanced).logits(fresh.features).argmax(1) == fresh.labels
        worst[balanced] = min(right[fresh.cells == cell].mean() for cell in range(4))
    assert worst[True] > worst[False] + 0.1


def test_a_class_that_a_draw_lacks_lies_below_the_others() -> None:
    data = _spurious((20, 5, 5, 20))
    weight, bias = regress(data.features.astype(np.float64), data.labels * 2, 0.1, 3)
    assert ((data.features @ weight.T + bias).argmax(1) != 1).all()


# Before, after and a placebo.


def test_measures_by_hand() -> None:
    cells = np.repeat([0, 1], [10, 5])
    before = np.array([1] * 9 + [0] + [1, 0, 0, 0, 0], bool)
    after = np.array([1] * 8 + [0, 0] + [1, 1, 1, 1, 1], bool)
    halves = np.arange(15) % 2
    worst, same, mean, accuracy, *parts = paired_measures(
        {"before": before, "after": after, "placebo": before}, cells, ("big", "small"), halves
    )
    assert (same.before.n, same.before.value, same.after.value) == (5, 0.2, 1.0)
    assert (worst.before.value, worst.after.value, worst.placebo.value) == (0.2, 0.8, 0.2)
    assert worst.where == ("small", "big", "small")
    assert worst.gain.value == pytest.approx(0.6)
    assert (mean.before.value, mean.after.value) == (pytest.approx(0.55), pytest.approx(0.9))
    assert mean.gain.value == pytest.approx(0.35)
    assert accuracy.gain.value == pytest.approx(3 / 15)
    assert [part.gain.value for part in parts] == [pytest.approx(-0.1), pytest.approx(0.8)]
    assert all(each.placebo_gain.value == 0 and not each.slice for each in (worst, mean, accuracy))
    # Newcombe's interval of 8/10 and 1/5, from Wilson's of each.
    assert (worst.gain.low, worst.gain.high) == (pytest.approx(0.0745, abs=5e-4), pytest.approx(0.8178, abs=5e-4))


def test_the_slice_that_was_worst_is_found_on_other_pictures_than_it_is_judged_on() -> None:
    """Layers that are right by chance alone: the lowest of twenty slices looks bad, that found elsewhere does not."""
    random = np.random.default_rng(0)
    cells, halves = np.repeat(np.arange(20), 20), np.arange(400) % 2
    lowest, judged = [], []
    for _ in range(100):
        right = {name: random.random(400) < 0.7 for name in ("before", "after", "placebo")}
        worst, same, *_ = paired_measures(right, cells, tuple(map(str, range(20))), halves)
        lowest.append(worst.before.value)
        judged.append(same.gain.value)
    assert np.mean(lowest) < 0.55
    assert abs(np.mean(judged)) < 0.04


def test_groups_widen_what_is_paired() -> None:
    random = np.random.default_rng(0)
    cells = np.repeat([0, 1], 40)
    before, after = random.random(80) < 0.5, np.repeat(random.random(16) < 0.8, 5)
    right = {"before": before, "after": after, "placebo": before}
    halves = np.arange(80) // 5 % 2
    alone = paired_measures(right, cells, ("a", "b"), halves)
    grouped = paired_measures(right, cells, ("a", "b"), halves, np.repeat(np.arange(16), 5).astype(str))
    for one, other in zip(alone, grouped, strict=True):
        assert one.gain.value == other.gain.value
    assert grouped[3].after.high - grouped[3].after.low > alone[3].after.high - alone[3].after.low


# The whole command.


def test_the_worst_slice_is_mended_and_the_placebo_is_not(done: Any) -> None:
    mending = done.evaluation.mending
    worst, same, mean, accuracy, *slices = mending.rows
    assert worst.before.value <= 0.6
    assert worst.gain.value >= 0.15
    assert worst.placebo_gain.value < 0.05
    assert same.real
    assert mending.real
    assert mean.gain.low > 0
    assert len(slices) == 4
    assert {each.name for each in slices} == {f"{label}, ground={ground}" for label in COLOURS for ground in GROUNDS}
    assert mending.sentence.startswith("mended: the worst slice went from ")
    assert accuracy.before.n == mending.n == 340
    assert as_text(done).startswith(mending.sentence)
    assert as_json(done)["mending"]["real"] is True


def test_balanced_pictures_mend_with_the_placebo_too(biased: Path, even: Path, tmp_path: Path) -> None:
    done = _reweigh(even, biased, tmp_path / "run", group="pair")
    mending = done.evaluation.mending
    assert mending.n == 160
    assert mending.sentence.startswith("not by balancing: the worst slice went from ")
    assert not mending.real


def test_what_was_done_is_in_the_run(done: Any, folder: Path, biased: Path) -> None:
    out = done.out
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rows = [line for line in lines if line["phase"] == "reweigh"]
    assert [row["name"] for row in rows[:4]] == ["worst slice", "slice that was worst", "mean over slices", "accuracy"]
    stored = stored_evaluation(out)
    assert stored.mending == done.evaluation.mending
    assert Mending.from_json(json.loads((out / "evaluation" / "scores.json").read_text())["mending"]) == stored.mending
    assert json.loads((out / "recipe.json").read_text())["arguments"]["model"] == str(biased)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "80 pictures that the network had been trained on" in page
    assert "Worst slice" in page
    assert "each of the 340 pictures by a layer fitted on the half without it" in page


def test_what_the_run_learnt_is_left_out_and_known_again(done: Any, folder: Path, biased: Path) -> None:
    assert done.evaluation.mending.excluded == 80
    splits = [row.split for row in read_split(done.out / "split.csv")]
    assert (splits.count("train"), splits.count("earlier")) == (340, 80)
    assert learnt_by(done.out) > learnt_by(biased)
    scored = regard.evaluate(folder / "data" / "both.csv", done.out, workers=0).evaluation
    assert (scored.n, scored.note) == (340, "cross-validated")
    assert scored.scores["top1"].value == done.evaluation.scores["top1"].value
    old = regard.evaluate(folder / "data" / "biased.csv", done.out, workers=0).evaluation
    assert old.note == "seen in training"


def test_copies_are_left_out_and_names_say_nothing(folder: Path, biased: Path, even: Path, tmp_path: Path) -> None:
    """Held-out pictures under the names of those that the run learnt, and what it learnt in another format."""
    learnt = _rows(folder / "data" / "biased.csv")
    rows = []
    for old, row in zip(learnt, _rows(even), strict=False):
        shutil.copy(even.parent / row[0], tmp_path / old[0])
        rows.append((old[0], *row[1:]))
    rows += [(str(even.parent / row[0]), *row[1:]) for row in _rows(even)[len(learnt) :]]
    for row in learnt[::8]:
        Image.open(even.parent / row[0]).save(tmp_path / f"{row[0]}.bmp")
        rows.append((f"{row[0]}.bmp", *row[1:]))
    rows += [(str(even.parent / row[0]), *row[1:]) for row in learnt]
    done = _reweigh(_table(tmp_path / "t.csv", rows), biased, tmp_path / "run")
    assert (done.evaluation.mending.excluded, done.evaluation.n) == (80 + 10, 160)
    both = _table(tmp_path / "both.csv", [*rows[:160], *rows[-80:]])
    scored = regard.evaluate(both, done.out, workers=0).evaluation
    assert (scored.n, scored.note) == (160, "cross-validated")
    assert scored.scores["nll"].value == pytest.approx(done.evaluation.scores["nll"].value)


def test_compare_pairs_the_answers_before_and_after(done: Any, folder: Path, biased: Path) -> None:
    found = regard.compare([biased, done.out], data=folder / "data" / "both.csv", slices=["ground"], workers=0)
    assert found.n == 340
    accuracy = done.evaluation.mending.rows[3]
    assert found.differences[0].top1 == accuracy.gain
    assert len(found.changes) == found.differences[0].only_this + found.differences[0].only_first


def test_the_network_that_is_used_answers(done: Any, even: Path, tmp_path: Path) -> None:
    """Only its last layer is new, and it is fitted on both halves."""
    network, before = regard.load(done.out), regard.load(done.out.parent / "run")
    assert network.classes == before.classes
    assert network.weights_hash(head=False) == before.weights_hash(head=False)
    seen = regard.evaluate(even, done.out, workers=0, keep_seen=True).evaluation
    assert seen.scores["top1"].value > 0.8
    assert regard.predict(even, tmp_path / "labels.csv", model=done.out, workers=0).n == 160


def test_the_same_again_is_the_same(done: Any, folder: Path, biased: Path, tmp_path: Path) -> None:
    again = _reweigh(folder / "data" / "both.csv", biased, tmp_path / "run")
    assert (again.out / "model.safetensors").read_bytes() == (done.out / "model.safetensors").read_bytes()
    assert (again.out / "metrics.jsonl").read_bytes() == (done.out / "metrics.jsonl").read_bytes()
    repeated = regard.train(
        folder / "data" / "both.csv", tmp_path / "third", recipe=done.out / "recipe.json", workers=0
    )
    assert repeated.evaluation.mending == done.evaluation.mending


def test_a_second_time_what_both_learnt_is_left_out(done: Any, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no picture of .*both\.csv is held out: .* was trained on 420 of 420"):
        _reweigh(folder / "data" / "both.csv", done.out, tmp_path / "run")


def test_a_test_split_is_left_alone(biased: Path, even: Path, tmp_path: Path) -> None:
    rows = [("filename", "label", "ground", "split")]
    rows += [
        (str(even.parent / row[0]), row[1], row[2], "test" if row[4] in list("0123") else "val") for row in _rows(even)
    ]
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    done = _reweigh(table, biased, tmp_path / "run")
    assert done.evaluation.n == 160 - 32
    assert _reweigh(table, biased, tmp_path / "other", split="test").evaluation.n == 32


# Slices that nobody named.


def test_backgrounds_are_found_where_no_slice_is_named(biased: Path, rest: Path, tmp_path: Path) -> None:
    done = _reweigh(rest, biased, tmp_path / "run", slices=None)
    mending = done.evaluation.mending
    assert mending.columns == ("found background",)
    ground = {row[0]: row[2] for row in _rows(rest)}
    predictions = done.evaluation.predictions
    found = dict(zip(predictions.names, predictions.slices["found background"].tolist(), strict=True))
    pairs = {(ground[name], cluster) for name, cluster in found.items()}
    assert len({cluster for _, cluster in pairs}) == len(pairs) >= 2  # no cluster has both grounds
    assert "clusters of backgrounds (the object filled on 0 pictures, the middle on 340; silhouette 0." in (
        done.out / "report.html"
    ).read_text(encoding="utf-8")
    again = _reweigh(rest, biased, tmp_path / "other", slices=None)
    assert again.evaluation.mending == mending


def test_the_object_is_filled_where_regions_are_known(tmp_path: Path) -> None:
    """Features of a picture without its object do not depend on what the object is."""
    regard.scenes(12, tmp_path / "drawn", size=64, val=0)
    dataset = read(tmp_path / "drawn").labelled()
    network = regard.load("random:test_vit", size=64)
    features, masked = _features(network, dataset, own_regions(tmp_path / "drawn"), 4, 0, silent)
    plain, none = _features(network, dataset, None, 4, 0, silent)
    assert (masked, none) == (12, 0)
    assert features.shape == plain.shape
    assert not np.allclose(features, plain)


def test_few_pictures_of_a_class_go_to_its_nearest_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FEWEST", 4)
    features = np.array([[0.0]] * 6 + [[1.0]] * 2 + [[5.0]] * 6 + [[0.1]], np.float32)
    clusters = np.repeat([0, 1, 2, 0], [6, 2, 6, 1])
    labels = np.repeat([0, 0, 0, 1], [6, 2, 6, 1])
    merged = _merged(clusters, labels, np.arange(15), features)
    assert merged.tolist() == [0] * 8 + [2] * 6 + [0]
    together = _merged(clusters, labels, np.array([0] * 6 + [1, 2] + [3, 4, 5, 6, 7, 8] + [9]), features)
    assert together.tolist() == [2] * 14 + [0]
    monkeypatch.setattr(background, "FEWEST", 2)
    assert _merged(clusters, labels, np.arange(15), features).tolist() == clusters.tolist()
    small = np.array([[0.0]] * 9 + [[5.0]] * 2 + [[5.1]] * 2, np.float32)  # two that are small together are not
    monkeypatch.setattr(background, "FEWEST", 4)
    joined = _merged(np.repeat([0, 1, 2], [9, 2, 2]), np.zeros(13, np.int64), np.arange(13), small)
    assert joined[:9].tolist() == [0] * 9
    assert len(set(joined[9:].tolist())) == 1 and joined[9] != 0


def test_pictures_that_do_not_differ_have_one_background() -> None:
    clusters, silhouette = _clusters(np.ones((8, 3), np.float32), 0)
    assert set(clusters.tolist()) == {0}
    assert silhouette == 0


# What cannot be done.


def _subset(even: Path, path: Path, counts: dict[tuple[str, str], int]) -> Path:
    rows = []
    for place, count in counts.items():
        rows += [row for row in _rows(even) if (row[1], row[2]) == place][:count]
    return _table(path, [(str(even.parent / row[0]), *row[1:]) for row in rows])


def test_a_slice_without_pictures_is_named(biased: Path, even: Path, tmp_path: Path) -> None:
    table = _subset(even, tmp_path / "t.csv", _even(20) | {("red", "dark"): 0})
    done = _reweigh(table, biased, tmp_path / "run")
    assert done.evaluation.mending.empty == ("red, ground=dark",)
    assert len(done.evaluation.mending.rows) == 4 + 3
    assert any("1 slice ('red, ground=dark') is without a picture" in each for each in done.messages)


@pytest.mark.parametrize(
    ("counts", "slices", "text"),
    [
        ({("red", "dark"): 1}, ["ground"], r"1 slice \('red, ground=dark'\) is of one picture held out .* needs two"),
        ({}, ["same"], "within each class 'same' has one value alone, as where it is the class itself"),
        ({}, ["label"], "within each class 'label' has one value alone"),
        ({("red", "dark"): 0, ("red", "light"): 0}, ["ground"], r"1 class \('red'\) is without a picture held out"),
        (dict.fromkeys(_even(1), 1), ["ground"], "4 slices .* are of one picture held out"),
        ({key: 0 for key in _even(1) if key != ("red", "dark")}, ["ground"], "without a picture held out"),
    ],
)
def test_what_cannot_be_balanced_is_refused(
    counts: Any, slices: list[str], text: str, biased: Path, even: Path, tmp_path: Path
) -> None:
    table = _subset(even, tmp_path / "t.csv", _even(4) | counts)
    with pytest.raises(DataError, match=text):
        _reweigh(table, biased, tmp_path / "run", slices=slices)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        ({"slices": ["grund"]}, UsageError, "ground"),
        ({"val": 0.5}, UsageError, "--val has no use for reweigh"),
        ({"folds": 3}, UsageError, "--folds has no use for reweigh"),
        ({"epochs": 3}, UsageError, "takes no --epochs"),
        ({"model": "random:test_vit"}, NetworkError, "have no names"),
    ],
)
def test_wrong_arguments(more: Any, kind: Any, text: str, biased: Path, even: Path, tmp_path: Path) -> None:
    with pytest.raises(kind, match=text):
        _reweigh(even, biased, tmp_path / "run", **more)


def test_labels_of_other_classes_are_named(biased: Path, even: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels that do not fit the network"):
        _reweigh(even, biased, tmp_path / "run", label="ground", slices=["pair"])


def test_features_that_are_not_finite_are_refused(
    biased: Path, even: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    network = regard.load(biased)
    whole = type(network).features

    def broken(self: Any, pixels: Any) -> Any:
        features, logits = whole(self, pixels)
        return features * np.inf, logits

    monkeypatch.setattr(type(network), "features", broken)
    with pytest.raises(NetworkError, match="features are not finite for some pictures"):
        _reweigh(even, biased, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_group_that_holds_a_slice_together_is_refused(biased: Path, even: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of one picture held out \(or copies, or one group"):
        _reweigh(_subset(even, tmp_path / "t.csv", _even(2)), biased, tmp_path / "run", group="pair")


def test_nothing_set_aside_and_groups_go_together(even: Path, tmp_path: Path) -> None:
    """A part without pictures has no columns, groups among them."""
    done = regard.train(
        even, tmp_path / "run", recipe="probe", model="random:test_vit", size=32, workers=0, val=0, group="pair"
    )
    assert {row.group for row in read_split(done.out / "split.csv")} == {str(number) for number in range(20)}


def test_resume_writes_what_was_missing(done: Any, folder: Path, biased: Path, tmp_path: Path) -> None:
    """As where the report failed: the network is there, and the run is not finished."""
    again = tmp_path / "run"
    shutil.copytree(done.out, again)
    (again / "checkpoint").mkdir()
    (again / "run.json").rename(again / "checkpoint" / "run.json")
    (again / "report.html").unlink()
    _reweigh(folder / "data" / "both.csv", biased, again, resume=True)
    for name in ("model.safetensors", "split.csv", "metrics.jsonl", "evaluation/scores.json"):
        assert (again / name).read_bytes() == (done.out / name).read_bytes()
    assert (again / "report.html").is_file()
    with pytest.raises(DataError, match=r"the data changed since .* was begun: 260 gone .*; put it back"):
        shutil.rmtree(again)
        shutil.copytree(done.out, again)
        (again / "checkpoint").mkdir()
        (again / "run.json").rename(again / "checkpoint" / "run.json")
        _reweigh(_subset(folder / "data" / "rest.csv", tmp_path / "t.csv", _even(20)), biased, again, resume=True)
