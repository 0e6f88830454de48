"""WebDataset tars: grouped by key, indexed from headers alone, read in sequence or by range; what is wrong is named."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from tars import png, write_shards

from regard.data.layouts import read, read_pictures
from regard.data.layouts.captions import captions_of, read_captioned
from regard.data.shards import open_source


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
