"""What one picture shows is what its record holds: maps to the pixel, patches, measured probabilities."""

import base64
import re

import numpy as np
import pytest
from inspections import made
from viewing import looking, middles, pixels_at, settle, written

from regard.rendering import colour
from regard.rendering.pages.shell import resource


@pytest.fixture(scope="module")
def inspection():
    return made(3, heads=3, layers=4)


@pytest.fixture(scope="module")
def path(inspection, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "page.html", inspection)


@pytest.fixture(scope="module")
def cropped(tmp_path_factory):
    inspection = made(4, heads=2, layers=3, crop=True, artifacts=False, rows=10, columns=12)
    return inspection, written(tmp_path_factory.mktemp("cropped") / "page.html", inspection)


def entry_of(inspection, method, target=None):
    return next(each for each in inspection.maps if each.method == method and target in (None, each.target))


def same_colours(shown, values, name, signed=False):
    """At most one of the 256 colours off, and that at few patches: bytes are rounded in either language."""
    wanted = colour.levels(values, colour.limits(values, signed)).ravel().astype(int)
    table = colour.table(name).astype(int)
    off = np.array([np.abs(table - each).sum(axis=1).argmin() for each in shown.astype(int)]) - wanted
    exact = np.array([np.abs(table - each).sum(axis=1).min() for each in shown.astype(int)])
    assert exact.max() <= 2 and np.abs(off).max() <= 1 and (off == 0).mean() > 0.9


def test_the_page_has_the_colours_of_its_pictures():
    text = resource("drawing/tables.js")
    for name in colour.STORED:
        stored = base64.b64decode(text.partition(f'{name}: "')[2].partition('"')[0])
        assert np.array_equal(np.frombuffer(stored, np.uint8).reshape(256, 3), colour.table(name)), name


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("map=attention", lambda each: each.values("cls")[3].mean(axis=0)),
        ("map=attention&layer=1&head=2", lambda each: each.values("cls")[1, 2]),
        ("map=attention&layer=2&repaired=1&colours=viridis", lambda each: each.values("cls_repaired")[2].mean(axis=0)),
        ("map=rollout", lambda each: each.map_of(entry_of(each, "rollout"))),
        ("map=libra_fullgrad", lambda each: each.map_of(entry_of(each, "libra_fullgrad", each.answer.predicted))),
    ],
)
def test_a_map_is_the_right_one_to_the_pixel(browser, path, inspection, state, values):
    with looking(browser, path, f"{state}&opacity=100&scale=all") as page:
        shown = pixels_at(page, inspection.grid, middles(inspection.grid))
    signed = "libra" in state
    name = "coolwarm" if signed else "viridis" if "viridis" in state else "inferno"
    same_colours(shown, values(inspection), name, signed)


def test_a_map_lies_where_the_network_looked(browser, cropped):
    inspection, path = cropped
    values = inspection.map_of(entry_of(inspection, "rollout"))
    with looking(browser, path, "map=rollout&opacity=100&scale=all") as page:
        same_colours(pixels_at(page, inspection.grid, middles(inspection.grid)), values, "inferno")
        outside = pixels_at(page, inspection.grid, [(0.06, y) for y in np.linspace(0.05, 0.95, 60)])
        assert outside.min() > 100  # paled, and no colour of the map
        # patches are as wide as they should be: just inside each edge of one there is its colour
        left, top, right, bottom = inspection.grid.cell(4, 5)
        corners = [(x / 500, y / 375) for x in (left + 1.5, right - 1.5) for y in (top + 1.5, bottom - 1.5)]
        assert len(np.unique(pixels_at(page, inspection.grid, corners), axis=0)) == 1


def test_smooth_maps_are_those_of_the_record(browser, cropped):
    inspection, path = cropped
    values = inspection.map_of(entry_of(inspection, "centre"))
    points = [(x, y) for x in np.linspace(0.2, 0.8, 13) for y in np.linspace(0.1, 0.9, 13)]
    with looking(browser, path, "map=centre&opacity=100&smooth=1&scale=all") as page:
        shown = pixels_at(page, inspection.grid, points).astype(int)
    whole = inspection.grid.to_picture(values)
    painted = colour.paint(whole, "inferno", scale=colour.limits(values)).astype(int)
    wanted = np.array([painted[int(y * 375), int(x * 500)] for x, y in points])
    assert np.abs(shown - wanted).mean() < 6  # of 255, between pixels


def test_a_patch_says_its_weight_its_rank_and_what_it_is_read_as(browser, path, inspection):
    weights = inspection.values("cls")[3].mean(axis=0).ravel()
    patch = 5 * 14 + 6
    rank = 1 + int((weights > weights[patch]).sum())
    name = inspection.lens.names[inspection.lens.classes[3, patch]]
    share = inspection.lens.levels[3, patch] / 255
    with looking(browser, path) as page:
        box = page.get_by_role("application").bounding_box()
        x, y = middles(inspection.grid)[patch]
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        settle(page)
        text = page.locator(".look-picture").inner_text()
        assert "Row 6, column 7" in text and f"weight {100 * weights[patch]:.2f} %, rank {rank} of 196" in text
        assert f"Read as {name} ({share:.2f}) behind layer 3" in page.locator(".look-reading").inner_text()


@pytest.mark.parametrize(("way", "button"), [("to", "Looks at"), ("from", "Looked at by")])
@pytest.mark.parametrize("layer", [3, 1])
def test_a_patch_shows_where_it_looks_and_what_looks_at_it(browser, path, inspection, way, button, layer):
    patch = 4 * 14 + 9
    if layer == 3:
        values = inspection.values("patches").reshape(196, 196)
    else:
        values = np.zeros((196, 197))
        indices = np.minimum(inspection.keys.indices[layer], 196).astype(int)
        np.put_along_axis(values, indices, inspection.keys.weights()[layer], axis=1)
    wanted = values[patch, :196] if way == "to" else values[:, patch]
    x, y = middles(inspection.grid)[patch]
    with looking(browser, path, f"map=attention&layer={layer}&opacity=100&scale=all&at={x:.4f},{y:.4f}") as page:
        page.get_by_role("button", name=button, exact=True).click()
        shown = pixels_at(page, inspection.grid, middles(inspection.grid))
        assert ("eight strongest" in page.locator(".look-side").inner_text()) == (layer == 1)
    same_colours(shown, wanted.astype(np.float32), "inferno")


def test_what_the_file_does_not_hold_is_grey_with_its_reason(browser, tmp_path, inspection):
    less = inspection.without("patches", "left out for size").without("lens", "it had no room")
    less = less.without("cls_repaired", "no repair was asked for")
    with looking(browser, written(tmp_path / "page.html", less)) as page:
        button = page.get_by_role("button", name="Looks at", exact=True)
        assert button.is_disabled() and "left out for size" in button.get_attribute("title")
        repair = page.get_by_role("button", name="Show repaired")
        assert repair.is_disabled() and repair.get_attribute("title") == "no repair was asked for"
        assert "it had no room" in page.locator(".look-reading").inner_text()


def test_the_slider_says_what_was_measured(browser, path, inspection):
    entry = entry_of(inspection, "legrad", inspection.answer.predicted)
    random = entry_of(inspection, "random")
    order = np.argsort(-inspection.map_of(entry).ravel(), kind="stable")
    name = inspection.answer.predicted

    def read(mode, share):
        page.get_by_role("button", name=mode).click()
        page.get_by_role("slider", name="Share of patches").fill(str(share))
        settle(page)
        text = page.locator(".look-section", has_text="more than chance").inner_text()
        number = float(re.search(rf"{name} (?:about )?(\d\.\d+)", text)[1])
        beside = float(re.search(r"By a random map: (?:about )?(\d\.\d+)", text)[1])
        dark = pixels_at(page, inspection.grid, middles(inspection.grid)).astype(int).max(axis=1) < 40
        return number, beside, dark, text

    with looking(browser, path, "map=legrad") as page:
        for share in (30, 70):
            number, beside, dark, text = read("Keep the strongest", share)
            step = (100 - share) // 10
            assert number == pytest.approx(entry.curve["lif"][step], abs=0.005)
            assert beside == pytest.approx(random.curve["lif"][step], abs=0.005)
            assert "Measured at this share" in text
            assert set(np.flatnonzero(dark)) == set(order[196 - round(196 * step / 10) :])
        number, beside, dark, _ = read("Take out the strongest", 20)
        assert number == pytest.approx(entry.curve["mif"][2], abs=0.005)
        assert beside == pytest.approx(random.curve["mif"][2], abs=0.005)
        assert set(np.flatnonzero(dark)) == set(order[: round(196 * 0.2)])
        number, _, _, text = read("Take out the strongest", 25)
        assert number == pytest.approx((entry.curve["mif"][2] + entry.curve["mif"][3]) / 2, abs=0.006)
        assert "Between two measured points" in text and "about" in text


def test_a_map_without_a_curve_says_how_to_get_one(browser, path):
    with looking(browser, path, "map=attention&layer=0") as page:
        text = page.locator(".look-section", has_text="more than chance").inner_text()
        assert "no measured curve" in text and "--curve" in text


def test_every_map_has_its_verdict_or_says_that_there_is_none(browser, path):
    with looking(browser, path, "map=legrad") as page:
        side = page.locator(".look-side")
        assert "Audit: supported; measured on 111 pictures" in side.inner_text()
        page.get_by_label("Map", exact=True).select_option(label="Rollout")
        settle(page)
        assert "No audit has judged this method on this model" in side.inner_text()
        page.get_by_label("Map", exact=True).select_option(label="Attention")
        page.get_by_role("slider", name="Layer").fill("1")
        settle(page)
        assert "No audit has judged this method with this layer and head" in side.inner_text()


def test_a_canvas_says_in_words_where_its_strongest_patches_lie(browser, path, inspection):
    weights = inspection.values("cls")[3].mean(axis=0).ravel()
    first = int(weights.argmax())
    with looking(browser, path) as page:
        text = page.get_by_role("img", name="Attention").get_attribute("aria-label")
    assert f"row {first // 14 + 1}, column {first % 14 + 1} ({100 * weights[first]:.2f} %)" in text
    assert "The strongest 20 of 196 patches lie" in text
