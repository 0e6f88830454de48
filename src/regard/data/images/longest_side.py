"""Pictures for networks that take any shape: the aspect is kept and the longest side brought to so many pixels.

Unlike a `Preparation`, whose input has one size, this one gives every picture a size of its own. Pictures of equal
shape can go through a network together; others only when padded, which changes what a network sees at the border.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regard.data.images.decode import Size
from regard.data.images.preparation import Pixels, Preparation
from regard.errors import DataError, UsageError


@dataclass(frozen=True)
class LongestSide:
    """The whole picture with its longest side at `longest` pixels, resized bicubically, values in [-1, 1].

    Both sides are truncated to whole pixels after a multiplication in float64, exactly as CATR's own script does: for
    some sizes (a longest side of 275 or 1100 pixels, say) the product lies just below the whole number, and the
    longest side comes out one pixel short.
    """

    longest: int = 299

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise UsageError(f"a longest side of {self.longest} pixels is none; it must be at least 1 (299 is usual)")

    def size(self, size: Size) -> Size:
        """(height, width) of a picture → (height, width) of the input. Raises `DataError` where a side vanishes."""
        scale = self.longest / max(size)
        height, width = (int(side * scale) for side in size)
        if min(height, width) < 1:
            raise DataError(
                f"a picture of {size[0]} × {size[1]} pixels (height × width) is too thin: with its longest side at "
                f"{self.longest} nothing is left of the other; crop it so that the sides differ less than "
                f"{self.longest} times"
            )
        return height, width

    def pixels(self, image: Image.Image) -> Pixels:
        """An upright RGB picture → (height, width, 3) uint8 as the network sees it, before normalisation."""
        if image.mode != "RGB":
            raise DataError(f"a picture of mode {image.mode} came where RGB is needed; read it with open_picture")
        height, width = self.size((image.height, image.width))
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))

    def padded(self, pixels: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, height, width, 3) uint8 of which `sizes` (batch, 2) are pictures → normalised (batch, 3, height,
        width) with zeros on the padding, and its mask (batch, height, width) bool, as `stack` gives them."""
        height, width = pixels.shape[1:3]
        down = torch.arange(height, device=pixels.device)[None, :, None] >= sizes[:, 0, None, None]
        across = torch.arange(width, device=pixels.device)[None, None] >= sizes[:, 1, None, None]
        mask = down | across
        planes = Preparation(height, width, mode="squash").normalise(pixels)
        return planes.masked_fill(mask[:, None], 0.0), mask

    def as_json(self) -> dict[str, Any]:
        return {"longest": self.longest}

    def tensor(self, image: Image.Image) -> Tensor:
        """An upright RGB picture → (3, height, width) float32, normalised."""
        pixels = torch.from_numpy(self.pixels(image).copy())
        return Preparation(pixels.shape[0], pixels.shape[1], mode="squash").normalise(pixels[None])[0]


def alike(shapes: Sequence[Size], most: int) -> list[list[int]]:
    """Indices of pictures that may go together: equal shapes, at most `most` at a time, in order of appearance."""
    if most < 1:
        raise UsageError(f"batch size {most} is out of range; it must be at least 1")
    groups: dict[Size, list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault((int(shape[0]), int(shape[1])), []).append(index)
    return [group[start : start + most] for group in groups.values() for start in range(0, len(group), most)]


def stack(pictures: Sequence[Tensor], padded: bool = False) -> tuple[Tensor, Tensor | None]:
    """Pictures (3, height, width) → (batch, 3, height, width), and the mask of the padding where there is any.

    Pictures of several shapes are padded at the right and bottom with zeros (mid grey) to the largest height and
    width, but only with `padded`; the mask is (batch, height, width) bool, true on padding. Raises `UsageError`.
    """
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[0] != 3:
            raise UsageError(f"a picture is (3, height, width); came {tuple(picture.shape)}")
    shapes = sorted({(int(picture.shape[1]), int(picture.shape[2])) for picture in pictures})
    if not shapes:
        raise UsageError("no pictures came; give at least one")
    if len(shapes) == 1:
        return torch.stack(list(pictures)), None
    if not padded:
        first = ", ".join(f"{height} × {width}" for height, width in shapes[:3])
        more = ", ..." if len(shapes) > 3 else ""
        raise UsageError(
            f"the pictures have {len(shapes)} shapes ({first}{more}), and padding changes what is seen at the "
            "border; give pictures of one shape at a time, or padded=True"
        )
    return _padded(pictures, max(height for height, _ in shapes), max(width for _, width in shapes))


def _padded(pictures: Sequence[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
    pixels = pictures[0].new_zeros(len(pictures), 3, height, width)
    mask = torch.ones(len(pictures), height, width, dtype=torch.bool, device=pixels.device)
    for index, picture in enumerate(pictures):
        tall, wide = picture.shape[1:]
        pixels[index, :, :tall, :wide] = picture
        mask[index, :tall, :wide] = False
    return pixels, mask
