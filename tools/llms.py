"""Makes llms.txt, the map of the documents for language models, from docs/README.md and the tables.

    .venv/bin/python tools/llms.py

The form is that of llmstxt.org. Paths are those of the repository, and on the site the same documents lie at them.
"""

import re
from pathlib import Path

from regard.explanation import METHODS

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\]]*)\]\(([^)#]+)(?:#[^)]*)?\)")
Entry = tuple[str, str]


def reading_order(root: Path) -> list[tuple[str, list[Entry]]]:
    """The sections of docs/README.md, each with its links as (place in the repository, what is said of it)."""
    sections: list[tuple[str, list[Entry]]] = []
    for line in (root / "docs" / "README.md").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\*\*(.+)\*\*", line):
            sections.append((heading[1], []))
        for link in LINK.finditer(line):
            following = LINK.search(line, link.end())
            text = line[link.end() : following.start() if following else None]
            place = (root / "docs" / link[2]).resolve().relative_to(root).as_posix()
            sections[-1][1].append((place, text))
    return [(heading, [(place, _description(text)) for place, text in entries]) for heading, entries in sections]


def _description(text: str) -> str:
    """What stands behind the colon of a link."""
    return re.sub(r"(; a page for each in)?[ ;.,]*$", "", text.partition(": ")[2])


def llms(root: Path) -> str:
    readme = (root / "README.md").read_text(encoding="utf-8").split("\n\n")
    tagline = readme[1].strip("*\n")
    lines = ["# regard", "", f"> {tagline}", "", readme[2], ""]
    lines += [
        "`regard COMMAND --help` lists every option, `--json` prints one JSON object, and every command is a function: "
        '`regard train DATA --out RUN` is `regard.train("DATA", out="RUN")`. Errors are one line; exit codes are 0, 1 '
        "(the work failed) and 2 (the command was wrong).",
        "",
    ]
    for heading, entries in reading_order(root):
        lines += [f"## {heading}", ""]
        for place, text in entries:
            if (root / place).is_file():
                lines.append(f"- [{title_of(root / place)}]({place})" + (f": {text}" if text else ""))
        lines.append("")
    lines += ["## Methods", ""]
    lines += [f"- [{row.name}](docs/methods/{row.name}.md): {row.description}" for row in METHODS]
    lines += ["", "## Optional", ""]
    lines += [
        f"- [{title_of(path)}](docs/decisions/{path.name})"
        for path in sorted((root / "docs" / "decisions").glob("*.md"))
    ]
    return "\n".join(lines) + "\n"


def title_of(path: Path) -> str:
    """The heading of a document, without marks."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return re.sub(r"^\d{4}:? ", "", first.removeprefix("# ").replace("`", ""))


if __name__ == "__main__":
    (ROOT / "llms.txt").write_text(llms(ROOT), encoding="utf-8")
