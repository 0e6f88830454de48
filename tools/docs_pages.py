"""Pages of the site that are made of tables, folders and notebooks: the gallery, the decisions, the notebooks."""

import base64
import re
from pathlib import Path

import nbformat
from llms import title_of

from regard.explanation import METHODS

BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?:[^)]*\)\]\(([^)]*)\)")
KINDS = {"picture": "For pictures", "word": "For words of a caption"}


def gallery(root: Path) -> str:
    """Every row of METHODS with its picture and its line; more in `docs/methods.md`."""
    parts = [
        "# Gallery of methods",
        "Every method of `regard methods`: those for pictures on one photograph, for the breed that `pets-tiny` says, "
        "those for words on a drawn scene, as `scenes-captioner` describes it. A method without a picture needs a "
        "language model, of which none ships. Which one to use, and what each costs: [methods](../methods.md).",
    ]
    for kind, heading in KINDS.items():
        parts.append(f"## {heading}\n\n<div class='grid cards' markdown>\n")
        for row in (row for row in METHODS if row.kind == kind):
            drawn = (root / "docs" / "images" / "methods" / f"{row.name}.jpg").is_file()
            picture = f"    [![{row.name}](../images/methods/{row.name}.jpg)]({row.name}.md)\n\n" if drawn else ""
            parts.append(f"-   **[{row.name}]({row.name}.md)**\n\n{picture}    {_sentence(row.description)}\n")
        parts.append("</div>")
    return "\n\n".join(parts)


def decisions(root: Path) -> str:
    """All decision notes by number."""
    notes = sorted((root / "docs" / "decisions").glob("[0-9]*.md"))
    lines = [f"- {path.name[:4]} [{title_of(path)}]({path.name})" for path in notes]
    text = "Half a page for each choice that someone will question later."
    return "\n".join(["# Decisions", "", text, "", *lines, ""])


def examples(root: Path) -> str:
    """The notebooks, by their headings."""
    paths = sorted((root / "examples").glob("*.ipynb"))
    text = "Each runs from top to bottom, offline, in the tests of every change."
    lines = [f"- [{_heading(path)}]({path.stem}.md)" for path in paths]
    return "\n".join(["# Notebooks", "", text, "", *lines, ""])


def notebook(path: Path) -> dict[str, str | bytes]:
    """The page of a stored notebook, and its pictures, by place."""
    pages: dict[str, str | bytes] = {}
    parts = []
    cells = nbformat.read(path, as_version=4).cells
    for index, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            parts.append(BADGE.sub(r"[\1](\2)", cell.source))  # no picture of another site
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            for number, output in enumerate(cell.outputs):
                data = output.get("data", {})
                text = output.get("text") or data.get("text/plain", "")
                if content := data.get("image/jpeg"):
                    place = f"{path.stem}_files/{index}_{number}.jpg"
                    pages[f"examples/{place}"] = base64.b64decode(content)
                    parts.append(f"![{_alternative(text)}]({place})")
                elif text:
                    parts.append(f"```text\n{text.rstrip()}\n```")
    parts.insert(1, f"*A notebook: [{path.name}]({path.name}).*")
    return pages | {f"examples/{path.stem}.md": "\n\n".join(parts) + "\n"}


def _heading(path: Path) -> str:
    first = nbformat.read(path, as_version=4).cells[0].source
    return first.splitlines()[0].removeprefix("# ")


def _alternative(text: str) -> str:
    """What stands for a picture where it is not seen: the first line of what is printed."""
    return re.sub(r"[\[\]]", "", text.splitlines()[0] if text else "output")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
