"""Inspections: the same after packing, as the documents say by a slow twin, and refused where they are not whole."""

import base64
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from inspections import made

from regard.errors import DataError
from regard.records import Inspection, PatchGrid, WordSupport
from regard.records.inspection import (
    Answer,
    ArtifactTokens,
    InspectedCaption,
    InspectedMap,
    InspectedWord,
    Keys,
    Lens,
    packing,
)
from regard.records.inspection.packing import VERSION, pack
from regard.records.inspection.parts import PREFIX
from regard.records.quantised import Quantised

SMALL = {"layers": 3, "heads": 2, "rows": 4, "columns": 5}
TEXT = st.text(max_size=8)
SHARE = st.floats(0, 1)


@st.composite
def inspections(draw):
    """Any inspection: each part there or not, of any size."""
    rows, columns, layers, heads = (draw(st.integers(1, 4)) for _ in range(4))
    shape = (rows, columns)
    grid = PatchGrid.whole(rows, columns, draw(st.integers(0, 2)), (7, 9))
    floats = st.floats(-100, 100, width=32)

    def array(*leading, transform="sqrt"):
        return Quantised.of(draw(hnp.arrays(np.float32, (*leading, *shape), elements=floats)), transform)

    arrays = {}
    if draw(st.booleans()):
        arrays["cls"] = array(layers, heads)
    if draw(st.booleans()):
        arrays["signed_maps"] = array(2, transform="linear")
    names = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    answers = st.builds(
        Answer,
        st.lists(st.tuples(TEXT, SHARE), min_size=1, max_size=5).map(tuple),
        st.none() | TEXT,
        st.booleans(),
        st.none() | st.booleans(),
    )
    patches = rows * columns
    attention = draw(hnp.arrays(np.float64, (layers, patches, patches + grid.prefix), elements=SHARE))
    reading = draw(hnp.arrays(np.float64, (layers, patches, len(names)), elements=SHARE))
    support = st.builds(WordSupport, SHARE, TEXT, st.lists(TEXT, max_size=2).map(tuple), st.none() | TEXT)
    words = st.builds(
        InspectedWord,
        TEXT,
        st.none() | TEXT,
        SHARE,
        st.lists(st.tuples(TEXT, SHARE), max_size=2).map(tuple),
        support=st.none() | support,
        checks=st.none() | st.dictionaries(TEXT, st.none() | SHARE, max_size=2),
    )
    return Inspection(
        draw(TEXT),
        grid,
        {"name": draw(TEXT), "layers": layers, "heads": heads, "reads": "cls"},
        arrays,
        {"cls": tuple(range(layers))},
        None,
        draw(st.none() | answers),
        draw(st.none() | st.just(Keys.of(range(layers), attention, grid.prefix))),
        draw(st.none() | st.just(Lens.of(range(layers), reading.argmax(axis=2), reading.max(axis=2), names))),
        draw(st.none() | st.builds(ArtifactTokens, st.lists(st.integers(0, 9)).map(tuple), SHARE)),
        tuple(draw(st.lists(st.builds(InspectedMap, TEXT, TEXT, st.just("maps"), st.integers(0, 3)), max_size=2))),
        draw(st.none() | st.builds(InspectedCaption, TEXT, st.lists(words, max_size=3).map(tuple), st.none() | TEXT)),
        draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        draw(st.dictionaries(TEXT, st.none() | SHARE | TEXT, max_size=2)),
    )


@settings(max_examples=60, deadline=None)
@given(inspections())
def test_packing_loses_nothing(inspection):
    again = Inspection.unpack(inspection.pack())
    assert again == inspection and again.pack() == inspection.pack()
    assert Inspection.from_json(json.loads(json.dumps(inspection.to_json()))) == inspection
    for name, array in inspection.arrays.items():
        assert np.array_equal(again.arrays[name].levels, array.levels)
        assert np.array_equal(again.values(name), inspection.values(name))
    for part in ("answer", "artifacts", "maps", "caption", "absent", "layers"):
        assert getattr(again, part) == getattr(inspection, part), part


def slow(packed):
    """A reader written from docs/inspections.md alone, byte by byte: header, and a function for each kind of value."""
    data = zlib.decompress(packed, -15)
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length].decode())
    start = 4 + length
    while start % 8:
        assert data[start] == 0
        start += 1
    binary = data[start:]
    assert header["size"] == len(binary) and header["crc32"] == zlib.crc32(binary)

    def value(name, index, row, column):
        (entry,) = [each for each in header["arrays"] if each["name"] == name]
        *leading, rows, columns = entry["shape"]
        number = 0
        for place, size in zip(index, leading, strict=True):
            number = number * size + place
        count = 1
        for size in leading:
            count *= size
        (low,) = struct.unpack_from("<f", binary, entry["start"] + 4 * number)
        (high,) = struct.unpack_from("<f", binary, entry["start"] + 4 * (count + number))
        level = binary[entry["start"] + 8 * count + (number * rows + row) * columns + column] / 255
        return low + (high - low) * (level**2 if entry["transform"] == "sqrt" else level)

    def keys(layer, patch):
        patches = header["grid"]["rows"] * header["grid"]["columns"]
        entry = header["keys"]
        first = (entry["layers"].index(layer) * patches + patch) * entry["count"]
        result = []
        for place in range(first, first + entry["count"]):
            (index,) = struct.unpack_from("<H", binary, entry["indices"] + 2 * place)
            weight = (binary[entry["weights"] + place] / 255) ** 2 * entry["highest"][entry["layers"].index(layer)]
            result.append((index, weight))
        return result

    def lens(layer, patch):
        patches = header["grid"]["rows"] * header["grid"]["columns"]
        place = header["lens"]["layers"].index(layer) * patches + patch
        (index,) = struct.unpack_from("<H", binary, header["lens"]["classes"] + 2 * place)
        return header["classes"][index], binary[header["lens"]["probabilities"] + place] / 255

    return header, binary, value, keys, lens


def test_a_slow_twin_reads_the_same():
    inspection = made(5, **SMALL, caption=True)
    header, binary, value, keys, lens = slow(inspection.pack())
    for name, index in (("cls", (2, 1)), ("patches", (3, 4)), ("signed_maps", (1,)), ("words", (2,)), ("maps", (0,))):
        assert value(name, index, 3, 2) == pytest.approx(inspection.values(name)[(*index, 3, 2)], rel=1e-6), name
    assert [index for index, _ in keys(1, 7)] == inspection.keys.indices[1, 7].tolist()
    assert [weight for _, weight in keys(1, 7)] == pytest.approx(inspection.keys.weights()[1, 7].tolist())
    assert lens(2, 6)[0] == inspection.lens.names[inspection.lens.classes[2, 6]]
    image = header["picture"]["image"]
    assert binary[image["start"] : image["start"] + image["length"]] == inspection.picture.content
    starts = [entry["start"] for entry in header["arrays"]] + [image["start"], header["keys"]["indices"]]
    assert not [start for start in starts if start % 8]
    assert base64.b64decode(inspection.to_json()["data"]) == binary


def test_the_strongest_keys_are_those_of_the_matrix():
    random = np.random.default_rng(0)
    attention = random.random((2, 6, 8)) ** 3
    keys = Keys.of((0, 1), attention, prefix=2)
    for layer in range(2):
        for patch in range(6):
            best = sorted(range(8), key=lambda token: -attention[layer, patch, token])[:6]
            assert keys.indices[layer, patch].tolist() == [PREFIX if token < 2 else token - 2 for token in best]
            off = np.abs(keys.weights()[layer, patch] - attention[layer, patch, best])
            assert off.max() <= keys.highest[layer] / 255


def test_what_is_left_out_is_said():
    inspection = made(**SMALL)
    smaller = inspection.without("patches", "too large").without("keys", "too large").with_mean_heads(1, "too large")
    assert smaller.absent == {"patches": "too large", "keys": "too large", "heads": "too large"}
    assert smaller.layers["cls"] == (2,) and smaller.layers["cls_mean"] == (0, 1) and smaller.keys is None
    off = np.abs(smaller.values("cls_mean") - inspection.values("cls")[:2].mean(axis=1))
    assert off.max() <= smaller.arrays["cls_mean"].bound().max()
    np.testing.assert_array_equal(smaller.values("cls"), inspection.values("cls")[2:])
    assert Inspection.unpack(smaller.pack()) == smaller and len(smaller.pack()) < len(inspection.pack())


@pytest.mark.parametrize("place", [10, 400, -3])
def test_damaged_bytes_are_refused(place):
    packed = bytearray(made(**SMALL).pack())
    packed[place] ^= 0xFF
    with pytest.raises(DataError, match=r"damaged|not an inspection"):
        Inspection.unpack(bytes(packed))


@pytest.mark.parametrize("packed", [b"", b"abc", b"\x03\x00", zlib.compress(b"[" * 100_000, wbits=-15)])
def test_what_is_no_inspection_is_refused(packed):
    with pytest.raises(DataError, match="damaged"):
        Inspection.unpack(packed)
    with pytest.raises(DataError, match="damaged"):
        Inspection.unpack(made(**SMALL).pack()[:-20])


def test_a_flood_of_zeros_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(packing, "MOST", 1 << 20)
    with pytest.raises(DataError, match=r"cut off, or more than 1 MB"):
        Inspection.unpack(zlib.compress(bytes(1 << 21), wbits=-15))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"version": VERSION + 1}, "newer than 1; upgrade regard"),
        ({"format": "regard-maps"}, "`format` must be 'regard-inspection'"),
        ({"version": "1"}, "damaged"),
        ({"crc32": 5}, "damaged"),
        ({"arrays": [{"name": "cls", "shape": [99, 99, 9, 9], "transform": "sqrt", "start": 0}]}, "damaged"),
        ({"arrays": [{"name": "cls", "shape": [-1, 2], "transform": "sqrt", "start": -8}]}, "damaged"),
        ({"arrays": 5}, "damaged"),
        ({"answer": {"probabilities": [], "true": None, "seen": False, "flips": None}}, "damaged"),
        ({"grid": None}, "damaged"),
        ({"maps": [{"strange": 1}]}, "damaged"),
    ],
)
def test_another_header_is_refused(change, what):
    inspection = made(**SMALL)
    binary = base64.b64decode(inspection.to_json()["data"])
    header = {name: each for name, each in inspection.to_json().items() if name != "data"}
    with pytest.raises(DataError, match=what):
        Inspection.unpack(pack({**header, **change}, binary))
    with pytest.raises(DataError, match=what):
        Inspection.from_json({**inspection.to_json(), **change})


def test_json_that_is_no_twin_is_refused():
    for stored in ({}, {"data": 5}, {"data": "!"}):
        with pytest.raises(DataError, match="not the JSON of an inspection"):
            Inspection.from_json(stored)
    with pytest.raises(DataError, match="not an inspection"):
        Inspection.from_json({"data": ""})


def test_names_may_be_anything():
    inspection = replace(made(**SMALL), name="\ud800 \u202e <script> \x00")
    assert Inspection.unpack(inspection.pack()).name == inspection.name
