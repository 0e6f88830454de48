"""Files as tools write them: results beside pictures, long texts in PNGs, COCO of many kinds, turned masks, accents."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from regard.data.images.decode import UPRIGHT, open_picture, stored_orientation
from regard.data.layouts import read, read_labelled, read_pictures
from regard.data.layouts.captions import captions_for, read_captioned
from regard.data.layouts.tree import is_result
from regard.data.regions import regions_of, upright_mask
from regard.errors import DataError
from regard.files import SCHEMA, write_json
from regard.measurement.classification.predictions import read_predictions
from regard.records import write_manifest

Run = Callable[..., tuple[int, str, str]]
Content = dict[str, Any]


def make(folder: Path, *names: str, size: tuple[int, int] = (8, 6), **options: Any) -> Path:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (index % 256, 30, 90)).save(folder / name, **options)
    return folder


# Results of regard, and thumbnails of file servers


def result(folder: Path, kind: str) -> None:
    """A folder as regard leaves it, with pictures in it."""
    make(folder, "panel.png", "result/cat/1.png")
    if kind == "run":
        write_json(folder / "model.json", {"schema": SCHEMA, "task": "classification"})
    elif kind == "begun":
        write_json(folder / "recipe.json", {})
        write_json(folder / "checkpoint" / "run.json", {})
    elif kind == "unfinished":
        write_json(folder / "progress.json", {"kind": "regard explain, unfinished", "of": "x", "whole": {}})
    else:
        write_manifest(folder, kind, pictures=[])


@pytest.mark.parametrize("kind", ["explanation", "captions", "evaluation", "positions", "run", "begun", "unfinished"])
@pytest.mark.parametrize("place", ["maps", "cat/maps"])
def test_results_are_no_data(tmp_path: Path, kind: str, place: str, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    result(tmp_path / place, kind)
    assert read(tmp_path).names == ["cat/1.jpg", "dog/1.jpg"] and len(read_pictures(tmp_path)) == 2
    assert f"1 folder is a result of regard, and left out: '{place}'" in caplog.text
    with pytest.raises(DataError, match="is a result of regard, not pictures"):
        read_pictures(tmp_path / place)


def test_manifests_of_others_and_drawn_scenes_are_data(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "cat/manifest.json").write_text('{"name": "a web page", "schema": 3}')
    (tmp_path / "dog/model.json").write_text("[]")
    write_manifest(tmp_path / "drawn", "scenes", n=1)
    make(tmp_path / "drawn", "images/1.png", "objects/1.png", "parts/1.png", "masks/1.png")
    (tmp_path / "drawn/scenes.jsonl").write_text("")
    assert read_pictures(tmp_path).names == ["cat/1.jpg", "dog/1.jpg", "drawn/images/1.png"]
    assert not is_result(tmp_path / "drawn") and read_pictures(tmp_path / "drawn").names == ["images/1.png"]


@pytest.mark.parametrize(
    "folder", ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", ".@__thumb", "__MACOSX"]
)
def test_file_servers_folders_are_no_data(tmp_path: Path, folder: str, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg", f"{folder}/cat/1.jpg/THUMB.jpg", f"cat/{folder}/1.jpg/THUMB.jpg")
    make(tmp_path, "dog/SYNOFILE_THUMB_M.png")
    (tmp_path / "Thumbs.db").write_bytes(b"of Windows")
    assert read_labelled(tmp_path).names == ["cat/1.jpg", "dog/1.jpg"]
    count = 1 if folder.startswith(".") else 3
    assert f"{count} {'is a' if count == 1 else 'folders or files are a'} file server's thumbnails" in caplog.text
    assert "Thumbs.db" not in caplog.text


def test_a_second_explanation_leaves_the_first_out(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "d", *(f"{name}/{index}.jpg" for name in ("cat", "dog") for index in range(3)), size=(40, 30))
    words = ("--out", tmp_path / "d/maps", "--model", "random:test_vit", "--size", "32", "--workers", "0")
    for more in ((), ("--overwrite",)):
        code, out, err = run("explain", tmp_path / "d", *words, *more)
        assert code == 0 and "6 pictures explained" in out, err
    assert read(tmp_path / "d").classes == ("cat", "dog")


# PNGs with much beside their pixels


def png(**chunks: int) -> bytes:
    """A whole picture with texts or a profile of so many bytes."""
    info = PngImagePlugin.PngInfo()
    for kind, size in chunks.items():
        if kind == "iTXt":
            info.add_itxt("workflow", "x" * size, zip=True)
        elif kind == "plain":
            info.add_itxt("workflow", "x" * size)
        elif kind == "zTXt":
            info.add_text("workflow", "x" * size, zip=True)
        elif kind == "many":
            for index in range(200):
                info.add_text(f"part {index}", "x" * (size // 200), zip=True)
        elif kind == "late":
            info.add(b"zTXt", PngImagePlugin.zlib.compress(b"x" * size), after_idat=True)
    content = io.BytesIO()
    profile = {"icc_profile": bytes(chunks["profile"])} if "profile" in chunks else {}
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), "teal").save(content, "PNG", pnginfo=info, exif=exif, **profile)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["iTXt", "zTXt", "plain", "many", "late", "profile"])
@pytest.mark.parametrize("size", [1000, 1_500_000, 9_000_000])
def test_texts_and_profiles_do_not_matter(kind: str, size: int) -> None:
    size *= 10 if kind == "many" and size > 1000 else 1
    image = open_picture(png(**{kind: size}))
    assert image.size == (20, 30) and image.getpixel((5, 5)) == (0, 128, 128)  # upright: its notes still count


def test_broken_pngs_stay_broken() -> None:
    content = png(zTXt=1_500_000)
    for cut in (20, 60, len(content) - 40):
        with pytest.raises(DataError, match=r"is a broken picture|is not a picture"):
            open_picture(content[:cut])


# COCO as tools write it


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., Path]:
    """A sound file of two pictures, changed."""
    make(tmp_path, "images/a.jpg", "images/b.jpg", size=(20, 10))

    def write(change: Callable[[Content], object] = lambda content: None) -> Path:
        content: Content = {
            "images": [
                {"id": index, "file_name": name, "width": 20, "height": 10}
                for index, name in enumerate(("a.jpg", "b.jpg"))
            ],
            "categories": [{"id": index, "name": name} for index, name in enumerate(("cat", "dog"))],
            "annotations": [
                {
                    "id": index,
                    "image_id": index,
                    "category_id": index,
                    "bbox": [2, 2, 6, 4],
                    "segmentation": [[2, 2, 8, 2, 8, 6, 2, 6]],
                    "iscrowd": 0,
                }
                for index in range(2)
            ],
        }
        change(content)
        (tmp_path / "c.json").write_text(json.dumps(content))
        return tmp_path / "c.json"

    return write


def box_mask(size: tuple[int, int] = (10, 20)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[2:6, 2:8] = True
    return mask


def runs(mask: np.ndarray) -> list[int]:
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *edges, flat.size]).tolist()


def packed(counts: list[int]) -> str:
    """Run lengths as COCO packs them (rleToString in its maskApi.c)."""
    text = ""
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


def each_of(part: str, **values: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for entry in content[part]:
            entry.update({name: make_it(entry) if callable(make_it) else make_it for name, make_it in values.items()})

    return change


def polygons(*corners: Any) -> Callable[[Content], None]:
    return each_of("annotations", segmentation=list(corners))


BOX = [2, 2, 8, 2, 8, 6, 2, 6]
SOUND: dict[str, Callable[[Content], object]] = {
    "as it is": lambda content: None,
    "float sizes": each_of("images", width=20.0, height=10.0),
    "sizes as text": each_of("images", width="20", height="10.0"),
    "an empty polygon": polygons([]),
    "an empty polygon beside one": polygons([], BOX),
    "a polygon of one point": polygons([3, 3], BOX, [1, 1, 4, 4]),
    "one polygon without its list": polygons(*BOX),
    "points in pairs": polygons([[2, 2], [8, 2], [8, 6], [2, 6]]),
    "no segmentation": polygons(),
    "null for it": each_of("annotations", segmentation=None),
    "run lengths": each_of("annotations", segmentation={"size": [10, 20], "counts": runs(box_mask())}, iscrowd=1),
    "packed": each_of("annotations", segmentation={"size": [10, 20], "counts": packed(runs(box_mask()))}, iscrowd=1),
    "float run lengths": each_of(
        "annotations", segmentation={"size": [10.0, 20.0], "counts": [float(count) for count in runs(box_mask())]}
    ),
    "ids as text": each_of("images", id=lambda entry: str(entry["id"])),
    "ids of annotations as text": each_of("annotations", image_id=lambda entry: f"{entry['image_id']:06d}"),
    "float ids": each_of("annotations", image_id=lambda entry: float(entry["image_id"])),
    "categories as text": each_of("annotations", category_id=lambda entry: str(entry["category_id"])),
    "a picture that is not there": lambda content: content["images"].append({"id": 9, "file_name": "no.jpg"}),
    "Windows paths": each_of("images", file_name=lambda entry: f"images\\{entry['file_name']}"),
    "paths from the root": each_of("images", file_name=lambda entry: f"/images/{entry['file_name']}"),
    "more of nothing": lambda content: content.update(info=None, licenses=None, videos=[]),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_coco_files_are_read(coco: Callable[..., Path], kind: str) -> None:
    regions = regions_of(coco(SOUND[kind]), words=True)
    for name, category in (("a.jpg", "cat"), ("b.jpg", "dog")):
        picture = regions.find(name)
        assert picture is not None and picture.objects == (category,)  # 0-based categories
        assert np.array_equal(picture.mask((category,), (10, 20)), box_mask())
        assert np.array_equal(picture.mask((category,)), box_mask())


def test_pictures_to_learn_from_must_be_there(coco: Callable[..., Path]) -> None:
    file = coco(SOUND["a picture that is not there"])
    with pytest.raises(DataError, match=r"no picture 'no\.jpg' in"):
        read(file)
    file = coco(each_of("images", id=1))
    with pytest.raises(DataError, match="image id 1 more than once"):
        read(file)


def test_pictures_without_captions_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    images = [{"id": index, "file_name": name} for index, name in enumerate(("a.jpg", "b.jpg", "c.jpg"))]
    content = {"images": images, "annotations": [{"image_id": "1", "caption": "a cat"}]}
    (tmp_path / "captions.json").write_text(json.dumps(content))
    assert read_captioned(tmp_path).names == ["b.jpg"]
    assert "2 pictures ('a.jpg', 'c.jpg') are without a caption and left out" in caplog.text
    content["annotations"] = []
    (tmp_path / "captions.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"3 pictures .* are without a caption; give each"):
        read_captioned(tmp_path)


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_given_captions_of_pictures_that_are_not_asked_for(tmp_path: Path, kind: str) -> None:
    make(tmp_path, "a.jpg")
    file = tmp_path / f"given.{kind}"
    file.write_text("filename,caption\nno.jpg,nothing\na.jpg,a cat\n")
    if kind == "json":
        images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "no.jpg"}]
        captions = [{"image_id": 1, "caption": "a cat"}, {"image_id": 2, "caption": "nothing"}]
        file.write_text(json.dumps({"images": images, "annotations": captions}))
    assert [text for _, text, _ in captions_for(read_pictures(tmp_path / "a.jpg"), file)] == ["a cat"]
    with pytest.raises(DataError, match="there is no picture 'no"):
        read_captioned(file)


# Masks of pictures that a camera turned


def turned(path: Path, orientation: int, size: tuple[int, int] = (20, 10)) -> np.ndarray:
    """A picture whose stored pixels are bright in a box; the mask of these, (height, width)."""
    stored = box_mask(size[::-1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored.astype(np.uint8) * 255).save(path, exif=exif, quality=100)
    return stored


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_a_mask_of_stored_pixels_lies_on_the_upright_picture(tmp_path: Path, orientation: int, ending: str) -> None:
    stored = turned(tmp_path / f"a{ending}", orientation)
    bright = np.asarray(open_picture(tmp_path / f"a{ending}").convert("L")) > 127
    assert stored_orientation(tmp_path / f"a{ending}")[0] == (10, 20)
    from regard.data.openers import FileOpener

    opener = FileOpener(tmp_path / f"a{ending}")
    if orientation >= 5:
        assert np.array_equal(upright_mask(stored, opener), bright)
    assert np.array_equal(upright_mask(bright, opener), bright)  # one that is upright already


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_coco_masks_of_stored_pixels(coco: Callable[..., Path], tmp_path: Path, orientation: int) -> None:
    turned(tmp_path / "images/a.jpg", orientation)
    bright = np.asarray(open_picture(tmp_path / "images/a.jpg").convert("L")) > 127
    picture = regions_of(coco(), words=True).find("a.jpg")
    assert picture is not None and np.array_equal(picture.mask(("cat",), bright.shape), bright)
    assert bright.shape == (20, 10) and orientation in UPRIGHT
    other = regions_of(coco(), words=True).find("b.jpg")
    with pytest.raises(DataError, match="its masks are for 10 × 20 pixels"):
        other.mask(("dog",), (20, 10))  # type: ignore[union-attr]


# Accents in one sign or two


COMPOSED, TAKEN_APART = (normalize(form, "café_größe/naïve") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("on_disk", "in_table"), [(TAKEN_APART, COMPOSED), (COMPOSED, TAKEN_APART)])
def test_names_are_found_however_their_accents_are_written(tmp_path: Path, on_disk: str, in_table: str) -> None:
    make(tmp_path, f"{on_disk}1.jpg", f"images/{on_disk}2.jpg", f"masks/{on_disk}1.png")
    rows = [f"{in_table}1.jpg", f"{in_table}2", str(tmp_path / f"{in_table}1.jpg")]
    for row in rows:
        (tmp_path / "t.csv").write_text(f"filename,label\n{row},x\n", encoding="utf-8")
        picture = read(tmp_path / "t.csv").pictures[0]
        assert picture.path is not None and picture.path.is_file() and picture.filename == row
    (tmp_path / "c.csv").write_text(f"filename,caption\n{in_table}1.jpg,one\n", encoding="utf-8")
    assert len(captions_for(read_pictures(tmp_path / f"{on_disk}1.jpg"), tmp_path / "c.csv")) == 1
    content = {"images": [{"id": 1, "file_name": f"{in_table}1.jpg"}], "annotations": []}
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8")
    assert read(tmp_path / "c.json", labels=False).pictures[0].path is not None
    assert read_pictures(tmp_path / f"{in_table}1.jpg").pictures[0].path is not None
    assert len(read_pictures(tmp_path / in_table.split("/")[0])) == 1
    assert regions_of(tmp_path / "masks").find(f"{in_table}1.jpg") is not None
    (tmp_path / "p.csv").write_text(f"filename,label\n{in_table}1.jpg,x\n", encoding="utf-8")
    predictions = read_predictions(tmp_path / "p.csv", [f"{on_disk}1.jpg"], np.zeros(1, np.int64), ("x",))
    assert predictions.names == (f"{on_disk}1.jpg",)


def test_labels_that_differ_in_their_accents_alone_are_one(tmp_path: Path) -> None:
    one, two = (normalize(form, "café") for form in ("NFC", "NFD"))
    make(tmp_path, f"train/{one}/1.jpg", "train/tea/1.jpg", f"val/{two}/1.jpg", "val/tea/1.jpg")
    if len(list((tmp_path / "train").iterdir())) == 2:
        dataset = read(tmp_path)
        assert dataset.classes == (one, "tea")
        assert dataset.fitted((two, "tea", "milk")).labels.tolist() == [0, 1, 0, 1]


def test_a_name_that_is_not_there_stays_so(tmp_path: Path) -> None:
    make(tmp_path, "cafe.jpg")
    (tmp_path / "t.csv").write_text("filename,label\ncafé.jpg,x\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"there is no picture 'café\.jpg'"):
        read(tmp_path / "t.csv")
