"""Mixup, CutMix, RandAugment and random erasing: torchvision's formulas, drawn for each picture by itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image
from torchvision.transforms import v2

from regard.data.images.augment import Augmentation, Changes, apply, draw, generator
from regard.data.images.mixing import Mix, Mixing, cut_box, draw_mix, erased_box
from regard.data.images.randaugment import NAMES, OPERATIONS, transformed
from regard.errors import UsageError

THEIRS = dict(
    zip(
        NAMES,
        (
            *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"),
            *("Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
        ),
        strict=True,
    )
)


def picture(seed: int = 0, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """Noise over a gradient, so that every operation does something."""
    slope = np.linspace(20, 200, size[1])[None, :, None] * np.array([1.0, 0.7, 0.4])
    noise = default_rng(seed).normal(0, 25, (*size, 3))
    return (slope + noise).clip(10, 230).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("magnitude", [9, 30])
def test_operations_of_randaugment_are_torchvisions(name: str, magnitude: int) -> None:
    theirs = v2.RandAugment(num_ops=1)
    assert set(theirs._AUGMENTATION_SPACE) == set(THEIRS.values())
    image = Image.fromarray(picture())
    values, signed = theirs._AUGMENTATION_SPACE[THEIRS[name]]
    levels = values(31, image.height, image.width)
    assert signed == OPERATIONS[name].signed
    for negative in (False, True):
        value = 0.0 if levels is None else float(levels[magnitude]) * (-1 if signed and negative else 1)
        right = theirs._apply_image_or_video_transform(
            image, THEIRS[name], value, interpolation=theirs.interpolation, fill=theirs._fill
        )
        came = transformed(image, name, magnitude, negative)
        assert np.array_equal(np.asarray(came), np.asarray(right))
    assert name == "identity" or not np.array_equal(np.asarray(came), np.asarray(image))


def test_mixup_is_torchvisions_but_for_the_rounding() -> None:
    one, other = picture(0), picture(1)
    batch = torch.from_numpy(np.stack([other, one])).permute(0, 3, 1, 2).float()  # rolled by one, the other comes first
    right = v2.MixUp(num_classes=2).transform(batch, {"lam": 0.3, "labels": None, "batch_size": 2})[1]
    came = Mix(0.3).pixels(one, other)
    assert np.abs(came - right.permute(1, 2, 0).numpy()).max() <= 0.5001
    deep = Mix(0.3).pixels(one.astype(np.float32), other.astype(np.float32))
    assert deep.dtype == np.float32 and np.abs(deep - right.permute(1, 2, 0).numpy()).max() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_is_torchvisions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    share, across, down = default_rng(seed).random(3)
    x, y = int(across * 56), int(down * 40)
    theirs = v2.CutMix(num_classes=2)
    numbers = iter([torch.tensor([x]), torch.tensor([y])])
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: next(numbers))
    monkeypatch.setattr(theirs._dist, "sample", lambda size: torch.tensor(share))
    one, other = picture(0), picture(1)
    batch = torch.from_numpy(np.stack([other, one])).permute(0, 3, 1, 2)
    right = theirs.make_params([batch])
    box = cut_box(share, x, y, (40, 56))
    assert box == right["box"]
    left, top, end, bottom = box
    mix = Mix(1 - (end - left) * (bottom - top) / (40 * 56), box)
    assert mix.share == pytest.approx(right["lam_adjusted"])
    mixed = theirs.transform(batch, {**right, "labels": None, "batch_size": 2})[1]
    assert np.array_equal(mix.pixels(one, other), mixed.permute(1, 2, 0).numpy())


def test_shares_are_of_beta_and_tell_what_stays_of_the_picture() -> None:
    size = (32, 48)
    shares = [draw_mix(Mixing(mixup=0.4), size, default_rng(seed)).share for seed in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.1)  # of Beta(a, a)
    both = [draw_mix(Mixing(0.4, 1.0), size, default_rng(seed)) for seed in range(2000)]
    assert np.mean([mix.box is not None for mix in both]) == pytest.approx(0.5, abs=0.04)
    for mix in both:
        if mix.box is not None:
            pixels = mix.pixels(np.zeros((*size, 3), np.uint8), np.ones((*size, 3), np.uint8))
            assert 1 - pixels.mean() == pytest.approx(mix.share)


def test_erased_boxes_are_of_torchvisions_law(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = v2.RandomErasing(scale=(0.02, 0.33), ratio=(0.3, 3.3))
    for seed in range(20):
        tries = default_rng(seed).random((10, 4))
        box = erased_box(tries, (40, 56))
        assert box is not None
        queue = [number for row in tries for number in row[:2]]
        place = tries[:, 2:].tolist()

        def drawn(self: torch.Tensor, low: float, high: float) -> torch.Tensor:
            return torch.tensor([float(low) + (float(high) - float(low)) * queue.pop(0)])  # noqa: B023

        def among(low: int, high: int, size: object) -> torch.Tensor:
            row = place[(20 - len(queue)) // 2 - 1]  # noqa: B023
            return torch.tensor([int(row.pop(0) * high)])

        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "uniform_", drawn)
            patch.setattr(torch, "randint", among)
            right = theirs.make_params([torch.zeros(3, 40, 56)])
        assert box == (right["j"], right["i"], right["j"] + right["w"], right["i"] + right["h"])


def test_erasing_fills_a_box_with_noise_of_its_own() -> None:
    changes = draw(Augmentation(erase=1.0), generator(0, 0, 0))
    pixels = picture()
    came = apply(pixels, Augmentation(erase=1.0), changes)
    assert changes.erased is not None
    left, top, right, bottom = erased_box(changes.erased, (40, 56)) or (0, 0, 0, 0)
    outside = np.ones((40, 56), bool)
    outside[top:bottom, left:right] = False
    assert np.array_equal(came[outside], pixels[outside])
    assert 90 < came[~outside].mean() < 165 and came[~outside].std() > 60
    assert np.array_equal(came, apply(pixels, Augmentation(erase=1.0), changes))
    none = [draw(Augmentation(erase=0.25), generator(0, 0, index)).erased is None for index in range(1000)]
    assert np.mean(none) == pytest.approx(0.75, abs=0.05)


def test_what_recipes_without_them_draw_is_what_they_always_drew() -> None:
    """The numbers of version 0.2: what came later is drawn behind them."""
    old = Augmentation(crop=0.5, flip=0.5, rotate=10, translate=0.1, scale=(0.9, 1.1), brightness=0.2, hue=0.1)
    changes = draw(old, generator(3, 1, 4))
    more = draw(replace(old, randaugment=2, erase=0.5), generator(3, 1, 4))
    for name in ("crops", "flip", "angle", "shift", "zoom", "order", "factors"):
        assert np.array_equal(getattr(changes, name), getattr(more, name)), name
    assert changes.operations == () and changes.erased is None and len(more.operations) == 2
    names = [
        name for index in range(500) for name, _ in draw(Augmentation(randaugment=2), generator(0, 0, index)).operations
    ]
    assert set(names) == set(NAMES) and max(map(names.count, NAMES)) < 120


def test_grey_of_more_than_8_bits_is_moved_and_keeps_its_levels() -> None:
    deep = np.repeat(default_rng(0).random((40, 56, 1)).astype(np.float32) * 255, 3, axis=2)
    for name in NAMES:
        changes = replace(draw(Augmentation(), generator(0, 0, 0)), operations=((name, True),))
        came = apply(deep, Augmentation(randaugment=1), changes)
        assert came.dtype == np.float32 and came.shape == deep.shape
        assert OPERATIONS[name].moves != np.array_equal(came, deep)


def test_values_out_of_range_are_refused() -> None:
    for wrong in ({"randaugment": 15}, {"magnitude": 31.0}, {"erase": 1.1}):
        with pytest.raises(UsageError, match="out of range"):
            Augmentation(**wrong)
    assert isinstance(draw(Augmentation(), generator(0, 0, 0)), Changes)
