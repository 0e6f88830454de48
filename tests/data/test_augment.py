"""Random changes: a function of (seed, epoch, index), in the laws of torchvision, true to the picture's geometry."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import ColorJitter, RandomAffine, RandomResizedCrop, functional

from regard.data.images.augment import COLOURS, Augmentation, apply, crop_box, draw, generator, read_augmented
from regard.data.images.preparation import Preparation, read_pixels
from regard.errors import DataError, UsageError

ALL = Augmentation(0.3, 0.5, 10.0, 0.1, (0.9, 1.1), 0.15, 0.15, 0.15, 0.15)
NONE = Augmentation()
SQUASH = Preparation(24, 40, mode="squash")


def picture(height: int = 50, width: int = 80) -> Image.Image:
    """Red grows to the right, green downwards, blue is random."""
    random = np.random.default_rng(0).integers(0, 256, (height, width))
    down, across = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([across * 3, down * 5, random], axis=2).astype(np.uint8))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    picture().save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_the_same_seed_epoch_and_index_give_the_same_pixels_and_others_do_not(file: Path) -> None:
    def pixels(*key: int) -> bytes:
        return read_augmented(file, SQUASH, ALL, draw(ALL, generator(*key))).tobytes()

    assert pixels(0, 1, 2) == pixels(0, 1, 2)
    assert len({pixels(*key) for key in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3), (2, 1, 0)]}) == 5


@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_without_changes_training_sees_what_scoring_sees(mode: str, file: Path) -> None:
    preparation = Preparation(24, 40, mode=mode)
    came = read_augmented(file, preparation, NONE, draw(NONE, generator(0, 0, 0)))
    assert np.array_equal(came, read_pixels(file, preparation)[0])
    assert came.shape == (24, 40, 3)


def test_large_photographs_are_read_at_a_fraction_and_look_the_same(tmp_path: Path) -> None:
    picture(500, 800).resize((1600, 1000)).save(tmp_path / "large.jpg", quality=95)
    picture(500, 800).resize((1600, 1000)).save(tmp_path / "large.png")
    drawn = draw(ALL, generator(0, 0, 0))
    crop = Augmentation(crop=0.3)
    jpg, png = (read_augmented(tmp_path / f"large.{ending}", SQUASH, crop, drawn) for ending in ("jpg", "png"))
    assert np.abs(jpg[..., :2].astype(int) - png[..., :2]).mean() < 6


def test_what_is_drawn_has_the_laws_of_torchvision() -> None:
    """Two samples of 2000 each, by Kolmogorov and Smirnov; at a wrong range or law p is below 1e-20."""
    n, size = 2000, (50, 80)
    drawn = [draw(ALL, generator(0, 0, index)) for index in range(n)]
    torch.manual_seed(0)
    affine = [RandomAffine.get_params([-10, 10], (0.1, 0.1), (0.9, 1.1), None, [80, 50]) for _ in range(n)]
    shifts = [(round(one.shift[0] * 80), round(one.shift[1] * 50)) for one in drawn]
    assert ks_2samp([one.angle for one in drawn], [row[0] for row in affine]).pvalue > 1e-3
    assert ks_2samp([one.zoom for one in drawn], [row[2] for row in affine]).pvalue > 1e-3
    for axis in (0, 1):
        assert ks_2samp([row[axis] for row in shifts], [row[1][axis] for row in affine]).pvalue > 1e-3
    jitter = ColorJitter(0.15, 0.15, 0.15, 0.15)
    ranges = [getattr(jitter, name) for name in COLOURS]
    theirs = [ColorJitter.get_params(*ranges) for _ in range(n)]
    for place, name in enumerate(COLOURS):
        assert ks_2samp([one.factors[name] for one in drawn], [row[1 + place] for row in theirs]).pvalue > 1e-3
        turns = [one.order.index(name) for one in drawn], [row[0].tolist().index(place) for row in theirs]
        assert ks_2samp(*turns).pvalue > 1e-3
    boxes = np.array([crop_box(ALL, one, size) for one in drawn])
    crops = np.array([RandomResizedCrop.get_params(picture(), [0.3, 1.0], [3 / 4, 4 / 3]) for _ in range(n)])
    ours = (boxes[:, 1], boxes[:, 0], boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0])  # top, left, height, width
    for values, theirs_too in zip(ours, crops.T, strict=True):
        assert ks_2samp(values, theirs_too).pvalue > 1e-3
    assert 0.46 < np.mean([one.flip for one in drawn]) < 0.54


def test_what_is_drawn_is_done_as_torchvision_does_it() -> None:
    """On a picture that is not square: width and height keep their places."""
    image = picture()
    for index in range(6):
        drawn = draw(ALL, generator(0, 0, index))
        right = functional.hflip(image) if drawn.flip else image
        shift = [round(drawn.shift[0] * 80), round(drawn.shift[1] * 50)]
        right = functional.affine(right, angle=drawn.angle, translate=shift, scale=drawn.zoom, shear=[0.0, 0.0])
        for name in drawn.order:
            right = getattr(functional, f"adjust_{name}")(right, drawn.factors[name])
        assert np.array_equal(apply(np.asarray(image), ALL, drawn), np.asarray(right))


def test_a_shift_and_a_flip_by_hand() -> None:
    """A white dot at row 10, column 20 of 50 × 80, mirrored to column 59, then 8 to the right and 5 down."""
    pixels = np.zeros((50, 80, 3), np.uint8)
    pixels[10, 20] = 255
    drawn = draw(ALL, generator(0, 0, 0))
    moved = type(drawn)(drawn.crops, True, 0.0, (0.1, 0.1), 1.0, (), {})
    came = apply(pixels, Augmentation(flip=1.0, translate=0.1), moved)
    assert np.argwhere(came[..., 0]).tolist() == [[15, 67]]


def test_a_crop_keeps_its_share_and_stays_inside() -> None:
    for size in [(50, 80), (10, 300), (300, 10)]:
        for index in range(200):
            left, top, right, bottom = crop_box(ALL, draw(ALL, generator(0, 0, index)), size)
            assert 0 <= left < right <= size[1]
            assert 0 <= top < bottom <= size[0]
    assert crop_box(ALL, draw(ALL, generator(0, 0, 0)), (10, 300)) == (143.0, 0.0, 156.0, 10.0)  # none fits: the centre


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"flip": 1.5}, "flip 1.5 is out of range"),
        ({"crop": 0.0}, "crop 0.0 is out of range"),
        ({"hue": 0.6}, "from 0 to 0.5"),
        ({"scale": (1.1, 0.9)}, "least and the largest"),
        ({"rotate": float("nan")}, "out of range"),
    ],
)
def test_senseless_settings_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Augmentation(**settings)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        read_augmented(tmp_path / "broken.jpg", SQUASH, ALL, draw(ALL, generator(0, 0, 0)))
