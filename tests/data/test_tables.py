"""Pictures in tables: Parquet with bytes, data sets of Hugging Face's `datasets` on a disk and from the hub."""

import io
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tars
from PIL import Image

from regard.data.hashes import picture_hashes
from regard.data.images.decode import open_picture
from regard.data.layouts import read, read_labelled, read_pictures
from regard.data.layouts.captions import captions_of, read_captioned
from regard.data.layouts.multilabel import read_multilabelled
from regard.data.shards import open_source, tables
from regard.errors import DataError, UsageError

datasets.disable_progress_bars()
datasets.config.HF_DATASETS_OFFLINE = True


def png(index: int) -> bytes:
    """A picture whose every pixel says which it is."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (index, 0, 255)).save(stream, "PNG")
    return stream.getvalue()


def which(opener: Any) -> int:
    pixel = open_picture(opener).getpixel((3, 3))
    assert isinstance(pixel, tuple) and pixel[2] == 255
    return int(pixel[0])


def parquet(path: Path, rows: Sequence[int] = range(6), group: int = 2, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [png(row) for row in rows], **columns}), path, row_group_size=group)
    return path


FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "animal": datasets.Value("string"),
    }
)


def hugging(rows: Sequence[int], features: datasets.Features = FEATURES, **columns: Any) -> datasets.Dataset:
    content = {
        "image": [{"bytes": png(row), "path": None} for row in rows],
        "label": [row % 2 for row in rows],
        "animal": [f"a{row // 2}" for row in rows],
        **columns,
    }
    return datasets.Dataset.from_dict({name: content[name] for name in features}, features=features)


# Parquet


def test_parquet_with_bytes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", label=["x", "y"] * 3, site=list("aabbcc"), weight=[1.5] * 6)
    dataset = read_labelled(path)
    assert dataset.layout == "parquet" and dataset.classes == ("x", "y")
    assert dataset.names[:2] == ["a/000000", "a/000001"] and dataset.column("site").tolist() == list("aabbcc")
    assert [which(each.opener) for each in dataset.pictures] == list(range(6))
    assert read_labelled(path, "site").classes == ("a", "b", "c")
    assert read_pictures(path).pictures[0].label is None and len(set(picture_hashes(dataset.pictures).values())) == 6
    opener = pickle.loads(pickle.dumps(dataset.pictures[4].opener))
    assert which(opener) == 4 and str(opener) == f"{path}, row 4"
    with pytest.raises(DataError, match="row 0 has 8 × 6 = 48 pixels, more than the 40"):
        open_picture(dataset.up_to(40).pictures[0].opener)


def test_a_folder_of_parquet_has_splits_by_its_names(tmp_path: Path) -> None:
    for name in ("data/train-00000-of-00002", "data/train-00001-of-00002", "data/validation-00000-of-00001"):
        parquet(tmp_path / f"{name}.parquet", label=[0, 1] * 3)
    dataset = read(tmp_path)
    assert dataset.splits == ("train", "val") and len(dataset.part("train")) == 12 and dataset.classes == ("0", "1")
    assert dataset.names[6] == "data/train-00001-of-00002/000000"
    parquet(tmp_path / "data/more.parquet", label=[0, 1] * 3)
    assert read(tmp_path).splits == ()
    assert len(read(str(tmp_path / "data/train-0000{0..1}-of-00002.parquet"))) == 12


def test_only_a_row_group_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", rows=range(40), group=4)
    read_groups: list[tuple[int, Sequence[str]]] = []
    plain = pq.ParquetFile.read_row_group

    def spied(self: pq.ParquetFile, group: int, columns: Sequence[str] | None = None, **how: Any) -> pa.Table:
        read_groups.append((group, columns))
        return plain(self, group, columns=columns, **how)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spied)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    monkeypatch.setattr(tables, "groups", tables._Groups())
    monkeypatch.setattr("regard.data.shards.rows.groups", tables.groups)
    monkeypatch.setattr(tables, "BUDGET", 1)
    dataset = read(path, labels=False)
    assert read_groups == []
    assert [which(each.opener) for each in dataset.pictures[8:16]] == list(range(8, 16))
    assert read_groups == [(2, ["image"]), (3, ["image"])] and len(tables.groups._groups) == 1
    source = open_source(path)
    (shard,) = source.shards
    assert [member.data for member in source.read(shard)] == [png(row) for row in range(40)]
    assert source.members(shard).keys == dataset.names and source.members(shard).labels is None
    assert {each.opener.block for each in dataset.pictures} == {(str(path), group) for group in range(10)}


def test_parquet_in_a_store(tmp_path: Path) -> None:
    from regard.data.stores import Store

    path = parquet(tmp_path / "a.parquet", rows=range(8), label=["x", "y"] * 4)
    store = Store.of("memory://tables")
    for name in ("train-0", "test-0"):
        store.put(f"pets/{name}.parquet", path.read_bytes())
    for data in ("memory://tables/pets", "memory://tables/pets/{test,train}-0.parquet"):
        dataset = read_labelled(data)
        assert dataset.splits == ("train", "test") and dataset.classes == ("x", "y") and len(dataset) == 16
        assert [which(each.opener) for each in dataset.part("train").pictures] == list(range(8))
    assert str(dataset.pictures[3].opener) == "memory://tables/pets/test-0.parquet, row 3"
    here = read(f"file://{path}")
    assert [which(each.opener) for each in here.pictures] == list(range(8))
    with pytest.raises(DataError, match=r"there is no memory://tables/none\.parquet"):
        read("memory://tables/none.parquet")


def test_keys_captions_and_splits_of_columns(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "a.parquet",
        file_name=[f"in/{row}.png" for row in range(6)],
        split=["train"] * 4 + ["validation"] * 2,
        caption=[[f"one {row}", f"two {row}"] for row in range(6)],
    )
    dataset = read_captioned(path)
    assert dataset.names[0] == "in/0.png" and dataset.splits == ("train", "val")
    assert captions_of(dataset.pictures[3]) == ("one 3", "two 3")
    twice = parquet(tmp_path / "b.parquet", file_name=["a.png"] * 6)
    with pytest.raises(DataError, match=r"1 name \('a\.png'\) is there more than once"):
        read(twice, labels=False)
    bare = parquet(tmp_path / "c.parquet", file_name=[None, *"abcde"])
    with pytest.raises(DataError, match=r"c\.parquet, row 0 has no file_name"):
        read(bare, labels=False)


def test_columns_are_named_where_several_may_be_meant(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", mask=[png(100 + row) for row in range(6)], kind=["x", "y"] * 3, n=[1] * 6)
    with pytest.raises(DataError, match=r"2 columns of pictures \('image', 'mask'\); choose one by --image"):
        read(path, labels=False)
    assert which(read(path, labels=False, image="mask").pictures[2].opener) == 102
    assert which(read_labelled(path, "kind", "mask").pictures[2].opener) == 102
    assert which(open_source(path, image="mask").pictures(open_source(path, image="mask").shards[0])[1].opener) == 101
    with pytest.raises(DataError, match=r"no column 'masks' for --image; there are 'image', 'mask', 'kind', 'n'"):
        read(path, labels=False, image="masks")
    with pytest.raises(DataError, match=r"the column 'n' has no bytes of pictures"):
        read(path, labels=False, image="n")
    with pytest.raises(DataError, match=r"no column 'sort' for --label"):
        read_labelled(path, "sort", "mask")
    with pytest.raises(DataError, match=r"6 pictures .* without a label"):
        read_labelled(path, image="image")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "folder/a_1.png")
    with pytest.raises(UsageError, match="is read as flat, whose pictures are files; leave --image out"):
        read(tmp_path / "folder", image="image")


def test_rows_without_bytes_are_named(tmp_path: Path) -> None:
    table = pa.table({"image": [{"bytes": png(0), "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    dataset = read(tmp_path / "a.parquet", labels=False)
    assert dataset.filenames == ["a.png", "b.png", "a/000002"] and which(dataset.pictures[0].opener) == 0
    for row, says in ((1, r"row 1 has no bytes, only the path 'b\.png'"), (2, "row 2 has no bytes; fill it in")):
        with pytest.raises(DataError, match=says):
            open_picture(dataset.pictures[row].opener)
    source = open_source(tmp_path / "a.parquet")
    members = list(source.read(source.shards[0]))
    assert [member.error is None for member in members] == [True, False, False] and members[1].data is None


def test_parquet_that_is_damaged_or_changes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", label=["x"] * 6)
    dataset = read(path)
    content = path.read_bytes()
    for bad in (content[:200], b"PAR1" * 10, b""):
        (tmp_path / "bad.parquet").write_bytes(bad)
        with pytest.raises(DataError, match=r"bad\.parquet is no table that can be read"):
            read(tmp_path / "bad.parquet")
    parquet(path, rows=range(7), label=["x"] * 7)
    with pytest.raises(DataError, match=r"a\.parquet changed since it was first looked at"):
        open_picture(dataset.pictures[0].opener)
    flipped = bytearray(content)
    flipped[60:120] = bytes(60)
    (tmp_path / "c.parquet").write_bytes(flipped)
    broken = 0
    for each in read(tmp_path / "c.parquet").pictures:
        try:
            open_picture(each.opener)
        except DataError:
            broken += 1
    assert 0 < broken < 6


# Hugging Face


def test_a_saved_data_set_with_splits(tmp_path: Path) -> None:
    parts = {"train": hugging(range(4)), "validation": hugging(range(10, 12))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved", num_shards={"train": 2, "validation": 1})
    dataset = read_labelled(tmp_path / "saved")
    assert dataset.layout == "saved-datasets" and dataset.splits == ("train", "val")
    assert dataset.classes == ("cat", "dog") and [each.label for each in dataset.pictures] == ["cat", "dog"] * 3
    assert [which(each.opener) for each in dataset.pictures] == [0, 1, 2, 3, 10, 11]
    assert dataset.column("animal").tolist() == ["a0", "a0", "a1", "a1", "a5", "a5"] and len(set(dataset.names)) == 6
    parts["train"].save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one").splits == () and len(read(tmp_path / "one")) == 4
    next((tmp_path / "saved/train").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match=r"tables of the data set are missing \('data-0000"):
        read(tmp_path / "saved")


def test_parquet_of_the_hub_knows_its_classes(tmp_path: Path) -> None:
    missing = hugging(range(4), label=[1, 0, -1, None])
    missing.to_parquet(tmp_path / "a.parquet")
    assert [each.label for each in read(tmp_path / "a.parquet").pictures] == ["dog", "cat", None, None]
    with pytest.raises(DataError, match=r"2 pictures .* without a label"):
        read_labelled(tmp_path / "a.parquet")


def test_two_columns_of_classes_are_refused(tmp_path: Path) -> None:
    both = datasets.Features(
        {
            "image": datasets.Image(),
            "fine": datasets.ClassLabel(names=["tabby", "pug"]),
            "coarse": datasets.ClassLabel(names=["cat", "dog"]),
        }
    )
    hugging(range(4), both, fine=[0, 1, 0, 1], coarse=[0, 1, 0, 1]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"2 columns of classes \('fine', 'coarse'\); choose one by --label"):
        read_labelled(tmp_path / "a.parquet")
    assert read_labelled(tmp_path / "a.parquet", "coarse").classes == ("cat", "dog")
    assert len(read_pictures(tmp_path / "a.parquet")) == 4


def test_several_labels_of_a_picture(tmp_path: Path) -> None:
    several = datasets.Features(
        {"image": datasets.Image(), "labels": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog", "eel"]))}
    )
    hugging(range(3), several, labels=[[0, 2], [1], []]).to_parquet(tmp_path / "a.parquet")
    sets = read_multilabelled(tmp_path / "a.parquet", "labels")
    assert sets.classes == ("cat", "dog", "eel")
    assert sets.truth.tolist() == [[True, False, True], [False, True, False], [False, False, False]]


def test_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded by `datasets` itself, from a folder in the place of the hub."""
    hugging(range(4)).to_parquet(tmp_path / "repo/train-00000-of-00001.parquet")
    hugging(range(4, 6)).to_parquet(tmp_path / "repo/test-00000-of-00001.parquet")
    plain = datasets.load_dataset

    def load(name: str, config: str | None) -> Any:
        assert (name, config) == ("somebody/pets", "small")
        return plain(str(tmp_path / "repo"), cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load)
    dataset = read_labelled("hf:somebody/pets:small")
    assert dataset.layout == "hub" and dataset.splits == ("train", "test") and dataset.classes == ("cat", "dog")
    assert [which(each.opener) for each in dataset.part("test").pictures] == [4, 5]
    monkeypatch.undo()
    with pytest.raises(DataError, match="hf:somebody/pets: the hub cannot be reached; fetch the data set where"):
        read("hf:somebody/pets")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"need an extra: pip install 'regard\[datasets\]'"):
        read("hf:somebody/pets")


# On the command line


def test_the_commands_read_tables(tmp_path: Path, run: Any) -> None:
    pictures = pa.array([tars.png(row, 24) for row in range(8)], pa.binary())
    path = parquet(tmp_path / "a.parquet", range(8), mask=pictures, kind=["x", "y"] * 4)
    words = ("--model", "random:test_vit", "--size", "32", "--workers", "0")
    code, _, err = run("predict", path, "--out", tmp_path / "p.csv", *words)
    assert code == 1 and "2 columns of pictures ('image', 'mask'); choose one by --image" in err
    code, _, err = run("predict", path, "--image", "mask", "--out", tmp_path / "p.csv", *words)
    assert code == 0 and (tmp_path / "p.csv").read_text().splitlines()[1].startswith("a/000000,")
    options = ("--recipe", "probe", "--model", "random:test_vit", "--size", "32", "--workers", "0", "--val", "0.5")
    columns = ("--image", "mask", "--label", "kind")
    code, _, err = run("train", path, "--out", tmp_path / "run", *columns, *options)
    assert code == 0, err
    assert '"image": "mask"' in (tmp_path / "run/recipe.json").read_text()
    code, out, err = run("evaluate", path, "--model", tmp_path / "run", *columns, "--keep-seen", "--workers", "0")
    assert code == 0 and "top1 " in out
    code, _, err = run("train", path, "--out", tmp_path / "no", "--recipe", "probe", "--image", "mask")
    assert code == 1 and "without a label" in err
