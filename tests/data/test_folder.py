"""Every layout of DATA is read as docs/data.md says, and what is wrong with one is said in a line."""

import json
import subprocess
import sys
import tarfile
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regard.data.dataset import Dataset, Picture, class_order, safe_name
from regard.data.hashes import picture_hashes
from regard.data.images.preparation import Preparation, batches
from regard.data.layouts import LAYOUTS, Layout, read, read_pictures, register_layout
from regard.data.layouts.captions import captions_of, read_captioned
from regard.data.openers import BytesOpener, FileOpener
from regard.errors import DataError, RegardError, UsageError


def make(folder: Path, *names: str) -> Path:
    """Tiny pictures under these names, each of its own colour."""
    for at, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 1), (at % 256, at // 256, 0)).save(folder / name)
    return folder


def table(folder: Path, text: str, name: str = "index.csv", encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


def said(dataset: Dataset) -> list[tuple[str, str | None, str | None]]:
    return [(picture.name, picture.label, picture.split) for picture in dataset.pictures]


# Layouts


def test_class_folders(tmp_path: Path) -> None:
    make(tmp_path, "dog/b.JPG", "dog/a.png", "cat/x/1.jpeg", "cat/2.webp", "eel/e.tiff", "eel/f.bmp", "eel/g.GIF")
    for beside in ("notes.txt", "dog/notes.txt", "dog/.hidden.jpg", ".cache/a.jpg", "__MACOSX/dog/a.jpg"):
        (tmp_path / beside).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / beside).write_text("no picture")
    dataset = read(tmp_path)
    assert dataset.layout == "classes" and dataset.classes == ("cat", "dog", "eel")
    assert said(dataset) == [
        ("cat/2.webp", "cat", None),
        ("cat/x/1.jpeg", "cat", None),
        ("dog/a.png", "dog", None),
        ("dog/b.JPG", "dog", None),
        ("eel/e.tiff", "eel", None),
        ("eel/f.bmp", "eel", None),
        ("eel/g.GIF", "eel", None),
    ]
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2, 2] and dataset.labels.dtype == np.int64
    assert dataset.pictures[3].path == tmp_path / "dog/b.JPG" and len(dataset) == 7
    assert dataset.column("folder").tolist() == ["", "x", "", "", "", "", ""]
    assert dataset.splits == ()


def test_flat_is_cut_at_the_last_underscore(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "great_pyrenees_12.jpg", "pug_1.jpg", "pug_2.jpg"))
    assert dataset.layout == "flat" and dataset.classes == ("great_pyrenees", "pug")
    assert [picture.label for picture in dataset.pictures] == ["great_pyrenees", "pug", "pug"]


def test_problem_1_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, "train/10_1.jpg", "train/9_1.jpg", "val/9_2.jpg", "val/10_2.jpg")
    dataset = read(tmp_path)
    assert dataset.layout == "splits" and dataset.classes == ("9", "10")
    assert said(dataset.part("val")) == [("val/10_2.jpg", "10", "val"), ("val/9_2.jpg", "9", "val")]
    assert dataset.part("val").labels.tolist() == [1, 0]


@pytest.mark.parametrize("second", ["val", "validation", "valid", "Validation", "test"])
def test_split_folders(tmp_path: Path, second: str) -> None:
    make(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", f"{second}/dog/2.jpg", "leftovers/3.jpg")
    dataset = read(tmp_path)
    split = "test" if second == "test" else "val"
    assert dataset.splits == ("train", split)
    assert said(dataset) == [
        ("train/cat/1.jpg", "cat", "train"),
        ("train/dog/1.jpg", "dog", "train"),
        (f"{second}/dog/2.jpg", "dog", split),
    ]
    assert dataset.part(second).classes == ("cat", "dog")


def test_a_test_set_may_be_flat_and_without_labels(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg", "test/2.jpg"))
    assert dataset.part("test").labels.tolist() == [-1, -1]
    with pytest.raises(DataError, match=r"2 pictures \('test/1\.jpg', 'test/2\.jpg'\) are without a label"):
        dataset.part("test").labelled()


@pytest.mark.parametrize("names", [("train/1.jpg", "car/1.jpg"), ("test/1.jpg", "control/1.jpg")])
def test_classes_may_be_called_train_or_test(tmp_path: Path, names: tuple[str, str]) -> None:
    assert set(read(make(tmp_path, *names)).classes) == {name.split("/")[0] for name in names}


def test_masks_beside_images_are_not_pictures(tmp_path: Path) -> None:
    make(tmp_path, "images/cat/1.jpg", "images/dog/2.jpg", "masks/cat/1.png", "masks/dog/2.png")
    assert said(read(tmp_path)) == [("images/cat/1.jpg", "cat", None), ("images/dog/2.jpg", "dog", None)]
    assert read_pictures(tmp_path).names == ["images/cat/1.jpg", "images/dog/2.jpg"]
    assert read(make(tmp_path / "faces", "masks/1.jpg", "none/2.jpg")).classes == ("masks", "none")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path / "real", "1.jpg")
    make(tmp_path / "data", "dog/1.jpg")
    try:
        (tmp_path / "data/cat").symlink_to(tmp_path / "real", target_is_directory=True)
        (tmp_path / "real/again").symlink_to(tmp_path / "real", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links can be made here")
    assert read(tmp_path / "data").names == ["cat/1.jpg", "dog/1.jpg"]


def test_csv(tmp_path: Path) -> None:
    make(tmp_path, "pictures/a.jpg", "b.jpg", "c.jpg")
    text = "Filename,LABEL,split,Patient,site\nc.jpg,cat,Validation,p1,north\n\n b.jpg ,dog,train,p2,\n"
    text += "pictures/a.jpg,cat,TEST,p1,x\n"
    file = table(tmp_path, text, "labels.csv")
    dataset = read(file)
    assert dataset.layout == "csv" and dataset.source == file
    assert said(dataset) == [("c.jpg", "cat", "val"), ("b.jpg", "dog", "train"), ("pictures/a.jpg", "cat", "test")]
    assert dataset.column("Patient").tolist() == ["p1", "p2", "p1"]
    assert dataset.column("site").tolist() == ["north", "", "x"]
    assert dataset.column("label").tolist() == ["cat", "dog", "cat"]
    assert dataset.columns == ("Patient", "site", "label", "split") and dataset.splits == ("train", "val", "test")


def test_index_by_name_without_ending(tmp_path: Path) -> None:
    make(tmp_path, "images/a.1.jpg", "images/b.png", "images/sub/c.jpg", "masks/a.1.png")
    table(tmp_path, "name,label\nb,dog\na.1,cat\nsub/c,cat\n")
    dataset = read(tmp_path)
    assert dataset.layout == "index" and dataset.source == tmp_path
    assert dataset.names == ["images/b.png", "images/a.1.jpg", "images/sub/c.jpg"]


@pytest.mark.parametrize(("sign", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, sign: str, encoding: str) -> None:
    make(tmp_path, "ä, b.jpg", "c.jpg")
    file = table(tmp_path, f'filename{sign}label\r\n"ä, b.jpg"{sign}Bär\r\nc.jpg{sign}dog\r\n', "l.csv", encoding)
    assert said(read(file)) == [("ä, b.jpg", "Bär", None), ("c.jpg", "dog", None)]


def test_names_never_lead_out_of_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "pictures/a.jpg", "b.jpg", "tables/c.jpg")
    file = table(
        tmp_path / "tables", f"filename,label\n../pictures/a.jpg,x\n{tmp_path / 'b.jpg'},y\nc.jpg,x\n", "l.csv"
    )
    names = read(file).names
    assert names[0] == "pictures/a.jpg" and names[2] == "c.jpg"
    assert not any(name.startswith("/") or ".." in name for name in names)
    assert safe_name(r"C:\pets\..\a.jpg") == "pets/a.jpg"


def coco(folder: Path, categories: dict[str, list[str]], **more: object) -> Path:
    """A COCO file with the categories of each picture."""
    known = sorted({name for names in categories.values() for name in names})
    annotations = [
        {"id": 100 + at, "image_id": at, "category_id": known.index(name), "bbox": [1, 2, 3, 4]}
        for at, names in enumerate(categories.values())
        for name in names
    ]
    images = [{"id": at, "file_name": name, "width": 2, **more} for at, name in enumerate(categories)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": known.index(n), "name": n} for n in known],
    }
    return table(folder, json.dumps(content), "c.json")


def test_coco(tmp_path: Path) -> None:
    make(tmp_path, "images/a.jpg", "b.jpg", "c.jpg")
    dataset = read(coco(tmp_path, {"a.jpg": ["dog", "dog"], "b.jpg": ["cat"], "c.jpg": []}, split="valid"))
    assert dataset.layout == "coco" and dataset.classes == ("cat", "dog")
    assert said(dataset) == [("images/a.jpg", "dog", "val"), ("b.jpg", "cat", "val"), ("c.jpg", None, "val")]
    first = dataset.pictures[0]
    assert first.columns == {"width": "2"}
    assert [each["category"] for each in first.annotations] == ["dog", "dog"]
    assert first.annotations[0]["bbox"] == [1, 2, 3, 4]


def test_coco_with_several_categories(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    file = coco(tmp_path, {"a.jpg": ["dog", "cat"]})
    with pytest.raises(
        DataError, match=r"'a\.jpg' has the categories cat, dog; several labels per picture are learnt with"
    ):
        read(file)
    assert said(read(file, labels=False)) == [("a.jpg", None, None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "is not JSON"),
        ("[1]", "list of images"),
        ('{"images": [{"id": 1}]}', "id and file_name|without id or file_name"),
        ('{"images": [{"id": 1, "file_name": "no.jpg"}]}', r"there is no picture 'no\.jpg'"),
        ('{"images": [], "annotations": [{"image_id": 7}]}', "annotations of image 7"),
        ('{"images": [], "annotations": [{"id": 7}]}', "annotation or category of it is amiss"),
        ('{"images": []}', "holds no pictures"),
    ],
)
def test_json_that_will_not_do(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(table(tmp_path, text, "c.json"))


def test_oxford_pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "regard" / "oxford-iiit-pet"
    make(root / "images", "great_pyrenees_1.jpg", "Abyssinian_2.jpg")
    table(root / "annotations", "great_pyrenees_1 16 2 9\n", "trainval.txt")
    table(root / "annotations", "Abyssinian_2 1 1 1\n", "test.txt")
    dataset = read("oxford-pets")
    assert dataset.layout == "oxford-pets" and dataset.source == Path("oxford-pets")
    assert said(dataset) == [
        ("images/great_pyrenees_1.jpg", "great_pyrenees", "train"),
        ("images/Abyssinian_2.jpg", "Abyssinian", "test"),
    ]
    assert dataset.column("species").tolist() == ["dog", "cat"]
    (root / "images/Abyssinian_2.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks images/Abyssinian_2\.jpg: its download was cut off"):
        read("oxford-pets")
    make(tmp_path / "oxford-pets", "a_1.jpg")
    assert read("oxford-pets").layout == "flat"  # the user's own folder of that name comes first


def test_oxford_pets_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    fake = types.ModuleType("torchvision.datasets")  # importing the real one takes seconds
    fake.OxfordIIITPet = fails  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"oxford-pets cannot be fetched.*network is unreachable.*give a folder"):
        read("oxford-pets")


def test_the_rows_are_tried_in_their_order_and_are_all_there() -> None:
    assert LAYOUTS.names[0] == "webdataset"
    assert LAYOUTS.names[-8:] == ("csv", "index", "coco", "oxford-pets", "splits", "class-splits", "classes", "flat")
    for row in LAYOUTS:
        assert callable(LAYOUTS.load(row.name)) and callable(LAYOUTS.load(row.name, "fits"))


def test_a_layout_that_is_not_files_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of an archive, labelled by their names, are read, hashed and put into batches as files are."""
    make(tmp_path, "cat_1.png", "dog_1.png", "dog_2.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for file in sorted(tmp_path.glob("*.png")):
            shard.add(file, file.name)

    def members(source: str, labels: bool) -> Iterator[Picture]:
        with tarfile.open(source) as shard:
            for member in shard:
                opener = BytesOpener(shard.extractfile(member).read(), f"{member.name} of {source}")
                label = member.name.split("_")[0]
                yield Picture(member.name, opener, label, annotations=({"caption": f"a {label}"},))

    shards = types.ModuleType("shards")
    shards.fits, shards.members = (lambda source: source.endswith(".tar")), members
    monkeypatch.setitem(sys.modules, "shards", shards)
    register_layout(Layout("shard", "a .tar of pictures", "shards:fits", "shards:members"))
    try:
        labelled, plain, captioned = (
            function(tmp_path / "shard.tar") for function in (read, read_pictures, read_captioned)
        )
    finally:
        del LAYOUTS._rows["shard"]
    files = read(tmp_path)
    assert labelled.layout == "shard" and labelled.classes == files.classes and labelled.names == files.names
    assert plain.names == files.names and not plain.classes
    assert captioned.names == files.names and not captioned.classes
    assert [captions_of(picture) for picture in captioned.pictures] == [("a cat",), ("a dog",), ("a dog",)]
    assert picture_hashes(labelled.pictures) == picture_hashes(files.pictures)
    ways = [next(batches(data.pictures, Preparation(4, 4))).pixels for data in (labelled, plain, files)]
    assert torch.equal(ways[0], ways[2]) and torch.equal(ways[1], ways[2])


# What is wrong is said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("filename,label\na.jpg,x\nno.jpg,y\n", r"line 3: there is no picture 'no\.jpg'; paths are relative"),
        ("filename,label\nn1.jpg,x\nn2.jpg,y\na.jpg,y\n", r"line 2: .*'n1\.jpg' \(and 1 more of 3 are missing\)"),
        ("filename,class\na.jpg,x\n", r"no column 'label'; its columns are filename, class"),
        ("picture,class\na.jpg,x\n", r"no column 'filename' and no column 'label'"),
        ("", "no column 'filename'.*its columns are none"),
        ("filename,label\n", "no rows"),
        ("filename,label\na.jpg,x\nb.jpg,y\na.jpg,x\n", r"line 4: 'a\.jpg' stands in line 2 already"),
        (
            "filename,label\na.jpg,x\n./a.jpg,y\n",
            r"'\./a\.jpg' has the label 'y', and 'x' in line 2; keep one row for each picture",
        ),
        (
            "filename,label\na.jpg,x\nb.jpg,y\nc.jpg,x|y\n",
            r"'c\.jpg' has the labels 'x\|y'; several labels per picture",
        ),
        ('filename,label\na.jpg,x\nb.jpg,y\nc.jpg,"x, y"\n', "several labels per picture, written as"),
        ("filename,label\na.jpg,x,y\n", "line 2: 3 fields, but the header has 2"),
        ("filename,label,label\na.jpg,x,y\n", r"1 column \('label'\) is there twice"),
        (
            "filename,label,split\na.jpg,x,train\nb.jpg,y,\n",
            r"line 3: no split, as in 1 of 2 rows, while others have 'train'",
        ),
        ('filename,label\n"a.jpg,x\n', "not a table that can be read"),
        ("filename,label\n,x\n", "there is no picture ''"),
    ],
)
def test_tables_that_will_not_do(tmp_path: Path, text: str, says: str) -> None:
    make(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    with pytest.raises(DataError, match=says) as caught:
        read(table(tmp_path, text))
    assert "\n" not in str(caught.value) and "index.csv" in str(caught.value)


def test_a_label_may_hold_a_sign_when_it_is_no_list(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    assert read(table(tmp_path, 'filename,label\na.jpg,"pug, old"\nb.jpg,cat|dog\n')).classes == ("cat|dog", "pug, old")


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    with pytest.raises(DataError, match="must be CSV in UTF-8"):
        read(table(tmp_path, "filename,label\na.jpg,Bär\n", encoding="latin-1"))


def test_nothing_there(tmp_path: Path) -> None:
    make(tmp_path / "photos", "a_1.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no .*fotos.*did you mean '.*photos'"):
        read(tmp_path / "fotos")
    with pytest.raises(DataError, match=r"there is no .*fotos.*did you mean"):
        read_pictures(tmp_path / "fotos")
    for reader in (read, read_pictures):
        with pytest.raises(DataError, match=r"empty holds no pictures .*give another folder"):
            reader(tmp_path / "empty")
    table(tmp_path / "empty", "", "labels.csv")
    with pytest.raises(DataError, match=r"it holds 'labels\.csv': give that file instead"):
        read(tmp_path / "empty")
    with pytest.raises(DataError, match="neither a folder nor"):
        read(tmp_path / "photos/a_1.jpg")


def test_pictures_without_a_label(tmp_path: Path) -> None:
    make(tmp_path, "pug_1.jpg", "stray.jpg", "_7.jpg")
    with pytest.raises(DataError, match=r"2 pictures \('_7\.jpg', 'stray\.jpg'\) are without a label"):
        read(tmp_path)
    with pytest.raises(DataError, match="without a label"):
        read(make(tmp_path / "bare", "1.jpg", "2.jpg"))
    assert read(tmp_path / "bare", labels=False).labels.tolist() == [-1, -1]


def test_pictures_beside_class_folders(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"both folders of pictures \('cat'\) and pictures beside them \('stray\.jpg'\)"
    ):
        read(make(tmp_path, "cat/1.jpg", "stray.jpg"))


def test_unknown_columns_and_splits(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    dataset = read(table(tmp_path, "filename,label,split,patient\na.jpg,x,train,p\nb.jpg,y,val,q\n"))
    with pytest.raises(UsageError, match="unknown column 'patients'; did you mean 'patient'"):
        dataset.column("patients")
    with pytest.raises(UsageError, match="unknown split 'tran'; did you mean 'train'"):
        dataset.part("tran")
    assert len(dataset.part("all")) == 2 and len(dataset.part("Valid")) == 1
    with pytest.raises(UsageError, match="unknown split 'val'"):
        read(make(tmp_path / "plain", "a_1.jpg")).part("val")


def test_columns_called_like_fields_are_only_columns(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    dataset = read(table(tmp_path, "filename,label,path\na.jpg,x,\nb.jpg,y,n\n"))
    assert dataset.column("path").tolist() == ["", "n"]


def test_labels_that_do_not_fit_a_network(tmp_path: Path) -> None:
    dataset = read(make(tmp_path, "cat_1.jpg", "dog_1.jpg", "eel_1.jpg"))
    fitted = dataset.fitted(("eel", "cow", "dog", "cat"))
    assert fitted.labels.tolist() == [3, 2, 0] and fitted.classes == ("eel", "cow", "dog", "cat")
    with pytest.raises(
        DataError,
        match=r"do not fit the network: in .* 2 labels \('dog', 'eel'\) are not among its 2 classes \('cat', 'cow'\)",
    ):
        dataset.fitted(("cat", "cow"))
    assert dataset.select([0]).fitted(("cat", "cow")).labels.tolist() == [0]  # the others are not in this part


def test_class_order() -> None:
    assert class_order(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert class_order(["10", "9", "x"]) == ("10", "9", "x")
    assert class_order(["pug", "Bengal", "american", "Pug"]) == ("american", "Bengal", "Pug", "pug")


# Pictures without labels


def test_bare_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "one/b.jpg", "one/sub/a.PNG", "one/.h.jpg", "two/b.jpg", "two/c.jpg")
    bare = read_pictures(tmp_path / "one")
    assert said(bare) == [("b.jpg", None, None), ("sub/a.PNG", None, None)] and bare.classes == ()
    assert read_pictures(str(tmp_path / "two/c.jpg")).names == ["c.jpg"]
    file = table(tmp_path, "filename,label\ntwo/c.jpg,x\none/b.jpg,y\n", "l.csv")
    assert said(read_pictures(file)) == [("two/c.jpg", None, None), ("one/b.jpg", None, None)]
    assert read_pictures(table(tmp_path, "filename\ntwo/c.jpg\n", "m.csv")).names == ["two/c.jpg"]
    monkeypatch.chdir(tmp_path)
    several = read_pictures([Path("two"), Path("one/b.jpg")])
    assert several.names == ["two/b.jpg", "c.jpg", "one/b.jpg"]  # in the order given, equal names told apart
    with pytest.raises(RegardError, match="more than once"):
        read_pictures(["one/b.jpg", "one/b.jpg"])


def test_a_picture_is_simple() -> None:
    assert Picture("a.jpg", FileOpener(Path("a.jpg"))) == Picture("a.jpg", FileOpener(Path("a.jpg")), None, None, {})


def test_reading_data_needs_no_torch() -> None:
    modules = "regard.data.layouts, regard.data.splits, regard.data.hashes"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.shared
def test_real_data(shared: Path) -> None:
    pets = read(shared / "data/pets")
    assert (len(pets.part("train")), len(pets.part("val")), len(pets.classes)) == (185, 74, 37)
    assert pets.labels.tolist() == [int(value) for value in pets.column("label_id")]  # the official class ids
    clothing = read(shared / "data/clothing")
    assert len(clothing) == 3409 and len(clothing.classes) == 10 and clothing.splits == ("train", "val")
    captions = read(shared / "data/coco-free/captions.json")
    assert len(captions) == 92 and all(len(picture.annotations) == 5 for picture in captions.pictures)
    with pytest.raises(DataError, match="several labels per picture"):
        read(shared / "data/coco-free/instances.json")
    assert len(read_pictures(shared / "data/pets")) == 259
