"""Run the notebooks in examples/ and store what they show: `python tools/notebooks.py [NAME ...]`.

Each begins with its heading and Colab's badge, and installs regard where it is missing: `--beginnings` makes these anew
without running anything. The badge leads to the notebook itself as soon as pyproject.toml names the repository
(`[project.urls]`, `Repository`), and until then to Colab's own search of GitHub.
"""

import base64
import io
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
WIDTH = 1200  # of stored pictures, at most, in pixels


COLAB = "https://colab.research.google.com"
INSTALL = """\
from importlib.util import find_spec

if find_spec("regard") is None:  # on a machine that is not yours, such as Colab's
    %pip install --quiet regard"""


def badge(name: str, project: dict) -> str:
    """The badge of the notebook called `name`, by the address that the `project` table names."""
    repository = project.get("urls", {}).get("Repository", "").rstrip("/")
    place = f"{repository.removeprefix('https://github.com')}/blob/main/examples/{name}.ipynb" if repository else "/"
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github{place})"


def begun(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The notebook with its badge below the heading, and the cell that installs regard before all others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    heading, *paragraphs = notebook.cells[0].source.split("\n\n")
    text = [each for each in paragraphs if not each.startswith("[![Open in Colab]")]
    notebook.cells[0].source = "\n\n".join([heading, badge(name, project), *text])
    if notebook.cells[1].get("id") != "install":
        notebook.cells.insert(1, nbformat.v4.new_code_cell(id="install"))
    notebook.cells[1].source = INSTALL
    return notebook


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that it has when it is run in `folder`; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    return notebook


def light(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as it is stored: pictures as JPEG, a sixth of their size, and nothing that differs in every run."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell["outputs"] = [each for each in cell.get("outputs", ()) if each.get("name") != "stderr"]
        for output in cell["outputs"]:
            output.get("data", {}).pop("text/html", None)  # a page in a frame, which code hosts do not show
            if png := output.get("data", {}).pop("image/png", None):
                content = io.BytesIO()
                picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
                picture.thumbnail((WIDTH, WIDTH))
                picture.save(content, "JPEG", quality=82)
                output["data"]["image/jpeg"] = base64.b64encode(content.getvalue()).decode()
        if cell.cell_type != "code":
            del cell["outputs"]
    return notebook


def main(words: list[str]) -> None:
    names = [word for word in words if word != "--beginnings"]
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if not names or path.stem in names:
            if "--beginnings" in words:
                notebook = nbformat.read(path, as_version=4)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    notebook = light(executed(path, Path(folder)))
            notebook = begun(notebook, path.stem)
            path.write_text(f"{nbformat.writes(notebook).rstrip()}\n", encoding="utf-8")
            print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
