"""Captions on their way to the disk: what of them is whole, and what becomes of it in the end."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.files import write_file
from regard.records import Float
from regard.records.captions import FILE, line_of
from regard.results.writer import ResumableWriter

MAPS = "maps.bin"
FIRST = 8  # captions told on the screen
NAMED = 3  # pictures named in a message, at most


class UnfinishedCaptions(ResumableWriter):
    """What `regard caption` leaves when it is stopped; captions take longer than the disk does to keep each batch."""

    command = "caption"

    def append(self, entry: Mapping[str, Any], maps: Float | None = None) -> None:
        """Note a caption, and its maps (words, rows, columns) where they have no file of their own."""
        if maps is not None:
            self.write(MAPS, np.ascontiguousarray(maps, "<f4").tobytes())
        self.add(entry)

    def captions(self) -> Iterator[tuple[dict[str, Any], Float]]:
        """Each caption's entry with its maps, read from the disk as they are asked for."""
        path = self.folder / MAPS
        with path.open("rb") if path.exists() else io.BytesIO() as file:
            for entry in self.entries():
                shape = len(entry["words"]), entry["grid"]["rows"], entry["grid"]["columns"]
                content = file.read(4 * shape[0] * shape[1] * shape[2])
                yield entry, np.frombuffer(content, "<f4").reshape(shape)

    def write_entries(self) -> None:
        """All captions as one file of the result."""
        write_file(self.result / FILE, self._lines())

    def _lines(self) -> Iterator[str]:
        for place, entry in enumerate(self.entries()):
            yield f"{',' if place else '['}\n{line_of(entry)}"
        yield "\n]\n"

    def write_maps(self, name: str, maps: Float) -> None:
        """The maps of one picture as a file of the result."""
        array = io.BytesIO()
        np.save(array, maps, allow_pickle=False)
        write_file(self.result / name, array.getvalue())


@dataclass
class Names:
    """The pictures of which something holds: how many there are, and the first few."""

    n: int = 0
    first: tuple[str, ...] = ()

    def add(self, name: str) -> None:
        self.n += 1
        if self.n <= NAMED:
            self.first = (*self.first, name)


class Tally:
    """What the user should know of all captions together: how many reached the limit, were empty, or had unknown words.

    `first` are some captions, as (name, text).
    """

    def __init__(self, entries: Iterator[Mapping[str, Any]]) -> None:
        self.n = 0
        self.first: list[tuple[str, str]] = []
        self.cut, self.silent, self.unknown = Names(), Names(), Names()
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Mapping[str, Any]) -> None:
        name = entry["name"]
        self.n += 1
        if self.n <= FIRST:
            self.first.append((name, entry["text"]))
        if entry["limit_reached"]:
            self.cut.add(name)
        if not entry["text"]:
            self.silent.add(name)
        for word in entry.get("unknown", ()):
            self.unknown.add(f"{word} in {name}")
