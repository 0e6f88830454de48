"""Regions of a COCO file: its categories as masks (run lengths, plain or packed, polygons, or a box), by the nouns
that name them. Without pycocotools."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import punctuation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import Picture
from regard.data.layouts.coco import read_coco
from regard.data.regions import Bools, Claim, NamedRegions, Size, TaggedWord, union, upright_mask
from regard.data.regions.coco_nouns import Phrase, nouns_for
from regard.data.regions.coco_phrases import described
from regard.errors import DataError
from regard.files import file_hash


@dataclass(frozen=True)
class CocoRegions:
    """The categories of one picture, each with the union of its masks (of boxes where there are none).

    `nouns` are the words, or words in a row, that name a category of the whole file.
    """

    picture: Picture
    nouns: Mapping[Phrase, str]

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(sorted({each["category"] for each in _located(self.picture)}))

    def mask(self, names: Iterable[str], size: Size | None = None) -> Bools:
        size = _stored_size(self.picture) if size is None else size
        categories = set(names)
        annotations = (each for each in _located(self.picture) if each["category"] in categories)
        return union((mask_of(each, self.picture, size) for each in annotations), size)

    def claims(self, words: Sequence[TaggedWord]) -> Iterator[Claim]:
        """A word that names a category is right where the picture has such; a wrong one has no region.

        Of "hot dog" both words mean the food; a word that is tagged as something else than a noun means nothing.
        Adjectives and verbs that go with a noun of the picture speak of the same region; whether they are right nobody
        knows.
        """
        objects = self.objects
        categories = categories_of(words, self.nouns)
        claims = [Claim(place, "noun", category in objects, (category,)) for place, category in categories.items()]
        for place, part, noun in described(words, categories):
            if categories[noun] in objects:
                claims.append(Claim(place, part, None, (categories[noun],)))
        yield from sorted(claims, key=lambda claim: claim.place)


def _stored_size(picture: Picture) -> Size:
    """The (height, width) that the file has for a picture. Raises `DataError` where it has none."""
    columns = picture.columns
    if "height" not in columns or "width" not in columns:
        raise DataError(f"{picture.name}: its COCO file has no height and width of it; add them")
    try:
        return int(float(columns["height"])), int(float(columns["width"]))
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{picture.name}: its COCO file has the size {columns['height']!r} × {columns['width']!r}; give numbers"
        ) from error


def coco_regions(file: Path) -> NamedRegions:
    """The regions of a COCO file. Raises `DataError` for one without masks and boxes."""
    pictures = [picture for picture in read_coco(file, labels=False, are_needed=False) if _located(picture)]
    if not pictures:
        raise DataError(f"{file} has no masks or boxes of categories; give the instances that belong to the pictures")
    nouns = nouns_for(sorted({each["category"] for picture in pictures for each in _located(picture)}))
    regions = {picture.name: CocoRegions(picture, nouns) for picture in pictures}
    return NamedRegions(file.name, file_hash(file), regions)


def _located(picture: Picture) -> list[Mapping[str, Any]]:
    """The annotations that say where something is."""
    return [
        each
        for each in picture.annotations
        if "category" in each and (_outlines(each.get("segmentation")) or each.get("bbox"))
    ]


def _outlines(segmentation: Any) -> Any:
    """Run lengths as they are, and of polygons those that have an area; one alone may stand without its list."""
    if not segmentation or isinstance(segmentation, Mapping):
        return segmentation
    if not isinstance(segmentation[0], Sequence) or isinstance(segmentation[0], str):
        segmentation = [segmentation]
    return [corners for corners in segmentation if np.size(corners) >= 6]


def categories_of(words: Sequence[TaggedWord], nouns: Mapping[Phrase, str]) -> dict[int, str]:
    """The category that each word names, by place, as far as it does; long names first."""
    texts = [text.lower().strip(punctuation) for text, _ in words]
    longest = max(map(len, nouns), default=0)
    # by Penn tags; of a word without one, and of a foreign word (FW), nobody knows that it is no noun
    may_be_noun = [tag is None or tag == "FW" or tag.startswith("N") for _, tag in words]
    categories: dict[int, str] = {}
    for place in range(len(texts)):
        for stop in range(min(place + longest, len(texts)), place, -1):
            category = nouns.get(tuple(texts[place:stop]))
            if place not in categories and category is not None and may_be_noun[stop - 1]:
                categories |= dict.fromkeys(range(place, stop), category)
    return categories


def mask_of(annotation: Mapping[str, Any], picture: Picture, size: Size) -> Bools:
    """(H, W) bool of an annotation: run lengths, plain or packed, polygons, or else the box.

    Raises `DataError` naming the picture where it is none of these or of another size.
    """
    stored = _stored_size(picture) if {"height", "width"} <= set(picture.columns) else size
    if stored == size[::-1] != size and picture.path and picture.path.is_file():  # the pixels as a camera stores them
        turned = upright_mask(mask_of(annotation, picture, stored), picture.opener)
        if turned.shape == size:
            return turned
    if stored != size:
        raise DataError(
            f"{picture.name}: its masks are for {stored[0]} × {stored[1]} pixels and the captioned picture has "
            f"{size[0]} × {size[1]}; caption the pictures that the file describes"
        )
    try:
        return _pixels(annotation, size)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{picture.name}: a mask of {annotation['category']!r} cannot be read ({error}); there must be polygons, "
            "run lengths or a box, as COCO has them"
        ) from error


def _pixels(annotation: Mapping[str, Any], size: Size) -> Bools:
    segmentation = _outlines(annotation.get("segmentation"))
    if isinstance(segmentation, Mapping):
        return _runs(segmentation["counts"], tuple(segmentation["size"]), size)
    if segmentation:
        return union((_polygon(corners, size) for corners in segmentation), size)
    left, top, width, height = map(float, annotation["bbox"])
    down = np.arange(size[0]) + 0.5
    across = np.arange(size[1]) + 0.5
    return np.logical_and.outer((down >= top) & (down < top + height), (across >= left) & (across < left + width))


def _polygon(corners: Sequence[float], size: Size) -> Bools:
    """The pixels whose centre lies in a polygon [x, y, x, y, ...]."""
    points = np.asarray(corners, np.float64).reshape(-1, 2)
    left, top = np.clip(np.floor(points.min(axis=0)), 0, size[::-1]).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, size[::-1]).astype(int)
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = _inside(points - (left, top), bottom - top, right - left)
    return mask


def _inside(points: NDArray[np.float64], height: int, width: int) -> Bools:
    """The pixels (height, width) with an odd number of the polygon's edges to the left of their centre."""
    x, y = points.T
    next_x, next_y = np.roll(points, -1, axis=0).T
    centres = np.arange(height) + 0.5
    crossed = (centres[:, None] >= np.minimum(y, next_y)) & (centres[:, None] < np.maximum(y, next_y))  # (rows, edges)
    row, edge = np.nonzero(crossed)
    where = x[edge] + (centres[row] - y[edge]) * (next_x - x)[edge] / (next_y - y)[edge]
    column = np.clip(np.ceil(where - 0.5), 0, width).astype(np.int64)
    edges = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(edges.cumsum(axis=1)[:, :width] % 2 == 1)


def _runs(counts: Sequence[int] | str, stored: tuple[int, ...], size: Size) -> Bools:
    """The mask of alternating run lengths, outside first, down the columns."""
    lengths = np.array(unpack_runs(counts) if isinstance(counts, str) else counts, np.int64)
    if stored != size or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"run lengths of {lengths.sum()} pixels for a picture of {size[0]} × {size[1]}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size, order="F")


def unpack_runs(text: str) -> list[int]:
    """The run lengths in a string of COCO's: six bits a sign, five of them of the number, from the third on the change
    since the last but one (rleFrString in COCO's maskApi.c)."""
    counts: list[int] = []
    value = shift = 0
    for sign in text:
        bits = ord(sign) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts


def pack_runs(mask: Bools) -> str:
    """The string of COCO's for a mask (H, W), which `unpack_runs` reads (rleToString in COCO's maskApi.c).

    >>> unpack_runs(pack_runs(np.eye(2, 3, dtype=bool)))
    [0, 1, 2, 1, 2]
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0, *edges.tolist(), flat.size]
    counts = [*([0] if flat.size and flat[0] else []), *np.diff(starts).tolist()]
    signs: list[int] = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            signs.append(bits | (32 if more else 0))
    return "".join(chr(sign + 48) for sign in signs)
