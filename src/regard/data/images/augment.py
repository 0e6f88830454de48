"""Random changes to training pictures, each a function of (seed, epoch, index) alone: repeatable, whatever the order.

Drawn in the laws of torchvision's RandomResizedCrop, RandomHorizontalFlip, RandomAffine and ColorJitter, and applied in
that order. Crop and resize are one step, from the user's own pixels, through the one owner of geometry.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import functional as change

from regard.data.images.decode import Size, open_picture, open_reduced
from regard.data.images.longest_side import LongestSide
from regard.data.images.mixing import erase
from regard.data.images.preparation import SPARE, Pixels, Preparation
from regard.data.images.randaugment import MOST, NAMES, OPERATIONS, transformed
from regard.data.openers import Source
from regard.errors import UsageError
from regard.records import Box

COLOURS = ("brightness", "contrast", "saturation", "hue")
ASPECT = (3 / 4, 4 / 3)
"""Width by height of a random crop, drawn evenly in its logarithm."""
TRIES = 10
"""How often a crop is drawn before one of the largest fitting size is taken, as in torchvision."""


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures are changed; all at their defaults, they are not.

    `crop` is the least share of the picture's area that a random crop keeps (1: none; the network's own preparation
    decides). `flip` is the probability of a mirror image. `rotate` is the largest turn in degrees, `translate` the
    largest shift as a share of each side, `scale` the (least, largest) zoom. `brightness`, `contrast` and `saturation`
    are the largest changes as a share, `hue` that as a share of the colour circle (at most 0.5). `randaugment` counts
    operations of RandAugment of a `magnitude` (0 to 30), `erase` is the probability of random erasing. Raises
    `UsageError`.
    """

    crop: float = 1.0
    flip: float = 0.0
    rotate: float = 0.0
    translate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    randaugment: int = 0
    magnitude: float = 9.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        allowed = {"crop": (0.01, 1), "flip": (0, 1), "rotate": (0, 180), "translate": (0, 1), "hue": (0, 0.5)}
        allowed |= {"randaugment": (0, len(NAMES)), "magnitude": (0, int(MOST))}
        for name in ("crop", "flip", "rotate", "translate", *COLOURS, "randaugment", "magnitude", "erase"):
            low, high = allowed.get(name, (0, 1))
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} {getattr(self, name)} is out of range; it may be from {low} to {high}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"scale {self.scale} is out of range; give the least and the largest zoom, both above 0")

    @property
    def moves(self) -> bool:
        """Whether pictures are turned, shifted or zoomed."""
        return self.rotate > 0 or self.translate > 0 or self.scale != (1.0, 1.0)


@dataclass(frozen=True)
class Changes:
    """What was drawn for one picture; the crop is still as uniform numbers, since it depends on the picture's size.

    `crops` (tries, 4): uniform numbers for area, aspect, top and left. `angle` in degrees, `shift` (across, down) in
    shares of the sides from -1 to 1 of the largest, `order` the order of the changes of colour, `factors` theirs.
    `operations` of RandAugment, each with whether it goes the other way; `erased` (tries, 4) uniform numbers for the
    box that is erased, or None, and `noise` the seed of what is then in it.
    """

    crops: NDArray[np.float64]
    flip: bool
    angle: float
    shift: tuple[float, float]
    zoom: float
    order: tuple[str, ...]
    factors: dict[str, float] = field(default_factory=dict)
    operations: tuple[tuple[str, bool], ...] = ()
    erased: NDArray[np.float64] | None = None
    noise: int = 0


def generator(seed: int, epoch: int, index: int) -> Generator:
    """The random numbers of one picture in one epoch."""
    return default_rng((seed, epoch, index))


def draw(augmentation: Augmentation, random: Generator) -> Changes:
    """Everything random about one picture, always drawn in the same order and number."""
    a = augmentation
    crops = random.random((TRIES, 4))
    flip = bool(random.random() < a.flip)
    angle = float(random.uniform(-a.rotate, a.rotate))
    across, down = (float(value) for value in random.uniform(-a.translate, a.translate, 2))
    zoom = float(random.uniform(*a.scale))
    order = tuple(COLOURS[place] for place in random.permutation(len(COLOURS)))
    amounts = {name: float(random.uniform(-1, 1)) * getattr(a, name) for name in COLOURS}
    factors = {name: amount if name == "hue" else 1 + amount for name, amount in amounts.items()}
    # What came later is drawn behind, so that recipes without it have the numbers that they always had.
    erases = random.random() < a.erase
    tries = random.random((TRIES, 4))
    noise = int(random.integers(2**32))
    operations = tuple(
        (NAMES[int(random.integers(len(NAMES)))], bool(random.random() < 0.5)) for _ in range(a.randaugment)
    )
    erased = tries if erases else None
    return Changes(crops, flip, angle, (across, down), zoom, order, factors, operations, erased, noise)


def crop_box(augmentation: Augmentation, changes: Changes, size: Size) -> Box:
    """(left, top, right, bottom) of a random crop, in whole pixels of a picture of this (height, width).

    The law of torchvision's RandomResizedCrop: area and the logarithm of the aspect uniform, the first that fits.
    """
    height, width = size
    low = math.log(ASPECT[0])
    high = math.log(ASPECT[1])
    for area, aspect, top, left in changes.crops:
        pixels = (augmentation.crop + (1 - augmentation.crop) * area) * height * width
        ratio = math.exp(low + (high - low) * aspect)
        wide = round(math.sqrt(pixels * ratio))
        tall = round(math.sqrt(pixels / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            y = int(top * (height - tall + 1))
            x = int(left * (width - wide + 1))
            return float(x), float(y), float(x + wide), float(y + tall)
    return _largest(height, width)


def _largest(height: int, width: int) -> Box:
    """The largest centred box whose aspect is allowed."""
    wide = min(width, round(height * ASPECT[1]))
    tall = min(height, round(width / ASPECT[0]))
    x = (width - wide) // 2
    y = (height - tall) // 2
    return float(x), float(y), float(x + wide), float(y + tall)


def read_augmented(
    source: Source,
    preparation: Preparation | LongestSide,
    augmentation: Augmentation,
    changes: Changes,
    max_pixels: int | None = None,
) -> Pixels:
    """A picture → (height, width, 3) as the network sees it in training. Raises `DataError` naming the picture.

    A network that takes pictures of any shape sees them whole: there is no random crop.
    """
    if isinstance(preparation, LongestSide):
        return apply(preparation.pixels(open_picture(source, max_pixels)), augmentation, changes)

    def box(size: Size) -> Box:
        return crop_box(augmentation, changes, size) if augmentation.crop < 1 else preparation.box(size)

    def enough(size: Size) -> Size:
        left, top, right, bottom = box(size)
        tall = SPARE * preparation.height / (bottom - top)
        wide = SPARE * preparation.width / (right - left)
        return math.ceil(size[0] * tall), math.ceil(size[1] * wide)

    image, size, divided = open_reduced(source, enough, max_pixels, deep=True)
    extent = (size[0] / divided, size[1] / divided)
    if augmentation.crop == 1:
        return apply(preparation.fitted(image, size, extent), augmentation, changes)
    left, top, right, bottom = (edge / divided for edge in box(size))
    return apply(preparation.resample(image, (left, top, right, bottom), extent), augmentation, changes)


def apply(pixels: Pixels, augmentation: Augmentation, changes: Changes) -> Pixels:
    """(height, width, 3), changed as drawn: flip; turn, shift, zoom; colours in drawn order; RandAugment; erasing.

    What comes into the picture from outside is black and pixels are the nearest, as torchvision's defaults have it.
    Grey of more than 8 bits keeps them, and what RandAugment does to levels of 8 bits is left out there.
    """
    if changes.flip:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    if augmentation.moves or changes.operations or any(getattr(augmentation, name) > 0 for name in COLOURS):
        pixels = _changed(pixels, augmentation, changes)
    return pixels if changes.erased is None else erase(pixels, changes.erased, changes.noise)


def _changed(pixels: Pixels, augmentation: Augmentation, changes: Changes) -> Pixels:
    """Turned, shifted and zoomed, its colours changed, and what RandAugment does."""
    is_deep = pixels.dtype != np.uint8
    image = Image.fromarray(pixels[..., 0] if is_deep else pixels)
    if augmentation.moves:
        shift = [round(changes.shift[0] * image.width), round(changes.shift[1] * image.height)]
        image = change.affine(image, angle=changes.angle, translate=shift, scale=changes.zoom, shear=[0.0, 0.0])
    for name in changes.order:
        if getattr(augmentation, name) > 0:
            factor = changes.factors[name]
            image = _deep_change(name, image, factor) if is_deep else _CHANGES[name](image, factor)
    for name, negative in changes.operations:
        if not is_deep or OPERATIONS[name].moves:
            image = transformed(image, name, augmentation.magnitude, negative)
    return np.repeat(np.asarray(image)[..., None], 3, axis=2) if is_deep else np.asarray(image)


def _deep_change(name: str, image: Image.Image, factor: float) -> Image.Image:
    """The same for levels in mode F; saturation and hue of grey are none."""
    values = np.asarray(image)
    base = {"brightness": 0.0, "contrast": float(values.mean())}.get(name)
    if base is None:
        return image
    return Image.fromarray(np.clip(base + (values - base) * np.float32(factor), 0, 255).astype(np.float32))


_CHANGES = {
    "brightness": change.adjust_brightness,
    "contrast": change.adjust_contrast,
    "saturation": change.adjust_saturation,
    "hue": change.adjust_hue,
}
