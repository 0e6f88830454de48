"""Small copies of pictures, for pages."""

from collections.abc import Iterable

from PIL import Image

from regard.data.dataset import Dataset
from regard.data.images.decode import open_reduced
from regard.errors import DataError

THUMBNAIL = 320  # longest side, in pixels


def thumbnails(pictures: Dataset, names: Iterable[str], longest: int = THUMBNAIL) -> dict[str, Image.Image]:
    """Small upright copies of the named pictures, by name; one that cannot be read is left out."""

    def smallest(full: tuple[int, int]) -> tuple[int, int]:
        """Twice as large as it becomes, as what a JPEG is reduced by is coarse."""
        share = min(1.0, 2 * longest / max(full))
        return max(1, round(full[0] * share)), max(1, round(full[1] * share))

    chosen = set(names)
    images = {}
    for picture in pictures.pictures:
        if picture.name in chosen:
            try:
                image, _, _ = open_reduced(picture.opener, smallest)
            except DataError:
                continue
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
            images[picture.name] = image
    return images
