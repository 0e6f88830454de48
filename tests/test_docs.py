"""What the documents name is there: links, modules and what is in them, files, commands and their options."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import regard
from regard.app.cli import parameters_of

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def names(pattern: str, fenced: bool = False) -> list[tuple[str, str]]:
    """(page, name) of all that match, each once; with `fenced` in blocks of code alone."""
    found = {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for part in (re.findall(r"(?ms)^```.*?^```", text) if fenced else [text])
        for name in re.findall(pattern, part)
    }
    return sorted(found)


@pytest.mark.parametrize(("page", "name"), names(r"`(regard(?:\.[A-Za-z_]\w*[a-z]\w*|\.METHODS|\.METRICS)+)"))
def test_a_dotted_name_is_there(page: str, name: str) -> None:
    parts = name.split(".")
    if name == "regard.toml":
        return  # the file of settings
    value = import_module("regard")
    for depth, part in enumerate(parts[1:], 2):
        if not hasattr(value, part) or ".".join(parts[:depth]) == "regard.scenes":
            import_module(".".join(parts[:depth]))
        value = getattr(value, part)


@pytest.mark.parametrize(("page", "name"), names(r"`((?:[\w-]+/)+[\w-]+\.(?:py|md|html|css|js))`"))
def test_a_file_is_there(page: str, name: str) -> None:
    if name.startswith("runs/"):
        return  # what a training of the reader's leaves
    places = (ROOT, ROOT / "src" / "regard", ROOT / "docs", (ROOT / page).parent)
    assert any((place / name).is_file() for place in places)


@pytest.mark.parametrize(("page", "line"), names(r"(?m)^\s*(?:torchrun .* -m )?(regard [a-z]+ [^#`&\n]*)", fenced=True))
def test_a_command_line_takes_its_options(page: str, line: str) -> None:
    command, *words = line.split()[1:]
    module = import_module(f"regard.app.commands.{command}")
    allowed = {f"--{each.name.replace('_', '-')}" for each in parameters_of(getattr(module, command))}
    if command == "settings" and words:  # which takes the options of the command that it is asked about
        allowed |= {f"--{each.name.replace('_', '-')}" for each in parameters_of(getattr(regard, words[0]))}
    allowed |= {"--json", "--debug", "--slice", "--help", "--config"}
    assert {word for word in words if word.startswith("--")} <= allowed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_the_citation_names_this_version() -> None:
    assert f"version: {regard.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
