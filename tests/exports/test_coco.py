"""Maps as regions of a COCO file: written, and read again by pycocotools and by regard."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.data.regions.coco import coco_regions, pack_runs, unpack_runs
from regard.exports.coco import Rows, of_captions, region, write_coco
from regard.measurement.localisation.measures import cover, iou
from regard.records import Caption, Explanation, Heatmap, PatchGrid, Word
from regard.records.captions import END, START
from regard.results.maps import write_table

Run = Callable[..., tuple[int, str, str]]
CROP = PatchGrid(3, 4, 1, (30, 50), (5.0, 0.0, 45.0, 30.0))
"""A grid over the middle of a wide picture: five columns of pixels on either side are not looked at."""


def heatmap(seed: int, name: str = "wide.png", grid: PatchGrid = CROP) -> Heatmap:
    return Heatmap(np.random.default_rng(seed).random((grid.rows, grid.columns), np.float32), grid, name, target=1)


def test_run_lengths_are_those_of_pycocotools() -> None:
    mask_tools = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(0)
    for shape in ((1, 1), (7, 3), (40, 61)):
        for share in (0.0, 0.03, 0.5, 1.0):
            mask = generator.random(shape) < share
            packed = pack_runs(mask)
            theirs = mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert packed == theirs["counts"].decode()
            assert sum(unpack_runs(packed)) == mask.size


def test_a_region_is_where_iou_counts_a_map_as_high_and_never_outside_of_a_crop() -> None:
    for seed in range(5):
        each = heatmap(seed)
        mask, threshold, share = region(each)
        assert not mask[:, :5].any()
        assert not mask[:, 45:].any()
        assert iou(each.values, cover(CROP, mask)) == pytest.approx(1)
        assert share == pytest.approx(each.values[each.values > threshold].sum() / each.values.sum(), rel=1e-5)
    signed = Heatmap(np.array([[-3.0, -1, 1]], np.float32), PatchGrid.whole(1, 3, picture=(2, 6)), "signed")
    assert region(signed)[0].tolist() == [[False] * 4 + [True] * 2] * 2, (
        "what speaks against a class is no region of it"
    )


@pytest.fixture
def maps(tmp_path: Path) -> Explanation:
    """Maps of a wide and of a high picture, and one that is the same everywhere, in a table beside the pictures."""
    high = PatchGrid.whole(4, 3, picture=(48, 30))
    Image.new("RGB", (50, 30)).save(tmp_path / "wide.png")
    Image.new("RGB", (30, 48)).save(tmp_path / "high.png")
    flat = Heatmap(np.ones((4, 3), np.float32), high, "high.png", target=0)
    made = Explanation(
        (heatmap(0), heatmap(1, "high.png", high), flat), "gradcam", settings={"layer": 3}, classes=("dog", "cat")
    )
    write_table(tmp_path / "maps.parquet", made, made)
    return made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools and numpy
def test_maps_come_back_as_they_were_by_pycocotools_and_by_regard(tmp_path: Path, maps: Explanation) -> None:
    coco_tools = pytest.importorskip("pycocotools.coco")
    file = tmp_path / "regions.json"
    rows = write_coco(file, tmp_path / "maps.parquet")
    assert (rows.annotations, rows.empty) == (2, 1)
    coco = coco_tools.COCO(str(file))
    assert [(each["width"], each["height"]) for each in coco.imgs.values()] == [(50, 30), (30, 48)]
    assert [each["name"] for each in coco.cats.values()] == ["cat"]
    ours = coco_regions(file)
    for annotation in coco.anns.values():
        name = coco.imgs[annotation["image_id"]]["file_name"]
        mask = region(next(each for each in maps if each.name == name))[0]
        assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
        mine = ours.find(name)
        assert mine is not None
        assert np.array_equal(mine.mask(["cat"]), mask)
        left, top, width, height = map(int, annotation["bbox"])
        assert mask[top : top + height, left : left + width].sum() == mask.sum() == annotation["area"]
        assert mask[top, :].any()
        assert mask[:, left].any()
    info = json.loads(file.read_text())["info"]
    assert info["method"] == "gradcam"
    assert "Otsu" in info["description"]


def test_a_word_is_a_category_and_its_part_of_speech_the_one_above() -> None:
    words = (
        Word(START, 1.0, heatmap(0)),
        Word("A", 0.9, heatmap(1), "determiner"),
        Word("cat,", 0.8, heatmap(2), "noun"),
        Word("cat", 0.7, heatmap(3), "noun"),
        Word(END, 0.9, heatmap(4)),
    )
    rows = Rows()
    made = list(of_captions([Caption("wide.png", "A cat, cat", words, which=1)], rows))
    assert [(each["word"], each["score"], each["place"], each["which"]) for each in made] == [
        ("A", 0.9, 1, 1),
        ("cat,", 0.8, 2, 1),
        ("cat", 0.7, 3, 1),
    ]
    assert rows.categories == {("a", "determiner"): 1, ("cat", "noun"): 2}
    assert rows.images["wide.png"]["caption"] == "A cat, cat"


@pytest.mark.parametrize("table", [False, True], ids=["folder", "table"])
def test_the_commands_write_it_beside_their_results(tmp_path: Path, run: Run, table: bool) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 70, 3), np.uint8)).save(pictures / "a.png")
    ending = ".parquet" if table else ""
    explained, captioned = pictures / "explained.json", pictures / "captioned.json"
    tiny = ("--model", "random:test_vit", "--size", 32, "--workers", 0)
    done = run("explain", pictures, "--out", tmp_path / f"maps{ending}", "--coco", explained, *tiny)
    assert done[0] == 0, done[2]
    done = run("caption", pictures, "--out", tmp_path / f"words{ending}", "--coco", captioned)
    assert done[0] == 0, done[2]
    for file in (explained, captioned):
        content: dict[str, Any] = json.loads(file.read_text())
        assert [(each["file_name"], each["height"], each["width"]) for each in content["images"]] == [("a.png", 40, 70)]
        assert content["annotations"]
        found = coco_regions(file).find("a.png")
        assert found is not None
        assert found.mask(found.objects).any()
    refused = run("caption", pictures, "--out", tmp_path / "again", "--coco", captioned)
    assert refused[0] == 1
    assert "captioned.json exists already" in refused[2]


def test_what_cannot_be_written_is_refused_before_any_work(tmp_path: Path, run: Run) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for words, message in (
        (("explain", tmp_path, "--page", tmp_path / "p.html", "--coco", tmp_path / "x.json"), "give --out too"),
        (("explain", tmp_path, "--out", tmp_path / "o", "--coco", tmp_path / "x.txt"), "ends in .json"),
    ):
        code, _, error = run(*words)
        assert code == 2
        assert message in error
