"""axe-core in the browser: what in a page keeps somebody from using it.

`make axe` fetches the pinned version (tests/support/axe/package-lock.json, whose hash npm checks) beside the
environment. Without it the tests that use it are skipped, loudly.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def axe_script() -> Path:
    """Where axe-core is; the test is skipped where it is not."""
    if not SCRIPT.is_file():
        pytest.skip(
            "needs axe-core, which `make axe` fetches with npm: whether pages can be used by everybody is untried"
        )
    return SCRIPT


def violations(page: Any, script: Path) -> list[str]:
    """What axe finds wrong with a page as it is now: the rule, and where; [] where nothing is."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(script.read_text(encoding="utf-8"))  # not as a <script>, which the page's policy refuses
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations'], preload: false})", TAGS
    )
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]} -- {node['failureSummary'][:300]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
