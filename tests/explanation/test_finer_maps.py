"""Maps that are finer than the patches: their place in the picture, records, folders, tables and figures."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from tiny_vits import Tiny, awake

import regard
from regard.errors import DataError
from regard.records import Explanation, Heatmap, PatchGrid
from regard.results.maps import MapWriter, read_table

CROPPED = PatchGrid(2, 3, 1, (20, 60), (10.0, 0.0, 40.0, 20.0))
FINE = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, (height, width) in enumerate([(40, 90), (90, 40)]):
        pixels = np.random.default_rng(index).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_a_finer_map_is_summed_to_patches_by_hand() -> None:
    heatmap = Heatmap(FINE, CROPPED, "cat.jpg")
    assert heatmap.on_patches().tolist() == [[0 + 1 + 6 + 7, 2 + 3 + 8 + 9, 4 + 5 + 10 + 11], [62, 70, 78]]
    assert str(heatmap) == "cat.jpg: 4 × 6 values over 2 × 3 patches, 0 to 23"
    with_gaps = FINE.copy()
    with_gaps[0, 0] = np.nan
    with_gaps[2:, 4:] = np.nan
    found = CROPPED.on_patches(with_gaps)
    assert found[0, 0] == 1 + 6 + 7
    assert np.isnan(found[1, 2])


def test_values_that_no_patch_holds_whole_are_shared_out() -> None:
    """Five values on two patches: the middle one is half in each."""
    assert PatchGrid.whole(1, 2).on_patches(np.array([[1, 2, 4, 8, 16]])).tolist() == [[5, 26]]
    values = np.random.default_rng(0).normal(size=(7, 11))
    assert PatchGrid.whole(3, 4).on_patches(values).sum() == pytest.approx(values.sum(), abs=1e-5)


def test_a_map_a_value_a_patch_is_as_it_was() -> None:
    heatmap = Heatmap(FINE[:2, :3], CROPPED, "cat.jpg")
    assert np.array_equal(heatmap.on_patches(), heatmap.values)
    assert not heatmap.is_finer
    assert "shape" not in heatmap.as_json()


@pytest.mark.parametrize("shape", [(3, 2), (1, 3), (6,)], ids=str)
def test_what_is_no_map_of_the_grid_is_refused(shape: tuple[int, ...]) -> None:
    for use in (CROPPED.on_patches, CROPPED.to_picture):
        with pytest.raises(DataError, match=r"do not lie on a grid of 2 × 3 patches; there must be one for each"):
            use(np.zeros(shape))


def test_its_values_lie_where_they_were_seen() -> None:
    """Five pixels a value, columns 10 to 40 of 60: a bright one is brightest in its own middle."""
    values = np.zeros((4, 6))
    values[1, 4] = 1
    over = CROPPED.to_picture(values)
    assert np.isnan(over[:, :10]).all()
    assert np.isnan(over[:, 40:]).all()
    assert np.unravel_index(np.nanargmax(over), over.shape) == (7, 32)
    assert over[7, 32] == 1


def _explanation() -> Explanation:
    heatmaps = [Heatmap(FINE + index, CROPPED, f"{index}.jpg", index, FINE / 10) for index in range(2)]
    return Explanation(tuple(heatmaps), "dave", True, {"samples": 2}, classes=("cat", "dog"))


def _same(found: Explanation, right: Explanation) -> None:
    assert [each.grid for each in found] == [each.grid for each in right]
    assert np.array_equal(found.maps, right.maps)
    assert np.array_equal(found.errors, right.errors)  # type: ignore[arg-type]


def test_finer_maps_come_back_from_a_folder_and_from_both_kinds_of_writers(tmp_path: Path) -> None:
    right = _explanation()
    _same(Explanation.load(right.save(tmp_path / "saved")), right)
    for out in ("folder", "maps.parquet"):
        with MapWriter.open(tmp_path / out, "a", 2) as writer:
            for place, heatmap in enumerate(right, 1):
                writer.append(heatmap)
                writer.commit(place)
            if out == "folder":
                writer.finish_folder(right, tmp_path / out)
            else:
                writer.finish_table(right, tmp_path / out, {})
    _same(Explanation.load(tmp_path / "folder"), right)
    _same(read_table(tmp_path / "maps.parquet"), right)
    row = pyarrow.parquet.read_table(tmp_path / "maps.parquet").to_pylist()[1]
    assert (row["rows"], row["columns"], row["patch_rows"], row["patch_columns"]) == (4, 6, 2, 3)
    assert np.array_equal(np.reshape(row["map"], (row["rows"], row["columns"])), right[1].values)


def test_dave_from_end_to_end(pictures: Path, tmp_path: Path) -> None:
    """Panels, sheets, folder and table; the overlay lies on what the network saw of the picture."""
    module = awake(Tiny("cls"))
    settings = {"method": "dave", "samples": 2, "model": module, "workers": 0, "grid": (2, 3)}
    folder = regard.explain(pictures, tmp_path / "maps", figure="png", sheet="dave,edges", **settings)
    table = regard.explain(pictures, tmp_path / "maps.parquet", **settings)
    assert folder.explanation.maps.shape == (2, 16, 24)
    assert np.array_equal(folder.explanation.maps, table.explanation.maps)
    assert [(each.grid.rows, each.grid.columns) for each in table.explanation] == [(2, 3)] * 2
    assert {each.name for each in (tmp_path / "maps").iterdir()} >= {"0.png", "contact_sheet.png", "sheet_methods.png"}
    found = regard.Explainer(module)(pictures / "0.png", "dave", samples=2)
    assert found.upsampled().shape == (40, 90)
    assert found.overlay().size == (90, 40)
    assert np.array_equal(found.maps[0], folder.explanation.maps[0])
