"""Mouse, wheel, fingers and keys on the picture, and links that lead back to what was shown."""

import numpy as np
import pytest
from browser import open_page
from inspections import made, made_page
from playwright.sync_api import expect
from viewing import looking, middles, pixels_at, settle, written


@pytest.fixture(scope="module")
def inspection():
    return made(5, heads=3, layers=4)


@pytest.fixture(scope="module")
def path(inspection, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "page.html", inspection)


def state(page):
    """What the address says, once it stays as it is."""
    before = None
    page.wait_for_timeout(260)
    for _ in range(40):
        page.wait_for_timeout(100)
        now = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
        if now == before:
            break
        before = now
    return now


def middle(page):
    box = page.get_by_role("application").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def slide(page, *tracks):
    """One or two fingers that are put down, moved in five steps, and lifted; a track is (start, end)."""
    session = page.context.new_cdp_session(page)
    for step in range(7):
        kind = "touchStart" if step == 0 else "touchEnd" if step == 6 else "touchMove"
        places = [] if step == 6 else np.array(tracks)[:, 0] + np.diff(np.array(tracks), axis=1)[:, 0] * step / 5
        touches = [{"x": float(x), "y": float(y), "id": index} for index, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_the_wheel_zooms_where_the_pointer_is_and_dragging_moves(browser, path):
    with looking(browser, path) as page:
        x, y = middle(page)
        page.mouse.move(x + 100, y)
        page.mouse.wheel(0, -300)
        near = state(page)
        assert float(near["zoom"]) > 1.4 and float(near["x"]) > 0.5
        page.mouse.down()
        page.mouse.move(x + 40, y, steps=4)
        page.mouse.up()
        moved = state(page)
        assert float(moved["x"]) > float(near["x"]) and "at" not in moved  # it was dragged, not clicked
        page.mouse.wheel(0, 3000)
        assert "zoom" not in state(page)
        before = page.evaluate("scrollY")
        page.mouse.wheel(0, 200)  # at the whole picture the page goes on
        page.wait_for_timeout(200)
        assert page.evaluate("scrollY") > before


def test_keys_move_over_patches_and_say_what_lies_there(browser, path, inspection):
    weights = inspection.values("cls")[3].mean(axis=0).ravel()
    rank = np.empty(196, int)
    rank[np.argsort(-weights, kind="stable")] = np.arange(1, 197)
    with looking(browser, path) as page:
        page.get_by_role("application").focus()
        page.keyboard.press("ArrowRight")  # the first step goes to the strongest
        patch = int(weights.argmax())
        spoken = page.locator(".look > [role=status]")

        def told(patch):
            settle(page)
            place = f"ow {patch // 14 + 1}, column {patch % 14 + 1}: "
            weight = f"{100 * weights[patch]:.2f}" if weights[patch] > 5e-5 else "under 0.01"
            return place + f"weight {weight} %, rank {rank[patch]} of 196" in spoken.inner_text()

        assert told(patch)
        for key, row, column in (("ArrowDown", 1, 0), ("ArrowLeft", 0, -1), ("ArrowUp", -1, 0), ("Home", 0, -20)):
            page.keyboard.press(key)
            patch = min(13, patch // 14 + row) * 14 + max(0, patch % 14 + column)
            assert told(patch), key
        page.keyboard.press("Enter")
        x, y = map(float, state(page)["at"].split(","))
        assert (int(y * 14), int(x * 14)) == (patch // 14, patch % 14)


def test_keys_choose_map_layer_head_and_repair_and_zoom(browser, path):
    with looking(browser, path, "map=attention") as page:
        page.keyboard.press("[")
        page.keyboard.press(".")
        page.keyboard.press(".")
        assert state(page) == {"map": "attention", "layer": "2", "head": "1"}
        page.keyboard.press("r")
        assert state(page)["repaired"] == "1"
        page.keyboard.press("r")
        assert "repaired" not in state(page)
        page.keyboard.press("m")
        assert state(page)["map"] == "rollout"
        page.keyboard.press("+")
        page.get_by_role("application").focus()
        zoomed = state(page)
        page.keyboard.press("Shift+ArrowRight")
        assert float(state(page)["x"]) > float(zoomed["x"])
        page.keyboard.press("0")
        assert "zoom" not in state(page)
        page.keyboard.press("k")
        page.keyboard.press("k")
        assert state(page)["keep"] == "80"
        page.keyboard.press("Escape")
        assert "keep" not in state(page)


def test_help_lists_the_keys_and_letters_can_be_turned_off(browser, path):
    with looking(browser, path, "map=attention") as page:
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        expect(dialog.get_by_text("next, last layer")).to_be_visible()
        dialog.get_by_role("checkbox", name="Letters act at once").uncheck()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.keyboard.press("[")
        assert "layer" not in state(page)
        page.get_by_role("button", name="Keys").click()
        dialog.get_by_role("checkbox", name="Letters act at once").check()
        dialog.get_by_role("button", name="Close").click()
        page.keyboard.press("[")
        assert state(page)["layer"] == "2"


def test_keys_work_in_the_dialog_and_escape_lets_go_before_it_closes(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(made_page(2, heads=3, layers=4), encoding="utf-8", newline="\n")
    with open_page(browser, path) as page:
        page.locator(".tile").first.click()
        page.locator(".look:not(.unpacking)").wait_for()
        page.keyboard.press("k")
        assert state(page)["keep"] == "90"
        page.keyboard.press("Escape")
        assert "keep" not in state(page)
        assert page.locator("dialog.picture-dialog[open]").count() == 1
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        page.keyboard.press("Escape")
        assert page.locator("dialog.picture-dialog[open]").count() == 1
        page.keyboard.press("Escape")
        page.wait_for_timeout(200)
        assert page.locator("dialog[open]").count() == 0


def test_a_finger_keeps_a_patch_and_two_pinch(browser, path, inspection):
    with looking(browser, path, width=390, height=844, touch=True) as page:
        x, y = middle(page)
        page.touchscreen.tap(x + 5, y + 5)
        assert state(page)["at"]
        assert "Row 8, column 8" in page.locator(".look-read").inner_text()
        slide(page, ((x - 30, y), (x - 90, y)), ((x + 30, y), (x + 90, y)))
        assert float(state(page)["zoom"]) == pytest.approx(3, rel=0.1)
        before = state(page)
        slide(page, ((x, y), (x - 50, y)))
        assert float(state(page)["x"]) > float(before["x"]) + 0.02
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_link_leads_back_and_so_do_back_and_forward(browser, path, inspection):
    predicted, runner_up = inspection.answer.predicted, inspection.answer.runner_up
    link = f"map=legrad&of={runner_up}&with=rollout&how=side&smooth=1&colours=viridis&keep=60&zoom=2&x=0.4&y=0.6"
    with looking(browser, path, link) as page:
        assert page.get_by_label("Map", exact=True).input_value() == "legrad"
        assert page.get_by_label("For class").input_value() == runner_up
        assert page.get_by_label("Compare with").input_value() == "rollout"
        assert page.get_by_role("slider", name="Share of patches").input_value() == "60"
        assert page.get_by_role("button", name="Side by side").get_attribute("aria-pressed") == "true"
        page.get_by_label("For class").select_option(predicted)
        assert "of" not in state(page) or state(page)["of"] == predicted
        page.go_back()
        settle(page)
        assert page.get_by_label("For class").input_value() == runner_up
        page.go_forward()
        settle(page)
        assert page.get_by_label("For class").input_value() == predicted
        page.evaluate("location.hash = 'map=nonsense&layer=99&zoom=-3&keep=abc&at=7,7&with=;;=&run=8'")
        settle(page)
        expect(page.get_by_role("application")).to_be_visible()


def test_the_divider_is_dragged_and_stepped(browser, path, inspection):
    entry = next(each for each in inspection.maps if each.method == "rollout")
    with looking(browser, path, "map=centre&with=rollout&opacity=100&scale=all") as page:
        divider = page.get_by_role("separator", name="Divider")
        box = page.get_by_role("application").bounding_box()
        handle = divider.bounding_box()
        page.mouse.move(handle["x"] + handle["width"] / 2, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 30, steps=5)
        page.mouse.up()
        assert float(state(page)["cut"]) == pytest.approx(20, abs=1)
        divider.focus()
        page.keyboard.press("Home")
        assert divider.get_attribute("aria-valuenow") == "0"
        shown = pixels_at(page, inspection.grid, middles(inspection.grid)).astype(int)
        assert shown[inspection.map_of(entry).argmax()].min() > 100  # the other map alone: its strongest patch glows
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
        assert state(page)["cut"] == "98"


def test_two_pictures_side_by_side_move_together(browser, path):
    with looking(browser, path, "map=attention&with=attention;layer=0&how=side") as page:
        first, second = page.locator(".look-canvas").all()
        box = second.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
        page.mouse.wheel(0, -400)
        assert float(state(page)["zoom"]) > 1.4
        assert first.bounding_box()["width"] == box["width"]
        # what was under the pointer is marked in both
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
        settle(page)
        assert page.locator(".look-label").nth(1).inner_text() == "Attention · layer 0 · mean of heads"
