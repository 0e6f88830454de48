"""A picture that is an object of a store by itself."""

import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

from regard.data import MAX_PIXELS
from regard.data.stores.base import Store


@dataclass(frozen=True)
class ObjectOpener:
    """A picture that is an object of a store."""

    root: str
    key: str
    max_pixels: int = MAX_PIXELS

    def open(self) -> BinaryIO:
        return io.BytesIO(self._content())

    def digest(self) -> str:
        return hashlib.sha256(self._content()).hexdigest()

    def _content(self) -> bytes:
        return Store.of(self.root).read(self.key)

    def __str__(self) -> str:
        return f"{self.root.rstrip('/')}/{self.key}"
