"""Decoding pictures as people see them: upright, in colour, and refusing what is broken or enormous by name.

Nothing here needs torch, so that splitting and hashing pictures stays light. `regard.data.images.preparation` hands on
`open_picture`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from regard.data import MAX_PIXELS
from regard.data.images.dicom import RefusedError
from regard.data.images.formats import READ, one_without_limit, read_header
from regard.data.images.grey import ends_of, ends_within, fixed_ends, is_deep, levels, numbers
from regard.data.images.pages import check_size, choose_page
from regard.data.openers import Opener, Source, opener_of
from regard.errors import DataError

STRIP = 1 << 22
"""Pixels of a picture above the limit that are turned into colour at a time."""

Size = tuple[int, int]

UPRIGHT = {  # the EXIF orientation → what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(source: Source, max_pixels: int | None = None) -> Image.Image:
    """The picture in a file or in memory: mode RGB, upright as its EXIF orientation says, the first frame of an
    animation.

    Transparent parts lie on white. Grey of more than 8 bits is scaled to 8, as `to_rgb` says. Colour profiles are
    not applied, as training pipelines of the field do not apply them. Raises `DataError` naming the picture when it is
    missing, empty, broken, no picture, or has more than `max_pixels` pixels (seen in its header, before decoding), by
    default those of its opener. One of more than MAX_PIXELS, and any such JPEG, comes at the largest of 1/2, 1/4 or 1/8
    of its size that has no more.
    """
    return open_reduced(source, lambda size: _fitting(size, size, MAX_PIXELS), max_pixels)[0]


def open_reduced(
    source: Source, smallest: Callable[[Size], Size], max_pixels: int | None = None, deep: bool = False
) -> tuple[Image.Image, Size, int]:
    """As `open_picture`, but it may come at 1/2, 1/4 or 1/8 of its size: a JPEG for a fraction of the decoding time,
    any other above MAX_PIXELS for a fraction of the memory.

    `smallest` maps the upright picture's full (height, width) to the least (height, width) that will do. With `deep`
    grey of more than 8 bits comes in mode F, levels from 0.0 to 255.0, instead of RGB. Returns the picture, its full
    (height, width), and by what it was divided: 1, 2, 4 or 8 (sizes are rounded up).
    """
    opener = opener_of(source)
    most = getattr(opener, "max_pixels", MAX_PIXELS) if max_pixels is None else max_pixels
    with _naming(opener), opener.open() as content:
        image = content if isinstance(content, Image.Image) else _read_header(opener, content)
        choose_page(opener, image, most)
        width, height = image.size
        is_jpeg = image.format in ("JPEG", "MPO")
        large = width * height > min(most, MAX_PIXELS)
        # Of a JPEG a fraction is decoded, within bounded memory; a progressive one holds all its coefficients.
        factor = 1 if not is_jpeg else 4 if image.info.get("progressive") else 64
        if width * height > most * factor:
            check_size(opener, image.size, most)
        full = (height, width)
        divided = 1
        with one_without_limit() if large else nullcontext():  # one at a time, however many threads read
            if is_jpeg:
                turned = _orientation(image)
                full = full[::-1] if turned >= 5 else full
                least = _fitting(full, smallest(full), min(most, MAX_PIXELS)) if large else smallest(full)
                divided = _draft(image, turned, least, large)
                check_size(opener, image.size, most)
            image.load()
            turned = _orientation(image)
            if large and not is_jpeg:
                full = image.size if turned >= 5 else image.size[::-1]
                least = smallest(full)
                divided = next((by for by in (8, 4, 2) if full[0] // by >= least[0] and full[1] // by >= least[1]), 1)
                result = _in_strips(image, divided, deep)
            elif deep and is_deep(image):
                result = to_levels(image, ends_of(image))
            else:
                result = to_rgb(image)
        if turned in UPRIGHT:
            result = result.transpose(UPRIGHT[turned])
        elif result is image and len(_exif(image)):
            result = image.copy()
        result.info = {}  # EXIF, comments and profiles must not travel into anything that is shared
        return result, (full if divided > 1 else (result.height, result.width)), divided


def stored_orientation(source: Source) -> tuple[Size, int]:
    """The (height, width) of a picture as its pixels are stored, and the EXIF orientation, 1 to 8, that turns it."""
    opener = opener_of(source)
    with _naming(opener), opener.open() as content:
        image = content if isinstance(content, Image.Image) else _read_header(opener, content)
        width, height = image.size
        turned = _orientation(image)
        if turned >= 5 and image.format == "TIFF":  # Pillow turns these itself, and says so from the beginning
            width, height = height, width
        return (height, width), turned


def upright_size(source: Source) -> Size:
    """The (height, width) of a picture turned as its EXIF orientation says."""
    (height, width), orientation = stored_orientation(source)
    return (height, width) if orientation < 5 else (width, height)


def drawable(source: Source, longest: int) -> Image.Image:
    """A picture to be drawn at `longest` pixels or less: whole, but of a large JPEG only a fraction is decoded."""

    def smallest(size: Size) -> Size:
        share = min(1.0, 2 * longest / max(size))
        return math.ceil(size[0] * share), math.ceil(size[1] * share)

    return open_reduced(source, smallest)[0]


def thumbnail(source: Source, longest: int) -> Image.Image:
    """The same, made small, to be kept beside others."""
    image = drawable(source, longest)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return image


def to_rgb(image: Image.Image, ends: tuple[float, float] | None = None) -> Image.Image:
    """Any picture of Pillow's in mode RGB, as a person would see it.

    Transparent parts lie on white. Grey of more than 8 bits is scaled so that `ends` are black and white, where None
    those of `ends_of`.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if is_deep(image):
        grey = np.rint(levels(image, ends or ends_of(image))).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def to_levels(image: Image.Image, ends: tuple[float, float]) -> Image.Image:
    """A grey picture of more than 8 bits in mode F: 0.0 is black and 255.0 white, nothing rounded."""
    return Image.fromarray(levels(image, ends).astype(np.float32))


def _in_strips(image: Image.Image, divided: int, deep: bool) -> Image.Image:
    """What `to_rgb` or, of `deep` ones, `to_levels` gives, at 1 / `divided` of the size, without a second copy of the
    whole picture."""
    width, height = image.size
    rows = max(1, STRIP // (width * divided)) * divided
    boxes = [(0, top, width, min(height, top + rows)) for top in range(0, height, rows)]
    ends = None
    if is_deep(image) and (ends := fixed_ends(image)) is None:
        ranges = [(float(part.min()), float(part.max())) for part in (numbers(image.crop(box)) for box in boxes)]
        ends = ends_within(image, min(0.0, *(low for low, _ in ranges)), max(0.0, *(high for _, high in ranges)))
    keeps = deep and ends is not None
    whole = Image.new("F" if keeps else "RGB", (-(-width // divided), -(-height // divided)))
    for box in boxes:
        part = image.crop(box)
        strip = to_levels(part, ends) if deep and ends is not None else to_rgb(part, ends)
        whole.paste(strip if divided == 1 else strip.reduce(divided), (0, box[1] // divided))
    return whole


def _read_header(opener: Opener, stream: BinaryIO) -> Image.Image:
    """The picture, not yet decoded."""
    try:
        return read_header(stream)
    except UnidentifiedImageError:
        stream.seek(0)
        raise DataError(_not_a_picture(opener, empty=not stream.read(1))) from None


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (as stored) where there is none."""
    turned = _exif(image).get(0x0112, 1)
    return turned if isinstance(turned, int) else 1


def _exif(image: Image.Image) -> Mapping[int, Any]:
    """What the camera noted; nothing when that is broken, which says nothing about the picture itself."""
    try:
        return image.getexif()
    except Exception:  # a broken EXIF raises anything
        return {}


def _fitting(full: Size, least: Size, max_pixels: int) -> Size:
    """`least`, or the size of the first fraction that has no more than `max_pixels` pixels where that is smaller."""
    height, width = full
    fits = (each for each in (1, 2, 4, 8) if math.ceil(height / each) * math.ceil(width / each) <= max_pixels)
    divisor = next(fits, 8)
    return max(1, min(least[0], height // divisor)), max(1, min(least[1], width // divisor))


def _draft(image: Image.Image, turned: int, smallest: Size, large: bool = False) -> int:
    """Ask the JPEG decoder for a picture of 1/1 to 1/8 the size, not below `smallest`; return the divisor.

    A turned picture whose sides the divisor might not divide stays whole: its odd pixels would lie at the wrong end.
    One too large to stay whole does not: a part of a pixel is worth less than the picture.
    """
    width, height = image.size
    if turned != 1 and (width % 8 or height % 8) and not large:
        return 1
    size = smallest if turned >= 5 else smallest[::-1]
    drafted = image.draft(None, size)
    return 1 if drafted is None else round(width / drafted[1][2])


@contextmanager
def _naming(opener: Opener) -> Iterator[None]:
    """Turn whatever a picture can cause into a `DataError` that names it."""
    try:
        yield
    except (DataError, MemoryError):  # too little memory says nothing about the picture
        raise
    except FileNotFoundError:
        raise DataError(f"there is no picture {opener}; check the path") from None
    except (PermissionError, IsADirectoryError) as error:
        raise DataError(f"{opener} cannot be opened: {error.strerror}") from error
    except RefusedError as error:
        raise DataError(f"{opener} {str(error).replace('{name}', str(opener))}") from error
    except Exception as error:  # a broken file raises anything: OSError, SyntaxError, struct.error, ValueError, ...
        why = str(error).partition(". ")[0][:120] or type(error).__name__  # not what it quotes of a patient's file
        raise DataError(
            f"{opener} is a broken picture ({why}); replace it, remove it, or skip such with --skip-bad"
        ) from (error)


def _not_a_picture(opener: Opener, empty: bool) -> str:
    if empty:
        return f"{opener} is empty (0 bytes); replace it, remove it, or skip such with --skip-bad"
    return (
        f"{opener} is not a picture, whatever its name says; {READ} are read; "
        "replace it, remove it, or skip such with --skip-bad"
    )
