"""Small copies of pictures, for pages."""

from collections.abc import Iterable

from PIL import Image

from regard.data.dataset import Dataset
from regard.data.images.decode import open_picture
from regard.errors import DataError

THUMBNAIL = 320  # longest side, in pixels


def thumbnails(pictures: Dataset, names: Iterable[str], longest: int = THUMBNAIL) -> dict[str, Image.Image]:
    """Small upright copies of the named pictures, by name; one that cannot be read is left out."""
    chosen = set(names)
    images = {}
    for picture in pictures.pictures:
        if picture.name in chosen:
            try:
                image = open_picture(picture.opener)
            except DataError:
                continue
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            images[picture.name] = image
    return images
