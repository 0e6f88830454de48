"""Which page of a picture file with several is read, and how many pixels that may have."""

import logging
from contextlib import suppress

from PIL import Image

from regard.data.openers import Opener
from regard.errors import DataError

log = logging.getLogger("regard")

_REDUCED = 1  # a bit of NewSubfileType: a page that is another one, smaller
_PAGES_TRIED = 8
_warned: set[str] = set()


def choose_page(opener: Opener, image: Image.Image, max_pixels: int) -> None:
    """Go to the page that the opener names; where it names none, the first, with a warning once in a process if a TIFF
    has more. Raises `DataError` where there is no such page."""
    page = getattr(opener, "page", None)
    if page is None:
        if image.format == "TIFF" and not _warned and _has_more(image):
            _warned.add(str(opener))
            log.warning(
                f"{opener} has several pages, of which the first is read, as of all like it; name another by its "
                f"number from 1, as in {opener}#page=2"
            )
        return
    if image.format not in ("TIFF", "MPO"):  # the others may decode all frames before the one
        check_size(opener, image.size, max_pixels)
    try:
        image.seek(page - 1)
    except EOFError:
        count = 0  # Pillow's own count is one too many once a page was sought behind the last
        with suppress(EOFError):
            for count in range(page):
                image.seek(count)
        raise DataError(
            f"{opener}: there is no page {page}; the file has {count}, {'1' if count == 1 else f'1 to {count}'}"
        ) from None


def _has_more(image: Image.Image) -> bool:
    """Whether a TIFF has another page that is no smaller copy of one."""
    try:
        for page in range(1, _PAGES_TRIED):
            image.seek(page)
            if not image.tag_v2.get(254, 0) & _REDUCED:  # type: ignore[attr-defined]
                return True
    except Exception:  # the end, or a broken page: that says nothing about the first
        return False
    finally:
        image.seek(0)
    return False


def check_size(opener: Opener, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise DataError(
            f"{opener} has {width:,} × {height:,} = {width * height:,} pixels, more than the {max_pixels:,} that are "
            f"read; make it smaller, remove it, or allow it with --max-pixels {width * height} (in Python "
            "max_pixels), which takes about 5 bytes of memory a pixel, of WebP 16"
        )
