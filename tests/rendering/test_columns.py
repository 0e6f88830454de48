"""The columns of the gallery: what each picture is, in the order of the data, and nothing that is not known."""

import numpy as np
from audits import example_audit

from regard.records import Evaluation, Predictions
from regard.rendering.pages.columns import MOST_VALUES, audit_columns, run_columns, slice_filter


def evaluated(**slices):
    chances = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], np.float32)
    labels = np.array([0, 1, -1])
    columns = {name: np.array(values) for name, values in slices.items()}
    predictions = Predictions(("a/1.jpg", "2.jpg", "3.jpg"), ("cat", "dog"), np.array([0, 0, 1]), labels, chances,
                              slices=columns)  # fmt: skip
    return Evaluation(predictions, {}, (), np.zeros((2, 2), np.int64), (), (), (), (), ())


def test_columns_of_a_run_say_what_each_picture_is():
    columns = run_columns(evaluated(ground=["sand", "", "grass"]), {"2.jpg": [0, 1]})
    assert columns == {
        "n": 3,
        "name": ["a/1.jpg", "2.jpg", "3.jpg"],
        "predicted": [0, 0, 1],
        "true": [0, 1, None],
        "confidence": [0.75, 0.5, 0.875],
        "slices": [{"column": "ground", "values": ["grass", "sand"], "codes": [1, None, 0]}],
        "inspections": [[], [0, 1], []],
    }
    assert slice_filter(columns, "ground", "sand") == {"slice": [0, 1]}
    assert slice_filter(columns, "ground", "snow") is slice_filter(columns, "size", "sand") is None
    assert not {"slices", "inspections"} & set(run_columns(evaluated()))


def test_a_column_of_very_many_values_is_no_filter():
    many = evaluated(site=["x", "y", "z"])
    wide = np.arange(MOST_VALUES + 1).astype(str)
    predictions = Predictions(tuple(wide), ("cat",), *[np.zeros(len(wide), np.int64)] * 2, slices={"id": wide})
    assert "slices" in run_columns(many)
    columns = run_columns(Evaluation(predictions, {}, (), np.zeros((1, 1), np.int64), (), (), (), (), ()))
    assert "slices" not in columns and columns["confidence"] == [None] * len(wide)


def test_columns_of_an_audit_say_what_flips():
    audit = example_audit()
    data = audit_columns(audit, {})
    pictures = data["pictures"]
    assert pictures["n"] == len(audit.pictures) and pictures["name"] == [each.name for each in audit.pictures]
    for place, each in enumerate(audit.pictures):
        assert data["classes"][pictures["predicted"][place]] == each.predicted
        assert pictures["flips"][place] == ("background" in each.flips)
        assert (pictures["true"][place] is None) == (not each.label)
