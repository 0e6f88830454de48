"""An object store, by obstore: S3, Google Cloud Storage, Azure Blob Storage, HTTP and memory.

Everything is asked for in ranges of a few megabytes: the timeout of a request counts until its last byte, so that a
shard read in one would fail on a slow line, and a range that breaks is all that is asked for again.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from regard.data.stores.base import Entry, Store
from regard.data.stores.errors import describe, is_conflict, is_missing
from regard.errors import DataError, OutputError, RegardError, UsageError

BLOCK = 8 << 20
"""Bytes of one request of a stream."""
AHEAD = 4
"""Requests of a stream that are under way at once."""
TIMEOUT = 60
"""Seconds for one request, to its last byte."""
RETRIES = 5
RETRY_SECONDS = 120
"""How often, and for how long, a request that failed is made again: dropped connections, timeouts and 5xx are."""
ATTEMPTS = 4
"""How often a conditional write is tried of which it is not known whether it came through."""
_SETTINGS = ("AWS_", "AZURE_", "GOOGLE_")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")


@dataclass(frozen=True)
class RemoteStore(Store):
    """Objects below `scheme://place/prefix`; credentials come from the variables that each store's own tools read."""

    def head(self, key: str) -> Entry:
        obstore = _obstore()
        return _entry(self._try(key, lambda: obstore.head(self._backend, self._path(key))), key)

    def read(self, key: str, start: int = 0, length: int | None = None, tag: str | None = None) -> bytes:
        if length == 0:
            return b""
        obstore = _obstore()
        options: dict[str, Any] = {}
        if start or length is not None:
            options["range"] = {"offset": start} if length is None else (start, start + length)

        def get() -> tuple[Entry, bytes]:
            result = obstore.get(self._backend, self._path(key), options=options)
            return _entry(result.meta, key), bytes(result.bytes())

        entry, content = self._try(key, get)
        if tag is not None and entry.tag != tag:
            raise DataError(f"{self.full(key)} changed since it was first looked at; start again with what it is now")
        if length is not None and len(content) < length:
            raise DataError(
                f"{self.full(key)} ends at byte {start + len(content):,}, where {start + length:,} are needed; copy it "
                "there again"
            )
        return content

    def stream(self, key: str, tag: str | None = None, size: int | None = None) -> Iterator[bytes]:
        if size is None or tag is None:
            entry = self.head(key)
            size = entry.size
            tag = entry.tag if tag is None else tag
        if size <= BLOCK:
            yield self.read(key, 0, size, tag)
            return
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="regard-store") as pool:
            waiting: deque[Future[bytes]] = deque()
            try:
                for start in range(0, size, BLOCK):
                    waiting.append(pool.submit(self.read, key, start, min(BLOCK, size - start), tag))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        if self.address.startswith("http"):
            raise DataError(
                f"{self.address}: what lies at an address of the web cannot be listed; name all, as in "
                f"{self.address}/{{000000..000099}}.tar, or give a list"
            )
        obstore = _obstore()
        folder = self._path(prefix)
        listing = self._try(prefix, lambda: iter(obstore.list(self._backend, folder or None, chunk_size=1000)))
        root = f"{self._prefix}/" if self._prefix else ""
        while (chunk := self._try(prefix, lambda: next(listing, None))) is not None:
            for meta in chunk:
                key = meta["path"].removeprefix(root)
                if not any(part.startswith(".") for part in key.split("/")):
                    yield _entry(meta, key)

    def put(self, key: str, content: bytes) -> None:
        obstore = _obstore()
        self._try(key, lambda: obstore.put(self._backend, self._path(key), content), OutputError)

    def put_new(self, key: str, content: bytes) -> bool:
        obstore = _obstore()
        path = self._path(key)
        for attempt in range(ATTEMPTS):
            try:
                obstore.put(self._backend, path, content, mode="create", use_multipart=False)
                return True
            except Exception as error:  # obstore has an error for each store's, and Python's own
                # Taken, or the acknowledgement was lost: only what is there now tells.
                present = self._present(key)
                if present is not None:
                    return present == content
                if attempt == ATTEMPTS - 1 or not (is_conflict(error) or type(error).__name__ == "GenericError"):
                    raise describe(error, self.full(key), OutputError) from None
        raise AssertionError  # the last attempt returns or raises

    def delete(self, key: str) -> None:
        obstore = _obstore()
        try:
            obstore.delete(self._backend, self._path(key))
        except Exception as error:
            if not is_missing(error):
                raise describe(error, self.full(key), OutputError) from None

    @property
    def _backend(self) -> Any:
        return _connect(self._root, tuple(sorted(each for each in os.environ.items() if each[0].startswith(_SETTINGS))))

    @property
    def _root(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def _prefix(self) -> str:
        return unquote(urlsplit(self.address).path).strip("/")

    def _path(self, key: str) -> str:
        return "/".join(part for part in (self._prefix, key.strip("/")) if part)

    def _present(self, key: str) -> bytes | None:
        """What is there now, None where nothing is."""
        obstore = _obstore()
        try:
            return bytes(obstore.get(self._backend, self._path(key)).bytes())
        except Exception as error:
            if is_missing(error):
                return None
            raise describe(error, self.full(key), OutputError) from None

    def _try(self, key: str, work: Callable[[], Any], kind: type[RegardError] = DataError) -> Any:
        try:
            return work()
        except RegardError:
            raise
        except Exception as error:
            # Without its cause: obstore's own text has addresses with signatures in it.
            raise describe(error, self.full(key), kind) from None


def _entry(meta: Any, key: str) -> Entry:
    return Entry(key, meta["size"], meta["e_tag"] or meta["last_modified"].isoformat())


def _obstore() -> Any:
    try:
        import obstore  # late: an extra
    except ImportError as error:
        raise UsageError(
            "reading from stores needs obstore, which is not there: pip install 'regard[stores]'"
        ) from error
    return obstore


@lru_cache(maxsize=64)
def _connect(root: str, settings: tuple[tuple[str, str], ...]) -> Any:
    """The connection to a bucket, one for a process; another where the variables that it is made from change."""
    _obstore()
    from obstore.store import HTTPStore, MemoryStore, from_url

    scheme = urlsplit(root).scheme
    if scheme == "memory":
        return MemoryStore()
    named = dict(settings)
    plain = scheme == "http" or any(named.get(name, "").startswith("http://") for name in _ENDPOINTS)
    options: dict[str, Any] = {
        "client_options": {"timeout": timedelta(seconds=TIMEOUT), "connect_timeout": timedelta(seconds=10)}
        | ({"allow_http": True} if plain else {}),
        "retry_config": {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    }
    try:
        return HTTPStore.from_url(root, **options) if scheme in ("http", "https") else from_url(root, **options)
    except Exception as error:
        raise describe(error, root, DataError) from None
