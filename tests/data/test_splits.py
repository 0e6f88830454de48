"""Splits are stratified, drawn from the seed, keep groups together, and are kept with hashes."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.dataset import Dataset, Picture, gathered
from regard.data.openers import FileOpener
from regard.data.splits import (
    SplitRow,
    assign,
    read_split,
    run_splits,
    scoring_part,
    split_rows,
    split_text,
    training_parts,
)
from regard.errors import DataError, UsageError


def data(*rows: str) -> Dataset:
    """Each row is `label`, `label split`, or `label split group`; a dash is nothing."""
    pictures = []
    for at, text in enumerate(rows):
        label, split, group = (*text.split(), "-", "-")[:3]
        columns = {} if group == "-" else {"animal": group}
        name = f"{at:03}.jpg"
        label, split = (None if text == "-" else text for text in (label, split))
        pictures.append(Picture(name, FileOpener(Path(name)), label, split, columns))
    return gathered(Path("data"), "csv", pictures)


def sides(dataset: Dataset) -> Counter[tuple[str | None, str | None]]:
    return Counter((picture.label, picture.split) for picture in dataset.pictures)


def test_a_fifth_of_each_class() -> None:
    dataset = data(*["a"] * 10, *["b"] * 25, *["c"] * 2)
    split = assign(dataset)
    assert sides(split) == {
        ("a", "train"): 8,
        ("a", "val"): 2,
        ("b", "train"): 20,
        ("b", "val"): 5,
        ("c", "train"): 1,
        ("c", "val"): 1,
    }
    assert split.names == dataset.names and assign(dataset) == split
    assert assign(dataset, seed=1) != split and sides(assign(dataset, seed=1)) == sides(split)
    assert sides(assign(dataset, share=0.5))["b", "val"] == 12


def test_a_picture_more_hardly_changes_the_split() -> None:
    before = {p.name: p.split for p in assign(data(*["a"] * 50, *["b"] * 50)).pictures}
    after = {p.name: p.split for p in assign(data(*["a"] * 50, *["b"] * 50, "b")).pictures}
    assert sum(before[name] != after[name] for name in before) <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=2, max_size=40), st.integers(0, 3))
def test_groups_are_never_torn(rows: list[tuple[str, int]], seed: int) -> None:
    dataset = data(*(f"{label} - {'-' if group == 0 else f'g{group}'}" for label, group in rows))
    try:
        split = assign(dataset, seed=seed, group="animal") if any(group for _, group in rows) else assign(dataset)
    except DataError as error:
        assert "both sides of a split" in str(error)
        return
    there: dict[str, set[str | None]] = {}
    for picture in split.pictures:
        there.setdefault(picture.columns.get("animal") or picture.name, set()).add(picture.split)
    assert all(len(splits) == 1 for splits in there.values())
    assert {picture.label for picture in split.part("train").pictures} == {label for label, _ in rows}


def test_groups_by_hand() -> None:
    dataset = data(*["a - x"] * 4, *["a - y"] * 4, *["b - z"] * 6, *["b - w"] * 2)
    split = assign(dataset, group="animal")
    val = set(split.part("val").column("animal"))
    assert len(val & {"x", "y"}) == 1 and "w" in val and "z" not in val  # wanted: 2 of a, 2 of b
    with pytest.raises(UsageError, match="unknown column 'animals'; did you mean 'animal'"):
        assign(dataset, group="animals")
    with pytest.raises(DataError, match=r"1 class \('b'\) is all of one group \(column 'animal'\)"):
        assign(data("a - x", "a - y", "b - z", "b - z"), group="animal")


def test_no_group_is_not_a_group() -> None:
    split = assign(data("a - x", *["a"] * 9, "b - x", *["b"] * 9), group="animal")
    assert sides(split)["a", "val"] == sides(split)["b", "val"] == 2


def test_train_keeps_every_class() -> None:
    # wanted in val: 4 of a and 1 of b; x and y together would come nearest, but leave train without b
    rows = ["a - x", "a - x", "b - x", "a - y", "a - y", "b - y", *["a - z"] * 16]
    split = assign(data(*rows), group="animal")
    assert sides(split) == {("a", "train"): 18, ("b", "train"): 1, ("a", "val"): 2, ("b", "val"): 1}


def test_twins_stay_together() -> None:
    dataset = data(*["a"] * 6, *["b"] * 6)
    chain = [(0, 1), (1, 2), (7, 6), (8, 7)]
    for seed in range(6):
        split = [picture.split for picture in assign(dataset, seed=seed, twins=chain).pictures]
        assert split[0] == split[1] == split[2] and split[6] == split[7] == split[8]
    with pytest.raises(DataError, match="all duplicates of one another"):
        assign(data("a", "a", "b", "b"), twins=[(2, 3)])


def test_too_little() -> None:
    with pytest.raises(DataError, match=r"2 classes \('b', 'c'\) are of one picture only.*add pictures"):
        training_parts(data("a", "a", "b", "c"))
    with pytest.raises(DataError, match=r"data has one class only \('a'\); a classifier needs two or more"):
        training_parts(data("a", "a", "a"))
    with pytest.raises(DataError, match=r"in data 1 picture \('002\.jpg'\) is without a label"):
        training_parts(data("a", "b", "-"))
    for share in (0.0, 1.0, -1):
        with pytest.raises(UsageError, match="out of range"):
            assign(data("a", "a"), share=share)


def test_the_users_own_split_is_kept() -> None:
    dataset = data("a train", "b train", "a val", "b test", "- test")
    train, val = training_parts(dataset)
    assert (train.names, val.names) == (["000.jpg", "001.jpg"], ["002.jpg"])
    assert train.classes == val.classes == ("a", "b")
    with pytest.raises(DataError, match=r"in data 1 class \('c'\) is in val but not in train"):
        training_parts(data("a train", "b train", "c val"))
    with pytest.raises(DataError, match="no train split, only 'val', 'test'"):
        training_parts(data("a val", "b test"))


def test_validation_is_set_aside_from_train_and_never_from_test() -> None:
    rows = [*["a train"] * 10, *["a test"] * 5, *["b train"] * 10, *["b test"] * 5]
    train, val = training_parts(data(*rows), twins=[(0, 12), (1, 2), (15, 16)])
    assert len(train) == 16 and len(val) == 4
    assert not {*train.names, *val.names} & set(data(*rows).part("test").names)
    together = [{"001.jpg", "002.jpg"}, {"015.jpg", "016.jpg"}]
    assert all(pair <= set(train.names) or pair <= set(val.names) for pair in together)


def test_a_group_on_both_sides_of_the_users_own_split() -> None:
    with pytest.raises(
        DataError, match=r"by column 'animal' 1 group \('tom'\) is on both sides of the split.*keep each on one side"
    ):
        training_parts(data("a train tom", "b train kit", "b val tom"), group="animal")
    train, val = training_parts(data("a train tom", "b train", "b val kim", "a val"), group="animal")
    assert (len(train), len(val)) == (2, 2)


def test_what_is_scored() -> None:
    assert scoring_part(data("a train", "a val", "a test")).names == ["001.jpg"]
    assert scoring_part(data("a train", "a test")).names == ["001.jpg"]
    assert len(scoring_part(data("a train", "a train"))) == 2 and len(scoring_part(data("a", "b"))) == 2
    assert scoring_part(data("a train", "a val"), "train").names == ["000.jpg"]
    assert len(scoring_part(data("a train", "a val"), "all")) == 2
    with pytest.raises(UsageError, match="unknown split 'held'"):
        scoring_part(data("a train", "a val"), "held")


def test_a_split_comes_back_from_its_file(tmp_path: Path) -> None:
    dataset = data("a,_b|c", "d", "a,_b|c", "d")
    parts = training_parts(dataset, group=None)
    hashes = {name: f"{at:064x}" for at, name in enumerate(dataset.names)}
    rows = split_rows(parts, hashes)
    file = tmp_path / "split.csv"
    file.write_text(split_text(rows), encoding="utf-8")
    assert file.read_text().splitlines()[0] == "filename,label,split,sha256,group"
    assert read_split(file) == rows


def test_groups_are_in_the_file() -> None:
    dataset = data("a train tom", "b train kit", "b val kim", "a val")
    rows = split_rows(training_parts(dataset, group="animal"), dict.fromkeys(dataset.names, "h"), "animal")
    assert [row.group for row in rows] == ["tom", "kit", "kim", ""]


@pytest.mark.parametrize("text", ["", "filename,label\na,b\n", "filename,label,split,sha256,group\na,b\n"])
def test_a_file_that_is_no_split(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=r"is not a run's split|is not whole"):
        read_split(tmp_path / "split.csv")
    with pytest.raises(DataError, match="there is no"):
        read_split(tmp_path / "none.csv")


def test_seen_or_not() -> None:
    rows = [SplitRow("a", "x", "train", "1"), SplitRow("b", "x", "val", "2"), SplitRow("c", "x", "val", "1")]
    assert run_splits(["3", "2", "1"], rows).tolist() == ["", "val", "train"]
