"""A picture that is a range of a file or of an object in a store."""

import hashlib
import io
from dataclasses import dataclass
from typing import BinaryIO

from regard.data import MAX_PIXELS
from regard.data.shards.cache import Run, runs
from regard.data.stores import Store, is_address
from regard.errors import DataError


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

    def announce(self) -> None:
        """Have a store asked for the picture, with its neighbours, before it is opened."""
        if is_address(self.root):
            runs().announce(self._run)

    @property
    def _run(self) -> Run:
        return Run(self.root, self.key, self.tag, *self.span)

    def _content(self) -> bytes:
        if not is_address(self.root):  # the system reads ahead
            return Store.of(self.root).read(self.key, self.offset, self.size, self.tag)
        start = self.offset - self.span[0]
        return runs().get(self._run)[start : start + self.size]

    def __str__(self) -> str:
        return f"{self.root.rstrip('/')}/{self.key}: {self.name}"


@dataclass(frozen=True)
class BrokenOpener:
    """A picture that cannot be had, and why: what reads it raises that, as of any picture that is broken."""

    problem: str

    def open(self) -> BinaryIO:
        raise DataError(self.problem)

    def digest(self) -> str:
        raise DataError(self.problem)

    def __str__(self) -> str:
        return self.problem
