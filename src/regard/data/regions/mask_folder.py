"""Regions as a folder of masks under the pictures' names: white on the object."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from regard.data import MAX_PIXELS
from regard.data.images.decode import open_reduced
from regard.data.layouts.finder import FileFinder
from regard.data.openers import PAGE
from regard.data.regions import Bools, Claim, Size, TaggedWord
from regard.errors import DataError
from regard.files import file_hash

OBJECT = "object"
"""The name of the one region that a mask has."""


@dataclass(frozen=True)
class MaskFile:
    """The mask of one picture: a pixel is on the object where it is rather white than black."""

    path: Path
    max_pixels: int = MAX_PIXELS

    @property
    def objects(self) -> tuple[str, ...]:
        return (OBJECT,)

    def mask(self, names: Iterable[str], size: Size | None = None) -> Bools:
        mask = np.asarray(open_reduced(self.path, lambda whole: whole, self.max_pixels)[0].convert("L")) >= 128
        if size is not None and mask.shape != size:
            raise DataError(
                f"{self.path} has {mask.shape[0]} × {mask.shape[1]} pixels and its picture {size[0]} × {size[1]}; give "
                "masks of the pictures' size"
            )
        return mask if OBJECT in set(names) else np.zeros_like(mask)

    def claims(self, words: Sequence[TaggedWord]) -> Iterator[Claim]:
        return iter(())


@dataclass(frozen=True)
class MaskFolder:
    """The masks in a folder: of `a/b.jpg` it is `a/b.png` there, or else `b.png`; of a page `b.tif#page=2.png`."""

    folder: Path
    max_pixels: int = MAX_PIXELS

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def digest(self) -> str:
        files = sorted(self.folder.rglob("*.png"))
        lines = [f"{file.relative_to(self.folder).as_posix()} {file_hash(file)}" for file in files]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def find(self, picture: str) -> MaskFile | None:
        path = PurePosixPath(picture)
        path = path.with_name(f"{path.name}.png") if PAGE in path.name else path.with_suffix(".png")
        names = path.as_posix(), path.name
        files = filter(None, (self._finder.file(self.folder, name) for name in names))
        return next((MaskFile(file, self.max_pixels) for file in files), None)

    @cached_property
    def _finder(self) -> FileFinder:
        return FileFinder()


def is_folder(source: str) -> bool:
    return Path(source).is_dir()
