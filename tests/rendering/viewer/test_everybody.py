"""Whether everybody can use the pages: no violation by axe-core on any view; tasks, done by what a user sees alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
from audits import example_audit
from axe import axe_script, violations
from browser import open_page
from inspections import made, made_page
from PIL import Image
from playwright.sync_api import expect
from reports import example_report, predictions

from regard.measurement.audits import compare_audits
from regard.measurement.classification.compare import compare
from regard.rendering.pages.audits.audit import audit_page, picture_names
from regard.rendering.pages.audits.comparison import audits_page
from regard.rendering.pages.comparison import ComparisonPage, changed_names, comparison_page
from regard.rendering.pages.report import report


def _tile(page):
    page.locator(".tile").first.click()
    page.get_by_role("dialog").get_by_role("application").wait_for()


def _first_card(page):
    page.locator(".card button").first.click()
    page.get_by_role("dialog").wait_for()


def _audit():
    audit = example_audit()
    return audit_page(audit, {name: Image.new("RGB", (90, 60), (90, 120, 40)) for name in picture_names(audit)})


def _comparison():
    first = predictions()
    second = replace(first, predicted=np.roll(first.predicted, 1))
    comparison = compare({"first": first, "second": second})
    pictures = {name: Image.new("RGB", (90, 60), (90, 120, 40)) for name in changed_names(comparison)}
    return comparison_page(ComparisonPage("Two runs", comparison, pictures))


VIEWS = {
    "report": (lambda: report(example_report(each=3)), None),
    "mistake": (lambda: report(example_report(each=3)), _first_card),
    "picture": (made_page, lambda page: page.get_by_role("application").wait_for()),
    "gallery": (lambda: made_page(5), lambda page: page.locator(".tile").first.wait_for()),
    "picture in a dialog": (lambda: made_page(5), _tile),
    "caption": (lambda: made_page(1, caption=True), lambda page: page.get_by_role("option").first.wait_for()),
    "audit": (_audit, None),
    "audits": (lambda: audits_page(compare_audits({"a": example_audit(), "b": example_audit()}), "Two audits"), None),
    "comparison": (_comparison, None),
}
"""Of each view its page, and what leads to it there."""
LONG = ("report", "audit", "audits", "comparison")
"""Pages on which axe takes seconds: each width and each scheme is tried, not each of both."""


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_no_violation(browser, tmp_path, view):
    script = axe_script()
    page_of, lead = VIEWS[view]
    path = tmp_path / "page.html"
    path.write_text(page_of(), encoding="utf-8")
    with open_page(browser, path, width=1400) as page:
        if lead:
            lead(page)
        more = [] if view in LONG else [(1400, "dark"), (390, "light")]
        for width, scheme in ((1400, "light"), (390, "dark"), *more):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert violations(page, script) == [], (width, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") == width


# Tasks of a user, by visible roles and texts alone, from the first view, within five actions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "report.html"
    path.write_text(report(example_report()), encoding="utf-8")
    return path


def test_find_the_worst_mistake_and_see_why(browser, tmp_path):
    content = example_report()
    names = [content.evaluation.predictions.names[place] for place in content.evaluation.mistakes]
    inspections = {name: [made(place, name=name, heads=3, layers=4)] for place, name in enumerate(names)}
    path = tmp_path / "page.html"
    path.write_text(report(replace(content, inspections=inspections)), encoding="utf-8")
    with open_page(browser, path) as page:
        page.get_by_role("button", name="Show the 4 mistakes, the surest first").click()
        page.get_by_role("gridcell").first.get_by_role("button").click()
        dialog = page.get_by_role("dialog", name="cat_005.jpg")
        expect(dialog.get_by_text("cat → dog 0.90")).to_be_visible()
        answer = inspections[names[0]][0].answer
        dialog.get_by_role("button", name=f"Why {answer.predicted} and not").click()
        expect(dialog.get_by_role("application")).to_be_visible()
        assert "map=" in page.url and "vs=" in page.url
        dialog.get_by_role(
            "button", name="Next"
        ).click()  # looked at in the same way, but for what was of the one before
        assert "dog_011" in page.url and "map=" in page.url and "vs=" not in page.url
    hidden = report(replace(content, inspections=inspections, anonymise=True, show_pictures=False))
    assert "cat_005" not in hidden and hidden.count('class="inspection"') == 4


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    path = tmp_path_factory.mktemp("captions") / "page.html"
    path.write_text(made_page(1, caption=True), encoding="utf-8")
    return path


def test_which_pictures_of_a_class_were_called_another(browser, run):
    with open_page(browser, run) as page:
        page.get_by_role("link", name="Confusions").click()
        page.get_by_role("button", name="true horse, said bird").click()
        expect(page.get_by_text("1 of 24 pictures: true horse, said bird").first).to_be_visible()
        assert page.get_by_role("gridcell").count() == 1


def test_which_class_is_worst(browser, tmp_path):
    content = example_report(("cat", "dog", "horse", "bird", "fox"), each=5)
    path = tmp_path / "page.html"
    path.write_text(report(content), encoding="utf-8")
    worst = min(content.evaluation.per_class, key=lambda each: each.precision.value)
    with open_page(browser, path) as page:
        page.get_by_role("link", name="Classes").click()
        page.get_by_role("button", name="Precision").click()
        row = page.get_by_role("region", name="Scores of each class").get_by_role("row").nth(1)
        assert row.get_by_role("rowheader").inner_text() == worst.name
        expect(page.get_by_text(re.compile("The worst by recall: "))).to_be_visible()


def test_which_words_are_as_likely_without_the_picture(browser, captioned):
    with open_page(browser, captioned) as page:
        expect(page.get_by_text(re.compile("As likely without the picture: “"))).to_be_visible()


def test_where_did_it_look_for_a_word(browser, captioned):
    with open_page(browser, captioned) as page:
        page.get_by_role("option", name="cat").click()
        expect(page.get_by_text("Where it looked for “cat”")).to_be_visible()


def test_pictures_on_which_it_was_unsure_and_wrong_on_one_ground(browser, run):
    with open_page(browser, run) as page:
        page.get_by_role("link", name="Pictures").click()
        page.get_by_role("combobox", name="Answer", exact=True).select_option("wrong")
        page.get_by_role("combobox", name="ground").select_option("water")
        page.get_by_role("combobox", name="Order").select_option("least sure first")
        expect(page.get_by_text("4 of 24 pictures: wrong, ground water, least sure first").first).to_be_visible()


def test_send_a_colleague_to_a_picture(browser, run):
    with open_page(browser, run) as page:
        page.get_by_role("link", name="Mistakes").click()
        page.get_by_role("button", name="Open scenes/dog_011.jpg").first.click()
        address = page.url
    with open_page(browser, run) as page:
        page.goto(address)
        page.reload()
        expect(page.get_by_role("dialog", name="dog_011.jpg")).to_be_visible()


def test_how_did_the_loss_end(browser, run):
    with open_page(browser, run) as page:
        page.get_by_role("link", name="Training").click()
        chart = page.get_by_role("slider", name=re.compile("^Loss"))
        chart.focus()
        page.keyboard.press("End")
        expect(chart.get_by_text("epoch 4: training loss 1.200, validation loss 0.8333")).to_be_visible()
