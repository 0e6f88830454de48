"""What is released: the sdist builds the wheel, and the wheel holds the package, all of it and nothing else."""

import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from wheel import sdist, wheel_of  # noqa: E402

MOST = 25e6  # bytes of a wheel: nearly all are the two networks that ship


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of the checkout, and the wheel that it builds."""
    folder = tmp_path_factory.mktemp("dist")
    archive = sdist(ROOT, folder)
    return archive, wheel_of(archive, folder)


def test_the_wheel_of_the_sdist_is_the_package_byte_for_byte(released: tuple[Path, Path]) -> None:
    sources = {
        path.relative_to(ROOT / "src").as_posix(): path
        for path in (ROOT / "src" / "regard").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(released[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert names == set(sources)
        assert all(wheel.read(name) == path.read_bytes() for name, path in sources.items())
    assert {"regard/py.typed", "regard/networks/weights/pets-tiny/model.safetensors"} <= names


def test_the_wheel_is_small_enough_and_says_whose_it_is(released: tuple[Path, Path]) -> None:
    assert released[1].stat().st_size < MOST
    with zipfile.ZipFile(released[1]) as wheel:
        inside = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
        for name in ("LICENSE", "NOTICE"):
            assert wheel.read(inside[f"licenses/{name}"]) == (ROOT / name).read_bytes()
        metadata = wheel.read(inside["METADATA"]).decode()
        assert "License-Expression: Apache-2.0" in metadata
        assert "regard = regard.app.cli:run" in wheel.read(inside["entry_points.txt"]).decode()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [line for line in re.findall(r"(?m)^Requires-Dist: (.*)$", metadata) if "extra ==" not in line]
    assert sorted(needs) == sorted(project["dependencies"])


def test_the_sdist_holds_what_builds_it_and_no_more(released: tuple[Path, Path]) -> None:
    with tarfile.open(released[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    beside = {name for name in names if not name.startswith("src/regard/")}
    assert beside == {"CHANGELOG.md", "LICENSE", "NOTICE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}
    assert not any("__pycache__" in name for name in names)


def test_the_notice_names_files_that_are_there() -> None:
    text = (ROOT / "NOTICE").read_text(encoding="utf-8")
    places = re.findall(r"src/[\w/.-]*[\w-]", text)
    assert len(places) == 3
    assert all((ROOT / place).exists() for place in places)
