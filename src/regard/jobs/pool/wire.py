"""Frames between the server and a worker: eight bytes of lengths, a JSON header, and bytes that are none.

Not pickles: what comes from a worker in whose memory a hostile picture was decoded is data, never code.
"""

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

LENGTHS = struct.Struct("<II")
Frame = tuple[dict[str, Any], bytes]
"""A header and a body."""


def packed(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A frame as bytes."""
    text = json.dumps(header, allow_nan=False).encode()
    return LENGTHS.pack(len(text), len(body)) + text + body


def read(stream: BinaryIO) -> Frame | None:
    """The next frame of a file; None where the other side has gone."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    sizes = LENGTHS.unpack(lengths)
    text, body = (stream.read(size) for size in sizes)
    return (json.loads(text), body) if (len(text), len(body)) == sizes else None


async def receive(stream: asyncio.StreamReader) -> Frame | None:
    """The same, of a pipe."""
    try:
        header, body = LENGTHS.unpack(await stream.readexactly(LENGTHS.size))
        return json.loads(await stream.readexactly(header)), await stream.readexactly(body)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None
