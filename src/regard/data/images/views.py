"""Several views of one picture: the corners and the centre of what a preparation resizes it to."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from regard.data.images.decode import Size
from regard.data.images.preparation import Pixels, Preparation
from regard.errors import UsageError

CORNERS = ((False, False), (False, True), (True, False), (True, True))
"""(bottom, right), in the order of torchvision's FiveCrop."""


@dataclass(frozen=True)
class Corner(Preparation):
    """The same preparation, which takes a corner of the resized picture in the place of its centre."""

    bottom: bool = False
    right: bool = False

    def offsets(self, tall: int, wide: int) -> tuple[int, int]:
        return (tall - self.height) * self.bottom, (wide - self.width) * self.right


@dataclass(frozen=True)
class FiveCrops(Preparation):
    """Four corners and the centre, as torchvision's FiveCrop: pixels are (5, height, width, 3), the centre last."""

    @classmethod
    def of(cls, preparation: Preparation) -> Self:
        """Raises `UsageError` where the network is shown the whole picture, which leaves nothing to crop."""
        if preparation.mode == "squash" and preparation.resized is None:
            raise UsageError(
                "views by crops are corners of what the preparation of pictures cuts off, and this network is "
                "shown the whole picture; give the views `flip`"
            )
        return cls(**vars(preparation))

    def fitted(self, image: Image.Image, size: Size, extent: tuple[float, float]) -> Pixels:
        corners = [Corner(**vars(self), bottom=bottom, right=right) for bottom, right in CORNERS]
        return np.stack([*(each.fitted(image, size, extent) for each in corners), super().fitted(image, size, extent)])
