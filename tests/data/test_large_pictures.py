"""Photographs above the limit: a JPEG is decoded at a fraction of its size, all else is refused by its header, or read
within bounded memory where `--max-pixels` allows it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.app.commands import COMMANDS
from regard.data.images import decode
from regard.data.images.decode import open_picture, open_reduced
from regard.data.images.formats import one_without_limit
from regard.data.images.preparation import Preparation, read_pixels
from regard.data.openers import FileOpener
from regard.data.regions import regions_of
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


MODES = ("L", "RGB", "RGBA", "P", "I;16", "I", "F", "1", "CMYK", "LA")


def of_mode(mode: str) -> Image.Image:
    """37 × 53 pixels, smooth; of numbers more than white and less than black."""
    ramp = np.linspace(0, 255, 53 * 37).reshape(53, 37)
    if mode == "I;16":
        return Image.fromarray((ramp * 257).astype(np.uint16))
    if mode in ("I", "F"):
        return Image.fromarray((ramp * 400 - 9000).astype(np.int32 if mode == "I" else np.float32))
    if mode == "P":
        image = Image.fromarray(ramp.astype(np.uint8)).convert("P")
        image.info["transparency"] = 7
        return image
    image = Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1).astype(np.uint8)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(ramp.astype(np.uint8)))
    return image


@pytest.mark.parametrize("mode", MODES)
def test_one_that_is_allowed_comes_in_strips(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same colours as that of a picture below the limit, whole or at a fraction of its size."""
    file = tmp_path / "a.tif"
    of_mode(mode).save(file)
    whole = open_picture(file)
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    monkeypatch.setattr(decode, "STRIP", 37 * 8)
    for least, divided in ((53, 1), (13, 4)):
        image, size, found = open_reduced(file, lambda size, side=least: (side, 1))  # type: ignore[misc]
        assert (size, found) == ((53, 37), divided)
        assert np.array_equal(np.asarray(image), np.asarray(whole.reduce(divided)))
    assert open_picture(file).size == (19, 27)


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_one_that_is_allowed_is_upright(
    turned: int, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = drawn(tmp_path / f"a.{ending}", (64, 32), turned)
    whole = open_picture(file)
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    image, size, divided = open_reduced(file, lambda size: (4, 4))
    assert (size, divided) == (whole.size[::-1], 8)
    assert np.abs(np.asarray(image, int) - np.asarray(whole.reduce(8), int)).max() <= 1


def test_beyond_pillows_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow refuses what has twice its limit, of a TIFF anew as it decodes it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    for name in ("a.png", "a.tif", "a.webp", "a.bmp"):
        assert open_picture(FileOpener(drawn(tmp_path / name), 10_000)).size == (31, 21)
        with pytest.raises(DataError, match=r"more than the 9,000 .* --max-pixels 9963"):
            open_picture(FileOpener(tmp_path / name, 9000))
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_large_ones_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = drawn(tmp_path / "a.png")
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    inside: list[int] = []
    most: list[int] = []
    convert = decode.to_rgb

    def slow(*given: Any) -> Image.Image:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        image = convert(*given)
        inside.pop()
        return image

    monkeypatch.setattr(decode, "to_rgb", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_picture, [file] * 8))
    assert max(most) == 1


def test_a_mask_is_as_large_as_its_picture_may_be(tmp_path: Path) -> None:
    drawn(tmp_path / "a.png")
    for limit in (9963, 9962):
        regions = regions_of(tmp_path, max_pixels=limit).find("a.jpg")
        assert regions is not None
        if limit == 9963:
            assert regions.mask(regions.objects).shape == (81, 123)
        else:
            with pytest.raises(DataError, match="--max-pixels"):
                regions.mask(regions.objects)


COMMAND_LINES = {
    "predict": "predict DATA --out OUT",
    "explain": "explain DATA --out OUT",
    "caption": "caption DATA --out OUT",
    "evaluate": "evaluate DATA",
    "train": "train DATA --out OUT",
    "registers": "registers DATA",
    "audit": "audit DATA --split all --out OUT",
    "positions": "positions --pictures DATA --permutations 9 --out OUT",
    "compare": "compare pets-tiny random:vit_tiny_patch16_224 --data DATA",
}


def test_each_command_that_reads_pictures_has_the_option() -> None:
    from regard.app.cli import parameters_of

    reading = {"pictures", "data"}
    functions = {row.name: getattr(import_module(row.module), row.name) for row in COMMANDS}
    names = {name: {each.name for each in parameters_of(function)} for name, function in functions.items()}
    served = {"serve"}  # whose pictures are tried in tests/app/test_serve.py
    within = {"export"}  # measures variants within the default limit
    assert {name for name, taken in names.items() if taken & reading} == {*COMMAND_LINES} | served | within
    assert {name for name, taken in names.items() if "max_pixels" in taken} == {*COMMAND_LINES} | served


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_the_option_goes_through(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        folder = tmp_path / "DATA" / ("pug", "beagle")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        drawn(folder / f"{number}.png", (24 + number, 20))
    code, _, err = run(*COMMAND_LINES[command].split(), "--max-pixels", "400")
    assert code == 1 and "more than the 400 that are read" in err and "--max-pixels" in err


def test_a_check_of_size_in_one_thread_survives_a_header_in_another() -> None:
    """Pillow's check, as every crop makes it, asks whether there is a limit and reads it again: off is a number."""
    limit = Image.MAX_IMAGE_PIXELS
    with one_without_limit():
        assert limit < 2 * Image.MAX_IMAGE_PIXELS  # what the second reading does; None would end the thread
        Image._decompression_bomb_check((10**6, 10**6))
    assert limit == Image.MAX_IMAGE_PIXELS
