"""Photographs above the limit: a JPEG is decoded at a fraction of its size, all else is refused by its header."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.images import decode
from regard.data.images.decode import open_picture, open_reduced
from regard.data.images.preparation import Preparation, read_pixels
from regard.errors import DataError


def drawn(path: Path, size: tuple[int, int] = (123, 81), turned: int = 1, **options: object) -> Path:
    """A picture that is red at the left and green below, smooth, so that a fraction of it shows the same."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(255, 0, width)[None]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(pixels).save(path, quality=95, exif=exif, **options)
    return path


@pytest.mark.parametrize("turned", [1, 3, 6, 8])
@pytest.mark.parametrize(("limit", "divided"), [(9963, 1), (9962, 2), (2542, 2), (2541, 4), (651, 4), (650, 8)])
def test_a_jpeg_comes_at_the_largest_fraction_that_fits(limit: int, divided: int, turned: int, tmp_path: Path) -> None:
    file = drawn(tmp_path / "a.jpg", turned=turned)
    whole = open_picture(file)
    image, size, found = open_reduced(file, lambda size: size, limit)
    assert (found, size) == (divided, whole.size[::-1])
    assert image.width * image.height <= limit
    near = np.asarray(whole.resize(image.size, Image.Resampling.BOX), int) - np.asarray(image, int)
    assert np.abs(near).mean() < 6


def test_what_a_network_sees_of_one_is_the_same(tmp_path: Path) -> None:
    file = drawn(tmp_path / "a.jpg", (640, 480))
    preparation = Preparation(32, 32)
    pixels, size = read_pixels(file, preparation)
    reduced, same = read_pixels(file, preparation, max_pixels=20_000)
    assert size == same == (480, 640)
    assert np.abs(pixels.astype(int) - reduced.astype(int)).mean() < 2


def test_beyond_what_a_fraction_can_do_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="123 × 81 = 9,963 pixels, more than the 150"):
        open_picture(drawn(tmp_path / "a.jpg"), max_pixels=150)
    with pytest.raises(DataError, match="more than the 2,000"):  # held whole while it is decoded
        open_picture(drawn(tmp_path / "b.jpg", progressive=True), max_pixels=2000)
    assert open_picture(drawn(tmp_path / "b.jpg", progressive=True), max_pixels=3000).size == (62, 41)
    with pytest.raises(DataError, match="more than the 9,962"):
        open_picture(drawn(tmp_path / "c.png"), max_pixels=9962)


def test_a_panorama(tmp_path: Path) -> None:
    """Above the limit itself, where Pillow warns, and above twice of it, where Pillow refuses."""
    for width in (11_000, 20_000):
        file = tmp_path / f"{width}.jpg"
        Image.new("L", (width, 9_500), 77).save(file)
        image = open_picture(file)
        assert image.width * image.height <= decode.MAX_PIXELS
        assert image.getpixel((5, 5)) == (77, 77, 77)
