"""Whoever knows where things are is asked alike: drawn scenes, COCO files, folders of masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.regions import REGIONS, Claim, regions_of
from regard.errors import DataError
from regard.scenes import read_scenes, render, write_scenes

HALF = np.zeros((4, 6), bool)
HALF[:, :3] = True


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    for name in ("a/one.png", "two.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(HALF.astype(np.uint8) * 255).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 4]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}],
        "annotations": [box, {**box, "id": 2, "category_id": 2, "bbox": [5, 0, 1, 1]}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path / "instances.json"


def test_every_row_can_be_loaded() -> None:
    assert REGIONS.names == ("scenes", "coco", "masks")
    for row in REGIONS:
        assert callable(REGIONS.load(row.name)) and callable(REGIONS.load(row.name, "fits"))


def test_masks_go_by_the_pictures_names(masks: Path) -> None:
    regions = regions_of(masks)
    for name in ("a/one.jpg", "two.jpg", "elsewhere/two.jpg"):
        picture = regions.find(name)
        np.testing.assert_array_equal(picture.mask(picture.objects), HALF)
        np.testing.assert_array_equal(picture.mask(picture.objects, (4, 6)), HALF)
        assert list(picture.claims([("cat", "NN")])) == []
    assert regions.find("one.jpg") is None and regions.find("b/one.jpg") is None
    with pytest.raises(DataError, match=r"two\.png has 4 × 6 pixels and its picture 8 × 12; give masks"):
        regions.find("two.jpg").mask(("object",), (8, 12))


def test_the_digest_follows_the_masks(masks: Path) -> None:
    before = regions_of(masks).digest
    assert regions_of(masks).digest == before
    Image.fromarray((~HALF).astype(np.uint8) * 255).save(masks / "two.png")
    assert regions_of(masks).digest != before


def test_coco_files_know_objects_and_words(coco: Path) -> None:
    regions = regions_of(coco)
    assert regions.name == "instances.json"
    picture = regions.find("a.png")
    assert picture.objects == ("dog", "person")
    np.testing.assert_array_equal(picture.mask(["person"]), HALF)
    assert picture.mask(picture.objects).sum() == HALF.sum() + 1
    assert not picture.mask([]).any()
    claims = list(picture.claims([("a", None), ("man", "NN"), ("runs", "VB"), ("dogs", None)]))
    person, dog = ("person",), ("dog",)
    assert claims == [Claim(1, "noun", True, person), Claim(2, "verb", None, person), Claim(3, "noun", True, dog)]


def test_coco_files_without_sizes_need_one(coco: Path) -> None:
    coco.write_text(coco.read_text().replace('"height"', '"high"'))
    picture = regions_of(coco).find("a.png")
    assert picture.mask(["person"], (4, 6)).sum() == HALF.sum()
    with pytest.raises(DataError, match="has no height and width of it; add them"):
        picture.mask(["person"])


def test_scenes_know_everything_at_any_size(tmp_path: Path) -> None:
    folder = write_scenes(2, tmp_path / "scenes", seed=5, size=(48, 64))
    regions = regions_of(folder)
    for name, scene in read_scenes(folder):
        picture = regions.find(Path(name).name)
        np.testing.assert_array_equal(picture.mask(picture.objects), render(scene, size=(48, 64)).masks["0"])
        drawn = render(scene, size=32).masks
        np.testing.assert_array_equal(picture.mask(["0", "background"], (32, 32)), drawn["0"] | drawn["background"])
        kind = scene.items[0].kind
        assert next(picture.claims([("the", None), (kind, None)])).place == 1


def test_what_knows_no_regions_is_refused(tmp_path: Path, masks: Path) -> None:
    with pytest.raises(DataError, match="is no source of regions; give a folder of masks"):
        regions_of(tmp_path / "none")
    with pytest.raises(DataError, match="tells no regions of words"):
        regions_of(masks, words=True)
