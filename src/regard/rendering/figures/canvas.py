"""What all figures share: ink, margins, pictures and maps of a size, colour bars, and the bytes of files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.errors import DataError
from regard.records import Heatmap
from regard.rendering import colour
from regard.rendering.lettering import number

INK = (26, 28, 33)
FAINT = (104, 109, 118)
PAPER = (255, 255, 255)
MARGIN = 20
GAP = 14
TILE = 420
"""The longer side of a tile of a panel, in pixels, as those of margin and gap."""
QUALITY = 92


def png(picture: Image.Image, compression: int = 2) -> bytes:
    """A picture as PNG bytes with nothing but its pixels in them: no EXIF, colour profile or comment."""
    file = io.BytesIO()
    bare(picture).save(file, "PNG", compress_level=compression)
    return file.getvalue()


def jpeg(picture: Image.Image) -> bytes:
    """The same as JPEG, at which no difference to the PNG shows: a third of the bytes, in a tenth of the time."""
    file = io.BytesIO()
    bare(picture).save(file, "JPEG", quality=QUALITY, subsampling=0)  # colours as sharp as texts
    return file.getvalue()


def bare(picture: Image.Image) -> Image.Image:
    """The RGB pixels of a picture without anything that came along: EXIF, colour profile, comments, text chunks."""
    rgb = picture.convert("RGB")  # a new picture, to which Pillow hands on nothing but `info`
    rgb.info = {}
    return rgb


def fitted(image: Image.Image, tile: int) -> Image.Image:
    """The picture in RGB with its longer side at `tile` pixels, its aspect kept."""
    share = tile / max(image.size)
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def check_shape(image: Image.Image, heatmap: Heatmap) -> None:
    """Raise `DataError` when a picture (or a thumbnail of it) has not the shape that a map was made for."""
    height, width = heatmap.grid.picture
    share = max(image.size) / max(height, width)
    if abs(image.width - width * share) > 2 + 0.01 * image.width or abs(image.height - height * share) > 2 + (
        0.01 * image.height
    ):
        raise DataError(
            f"the map of {heatmap.name!r} is for a picture of {height} × {width} pixels, but the one given has "
            f"{image.height} × {image.width}; give the picture that was explained, or a thumbnail of it"
        )


def values_on(image: Image.Image, heatmap: Heatmap) -> NDArray[np.float32]:
    """A map at the size of its picture, or of a thumbnail of it, whose shape is checked."""
    check_shape(image, heatmap)
    return heatmap.upsampled((image.height, image.width))


def level_bar(wide: int, colours: str, scale: colour.Limits | None) -> tuple[colour.Bytes, tuple[str, str]]:
    """The colours of a bar (1, wide, 3) and the words at its ends: one colour and one word where all is the same."""
    if scale is None:
        return np.full((1, wide, 3), colour.UNSEEN, np.uint8), ("no values", "")
    if scale[0] == scale[1]:
        return colour.paint(np.full((1, wide), scale[0]), colours), (f"everywhere {number(scale[0])}", "")
    return colour.paint(np.linspace(0, 1, wide)[None], colours, scale=(0, 1)), (number(scale[0]), number(scale[1]))
