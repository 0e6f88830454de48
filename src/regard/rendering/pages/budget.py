"""How large a page may become, and what inspections leave out to stay within it."""

import io
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field, replace

from PIL import Image

from regard.records import Inspection
from regard.records.inspection import MOST_ON_A_PAGE, InspectedPicture
from regard.rendering.pages.shell import clean

MB = 1_000_000
TOTALS = ((1, 1.4 * MB), (100, 14.5 * MB), (500, 29 * MB))
"""Bytes of a page with so many inspections; between these in proportion, and of more pictures as of the last."""
FIXED = 250_000
"""Of it style, script and what stands around the pictures."""
STILL = 9_000
"""Of it what stands of each picture where no script runs."""
BASE64 = 4 / 3
SIDES = (1024, 768, 640, 512, 448, 384, 320, 256, 192, 128)
"""Longer sides of pictures in pixels, of which the page takes the first that fits."""
PICTURES = 0.35
"""The share of its inspection's bytes that a picture may take before anything of the maps is left out."""
USUAL = 0.1
"""Bytes that a JPEG takes of a pixel of its longer side's square, at least, so that few are tried in vain."""
LAST_LAYERS = 2
"""Of so many layers all heads stay when those of the others go."""
LEVELS = 4 + len(SIDES)


@dataclass(frozen=True)
class Budget:
    """Bytes that `n` inspections of one page may take; each may take as much as any other."""

    n: int

    @classmethod
    def of(cls, pictures: Mapping[str, Sized]) -> "Budget":
        """For these pictures, each with its inspections."""
        return cls(sum(map(len, pictures.values())))

    @property
    def total(self) -> float:
        """Of the whole page."""
        (first, least), *others = TOTALS
        for count, most in others:
            if self.n <= count:
                share = (max(self.n, first) - first) / (count - first)
                return least + share * (most - least)
            first, least = count, most
        return least

    @property
    def each(self) -> int:
        """Of one inspection, packed, before base64."""
        stills = STILL * self.n if self.n > 1 else 60_000
        return int((self.total - FIXED - stills) / max(1, min(self.n, MOST_ON_A_PAGE)) / BASE64)


@dataclass
class Packed:
    """Blocks of a page, as they grow within a budget: `content`, and the numbers of each picture's `blocks`."""

    budget: Budget
    content: list[bytes] = field(default_factory=list)
    blocks: dict[str, list[int]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)  # by what was left out, of how many
    beyond: int = 0
    level: int = (
        0  # the stage that the last one needed: the next begin there, so that all pictures of a page hold alike
    )

    def add(self, name: str, inspection: Inspection) -> None:
        """Pack one more inspection of a picture."""
        if len(self.content) >= MOST_ON_A_PAGE:
            self.beyond += 1
            return
        fitted = with_fitted_picture(inspection, PICTURES * self.budget.each)
        for level in range(self.level, LEVELS):
            smaller = reduced(fitted, level)
            packed = smaller.pack(clean)
            if len(packed) <= self.budget.each:
                break
        self.level = level
        for part in smaller.absent.keys() - inspection.absent.keys():
            self.dropped[part] = self.dropped.get(part, 0) + 1
        self.blocks.setdefault(name, []).append(len(self.content))
        self.content.append(packed)

    @property
    def messages(self) -> list[str]:
        """What was left out, in a line."""
        lines = []
        if self.dropped:
            counts = {part: self.dropped[part] for part in WORDS if part in self.dropped}
            of = len(self.content)
            parts = [WORDS[part] + ("" if count == of else f" ({count} of {of})") for part, count in counts.items()]
            lines.append(f"To keep this file small, it leaves out {'; '.join(parts)}. `regard serve` shows all of it.")
        if self.beyond:
            lines.append(
                f"This file holds the first {len(self.content)} inspections; {self.beyond} more are left out, which "
                "`regard serve` shows."
            )
        return lines


WORDS = {
    "keys": "where patches look in layers before the last",
    "patches": "where patches look in the last layer",
    "heads": "single heads of layers before the last two",
}
REASON = "it was left out to keep this file small; `regard serve` has it"


def reduced(inspection: Inspection, level: int) -> Inspection:
    """The inspection with less in it, the less the higher the level: from 1 on without keys, from 2 on without what
    patches read, from 3 on with single heads of the last layers alone, beyond that with smaller pictures."""
    if level >= 1 and inspection.keys is not None:
        inspection = inspection.without("keys", REASON)
    if level >= 2 and "patches" in inspection.arrays:
        inspection = inspection.without("patches", REASON)
    if level >= 3:
        inspection = inspection.with_mean_heads(LAST_LAYERS, REASON)
    if level > 3 and inspection.picture is not None:
        longest = max(inspection.picture.height, inspection.picture.width)
        smaller = [side for side in SIDES if side < longest]
        return resized(inspection, smaller[min(level - 4, len(smaller) - 1)]) if smaller else inspection
    return inspection


def with_fitted_picture(inspection: Inspection, most: float) -> Inspection:
    """The inspection with its picture as large as fits into so many bytes, of `SIDES`."""
    for side in SIDES:
        if USUAL * side**2 <= most or side == SIDES[-1]:
            smaller = resized(inspection, side)
            if smaller.picture is None or len(smaller.picture.content) <= most or side == SIDES[-1]:
                return smaller
    return inspection


def resized(inspection: Inspection, longest: int, quality: int = 82) -> Inspection:
    """The inspection with a picture of at most so many pixels along its longer side."""
    if inspection.picture is None or longest >= max(inspection.picture.height, inspection.picture.width):
        return inspection
    with Image.open(io.BytesIO(inspection.picture.content)) as image:
        small = image.convert("RGB")
        small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return replace(inspection, picture=InspectedPicture(file.getvalue(), small.height, small.width))
