"""Mixup and CutMix: two pictures in one, and how much of either there is; and random erasing.

mixup (Zhang et al. 2018, arXiv 1710.09412): λ · one + (1 - λ) · other. CutMix (Yun et al. 2019, arXiv 1905.04899): a
box of the other in the one, of (1 - λ) of the area before it is cut off at the edges; what is left of the one is then
its share. λ is drawn from Beta(alpha, alpha), for each picture by itself. Boxes are torchvision's.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

Pixels = NDArray[Any]
Area = tuple[int, int, int, int]
"""(left, top, right, bottom) in whole pixels."""

ERASED = (0.02, 0.33)
"""The share of a picture that random erasing takes (Zhong et al. 2017, arXiv 1708.04896)."""
ASPECT = (0.3, 3.3)
"""Height by width of what is erased, drawn evenly in its logarithm."""


@dataclass(frozen=True)
class Mixing:
    """The alphas of mixup and CutMix; 0 is off. With both on, each picture has one of them, as often the one as the
    other, as in timm."""

    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True)
class Mix:
    """What was drawn for a picture: how much of it stays, and, of CutMix, where the other is."""

    share: float
    box: Area | None = None

    def pixels(self, one: Pixels, other: Pixels) -> Pixels:
        """(height, width, 3); levels of 8 bits are rounded to the nearest."""
        if self.box is None:
            mean = self.share * one.astype(np.float64) + (1 - self.share) * other
            return (np.rint(mean) if one.dtype == np.uint8 else mean).astype(one.dtype)
        left, top, right, bottom = self.box
        result = one.copy()
        result[top:bottom, left:right] = other[top:bottom, left:right]
        return result


def draw_mix(mixing: Mixing, size: tuple[int, int], random: Generator) -> Mix:
    """How a picture of (height, width) is mixed; always as many numbers are drawn."""
    cuts = random.random() < (0.5 if mixing.mixup and mixing.cutmix else float(mixing.cutmix > 0))
    alpha = mixing.cutmix if cuts else mixing.mixup
    share = float(random.beta(alpha, alpha))
    across, down = random.random(2)
    if not cuts:
        return Mix(share)
    height, width = size
    box = cut_box(share, int(across * width), int(down * height), size)
    left, top, right, bottom = box
    return Mix(1 - (right - left) * (bottom - top) / (width * height), box)


def cut_box(share: float, x: int, y: int, size: tuple[int, int]) -> Area:
    """CutMix's box around (x, y), cut off at the edges of (height, width)."""
    height, width = size
    half = 0.5 * math.sqrt(1 - share)
    wide = int(half * width)
    tall = int(half * height)
    return max(x - wide, 0), max(y - tall, 0), min(x + wide, width), min(y + tall, height)


def erased_box(tries: NDArray[Any], size: tuple[int, int]) -> Area | None:
    """Of `tries` (n, 4), uniform numbers for area, aspect, top and left, the first box that fits (height, width)."""
    height, width = size
    low = math.log(ASPECT[0])
    high = math.log(ASPECT[1])
    for area, aspect, top, left in tries:
        pixels = (ERASED[0] + (ERASED[1] - ERASED[0]) * area) * height * width
        ratio = math.exp(low + (high - low) * aspect)
        tall = round(math.sqrt(pixels * ratio))
        wide = round(math.sqrt(pixels / ratio))
        if 0 < tall < height and 0 < wide < width:
            y = int(top * (height - tall + 1))
            x = int(left * (width - wide + 1))
            return x, y, x + wide, y + tall
    return None


def erase(pixels: Pixels, tries: NDArray[Any], noise: int) -> Pixels:
    """(height, width, 3) with a box of random levels in it, as the paper's best variant (RE-R) has them."""
    box = erased_box(tries, pixels.shape[:2])
    if box is None:
        return pixels
    left, top, right, bottom = box
    result = pixels.copy()
    result[top:bottom, left:right] = default_rng(noise).integers(0, 256, (bottom - top, right - left, 3), np.uint8)
    return result
