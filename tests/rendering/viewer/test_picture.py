"""Looking at one picture in a real browser: by mouse, keys and touch, and by what is written on the page."""

import base64

import numpy as np
import pytest
from browser import launched, open_page
from inspections import made

from regard.rendering import colour
from regard.rendering.pages.inspections import InspectedPage, inspection_page
from regard.rendering.pages.shell import resource


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def inspection():
    return made(3, heads=3, layers=4)


@pytest.fixture(scope="module")
def path(inspection, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "page.html", inspection)


def written(path, *inspections):
    page = inspection_page(InspectedPage("A picture", {inspections[0].name: inspections}))
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


def test_the_page_has_the_colours_of_its_pictures():
    text = resource("drawing/tables.js")
    for name in colour.STORED:
        stored = base64.b64decode(text.partition(f'{name}: "')[2].partition('"')[0])
        assert np.array_equal(np.frombuffer(stored, np.uint8).reshape(256, 3), colour.table(name)), name


def test_the_picture_opens_with_its_answer(browser, path, inspection):
    with open_page(browser, path) as page:
        page.get_by_role("application").wait_for()
        assert page.get_by_text(f"The network says {inspection.answer.predicted}").is_visible()
