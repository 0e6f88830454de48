"""The notebooks run from top to bottom, and show what they say they show."""

import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from notebooks import COLAB, INSTALL, badge, begun, executed  # noqa: E402

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # of the kernel's own sockets
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = executed(path, tmp_path)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2, "records draw themselves"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_badge_and_installs_regard_where_it_is_missing(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert notebook.cells[0].source.split("\n\n")[1] == badge(path.stem, project)
    assert notebook.cells[1].source == INSTALL, "run: python tools/notebooks.py --beginnings"
    assert begun(nbformat.read(path, as_version=4), path.stem) == notebook


def test_a_badge_leads_to_the_notebook_where_the_repository_is_named() -> None:
    named = {"urls": {"Repository": "https://github.com/somebody/regard"}}
    assert badge("a", named).endswith(f"({COLAB}/github/somebody/regard/blob/main/examples/a.ipynb)")
    assert badge("a", {}).endswith(f"({COLAB}/github/)")


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"captions_with_words", "explain_your_own_module", "train_and_look"}
