"""Maps as bytes: within the stated bound for any values, the stated sizes, and the same in JavaScript."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from regard.errors import DataError, UsageError
from regard.records import PatchGrid
from regard.records.quantised import FORMAT, TRANSFORMS, VERSION, Quantised, QuantisedMaps

GRID = PatchGrid(rows=2, columns=3, prefix=1, picture=(40, 90), box=(15.0, 0.0, 75.0, 40.0))
FINITE = st.floats(-(2.0**100), 2.0**100, width=32, allow_nan=False)


def _attention(layers: int = 2, heads: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Heavy-tailed rows that sum to one: (layers, heads, tokens) of CLS and (patches, tokens) of the patches."""
    random = np.random.default_rng(seed)
    powers = [np.exp(3 * random.normal(size=size)) for size in ((layers, heads, 7), (6, 7))]
    rows, patches = (each / each.sum(-1, keepdims=True) for each in powers)
    return rows.astype(np.float32), patches.astype(np.float32)


def _maps() -> QuantisedMaps:
    return QuantisedMaps.of_attention("cats/a.jpg", GRID, *_attention())


@pytest.mark.parametrize("transform", TRANSFORMS)
@settings(max_examples=150, deadline=None)
@given(values=hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=FINITE))
def test_no_value_is_farther_off_than_the_bound(transform: str, values: np.ndarray) -> None:
    quantised = Quantised.of(values, transform)
    off = np.abs(quantised.values().astype(np.float64) - values).max(axis=(-2, -1))
    assert (off <= quantised.bound()).all()
    extent = values.max(axis=(-2, -1)).astype(np.float64) - values.min(axis=(-2, -1))
    share = {"linear": 1 / 510, "sqrt": 1 / 255}[transform]
    largest = np.abs(values).max(axis=(-2, -1)).astype(np.float64)
    assert (quantised.bound() <= share * extent + 1e-6 * largest + 1e-44).all()


@settings(max_examples=60, deadline=None)
@given(values=hnp.arrays(np.float32, (2, 3, 4), elements=FINITE), transform=st.sampled_from(sorted(TRANSFORMS)))
def test_order_and_ends_are_kept(values: np.ndarray, transform: str) -> None:
    decoded = Quantised.of(values, transform).values()
    for one, other in zip(values, decoded, strict=True):
        assert (np.diff(other.ravel()[np.argsort(one.ravel())]) >= 0).all()
        assert other.min() == one.min()
        assert other.max() == pytest.approx(one.max(), abs=1e-6 * float(np.abs(one).max()))


def test_levels_by_hand() -> None:
    values = np.array([[1.0, 1.25, 2.0]], np.float32)
    assert Quantised.of(values, "linear").levels.tolist() == [[0, 64, 255]]
    assert Quantised.of(values, "sqrt").levels.tolist() == [[0, 128, 255]]  # √¼ = ½


def test_a_constant_map_is_exact() -> None:
    values = np.full((2, 2), 0.1, np.float32)
    assert np.array_equal(Quantised.of(values).values(), values)


def test_sqrt_is_nearer_than_linear_where_tails_are_heavy() -> None:
    rows = _attention(12, 12)[0][..., 1:].reshape(12, 12, 2, 3)
    off = {each: np.abs(Quantised.of(rows, each).values() - rows).mean() for each in TRANSFORMS}
    assert off["sqrt"] < 0.75 * off["linear"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 values that are not finite"):
        Quantised.of(np.array([[0.0, bad]]))
    with pytest.raises(DataError, match="shape"):
        Quantised.of(np.zeros(3))
    with pytest.raises(UsageError, match="sqrt"):
        Quantised.of(np.zeros((2, 2)), "square")


def test_attention_is_folded_without_its_prefix() -> None:
    rows, patches = _attention()
    maps = _maps()
    cls, square = maps.arrays["cls"], maps.arrays["patches"]
    assert cls.levels.shape == (2, 3, 2, 3)
    assert square.levels.shape == (2, 3, 2, 3)
    assert np.allclose(cls.values()[1, 2].ravel(), rows[1, 2, 1:], atol=cls.bound().max())
    for query in range(6):
        row, column = divmod(query, 3)
        assert np.allclose(square.values()[row, column].ravel(), patches[query, 1:], atol=square.bound().max())
    whole = QuantisedMaps.of_attention("a", GRID, rows, np.concatenate([np.zeros((1, 7), np.float32), patches]))
    assert np.array_equal(whole.arrays["patches"].levels, square.levels)  # (tokens, tokens) do as well


def test_text_comes_back_as_it_was() -> None:
    maps = _maps()
    again = QuantisedMaps.loads(maps.dumps())
    assert (again.name, again.grid, list(again.arrays)) == ("cats/a.jpg", GRID, ["cls", "patches"])
    for name, array in maps.arrays.items():
        other = again.arrays[name]
        assert other.transform == array.transform == "sqrt"
        assert np.array_equal(other.levels, array.levels)
        assert np.array_equal(other.values(), array.values())
    assert again.dumps() == maps.dumps()


@pytest.mark.parametrize(("rows", "columns", "size"), [(14, 14, 92_480), (24, 24, 560_640), (9, 17, 63_760)])
def test_sizes_are_as_documented(rows: int, columns: int, size: int) -> None:
    """ViT-B/16: 12 layers and 12 heads; at 224 × 224 a picture takes 92 kB, at 384 × 384 561 kB."""
    grid = PatchGrid.whole(rows, columns, prefix=1)
    row = np.full((12, 12, grid.tokens), 1 / grid.tokens, np.float32)
    maps = QuantisedMaps.of_attention("a", grid, row, np.full((grid.patches, grid.tokens), 0.1, np.float32))
    data = maps.to_json()["data"]
    ends, patches = 8 * (144 + grid.patches), (144 + grid.patches) * grid.patches
    assert len(data) == 4 * -(-len(base64.b64decode(data)) // 3)
    assert ends + patches <= len(base64.b64decode(data)) <= ends + patches + 6
    assert len(data) == size
    assert len(maps.dumps()) - len(data) < 500


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "png"}, "its `format` must be"),
        ({"version": VERSION + 1}, "upgrade regard"),
        ({"version": "one"}, "damaged"),
        ({"data": "AAAA"}, "damaged"),
        ({"data": "not base64!"}, "damaged"),
        ({"grid": {}}, "damaged"),
        ({"arrays": [{"name": "cls", "shape": [2, 3], "transform": "cube", "start": 0}]}, "damaged"),
    ],
)
def test_what_is_damaged_is_said(change: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        QuantisedMaps.from_json({**_maps().to_json(), **change})
    with pytest.raises(DataError, match="no JSON"):
        QuantisedMaps.loads("{")


def test_javascript_reads_the_same(tmp_path: Path) -> None:
    """The reader of docs/quantised.md, word for word, in node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which is not installed here, so the JavaScript of docs/quantised.md stays untried")
    page = (Path(__file__).parents[2] / "docs" / "quantised.md").read_text(encoding="utf-8")
    code = page.split("```js\n")[1].split("```")[0]
    maps = _maps()
    (tmp_path / "maps.json").write_text(maps.dumps())
    script = f"""{code}
const maps = JSON.parse(require("fs").readFileSync({json.dumps(str(tmp_path / "maps.json"))}, "utf8"));
console.log(JSON.stringify(maps.arrays.map((array, index) => Array.from(read(maps, array.name)))));"""
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True, timeout=60)
    for values, array in zip(json.loads(done.stdout), maps.arrays.values(), strict=True):
        assert np.allclose(values, array.values().ravel(), rtol=1e-6, atol=1e-9)


def test_format_is_the_first_version() -> None:
    stored = _maps().to_json()
    assert (stored["format"], stored["version"]) == (FORMAT, VERSION) == ("regard-maps", 1)
    assert [sorted(entry) for entry in stored["arrays"]] == [["name", "shape", "start", "transform"]] * 2
