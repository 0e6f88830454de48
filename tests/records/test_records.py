"""Records: the geometry of a patch grid by hand, and results that come back as they were saved."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.errors import DataError, OutputError
from regard.files import SCHEMAS
from regard.records import Explanation, Heatmap, PatchGrid, Score, read_manifest

CROPPED = PatchGrid(rows=2, columns=3, prefix=1, picture=(20, 60), box=(10.0, 0.0, 40.0, 20.0))  # cells of 10 × 10


def test_cells_by_hand() -> None:
    assert CROPPED.cell(0, 0) == (10, 0, 20, 10)
    assert CROPPED.cell(1, 2) == (30, 10, 40, 20)
    assert CROPPED.cell_at(39.9, 0) == (0, 2)
    assert CROPPED.cell_at(10, 19.9) == (1, 0)
    assert CROPPED.cell_at(9.9, 5) is None
    assert CROPPED.cell_at(40, 5) is None


def test_fold_drops_prefix_tokens() -> None:
    values = np.arange(7)  # CLS, then six patches
    assert CROPPED.fold(values).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert CROPPED.fold(values[1:]).tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(DataError, match="5 values do not fit a grid of 2 × 3 patches"):
        CROPPED.fold(values[:5])


def test_to_picture_by_hand() -> None:
    grid = PatchGrid.whole(1, 2, picture=(1, 8))  # centres of the patches at 2 and 6
    pixels = grid.to_picture(np.array([[0.0, 4.0]]))
    assert pixels[0].tolist() == pytest.approx([0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4])


def test_to_picture_is_nan_outside_the_crop() -> None:
    pixels = CROPPED.to_picture(np.ones((2, 3)))
    assert pixels.shape == (20, 60)
    assert np.isnan(pixels[:, :10]).all()
    assert np.isnan(pixels[:, 40:]).all()
    assert np.allclose(pixels[:, 10:40], 1)


def test_nearest_keeps_squares() -> None:
    pixels = CROPPED.to_picture(np.arange(6.0).reshape(2, 3), nearest=True)
    for row in range(2):
        for column in range(3):
            left, top, right, bottom = map(int, CROPPED.cell(row, column))
            assert (pixels[top:bottom, left:right] == row * 3 + column).all()


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_a_patch_without_a_value_is_missing_where_it_would_weigh_most(missing: float) -> None:
    grid = PatchGrid.whole(2, 2, picture=(8, 8))  # centres at 2 and 6
    pixels = grid.to_picture(np.array([[1.0, missing], [3.0, 5.0]]))
    assert np.isnan(pixels[:3, 5:]).all()
    assert np.isfinite(pixels[:, :3]).all()
    assert np.isfinite(pixels[5:]).all()
    assert pixels[0, :4].tolist() == [1, 1, 1, 1]  # what is missing takes no part
    assert pixels[7].tolist() == pytest.approx([3, 3, 3.25, 3.75, 4.25, 4.75, 5, 5])
    assert np.isnan(grid.to_picture(np.full((2, 2), missing))).all()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    data=st.data(),
)
def test_to_picture_is_the_written_out_interpolation(
    rows: int, columns: int, height: int, width: int, data: st.DataObject
) -> None:
    values = np.random.default_rng(rows * 7 + columns).normal(size=(rows, columns))
    left, top = data.draw(st.integers(-5, 5)), data.draw(st.integers(-5, 5))
    wide, high = data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50))
    grid = PatchGrid(rows, columns, 0, (height, width), (left, top, left + wide, top + high))
    pixels = grid.to_picture(values)
    for y, x in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        expected = _slow(values, (y + 0.5 - top) / high * rows, (x + 0.5 - left) / wide * columns)
        assert pixels[y, x] == pytest.approx(expected, abs=1e-5, nan_ok=True)


def _slow(values: np.ndarray, down: float, across: float) -> float:
    """Bilinear between patch centres at half-integers, one point at a time."""
    rows, columns = values.shape
    if not (0 <= down <= rows and 0 <= across <= columns):
        return float("nan")
    total = 0.0
    y, x = min(max(down - 0.5, 0), rows - 1), min(max(across - 0.5, 0), columns - 1)
    for row in range(rows):
        for column in range(columns):
            total += values[row, column] * max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
    return total


def _explanation() -> Explanation:
    maps = np.random.default_rng(0).random((2, 2, 3)).astype(np.float32)
    heatmaps = tuple(Heatmap(values, CROPPED, f"cats/{i}.jpg", target=i) for i, values in enumerate(maps))
    return Explanation(heatmaps, "attention", settings={"layer": 11}, provenance={"network": "x"})


def test_an_explanation_comes_back_as_it_was(tmp_path) -> None:
    saved = _explanation()
    loaded = Explanation.load(saved.save(tmp_path / "out"))
    assert np.array_equal(loaded.maps, saved.maps)
    assert loaded.maps.dtype == np.float32
    assert [heatmap.grid for heatmap in loaded] == [CROPPED, CROPPED]
    assert [(heatmap.name, heatmap.target) for heatmap in loaded] == [("cats/0.jpg", 0), ("cats/1.jpg", 1)]
    assert (loaded.method, loaded.settings, loaded.provenance) == ("attention", {"layer": 11}, {"network": "x"})


def test_errors_targets_and_classes_come_back(tmp_path) -> None:
    maps = np.random.default_rng(0).random((2, 2, 3)).astype(np.float32)
    heatmaps = [
        Heatmap(maps[i], CROPPED, f"{i}.jpg", target, maps[i] / 2, i) for i, target in enumerate([(1, 0), None])
    ]
    saved = Explanation(tuple(heatmaps), "shapley", True, {"samples": 8}, {}, ("cat", "dog"))
    loaded = Explanation.load(saved.save(tmp_path / "out"))
    assert [(heatmap.target, heatmap.predicted) for heatmap in loaded] == [((1, 0), 0), (None, 1)]
    assert np.array_equal(loaded.errors, maps / 2)
    assert loaded.classes == ("cat", "dog")
    assert _explanation().errors is None


def test_a_folder_of_another_number_of_maps_is_damaged(tmp_path) -> None:
    folder = _explanation().save(tmp_path / "out")
    np.save(folder / "maps.npy", np.zeros((1, 2, 3), np.float32))
    with pytest.raises(DataError, match="1 maps of 2 pictures"):
        Explanation.load(folder)


def test_a_result_is_not_overwritten(tmp_path) -> None:
    _explanation().save(tmp_path / "out")
    with pytest.raises(OutputError, match="exists already"):
        _explanation().save(tmp_path / "out")
    _explanation().save(tmp_path / "out", overwrite=True)


def test_half_a_result_is_never_mistaken_for_a_whole_one(tmp_path) -> None:
    folder = _explanation().save(tmp_path / "out")
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match="not a finished result"):
        Explanation.load(folder)


def test_a_newer_schema_and_another_kind_are_refused(tmp_path) -> None:
    folder = _explanation().save(tmp_path / "out")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["schema"] == SCHEMAS["explanation"]
    with pytest.raises(DataError, match="of kind 'explanation', not 'evaluation'"):
        read_manifest(folder, "evaluation")
    path.write_text(json.dumps(manifest | {"schema": SCHEMAS["explanation"] + 1}))
    with pytest.raises(DataError, match="upgrade regard"):
        Explanation.load(folder)


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CROPPED.rows = 3  # type: ignore[misc]


def test_a_score_in_json_has_no_nan() -> None:
    assert Score(0.5, float("nan"), 1.0, 4).as_json() == {"value": 0.5, "low": None, "high": 1.0}
    assert str(Score(0.8378, 0.7371, 0.9048, 74)) == "0.838 [0.737, 0.905]"
