"""The same picture twice is found, exactly and nearly, and different pictures are not."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from regard.data.dataset import Dataset, Picture, gathered
from regard.data.hashes import (
    Duplicate,
    Fingerprints,
    across_splits,
    difference_hash,
    duplicates,
    fingerprints,
    picture_hashes,
    with_two_labels,
)
from regard.data.layouts import read
from regard.data.openers import FileOpener
from regard.errors import DataError


def photo(seed: int, width: int = 240, height: int = 160) -> Image.Image:
    """Blurred blots, another picture for each seed."""
    rng = np.random.default_rng(seed)
    blots = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def dataset(folder: Path, **rows: str) -> Dataset:
    """`name="split label"` for pictures that lie in `folder`; two underscores stand for the dot."""
    pictures = []
    for key, text in rows.items():
        split, label = text.split()
        name = key.replace("__", ".")
        pictures.append(Picture(name, FileOpener(folder / name), label, split))
    return gathered(folder, "csv", pictures)


def found(data: Dataset) -> list[tuple[int, int, str]]:
    pairs = duplicates(data, picture_hashes(data.pictures), fingerprints(data.pictures))
    return [(pair.first, pair.second, pair.kind) for pair in pairs]


def test_difference_hash_by_hand() -> None:
    values = np.zeros((8, 9), np.uint8)
    values[0] = [0, 9, 9, 20, 10, 10, 11, 0, 1]  # brighter than the left neighbour: 1 0 1 0 0 1 0 1
    values[7, 8] = 50
    assert difference_hash(Image.fromarray(values)) == 0b10100101 << 56 | 1


def test_exact_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"some bytes")
    pictures = [Picture(name, FileOpener(tmp_path / name)) for name in ("a.png", "none.png")]
    assert picture_hashes(pictures[:1]) == {"a.png": hashlib.sha256(b"some bytes").hexdigest()}
    with pytest.raises(DataError, match=r"none\.png cannot be read"):
        picture_hashes(pictures)


def test_what_people_do_to_pictures_is_seen_through(tmp_path: Path) -> None:
    one = photo(0)
    one.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    one.save(tmp_path / "c.jpg", quality=40)
    one.resize((120, 80)).save(tmp_path / "d.jpg", quality=80)
    one.resize((80, 53)).save(tmp_path / "e.webp", quality=70)
    exif = Image.Exif()
    exif[0x0112] = 6
    one.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "f.jpg", quality=90, exif=exif)
    photo(1).save(tmp_path / "g.jpg")
    suffixes = {"a": "png", "b": "png", "c": "jpg", "d": "jpg", "e": "webp", "f": "jpg", "g": "jpg"}
    rows = {f"{name}__{suffix}": "train x" for name, suffix in suffixes.items()}
    pairs = found(dataset(tmp_path, **rows))
    assert pairs == [
        (0, 1, "exact"),
        *((first, second, "near") for first in (0, 2, 3, 4, 5) for second in (2, 3, 4, 5) if first < second),
    ]


def test_different_pictures_are_not_taken_for_each_other(tmp_path: Path) -> None:
    for at in range(30):
        photo(at).save(tmp_path / f"p{at}.png")
    Image.new("RGB", (90, 60), (250, 250, 250)).save(tmp_path / "white.png")
    Image.new("RGB", (90, 60), (30, 90, 30)).save(tmp_path / "green.png")
    faint = Image.new("RGB", (90, 60), (250, 250, 250))
    faint.paste((225, 225, 225), (30, 20, 60, 40))
    faint.save(tmp_path / "faint.png")
    names = [*(f"p{at}" for at in range(30)), "white", "green", "faint"]
    assert found(dataset(tmp_path, **{f"{name}__png": "train x" for name in names})) == []


def test_plain_pictures_of_one_colour_are_one(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), (200, 30, 30)).save(tmp_path / "a.png")
    Image.new("RGB", (45, 30), (201, 30, 30)).save(tmp_path / "b.png")
    assert found(dataset(tmp_path, a__png="train x", b__png="val x")) == [(0, 1, "near")]


def test_unreadable_pictures_are_nobodys_duplicate(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"nothing " + name.encode())
    Image.new("RGB", (90, 60)).save(tmp_path / "c.png")
    assert found(dataset(tmp_path, a__jpg="train x", b__jpg="val x", c__png="val x")) == []
    assert fingerprints([]).thumbnails.shape == (0, 16, 16, 3)


def test_across_splits_and_with_two_labels(tmp_path: Path) -> None:
    for name, seed in {"a": 1, "b": 1, "c": 2, "d": 2}.items():
        photo(seed).save(tmp_path / f"{name}.png")
    photo(1).save(tmp_path / "e.jpg", quality=80)
    data = dataset(tmp_path, a__png="train x", b__png="val x", c__png="train x", d__png="train y", e__jpg="val z")
    pairs = duplicates(data, picture_hashes(data.pictures), fingerprints(data.pictures))
    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [
        (0, 1, "exact"),
        (0, 4, "near"),
        (2, 3, "exact"),
    ]
    assert [(pair.first, pair.second) for pair in across_splits(data, pairs)] == [(0, 1), (0, 4)]
    assert [(pair.first, pair.second) for pair in with_two_labels(data, pairs)] == [(0, 4), (2, 3)]
    assert duplicates(data, picture_hashes(data.pictures)) == [Duplicate(0, 1, "exact"), Duplicate(2, 3, "exact")]


def looks(bits: list[int], thumbnails: list[np.ndarray]) -> Fingerprints:
    return Fingerprints(np.array(bits, np.uint64), np.array(thumbnails, np.uint8), np.ones(len(bits), np.bool_))


def test_the_limits_of_near(tmp_path: Path) -> None:
    slope = np.add.outer(np.arange(16) * 6, np.arange(16) * 6)[..., None].repeat(3, axis=-1) + 20
    data = gathered(tmp_path, "csv", [Picture(name, FileOpener(tmp_path / name)) for name in "ab"])
    different = {name: name for name in data.names}

    def near(bits: int, other: np.ndarray) -> bool:
        return bool(duplicates(data, different, looks([0, (1 << bits) - 1], [slope, other])))

    assert near(10, slope) and not near(11, slope)
    assert near(0, slope + 5) and not near(0, slope + 6)  # grey levels
    chess = np.indices((16, 16)).sum(axis=0)[..., None] % 2 * 2 - 1
    assert near(0, slope + 4 * chess)  # a little noise on a strong picture
    assert near(0, slope + np.array([9, 0, 0])) and not near(0, slope + np.array([18, 0, 0]))  # colour counts
    faint = slope // 12 + 100  # spread over 15 levels only, so 4 of them change what it shows
    pair = looks([0, 0], [faint, faint + 4 * chess])
    assert not duplicates(data, different, pair)


@pytest.mark.shared
def test_real_pictures(shared: Path) -> None:
    clothing = read(shared / "data/clothing")
    part = clothing.select(
        [at for at, picture in enumerate(clothing.pictures) if picture.label in ("shorts", "skirt", "dress")]
    )
    pairs = duplicates(part, picture_hashes(part.pictures), fingerprints(part.pictures))
    assert [sorted(part.names[at] for at in (pair.first, pair.second)) for pair in pairs] == [
        [
            "train/shorts/6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c.jpg",
            "train/skirt/637a56e4-7fa6-4f75-8859-0f8902461554.jpg",
        ]
    ]  # looked at: one pair of shorts, once called a skirt
    assert with_two_labels(part, pairs) == pairs
