"""The same picture twice: exactly, by the hash of its content, or nearly, by what it looks like when very small."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regard.data.dataset import Dataset, Picture
from regard.data.images.decode import open_reduced, to_rgb
from regard.errors import DataError

SIDE = 16
BITS = 10
"""The most of a difference hash's 64 bits that may differ between near duplicates."""
LEVELS = 5.0
"""The most, in grey levels of 255, by which their thumbnails may differ on average."""
ALIKE = 0.993
"""The least correlation between the brightness of their thumbnails."""


@dataclass(frozen=True)
class Duplicate:
    """Two pictures (indices, the smaller first) that are one: `kind` "exact" or "near", `distance` in bits of 64."""

    first: int
    second: int
    kind: str
    distance: int = 0


@dataclass(frozen=True)
class Fingerprints:
    """What pictures look like when very small: `bits` (pictures,) uint64, the difference hash of their brightness
    (neighbour compared with neighbour, 8 × 8), and `thumbnails` (pictures, 16, 16, 3) uint8. `readable` (pictures,)
    is False for pictures that could not be opened; they are nobody's duplicate here."""

    bits: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]
    readable: NDArray[np.bool_]

    def of_readable(self) -> Self:
        """Those of the pictures that could be opened."""
        return type(self)(self.bits[self.readable], self.thumbnails[self.readable], self.readable[self.readable])


def picture_hashes(pictures: Sequence[Picture], workers: int = 4) -> dict[str, str]:
    """SHA-256 of the content of each picture, by its name. Raises `DataError` naming one that cannot be read."""

    def digest(picture: Picture) -> str:
        try:
            return picture.opener.digest()
        except OSError as error:
            raise DataError(f"{picture.opener} cannot be read: {error.strerror}") from error

    with ThreadPoolExecutor(workers) as pool:
        return {picture.name: each for picture, each in zip(pictures, pool.map(digest, pictures), strict=True)}


def fingerprints(pictures: Sequence[Picture], workers: int = 4) -> Fingerprints:
    """The fingerprint of each upright picture; JPEGs are decoded at an eighth of their size where that is enough."""
    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(_fingerprint, pictures))
    blank = np.zeros((SIDE, SIDE, 3), np.uint8)
    return Fingerprints(
        np.array([0 if each is None else each[0] for each in results], np.uint64),
        np.stack([blank if each is None else each[1] for each in results]) if results else blank[None][:0],
        np.array([each is not None for each in results], np.bool_),
    )


def _fingerprint(picture: Picture) -> tuple[int, NDArray[np.uint8]] | None:
    try:
        # both sides at 64 pixels at least: far above what the fingerprint keeps, far below a photograph
        image, _, _ = open_reduced(picture.opener, lambda size: (min(size[0], 64), min(size[1], 64)), deep=True)
    except DataError:
        return None
    if image.mode == "F":  # its own range: 12 bits of 16 would be alike as all dark pictures are
        values = np.asarray(image)
        image = to_rgb(image, (float(values.min()), max(float(values.max()), float(values.min()) + 1e-6)))
    return difference_hash(image), np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0))


def difference_hash(image: Image.Image) -> int:
    """64 bits of a picture's brightness at 8 × 9 pixels: is each pixel brighter than its neighbour to the left?"""
    small = image.convert("L").resize((9, 8), Image.Resampling.BILINEAR, reducing_gap=3.0)
    grey = np.asarray(small).astype(np.int16)
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def duplicates(dataset: Dataset, hashes: Mapping[str, str], prints: Fingerprints | None = None) -> list[Duplicate]:
    """All pairs of pictures that are one, in order of indices; near ones only when fingerprints are given.

    `hashes` are those of `picture_hashes`. Of many equal files each is paired with the first alone. Near duplicates
    survive re-encoding and resizing, not cropping, mirroring or turning.
    """
    first: dict[str, int] = {}
    exact = []
    for at, name in enumerate(dataset.names):
        if (before := first.setdefault(hashes[name], at)) != at:
            exact.append(Duplicate(before, at, "exact"))
    if prints is None:
        return exact
    copies = {pair.second for pair in exact}
    near = [pair for pair in _near(prints) if not copies & {pair.first, pair.second}]
    return sorted([*exact, *near], key=lambda pair: (pair.first, pair.second))


def across_splits(dataset: Dataset, pairs: Sequence[Duplicate]) -> list[Duplicate]:
    """Those pairs whose pictures are in different splits: what makes a score look better than it is."""
    splits = [picture.split for picture in dataset.pictures]
    return [pair for pair in pairs if splits[pair.first] != splits[pair.second]]


def with_two_labels(dataset: Dataset, pairs: Sequence[Duplicate]) -> list[Duplicate]:
    """Those pairs whose labels differ: one of the two is wrong."""
    labels = [picture.label for picture in dataset.pictures]
    return [pair for pair in pairs if labels[pair.first] != labels[pair.second]]


def _near(prints: Fingerprints, block: int = 1024) -> Iterator[Duplicate]:
    """Pairs within `BITS` whose thumbnails agree as well; the hashes alone take plain pictures for each other."""
    for start in range(0, len(prints.bits), block):
        rows = prints.bits[start : start + block]
        distance = np.bitwise_count(rows[:, None] ^ prints.bits[None, start:])  # (block, pictures from start on)
        for row, column in np.argwhere(distance <= BITS):
            one = start + int(row)
            two = start + int(column)
            if one < two and prints.readable[one] and prints.readable[two] and _agree(prints.thumbnails[[one, two]]):
                yield Duplicate(one, two, "near", int(distance[row, column]))


def _agree(pair: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails (2, 16, 16, 3) show the same: close in colour, and alike in where it is bright."""
    one, two = pair.astype(np.float32)
    if np.abs(one - two).mean() > LEVELS:
        return False
    bright = np.stack([one.mean(-1).ravel(), two.mean(-1).ravel()])
    spread = bright.std(axis=1)
    if spread.min() < 1:  # plain pictures correlate with nothing; their colour has been compared
        return bool(spread.max() < 2)
    return bool(np.corrcoef(bright)[0, 1] >= ALIKE)


def pairs_text(dataset: Dataset, pairs: Sequence[Duplicate], problem: str) -> str:
    """Pairs of pictures in words: the first by their names, of others how many."""
    first = pairs[0]
    names = f"{dataset.names[first.first]} and {dataset.names[first.second]}"
    more = f", and {len(pairs) - 1} more pairs" if len(pairs) > 1 else ""
    return f"the same picture {problem}: {names}{more}"
