"""A real browser for tests of pages: Debian's chromium, started once, kept from the network, watched.

`with open_page(path) as page:` gives a playwright page; when the block ends, any error on the console, uncaught
exception, dialog or request but for the file itself fails the test. Without chromium the test is skipped, loudly.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
)


def find_chromium() -> str:
    """Where chromium is; the test is skipped where it is not."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs a browser: no chromium is installed here (apt-get install chromium), so pages stay untried")
    return found


@contextmanager
def launched() -> Iterator[Any]:
    """A headless chromium; for a module-scoped fixture, as starting it takes about a second."""
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    browser: Any,
    path: Path | str,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    touch: bool = False,
    state: str = "",
    script: str = "",
    offline: bool = False,
) -> Iterator[Any]:
    """A page opened from `file://`, with a state in its address, after a `script`, with or without a network; what it
    should not have done by the end of the block, and `page.heard` still holds, fails the test."""
    scheme = "dark" if dark else "light"
    viewport = {"width": width, "height": height}
    context = browser.new_context(
        viewport=viewport, color_scheme=scheme, locale="en-GB", has_touch=touch, offline=offline
    )
    if script:
        context.add_init_script(script)
    page = context.new_page()
    wrong: list[str] = []
    page.heard = wrong
    address = path if isinstance(path, str) else path.resolve().as_uri()
    page.on(
        "console", lambda said: wrong.append(f"console: {said.text}") if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "request", lambda request: wrong.append(f"request: {request.url[:200]}") if _foreign(request, address) else None
    )
    try:
        page.goto(f"{address}#{state}" if state else address)
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def _foreign(request: Any, address: str) -> bool:
    """Whether a request is for anything but the page itself or, of a served one, its server."""
    served = address.startswith("http")
    own = request.url.startswith(urljoin(address, "/")) if served else request.url.split("#")[0] == address
    return not own and not request.url.startswith(("data:", "blob:"))
