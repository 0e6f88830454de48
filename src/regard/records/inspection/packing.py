"""Inspections as bytes for pages and for HTTP, and as JSON: see docs/inspections.md, which has the format."""

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.errors import DataError
from regard.records.grid import PatchGrid
from regard.records.inspection.parts import (
    Answer,
    ArtifactTokens,
    InspectedCaption,
    InspectedMap,
    InspectedPicture,
    Keys,
    Lens,
)
from regard.records.quantised import TRANSFORMS, Quantised

if TYPE_CHECKING:
    from regard.records.inspection.inspection import Inspection

FORMAT = "regard-inspection"
VERSION = 1
MEDIA_TYPE = "application/vnd.regard.inspection"
ALIGNED = 8
"""Every part of the binary begins at a multiple of this, which JavaScript's typed arrays ask for."""
MOST = 1 << 28
"""Bytes that an inspection unpacks to at most: a few kilobytes could be made to fill the memory."""
AGAIN = "make it again"


class _Binary:
    """Bytes that grow part by part, each at a multiple of `ALIGNED`."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, *parts: bytes) -> int:
        """Add parts, one behind the other; where they start."""
        start = len(self.data)
        for part in parts:
            self.data += part
        self.data += bytes(-len(self.data) % ALIGNED)
        return start


def header_and_binary(
    inspection: "Inspection", clean: Callable[[Any], Any] = lambda header: header
) -> tuple[dict[str, Any], bytes]:
    """The header and the binary of docs/inspections.md; `clean` may change the header's texts."""
    binary = _Binary()
    answer, lens, keys, picture = inspection.answer, inspection.lens, inspection.keys, inspection.picture
    height, width = inspection.grid.picture
    image = None
    if picture is not None:
        image = {"start": binary.add(picture.content), "length": len(picture.content), "type": picture.type,
                 "height": picture.height, "width": picture.width}  # fmt: skip
    arrays = [
        {
            "name": name,
            "shape": list(array.levels.shape),
            "transform": array.transform,
            "start": binary.add(
                array.low.astype("<f4").tobytes(), array.high.astype("<f4").tobytes(), array.levels.tobytes()
            ),
        }
        for name, array in inspection.arrays.items()
    ]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "name": inspection.name,
        "picture": {"height": height, "width": width, "image": image},
        "grid": asdict(inspection.grid),
        "network": dict(inspection.network),
        "classes": list(lens.names if lens is not None else ()),
        "answer": None if answer is None else answer.as_json(),
        "arrays": arrays,
        "layers": {name: list(layers) for name, layers in inspection.layers.items()},
        "keys": None if keys is None else {
            "layers": list(keys.layers),
            "count": keys.indices.shape[2],
            "indices": binary.add(keys.indices.astype("<u2").tobytes()),
            "weights": binary.add(keys.levels.tobytes()),
            "highest": list(keys.highest),
        },
        "lens": None if lens is None else {
            "layers": list(lens.layers),
            "classes": binary.add(lens.classes.astype("<u2").tobytes()),
            "probabilities": binary.add(lens.levels.tobytes()),
        },
        "artifacts": None if inspection.artifacts is None else asdict(inspection.artifacts),
        "maps": [{each.name: getattr(entry, each.name) for each in fields(entry)} for entry in inspection.maps],
        "caption": None if inspection.caption is None else inspection.caption.as_json(),
        "absent": dict(inspection.absent),
        "provenance": dict(inspection.provenance),
    }  # fmt: skip
    data = bytes(binary.data)
    return {**clean(header), "size": len(data), "crc32": zlib.crc32(data)}, data


def pack(header: Mapping[str, Any], binary: bytes) -> bytes:
    """Length, header and binary, deflated without a frame."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    start = struct.pack("<I", len(text)) + text
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(start + bytes(-len(start) % ALIGNED)) + deflate.compress(binary) + deflate.flush()


def unpack(packed: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the binary of packed bytes. Raises `DataError` for what is no inspection, or a damaged one."""
    inflate = zlib.decompressobj(-15)
    try:
        data = inflate.decompress(packed, MOST)
        if not inflate.eof or inflate.unused_data:
            raise ValueError(f"it is cut off, or more than {MOST >> 20} MB" if not inflate.eof else "bytes behind it")
        (length,) = struct.unpack_from("<I", data)
        header = json.loads(data[4 : 4 + length])
        return header, data[4 + length + -(4 + length) % ALIGNED :]
    except (zlib.error, struct.error, ValueError, RecursionError) as error:
        raise DataError(f"the inspection is damaged ({error}); {AGAIN}") from error


def as_twin(header: Mapping[str, Any], binary: bytes) -> dict[str, Any]:
    """The header with the binary as base64."""
    return {**header, "data": base64.b64encode(binary).decode("ascii")}


def of_twin(stored: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    """The header and the binary of a JSON twin. Raises `DataError` for what is none."""
    try:
        return stored, base64.b64decode(stored["data"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"this is not the JSON of an inspection ({error!r} of its `data`); {AGAIN}") from error


def inspection_of(kind: type[Any], header: Mapping[str, Any], binary: bytes) -> Any:
    """The inspection, of class `kind`. Raises `DataError` for another format, a newer version or damaged data."""
    if not isinstance(header, Mapping) or header.get("format") != FORMAT:
        raise DataError(f"this is not an inspection; its `format` must be {FORMAT!r}")
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        raise DataError(f"this inspection has version {version}, newer than {VERSION}; upgrade regard")
    try:
        if version != VERSION or header["size"] != len(binary) or header["crc32"] != zlib.crc32(binary):
            raise ValueError(f"version {version!r}, {len(binary)} bytes that are not those that were written")
        return kind(**_fields(header, binary))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the inspection is damaged ({error!r}); {AGAIN}") from error


def _fields(header: Mapping[str, Any], binary: bytes) -> dict[str, Any]:
    """The fields of an inspection, out of its header and its bytes."""
    grid = PatchGrid.from_json(header["grid"])
    image, answer, keys, lens, artifacts, caption = (
        header["picture"]["image"], header["answer"], header["keys"], header["lens"], header["artifacts"],
        header["caption"],
    )  # fmt: skip
    return {
        "name": header["name"],
        "grid": grid,
        "network": header["network"],
        "arrays": {entry["name"]: _array(entry, binary) for entry in header["arrays"]},
        "layers": {name: tuple(layers) for name, layers in header["layers"].items()},
        "picture": image and InspectedPicture(
            binary[image["start"] : image["start"] + image["length"]], image["height"], image["width"], image["type"]
        ),
        "answer": answer and Answer.from_json(answer),
        "keys": keys and Keys(
            tuple(keys["layers"]),
            _integers(binary, "<u2", keys["indices"], len(keys["layers"]), grid.patches, keys["count"]),
            _integers(binary, "u1", keys["weights"], len(keys["layers"]), grid.patches, keys["count"]),
            tuple(keys["highest"]),
        ),
        "lens": lens and Lens(
            tuple(lens["layers"]),
            _integers(binary, "<u2", lens["classes"], len(lens["layers"]), grid.patches),
            _integers(binary, "u1", lens["probabilities"], len(lens["layers"]), grid.patches),
            tuple(header["classes"]),
        ),
        "artifacts": artifacts and ArtifactTokens(tuple(artifacts["tokens"]), artifacts["share"]),
        "maps": tuple(InspectedMap(**entry) for entry in header["maps"]),
        "caption": caption and InspectedCaption.from_json(caption),
        "absent": header["absent"],
        "provenance": header["provenance"],
    }  # fmt: skip


def _array(entry: Mapping[str, Any], binary: bytes) -> Quantised:
    if entry["transform"] not in TRANSFORMS:
        raise ValueError(f"unknown transform {entry['transform']!r}")
    *leading, _, _ = entry["shape"]
    count = int(np.prod(leading))
    low, high = np.frombuffer(binary, "<f4", 2 * count, entry["start"]).astype(np.float32).reshape(2, *leading)
    levels = _integers(binary, "u1", entry["start"] + 8 * count, *entry["shape"])
    return Quantised(levels, low, high, entry["transform"])


def _integers(binary: bytes, kind: str, start: int, *shape: int) -> Any:
    count = int(np.prod(shape))
    values = np.frombuffer(binary, kind, count, start).reshape(shape)
    return values.astype(values.dtype.newbyteorder("="))
