"""What is in a tar, from its headers alone: ustar, GNU's long names and PAX; sparse files and compression are refused.

POSIX.1-1988 (ustar) and POSIX.1-2001 (PAX); GNU tar's manual, "Basic Tar Format", for `L`, `S` and numbers in base 256.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from regard.errors import DataError

RECORD = 512
_PLAIN = (b"0", b"\0", b"7")
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
}
_LONGEST = 1 << 20
"""Bytes of a name or of PAX fields that are read."""
_FAR = 1 << 20
"""Bytes from header to header beyond which a read ahead is of no use."""
_FEW = 1 << 16
_MANY = 4 << 20

Read = Callable[[int, int], bytes]
"""(start, length) → the bytes there; fewer at the end."""


class CutError(DataError):
    """A tar that ends too early; what came before is whole."""


@dataclass(frozen=True)
class Header:
    """A file in a tar: its name, and where its content begins and how long it is."""

    name: bytes
    offset: int
    size: int


class Window:
    """Reads of a few bytes, each further on than the last, by as few requests as pay.

    Where headers lie close together, whole blocks are read on; where pictures are large, only what is about a header.
    """

    def __init__(self, read: Read, size: int, block: int = _MANY) -> None:
        self.size = size
        self._read = read
        self._block = block
        self._start = 0
        self._content = b""
        self._last = 0
        self._hops: list[int] = []

    def get(self, start: int, length: int) -> bytes:
        """`length` bytes from `start` on; fewer at the end."""
        inside = start - self._start
        if not 0 <= inside <= len(self._content) - length:
            self._hops = [*self._hops[-7:], start - self._last]
            self._last = start
            far = len(self._hops) > 2 and min(self._hops[1:]) > _FAR
            most = max(length, min(_FEW, self._block) if far else self._block)
            self._content = self._read(start, min(most, self.size - start)) if start < self.size else b""
            self._start = start
            inside = 0
        return self._content[inside : inside + length]


def headers(window: Window, address: str) -> Iterator[Header]:
    """The regular files of a tar, in its order. Raises `DataError`: `CutError` where it ends too early."""
    at = 0
    name: bytes | None = None
    fields: dict[bytes, bytes] = {}
    common: dict[bytes, bytes] = {}
    while True:
        record = window.get(at, RECORD)
        if len(record) < RECORD:
            where = "in the middle of a header" if record else "without the two empty records of its end"
            raise CutError(f"{address} is cut off at byte {window.size:,}, {where}; copy it again")
        if not any(record):
            return
        size = _checked_size(record, at, address)
        kind = record[156:157]
        at += RECORD
        if kind in (b"x", b"g", b"L", b"K"):
            if size > _LONGEST:
                raise DataError(f"{address}: a name of {size:,} bytes at byte {at:,}; this is no tar that can be used")
            content = _content(window, at, size, address)
            if kind == b"L":
                name = content.rstrip(b"\0")
            elif kind != b"K":
                (fields if kind == b"x" else common).update(_pax(content, address))
        else:
            named = {**common, **fields} if common or fields else fields
            if kind == b"S" or any(each.startswith(b"GNU.sparse") for each in named):
                raise DataError(f"{address} has sparse files, which are not read; write it anew without them")
            size = int(named.get(b"size", size))
            if kind in _PLAIN:
                prefix = record[345:500].split(b"\0", 1)[0] if record[257:263] == b"ustar\0" else b""  # of GNU: times
                short = record[:100].split(b"\0", 1)[0]
                whole = named.get(b"path") or name or (prefix + b"/" + short if prefix else short)
                if at + size > window.size:
                    raise CutError(
                        f"{address} is cut off at byte {window.size:,}, in the middle of "
                        f"{whole.decode('utf-8', 'replace')!r}; copy it again"
                    )
                if not whole.endswith(b"/"):
                    yield Header(whole, at, size)
            else:
                size = size if kind not in b"123456" else 0  # links, devices and folders have no content
            name = None
            fields = {}
        at += -(-size // RECORD) * RECORD


def _content(window: Window, at: int, size: int, address: str) -> bytes:
    content = window.get(at, size)
    if len(content) < size:
        raise CutError(f"{address} is cut off at byte {window.size:,}, in the middle of a header; copy it again")
    return content


def _number(field: bytes) -> int:
    """Octal digits, or, where the first bit is set, a number in base 256."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.rstrip(b" \0") or b"0", 8)


def _checked_size(record: bytes, at: int, address: str) -> int:
    """The size in a header. Raises `DataError` unless the record's sum is the one that stands in it."""
    try:
        if _number(record[148:156]) == sum(record) - sum(record[148:156]) + 8 * 32:
            return _number(record[124:136])
    except ValueError:
        pass
    if at == 0:
        for magic, (kind, tool) in _COMPRESSED.items():
            if record.startswith(magic):
                raise DataError(
                    f"{address} is compressed by {kind}, in which no member can be reached; unpack it ({tool}): "
                    "pictures are compressed already"
                )
        raise DataError(f"{address} is no tar, whatever its name says; give tars, or another kind of DATA")
    raise DataError(f"{address} is damaged at byte {at:,}: there is no header of a tar; copy it again")


def _pax(content: bytes, address: str) -> dict[bytes, bytes]:
    """`LENGTH key=value\\n`, again and again."""
    fields = {}
    at = 0
    try:
        while at < len(content) and content[at : at + 1] != b"\0":
            digits = content[at : content.index(b" ", at)]
            stop = at + int(digits)
            key, _, value = content[at + len(digits) + 1 : stop - 1].partition(b"=")
            if stop <= at:
                raise ValueError
            fields[key] = value
            at = stop
        if int(fields.get(b"size", 0)) < 0:
            raise ValueError
    except ValueError:
        raise DataError(f"{address} is damaged: fields of a PAX header cannot be read; write it again") from None
    return fields
