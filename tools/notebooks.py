"""Run the notebooks in examples/ and store what they show: `python tools/notebooks.py [NAME ...]`."""

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
WIDTH = 1200  # of stored pictures, at most, in pixels


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


def main(names: list[str]) -> None:
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        if not names or path.stem in names:
            with tempfile.TemporaryDirectory() as folder:
                notebook = light(executed(path, Path(folder)))
            path.write_text(f"{nbformat.writes(notebook).rstrip()}\n", encoding="utf-8")
            print(path.name)


if __name__ == "__main__":
    main(sys.argv[1:])
