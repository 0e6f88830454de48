"""Objects of training pictures in front of the backgrounds of others, so that neither tells of the other.

Each composite is a function of (seed, epoch, index) alone, after ForAug (Nauen et al. 2025, arXiv 2503.09399): the
object is cut out, its size and place are drawn, and the background is that of a picture whose own object is filled.
The donor's class is drawn first, evenly, and without regard to the object's: ground and class are independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image

from regard.data.dataset import Dataset
from regard.data.images.augment import Changes, apply
from regard.data.images.decode import upright_size
from regard.data.images.preparation import Pixels, Preparation, read_pixels
from regard.data.regions import Regions
from regard.errors import DataError
from regard.measurement.localisation.objects import input_masks
from regard.measurement.reliance.compositing import LENDABLE, as_shown, background_alone, fillable
from regard.progress import Progress, silent
from regard.training.loader import Loader

STREAM = 0xF0A6  # keeps the numbers that make composites apart from those that order and change pictures
SCALES = (0.7, 1.3)
"""The sides of an object by what they are in its own picture; never larger than the picture."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Cutouts:
    """Where the objects of pictures are at the network's input: `masks` (pictures, height · width / 8), bits; `usable`
    (pictures,) have an object that is not everywhere; `lenders` are, by class, the pictures that lend a background.

    `why` says of the first picture that is not usable what it lacks.
    """

    masks: NDArray[np.uint8]
    shape: tuple[int, int]
    usable: Bools
    lenders: tuple[NDArray[np.int64], ...]
    why: str = ""

    @classmethod
    def of(cls, part: Dataset, regions: Regions, preparation: Preparation, progress: Progress = silent) -> Self:
        """Those of a part, read one by one. Raises `DataError` where no picture can lend its background."""
        shape = (preparation.height, preparation.width)
        masks = np.zeros((len(part), -(-shape[0] * shape[1] // 8)), np.uint8)
        usable, lendable = np.zeros((2, len(part)), bool)
        reasons = []
        with progress("cutting out objects", len(part)) as advance:
            for index, picture in enumerate(part.pictures):
                objects = input_masks(regions, [picture], [upright_size(picture.opener)], preparation)
                masks[index] = np.packbits(objects.masks[0])
                usable[index] = objects.usable[0]
                lendable[index] = usable[index] and bool(fillable(torch.from_numpy(objects.masks), LENDABLE)[0])
                if objects.why[0]:
                    reasons.append(f"of {picture.name}: {objects.why[0].partition(';')[0]}")
                advance(1)
        labels = part.labels
        lenders = tuple(np.flatnonzero(lendable & (labels == label)) for label in np.unique(labels[lendable]))
        if not lenders:
            raise DataError(
                f"no picture of {part.source} has an object with enough around it to lend its background"
                f"{f' ({reasons[0]})' if reasons else ''}; give --masks that go with these pictures"
            )
        return cls(masks, shape, usable, lenders, reasons[0] if reasons else "")

    def among(self, chosen: Sequence[int]) -> Self:
        """Those of some of the pictures; what lies outside of these lends nothing."""
        place = np.full(len(self.usable), -1)
        place[chosen] = np.arange(len(chosen))
        moved = (place[each] for each in self.lenders)
        lenders = tuple(each[each >= 0] for each in moved if (each >= 0).any())
        return type(self)(self.masks[chosen], self.shape, self.usable[chosen], lenders, self.why)

    def mask(self, index: int) -> Bools:
        """(height, width): the object of a picture."""
        return np.unpackbits(self.masks[index], count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)

    def donor(self, random: Generator) -> int:
        """The picture whose background is taken: first a class, then one of it."""
        members = self.lenders[int(random.integers(len(self.lenders)))]
        return int(members[int(random.integers(len(members)))])


@dataclass(frozen=True)
class CompositeLoader(Loader):
    """Composites in the place of pictures; the changes to pictures are made to them. `cutouts` are of the pictures."""

    cutouts: Cutouts | None = None

    def pixels(self, index: int, epoch: int, changes: Changes) -> Pixels:
        assert self.cutouts is not None and isinstance(self.preparation, Preparation)
        random = default_rng((self.seed, epoch, index, STREAM))
        donor = self.cutouts.donor(random)
        picture, background = (  # in 8 bits, as Pillow pastes them
            np.rint(read_pixels(self.pictures[each].opener, self.preparation)[0]).astype(np.uint8)
            for each in (index, donor)
        )
        ground = without_object(background, self.cutouts.mask(donor))
        if random.random() < 0.5:
            ground = np.ascontiguousarray(ground[:, ::-1])
        return apply(composed(picture, self.cutouts.mask(index), ground, random), self.augmentation, changes)


def without_object(picture: Pixels, mask: Bools) -> Pixels:
    """(height, width, 3) uint8 with the box of the object filled from around it."""
    filled = background_alone(as_shown(torch.tensor(picture)[None]), torch.from_numpy(mask)[None])
    return np.asarray((filled[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy())


def composed(picture: Pixels, mask: Bools, ground: Pixels, random: Generator) -> Pixels:
    """The object of a picture (height, width, 3), its size and place drawn, on a ground of that shape."""
    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1)
    wide, tall = box[2] - box[0], box[3] - box[1]
    height, width = mask.shape
    scale = min(float(random.uniform(*SCALES)), height / tall, width / wide)
    size = (min(width, max(1, round(wide * scale))), min(height, max(1, round(tall * scale))))
    place = (int(random.integers(width - size[0] + 1)), int(random.integers(height - size[1] + 1)))
    thing, cover = (
        Image.fromarray(each).crop(box).resize(size, Image.Resampling.BILINEAR)
        for each in (picture, mask.astype(np.uint8) * 255)
    )
    canvas = Image.fromarray(ground)
    canvas.paste(thing, place, cover)
    return np.asarray(canvas)
