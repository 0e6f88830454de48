"""A picture that is a range of a file or of an object in a store."""

import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

from regard.data import MAX_PIXELS
from regard.data.stores import Store


@dataclass(frozen=True)
class RangeOpener:
    """A picture at `offset` of the object `key` of a store, `size` bytes, while that has the `tag`.

    `span` is the (start, stop) of the run of neighbours that are read with it; `name` is the member's.
    """

    root: str
    key: str
    tag: str
    offset: int
    size: int
    span: tuple[int, int]
    name: str
    max_pixels: int = MAX_PIXELS

    @property
    def block(self) -> tuple[str, str, int]:
        """What pictures that are read together have in common."""
        return self.root, self.key, self.span[0]

    def open(self) -> BinaryIO:
        return io.BytesIO(self._content())

    def digest(self) -> str:
        return hashlib.sha256(self._content()).hexdigest()

    def _content(self) -> bytes:
        return Store.of(self.root).read(self.key, self.offset, self.size, self.tag)

    def __str__(self) -> str:
        return f"{self.root.rstrip('/')}/{self.key}: {self.name}"
