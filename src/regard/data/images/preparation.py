"""From pictures to what a network takes, and the one owner of the geometry between the two.

A `Preparation` says which part of a picture a network sees, at which size and scale of values; training, scoring and
explaining all go through it, so a map always finds its way back to the user's own pixels.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regard.data.dataset import Picture
from regard.data.images.decode import MAX_PIXELS, Size, open_picture, open_reduced
from regard.data.openers import Source
from regard.errors import DataError, UsageError, unknown
from regard.records import Box, PatchGrid

__all__ = ["MAX_PIXELS", "Batch", "Preparation", "batches", "open_picture", "read_pixels"]

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MODES = ("crop", "squash")

SPARE = 1.5
"""How many times larger than needed a picture stays when the JPEG decoder shrinks it: the input then changes by about
a grey level on average where it is sharp, at less than half the price."""

GAP = 3.0
"""Pillow's `reducing_gap`: pictures six or more times too large are first averaged down; from 3 on it does not show."""

Pixels = NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of a network: `height` × `width` pixels, values (v / 255 - mean) / std.

    `mode` "crop" keeps the aspect as timm's evaluation does: the picture is resized until it covers floor(size /
    `crop`) (248 for 224 and 0.9) and the centre is taken; "squash" resizes the whole picture to the input. `mean` and
    `std` are of red, green and blue in 0..1. Raises `UsageError` for settings that make no sense.
    """

    height: int
    width: int
    mode: str = "crop"
    crop: float = 0.9
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("way to fit a picture", self.mode, MODES)
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if self.height < 1 or self.width < 1:
            raise UsageError(f"an input of {self.height} × {self.width} pixels is none; both sides must be at least 1")
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop {self.crop} is out of range; it must be above 0 and at most 1 (0.9 is usual)")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError("mean and std must be three numbers each (red, green, blue), and std above 0")

    def box(self, size: Size) -> Box:
        """The part of a picture of this (height, width) which the network sees: (left, top, right, bottom).

        For "crop" it is what timm's and torchvision's Resize and CenterCrop keep, their rounding to whole pixels of
        the resized picture included, so it may lie up to half such a pixel off the centre.
        """
        height, width = size
        if self.mode == "squash":
            return 0.0, 0.0, float(width), float(height)
        tall, wide = self._resized(height, width)
        top, bottom = _centre(height, tall, self.height)
        left, right = _centre(width, wide, self.width)
        return left, top, right, bottom

    def _resized(self, height: int, width: int) -> Size:
        """(height, width) of the whole picture once it covers the input and its border."""
        least_tall = math.floor(self.height / self.crop)
        least_wide = math.floor(self.width / self.crop)
        if least_tall == least_wide:  # torchvision's Resize(int) cuts the long side to whole pixels
            short = min(height, width)
            return least_tall * height // short, least_wide * width // short
        ratio = min(height / least_tall, width / least_wide)  # timm's ResizeKeepRatio rounds
        return round(height / ratio), round(width / ratio)

    def smallest(self, size: Size) -> Size:
        """The least (height, width) to which a picture may be shrunk beforehand without harm to the input."""
        left, top, right, bottom = self.box(size)
        tall = SPARE * self.height / (bottom - top)
        wide = SPARE * self.width / (right - left)
        return math.ceil(size[0] * tall), math.ceil(size[1] * wide)

    def pixels(self, image: Image.Image) -> Pixels:
        """An upright RGB picture → (height, width, 3) uint8 as the network sees it, before normalisation."""
        return self._resample(image, self.box((image.height, image.width)))

    def _resample(self, image: Image.Image, box: Box) -> Pixels:
        gap = None if self.interpolation == "nearest" else GAP
        if image.mode != "RGB":
            raise DataError(f"a picture of mode {image.mode} came where RGB is needed; read it with open_picture")
        return np.asarray(image.resize((self.width, self.height), INTERPOLATIONS[self.interpolation], box, gap))

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, height, width, 3) uint8 → (batch, 3, height, width) float32, on the device of `pixels`."""
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return planes.mul_(1 / (255 * std)).sub_(mean / std)

    def tensor(self, image: Image.Image) -> torch.Tensor:
        """An upright RGB picture → (3, height, width) float32, normalised."""
        return self.normalise(torch.from_numpy(self.pixels(image).copy())[None])[0]

    def grid(self, size: Size, rows: int, columns: int, prefix: int = 1) -> PatchGrid:
        """Where a network's rows × columns patches lie in a picture of this (height, width)."""
        return PatchGrid(rows, columns, prefix, (int(size[0]), int(size[1])), self.box(size))

    def as_json(self) -> dict[str, Any]:
        """All settings, as JSON has them."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave. Raises `DataError` when something is missing, unknown or senseless."""
        try:
            return cls(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
        except (KeyError, TypeError, UsageError) as error:
            raise DataError(f"the stored preparation of pictures cannot be used: {error}") from error


def _centre(pixels: int, resized: int, size: int) -> tuple[float, float]:
    """Start and stop, in the picture's own pixels, of the centre that CenterCrop keeps of a resized side."""
    first = round((resized - size) / 2)
    return first * pixels / resized, (first + size) * pixels / resized


def read_pixels(source: Source, preparation: Preparation, max_pixels: int = MAX_PIXELS) -> tuple[Pixels, Size]:
    """A picture → ((height, width, 3) uint8 as the network sees it, (height, width) of the user's upright picture).

    The same as `preparation.pixels(open_picture(source))` to within a grey level or so, but large JPEGs are decoded at
    a fraction of their size. Raises `DataError` naming the picture.
    """
    image, size, divided = open_reduced(source, preparation.smallest, max_pixels)
    left, top, right, bottom = (edge / divided for edge in preparation.box(size))
    return preparation._resample(image, (left, top, right, bottom)), size


@dataclass(frozen=True)
class Batch:
    """Some pictures, prepared: `indices` into the given pictures, `pixels` (batch, height, width, 3) uint8, and the
    (height, width) of each of the user's upright pictures."""

    indices: list[int]
    pixels: torch.Tensor
    sizes: list[Size]

    def __len__(self) -> int:
        return len(self.indices)


def batches(
    pictures: Sequence[Picture],
    preparation: Preparation,
    batch_size: int = 32,
    workers: int = 2,
    on_bad: Callable[[Picture, DataError], None] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Batch]:
    """Read pictures in order, in threads that stay up to two batches ahead; memory does not grow with their number.

    A picture that cannot be read raises its `DataError`; with `on_bad` it is handed there and left out, and the batch
    is filled with the next. `workers` 0 reads in the calling thread. Closing the iterator stops the threads.
    """
    if batch_size < 1 or workers < 0:
        raise UsageError(f"batch size {batch_size} and {workers} workers: at least 1 and 0 are needed")

    def attempt(picture: Picture) -> tuple[Pixels, Size] | DataError:
        try:
            return read_pixels(picture.opener, preparation, max_pixels)
        except DataError as error:
            return error

    with closing(_in_order(attempt, pictures, workers, ahead=2 * batch_size)) as results:
        good = _good(enumerate(results), pictures, on_bad)
        while rows := list(islice(good, batch_size)):
            indices, pixels, sizes = zip(*rows, strict=True)
            yield Batch(list(indices), torch.from_numpy(np.stack(pixels)), list(sizes))


def _good(
    results: Iterable[tuple[int, tuple[Pixels, Size] | DataError]],
    pictures: Sequence[Picture],
    on_bad: Callable[[Picture, DataError], None] | None,
) -> Iterator[tuple[int, Pixels, Size]]:
    """The results that are pictures; the others are handed to `on_bad`, or raised where there is none."""
    for index, result in results:
        if not isinstance(result, DataError):
            yield index, *result
        elif on_bad is None:
            raise result
        else:
            on_bad(pictures[index], result)


def _in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Generator[Result, None, None]:
    """`map` in threads, in order, never more than `ahead` results in waiting; closing it stops the threads."""
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="regard-pictures")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
