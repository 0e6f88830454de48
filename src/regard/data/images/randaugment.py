"""RandAugment: a few operations in turn, drawn evenly, all of one magnitude (Cubuk et al. 2019, arXiv 1909.13719).

Operations, their ranges and what comes in from outside (black, nearest pixels) are torchvision's `RandAugment`, whose
magnitude also goes from 0 to 30.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torchvision.transforms.v2 import functional as change

MOST = 30.0


@dataclass(frozen=True)
class Operation:
    """`run` takes the picture and a value, which `most` gives of (width, height) at the largest magnitude; it grows
    evenly from zero, and where it is `signed`, it goes either way. `moves`: it changes places, not levels."""

    run: Callable[[Any, float], Any]
    most: Callable[[int, int], float] = lambda width, height: 1.0
    signed: bool = False
    moves: bool = False


def _shear(image: Any, across: float, down: float) -> Any:
    angles = [math.degrees(math.atan(value)) for value in (across, down)]
    return change.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=angles, center=[0, 0])


def _shift(image: Any, across: float, down: float) -> Any:
    return change.affine(image, angle=0.0, translate=[int(across), int(down)], scale=1.0, shear=[0.0, 0.0])


FARTHEST = 150 / 331
"""The largest shift, as a share of the side."""

OPERATIONS = {
    "identity": Operation(lambda image, value: image),
    "shear across": Operation(lambda image, value: _shear(image, value, 0.0), lambda width, height: 0.3, True, True),
    "shear down": Operation(lambda image, value: _shear(image, 0.0, value), lambda width, height: 0.3, True, True),
    "shift across": Operation(
        lambda image, value: _shift(image, value, 0.0), lambda width, height: FARTHEST * width, True, True
    ),
    "shift down": Operation(
        lambda image, value: _shift(image, 0.0, value), lambda width, height: FARTHEST * height, True, True
    ),
    "rotate": Operation(lambda image, value: change.rotate(image, angle=value), lambda width, height: 30.0, True, True),
    "brightness": Operation(
        lambda image, value: change.adjust_brightness(image, 1 + value), lambda width, height: 0.9, True
    ),
    "saturation": Operation(
        lambda image, value: change.adjust_saturation(image, 1 + value), lambda width, height: 0.9, True
    ),
    "contrast": Operation(
        lambda image, value: change.adjust_contrast(image, 1 + value), lambda width, height: 0.9, True
    ),
    "sharpness": Operation(
        lambda image, value: change.adjust_sharpness(image, 1 + value), lambda width, height: 0.9, True
    ),
    "posterize": Operation(lambda image, value: change.posterize(image, round(8 - 4 * value))),
    "solarize": Operation(lambda image, value: change.solarize(image, 255 * (1 - value))),
    "autocontrast": Operation(lambda image, value: change.autocontrast(image)),
    "equalize": Operation(lambda image, value: change.equalize(image)),
}
NAMES = tuple(OPERATIONS)


def transformed(image: Image.Image, name: str, magnitude: float, negative: bool) -> Image.Image:
    """A picture after one operation of a magnitude from 0 to 30."""
    operation = OPERATIONS[name]
    value = operation.most(image.width, image.height) * magnitude / MOST
    result: Image.Image = operation.run(image, -value if operation.signed and negative else value)
    return result
