"""The picture as a viewer draws it."""

import io
import math

from PIL import Image

from regard.data.dataset import Picture
from regard.data.images.decode import Size, open_reduced
from regard.records.inspection import InspectedPicture

LONGEST = 1024
"""Pixels along the longer side of the picture that is drawn, by default."""
QUALITY = 85


def jpeg_of(picture: Picture, longest: int) -> InspectedPicture:
    """The picture as it is drawn, without anything that came along in its file; of a large JPEG a part is decoded."""

    def smallest(size: Size) -> Size:
        share = min(1.0, longest / max(size))
        return math.ceil(size[0] * share), math.ceil(size[1] * share)

    image, _, _ = open_reduced(picture.opener, smallest)
    image.thumbnail((longest, longest), Image.Resampling.HAMMING, reducing_gap=2.0)  # in half of Lanczos' time
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, optimize=True, progressive=True)
    return InspectedPicture(file.getvalue(), image.height, image.width)
