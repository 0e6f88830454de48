"""Frozen features, computed once per picture and network and kept on disk.

The store is one SQLite file per network (its weights but for the head, its preparation, its precision), with a row
per picture by the hash of its bytes: a renamed or moved picture is known again, a changed one is not. Rows are
committed as they are computed, so that an interrupted extraction goes on where it was.
"""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.dataset import Picture
from regard.data.images.preparation import STEPS
from regard.errors import DataError
from regard.networks.network import Network
from regard.networks.predict import prepared

Features = NDArray[np.float32]
CHUNK = 500  # SQLite takes a limited number of variables in one statement


def cache_folder() -> Path:
    """Where features are kept: `$REGARD_CACHE`, else `regard` in the user's cache folder."""
    if folder := os.environ.get("REGARD_CACHE"):
        return Path(folder)
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "regard"


def network_key(network: Network) -> str:
    """What decides a feature's value beside the picture: weights but for the head, preparation and precision."""
    about = [network.preparation.as_json(), STEPS, network.architecture["name"], network.precision]
    facts = json.dumps(about, sort_keys=True)
    return hashlib.sha256(f"{network.weights_hash(head=False)} {facts}".encode()).hexdigest()[:32]


class FeatureStore:
    """Features by picture hash, in one SQLite file; a file that is damaged or cannot be used is done without.

    A row that is damaged is as none. `kind` is how numbers are stored, as numpy writes it.
    """

    def __init__(self, path: Path, kind: str = "<f4") -> None:
        self.path = path
        self.kind = kind
        self.broken: str | None = None
        """Why the store cannot be used, where it cannot: the work goes on without it."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._run(
                lambda base: base.execute("CREATE TABLE IF NOT EXISTS checked (hash TEXT PRIMARY KEY, value BLOB)")
            )
        except OSError as error:
            self.broken = str(error)

    def read(self, hashes: Sequence[str]) -> dict[str, Features]:
        """The features that are there, by hash."""
        features: dict[str, Features] = {}
        for start in range(0, len(hashes), CHUNK):
            part = hashes[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            query = f"SELECT hash, value FROM checked WHERE hash IN ({marks})"  # marks are question marks alone
            rows = self._run(partial(_select, query, part)) or []
            # SQLite does not check what it stores: the first four bytes are the checksum of the rest.
            features |= {
                name: np.frombuffer(value[4:], self.kind)
                for name, value in rows
                if zlib.crc32(value[4:]) == int.from_bytes(value[:4], "little")
            }
        return features

    def write(self, rows: Iterable[tuple[str, Features]]) -> None:
        """Keep these features for the next time."""
        packed = ((name, value.astype(self.kind).tobytes()) for name, value in rows)
        checked = [(name, zlib.crc32(value).to_bytes(4, "little") + value) for name, value in packed]
        self._run(lambda base: base.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?)", checked))

    def _run(self, work: Callable[[sqlite3.Connection], object]) -> list[tuple[str, bytes]] | None:
        """One transaction; the first failure (a full or read-only disk, a damaged file) switches the store off."""
        if self.broken is not None:
            return None
        try:
            with closing(sqlite3.connect(self.path, timeout=30)) as base, base:
                result = work(base)
                return result if isinstance(result, list) else None
        except sqlite3.Error as error:
            self.broken = str(error)
            return None


def _select(query: str, values: Sequence[str], base: sqlite3.Connection) -> object:
    return base.execute(query, values).fetchall()


def extract(
    network: Network,
    pictures: Sequence[Picture],
    hashes: Sequence[str],
    store: FeatureStore | None = None,
    *,
    batch_size: int = 32,
    workers: int = 2,
    advance: Callable[[int], None] = lambda done: None,
    on_bad: Callable[[Picture, DataError], None] | None = None,
) -> tuple[Features, NDArray[np.int64]]:
    """Features (pictures, width), and the indices of the pictures they are of.

    `hashes` are the pictures' SHA-256, under which `store` knows them. All pictures are kept unless `on_bad` takes
    those that cannot be read. `advance` is told how many more are done. Raises `DataError` naming a bad picture.
    """
    features = dict(store.read(hashes)) if store is not None else {}
    todo = [index for index, name in enumerate(hashes) if name not in features]
    advance(len(hashes) - len(todo))
    for fresh in _forward(network, [pictures[index] for index in todo], batch_size, workers, on_bad):
        named = {hashes[todo[index]]: value for index, value in fresh.items()}
        features |= named
        if store is not None:
            store.write(named.items())
        advance(len(named))
    readable = np.array([index for index, name in enumerate(hashes) if name in features], np.int64)
    if not len(readable):
        raise DataError("none of the pictures could be read")
    return np.stack([features[hashes[index]] for index in readable]), readable


def _forward(
    network: Network,
    pictures: Sequence[Picture],
    batch_size: int,
    workers: int,
    on_bad: Callable[[Picture, DataError], None] | None,
) -> Iterable[Mapping[int, Features]]:
    """Features of each batch, by index into `pictures`."""
    for batch, pixels in prepared(network, pictures, batch_size=batch_size, workers=workers, on_bad=on_bad):
        with torch.inference_mode():  # a little faster than doing without gradients: nothing is ever recorded
            values, _ = network.features(pixels)
        yield dict(zip(batch.indices, values.float().cpu().numpy(), strict=True))
