"""Folders as strangers keep them: every picture, split and class is counted, and what is left out named."""

import io
import json
import logging
import os
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.dataset import Dataset, split_name, summary
from regard.data.images import formats
from regard.data.images.decode import open_picture
from regard.data.images.formats import FORMATS, SUFFIXES, is_picture
from regard.data.layouts import read, read_labelled, read_pictures
from regard.data.layouts.folder import split_in
from regard.errors import DataError

Run = Callable[..., tuple[int, str, str]]


def make(folder: Path, *names: str, format: str | None = None) -> Path:
    """Tiny pictures under these names, each of its own colour; without an ending they are JPEGs."""
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (8, 6), (index % 256, index // 256, 90))
        image.save(path, format or (None if path.suffix in Image.registered_extensions() else "JPEG"))
    return folder


def grid(outer: tuple[str, ...], inner: tuple[str, ...], count: int = 2) -> list[str]:
    return [f"{one}/{two}/{index}.jpg" for one in outer for two in inner for index in range(count)]


def splits_of(dataset: Dataset) -> dict[str | None, int]:
    return dict(Counter(picture.split for picture in dataset.pictures))


# Splits are not classes


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Training", "Testing"), ("train", "test")),
        (("train", "dev"), ("train", "val")),
        (("TRAIN", "DEV", "Test"), ("train", "val", "test")),
        (("training_set", "test_set"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("train2017", "val2017"), ("train", "val")),
        (("Train Images", "Validation Images"), ("train", "val")),
        (("01-train", "02-val", "03-test"), ("train", "val", "test")),
        (("TrainData", "TestData"), ("train", "test")),
        (("trainset", "testset"), ("train", "test")),
        (("trn", "tst"), ("train", "test")),
        (("training", "evaluation"), ("train", "test")),
        (("train", "holdout"), ("train", "holdout")),
        (("test", "fold"), ("test", "fold")),
    ],
)
@pytest.mark.parametrize("above", ["", "shapes/", "images/"])
def test_splits_by_many_names(tmp_path: Path, folders: tuple[str, ...], splits: tuple[str, ...], above: str) -> None:
    make(tmp_path / "data", *(above + name for name in grid(folders, ("cat", "dog", "eel"))))
    dataset = read(tmp_path / "data")
    assert dataset.layout == "splits" and dataset.classes == ("cat", "dog", "eel")
    assert splits_of(dataset) == dict.fromkeys(splits, 6)


@pytest.mark.parametrize("inner", [("train", "test"), ("Training", "Validation"), ("train_set", "val_set", "test_set")])
def test_splits_inside_of_classes(tmp_path: Path, inner: tuple[str, ...]) -> None:
    make(tmp_path, *grid(("cat", "dog"), inner), f"cat/{inner[0]}/old/9.jpg")
    dataset = read(tmp_path)
    assert dataset.layout == "class-splits" and dataset.classes == ("cat", "dog")
    assert set(dataset.splits) == {split_in(name) for name in inner} and len(dataset) == 4 * len(inner) + 1
    assert Counter(dataset.column("folder")) == {"": 4 * len(inner), "old": 1}


def test_a_class_may_lack_a_split_but_no_picture_may(tmp_path: Path) -> None:
    make(tmp_path, *grid(("cat", "dog"), ("train", "test")), "eel/train/1.jpg")
    assert Counter(picture.label for picture in read(tmp_path).pictures)["eel"] == 1
    make(tmp_path, "cat/9.jpg")
    with pytest.raises(
        DataError, match=r"classes hold their splits \('test', 'train'\), but 1 .*\('cat/9\.jpg'\) is in none"
    ):
        read(tmp_path)
    (tmp_path / "cat/9.jpg").unlink()
    make(tmp_path, "fox/1.jpg")
    with pytest.raises(DataError, match=r"\('fox/1\.jpg'\) is in none of them; move"):
        read(tmp_path)


@pytest.mark.parametrize("outer", [("fold1", "fold2"), ("north", "south", "west"), ("cat", "dog")])
def test_what_can_be_read_both_ways_is_refused(tmp_path: Path, outer: tuple[str, ...]) -> None:
    make(tmp_path, *grid(outer, ("indoor", "outdoor")))
    with pytest.raises(DataError, match=r"cannot be told what the classes are.*'indoor', 'outdoor'.*index\.csv"):
        read(tmp_path)
    assert len(read_pictures(tmp_path)) == 4 * len(outer)  # without labels nothing is to be told


def test_folders_inside_of_classes_stay_what_they_were(tmp_path: Path) -> None:
    make(tmp_path, *grid(("cat",), ("tom", "kit")), *grid(("dog",), ("rex", "kit")), "eel/1.jpg")
    assert read(tmp_path).classes == ("cat", "dog", "eel")
    one_inside = make(tmp_path / "scans", *grid(("benign", "malignant"), ("SOB",)))
    assert read(one_inside).classes == ("benign", "malignant")
    named = make(tmp_path / "lab", "test_tube/1.jpg", "beaker/1.jpg", "train_station/1.jpg")
    assert read(named).classes == ("beaker", "test_tube", "train_station")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("my-train-set", "train"), ("valData", "val"), ("validation_images", "val"),
        ("strain", None), ("latest", None), ("contest", None), ("train_test", None), ("data", None), ("set", None),
    ],
)  # fmt: skip
def test_a_split_is_a_word_of_a_name(name: str, split: str | None) -> None:
    assert split_in(name) == split


def test_a_column_of_splits_has_the_same_names() -> None:
    assert [split_name(text) for text in ("Training", "dev", "Testing", "fold1")] == ["train", "val", "test", "fold1"]


def test_other_folders_beside_splits_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(make(tmp_path, *grid(("train", "test"), ("good", "bad")), "ground_truth/bad/1.png", "stray.jpg"))
    assert "pictures beside the splits are left out: ground_truth/ (1), 1 loose ones" in caplog.text


# Nothing vanishes unsaid


def test_every_format_of_the_list_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    image = Image.fromarray(pixels)
    for kind in ("PPM", "JPEG2000", "AVIF", "TGA", "ICO", "PCX", "SGI", "DDS", "DIB", "QOI", "GIF", "WEBP"):
        path = tmp_path / f"a{FORMATS[kind].split()[0]}"
        if kind not in Image.SAVE and (Image.init() or kind not in Image.SAVE):
            continue
        image.save(path, kind)
        assert is_picture(path)
        assert open_picture(path).size == (32, 32)
        if kind not in formats.WITHOUT_SIGNATURE:
            bare = path.rename(tmp_path / f"{kind}.bak")
            assert is_picture(bare) and open_picture(bare).mode == "RGB"
    assert {"EPS", "WMF", "PDF", "FLI", "MPEG"}.isdisjoint(FORMATS)
    assert {".eps", ".wmf", ".emf", ".ps", ".pdf"}.isdisjoint(SUFFIXES)


@pytest.mark.parametrize("ending", ["", ".ppm", ".jfif", ".JPE", ".jp2", ".bak", ".jpg~", ".1", ".JPG_large", ".webp_"])
def test_a_class_of_another_ending_is_read(tmp_path: Path, ending: str) -> None:
    make(tmp_path, *(f"red/{index}{ending}" for index in range(3)), "green/1.jpg")
    dataset = read(tmp_path)
    assert dataset.classes == ("green", "red") and len(dataset) == 4 and len(read_pictures(tmp_path)) == 4


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"
OTHERS = {
    "a.eps": POSTSCRIPT,
    "a.cr2": b"II*",
    "a.svg": b"<svg/>",
    "a": b"no picture",
    "DICOMDIR": bytes(128) + b"DICM",
}


@pytest.mark.parametrize("name", [*OTHERS, "emptied", "link", "jpeg.eps"])
def test_a_class_that_would_vanish_is_an_error(tmp_path: Path, name: str) -> None:
    make(tmp_path, "green/1.jpg", "blue/1.jpg")
    (tmp_path / "red").mkdir()
    if name == "link":
        (tmp_path / "red" / "1.jpg").symlink_to(tmp_path / "nowhere.jpg")
    elif name == "jpeg.eps":
        (tmp_path / "red" / name).write_bytes(POSTSCRIPT)
    elif name != "emptied":
        (tmp_path / "red" / name).write_bytes(OTHERS[name])
    with pytest.raises(DataError, match=r"1 class \('red'\) is without a picture that regard reads \('red': .+\); add"):
        read(tmp_path)


def test_a_class_that_is_a_dangling_link_is_an_error(tmp_path: Path) -> None:
    make(tmp_path, "green/1.jpg", "blue/1.jpg")
    (tmp_path / "red").symlink_to(tmp_path / "unmounted", target_is_directory=True)
    with pytest.raises(DataError, match=r"1 class \('red'\) is without .*a link that leads nowhere"):
        read(tmp_path)


def test_a_class_that_one_split_lacks_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, *grid(("train",), ("cat", "dog")), "test/cat/1.jpg")
    (tmp_path / "test/dog").mkdir()
    assert read(tmp_path).classes == ("cat", "dog")
    assert "1 class folder ('test/dog') is without pictures" in caplog.text
    (tmp_path / "train/eel").mkdir()
    with pytest.raises(DataError, match=r"1 class \('train/eel'\) is without a picture"):
        read(tmp_path)


def test_folders_of_documents_are_no_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "notes").mkdir()
    for index in range(5):
        (tmp_path / "notes" / f"{index}.txt").write_text("Python, and P1 is no picture")
    (tmp_path / "README.md").write_text("#define nothing")
    assert read(tmp_path).classes == ("cat", "dog")
    assert "6 files are no pictures regard reads: 'README.md', 'notes/0.txt'" in caplog.text
    assert "(.md 1, .txt 5)" in caplog.text


def test_the_rest_is_named_with_counts(tmp_path: Path, run: Run) -> None:
    make(tmp_path / "d", *(f"{name}/{index}.png" for name in ("cat", "dog") for index in range(2)))
    for index in range(4):
        (tmp_path / "d/cat" / f"{index}.svg").write_bytes(b"<svg/>")
    (tmp_path / "d/dog/lost.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d/dog/.DS_Store").write_bytes(b"hidden")
    words = ("--model", "random:test_vit", "--size", "32", "--workers", "0")
    code, _, err = run("predict", tmp_path / "d", "--out", tmp_path / "p.csv", *words)
    assert code == 0 and f"{tmp_path / 'd'}: 4 pictures" in err
    assert "4 files are no pictures regard reads: 'cat/0.svg', 'cat/1.svg', 'cat/2.svg' and 1 more" in err
    assert "1 link leads nowhere: 'dog/lost.jpg'" in err and "DS_Store" not in err


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_listed_is_one_line(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "dog").chmod(0)
    with pytest.raises(DataError, match="dog cannot be read"):
        read(tmp_path)


def test_what_looks_like_a_picture_by_two_letters_is_none(tmp_path: Path) -> None:
    for index, text in enumerate(("P6 and so on", "Python", "#define WIDTH 3", "BM", "GIF", "\0\0\1\0", "P5\n9 9\n")):
        (tmp_path / f"{index}.dat").write_text(text)
        assert not is_picture(tmp_path / f"{index}.dat") or index == 6
    huge = io.BytesIO()
    Image.new("L", (1, 1)).save(huge, "BMP")
    content = bytearray(huge.getvalue())
    content[18:26] = struct.pack("<ii", 60000, 60000)
    (tmp_path / "huge").write_bytes(content)
    assert is_picture(tmp_path / "huge")  # named when it is read, and no warning of Pillow's
    with pytest.raises(DataError, match="3,600,000,000 pixels"):
        open_picture(tmp_path / "huge")


# How DATA was read is said


def test_the_line_that_says_how_data_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "regard")
    make(tmp_path, *grid(("train", "test"), ("cat", "dog")), "train/eel/1.jpg")
    read_labelled(tmp_path)
    line = "9 pictures, read as splits; splits: train 5, test 4; 3 classes: cat 4, dog 4, eel 1"
    assert f"{tmp_path}: {line}" in caplog.messages
    many = make(tmp_path / "many", *(f"{index}/1.jpg" for index in range(40)))
    assert summary(read(many)).endswith("8 1, 9 1 and 30 more")
    (many / "index.csv").write_text("filename,label,kind\n1/1.jpg,a,x\n2/1.jpg,b,y\n3/1.jpg,,y\n")
    assert summary(read(many)).endswith("3 pictures, read as index; 2 classes: a 1, b 1; 1 without a label")
    read_labelled(many, "kind")
    assert caplog.messages[-1].endswith("2 classes: x 1, y 2")


def test_captions_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from regard.data.layouts.captions import read_captioned

    caplog.set_level(logging.INFO, "regard")
    make(tmp_path, "a.jpg")
    images = [{"id": 1, "file_name": "a.jpg", "split": "dev"}]
    captions = [{"image_id": 1, "caption": text} for text in ("one", "two")]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    read_captioned(tmp_path)
    assert caplog.messages[-1].endswith("1 picture, read as captions; 2 captions; splits: val 1")
