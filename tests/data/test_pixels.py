"""Pictures come out as people see them, and the geometry between file and network is exact."""

import io
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from regard.data.dataset import Picture
from regard.data.images import preparation as subject
from regard.data.images.decode import open_reduced
from regard.data.images.preparation import Preparation, batches, open_picture, read_pixels
from regard.data.openers import FileOpener, Opener
from regard.errors import DataError, UsageError

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Something like a photograph: smooth areas, edges and some texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [
        np.sin(x / width * rng.uniform(3, 40) + y / height * rng.uniform(3, 40) + rng.uniform(0, 6)) for _ in range(6)
    ]
    planes = [sum(rng.uniform(-1, 1) * wave for wave in waves) for _ in range(3)]
    picture = np.stack([(plane - plane.min()) / np.ptp(plane) * 255 for plane in planes], -1)
    picture[height // 4 : height // 2, width // 3 : width // 2] = (250, 240, 20)
    return Image.fromarray(np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8))


def colours(image: Image.Image) -> list[tuple[int, ...]]:
    assert image.mode == "RGB"
    return [tuple(int(value) for value in pixel) for pixel in np.asarray(image).reshape(-1, 3)]


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def row(*values: object, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    for at, value in enumerate(values):
        image.putpixel((at, 0), value)
    return image


# Opening


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_upright_by_exif(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = Image.new("RGB", (48, 32), "white")  # red top left, blue bottom right
    upright.paste("red", (0, 0, 24, 16))
    upright.paste("blue", (24, 16, 48, 32))
    back = {  # what a camera held so would have stored
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if back is None else upright.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if suffix == ".jpg" else {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"a{suffix}", stored, exif=exif, **options)
    opened = open_picture(path)
    assert opened.size == (48, 32)
    assert not opened.info and not opened.getexif()  # nothing of the camera travels on
    assert np.abs(np.asarray(opened).astype(int) - np.asarray(upright)).mean() < 6
    pixels, size = read_pixels(path, Preparation(8, 12, "squash"))
    assert size == (32, 48)
    assert pixels[0, 0, 0] > 200 and pixels[0, 0, 2] < 60  # red
    assert pixels[-1, -1, 2] > 200 and pixels[-1, -1, 0] < 60  # blue


def grey16(path: Path, order: str = "<") -> Path:
    values = np.array([[0, 257, 32896, 65535]], f"{order}u2")
    return saved(path, Image.fromarray(values.astype("<u2")))


EXACT: dict[str, tuple[Callable[[Path], Path], list[tuple[int, int, int]]]] = {
    "grey": (lambda p: saved(p / "a.png", row(0, 100, 255, mode="L")), [BLACK, (100,) * 3, WHITE]),
    "one bit": (lambda p: saved(p / "a.png", row(0, 255, mode="1")), [BLACK, WHITE]),
    "16 bit png": (lambda p: grey16(p / "a.png"), [BLACK, (1,) * 3, (128,) * 3, WHITE]),
    "16 bit tiff": (lambda p: grey16(p / "a.tif"), [BLACK, (1,) * 3, (128,) * 3, WHITE]),
    "32 bit integers": (
        lambda p: saved(p / "a.tif", Image.fromarray(np.array([[0, 257, 65535]], np.int32))),
        [BLACK, (1,) * 3, WHITE],
    ),
    "32 bit integers beyond": (
        lambda p: saved(p / "a.tif", Image.fromarray(np.array([[-1000, 0, 1000]], np.int32))),
        [BLACK, (128,) * 3, WHITE],
    ),
    "floats to 1": (
        lambda p: saved(p / "a.tif", Image.fromarray(np.array([[0, 0.2, 1]], np.float32))),
        [BLACK, (51,) * 3, WHITE],
    ),
    "floats to 255": (
        lambda p: saved(p / "a.tif", Image.fromarray(np.array([[0, 51, np.nan]], np.float32))),
        [BLACK, (51,) * 3, BLACK],
    ),
    "alpha": (
        lambda p: saved(p / "a.png", row((255, 0, 0, 255), (0, 0, 0, 0), (0, 0, 0, 51), mode="RGBA")),
        [RED, WHITE, (204,) * 3],
    ),
    "grey with alpha": (lambda p: saved(p / "a.png", row((0, 255), (0, 0), mode="LA")), [BLACK, WHITE]),
    "one colour transparent": (
        lambda p: saved(p / "a.png", row(RED, GREEN), transparency=(0, 255, 0)),
        [RED, WHITE],
    ),
    "cmyk tiff": (
        lambda p: saved(p / "a.tif", row((0, 0, 0, 0), (0, 255, 255, 0), (0, 0, 0, 255), mode="CMYK")),
        [WHITE, RED, BLACK],
    ),
    "bmp": (lambda p: saved(p / "a.bmp", row(RED, GREEN, BLUE)), [RED, GREEN, BLUE]),
    "bmp named .jpg": (lambda p: saved(p / "a.jpg", row(RED, GREEN), format="BMP"), [RED, GREEN]),
}


@pytest.mark.parametrize("kind", EXACT)
def test_exact_colours(tmp_path: Path, kind: str) -> None:
    make, expected = EXACT[kind]
    assert colours(open_picture(make(tmp_path))) == expected


@pytest.mark.parametrize("suffix", [".png", ".gif"])
@pytest.mark.parametrize("transparent", [False, True])
def test_palette(tmp_path: Path, suffix: str, transparent: bool) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    path = saved(tmp_path / f"a{suffix}", image, **({"transparency": 1} if transparent else {}))
    assert colours(open_picture(path)) == [RED, WHITE if transparent else GREEN, BLUE]


def test_palette_with_degrees_of_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*BLACK, *RED])
    image.putdata([0, 1])
    path = saved(tmp_path / "a.png", image, transparency=bytes([51, 255]))
    assert colours(open_picture(path)) == [(204,) * 3, RED]  # and no warning of Pillow's


def test_cmyk_jpeg_is_not_a_negative(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # Pillow writes it inverted, as Adobe does
    path = saved(tmp_path / "a.jpg", image, quality=100)
    assert b"Adobe" in path.read_bytes()
    assert np.abs(np.asarray(open_picture(path)).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"a{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    assert set(colours(open_picture(path))) == {RED}


def huge_png(path: Path, width: int, height: int) -> Path:
    """A header that promises much, and nothing behind it: decoding it would fail otherwise."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return path


def test_enormous_is_refused_by_its_header(tmp_path: Path) -> None:
    path = huge_png(tmp_path / "huge.png", 30_000, 30_000)
    limit = Image.MAX_IMAGE_PIXELS
    started = time.perf_counter()
    with pytest.raises(DataError, match=r"huge\.png has 30,000 × 30,000 = 900,000,000 pixels.*make it smaller"):
        open_picture(path)
    assert time.perf_counter() - started < 0.5
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match="more than the 11 that are read"):
        open_picture(saved(tmp_path / "a.png", Image.new("RGB", (4, 3))), max_pixels=11)


def broken(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = io.BytesIO()
    photo(64, 48).save(whole, "JPEG")
    png = io.BytesIO()
    photo(64, 48).save(png, "PNG")
    contents = {
        "cut.jpg": (whole.getvalue()[:-800], "broken picture .*truncated"),
        "cut.png": (png.getvalue()[:-3000], "broken picture"),
        "words.jpg": (b"dear diary, this is no picture", "is not a picture.*JPEG, PNG"),
        "nothing.jpg": (b"", "is empty .0 bytes"),
        "header.jpg": (whole.getvalue()[:20], "not a picture|broken"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return {name: (folder / name, says) for name, (_, says) in contents.items()}


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "words.jpg", "nothing.jpg", "header.jpg"])
def test_broken_files_are_named(tmp_path: Path, name: str) -> None:
    path, says = broken(tmp_path)[name]
    for read in (open_picture, lambda path: read_pixels(path, Preparation(8, 8))):
        with pytest.raises(DataError, match=says) as caught:
            read(path)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no picture .*no\.jpg"):
        open_picture(tmp_path / "no.jpg")
    with pytest.raises(DataError, match="cannot be opened"):
        open_picture(tmp_path)


def test_a_broken_exif_does_not_spoil_the_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", photo(32, 16), exif=b"Exif\x00\x00MM\x00*\x00\x00")
    assert open_picture(path).size == (32, 16)


# Geometry


def timm_kind(image: Image.Image, preparation: Preparation) -> np.ndarray:
    """The evaluation pipeline of torchvision and timm for square inputs, as they write it."""
    scaled = int(preparation.height / preparation.crop)
    steps = [
        transforms.Resize(scaled, transforms.InterpolationMode(preparation.interpolation)),
        transforms.CenterCrop((preparation.height, preparation.width)),
    ]
    return np.asarray(transforms.Compose(steps)(image)).astype(int)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (224, 298), (401, 399), (70, 90)])
def test_crop_is_what_torchvision_gives(size: tuple[int, int]) -> None:
    image, preparation = photo(*size), Preparation(224, 224)
    ours = preparation.pixels(image)
    assert ours.shape == (224, 224, 3) and ours.dtype == np.uint8
    assert np.array_equal(ours, timm_kind(image, preparation))


@pytest.mark.parametrize("shape", [(224, 224), (160, 240), (240, 96)])
@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0])
def test_crop_is_what_timm_gives(shape: tuple[int, int], crop: float) -> None:
    from timm.data import create_transform

    image = photo(451, 320)
    theirs = create_transform((3, *shape), crop_pct=crop, interpolation="bicubic", mean=(0.5,) * 3, std=(0.25,) * 3)
    preparation = Preparation(*shape, crop=crop, std=(0.25,) * 3)
    assert torch.allclose(preparation.tensor(image), theirs(image), atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squash_is_exactly_what_torchvision_gives(interpolation: str) -> None:
    image = photo(313, 450)
    preparation = Preparation(96, 160, "squash", interpolation=interpolation)
    theirs = transforms.Resize((96, 160), transforms.InterpolationMode(interpolation))(image)
    assert np.array_equal(preparation.pixels(image), np.asarray(theirs))


def test_box_by_hand() -> None:
    assert Preparation(224, 224).box((248, 248)) == (12, 12, 236, 236)  # short side 248, the middle 224
    assert Preparation(224, 224).box((496, 992)) == (272, 24, 720, 472)  # twice as large, twice as wide
    assert Preparation(100, 200, crop=0.5).box((400, 400)) == (100, 150, 300, 250)  # covers 200 × 400, keeps the middle
    assert Preparation(100, 200, "squash").box((30, 70)) == (0, 0, 70, 30)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.floats(0.3, 1),
)
def test_box_lies_within_and_about_the_centre(size: tuple[int, int], shape: tuple[int, int], crop: float) -> None:
    left, top, right, bottom = Preparation(*shape, crop=crop).box(size)
    assert -1e-9 <= left < right <= size[1] + 1e-9
    assert -1e-9 <= top < bottom <= size[0] + 1e-9
    pixel_high, pixel_wide = (bottom - top) / shape[0], (right - left) / shape[1]  # of the input, in the picture's
    assert abs(left + right - size[1]) <= 1.001 * pixel_wide
    assert abs(top + bottom - size[0]) <= 1.001 * pixel_high


def test_values() -> None:
    preparation = Preparation(2, 3, "squash", mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    image = Image.new("RGB", (3, 2), (255, 0, 51))
    expected = torch.tensor([1.0, -2.0, -1.0]).view(3, 1, 1).expand(3, 2, 3)
    assert torch.allclose(preparation.tensor(image), expected, atol=1e-6)
    pixels = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    slow = (pixels.double() / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.5, 0.2, 0.1])
    normal = preparation.normalise(pixels)
    assert normal.dtype == torch.float32 and normal.shape == (2, 3, 4, 5)
    assert torch.allclose(normal.double(), slow.permute(0, 3, 1, 2), atol=2e-6)


def test_grid_leads_back_to_the_picture() -> None:
    grid = Preparation(224, 224).grid((496, 992), 14, 14)
    assert (grid.rows, grid.columns, grid.prefix, grid.picture) == (14, 14, 1, (496, 992))
    assert grid.cell(0, 0) == (272, 24, 304, 56)
    assert grid.cell_at(280, 30) == (0, 0) and grid.cell_at(10, 30) is None


def test_settings_survive_json_and_nonsense_is_refused() -> None:
    preparation = Preparation(384, 192, "squash", 1.0, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bilinear")
    assert Preparation.from_json(preparation.as_json()) == preparation
    with pytest.raises(DataError, match="preparation"):
        Preparation.from_json({"height": 4})
    for wrong in ({"mode": "crob"}, {"interpolation": "cubic"}, {"crop": 0}, {"crop": 1.2}, {"std": (0, 1, 1)}):
        with pytest.raises(UsageError):
            Preparation(8, 8, **wrong)
    with pytest.raises(UsageError, match="at least 1"):
        Preparation(0, 8)
    with pytest.raises(DataError, match="open_picture"):
        Preparation(8, 8).pixels(Image.new("L", (9, 9)))


# Reading files fast


@pytest.mark.parametrize(("size", "divided"), [((1203, 901), 4), ((602, 451), 2), ((298, 224), 1)])
@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_shrinking_while_decoding_hardly_shows(tmp_path: Path, size: tuple[int, int], divided: int, mode: str) -> None:
    path = saved(tmp_path / "a.jpg", photo(*size), quality=92)
    preparation = Preparation(112, 128, mode)
    assert open_reduced(path, preparation.smallest)[2] == divided
    pixels, full = read_pixels(path, preparation)
    assert full == size[::-1]
    difference = np.abs(pixels.astype(int) - preparation.pixels(open_picture(path)))
    assert difference.mean() < 1.5


def test_shrinking_keeps_the_place(tmp_path: Path) -> None:
    image = Image.new("RGB", (1203, 901), "white")
    image.paste("black", (601, 0, 1203, 901))
    preparation = Preparation(64, 64, "squash")
    small, _ = read_pixels(saved(tmp_path / "a.jpg", image, quality=95), preparation)
    dark = 1 - small.mean(axis=(0, 2)) / 255  # how dark each column is
    assert abs(dark.sum() / 64 * 1203 - 602) < 3  # the edge is where it was, to within pixels of the large one


@pytest.mark.parametrize("size", [(1200, 904), (1203, 901)])
def test_turned_and_shrunk(tmp_path: Path, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", photo(*size), exif=exif, quality=92)
    preparation = Preparation(96, 64)
    pixels, full = read_pixels(path, preparation)
    assert full == size
    assert np.abs(pixels.astype(int) - preparation.pixels(open_picture(path))).mean() < 1.5


def folder_of(tmp_path: Path, count: int) -> list[Path]:
    return [saved(tmp_path / f"{at:03}.png", Image.new("RGB", (9 + at, 8), (at, 0, 0))) for at in range(count)]


def pictures_of(paths: list[Path]) -> list[Picture]:
    return [Picture(path.name, FileOpener(path)) for path in paths]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_keep_order(tmp_path: Path, workers: int) -> None:
    paths = folder_of(tmp_path, 11)
    found = list(batches(pictures_of(paths), Preparation(4, 6, "squash"), batch_size=4, workers=workers))
    assert [batch.indices for batch in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert [tuple(batch.pixels.shape) for batch in found] == [(4, 4, 6, 3), (4, 4, 6, 3), (3, 4, 6, 3)]
    assert [int(red) for batch in found for red in batch.pixels[:, 0, 0, 0]] == list(range(11))
    assert [size for batch in found for size in batch.sizes] == [(8, 9 + at) for at in range(11)]
    assert found[0].pixels.dtype == torch.uint8


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_pictures_stop_or_are_left_out(tmp_path: Path, workers: int) -> None:
    paths = folder_of(tmp_path, 5)
    paths[2].write_bytes(b"not at all")
    paths[4].unlink()
    with pytest.raises(DataError, match=r"002\.png is not a picture"):
        list(batches(pictures_of(paths), Preparation(4, 4), workers=workers))
    bad: list[tuple[str, str]] = []

    def note(picture: Picture, error: DataError) -> None:
        bad.append((picture.name, str(error)))

    found = list(batches(pictures_of(paths), Preparation(4, 4), 2, workers, on_bad=note))
    assert [batch.indices for batch in found] == [[0, 1], [3]]
    assert [name for name, _ in bad] == ["002.png", "004.png"] and "004.png" in bad[1][1]
    assert list(batches([], Preparation(4, 4), workers=workers)) == []


def test_reading_ahead_is_bounded_and_stops_with_the_iterator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = folder_of(tmp_path, 1) * 400
    started: list[Opener] = []
    real = subject.read_pixels
    monkeypatch.setattr(subject, "read_pixels", lambda opener, *rest: (started.append(opener), real(opener, *rest))[1])
    reading = batches(pictures_of(paths), Preparation(4, 4), batch_size=5, workers=2)
    next(reading)
    time.sleep(0.1)
    assert len(started) <= 5 + 2 * 5 + 1
    reading.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("regard-pictures")]
    assert len(started) < 30


def test_what_waits_is_not_read_after_closing() -> None:
    begun: list[int] = []
    results = subject.in_order(lambda at: (begun.append(at), time.sleep(0.01)), range(1000), workers=1, ahead=200)
    next(results)
    results.close()
    assert len(begun) < 50


@pytest.mark.parametrize("error", [DataError, KeyboardInterrupt])
def test_what_items_raise_comes_after_the_results_before_it(error: type[BaseException]) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise error

    results = []
    with pytest.raises(error):
        for result in subject.in_order(str, items(), workers=2, ahead=9):
            results.append(result)
    assert results == ["0", "1", "2"]


def test_an_interrupt_stops_the_threads(tmp_path: Path) -> None:
    def interrupt(picture: Picture, error: DataError) -> None:
        raise KeyboardInterrupt

    paths = [*folder_of(tmp_path, 3), tmp_path / "none.png"] * 20
    with pytest.raises(KeyboardInterrupt):
        list(batches(pictures_of(paths), Preparation(4, 4), 2, on_bad=interrupt))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("regard-pictures")]


def test_wrong_numbers() -> None:
    with pytest.raises(UsageError, match="batch size 0"):
        next(batches([], Preparation(4, 4), batch_size=0))
    with pytest.raises(UsageError, match="-1 workers"):
        next(batches([], Preparation(4, 4), workers=-1))


@pytest.mark.shared
def test_real_photographs_match_torchvision(shared: Path) -> None:
    preparation = Preparation(224, 224)
    for path in sorted((shared / "data/pets/images").glob("*.jpg"))[::60]:
        image = open_picture(path)
        pixels, size = read_pixels(path, preparation)
        assert size == (image.height, image.width)
        assert np.abs(pixels - timm_kind(image, preparation)).mean() < 1.5
