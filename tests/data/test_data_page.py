"""docs/data.md is true: its examples are laid out as it shows them, and read as it says."""

import re
from pathlib import Path

import pytest
from PIL import Image

from regard.data import hashes
from regard.data.images import decode as opening
from regard.data.images.formats import SUFFIXES
from regard.data.layouts import read

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture
def laid_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every file that the page lists."""
    listed = [line for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    names = [*listed, "zoo/images/a.jpg", "zoo/images/b.jpg", "zoo/images/c.jpg"]
    for at, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (at * 20, 0, 0)).save(tmp_path / name)
    tables = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "zoo/index.csv").write_text(tables[0], encoding="utf-8")
    (rooms,) = (each for each in tables if "|" in each)
    (tmp_path / "rooms").mkdir()
    for at, line in enumerate(rooms.splitlines()[1:]):
        Image.new("RGB", (8, 8), (0, at * 20, 0)).save(tmp_path / "rooms" / line.split(",")[0])
    (tmp_path / "rooms/index.csv").write_text(rooms, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_layouts_are_read_as_the_page_says(laid_out: Path) -> None:
    zoo, shop, animals, flat = (read(name) for name in ("zoo", "shop", "animals", "flat"))
    assert zoo.layout == "index" and zoo.splits == ("train", "val") and zoo.column("animal")[0] == "tom"
    assert shop.layout == "splits" and shop.part("validation").names == ["validation/dress/3.jpg"]
    assert animals.layout == "classes" and animals.column("folder").tolist() == ["tom", "tom", ""]
    assert flat.layout == "flat" and flat.classes == ("great_pyrenees", "pug")


def test_the_code_runs(laid_out: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    assert len(names["train"]) == 3 and names["pairs"] == []  # type: ignore[arg-type]


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"{opening.MAX_PIXELS:,} pixels" in PAGE
    assert f"at most {hashes.BITS} bits" in PAGE and f"{hashes.ALIKE} or more" in PAGE
    assert f"at most {hashes.LEVELS:g} of 255" in PAGE.replace("\n", " ")
    assert all(f"`{suffix}`" in PAGE for suffix in SUFFIXES)
