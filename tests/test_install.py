"""How regard is installed: what the page and the container say, held against the project's own files."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_page_names_every_extra_and_what_it_adds() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| ([^|]+) \|", page))
    extras = PROJECT["project"]["optional-dependencies"]
    assert rows == {name: ", ".join(re.match(r"[\w-]+", each)[0] for each in needs) for name, needs in extras.items()}  # type: ignore[index]
    assert f"regard-{PROJECT['project']['version']}-py3-none-any.whl" in page
