"""How a picture is opened, wherever it lies: a file, bytes, or pixels in memory.

An opener is small and can be pickled, so that it travels to the workers that read; whatever it opens is decoded by
`regard.data.images.decode`. Another place (a member of a shard, an object of a store) is another class like these.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.data import MAX_PIXELS
from regard.errors import DataError, UsageError
from regard.files import file_hash

PAGE = "#page="
"""Between a file with several pictures and the number of one of them, from 1."""

Item = TypeVar("Item")

LEAD = 512
"""How many pictures ahead of who reads them those of a store are asked for."""


class Opener(Protocol):
    """Where a picture lies. As text it is what messages call it: a file's path as it was written."""

    def open(self) -> BinaryIO | Image.Image:
        """The encoded picture as a stream from its beginning, or pixels, which the caller may change and closes."""

    def digest(self) -> str:
        """The SHA-256 of the content, as 64 hexadecimal digits: equal pictures are known by it."""


@dataclass(frozen=True)
class FileOpener:
    """A picture in a file, which is read up to `max_pixels`; of several in it the one on a `page`, from 1."""

    path: Path
    max_pixels: int = MAX_PIXELS
    page: int | None = None

    @classmethod
    def of(cls, path: Path | str) -> Self:
        """The picture that a text means: a file, or, where there is none of that name, a page: `scan.tif#page=3`."""
        path = Path(path)
        name, sign, number = path.name.rpartition(PAGE)
        if not sign or not name or not number.isdecimal() or path.exists():
            return cls(path)
        if int(number) < 1:
            raise DataError(f"{path}: pages count from 1; name page 1 or a later one")
        return cls(path.with_name(name), page=int(number))

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def digest(self) -> str:
        digest = file_hash(self.path)
        return digest if self.page is None else hashlib.sha256(f"{digest}{PAGE}{self.page}".encode()).hexdigest()

    def __str__(self) -> str:
        return str(self.path) if self.page is None else f"{self.path}{PAGE}{self.page}"


@dataclass(frozen=True)
class BytesOpener:
    """An encoded picture in memory; `name` is what messages call it."""

    content: bytes
    name: str = "the picture"

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)

    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class ArrayOpener:
    """Pixels in memory, (height, width, 3) or (height, width): uint8 in 0..255, uint16 in 0..65535, or floats in 0..1.

    Raises `DataError` for an array of another shape, dtype or range.
    """

    array: NDArray[Any]
    name: str = "the array"

    def __post_init__(self) -> None:
        shape = self.array.shape
        dtype = self.array.dtype
        if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or 0 in shape:
            raise DataError(f"{self.name} has the shape {shape}; a picture is (height, width, 3) or (height, width)")
        if dtype not in (np.uint8, np.uint16) and dtype.kind != "f":
            raise DataError(
                f"{self.name} is of {dtype}; a picture has uint8 values in 0..255, uint16 ones in 0..65535, or floats "
                "in 0..1"
            )
        if dtype.kind == "f":
            low = self.array.min()
            high = self.array.max()
            if not (low >= 0 and high <= 1):  # NaN is neither
                raise DataError(
                    f"{self.name} has values from {low:g} to {high:g}; floats must lie in 0..1: divide values of "
                    "0..255 by 255, and give no normalised ones"
                )

    def open(self) -> Image.Image:
        if self.array.dtype == np.uint16 and self.array.ndim == 3:
            return Image.fromarray((self.array >> 8).astype(np.uint8))  # as of files: Pillow has no deep colour
        if self.array.dtype in (np.uint8, np.uint16):
            return Image.fromarray(np.ascontiguousarray(self.array, self.array.dtype.newbyteorder("=")))
        return Image.fromarray(np.rint(self.array * 255).astype(np.uint8))

    def digest(self) -> str:
        about = f"{self.array.dtype} {self.array.shape} ".encode()
        return hashlib.sha256(about + np.ascontiguousarray(self.array).tobytes()).hexdigest()

    def __str__(self) -> str:
        return self.name


class ImageOpener:
    """A picture of Pillow's; it is left as it is. Raises `DataError` where it cannot be decoded."""

    def __init__(self, image: Image.Image, name: str = "the picture") -> None:
        self.image = image
        self.name = name
        try:
            image.load()  # now, as two threads must not decode one image
        except Exception as error:  # a broken picture raises anything
            raise DataError(f"{name} is a broken picture ({error or type(error).__name__}); give another") from error

    def open(self) -> Image.Image:
        return self.image.copy()

    def digest(self) -> str:
        about = f"{self.image.mode} {self.image.size} ".encode()
        return hashlib.sha256(about + self.image.tobytes()).hexdigest()

    def __str__(self) -> str:
        return self.name


def announced(items: Iterable[Item], opener: Callable[[Item], Opener]) -> Iterator[Item]:
    """The items, in order; openers that can have a picture fetched ahead (`announce`) do so `LEAD` items earlier."""
    waiting: deque[Item] = deque()
    for item in items:
        announce = getattr(opener(item), "announce", None)
        if announce is not None:
            announce()
        waiting.append(item)
        if len(waiting) > LEAD:
            yield waiting.popleft()
    yield from waiting


Source = Path | str | bytes | Image.Image | NDArray[Any] | Opener
"""What can be opened as a picture."""


def opener_of(source: Source, name: str = "") -> Opener:
    """The opener of a path, the bytes of a file, an image of Pillow's or an array; an opener is its own.

    `name` is what messages call a picture that is no file. Raises `UsageError` for anything else, and `DataError` for
    pixels that cannot be a picture's.
    """
    if isinstance(source, Path | str):
        return FileOpener.of(source)
    if isinstance(source, bytes):
        return BytesOpener(source, name or "the picture")
    if isinstance(source, Image.Image):
        return ImageOpener(source, name or "the picture")
    if isinstance(source, np.ndarray):
        return ArrayOpener(source, name or "the array")
    if not hasattr(source, "digest"):
        raise UsageError(
            f"{name or 'a picture'} came as {type(source).__name__}; give a path, bytes, an image of Pillow's, or an "
            "array"
        )
    return source
