"""Several labels a picture: how they are read, and how pictures are divided so that each part has its share of each."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.dataset import Picture
from regard.data.label_sets import LabelSets, joined, label_sets, labels_in
from regard.data.layouts import read_labelled
from regard.data.layouts.multilabel import read_multilabelled
from regard.data.openers import BytesOpener
from regard.data.stratified import label_folds, multilabel_parts, stratified
from regard.errors import DataError


def table(folder: Path, rows: str, header: str = "filename,label") -> Path:
    for line in rows.splitlines():
        Image.new("RGB", (4, 4)).save(folder / line.partition(",")[0])
    (folder / "index.csv").write_text(f"{header}\n{rows}")
    return folder / "index.csv"


def sets_of(truth: np.ndarray, columns: dict[str, list[str]] | None = None) -> LabelSets:
    names = np.array([f"l{index}" for index in range(truth.shape[1])])
    pictures = tuple(
        Picture(
            f"{row}.png",
            BytesOpener(b"", f"{row}.png"),
            joined(names[each]),
            columns={name: values[row] for name, values in (columns or {}).items()},
        )
        for row, each in enumerate(truth)
    )
    return LabelSets(Path("data"), "csv", pictures, tuple(names.tolist()))


def drawn(pictures: int = 200, labels: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((pictures, labels)) < np.geomspace(0.5, 0.03, labels)


def test_a_cell_holds_the_labels_of_a_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "regard")
    dataset = read_multilabelled(table(tmp_path, "a.png,dog | Cat\nb.png,\nc.png,cat\nd.png,dog|dog\n"))
    assert dataset.classes == ("Cat", "cat", "dog")
    assert dataset.truth.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert [picture.label for picture in dataset.pictures] == ["Cat|dog", "", "cat", "dog"]
    assert "3 classes: Cat 1, cat 1, dog 2" in caplog.text
    assert "1 of these 4 pictures have none of the labels" in caplog.text


def test_numbers_are_in_their_order_and_another_column_may_hold_them(tmp_path: Path) -> None:
    file = table(tmp_path, "a.png,x,10|9\nb.png,x,2\n", "filename,label,kinds")
    assert read_multilabelled(file, "kinds").classes == ("2", "9", "10")
    assert read_multilabelled(file, "kinds").pictures[0].label == "9|10"


def test_categories_of_a_coco_file_are_labels(tmp_path: Path) -> None:
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    content = {
        "images": [{"id": at, "file_name": f"{name}.png"} for at, name in enumerate("abc")],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "none of it"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c} for n, (i, c) in enumerate([(0, 1), (0, 2), (0, 1), (2, 2)])
        ],
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    dataset = read_multilabelled(tmp_path / "x.json")
    assert [picture.label for picture in dataset.pictures] == ["cat|dog", "", "cat"]
    content["categories"][0]["name"] = "a|b"
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"the category 'a\|b' has '\|' in its name"):
        read_multilabelled(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a.png,cat||dog\n", r"a\.png: the labels 'cat\|\|dog' hold one without a name"),
        ("a.png,\nb.png,\n", "2 pictures .* without a label"),
    ],
)
def test_cells_that_will_not_do(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_multilabelled(table(tmp_path, rows))


def test_a_classifier_is_told_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are learnt with --task multilabel"):
        read_labelled(table(tmp_path, "a.png,cat|dog\nb.png,cat\nc.png,dog\n"))


def test_one_label_each_is_no_such_task() -> None:
    with pytest.raises(DataError, match="no picture of data has several labels"):
        multilabel_parts(sets_of(np.eye(4, dtype=bool)))


def test_labels_that_a_network_does_not_know() -> None:
    dataset = sets_of(drawn(10, 3))
    assert dataset.fitted(["l2", "more", "l1", "l0"]).truth[:, [3, 2, 0]].tolist() == dataset.truth.tolist()
    with pytest.raises(DataError, match=r"1 label \('l2'\) is not among its 2 labels"):
        dataset.fitted(["l0", "l1"])


def test_accents_in_two_spellings_are_one_label() -> None:
    rows = [Picture(name, BytesOpener(b"", name), text) for name, text in (("a", "n\u00e9|x"), ("b", "ne\u0301"))]
    assert label_sets(LabelSets(Path("d"), "csv", tuple(rows))).classes == ("n\u00e9", "x")


def test_by_hand_the_rarest_label_comes_first() -> None:
    """Two of four pictures have b, one goes to each part; then the two that have only a."""
    counts = np.array([[1, 1], [1, 1], [1, 0], [1, 0]])
    parts = stratified(counts, np.ones(4, int), (0.5, 0.5), range(4))
    assert parts.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_its_share_of_every_label(seed: int) -> None:
    truth = drawn(seed=seed)
    train, val = multilabel_parts(sets_of(truth), seed=seed)
    assert len(train) + len(val) == len(truth) and abs(len(val) - 40) <= 2
    assert np.abs(val.truth.sum(0) - 0.2 * truth.sum(0)).max() <= 2
    random = np.random.default_rng(seed).permutation(len(truth))[:40]
    assert np.abs(val.truth.sum(0) - 0.2 * truth.sum(0)).sum() < np.abs(truth[random].sum(0) - 0.2 * truth.sum(0)).sum()
    assert val.names == multilabel_parts(sets_of(truth), seed=seed)[1].names
    assert val.names != multilabel_parts(sets_of(truth), seed=seed + 100)[1].names


@pytest.mark.parametrize("seed", range(3))
def test_groups_and_twins_stay_together_and_a_lonely_label_is_trained_on(seed: int) -> None:
    truth = drawn(120, 5, seed)
    truth[:, 4] = False
    truth[7, 4] = True
    groups = [str(each // 4) for each in range(120)]
    train, val = multilabel_parts(sets_of(truth, {"patient": groups}), seed=seed, group="patient", twins=[(0, 119)])
    assert not set(train.column("patient")) & set(val.column("patient"))
    assert ("0.png" in train.names) == ("119.png" in train.names)
    assert train.truth[:, 4].sum() == 1 and len(val) > 10


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_even_and_no_label_is_in_one_alone(seed: int) -> None:
    truth = drawn(100, 5, seed)
    truth[:, 4] = False
    truth[[3, 50], 4] = True
    names = [f"l{index}" for index in range(5)]
    folds = label_folds(truth, names, seed=seed)
    assert np.bincount(folds).tolist() == [20] * 5
    assert np.ptp([truth[folds == fold].sum(0) for fold in range(5)], axis=0).max() <= 2
    units = np.arange(100) // 5
    grouped = label_folds(truth, names, units, seed=seed)
    assert all(len(set(grouped[units == unit])) == 1 for unit in range(20))
    truth[50, 4] = False
    with pytest.raises(DataError, match=r"1 label \('l4'\) is in one of 5 folds alone"):
        label_folds(truth, names)


def test_labels_of_a_text() -> None:
    assert labels_in(" b |a| b") == ("b", "a") and labels_in(" ") == () and joined(["10", "9"]) == "9|10"
