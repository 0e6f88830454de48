"""WebDataset tars: grouped by key, indexed from headers alone, read in sequence or by range; what is wrong is named."""

import gzip
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from tars import png, write_shards, write_tar

from regard.data.dataset import skipper
from regard.data.images.decode import open_picture
from regard.data.images.preparation import Preparation, batches
from regard.data.layouts import read, read_pictures
from regard.data.layouts.captions import captions_of, read_captioned
from regard.data.shards import index, open_source, tars
from regard.data.shards.headers import Window, headers
from regard.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def test_members_are_read_in_sequence_and_by_range_alike(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards")
    for data in (
        folder,
        f"{folder}/{{000000..000002}}.tar",
        f"file://{folder}",
        f"file://{folder}/{{000000..000002}}.tar",
    ):
        source = pickle.loads(pickle.dumps(open_source(data)))
        assert len(source.shards) == 3 and all(shard.size > 0 and shard.tag for shard in source.shards)
        number = 0
        for shard, members in source.listing():
            assert len(members) == 4 and list(members.labels or ()) == ["cat", "dog"] * 2
            for member, picture in zip(source.read(shard), source.pictures(shard), strict=True):
                assert member.key == picture.name == members.keys[number % 4] == f"{number:07d}"
                assert member.data == picture.opener.open().read() == png(number)
                assert member.label == picture.label == ["cat", "dog"][number % 2] and member.error is None
                number += 1
        assert number == 12


def test_every_command_reads_tars_as_it_reads_folders(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards")
    labelled = read(folder)
    assert labelled.layout == "webdataset" and labelled.classes == ("cat", "dog") and len(labelled) == 12
    assert labelled.column("site").tolist() == [f"s{number % 3}" for number in range(12)]
    assert not read_pictures(folder).classes
    assert captions_of(read_captioned(folder).pictures[5]) == ("a dog, number 5",)
    one = read(folder / "000001.tar")
    assert one.names == [f"{number:07d}" for number in range(4, 8)]


def test_pictures_of_a_folder_are_shards_of_so_many_keys(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"cat_{number}.png").write_bytes(png(number))
    source = open_source(tmp_path, unit=3)
    assert [shard.address for shard in source.shards] == ["keys:0-3", "keys:3-6", "keys:6-7"]
    members = source.members(source.shards[1])
    assert list(members.keys) == ["cat_3.png", "cat_4.png", "cat_5.png"]
    np.testing.assert_array_equal(members.sizes, [len(png(number)) for number in (3, 4, 5)])
    assert [member.data for member in source.read(source.shards[2])] == [png(6)]
    (tmp_path / "cat_4.png").unlink()
    _, gone, after = source.read(source.shards[1])
    assert gone.key == "cat_4.png" and gone.data is None and "cat_4.png cannot be read: No such file" in str(gone.error)
    assert after.data == png(5)


# Tars of every kind, and damaged ones


KINDS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_where_pythons_own_reader_finds_them(kind: str, tmp_path: Path) -> None:
    """Long names, names that are no ASCII, folders, links, empty files: against `tarfile`."""
    members = {
        "./a/0001.PNG": png(1),
        "a/0001.cls": b"3",
        f"{'deep/' * 18}{'n' * 90 if kind == 'ustar' else 'n' * 190}.png": png(2),
        "café/0002.left.png": png(3),
        "._0003.png": b"no picture",
        "b/0004.jpg": b"",
        "b/0005.tar": png(4) * 3,
        "b/noending": b"1",
    }
    file = write_tar(tmp_path / "a.tar", members, KINDS[kind])
    with tarfile.open(file, "a", format=KINDS[kind]) as tar:
        for entry, link in ((tarfile.DIRTYPE, ""), (tarfile.SYMTYPE, "0001.PNG"), (tarfile.LNKTYPE, "a/0001.PNG")):
            info = tarfile.TarInfo(f"c/{entry!r}.png")
            info.type = entry
            info.linkname = link
            tar.addfile(info)
        tar.add(Path(__file__), "z.txt")
    content = file.read_bytes()
    with tarfile.open(file) as tar:
        expected = [(each.name, each.offset_data, each.size) for each in tar if each.isreg()]
    for block in (512, 4 << 20):
        window = Window(lambda start, length: content[start : start + length], len(content), block)
        rows = [(os.fsdecode(each.name), each.offset, each.size) for each in headers(window, "a.tar")]
        assert rows == expected
    source = open_source(file, image="png")
    members_of = source.members(source.shards[0])
    assert members_of.keys[0] == "a/0001" and len(members_of) == 2 and list(members_of.labels or ()) == ["3", None]
    source = open_source(file, image="left.png")
    assert list(source.members(source.shards[0]).keys) == ["café/0002"]


def test_a_member_larger_than_eight_gibibytes_has_its_size_in_base_256(tmp_path: Path) -> None:
    """Only its header is read; nothing of that size is written."""
    size = 9 << 30
    info = tarfile.TarInfo("large.png")
    info.size = size
    pieces = {0: info.tobuf(tarfile.GNU_FORMAT), 512 + size: b"\0" * 1024}
    parts = list(pieces.items())

    def read(start: int, length: int) -> bytes:
        return next((content[start - at :][:length] for at, content in parts if at <= start < at + len(content)), b"")

    (header,) = headers(Window(read, size + 1536, 512), "a.tar")
    assert (header.offset, header.size) == (512, size)


def test_few_bytes_of_large_members_are_read() -> None:
    """Headers far apart: some 64 KiB each; close together: the whole, in few requests."""
    for size, most_requests, most_share in ((3 << 20, 60, 0.2), (20_000, 3, 1.01)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for number in range(40):
                info = tarfile.TarInfo(f"{number}.jpg")
                info.size = size
                tar.addfile(info, io.BytesIO(bytes(size)))
        content = stream.getvalue()
        requests = []

        def read(start: int, length: int, content: bytes = content, requests: list[int] = requests) -> bytes:
            requests.append(length)
            return content[start : start + length]

        assert len(list(headers(Window(read, len(content)), "a.tar"))) == 40
        assert len(requests) <= most_requests and sum(requests) <= most_share * len(content)


@pytest.mark.parametrize("cut", [700, 512 * 3 + 100, -1024])
def test_a_tar_that_is_cut_off_is_refused_or_used_as_far_as_it_goes(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a picture, in a header, and before the records of its end (no member is then known to be missing)."""
    members = [(f"{number}.png", png(number)[:500].ljust(512, b"\0")) for number in range(3)]
    content = write_tar(tmp_path / "a.tar", members).read_bytes()
    end = 3 * 1024
    (tmp_path / "a.tar").write_bytes(content[: end + cut + 1024 if cut < 0 else cut])
    source = open_source(tmp_path / "a.tar")
    for work in (source.members, source.pictures, lambda shard: list(source.read(shard))):
        with pytest.raises(DataError, match=r"a\.tar is cut off at byte .*copy it again, or go on .* by --skip-bad"):
            work(source.shards[0])
    with caplog.at_level("WARNING", "regard"):
        rest = open_source(tmp_path / "a.tar", skip_bad=True)
        assert list(rest.members(rest.shards[0]).keys) == {700: [], 1636: ["0"], -1024: ["0", "1", "2"]}[cut]
    assert "skipped: the rest of what" in caplog.text and "a.tar is cut off" in caplog.text
    pictures = read_pictures(tmp_path / "a.tar")  # in any command the rest is a picture that cannot be read
    assert pictures.names == [*rest.members(rest.shards[0]).keys, "rest of a.tar"]
    with pytest.raises(DataError, match=r"a\.tar is cut off at byte"):
        open_picture(pictures.pictures[-1].opener)
    with pytest.raises(DataError, match=r"a\.tar is cut off at byte"):
        read(tmp_path / "a.tar")


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a.png": png(0)})
    whole = (tmp_path / "a.tar").read_bytes()
    sparse = bytearray(whole)
    sparse[156:157] = b"S"
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse[:512])
    broken = bytearray(whole)
    broken[512 * 3 : 512 * 3] = b"\1" * 512
    cases = {
        "packed.tar": (gzip.compress(whole), "packed.tar is compressed by gzip.*unpack it .gunzip."),
        "text.tar": (b"no tar at all" * 100, "text.tar is no tar, whatever its name says"),
        "sparse.tar": (bytes(sparse), "sparse.tar has sparse files, which are not read"),
        "empty.tar": (b"", "empty.tar is cut off at byte 0"),
    }
    for name, (content, says) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=says):
            read(tmp_path / name)
    write_tar(tmp_path / "b.tar", {"a.png": png(0), "b.png": png(1)})
    content = bytearray((tmp_path / "b.tar").read_bytes())
    second = content.index(b"b.png")
    content[second] ^= 1
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(DataError, match=rf"b\.tar is damaged at byte {second:,}: there is no header of a tar"):
        read_pictures(tmp_path / "b.tar")
    for name in ("a.tar.gz", "a.tgz"):
        (tmp_path / name).write_bytes(gzip.compress(whole))
        with pytest.raises(DataError, match=r"compressed, and a member of such a tar cannot be reached.*gunzip"):
            read_pictures(tmp_path / name)


def test_keys_and_members_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "two.tar", [("a.png", png(0)), ("a.bmp", png(1))])
    with pytest.raises(DataError, match=r"'a' has several pictures \('bmp', 'png'\); choose one by --image bmp"):
        read_pictures(tmp_path / "two.tar")
    write_tar(tmp_path / "same.tar", [("a.png", png(0)), ("./a.png", png(1))])
    with pytest.raises(DataError, match=r"same\.tar 1 key \('a'\) is there more than once"):
        read_pictures(tmp_path / "same.tar")
    for shard in ("0", "1"):
        write_tar(tmp_path / "over" / f"{shard}.tar", {"a.png": png(0), f"b{shard}.png": png(1)})
    with pytest.raises(DataError, match=r"over 1 name \('a'\) is there more than once"):
        read_pictures(tmp_path / "over")
    write_tar(tmp_path / "none.tar", {"a.left.png": png(0), "a.cls": b"1"})
    with pytest.raises(DataError, match=r"no members that end in \.jpg.*'left.png'; choose one by --image"):
        read_pictures(tmp_path / "none.tar")
    write_tar(tmp_path / "json.tar", {"a.png": png(0), "a.json": b"{"})
    with pytest.raises(DataError, match=r"json\.tar: a\.json is not JSON"):
        read_pictures(tmp_path / "json.tar")
    with pytest.raises(DataError, match=r"the range 9\.\.0 runs backwards"):
        read_pictures(f"{tmp_path}/{{9..0}}.tar")
    with pytest.raises(DataError, match=r"there is no .*1\.tar; check the path"):
        read_pictures(f"{tmp_path}/{{1..2}}.tar")


def test_a_member_that_is_no_picture_is_named_and_skipped_on_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tar(tmp_path / "a.tar", {"a.png": png(0), "b.png": b"no picture", "c.png": png(2)[:200]})
    pictures = read_pictures(tmp_path / "a.tar").pictures
    with pytest.raises(DataError, match=r"a\.tar: b\.png is not a picture, whatever its name says"):
        list(batches(pictures, Preparation(8, 8)))
    (batch,) = batches(pictures, Preparation(8, 8), on_bad=skipper(True))
    assert batch.indices == [0] and "a.tar: c.png is a broken picture" in caplog.text


def test_the_index_is_kept_and_checked_by_size_and_time(tmp_path: Path, cache: Path) -> None:
    folder = write_shards(tmp_path / "shards", shards=1)
    source = open_source(folder)
    keys = list(source.members(source.shards[0]).keys)
    (stored,) = cache.rglob("*.arrow")
    tars._indexed.cache_clear()
    assert index.load(source.shards[0]).keys == keys  # type: ignore[union-attr]
    stored.write_bytes(stored.read_bytes()[:100])  # damaged: built anew
    tars._indexed.cache_clear()
    assert list(open_source(folder).members(source.shards[0]).keys) == keys
    write_shards(folder, shards=1, pictures=2)
    os.utime(folder / "000000.tar", ns=(1, 1))
    with pytest.raises(DataError, match=r"000000\.tar changed since it was first looked at"):
        source.members(source.shards[0])
    with pytest.raises(DataError, match=r"000000\.tar changed since it was first looked at"):
        source.pictures(source.shards[0])
    again = open_source(folder)
    assert len(again.members(again.shards[0])) == 2
    picture = again.pictures(again.shards[0])[0]
    os.utime(folder / "000000.tar", ns=(2, 2))
    with pytest.raises(DataError, match="changed since it was first looked at"):
        open_picture(picture.opener)


def test_shards_are_read_where_no_index_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    assert len(read(write_shards(tmp_path / "shards"))) == 12


def test_splits_are_folders_or_stand_in_names(tmp_path: Path) -> None:
    whole = write_shards(tmp_path / "whole")
    for place, name in enumerate(("train/a.tar", "train/b.tar", "validation/a.tar")):
        (tmp_path / "folders" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(whole / f"{place:06d}.tar", tmp_path / "folders" / name)
    dataset = read(tmp_path / "folders")
    assert dataset.layout == "webdataset" and dataset.splits == ("train", "val") and len(dataset.part("val")) == 4
    assert len(read(f"{tmp_path}/folders/{{train,validation}}/a.tar").part("val")) == 4
    for place, name in enumerate(("clothes-train-000000", "clothes-train-000001", "clothes-val-000000")):
        (whole / f"{place:06d}.tar").rename(whole / f"{name}.tar")
    assert read(whole).splits == ("train", "val")
    assert read(whole / "clothes-val-000000.tar").splits == ("val",)
    (tmp_path / "folders" / "cats").mkdir()
    with pytest.raises(DataError):
        read(tmp_path / "folders")


def test_a_label_can_be_a_field_or_another_member(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards")
    source = open_source(folder, label="site")
    assert list(source.members(source.shards[0]).labels or ()) == ["s0", "s1", "s2", "s0"]
    assert [picture.label for picture in source.pictures(source.shards[0])] == ["s0", "s1", "s2", "s0"]
    source = open_source(folder, label="txt")
    assert list(source.members(source.shards[0]).labels or ())[:1] == ["a cat, number 0"]
