"""Lists of keys, and tables and folders in a store."""

import logging
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tars

from regard.data.images.decode import open_picture
from regard.data.layouts import read, read_labelled, read_pictures
from regard.data.layouts.captions import captions_of, read_captioned
from regard.data.openers import FileOpener
from regard.data.shards import keys, open_source
from regard.data.stores import Store
from regard.errors import DataError

COUNT = 6


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    """A store of its own with `in/0.png` to `in/5.png`."""
    store = Store.of(f"memory://{re.sub('[^a-z]+', '-', request.node.name).strip('-')}")
    for number in range(COUNT):
        store.put(f"in/{number}.png", tars.png(number))
    return store


def content(picture: Any) -> bytes:
    with picture.opener.open() as stream:
        return bytes(stream.read())


def csv(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def rows(store: Store, kind: str) -> list[str]:
    address = "" if kind == "relative" else f"{store.address}/"
    return [
        f"{address}in/{number}.png,{('dog', 'cat')[number % 2]},{'train' if number < 4 else 'val'},{number // 2}"
        for number in range(COUNT)
    ]


@pytest.mark.parametrize("kind", ["relative", "absolute", "index.csv"])
def test_a_table_in_a_store(store: Store, kind: str) -> None:
    name = "index.csv" if kind == "index.csv" else "list.csv"
    store.put(name, csv("filename,label,split,site", *rows(store, "absolute" if kind == "absolute" else "relative")))
    dataset = read_labelled(store.address if kind == "index.csv" else f"{store.address}/{name}")
    assert dataset.layout == "keys" and dataset.classes == ("cat", "dog") and dataset.splits == ("train", "val")
    assert dataset.column("site").tolist() == list("001122") and dataset.names[0].endswith("in/0.png")
    assert [content(each) for each in dataset.pictures] == [tars.png(number) for number in range(COUNT)]
    assert str(dataset.pictures[2].opener) == f"{store.address}/in/2.png"
    with pytest.raises(DataError, match=r"in/2\.png has 16 × 12 = 192 pixels, more than the 100"):
        open_picture(dataset.up_to(100).pictures[2].opener)


def test_a_list_on_a_disk_of_pictures_in_a_store(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(csv("url;label", *(f"{store.address}/in/{number}.png;7" for number in range(3))))
    dataset = read_labelled(path)
    assert dataset.classes == ("7",) and content(dataset.pictures[1]) == tars.png(1)
    assert dataset.filenames[1] == f"{store.address}/in/1.png" and "://" not in dataset.names[1]
    assert len(read_pictures([path, path.rename(tmp_path / "b.csv")][1])) == 3


def test_a_list_whose_column_is_named(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{number}.png").write_bytes(tars.png(number))
    table = pa.table(
        {"scan": [f"in/{number}.png" for number in range(3)], "kind": ["a", "b", "a"], "caption": list("xyz")}
    )
    pq.write_table(table, tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_bytes(csv("scan,kind,caption", "in/0.png,a,x", "in/1.png,b,y", "in/2.png,a,z"))
    for name in ("list.parquet", "list.csv"):
        dataset = read_labelled(tmp_path / name, "kind", "scan")
        assert dataset.names == ["in/0.png", "in/1.png", "in/2.png"] and dataset.classes == ("a", "b")
        assert all(isinstance(each.opener, FileOpener) for each in dataset.pictures)
        assert content(dataset.pictures[2]) == tars.png(2)
    assert captions_of(read_captioned(tmp_path / "list.parquet", image="scan").pictures[1]) == ("y",)
    with pytest.raises(DataError, match=r"list\.parquet has no column that names pictures; its columns are 'scan'"):
        read(tmp_path / "list.parquet")


def test_an_inventory(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As S3 writes it: quoted keys in a table of text, plain ones in Parquet; folders and other files among them."""
    store.put("in/a b.png", tars.png(9))
    bucket = store.address.removeprefix("memory://")
    names = ["in/0.png", "in/a b.png", "in/", "notes.txt"]
    table = pa.table({"bucket": [bucket] * 4, "key": names, "size": [1, 2, 3, 4], "e_tag": list("abcd")})
    pq.write_table(table, tmp_path / "inventory.parquet")
    text = [f'"{bucket}","{name.replace(" ", "%20")}","{size}","{tag}"'
            for name, size, tag in zip(names, (1, 2, 3, 4), "abcd", strict=True)]  # fmt: skip
    (tmp_path / "inventory.csv").write_bytes(csv("Bucket,Key,Size,ETag", *text))
    for name in ("inventory.parquet", "inventory.csv"):
        caplog.clear()
        source = open_source(tmp_path / name)
        (shard,) = source.shards
        assert shard.size == 3 and shard.address == "keys:0-2"
        pictures = source.pictures(shard)
        assert [str(each.opener) for each in pictures] == [f"s3://{bucket}/in/0.png", f"s3://{bucket}/in/a b.png"]
        assert "2 of 4 keys are no pictures regard reads, and left out" in caplog.text
    store.put("inventory.csv", csv("bucket,key", f"{bucket},in/1.png"))


def test_shards_of_keys_know_when_a_picture_changes(store: Store) -> None:
    store.put("list.csv", csv("filename,label", *(f"in/{number}.png,{number % 2}" for number in range(COUNT))))
    source = open_source(f"{store.address}/list.csv", unit=4)
    first = source.shards
    assert [shard.address for shard in first] == ["keys:0-4", "keys:4-6"]
    assert first[0].size == sum(len(tars.png(number)) for number in range(4))
    assert source.members(first[1]).labels == ["0", "1"] and source.members(first[1]).keys == ["in/4.png", "in/5.png"]
    assert [member.data for member in source.read(first[1])] == [tars.png(4), tars.png(5)]
    store.put("in/5.png", tars.png(50))
    keys._shards.cache_clear()
    again = open_source(f"{store.address}/list.csv", unit=4).shards
    assert again[0] == first[0] and again[1] != first[1]


def test_bad_lists_are_one_line(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    address = store.address
    for lines, says in (
        (("filename", f"{address}/in/0.png", f"{address}/in/0.png"), r"1 key \('memory.*/in/0\.png'\) is there more"),
        (("filename", f"{address}/in/none.png"), r"there is no memory://.*/in/none\.png"),
        (("filename", "https://there.example/a.jpg?signed=secret"), "addresses with a question mark"),
        (("filename,label", f"{address}/in/0.png,a", ",b"), "row 1 has no filename; fill it in"),
        (("filename,label", f"{address}/in/0.png,a,b"), r"list\.csv is not a table that can be read"),
    ):
        path.write_bytes(csv(*lines))
        with pytest.raises(DataError, match=says) as caught:
            read(path, labels=False)
        assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(csv("filename", f"{address}/in/0.png", f"{address}/in/none.png"))
    source = open_source(path, skip_bad=True)
    members = list(source.read(source.shards[0]))
    assert [member.error is None for member in members] == [True, False]


def test_many_keys_are_planned_without_asking_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(csv("filename", *(f"memory://nowhere/{number}.png" for number in range(50))))
    monkeypatch.setattr(keys, "HEADS", 40)
    caplog.set_level(logging.WARNING)
    assert len(open_source(path, unit=10).shards) == 5
    assert "that one of them changes is not noticed; give it the columns size and etag" in caplog.text


# Folders in a store


def laid_out(store: Store, *names: str) -> str:
    for place, name in enumerate(names):
        store.put(f"data/{name}", tars.png(place))
    return f"{store.address}/data"


def test_folders_in_a_store_are_read_as_on_a_disk(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    classes = laid_out(store, "cat/1.png", "cat/deep/2.png", "dog/1.png", "notes.txt")
    dataset = read_labelled(classes)
    assert dataset.layout == "classes" and dataset.classes == ("cat", "dog")
    assert dataset.names == ["cat/1.png", "cat/deep/2.png", "dog/1.png"] and content(dataset.pictures[1]) == tars.png(1)
    assert dataset.column("folder").tolist() == ["", "deep", ""] and "1 file is no picture" in caplog.text
    assert read_pictures(classes).names == dataset.names
    assert str(dataset.pictures[0].opener) == f"{store.address}/data/cat/1.png"


def test_splits_and_flat_folders_in_a_store(store: Store) -> None:
    splits = laid_out(store, *(f"{split}/{label}/1.png" for split in ("train", "val") for label in ("cat", "dog")))
    dataset = read_labelled(splits)
    assert dataset.layout == "splits" and dataset.splits == ("train", "val")
    for place, name in enumerate(("great_dane_1.png", "pug_2.png")):
        store.put(f"flat/{name}", tars.png(place))
    assert read_labelled(f"{store.address}/flat").classes == ("great_dane", "pug")
    with pytest.raises(DataError, match="/nothing holds no pictures, shards or tables that regard reads; check"):
        read(f"{store.address}/nothing")
