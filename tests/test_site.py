"""The site of the documents: no warning, nothing fetched from elsewhere, and all that the tables hold."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from playwright.sync_api import expect

from regard.app.cli import app
from regard.explanation import METHODS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from llms import llms, reading_order  # noqa: E402

FETCHED = re.compile(
    r"<(?:script|img|link|iframe|source|video|object|embed)\b[^>]*?\s(?:src|href|data|poster)=[\"']?([^\"'>\s]+)"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built as `make docs` builds it: a warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
        assert config.strict
        build(config)
    return folder


def test_every_document_has_a_page_and_lies_beside_it_as_written(site: Path) -> None:
    for path in [*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        place = path.relative_to(ROOT)
        page = place.with_name("index.html") if path.name == "README.md" else place.with_suffix(".html")
        assert (site / page).is_file(), place
        assert (site / place).read_bytes() == path.read_bytes()
    assert "Fine-tune a vision transformer" in (site / "index.html").read_text(encoding="utf-8")


def test_nothing_is_fetched_from_elsewhere_and_all_that_is_fetched_is_there(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        if page.name == "404.html":
            continue  # its addresses are those of a server's root
        for address in FETCHED.findall(page.read_text(encoding="utf-8")):
            assert not re.match(r"\w+:|//", address), f"{page.name} fetches {address}"
            assert (page.parent / re.sub(r"[?#].*", "", address)).exists(), f"{page.name}: {address}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", text), sheet.name


def test_the_gallery_has_every_method_with_its_line(site: Path) -> None:
    page = (site / "docs" / "methods" / "index.html").read_text(encoding="utf-8")
    for row in METHODS:
        assert f'href="{row.name}.html"' in page
        picture = ROOT / "docs" / "images" / "methods" / f"{row.name}.jpg"
        no_network_ships = "picture tokens" in row.requires
        assert (f'src="../images/methods/{row.name}.jpg"' in page) == picture.is_file() == (not no_network_ships)


def test_the_reference_has_every_option(site: Path) -> None:
    page = (site / "docs" / "reference" / "commands.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r'(?s)<h2 id="regard-(\w+)">(.*?)(?=<h2 |</article>)', page))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(sections) == set(commands)
    for name, command in commands.items():
        for parameter in command.params:
            placeholder = parameter.metavar or parameter.name.upper()
            text = parameter.opts[0] if parameter.param_type_name == "option" else placeholder
            assert f"<code>{text}" in sections[name], f"{name} {text}"


def test_the_reference_has_every_public_name_with_its_words(site: Path) -> None:
    import regard

    page = (site / "docs" / "reference" / "python.html").read_text(encoding="utf-8")
    for name in regard.__all__[1:]:
        assert f'id="regard{name.lower()}"' in page, name
    assert not re.search(r"Annotated|\bopt\.", page)
    text = re.sub(r"<[^>]*>", "", page)
    assert "out: str | Path" in text
    for name in ("Classifier", "Explainer", "Captioner"):  # two of them are built as their parent is
        assert re.search(rf"regard\.{name}\(\s*model: ", text), name


def test_the_sidebar_is_in_reading_order(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    links = list(
        dict.fromkeys(re.findall(r'href="((?:docs|examples)/[\w/-]+\.html|C\w+\.html)" class="md-nav__link"', page))
    )
    order = [place for _, entries in reading_order(ROOT) for place, _ in entries]
    expected = [
        f"{place.removesuffix('.md')}.html" for place in order if place.endswith(".md") and place != "README.md"
    ]
    assert [link for link in links if link in expected] == expected


def test_notebooks_show_what_they_showed(site: Path) -> None:
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        page = (site / "examples" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert page.count(f'src="{path.stem}_files/') >= 2
        assert f'href="{path.name}"' in page


def test_a_search_in_the_folder_finds_and_asks_nobody(site: Path, browser: Any) -> None:
    page = browser.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill("shapley")
    expect(page.locator(".md-search-result__item").first).to_contain_text("shapley", timeout=20_000)
    assert all(request.startswith(site.as_uri()) for request in requests)
    page.close()


def test_the_map_for_language_models_is_in_step(site: Path) -> None:
    text = llms(ROOT)
    assert (ROOT / "llms.txt").read_text(encoding="utf-8") == text, "run: python tools/llms.py"
    assert (site / "llms.txt").read_text(encoding="utf-8") == text
    for place in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / place).is_file()
        assert (site / place).is_file()
