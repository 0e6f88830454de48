"""What a reader wants to know, done by visible role and text alone, within five actions from the first view."""

import io
import re

import numpy as np
import pytest
from axe import axe_script, violations
from inspections import made
from PIL import Image
from playwright.sync_api import expect
from viewing import looking, middles, pixels_at, settle, written


@pytest.fixture(scope="module")
def inspection():
    return made(7, heads=3, layers=4)


@pytest.fixture(scope="module")
def path(inspection, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "page.html", inspection)


def test_why_this_class_and_not_the_other(browser, path, inspection):
    of, vs = inspection.answer.predicted, inspection.answer.true
    vs = inspection.answer.runner_up if vs in (None, of) else vs
    with looking(browser, path, "opacity=100&scale=all") as page:
        page.get_by_role("button", name=f"Why {of} and not {vs}?").click()
        settle(page)
        expect(page.get_by_text(f"red speaks for {of}, blue for {vs}")).to_be_visible()
        shown = pixels_at(page, inspection.grid, middles(inspection.grid)).astype(int)
        entries = {each.target: inspection.map_of(each) for each in inspection.maps if each.method == "legrad"}
        difference = (entries[of] - entries[vs]).ravel()
        red = shown[:, 0] - shown[:, 2]
        assert np.corrcoef(red, difference)[0, 1] > 0.9
        page.get_by_role("button", name=f"Why {of} and not {vs}?").click()  # and back
        settle(page)
        assert page.get_by_label("Map", exact=True).input_value() == "attention"


def test_does_this_map_say_more_than_chance(browser, path, inspection):
    entry = next(each for each in inspection.maps if each.method == "attention")
    with looking(browser, path) as page:
        section = page.locator(".look-section", has=page.get_by_role("heading", name="Does it say more than chance?"))
        text = section.inner_text()
        sign = "+" if entry.curve["srg"] >= 0 else "−"
        assert "More than chance here" in text and f"its gain is {sign}{abs(entry.curve['srg']):.2f}" in text
        assert "a random map" in text


def test_compare_before_and_after_repair(browser, path, inspection):
    token = inspection.artifacts.tokens[0]
    with looking(browser, path) as page:
        page.get_by_role("button", name="Before and after repair").click()
        settle(page)
        labels = page.locator(".look-label").all_inner_texts()
        assert labels == ["Attention · layer 3 · mean of heads", "Attention · layer 3 · mean of heads · repaired"]
        page.get_by_role("button", name="Side by side").click()
        settle(page)
        before, after = (pixels_at(page, inspection.grid, middles(inspection.grid)[[token]], pane) for pane in (0, 1))
        assert before.astype(int).sum() > after.astype(int).sum() + 60


def test_save_the_figure(browser, path, inspection):
    with looking(browser, path, "map=legrad&keep=40") as page:
        with page.expect_download() as download:
            page.get_by_role("button", name="Save picture").click()
        name = download.value.suggested_filename
        with Image.open(io.BytesIO(download.value.path().read_bytes())) as image:
            assert image.format == "PNG" and image.width == 1600 and image.height > 1000
            bottom = np.asarray(image.convert("L"))[-200:]
        assert name.startswith("picture-7-LeGrad") and name.endswith(".png")
        assert (bottom < 128).sum() > 500  # the caption and where it is from


def test_which_head_differs_and_which_layer(browser, path):
    with looking(browser, path) as page:
        page.get_by_role("button", name="Heads", exact=True).click()
        page.get_by_role("button", name="Head 2", exact=True).click()
        settle(page)
        assert page.locator(".look-title").inner_text() == "Attention · layer 3 · head 2"
        page.get_by_role("button", name="Layers", exact=True).click()
        page.get_by_role("button", name="Layer 0", exact=True).click()
        settle(page)
        assert page.locator(".look-title").inner_text() == "Attention · layer 0 · head 2"
        assert page.get_by_role("button", name="Layer 0", exact=True).get_attribute("aria-pressed") == "true"


def test_another_method_by_its_small_map(browser, path):
    with looking(browser, path) as page:
        page.get_by_role("button", name="LeGrad", exact=True).click()
        settle(page)
        assert page.locator(".look-title").inner_text().startswith("LeGrad for")


def test_the_blind_test_hides_names_and_then_tells_them(browser, path):
    with looking(browser, path) as page:
        page.get_by_role("button", name="Start the blind test").click()
        for number in (1, 2):
            settle(page)
            assert page.locator(".look-label").all_inner_texts() == ["Map A", "Map B"]
            expect(page.get_by_label("Map", exact=True)).to_be_hidden()
            names = [page.get_by_role("img", name=f"Map {each}").get_attribute("aria-label") for each in "AB"]
            assert names == ["Map A. ", "Map B. "]
            page.locator(".look-side").get_by_role("button", name="Map A").click()
            settle(page)
            text = page.locator(".look-side").inner_text()
            assert re.search(r"(Right|No): A is .* \(gain [+−]\d\.\d\d\); B is .* \(gain [+−]\d\.\d\d\)", text)
            controls = [name in text for name in ("A is Random", "A is Centre", "A is Edges")]
            assert ("No:" in text) == any(controls)
            assert f"of {number} right so far" in text
            page.get_by_role("button", name="Another pair").click()
        page.keyboard.press("b")  # answers B
        settle(page)
        assert "of 3 right so far" in page.locator(".look-side").inner_text()
        page.get_by_role("button", name="End the test").click()
        settle(page)
        expect(page.get_by_label("Map", exact=True)).to_be_visible()


def test_two_networks_are_held_against_each_other(browser, tmp_path, inspection):
    other = made(8, name=inspection.name, network="dino_vitb16", artifacts=False, heads=2, layers=3, rows=7, columns=7)
    with looking(browser, written(tmp_path / "page.html", inspection, other)) as page:
        page.get_by_label("Compare with").select_option(label="dino_vitb16")
        page.locator(".look-label:not([hidden])").nth(1).wait_for()
        labels = page.locator(".look-label").all_inner_texts()
        assert labels == [
            "vit_base_patch16_224: Attention · layer 3 · mean of heads",
            "dino_vitb16: Attention · layer 2 · mean of heads",
        ]


def test_phone_and_dark_and_reduced_have_no_sideways_scroll(browser, path):
    for width, dark in ((390, True), (320, False)):
        with looking(browser, path, width=width, height=800, dark=dark) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_finds_no_violation_in_any_state(browser, path):
    script = axe_script()
    with looking(browser, path, "map=legrad&keep=30&with=rollout&at=0.4,0.4&way=to") as page:
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert violations(page, script) == []
        page.get_by_role("button", name="Side by side").click()
        page.get_by_text("Display", exact=True).click()
        page.get_by_text("Where its strongest patches lie").click()
        settle(page)
        assert violations(page, script) == []
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.get_by_role("button", name="Start the blind test").click()
        page.locator(".look-side").get_by_role("button", name="Map B").click()
        settle(page)
        assert violations(page, script) == []
        page.keyboard.press("?")
        assert violations(page, script) == []
