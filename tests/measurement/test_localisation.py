"""Whether maps lie on objects: by hand, pixel by pixel, with bad masks; and montages without any mask."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from regard.data.dataset import Picture
from regard.data.images.preparation import Preparation
from regard.data.openers import ArrayOpener, FileOpener
from regard.data.regions import NamedRegions, Regions, regions_of
from regard.data.regions.mask_folder import MaskFile
from regard.errors import DataError
from regard.measurement.localisation.gridpg import CELLS, grid_pointing, montage, montages
from regard.measurement.localisation.lifts import BASELINES, MEASURES, dot, lifts
from regard.measurement.localisation.measures import Cover, average_precision
from regard.measurement.localisation.objects import input_cover, input_masks

GENERATOR = np.random.default_rng(0)


def over(*rows: list[int]) -> Cover:
    inside = np.array(rows)
    return Cover(np.ones_like(inside), inside)


def test_average_precision_by_hand() -> None:
    """Hits at ranks 1 and 3: (1/1 + 2/3) / 2; two equal values come together."""
    assert average_precision(np.array([[4.0, 3, 2, 1]]), over([1, 0, 1, 0])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([[2.0, 2, 1, 0]]), over([1, 0, 1, 0])) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precision(np.ones((1, 4)), over([1, 0, 0, 0])) == pytest.approx(1 / 4)
    assert np.isnan(average_precision(np.ones((1, 4)), over([0, 0, 0, 0])))


def test_average_precision_is_that_of_all_pixels() -> None:
    """scikit-learn's, with every pixel of its own and the value of its cell."""
    values = GENERATOR.normal(size=(3, 4)).round(1)
    mask = GENERATOR.random((12, 20)) < 0.3
    pixels = values.repeat(4, axis=0).repeat(5, axis=1)
    expected = average_precision_score(mask.ravel(), pixels.ravel())
    assert average_precision(values, input_cover(mask, 3, 4)) == pytest.approx(expected)


def test_a_cover_counts_pixels_that_two_cells_share_once() -> None:
    mask = np.zeros((3, 5), bool)
    mask[:, 2] = True  # the middle column lies half in each of two cells
    cover = input_cover(mask, 3, 2)
    np.testing.assert_allclose(cover.inside, 0.5)
    np.testing.assert_allclose(cover.area, 2.5)


def test_lifts_by_hand() -> None:
    """The object is the left half of the right half: a quarter of the area, of which the 2 × 4 map's third column."""
    mask = np.zeros((1, 8, 16), bool)
    mask[0, :, 8:12] = True
    there = np.zeros((2, 4))
    there[:, 2] = (3, 1)
    there[0, 0] = 4
    there[1, 3] = -5  # negative values are no energy
    measured = lifts(np.stack([there, np.ones((2, 4))])[:, None], mask)
    assert measured.values["energy"][:, 0].tolist() == [0.5, 0.25]
    assert measured.values["pointing"][:, 0].tolist() == [0, 0.25]
    assert measured.values["average_precision"][0, 0] == pytest.approx(0.5 * (1 / 2) + 0.5 * (2 / 3))
    for name in MEASURES:
        assert measured.baselines[name]["area"].tolist() == [0.25]
        assert measured.over(name, "area")[1].tolist() == [0]
    assert measured.baselines["energy"]["dot"].tolist() == [0.5]  # the dot is columns 1 and 2 of both rows
    assert measured.baselines["pointing"]["centre"].tolist() == [0.5]
    assert measured.over("energy", "dot")[0].tolist() == [0]


def test_a_dot_lies_in_the_middle() -> None:
    assert dot(3, 4).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert dot(1, 1).tolist() == [[1]]


def test_no_map_and_no_mask_breaks_a_measure() -> None:
    """Constant, signed, NaN-bordered and wholly NaN maps; masks that are empty, full, or full where the map speaks."""
    maps = np.stack([np.zeros((4, 4)), -np.ones((4, 4)), GENERATOR.normal(size=(4, 4)), np.full((4, 4), np.nan)])
    bordered = GENERATOR.random((4, 4))
    bordered[0] = bordered[:, 0] = np.nan
    maps = np.concatenate([bordered[None], maps])[:, None].repeat(4, axis=1)
    masks = np.zeros((4, 8, 8), bool)
    masks[1] = True
    masks[2, :2] = True  # nowhere where the bordered map speaks
    masks[3, 2:6, 2:6] = True
    measured = lifts(maps, masks)
    for name in MEASURES:
        values = measured.values[name]
        assert np.isnan(values[:, :2]).all()
        assert np.isnan(values[0, 2]) and np.isnan(values[4]).all()
        assert np.isfinite(values[:4, 3]).all() and (values[:4, 3] >= 0).all() and (values[:4, 3] <= 1).all()
        for base in BASELINES:
            assert np.isnan(measured.baselines[name][base][:3]).all()
        assert measured.baselines[name]["area"][3] == pytest.approx(4 / 9)  # of what the first map speaks of


def test_maps_finer_than_patches_and_any_chunks() -> None:
    maps = GENERATOR.normal(size=(2, 3, 16, 24))
    masks = GENERATOR.random((3, 16, 24)) < 0.4
    whole = lifts(maps, masks)
    parts = [lifts(maps[:, [row]], masks[[row]]) for row in range(3)]
    for name in MEASURES:
        np.testing.assert_array_equal(whole.values[name], np.concatenate([part.values[name] for part in parts], axis=1))
    with pytest.raises(DataError, match="do not belong to masks"):
        lifts(maps, masks[:2])


def _regions(folder: Path, **masks: np.ndarray) -> Regions:
    files = {}
    for name, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}.png")
        files[f"{name}.jpg"] = MaskFile(folder / f"{name}.png")
    return NamedRegions("masks", "", files)


def test_bad_masks_are_named_and_the_others_used(tmp_path: Path) -> None:
    """A mask goes through the crop that the picture goes through; one at half its size does as well."""
    half = np.zeros((20, 40), bool)
    half[:, 20:] = True
    regions = _regions(
        tmp_path,
        right=half.repeat(2, axis=0).repeat(2, axis=1),
        small=half,
        odd=np.ones((30, 30), bool),
        empty=np.zeros((40, 80), bool),
        full=np.ones((40, 80), bool),
        beside=np.arange(80)[None].repeat(40, axis=0) >= 70,  # outside of the crop
    )
    (tmp_path / "broken.png").write_bytes(b"no picture")
    regions = NamedRegions("masks", "", {**regions.pictures, "broken.jpg": MaskFile(tmp_path / "broken.png")})
    names = ("right", "small", "odd", "empty", "full", "beside", "missing", "broken")
    opener = ArrayOpener(np.zeros((40, 80, 3), np.uint8), "array")
    pictures = [Picture(f"{name}.jpg", opener) for name in names]
    found = input_masks(regions, pictures, [(40, 80)] * len(names), Preparation(16, 16, crop=1.0))
    assert found.usable.tolist() == [True, True] + [False] * 6
    assert not found.masks[0, :, :8].any() and found.masks[0, :, 8:].all()
    np.testing.assert_array_equal(found.masks[0], found.masks[1])
    assert found.why[2] is not None and "30 × 30 pixels and the picture 40 × 80" in found.why[2]
    assert found.why[3] == found.why[5] == "the object is not in what the network sees"
    assert found.why[4] == "the object is all that the network sees"
    assert found.why[6] == "masks has no mask of it"
    assert found.why[7] is not None and "broken.png" in found.why[7]
    assert str(found) == "8 pictures, 2 with an object and a background"


def test_boxes_outside_of_the_picture(tmp_path: Path) -> None:
    """A COCO box that reaches over the edge is cut there; one wholly outside is no object."""
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 4)).save(tmp_path / "b.png")
    boxes = {"a.png": "[4, -2, 100, 100]", "b.png": "[20, 0, 4, 4]"}
    images = [f'{{"id": {at}, "file_name": "{name}", "width": 8, "height": 4}}' for at, name in enumerate(boxes)]
    notes = [
        f'{{"image_id": {at}, "category_id": 1, "id": {at}, "bbox": {box}}}' for at, box in enumerate(boxes.values())
    ]
    text = f'{{"images": [{", ".join(images)}], "annotations": [{", ".join(notes)}], '
    (tmp_path / "c.json").write_text(text + '"categories": [{"id": 1, "name": "cat"}]}')
    pictures = [Picture(name, FileOpener(tmp_path / name)) for name in boxes]
    found = input_masks(regions_of(tmp_path / "c.json"), pictures, [(4, 8)] * 2, Preparation(4, 8, mode="squash"))
    assert found.masks[0, :, 4:].all() and not found.masks[0, :, :4].any()
    assert found.why == (None, "the object is not in what the network sees")


def test_a_montage_has_each_picture_in_its_cell() -> None:
    pictures = torch.arange(4.0)[None, :, None, None, None].expand(1, 4, 3, 12, 18) / 4
    whole = montage(pictures, 2, 3)[0, 0]  # of three columns the middle one is left grey
    expected = torch.full((12, 18), 0.5)
    for place, (rows, columns) in enumerate((row, column) for row in (0, 6) for column in (0, 12)):
        expected[rows : rows + 6, columns : columns + 6] = place / 4
    torch.testing.assert_close(whole, expected)
    with pytest.raises(DataError, match="1 patch cannot hold two pictures"):
        montage(pictures, 1, 3)


def test_grid_pointing_by_hand() -> None:
    """Three quarters of what is positive in the cells lies in the upper right; the middle column counts for none."""
    values = np.zeros((4, 5))
    values[0, 3] = 3
    values[3, 0] = 1
    values[0, 2] = 100
    values[0, 0] = -7
    maps = np.stack([values, -np.ones((4, 5)), np.ones((4, 5)), np.full((4, 5), np.nan)])[:, None].repeat(2, axis=1)
    np.testing.assert_allclose(
        grid_pointing(maps, np.array([1, 2])), [[0.75, 0.25], [0.25] * 2, [0.25] * 2, [0.25] * 2]
    )


def test_a_map_of_noise_is_at_chance() -> None:
    shares = grid_pointing(np.random.default_rng(1).random((1, 500, 14, 14)), np.arange(500) % CELLS)
    assert shares.mean() == pytest.approx(0.25, abs=0.005)


def test_montages_are_of_sure_pictures_of_four_classes() -> None:
    names = [f"{index}.jpg" for index in range(12)]
    predicted = np.arange(12) % 4
    confidence = np.full(12, 0.95)
    confidence[3] = 0.5
    labels = predicted.copy()
    labels[4] = 3  # classified wrongly
    made = montages(names, predicted, confidence, labels)
    assert len(made) == 10
    for row, cell, target in zip(made.pictures, made.cell, made.targets, strict=True):
        assert len(set(predicted[row])) == 4 and not {3, 4} & set(row.tolist()) and predicted[row[cell]] == target
    order = np.random.default_rng(0).permutation(12)
    other = montages([names[at] for at in order], predicted[order], confidence[order], labels[order])
    np.testing.assert_array_equal(order[other.pictures], made.pictures)  # whatever order the pictures come in
    np.testing.assert_array_equal(other.cell, made.cell)
    assert len(montages(names, predicted % 3, confidence)) == 0
    assert montages(names, predicted % 3, confidence).pictures.shape == (0, 4)
