"""What every store does, and which one an address means."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from regard.errors import DataError
from regard.registry import load

SCHEMES = ("s3", "gs", "az", "http", "https", "file", "memory")
_LOCAL = "regard.data.stores.local:LocalStore"
_REMOTE = "regard.data.stores.remote:RemoteStore"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True)
class Entry:
    """An object: its `key`, its bytes, and a `tag` that changes when it does (the ETag; of a file its mtime in ns)."""

    key: str
    size: int
    tag: str


@dataclass(frozen=True)
class Store(ABC):
    """Objects below an `address`. Small, and can be pickled: each process opens its own connections."""

    address: str
    is_local: ClassVar[bool] = False

    @staticmethod
    def of(address: Path | str) -> "Store":
        """The store of an address or a local folder. Raises `DataError` for a scheme that is none of SCHEMES."""
        text = str(address)
        scheme = _scheme(text)
        is_folder = scheme in (None, "file")
        store: Store = load("a store", _LOCAL if is_folder else _REMOTE)(  # late: most need only one of them
            (unquote(urlsplit(text).path) if scheme else text) if is_folder else text.rstrip("/")
        )
        return store

    @abstractmethod
    def head(self, key: str) -> Entry:
        """The object's size and tag. Raises `DataError` where there is none."""

    @abstractmethod
    def read(self, key: str, start: int = 0, length: int | None = None, tag: str | None = None) -> bytes:
        """Its bytes from `start` on: `length` of them, else all.

        Raises `DataError` where there is no such object, it ends before `start + length`, or its tag is not `tag`.
        """

    @abstractmethod
    def stream(self, key: str, tag: str | None = None, size: int | None = None) -> Iterator[bytes]:
        """Its bytes in sequence, in blocks that are read ahead; who knows its `tag` and `size` saves a request."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """All objects in the folder `prefix` and below, in the order of their keys; hidden files are left out."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Write a whole object over what may be there. Raises `OutputError`."""

    @abstractmethod
    def put_new(self, key: str, content: bytes) -> bool:
        """Write a whole object where there is none; False where another is there already, which stays.

        An equal object counts as written: it is this one, whose acknowledgement was lost. Raises `OutputError`.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def full(self, key: str) -> str:
        """What messages call an object."""
        return f"{self.address.rstrip('/')}/{key}" if key else self.address


def is_address(text: Path | str) -> bool:
    """Whether text is an address of a store (`s3://bucket/key`), not a path.

    >>> is_address("s3://bucket/shards"), is_address("shards/000.tar")
    (True, False)
    """
    return _SCHEME.match(str(text)) is not None


def split_address(address: Path | str) -> tuple[str, str]:
    """An object's address or path → the address of the folder that it lies in, and its key there.

    >>> split_address("s3://bucket/shards/000.tar")
    ('s3://bucket/shards', '000.tar')
    >>> split_address("shards/000.tar")
    ('shards', '000.tar')
    """
    text = str(address).rstrip("/")
    root, slash, key = text.rpartition("/")
    if root.endswith(":/") or not key:  # only a bucket: s3://bucket
        return text, ""
    return root or slash or ".", key


def _scheme(text: str) -> str | None:
    match = _SCHEME.match(text)
    if match is None:
        return None
    scheme = match[1].lower()
    if scheme not in SCHEMES:
        raise DataError(
            f"{scheme}:// is no store that is read; give one of {', '.join(f'{each}://' for each in SCHEMES)}, or a "
            "path"
        )
    return scheme
