"""Makes the pictures of pages in README.md and docs/, from the folder that `regard demo` leaves.

    .venv/bin/python tools/page_pictures.py [DEMO]

Each page is opened in chromium, led to where a reader would look, and photographed. What they show is drawn scenes and
photographs that ship with scikit-image.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = (1280, 960)
TALL = {"report": 1400}
WIDTH = 1000
"""Pixels of the window, of windows that are taller, and of a picture's width."""


def report(page: Any) -> None:
    """The first view of a run."""


def mistake(page: Any) -> None:
    """The surest mistake, and what spoke for the wrong class and against the right one."""
    page.locator(".shows button").first.click()
    page.locator(".tile").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Why").first.click()
    page.wait_for_timeout(800)
    page.evaluate("document.activeElement.blur()")


def words(page: Any) -> None:
    """A noun of a caption, where the network looked for it, and its true region."""
    if page.locator(".tile").count():
        page.locator(".tile").first.click()
    page.get_by_role("listbox").get_by_role("option").nth(3).click()
    page.wait_for_timeout(800)
    page.evaluate("document.activeElement.blur()")


def gallery(page: Any) -> None:
    """All pictures of the run."""
    page.locator(".shows button").last.click()
    page.wait_for_timeout(800)
    page.evaluate("document.activeElement.blur()")


PICTURES: dict[str, tuple[str, Callable[[Any], None]]] = {
    "report": ("report.html", report),
    "mistake": ("report.html", mistake),
    "gallery": ("report.html", gallery),
    "words_page": ("captions.html", words),
}
"""Name of the picture, page of the demo, and what leads there."""


def main() -> None:
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "demo")
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from browser import ARGUMENTS, find_chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        for name, (file, lead) in PICTURES.items():
            page = browser.new_page(viewport={"width": SIZE[0], "height": TALL.get(name, SIZE[1])}, locale="en-GB")
            page.goto((demo / file).resolve().as_uri())
            page.wait_for_timeout(800)
            lead(page)
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot = shot.resize((WIDTH, round(WIDTH * shot.height / shot.width)), Image.Resampling.LANCZOS)
            shot.save(IMAGES / f"{name}.jpg", quality=85, optimize=True, progressive=True)
            page.close()
            print(IMAGES / f"{name}.jpg")
        browser.close()


if __name__ == "__main__":
    main()
