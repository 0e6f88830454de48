"""`recombine`: composites, what is trained on and what is judged, resume to the same bytes, and what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import regard
from regard.data.dataset import Dataset
from regard.data.images.augment import Augmentation, Changes
from regard.data.layouts import read
from regard.data.regions import regions_of
from regard.data.splits import read_split
from regard.errors import DataError, NetworkError, UsageError
from regard.measurement.classification.mending import paired_measures
from regard.measurement.classification.scoring import stored_evaluation
from regard.measurement.selection import learnt_by
from regard.networks.load import load
from regard.training.objectives import LabelObjective
from regard.training.session import InterruptedTrainingError
from regard.training.tasks.mending import recombine
from regard.training.tasks.mending.composites import CompositeLoader, Cutouts, composed, without_object

GROUNDS = {"light": 200, "dark": 60}
COLOURS = {"red": (230, 40, 40), "green": (40, 230, 40)}
SIDE = 32
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "precision": "float32", "learning_rate": 1e-5, "workers": 0}


def _draw(folder: Path, counts: dict[tuple[str, str], int], table: str, seed: int = 0) -> Path:
    """A table of pictures of a square (the class) on a ground, and masks of the squares beside it."""
    random = np.random.default_rng(seed)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    rows = []
    for (label, ground), count in counts.items():
        for number in range(count):
            pixels = np.full((SIDE, SIDE, 3), GROUNDS[ground]) + random.normal(0, 10, (SIDE, SIDE, 3))
            mask = np.zeros((SIDE, SIDE), np.uint8)
            top, left = random.integers(6, 18, 2)
            mask[top : top + 8, left : left + 8] = 255
            pixels[mask > 0] = COLOURS[label]
            name = f"{table}_{label}_{ground}_{number}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
            Image.fromarray(mask).save(folder / "masks" / name)
            rows.append((name, label, ground))
    return _table(folder / f"{table}.csv", rows)


def _table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "label", "ground", "split")[: len(rows[0])], *rows])
    return path


def _rows(table: Path) -> list[tuple[str, ...]]:
    with table.open(newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recombine")


@pytest.fixture(scope="module")
def biased(folder: Path) -> Path:
    counts = {("red", "light"): 14, ("green", "dark"): 14, ("red", "dark"): 2, ("green", "light"): 2}
    return _draw(folder / "data", counts, "learnt")


@pytest.fixture(scope="module")
def rest(folder: Path) -> Path:
    counts = {("red", "light"): 12, ("green", "dark"): 12, ("red", "dark"): 8, ("green", "light"): 8}
    return _draw(folder / "data", counts, "rest", seed=1)


@pytest.fixture(scope="module")
def run(folder: Path, biased: Path) -> Path:
    regard.train(biased, folder / "run", recipe="probe", model="random:test_vit", size=SIDE, workers=0, val=0)
    return folder / "run"


def _recombine(data: Path, run: Path, out: Path, **more: Any) -> Any:
    how = {"recipe": "recombine", "model": run, "slices": ["ground"], "val": 0.5, **QUICK, **more}
    return regard.train(data, out, **{"masks": data.parent / "masks", **how})


@pytest.fixture(scope="module")
def both(biased: Path, rest: Path) -> Path:
    return _table(rest.parent / "both.csv", [*_rows(biased), *_rows(rest)])


@pytest.fixture(scope="module")
def done(folder: Path, both: Path, run: Path) -> Any:
    return _recombine(both, run, folder / "mended")


# Composites.


def _part(table: Path) -> Dataset:
    return read(table).labelled()


def _loader(table: Path, run: Path, **more: Any) -> CompositeLoader:
    part = _part(table)
    preparation = load(run).preparation
    cutouts = Cutouts.of(part, regions_of(table.parent / "masks"), preparation)
    objective = LabelObjective(part.labels, 2)
    how: dict[str, Any] = {"batch_size": 4, "workers": 0, "cutouts": cutouts, **more}
    return CompositeLoader(part.pictures, objective, preparation, Augmentation(), **how)


NO_CHANGE = Changes(np.zeros((10, 4)), False, 0.0, (0.0, 0.0), 1.0, ())


def test_the_object_is_its_own_and_the_ground_anyones(rest: Path, run: Path) -> None:
    """Of each class as often on light as on dark, in any size and place, and wholly in the picture."""
    loader = _loader(rest, run)
    grounds = {0: [], 1: []}  # type: dict[int, list[bool]]
    areas, places = [], []
    for index in range(len(loader.pictures)):
        for epoch in range(10):
            pixels = loader.pixels(index, epoch, NO_CHANGE).astype(int)
            label = int(loader.objective.target(index, epoch, NO_CHANGE))
            strong = 0 if label == 1 else 1  # classes are green, red
            thing = pixels[..., strong] - pixels[..., 1 - strong] > 120
            other = pixels[..., 1 - strong] - pixels[..., strong] > 120
            assert thing.any() and not other.any()  # the donor's own object is filled
            areas.append(int(thing.sum()))
            places.append(int(np.flatnonzero(thing.any(axis=0))[0]))
            grounds[label].append(bool(np.median(pixels[~thing]) > 130))
    shares = [np.mean(each) for each in grounds.values()]
    # donors' classes are even, and of either as many stand on light as on dark but for 12 and 8 in 20
    assert abs(shares[0] - shares[1]) < 0.12
    assert all(0.35 < share < 0.65 for share in shares)
    assert min(areas) < 8 * 8 * 0.75 and max(areas) > 8 * 8 * 1.25
    assert min(places) <= 1 and max(places) >= SIDE - 11


def test_a_composite_is_a_function_of_seed_epoch_and_index(rest: Path, run: Path) -> None:
    loader = _loader(rest, run)
    first = loader.pixels(3, 1, NO_CHANGE)
    assert (loader.pixels(3, 1, NO_CHANGE) == first).all()
    for other in (loader.pixels(3, 2, NO_CHANGE), _loader(rest, run, seed=1).pixels(3, 1, NO_CHANGE)):
        assert (other != first).any()
    read_ahead = [batch.pixels for step in _loader(rest, run, workers=2).steps(1) for batch in step.batches]
    alone = [batch.pixels for step in loader.steps(1) for batch in step.batches]
    assert all((one == two).all() for one, two in zip(read_ahead, alone, strict=True))


def test_by_hand() -> None:
    """An object that fills its picture goes in nowhere else; a box is filled from its sides."""
    picture = np.full((4, 4, 3), 9, np.uint8)
    ground = np.zeros((4, 4, 3), np.uint8)

    class Largest:
        def uniform(self, low: float, high: float) -> float:
            return high

        def integers(self, high: int) -> int:
            return 0

    assert (composed(picture, np.ones((4, 4), bool), ground, Largest()) == 9).all()  # type: ignore[arg-type]
    striped = np.full((8, 8, 3), 100, np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[3:5, 3:5] = True
    striped[mask] = 255
    assert (without_object(striped, mask) == 100).all()


def test_donors_of_each_class_lend_alike(rest: Path, run: Path) -> None:
    cutouts = _loader(rest, run).cutouts
    assert cutouts is not None
    few = cutouts.among([*range(12), 20])  # twelve red, one green
    random = np.random.default_rng(0)
    assert 0.4 < np.mean([few.donor(random) == 12 for _ in range(300)]) < 0.6
    assert (few.mask(12) == cutouts.mask(20)).all()


# The run.


def test_what_was_done_is_in_the_run(done: Any, folder: Path, run: Path) -> None:
    mending = done.evaluation.mending
    assert (mending.recipe, mending.columns, mending.n, mending.excluded) == ("recombine", ("ground",), 20, 32)
    assert mending.measures[0].name == "worst slice"
    assert stored_evaluation(done.out).mending == mending
    assert mending.done.startswith("All of the network was trained on 52 pictures for 2 epochs")
    lines = [json.loads(line) for line in (done.out / "metrics.jsonl").read_text().splitlines()]
    assert {row["phase"] for row in lines} == {"placebo", "train", "recombine"}
    assert json.loads((done.out / "recipe.json").read_text())["arguments"]["masks"] == str(folder / "data" / "masks")
    page = (done.out / "report.html").read_text(encoding="utf-8")
    assert "20 pictures that neither this run nor the one before has learnt" in page
    assert str(folder) not in page


def test_before_is_the_run_as_it_is(done: Any, rest: Path, run: Path) -> None:
    """The same answers as `evaluate` gives, before and after, on the pictures set aside."""
    aside = {row.filename for row in read_split(done.out / "split.csv") if row.split == "val"}
    table = _table(rest.parent / "aside.csv", [row for row in _rows(rest) if row[0] in aside])
    accuracy = done.evaluation.mending.rows[3]
    for network, score in ((run, accuracy.before), (done.out, accuracy.after)):
        assert regard.evaluate(table, network, workers=0).evaluation.scores["top1"].value == pytest.approx(score.value)
    assert load(done.out).weights_hash() != load(run).weights_hash()


def test_the_judged_pictures_are_new_to_both(done: Any, both: Path, biased: Path, run: Path) -> None:
    splits: dict[str, set[str]] = {}
    for row in read_split(done.out / "split.csv"):
        splits.setdefault(row.split, set()).add(row.sha256)
    assert {name: len(each) for name, each in splits.items()} == {"train": 52, "val": 20, "earlier": 32}
    assert not splits["val"] & (splits["train"] | learnt_by(run))
    assert learnt_by(done.out) == splits["train"] | splits["earlier"]
    scored = regard.evaluate(both, done.out, workers=0).evaluation
    assert (scored.n, scored.note) == (20, "")
    assert regard.evaluate(biased, done.out, workers=0).evaluation.note == "seen in training"


def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    done: Any, both: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the placebo, and again in the training itself."""
    out = tmp_path / "run"
    for resume, steps in ((False, 5), (True, 14)):
        _stop_after(monkeypatch, steps)
        with pytest.raises(InterruptedTrainingError):
            _recombine(both, run, out, resume=resume)
        monkeypatch.undo()
    _recombine(both, run, out, resume=True)
    for name in ("model.safetensors", "metrics.jsonl", "split.csv"):
        assert (out / name).read_bytes() == (done.out / name).read_bytes(), name
    assert stored_evaluation(out).mending == done.evaluation.mending


def _stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """As Ctrl-C does, after so many steps."""
    from regard.training import loop

    whole, counts = loop._collect, [0]

    def collect(pending: Any, position: Any, phase: Any, session: Any) -> bool:
        counts[0] += 1
        if counts[0] == steps:
            session.stop.pending = True
        return whole(pending, position, phase, session)

    monkeypatch.setattr(loop, "_collect", collect)


def test_pictures_whose_object_is_not_known_are_counted(both: Path, run: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for file in (both.parent / "masks").glob("*.png"):
        if not file.name.endswith("_1.png"):
            (masks / file.name).write_bytes(file.read_bytes())
    made = _recombine(both, run, tmp_path / "run", masks=masks, epochs=1)
    (message,) = (each for each in made.messages if "not trained on" in each)
    count = sum(row.split == "train" for row in read_split(made.out / "split.csv"))
    assert message.startswith(f"{52 - count} of 52 pictures are not trained on, as their object is not known (of ")
    assert 44 <= count < 52
    assert "masks has no mask of it" in message


def test_without_anything_to_judge_by(biased: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no picture of .* is new to .*, which was trained on 32 of 32.*--val 0"):
        _recombine(biased, run, tmp_path / "run")
    made = _recombine(biased, run, tmp_path / "run", val=0, epochs=1)
    assert made.evaluation is None
    phases = {json.loads(line)["phase"] for line in (made.out / "metrics.jsonl").read_text().splitlines()}
    assert phases == {"train"}


def test_a_val_and_a_test_of_ones_own(both: Path, run: Path, tmp_path: Path) -> None:
    rows = [(*row, ("val", "train", "test")[at % 3]) for at, row in enumerate(_rows(both))]
    table = _table(both.parent / "split.csv", rows)
    made = _recombine(table, run, tmp_path / "run", val=None, epochs=1)
    counts = {name: sum(row.split == name for row in read_split(made.out / "split.csv")) for name in ("train", "val")}
    new = [row for at, row in enumerate(rows) if row[3] == "val" and at >= 32]
    assert counts == {"train": sum(row[3] == "train" for row in rows), "val": len(new)}
    with pytest.raises(UsageError, match="has a val split of its own"):
        _recombine(table, run, tmp_path / "other")


def test_a_mended_run_is_explained(done: Any, run: Path, rest: Path, tmp_path: Path) -> None:
    """Its maps are its own: of the network that was mended, not of the one before."""
    names = [str(rest.parent / row[0]) for row in _rows(rest)[:3]]
    maps = {}
    for name, model in (("before", run), ("after", done.out)):
        regard.explain(names, tmp_path / name, model=model, method="gradcam", workers=0)
        maps[name] = regard.Explainer(model)(names, method="gradcam", target=0)
    assert len(list((tmp_path / "after").glob("*.jpg"))) == 3
    assert np.isfinite(maps["after"].maps).all() and (maps["before"].maps != maps["after"].maps).any()
    assert maps["after"].provenance["weights_sha256"] == load(done.out).weights_hash()


# What is refused.


def test_what_is_refused(both: Path, biased: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for more, error, text in (
        ({"masks": None}, DataError, "does not say where objects are.*give --masks"),
        ({"crop": 0.5}, UsageError, "--crop has no use for recombine"),
        ({"head": "new", "mix": 0.5}, UsageError, "--head, --mix has no use"),
        ({"slices": ["grund"]}, UsageError, "ground"),
        ({"recipe": "finetune", "slices": None}, UsageError, "--masks has no use for finetune"),
    ):
        with pytest.raises(error, match=text):
            _recombine(both, run, out, **more)
    empty = tmp_path / "masks"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no picture of .* has an object with enough around it .*no mask of it"):
        _recombine(both, run, out, masks=empty)
    for file in (both.parent / "masks").glob("*_red_*.png"):
        (empty / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"'green'\) is without a picture whose object masks knows"):
        _recombine(both, run, out, masks=empty)


def test_slices_without_pictures_and_answers_that_are_no_numbers(
    biased: Path, rest: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that says the class has two slices, and two that nobody is in."""
    made = _recombine(rest, run, tmp_path / "run", slices=["label"], epochs=1)
    mending = made.evaluation.mending
    assert [row.name for row in mending.rows if row.slice] == ["green, label=green", "red, label=red"]
    assert mending.empty == ("green, label=red", "red, label=green")
    assert any(
        "2 slices ('green, label=red', 'red, label=green') are without a picture" in each for each in made.messages
    )
    monkeypatch.setattr(recombine, "compute_logits", lambda job, part: np.full((len(part), 2), np.nan, np.float32))
    monkeypatch.setattr(recombine, "score", lambda logits, labels: {"validation_loss": 1.0, "validation_top1": 0.5})
    with pytest.raises(NetworkError, match=r"the answers of .* are not finite"):
        _recombine(rest, run, tmp_path / "other", epochs=1)


def test_a_slice_that_is_in_one_half_alone() -> None:
    """One picture in a slice: it is judged where it is, and found nowhere else."""
    cells = np.array([0, 0, 0, 0, 1])
    right = {"before": np.array([1, 1, 0, 1, 0], bool), "after": np.ones(5, bool), "placebo": np.zeros(5, bool)}
    worst, same, *_ = paired_measures(right, cells, ("a", "b"), np.array([0, 1, 0, 1, 0]))
    assert (worst.where[0], worst.before.n) == ("b", 1)
    assert same.before.n >= 2
    alone = paired_measures(right, cells, ("a", "b"), np.zeros(5, np.int64))
    assert alone[1].before.n == 0 and not alone[1].real


# What a run had learnt before is known again, whatever the recipe.


@pytest.mark.parametrize("recipe", ["probe", "finetune"])
def test_finetune_and_probe_know_what_the_run_before_learnt(
    recipe: str, run: Path, biased: Path, rest: Path, both: Path, tmp_path: Path
) -> None:
    quick = {} if recipe == "probe" else {"search": "never", **QUICK}
    made = regard.train(rest, tmp_path / "run", recipe=recipe, model=run, val=0.2, **{"workers": 0, **quick})
    splits = [row.split for row in read_split(made.out / "split.csv")]
    assert {name: splits.count(name) for name in set(splits)} == {"train": 32, "val": 8, "earlier": 32}
    old = regard.evaluate(biased, made.out, workers=0).evaluation
    assert old.note == "seen in training"
    assert regard.evaluate(both, made.out, workers=0).evaluation.n == 8
    assert not any("had been learnt" in each for each in made.messages)
    again = regard.train(both, tmp_path / "again", recipe=recipe, model=run, val=0.2, **{"workers": 0, **quick})
    assert any("pictures that give the score had been learnt by run" in each for each in again.messages)


def test_slices_are_crossed_with_the_class_where_asked(rest: Path, run: Path, tmp_path: Path) -> None:
    crossed = regard.evaluate(rest, run, slices=["class+ground", "ground"], workers=0).evaluation
    named = {(each.column, each.value): each for each in crossed.slices}
    assert {value for column, value in named if column == "class+ground"} == {
        f"{label}, {ground}" for label in COLOURS for ground in GROUNDS
    }
    assert named["class+ground", "red, dark"].top1.n == 8 and named["ground", "dark"].top1.n == 20
    part = _part(rest)
    assert (part.column("class+ground") == part.column("label+ground")).all()
    with pytest.raises(UsageError, match="ground"):
        part.column("class+grund")
    made = _recombine(rest, run, tmp_path / "run", slices=["class+ground"], epochs=1)
    assert made.evaluation.mending.columns == ("ground",)
