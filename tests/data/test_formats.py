"""Pictures that people have: HEIC, 16 bits, pages, DICOM; and what is damaged or cannot be read says so."""

import io
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pydicom
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset as Dicom
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_windowing
from pydicom.uid import UID, ExplicitVRLittleEndian

from regard.data.hashes import duplicates, fingerprints, picture_hashes
from regard.data.images import pages
from regard.data.images.augment import Augmentation, apply, draw, generator
from regard.data.images.decode import open_picture, upright_size
from regard.data.images.formats import is_picture
from regard.data.images.preparation import Preparation, batches, read_pixels
from regard.data.layouts import read, read_pictures
from regard.data.openers import BytesOpener, FileOpener
from regard.data.regions.mask_folder import MaskFolder
from regard.errors import DataError

SQUASH = Preparation(6, 8, "squash")


def ramp(height: int = 48, width: int = 64, high: int = 65535, dtype: str = "<u2") -> np.ndarray:
    """(height, width): every pixel another value, to the largest."""
    return np.linspace(0, high, height * width).reshape(height, width).astype(dtype)


def quarters(upright: bool = True) -> Image.Image:
    """Red in the upper left corner, blue in the lower right one."""
    image = Image.new("RGB", (96, 64), "white")
    image.paste("red", (0, 0, 48, 32))
    image.paste("blue", (48, 32, 96, 64))
    return image if upright else image.transpose(Image.Transpose.ROTATE_90)


# HEIC


def heic(path: Path, image: Image.Image, **options: Any) -> Path:
    pillow_heif.from_pillow(image).save(path, **options)
    return path


def test_heic_is_read_upright_and_measured_before_it_is_decoded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.register_heif_opener()
    quarters(upright=False).save(tmp_path / "a.heic", exif=exif.tobytes(), quality=95)
    image = open_picture(tmp_path / "a.heic")
    assert image.size == (96, 64) and image.mode == "RGB" and not image.getexif() and not image.info
    assert np.abs(np.asarray(image).astype(int) - np.asarray(quarters())).mean() < 6
    assert upright_size(tmp_path / "a.heic") == (64, 96)
    with pytest.raises(DataError, match="more than the 6,000 that are read"):
        open_picture(tmp_path / "a.heic", max_pixels=6000)
    bare = (tmp_path / "a.heic").rename(tmp_path / "IMG_1")
    assert is_picture(bare)


def test_heic_without_the_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = heic(tmp_path / "a.heic", quarters())
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a\.heic is HEIC, .*pip install 'regard\[heic\]'"):
        open_picture(path)
    assert read_pictures(tmp_path).names == ["a.heic", "b.png"]  # it is a picture all the same
    assert is_picture(path.rename(tmp_path / "IMG_1"))


# 16 bits


def test_16_bits_reach_the_network_whole(tmp_path: Path) -> None:
    """A ramp over 48 of 65,536 values is flat in 8 bits."""
    values = (ramp() // 1365 + 30000).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "a.tif")
    exact = values.astype(np.float64) / 65535
    preparation = Preparation(48, 64, "squash")
    for source in (tmp_path / "a.png", tmp_path / "a.tif", values, Image.fromarray(values)):
        pixels, size = read_pixels(source, preparation)
        assert size == (48, 64) and pixels.dtype == np.float32
        assert np.abs(pixels / 255 - exact[..., None]).max() < 1e-6
        tensor = preparation.normalise(torch.from_numpy(pixels)[None])[0]
        assert len(np.unique(tensor)) == len(np.unique(values))
        assert len(np.unique(np.asarray(open_picture(source)))) <= 2  # what a page shows
    eight = (values >> 8).astype(np.uint8)
    assert read_pixels(eight, preparation)[0].dtype == np.uint8


def test_16_bits_in_a_batch_with_8(tmp_path: Path) -> None:
    Image.fromarray(ramp()).save(tmp_path / "a.png")
    quarters().save(tmp_path / "b.png")
    dataset = read_pictures(tmp_path)
    (batch,) = batches(dataset.pictures, SQUASH, workers=0)
    alone = [read_pixels(picture.opener, SQUASH)[0] for picture in dataset.pictures]
    assert batch.pixels.dtype == torch.float32 and alone[1].dtype == np.uint8
    for place, each in enumerate(alone):
        single = SQUASH.normalise(torch.from_numpy(each.copy())[None])[0]
        assert torch.equal(SQUASH.normalise(batch.pixels)[place], single)


def tiff(path: Path, values: np.ndarray, **options: Any) -> Path:
    import tifffile

    tifffile.imwrite(path, values, **options)
    return path


def test_the_scale_is_that_of_the_type(tmp_path: Path) -> None:
    signed = np.array([[-32768, 0, 32767]], np.int16)
    levels = read_pixels(tiff(tmp_path / "s.tif", signed), Preparation(1, 3, "squash"))[0][0, :, 0]
    assert np.allclose(levels, [0, 127.50195, 255], atol=1e-3)
    positive = read_pixels(tiff(tmp_path / "p.tif", np.abs(signed[:, 1:])), Preparation(1, 2, "squash"))[0][0, :, 0]
    assert np.allclose(positive, [127.50195, 255], atol=1e-3)  # one grey, one meaning
    grey = np.array([[0, 1000, 65535]], np.uint16)
    inverted = tiff(tmp_path / "w.tif", grey, photometric="miniswhite")
    levels = read_pixels(inverted, Preparation(1, 3, "squash"))[0][0, :, 0]
    assert np.allclose(levels, (65535 - grey[0]) / 257, atol=1e-3)
    shown = np.asarray(open_picture(inverted))[0, :, 0]
    assert shown.tolist() == [255, 251, 0]


def test_12_bits_are_white_at_4095(tmp_path: Path) -> None:
    """Two values of 12 bits in three bytes: no library here writes it."""
    import struct

    data = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x00])  # 4095, 0; 2048, 0
    tags = {256: 2, 257: 2, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 6}
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 14) + data + ifd + bytes(4))
    levels = read_pixels(tmp_path / "a.tif", Preparation(2, 2, "squash"))[0][..., 0]
    assert np.allclose(levels, [[255, 0], [2048 / 4095 * 255, 0]], atol=1e-4)


def test_16_bits_above_the_limit_come_in_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(ramp(400, 300)).save(tmp_path / "a.png")
    whole, _ = read_pixels(tmp_path / "a.png", SQUASH)
    monkeypatch.setattr("regard.data.images.decode.MAX_PIXELS", 10_000)
    monkeypatch.setattr("regard.data.images.decode.STRIP", 7_000)
    strips, size = read_pixels(tmp_path / "a.png", SQUASH, max_pixels=200_000)
    assert size == (400, 300) and strips.dtype == np.float32 and np.abs(whole - strips).max() < 2.5


def test_changes_of_16_bits_are_those_of_8_to_a_level() -> None:
    change = Augmentation(flip=0.5, rotate=20, translate=0.1, scale=(0.8, 1.2), brightness=0.4, contrast=0.4, hue=0.2)
    grey = (ramp(60, 60) // 257).astype(np.uint8)
    eight = np.repeat(grey[..., None], 3, axis=2)
    for index in range(8):
        changes = draw(change, generator(0, 0, index))
        deep = apply(eight.astype(np.float32), change, changes)
        assert deep.dtype == np.float32 and deep.shape == eight.shape
        assert np.abs(deep - apply(eight, change, changes)).max() <= 3


def test_dark_pictures_of_12_bits_are_not_taken_for_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(4):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).resize((90, 90), Image.Resampling.BICUBIC)
        Image.fromarray(np.asarray(coarse).astype(np.uint16) * 2).save(tmp_path / f"{index}.png")  # 512 of 65,536
    dataset = read_pictures(tmp_path)
    prints = fingerprints(dataset.pictures)
    assert duplicates(dataset, picture_hashes(dataset.pictures), prints) == []
    assert prints.thumbnails.std(axis=(1, 2, 3)).min() > 20


# Pages


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pages, "_warned", set())
    colours = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    colours[0].save(tmp_path / "scan.tif", save_all=True, append_images=colours[1:])
    return tmp_path / "scan.tif"


def test_a_page_is_named(scan: Path, caplog: pytest.LogCaptureFixture) -> None:
    colour = {page: open_picture(f"{scan}#page={page}").getpixel((0, 0)) for page in (1, 2, 3)}
    assert colour == {1: (255, 0, 0), 2: (0, 255, 0), 3: (0, 0, 255)} and not caplog.messages
    table = scan.with_name("pages.csv")
    table.write_text("filename,label\nscan.tif#page=3,blue\nscan.tif#page=2,lime\nscan#page=1,red\n")
    dataset = read(table)
    assert dataset.names == ["scan.tif#page=3", "scan.tif#page=2", "scan.tif#page=1"]
    assert [open_picture(each.opener).getpixel((0, 0)) for each in dataset.pictures] == [
        colour[3],
        colour[2],
        colour[1],
    ]
    assert len(set(picture_hashes(dataset.pictures).values())) == 3
    assert len({each.identity for each in dataset.pictures}) == 3
    (picture,) = read_pictures(f"{scan}#page=2").pictures
    assert open_picture(picture.opener).getpixel((0, 0)) == colour[2]
    for page, says in ((4, r"scan\.tif#page=4: there is no page 4; the file has 3"), (0, "pages count from 1")):
        with pytest.raises(DataError, match=says):
            open_picture(f"{scan}#page={page}")
    Image.new("RGB", (1, 1), "white").save(scan.with_name("scan.tif#page=2"), "PNG")
    assert open_picture(f"{scan}#page=2").size == (1, 1)  # a file that is called so


def test_a_page_has_a_mask_of_its_own(tmp_path: Path) -> None:
    for name in ("scan.png", "scan.tif#page=2.png"):
        Image.new("L", (4, 4), 255).save(tmp_path / name)
    masks = MaskFolder(tmp_path)
    assert masks.find("in/scan.tif").path.name == "scan.png"  # type: ignore[union-attr]
    assert masks.find("in/scan.tif#page=2").path.name == "scan.tif#page=2.png"  # type: ignore[union-attr]
    assert masks.find("in/scan.tif#page=3") is None  # not that of the whole file


def test_several_pages_are_said_once(scan: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert open_picture(scan).getpixel((0, 0)) == (255, 0, 0)
    assert len(caplog.messages) == 1 and "scan.tif has several pages, of which the first" in caplog.text
    assert f"{scan}#page=2" in caplog.text


def test_a_smaller_copy_is_no_page(scan: Path, caplog: pytest.LogCaptureFixture) -> None:
    import tifffile

    with tifffile.TiffWriter(scan) as writer:
        writer.write(np.zeros((64, 64), np.uint8))
        writer.write(np.zeros((32, 32), np.uint8), subfiletype=1)
    assert open_picture(scan).size == (64, 64) and not caplog.messages


def test_frames_of_an_animation_can_be_named(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_picture(tmp_path / "a.gif#page=2").getpixel((0, 0)) == (0, 0, 255)
    frames[0].save(tmp_path / "b.png")
    with pytest.raises(DataError, match="no page 2; the file has 1"):
        open_picture(tmp_path / "b.png#page=2")


# DICOM


def dicom(path: Path | io.BytesIO, values: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> Dicom:
    """A file with these values, (rows, columns), and more elements; returns what was written."""
    dataset = Dicom()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.PatientName = "Somebody"
    is_colour = values.dtype == np.uint8
    dataset.Rows, dataset.Columns = values.shape[-3:-1] if is_colour else values.shape[-2:]
    dataset.SamplesPerPixel = 3 if is_colour else 1
    dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.dtype.itemsize
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OW" if values.dtype.itemsize > 1 else "OB"
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.save_as(path, enforce_file_format=True)
    return dataset


CT = np.linspace(-1200, 1800, 48 * 64).reshape(48, 64).astype("<i2")


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("window", [(40, 400), ([50.5, 300], [350, 1500]), (-600, 1500)])
def test_a_window_is_what_pydicom_makes_of_it(tmp_path: Path, function: str | None, window: tuple[Any, Any]) -> None:
    how = {"VOILUTFunction": function} if function else {}
    written = dicom(tmp_path / "a.dcm", CT, WindowCenter=window[0], WindowWidth=window[1], RescaleSlope=2,
                    RescaleIntercept=-24.5, **how)  # fmt: skip
    pixels, size = read_pixels(tmp_path / "a.dcm", Preparation(48, 64, "squash"))
    theirs = apply_windowing(apply_modality_lut(CT, written), written)
    low, high = -32768 * 2 - 24.5, 32767 * 2 - 24.5
    assert size == (48, 64) and pixels.dtype == np.float32
    assert np.abs(pixels[..., 0] / 255 - (theirs - low) / (high - low)).max() < 1e-6
    assert len(np.unique(pixels)) > 60 and not np.array_equal(pixels, np.rint(pixels))
    assert is_picture((tmp_path / "a.dcm").rename(tmp_path / "IM0001"))


def test_without_a_window_the_stored_bits_are_the_scale(tmp_path: Path) -> None:
    values = np.array([[0, 2048, 4095]], "<u2")
    dicom(tmp_path / "a.dcm", values, BitsStored=12)
    one = read_pixels(tmp_path / "a.dcm", Preparation(1, 3, "squash"))[0][0, :, 0]
    assert np.allclose(one, values[0] / 4095 * 255, atol=1e-4)
    dicom(tmp_path / "b.dcm", values, BitsStored=12, PhotometricInterpretation="MONOCHROME1", RescaleSlope=3,
          RescaleIntercept=-100)  # fmt: skip
    two = read_pixels(tmp_path / "b.dcm", Preparation(1, 3, "squash"))[0][0, :, 0]
    assert np.allclose(two, 255 - one, atol=1e-4)


def test_colours_of_dicom(tmp_path: Path) -> None:
    rgb = np.asarray(quarters())
    dicom(tmp_path / "a.dcm", rgb)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.dcm")), rgb)
    ybr = np.asarray(quarters().convert("YCbCr"))
    dicom(tmp_path / "b.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(np.asarray(open_picture(tmp_path / "b.dcm")).astype(int) - rgb).max() <= 2


def test_frames_must_be_named(tmp_path: Path) -> None:
    frames = np.stack([np.full((4, 5), 60000, "<u2"), np.full((4, 5), 6553, "<u2")])
    dicom(tmp_path / "heart.dcm", frames, NumberOfFrames=2)
    with pytest.raises(DataError, match=r"heart\.dcm has 2 frames; name one of them .*heart\.dcm#page=1"):
        open_picture(tmp_path / "heart.dcm")
    assert open_picture(tmp_path / "heart.dcm#page=2").getpixel((0, 0)) == (25, 25, 25)
    with pytest.raises(DataError, match="no page 3; the file has 2, 1 to 2"):
        open_picture(tmp_path / "heart.dcm#page=3")


def without_pixels(folder: Path) -> Path:
    dataset = dicom(folder / "a.dcm", CT)
    for name in ("Rows", "Columns", "PixelData"):
        delattr(dataset, name)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


def emptied(folder: Path) -> Path:
    dataset = dicom(folder / "a.dcm", CT)
    del dataset.PixelData
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


def encapsulated(folder: Path) -> Path:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    dataset = dicom(folder / "a.dcm", CT)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xf7nothing\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(folder / "a.dcm", enforce_file_format=True)
    return folder / "a.dcm"


def made(**elements: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        dicom(folder / "a.dcm", CT, **elements)
        return folder / "a.dcm"

    return make


BAD_DICOM: dict[str, tuple[Callable[[Path], Path], str]] = {
    "report": (without_pixels, "is DICOM without a picture .Basic Text SR Storage"),
    "no pixels": (emptied, "is DICOM without pixels"),
    "jpeg-ls": (encapsulated, "is compressed as JPEG-LS Lossless Image Compression, which is not read here"),
    "deflated": (made(syntax=UID("1.2.840.10008.1.2.1.99")), "is deflated DICOM"),
    "window of no width": (made(WindowCenter=40, WindowWidth=0), "has a window of width 0; mend its WindowWidth"),
    "unknown window": (made(WindowCenter=1, WindowWidth=9, VOILUTFunction="CURVE"), "has a window by CURVE"),
    "fewer pixels": (made(Rows=50), "is a broken picture"),
}


@pytest.mark.parametrize("kind", BAD_DICOM)
@pytest.mark.filterwarnings("ignore")
def test_bad_dicom_is_one_line(tmp_path: Path, kind: str) -> None:
    make, says = BAD_DICOM[kind]
    path = make(tmp_path)
    with pytest.raises(DataError, match=rf"a\.dcm {says}") as caught:
        open_picture(path)
    assert "\n" not in str(caught.value)


def test_dicom_is_measured_before_it_is_decoded_and_needs_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(Rows=60000, Columns=60000)(tmp_path)
    with pytest.raises(DataError, match="60,000 × 60,000"):
        open_picture(path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"a\.dcm is DICOM, .*pip install 'regard\[dicom\]'"):
        open_picture(path)
    assert is_picture(path.rename(tmp_path / "IM1"))


# Damage


def samples() -> dict[str, bytes]:
    contents = {}
    for name, values, options in (
        ("ct", CT, {"WindowCenter": 40, "WindowWidth": 400, "RescaleSlope": 1, "RescaleIntercept": 0}),
        ("rgb", np.asarray(quarters()), {}),
    ):
        stream = io.BytesIO()
        dicom(stream, values, **options)
        contents[name] = stream.getvalue()
    for name, image, kind in (("png", Image.fromarray(ramp()), "PNG"), ("tiff", Image.fromarray(ramp()), "TIFF")):
        stream = io.BytesIO()
        image.save(stream, kind)
        contents[name] = stream.getvalue()
    stream = io.BytesIO()
    Image.fromarray(ramp()).save(stream, "TIFF", save_all=True, append_images=[Image.fromarray(ramp())])
    contents["pages"] = stream.getvalue()
    stream = io.BytesIO()
    pillow_heif.from_pillow(quarters()).save(stream)
    contents["heic"] = stream.getvalue()
    stream = io.BytesIO()
    quarters().save(stream, "AVIF")
    contents["avif"] = stream.getvalue()
    return contents


SAMPLES = samples()


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_an_error_or_a_picture(kind: str, data: st.DataObject) -> None:
    """Flipped bytes, most of them in the first kilobyte, and a cut end: a picture or one line that names it."""
    content = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, min(len(content), 1500) - 1) | st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    content = content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("pydicom").setLevel(logging.CRITICAL)
        try:
            pixels, size = read_pixels(BytesOpener(bytes(content), "damaged"), SQUASH)
        except DataError as error:
            assert str(error).startswith("damaged") and len(str(error)) < 300
        else:
            assert pixels.shape == (6, 8, 3) and np.isfinite(pixels).all() and min(size) > 0


def test_openers_of_pages_can_be_pickled() -> None:
    import pickle

    opener = FileOpener(Path("a.tif"), page=2)
    assert pickle.loads(pickle.dumps(opener)) == opener and str(opener) == "a.tif#page=2"
    assert pydicom.__version__ >= "3"
