"""Hooks of mkdocs: the site lies as the repository does, so that a link means the same on both.

    make docs      builds dist/docs, warnings being errors

`docs/` keeps its name on the site, and README, CONTRIBUTING, CHANGELOG, LICENSE and examples/ lie where they lie beside
it. What a code host shows of itself (a folder, a notebook) is made here, by `docs_pages`; links to it are turned to
those pages. The order of the sidebar is that of docs/README.md. Nothing is written into the repository.
"""

import posixpath
import re
from pathlib import Path

from docs_pages import decisions, examples, gallery, notebook
from docs_reference import command_line, python
from llms import llms, reading_order, title_of
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(__file__).with_name("docs_assets")
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def generated() -> dict[str, str | bytes]:
    """What the repository does not hold, by its place on the site."""
    pages: dict[str, str | bytes] = {
        "docs/methods/index.md": gallery(ROOT),
        "docs/decisions/index.md": decisions(ROOT),
        "docs/reference/commands.md": command_line(),
        "docs/reference/python.md": python(ROOT),
        "examples/index.md": examples(ROOT),
        "llms.txt": llms(ROOT),
    }
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        pages |= notebook(path)
    return pages


def on_config(config):
    """The sidebar: the sections of docs/README.md, in its order; behind a folder that it names, what lies in it."""
    inside = {
        "docs/methods": ["docs/methods/index.md", *_pages("docs/methods")],
        "docs/decisions": ["docs/decisions/index.md", *map(_numbered, _pages("docs/decisions"))],
        "examples": ["examples/index.md", *(f"examples/{path.stem}.md" for path in _notebooks())],
    }
    names = {"docs/methods": "Gallery of methods", "docs/decisions": "Decisions", "examples": "Notebooks"}
    sections: list[dict[str, list]] = []
    for section, entries in reading_order(ROOT):
        pages = [{names[place]: inside[place]} if place in inside else place for place, _ in entries]
        sections.append({section: pages})
    reference = {"Reference": ["docs/reference/commands.md", "docs/reference/python.md"]}
    home = next(iter(sections[0].values()))
    home.remove("README.md")
    config.nav = [{"Home": "README.md"}, *sections[:-1], reference, sections[-1], {"The documents": "docs/README.md"}]
    return config


def on_files(files: Files, config) -> Files:
    """The repository's places instead of those below docs/."""
    site = Files([file for file in files if file.src_dir != config.docs_dir])  # the theme's own
    paths = [path for path in (ROOT / "docs").rglob("*") if path.is_file()]
    paths += [path for path in (ROOT / "examples").rglob("*") if path.is_file() and path.suffix != ".md"]
    paths += [ROOT / name for name in BESIDE]
    for path in sorted(paths):
        site.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for path in sorted(ASSETS.iterdir()):
        site.append(File.generated(config, f"assets/{path.name}", abs_src_path=str(path)))
    for place, content in generated().items():
        site.append(File.generated(config, place, content=content))
    return site


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Links to folders and notebooks lead to their pages; a picture of another site becomes its words."""
    folder = posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(folder, match[1]))
        for page_of_it in (f"{place}/index.md", f"{place.removesuffix('.ipynb')}.md"):
            if not place.endswith(".md") and files.get_file_from_path(page_of_it):
                return posixpath.relpath(page_of_it, folder or ".")
        return match[0]

    own = not page.file.src_uri.startswith("examples/")  # the page of a notebook offers the file itself
    return LINK.sub(turned, markdown) if own or page.file.src_uri == "examples/index.md" else markdown


def on_post_build(config) -> None:
    """Each document as it was written, too, beside its page: what llms.txt names."""
    site = Path(config.site_dir)
    for path in [*(ROOT / name for name in BESIDE), *(ROOT / "docs").rglob("*.md")]:
        copy = site / path.relative_to(ROOT)
        copy.write_bytes(path.read_bytes())


def _pages(folder: str) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).glob("*.md"))]


def _numbered(place: str) -> dict[str, str]:
    """A decision in the sidebar: its number, whether or not its heading says it."""
    title = title_of(ROOT / place)
    return {f"{Path(place).name[:4]} {title[0].upper()}{title[1:]}": place}


def _notebooks() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.ipynb"))
