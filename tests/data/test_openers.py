"""Pictures that are no files: what is decoded, hashed and carried to workers is the same as of a file."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regard.data.dataset import Picture
from regard.data.hashes import fingerprints, picture_hashes
from regard.data.images.decode import open_picture, open_reduced
from regard.data.images.preparation import Preparation, batches
from regard.data.openers import ArrayOpener, BytesOpener, FileOpener, ImageOpener, opener_of
from regard.errors import DataError, UsageError


def pixels_of(height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Image.fromarray(pixels_of()).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_one_picture_is_the_same_from_everywhere(file: Path) -> None:
    sources = [file, str(file), file.read_bytes(), Image.open(file), pixels_of(), pixels_of() / 255]
    for source in [*sources, FileOpener(file)]:
        np.testing.assert_array_equal(np.asarray(open_picture(source)), pixels_of())


def test_a_batch_mixes_them(file: Path) -> None:
    openers = [opener_of(source) for source in (file, file.read_bytes(), Image.open(file), pixels_of())]
    pictures = [Picture(f"{place}", opener) for place, opener in enumerate(openers)]
    for workers in (0, 2):
        (batch,) = batches(pictures, Preparation(8, 8, "squash"), workers=workers)
        assert batch.sizes == [(12, 20)] * 4
        assert all(torch.equal(pixels, batch.pixels[0]) for pixels in batch.pixels)
    looks = fingerprints(pictures)
    assert len(set(looks.bits.tolist())) == 1 and looks.readable.all()


def test_large_jpegs_in_memory_are_decoded_at_a_fraction_of_their_size() -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels_of(640, 800)).save(stream, "JPEG")
    image, size, divided = open_reduced(stream.getvalue(), lambda size: (64, 64))
    assert (size, divided, image.size) == ((640, 800), 8, (100, 80))


def test_hashes_are_of_the_content(file: Path) -> None:
    array = pixels_of()
    pictures = [
        Picture("file", FileOpener(file)),
        Picture("bytes", BytesOpener(file.read_bytes())),
        Picture("array", ArrayOpener(array)),
        Picture("same", ArrayOpener(array.copy())),
        Picture("other", ArrayOpener(array[:, ::-1])),
        Picture("image", ImageOpener(Image.fromarray(array))),
    ]
    hashes = picture_hashes(pictures)
    assert hashes["file"] == hashes["bytes"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert hashes["array"] == hashes["same"] != hashes["other"]
    assert hashes["image"] == ImageOpener(Image.fromarray(array)).digest()


def test_openers_travel_to_workers(file: Path) -> None:
    for source in (file, file.read_bytes(), Image.open(file), pixels_of()):
        copy = pickle.loads(pickle.dumps(opener_of(source)))
        np.testing.assert_array_equal(np.asarray(open_picture(copy)), pixels_of())


def test_what_is_in_memory_is_left_as_it_is(tmp_path: Path) -> None:
    """An image keeps its notes and an array its values; the orientation counts all the same."""
    image, exif = Image.fromarray(pixels_of()), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    image = Image.open(tmp_path / "a.jpg")
    upright = open_picture(image)
    assert upright.size == (12, 20) and not upright.info
    assert image.size == (20, 12) and image.getexif()[0x0112] == 6
    array = pixels_of()
    open_picture(array).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(array, pixels_of())


def test_grey_arrays_are_pictures_too() -> None:
    grey = pixels_of()[..., 0]
    for array in (grey, grey / np.float32(255)):
        np.testing.assert_array_equal(np.asarray(open_picture(array)), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5, 4), np.uint8), r"picture 3 has the shape \(4, 5, 4\); a picture is \(height, width, 3\)"),
        (np.zeros((3, 4, 5), np.uint8), r"has the shape \(3, 4, 5\)"),
        (np.zeros(4, np.uint8), r"has the shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"has the shape \(0, 4, 3\)"),
        (np.zeros((4, 5, 3), np.int64), "is of int64; a picture has uint8 values in 0..255"),
        (np.full((4, 5, 3), 200.0), "has values from 200 to 200; floats must lie in 0..1: divide"),
        (np.full((4, 5, 3), -0.5), "has values from -0.5"),
        (np.where(np.eye(4), np.nan, 0.5), "has values from nan to nan"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opener_of(array, "picture 3")


def test_what_cannot_be_opened_is_named(file: Path) -> None:
    with pytest.raises(DataError, match=r"^row 7 is not a picture, whatever its name says"):
        open_picture(BytesOpener(b"not at all", "row 7"))
    with pytest.raises(DataError, match=r"^the picture is empty"):
        open_picture(b"")
    with pytest.raises(DataError, match=r"^row 7 is a broken picture"):
        open_picture(BytesOpener(file.read_bytes()[:80], "row 7"))
    torn = Image.open(io.BytesIO(file.read_bytes()[:200]))
    with pytest.raises(DataError, match=r"^row 7 is a broken picture"):
        opener_of(torn, "row 7")
    with pytest.raises(UsageError, match="row 7 came as int; give a path"):
        opener_of(7, "row 7")  # type: ignore[arg-type]


def test_a_picture_knows_its_file_where_it_is_one(file: Path) -> None:
    assert Picture("a", FileOpener(file)).path == file
    assert Picture("a", FileOpener(file)).identity == Picture("b", FileOpener(file.parent / "." / file.name)).identity
    assert Picture("a", ArrayOpener(pixels_of())).path is None
    assert Picture("a", ArrayOpener(pixels_of())).identity == "a"
