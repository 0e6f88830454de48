"""From pictures to what a network takes, and the one owner of the geometry between the two.

A `Preparation` says which part of a picture a network sees, at which size and scale of values; training, scoring and
explaining all go through it, so a map always finds its way back to the user's own pixels.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regard.data.dataset import Picture
from regard.data.images.decode import Size, open_picture, open_reduced
from regard.data.openers import Source, announced
from regard.errors import DataError, UsageError, unknown
from regard.records import Box, PatchGrid

__all__ = ["Batch", "Preparation", "batches", "open_picture", "read_pixels"]

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MODES = ("crop", "squash", "centre")
COLOURS = {"RGB": 3, "BGR": 3, "L": 1}
"""In which order a network takes red, green and blue, or grey alone; and how many planes that is."""
LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue make of grey (ITU-R 601, as Pillow's "L")."""
_LATER = ("resized", "colours")
"""Settings that an earlier version had not: where they have their defaults, they are left out of JSON."""

SPARE = 1.5
"""How many times larger than needed a picture stays when the JPEG decoder shrinks it: the input then changes by about
a grey level on average where it is sharp, at less than half the price."""

GAP = 3.0
"""Pillow's `reducing_gap`: pictures six or more times too large are first averaged down; from 3 on it does not show."""

WHOLE = 16
"""How many times as many pixels as the input's the whole picture may have when it is resized: of a longer one the part
that is seen is cropped while it is resized, which keeps memory small."""

STEPS = "resized whole, then cropped"
"""How a picture is fitted, in the keys of what is stored of it: an earlier version cropped while it resized."""

Pixels = NDArray[np.uint8 | np.float32]
"""(height, width, 3) in 0..255: uint8, or float32 of a grey picture of more than 8 bits."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of a network: `height` × `width` pixels, values (v / 255 - mean) / std.

    `mode` "crop" keeps the aspect as timm's evaluation does: the picture is resized until it covers floor(size /
    `crop`) (248 for 224 and 0.9) and the centre is taken; "squash" resizes the whole picture to the input; "centre"
    takes the centre of the picture as it is. `resized` (height, width) says in pixels what the picture covers before
    the crop, in the place of `crop`, or what it is squashed to, of which then the centre is taken, as transformers'
    image processors do; where that is less than the input, black is around it. `colours` is "RGB", "BGR" or "L", grey;
    `mean` and `std` are of these, in units in which white is 1. Raises `UsageError` for settings that make no sense.
    """

    height: int
    width: int
    mode: str = "crop"
    crop: float = 0.9
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"
    resized: tuple[int, int] | None = None
    colours: str = "RGB"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown("way to fit a picture", self.mode, MODES)
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if self.height < 1 or self.width < 1:
            raise UsageError(f"an input of {self.height} × {self.width} pixels is none; both sides must be at least 1")
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop {self.crop} is out of range; it must be above 0 and at most 1 (0.9 is usual)")
        if self.resized is not None and (len(self.resized) != 2 or min(self.resized) < 1):
            raise UsageError(f"resized is {self.resized}; it must be (height, width) in pixels, or left out")
        if self.colours not in COLOURS:
            raise unknown("order of colours", self.colours, COLOURS)
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            numbers = "three numbers each (red, green, blue)" if self.channels == 3 else "one number each (grey)"
            raise UsageError(f"mean and std must be {numbers}, and std above 0")

    @property
    def channels(self) -> int:
        """How many planes go into the network: 3, or 1 of grey pictures."""
        return COLOURS[self.colours]

    def box(self, size: Size) -> Box:
        """The part of a picture of this (height, width) which the network sees: (left, top, right, bottom).

        For "crop" it is what timm's and torchvision's Resize and CenterCrop keep, their rounding to whole pixels of
        the resized picture included, so it may lie up to half such a pixel off the centre. Where a picture is padded
        it goes beyond the edges.
        """
        height, width = size
        if self.mode == "squash" and self.resized is None:
            return 0.0, 0.0, float(width), float(height)
        tall, wide = self._resized(height, width)
        top, left = self.offsets(tall, wide)
        right, bottom = ((left + self.width) * width / wide, (top + self.height) * height / tall)
        return left * width / wide, top * height / tall, right, bottom

    def offsets(self, tall: int, wide: int) -> tuple[int, int]:
        """(top, left) of what is kept of the resized picture, in its whole pixels."""
        return self._first(tall, self.height), self._first(wide, self.width)

    def _first(self, resized: int, size: int) -> int:
        """Where the centre that is kept of a resized side begins, in whole pixels; negative where it is padded."""
        half = (resized - size) / 2
        # torchvision's CenterCrop rounds; transformers' cuts off, and pads likewise
        return round(half) if self.resized is None and self.mode == "crop" else int(half)

    def _resized(self, height: int, width: int) -> Size:
        """(height, width) of the whole picture before its centre is taken."""
        if self.mode == "centre":
            return height, width
        if self.mode == "squash":
            return self.resized or (self.height, self.width)
        least_tall, least_wide = self.resized or (
            math.floor(self.height / self.crop),
            math.floor(self.width / self.crop),
        )
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
        """An upright RGB picture → (height, width, 3) uint8 as the network sees it, before normalisation.

        Of levels in mode F the values are float32, in 0..255 too.
        """
        size = image.height, image.width
        return self.fitted(image, size, size)

    def fitted(self, image: Image.Image, size: Size, extent: tuple[float, float]) -> Pixels:
        """What `pixels` gives of a picture of this (height, width), which may have been decoded at a fraction of that:
        `extent` is its (height, width) in the image's pixels.

        The whole picture is resized, then whole pixels are cut out, black beyond its edges: so the input is that of
        timm's, torchvision's and transformers' steps to the bit. A crop while resizing rounds otherwise.
        """
        tall, wide = self._resized(*size)
        if tall * wide > WHOLE * self.height * self.width:
            left, top, right, bottom = self.box(size)
            down = extent[0] / size[0]
            across = extent[1] / size[1]
            return self.resample(image, (left * across, top * down, right * across, bottom * down), extent)
        gap = None if self.interpolation == "nearest" else GAP
        box = (0.0, 0.0, extent[1], extent[0])
        whole = _checked(image).resize((wide, tall), INTERPOLATIONS[self.interpolation], box, gap)
        first, start = self.offsets(tall, wide)
        return _planes(whole.crop((start, first, start + self.width, first + self.height)))

    def resample(self, image: Image.Image, box: Box, extent: tuple[float, float]) -> Pixels:
        """The part `box` of an image, at the input's size. Black beyond `extent`, the (height, width) of the picture
        in the image's pixels, which an image that was decoded at a fraction of its size rounds up."""
        gap = None if self.interpolation == "nearest" else GAP
        resampling = INTERPOLATIONS[self.interpolation]
        image = _checked(image)
        left, top, right, bottom = box
        across = self.width / (right - left)  # the input's pixels in one of the image's
        down = self.height / (bottom - top)
        before = (round(max(0.0, -left) * across), round(max(0.0, -top) * down))
        after = (round(max(0.0, right - extent[1]) * across), round(max(0.0, bottom - extent[0]) * down))
        if before == after == (0, 0):
            return _planes(image.resize((self.width, self.height), resampling, box, gap))
        inside = (self.width - before[0] - after[0], self.height - before[1] - after[1])
        box = (max(0.0, left), max(0.0, top), min(extent[1], right), min(extent[0], bottom))
        padded = Image.new(image.mode, (self.width, self.height))
        padded.paste(image.resize(inside, resampling, box, gap), before)
        return _planes(padded)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """(batch, height, width, 3) in 0..255, red, green and blue → (batch, channels, height, width) float32, on the
        device of `pixels`."""
        mean = torch.tensor(self.mean, device=pixels.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(-1, 1, 1)
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        if self.colours == "BGR":
            planes = planes.flip(1)
        elif self.colours == "L":
            luma = torch.tensor(LUMA, device=pixels.device).view(3, 1, 1)
            planes = (planes * luma).sum(dim=1, keepdim=True)
        return planes.mul_(1 / (255 * std)).sub_(mean / std)

    def tensor(self, image: Image.Image) -> torch.Tensor:
        """An upright RGB picture → (channels, height, width) float32, normalised."""
        return self.normalise(torch.from_numpy(self.pixels(image).copy())[None])[0]

    def drawn(self, tensor: torch.Tensor) -> Image.Image:
        """(channels, height, width), normalised → the picture it was made of, as far as values in 0..1 go."""
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        planes = tensor.detach().float().cpu() * std + mean
        planes = planes.flip(0) if self.colours == "BGR" else planes.expand(3, -1, -1)
        return Image.fromarray(planes.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy())

    def at_size(self, height: int, width: int) -> Self:
        """The same for an input of another size: what lies around it stays the same share."""
        if self.resized is None:
            return replace(self, height=height, width=width)
        tall = max(1, round(self.resized[0] * height / self.height))
        wide = max(1, round(self.resized[1] * width / self.width))
        return replace(self, height=height, width=width, resized=(tall, wide))

    def whole(self) -> Self:
        """The same with the whole picture squashed to the input."""
        return replace(self, mode="squash", resized=None)

    def grid(self, size: Size, rows: int, columns: int, prefix: int = 1) -> PatchGrid:
        """Where a network's rows × columns patches lie in a picture of this (height, width)."""
        return PatchGrid(rows, columns, prefix, (int(size[0]), int(size[1])), self.box(size))

    def as_json(self) -> dict[str, Any]:
        """All settings, as JSON has them."""
        defaults = {each.name: each.default for each in fields(self)}
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
        return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What `as_json` gave. Raises `DataError` when something is missing, unknown or senseless."""
        try:
            tuples = {name: tuple(stored[name]) for name in ("mean", "std", "resized") if stored.get(name) is not None}
            if "mean" not in tuples or "std" not in tuples:
                raise KeyError("mean" if "mean" not in tuples else "std")
            return cls(**{**stored, **tuples})
        except (KeyError, TypeError, UsageError) as error:
            raise DataError(f"the stored preparation of pictures cannot be used: {error}") from error


def _checked(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGB", "F"):
        raise DataError(f"a picture of mode {image.mode} came where RGB is needed; read it with open_picture")
    return image


def _planes(image: Image.Image) -> Pixels:
    """(height, width, 3); of levels without what a filter adds beyond black and white, as Pillow does for 8 bits."""
    values = np.asarray(image)
    return values if image.mode == "RGB" else np.repeat(np.clip(values, 0, 255)[..., None], 3, axis=2)


def read_pixels(source: Source, preparation: Preparation, max_pixels: int | None = None) -> tuple[Pixels, Size]:
    """A picture → ((height, width, 3) as the network sees it, (height, width) of the user's upright picture).

    The same as `preparation.pixels(open_picture(source))` to within a grey level or so, but large JPEGs are decoded at
    a fraction of their size, and grey of more than 8 bits keeps them: uint8 else, float32 then. Raises `DataError`
    naming the picture.
    """
    image, size, divided = open_reduced(source, preparation.smallest, max_pixels, deep=True)
    return preparation.fitted(image, size, (size[0] / divided, size[1] / divided)), size


@dataclass(frozen=True)
class Batch:
    """Some pictures, prepared: `indices` into the given pictures, `pixels` (batch, height, width, 3) uint8 (float32 in
    0..255 where one of them is grey of more than 8 bits), and the (height, width) of each of the user's upright
    pictures."""

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
    max_pixels: int | None = None,
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

    ahead = announced(pictures, lambda picture: picture.opener)
    with closing(in_order(attempt, ahead, workers, ahead=2 * batch_size)) as results:
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


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Generator[Result, None, None]:
    """`map` in threads, in order, never more than `ahead` results in waiting; closing it stops the threads.

    What `items` raise comes after the results of those before it, as without threads.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="regard-pictures")
    waiting: deque[Future[Result]] = deque()

    def submitted() -> Iterator[Future[Result]]:
        try:
            for item in items:
                yield pool.submit(function, item)
        except (Exception, KeyboardInterrupt) as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            yield failed

    try:
        for future in submitted():
            waiting.append(future)
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
