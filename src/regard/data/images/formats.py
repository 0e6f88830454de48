"""Which files are pictures that are read: by their endings or content, decoded in this process.

Pillow's own formats, and two by extras: HEIC (pillow-heif) and DICOM (pydicom).

Formats that Pillow hands to other programs (EPS to Ghostscript, WMF to Windows) are never among them, nor films, nor
what it only recognises.
"""

import io
import struct
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from regard.data.images.dicom import DicomImage, MissingExtraError, is_dicom

FORMATS: dict[str, str] = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",  # MPO, of some phones, comes with JPEG
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".dib",
    "TIFF": ".tif .tiff",
    "PPM": ".pnm .ppm .pgm .pbm .pfm",
    "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
    "AVIF": ".avif .avifs",
    "HEIF": ".heic .heif .hif .heics .heifs",
    "DICOM": ".dcm .dicom",
    "TGA": ".tga .icb .vda .vst",
    "ICO": ".ico",
    "CUR": ".cur",
    "ICNS": ".icns",
    "PCX": ".pcx",
    "PSD": ".psd",
    "QOI": ".qoi",
    "SGI": ".sgi .rgb .rgba .bw",
    "SUN": ".ras",
    "DDS": ".dds",
    "XBM": ".xbm",
    "XPM": ".xpm",
}
"""What is read: Pillow's name of the format, and the endings (in any case) of its files."""

SUFFIXES = frozenset(suffix for endings in FORMATS.values() for suffix in endings.split())

WITHOUT_SIGNATURE = frozenset({"TGA", "DIB"})
"""Formats that other files can be mistaken for: without their ending they are not looked for."""

READ = "JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, AVIF, HEIC, DICOM, PNM, TGA, ICO and the others of docs/data.md"
"""The formats as messages name them."""

_BY_EXTRAS = ("HEIF", "DICOM")
_HEVC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AV1 = frozenset({b"avif", b"avis"})

_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_LONGEST = 1 << 19
"""Bytes of one text or profile of a PNG that are handed on to Pillow, which takes a mebibyte for an attack."""
_ALL_TEXTS = 1 << 24
"""The same for all of them together."""
_pillow_lock = threading.Lock()


def is_picture(file: Path) -> bool:
    """Whether a file counts as a picture: by its ending, or by its content where that is missing or unknown."""
    return file.suffix.lower() in SUFFIXES or _has_content(file)


def _has_content(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            read_header(stream, FORMATS.keys() - WITHOUT_SIGNATURE)
    except MissingExtraError:
        return True
    except Exception:  # what is no picture raises anything
        return False
    return True


def read_header(stream: BinaryIO, formats: Iterable[str] = FORMATS) -> Image.Image:
    """The picture in a stream, not yet decoded. Raises Pillow's `UnidentifiedImageError` for another format, and
    `RefusedError` for one that cannot be read here.

    Pillow's own warning about size is off: a smaller limit of ours is to be checked next.
    """
    head = stream.read(132)
    stream.seek(0)
    if "DICOM" in formats and is_dicom(head):
        return DicomImage(stream)
    if "HEIF" in formats and _is_heif(head):
        return _read_heif(stream)
    stream = _without_long_texts(stream)
    with one_without_limit():
        return Image.open(stream, formats=[name for name in FORMATS if name in set(formats).difference(_BY_EXTRAS)])


def _is_heif(head: bytes) -> bool:
    """Whether a file that begins so says that its pictures are of HEVC; those of AV1 are Pillow's."""
    if head[4:8] != b"ftyp":
        return False
    size = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, min(size, len(head)), 4))}
    return bool(brands & _HEVC) and not brands & _AV1


def _read_heif(stream: BinaryIO) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise MissingExtraError("HEIC", "heic") from None
    return HeifImageFile(stream)


@contextmanager
def one_without_limit() -> Iterator[None]:
    """Pillow's own limit of size is off inside.

    That switch belongs to the process, as the module for warnings does, so the threads that read pictures take turns
    here; for a header it is a fraction of a millisecond.
    """
    with _pillow_lock:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = sys.maxsize  # not None: a check in another thread, as of a crop, reads it twice
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _without_long_texts(stream: BinaryIO) -> BinaryIO:
    """A stream of the same picture: of a PNG with long texts or profiles, which Pillow refuses, one without them.

    Neither is needed for the pixels. What fits stays, as a camera's notes say which way is up.
    """
    try:
        if stream.read(8) != b"\x89PNG\r\n\x1a\n":
            return stream
        chunks = list(_chunks(stream))
        room = _ALL_TEXTS
        left_out = set()
        for kind, start, stop in chunks:
            if kind in _TEXTS:
                stream.seek(start + 8)
                size = _text_size(kind, stream.read(stop - start - 12))
                room -= min(size, _LONGEST)
                if size >= _LONGEST or room < 0:
                    left_out.add(start)
        if not left_out:
            return stream
        stream.seek(0)
        parts = [stream.read(8)]
        for _, start, stop in chunks:
            if start not in left_out:
                stream.seek(start)
                parts.append(stream.read(stop - start))
        return io.BytesIO(b"".join(parts))
    finally:
        stream.seek(0)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG behind its signature, as far as they are whole: kind, and where each begins and ends."""
    start = 8
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, start, start + length + 12
        if kind == b"IEND":
            return
        start += length + 12
        stream.seek(start)


def _text_size(kind: bytes, content: bytes) -> int:
    """Bytes of a text or profile once unpacked, but no more than are of interest."""
    keyword, _, rest = content.partition(b"\0")
    if kind == b"iTXt":
        is_packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    else:
        is_packed, rest = kind != b"tEXt", rest[1:] if kind != b"tEXt" else rest
    if not is_packed:
        return len(content)
    try:
        return len(keyword) + len(zlib.decompressobj().decompress(rest, _LONGEST))
    except zlib.error:
        return len(content)
