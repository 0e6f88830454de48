"""Where the things in pictures are: one source of masks, by the picture's name and the region's; a row each in REGIONS.

A source knows, too, which regions the words of a caption speak of, where it can.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.data.dataset import composed
from regard.data.images.decode import UPRIGHT, stored_orientation
from regard.data.openers import MAX_PIXELS, Opener
from regard.errors import DataError
from regard.registry import Described, Table

Bools = NDArray[np.bool_]
Size = tuple[int, int]
TaggedWord = tuple[str, str | None]
"""A word of a caption and its part of speech as a tagger named it, None where nobody did."""


@dataclass(frozen=True)
class Claim:
    """A word that claims something of a picture: its `place` in the caption, from 0, its `part` of speech, whether it
    is `right` (None where nobody knows), and the names of the `regions` that it speaks of (of a wrong word: of what it
    was used for)."""

    place: int
    part: str
    right: bool | None
    regions: tuple[str, ...]


class PictureRegions(Protocol):
    """Where the things in one picture are."""

    @property
    def objects(self) -> tuple[str, ...]:
        """The regions of what the picture is of."""

    def mask(self, names: Iterable[str], size: Size | None = None) -> Bools:
        """(H, W) bool: the union of these regions, by default at their own size.

        Raises `DataError` where they cannot be had at this size.
        """

    def claims(self, words: Sequence[TaggedWord]) -> Iterator[Claim]:
        """What the words of a caption claim, in order, as far as that can be told."""


class Regions(Protocol):
    """Where the things in the pictures of some data are."""

    @property
    def name(self) -> str:
        """Which data these are, without their folder."""

    @property
    def digest(self) -> str:
        """The SHA-256 of what says where things are."""

    def find(self, picture: str) -> PictureRegions | None:
        """The regions of a picture by its name, None where nothing is known of it."""


@dataclass(frozen=True)
class NamedRegions:
    """Regions of pictures that are known by name; their folder may be left out where only one has the file's name."""

    name: str
    digest: str
    pictures: Mapping[str, PictureRegions]

    @cached_property
    def _by_file(self) -> dict[str, PictureRegions]:
        files = Counter(PurePosixPath(name).name for name in self._composed)
        names = [(name, PurePosixPath(name).name) for name in self._composed]
        return {file: self._composed[name] for name, file in names if files[file] == 1}

    @cached_property
    def _composed(self) -> dict[str, PictureRegions]:
        return {composed(name): regions for name, regions in self.pictures.items()}

    def find(self, picture: str) -> PictureRegions | None:
        name = composed(picture)
        return self._composed.get(name) or self._by_file.get(PurePosixPath(name).name)


@dataclass(frozen=True, repr=False)
class RegionSource(Described):
    """A row of REGIONS: `fits(path)` says whether data are of this kind, `target(path)` gives their `Regions`.

    `words` says whether the source knows what the words of captions speak of.
    """

    name: str
    description: str
    fits: str  # "module:function"
    target: str  # "module:function"
    words: bool


REGIONS = Table(
    "source of regions",
    (
        RegionSource(
            name="scenes",
            description="a folder of drawn scenes",
            fits="regard.scenes.folder:is_scenes",
            target="regard.scenes.folder:scene_regions",
            words=True,
        ),
        RegionSource(
            name="coco",
            description="a COCO .json with masks or boxes",
            fits="regard.data.layouts.coco:is_coco",
            target="regard.data.regions.coco:coco_regions",
            words=True,
        ),
        RegionSource(
            name="masks",
            description="a folder of masks under the pictures' names, white on the object",
            fits="regard.data.regions.mask_folder:is_folder",
            target="regard.data.regions.mask_folder:MaskFolder",
            words=False,
        ),
    ),
    "regard.regions",
)


def regions_of(data: str | Path, words: bool = False, max_pixels: int = MAX_PIXELS) -> Regions:
    """The regions that some data know, with `words` those of words; masks in files are read up to `max_pixels`.

    Raises `DataError` for data that know none.
    """
    for row in REGIONS:
        fits: Callable[[str], bool] = REGIONS.load(row.name, "fits")
        if (row.words or not words) and fits(str(data)):
            regions: Any = REGIONS.load(row.name)(Path(data))
            return replace(regions, max_pixels=max_pixels) if hasattr(regions, "max_pixels") else regions
    if words:
        raise DataError(
            f"{data} tells no regions of words; give a folder that `regard scenes` wrote, or a COCO .json with masks"
        )
    raise DataError(f"{data} is no source of regions; give a folder of masks or of drawn scenes, or a COCO .json")


def own_regions(data: str | Path) -> Regions | None:
    """The regions that pictures bring with them, as drawn scenes and COCO files do; None for data that know none."""
    try:
        return regions_of(data, words=True)
    except DataError:
        return None


def upright_mask(mask: Bools, source: Opener) -> Bools:
    """(H, W) bool: a mask of the pixels as they are stored, turned as the picture's EXIF orientation says.

    One that lies as the upright picture does is left as it is. Raises `DataError` for a picture that cannot be opened.
    """
    (height, width), orientation = stored_orientation(source)
    if orientation < 5 or abs(mask.shape[0] * width - mask.shape[1] * height) > max(height, width) / 2:
        return mask
    if abs(mask.shape[0] * height - mask.shape[1] * width) <= max(height, width) / 2:  # square: it fits both ways
        return mask
    return np.asarray(Image.fromarray(mask).transpose(UPRIGHT[orientation]))


def union(masks: Iterable[Bools], size: Size) -> Bools:
    """(H, W) bool: what is in any of these masks of that size."""
    whole = np.zeros(size, bool)
    for mask in masks:
        whole |= mask
    return whole
