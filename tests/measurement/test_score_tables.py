"""Tables of scores and predictions: written, read back, and read from elsewhere with all that can be wrong there."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import DataError
from regard.measurement.classification.evaluation import evaluate
from regard.measurement.classification.predictions import read_predictions
from regard.records import Predictions
from regard.results.evaluations import from_rows, per_class, per_picture
from regard.results.predictions import prediction_header, prediction_row

NAMES = ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/old/4.v2.jpg")
LABELS = np.array([0, 0, 1, 1])
CLASSES = ("cat", "dog")


def _file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "said.csv"
    file.write_bytes(text.encode(encoding))
    return file


def _read(folder: Path, text: str, **more: Any) -> Predictions:
    return read_predictions(_file(folder, text), NAMES, LABELS, CLASSES, **more)


def _rows(*labels: str, names: tuple[str, ...] = NAMES) -> str:
    return "filename,label\n" + "".join(f"{name},{label}\n" for name, label in zip(names, labels, strict=True))


ALL = ("cat", "dog", "dog", "dog")


def _predictions(probabilities: bool = True) -> Predictions:
    values = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], np.float32)
    return Predictions(NAMES, CLASSES, values.argmax(1), LABELS, values if probabilities else None)


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=5, unique=True), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_rows_come_back_as_they_were_written(names: list[str], seed: int) -> None:
    names = [name.replace("\0", "x").encode("utf-8", "ignore").decode() or "y" for name in names]
    values = np.random.default_rng(seed).dirichlet(np.ones(len(names))).astype(np.float32)
    text = prediction_header(names) + prediction_row(names[0], names[-1], values.tolist())
    assert text.endswith("\n")
    header, row = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["filename", "label", *(f"p:{name}" for name in names)]
    assert row[:2] == [names[0], names[-1]]
    np.testing.assert_array_equal(np.array(row[2:], np.float64).astype(np.float32), values)


def test_plain_rows_are_plain() -> None:
    assert prediction_header() + prediction_row("a/b.jpg", "cat") == "filename,label\na/b.jpg,cat\n"
    assert prediction_row('a,"b"\r.jpg', "=1+1") == '"a,""b""\r.jpg",=1+1\n'
    assert prediction_header(("label", "a,b")) == 'filename,label,p:label,"p:a,b"\n'


def test_our_own_probabilities_are_read_back_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(2), size=4).astype(np.float32)
    text = prediction_header(CLASSES) + "".join(
        prediction_row(name, CLASSES[row.argmax()], row.tolist()) for name, row in zip(NAMES, values, strict=True)
    )
    found = _read(tmp_path, text)
    np.testing.assert_array_equal(found.probabilities, values)
    np.testing.assert_array_equal(found.predicted, values.argmax(1))
    assert found.names == NAMES
    assert found.confidence is None


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        ("./cats/1.jpg", r"cats\2.jpg", "dogs//1.jpg", "dogs/old/4.v2.jpg"),
        ("/home/me/data/cats/1.jpg", "data/cats/2.jpg", r"C:\pets\dogs\1.jpg", "x/dogs/old/4.v2.jpg"),
        ("cats/1.jpg", "2.jpg", "dogs/1.jpg", "old/4.v2.jpg"),
        ("cats/1", "2", "dogs/1", "4.v2"),
    ],
)
def test_pictures_are_found_by_path_or_its_end_or_without_the_ending(tmp_path: Path, names: tuple[str, ...]) -> None:
    shuffled = [3, 0, 2, 1]
    text = _rows(*(ALL[i] for i in shuffled), names=tuple(names[i] for i in shuffled))
    assert _read(tmp_path, text).predicted.tolist() == [0, 1, 1, 1]


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    text = "\ufeff" + _rows(*ALL).replace(",", ";").replace("\n", "\r\n").replace("filename", "Filename ") + "\r\n"
    assert _read(tmp_path, text).predicted.tolist() == [0, 1, 1, 1]


def test_confidence_is_kept_and_probabilities_count_more(tmp_path: Path) -> None:
    lines = [f"{name},{label},0.{index + 5}\n" for index, (name, label) in enumerate(zip(NAMES, ALL, strict=True))]
    found = _read(tmp_path, "filename,label,confidence\n" + "".join(lines))
    assert found.probabilities is None
    assert found.confidence == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert "ece" in evaluate(found, resamples=5).scores
    lines = [line.replace("\n", ",0.25,0.75\n") for line in lines]
    both = _read(tmp_path, "filename,label,confidence,p:cat,p:dog\n" + "".join(lines))
    assert both.confidence is None
    assert both.probabilities is not None


def test_classes_that_only_the_file_has_are_added_behind(tmp_path: Path) -> None:
    rows = "".join(f"{name},eel,0.5,0.2,0.3\n" for name in NAMES)
    found = _read(tmp_path, "filename,label,p:eel,p:dog,p:cat\n" + rows)
    assert found.classes == ("cat", "dog", "eel")
    assert found.probabilities is not None
    assert found.probabilities[0] == pytest.approx([0.3, 0.2, 0.5])
    assert evaluate(found, resamples=5).scores["top1"].value == 0


def test_rounded_probabilities_are_made_to_sum_to_one(tmp_path: Path) -> None:
    rows = "".join(f"{name},cat,0.66,0.335\n" for name in NAMES)
    found = _read(tmp_path, "filename,label,p:cat,p:dog\n" + rows)
    assert found.probabilities is not None
    assert found.probabilities.sum(1) == pytest.approx(1, abs=1e-6)


PROBS = "filename,label,p:cat,p:dog\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'filename': its first line holds nothing"),
        ("file,label\na,cat\n", r"has no column 'filename': its first line holds 'file', 'label'; it must name"),
        ("filename,breed\na,cat\n", "has no column 'label'"),
        ("filename,label,label\na,cat,cat\n", "the column 'label' more than once"),
        ("filename,label\n", "a header but no rows"),
        ("filename,label\ncats/1.jpg,cat,3\n", "line 2: 3 fields, but the header has 2"),
        ('filename,label\ncats/1.jpg,"cat', "not a table that can be read"),
        (_rows(*ALL[:3], names=NAMES[:3]), r"1 picture \('dogs/old/4.v2.jpg'\) is without a row"),
        (_rows(*ALL) + "fox/9.jpg,cat\nfox/8.jpg,cat\n", r"2 rows \('fox/9.jpg', 'fox/8.jpg'\) are not of the 4"),
        (
            _rows(*ALL) + "cats/1.jpg,cat\n",
            "line 6: 'cats/1.jpg' is the picture 'cats/1.jpg', which has a row in line 2",
        ),
        (_rows(*ALL, names=("1.jpg", *NAMES[1:])), "'1.jpg' fits 2 pictures"),
        (_rows("cat", names=("birds/2.jpg",)), "names none of the 4 pictures: its first row is 'birds/2.jpg'"),
        (_rows("cat", "dgo", "dog", "dog"), "line 3: unknown label 'dgo'; did you mean 'dog'"),
        (PROBS + "cats/1.jpg,cat,high,0\n", "line 2: a probability is not a number"),
        (PROBS + "cats/1.jpg,cat,1.5,0\n", "line 2: 1.5 is not a probability.*softmax"),
        (PROBS + "cats/1.jpg,cat,nan,0\n", "nan is not a probability"),
        (PROBS + "cats/1.jpg,cat,0.5,0.2\n", "line 2: the probabilities sum to 0.7, not 1; apply a softmax"),
        ("filename,label,p:cat\n" + "".join(f"{name},cat,1\n" for name in NAMES), "has no column 'p:dog'"),
        ("filename,label,confidence\ncats/1.jpg,cat,83\n", "83 is not a probability.*divide percentages by 100"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "said.csv" in str(caught.value)


def test_rows_of_other_pictures_can_be_ignored(tmp_path: Path) -> None:
    assert _read(tmp_path, _rows(*ALL) + "fox/9.jpg,fox\n", ignore_extra=True).predicted.tolist() == [0, 1, 1, 1]


def test_a_file_that_is_none_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*absent\.csv"):
        read_predictions(tmp_path / "absent.csv", NAMES, LABELS, CLASSES)
    with pytest.raises(DataError, match="must be CSV in UTF-8"):
        read_predictions(_file(tmp_path, _rows(*ALL), "utf-16"), NAMES, LABELS, CLASSES)


def test_a_row_per_class() -> None:
    rows = per_class(evaluate(_predictions(), resamples=5))
    assert [row["class"] for row in rows] == ["cat", "dog"]
    assert (rows[0]["n"], rows[0]["recall"], rows[0]["precision"]) == (2, 0.5, 1.0)
    assert rows[0]["recall_low"] < 0.5 < rows[0]["recall_high"]
    assert "auroc" in pd.DataFrame(rows).columns


@pytest.mark.parametrize("known", [True, False])
def test_columns_per_picture_come_back_from_parquet(tmp_path: Path, known: bool) -> None:
    said = _predictions(known)
    said = Predictions(
        **{**vars(said), "groups": np.array(list("xxyz")), "slices": {"site": np.array(["n", "s", "", "n"])}}
    )
    frame = pd.DataFrame(per_picture(evaluate(said, resamples=5)))
    assert list(frame["right"]) == [True, False, True, True]
    frame.to_parquet(tmp_path / "p.parquet", index=False)
    stored = pd.read_parquet(tmp_path / "p.parquet")
    found = from_rows({name: stored[name].tolist() for name in stored.columns}, CLASSES)
    assert (found.names, found.filenames) == (said.names, None)
    for name in ("predicted", "labels", "probabilities", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(said, name))
    np.testing.assert_array_equal(found.slices["site"], said.slices["site"])


def test_what_the_user_calls_a_picture_comes_back_beside_its_name() -> None:
    filenames = tuple(f"/above/{name}" for name in _predictions(True).names)
    said = Predictions(**{**vars(_predictions(True)), "filenames": filenames})
    found = from_rows(
        {name: list(column) for name, column in per_picture(evaluate(said, resamples=5)).items()}, CLASSES
    )
    assert (found.names, found.filenames) == (said.names, filenames)


def test_tables_that_are_not_ours_are_refused() -> None:
    with pytest.raises(DataError, match="no column 'predicted'"):
        from_rows({"filename": ["a"], "label": ["cat"]}, CLASSES)
    with pytest.raises(DataError, match="label 'eel', which is none of the classes"):
        from_rows({"filename": ["a"], "label": ["eel"], "predicted": ["cat"]}, CLASSES)
