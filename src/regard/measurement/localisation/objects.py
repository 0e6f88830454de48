"""Where the objects of pictures are in what a network sees: masks at its input, and why some pictures have none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Picture
from regard.data.images.preparation import Preparation
from regard.data.openers import Opener
from regard.data.regions import Bools, PictureRegions, Regions, Size, upright_mask
from regard.errors import DataError
from regard.measurement.localisation.measures import Cover, on_object
from regard.records.display import Readable, counted


@dataclass(frozen=True, repr=False)
class InputMasks(Readable):
    """Masks (pictures, height, width) bool of the objects, as the network's input has them, false where there is none.

    `why` has for each picture None, or why it is no use to a measure: it has no mask, one of another size, or the
    object is nowhere or everywhere in what the network sees.
    """

    masks: Bools
    why: tuple[str | None, ...]

    def __str__(self) -> str:
        return f"{counted(len(self.why), 'picture')}, {int(self.usable.sum())} with an object and a background"

    @property
    def usable(self) -> Bools:
        """(pictures,) bool: those with an object that is not everywhere."""
        return np.array([reason is None for reason in self.why], bool)


def input_masks(
    regions: Regions, pictures: Sequence[Picture], sizes: Sequence[Size], preparation: Preparation
) -> InputMasks:
    """The masks of a batch of pictures of these upright `sizes` (height, width), in what `preparation` keeps of them.

    No mask that is missing or wrong stops the others: `why` says it of its picture.
    """
    masks = np.zeros((len(pictures), preparation.height, preparation.width), bool)
    reasons: list[str | None] = []
    for row, (picture, size) in enumerate(zip(pictures, sizes, strict=True)):
        picture_regions = regions.find(picture.name)
        if picture_regions is None:
            reasons.append(f"{regions.name} has no mask of it")
            continue
        try:
            masks[row] = input_mask(picture_regions, picture.opener, size, preparation)
        except DataError as error:
            folder = str(getattr(regions, "folder", regions.name))
            reasons.append(str(error).replace(folder, regions.name))
            continue
        if not masks[row].any():
            reasons.append("the object is not in what the network sees")
        else:
            reasons.append("the object is all that the network sees" if masks[row].all() else None)
    return InputMasks(masks, tuple(reasons))


def input_mask(regions: PictureRegions, source: Opener, size: Size, preparation: Preparation) -> Bools:
    """(height, width) bool at the network's input: on the object where at least half of the pixel is.

    A mask of the picture's shape at another size is scaled. Raises `DataError` for one of another shape.
    """
    mask = upright_mask(regions.mask(regions.objects), source)
    height, width = mask.shape
    if abs(height * size[1] - width * size[0]) > max(size):  # more than rounding of one side to whole pixels
        raise DataError(
            f"its mask has {height} × {width} pixels and the picture {size[0]} × {size[1]}; give masks of the "
            "pictures' size, or of the same shape"
        )
    left, top, right, bottom = preparation.box(size)
    down = height / size[0]
    across = width / size[1]
    box = (left * across, top * down, right * across, bottom * down)
    return on_object(mask, box, preparation.height, preparation.width).inside > 0


def input_cover(mask: NDArray[Any], rows: int, columns: int) -> Cover:
    """How the rows × columns cells of a map lie on a mask (height, width) of the network's input, in its pixels."""
    height, width = mask.shape
    down = _overlaps(height, rows)
    across = _overlaps(width, columns)
    area = np.outer(down.sum(axis=1), across.sum(axis=1))
    return Cover(area, down @ np.asarray(mask, np.float64) @ across.T)


def _overlaps(pixels: int, count: int) -> NDArray[np.float64]:
    """(count, pixels): how much of each pixel lies in each cell, so that all of them count once."""
    edges = np.arange(count + 1) * (pixels / count)
    left = np.arange(pixels)
    return np.maximum(np.minimum(edges[1:, None], left + 1) - np.maximum(edges[:-1, None], left), 0)
