"""The pages that the server gives, in a real browser: a picture comes in, is looked at, and what goes wrong is said."""

import io

import numpy as np
import pytest
from axe import axe_script, violations
from browser import open_page
from PIL import Image
from playwright.sync_api import expect
from serving import served

from regard.files import write_json
from regard.jobs.pool import runs
from regard.records import Evaluation, Predictions, Score
from regard.results.evaluations import write_evaluation

HOSTILE = "<img src=x onerror=alert(1)>.jpg"


def png(colour="teal", size=(64, 48)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An evaluation of five pictures, and the pictures."""
    base = tmp_path_factory.mktemp("served")
    names = (*(f"{index}.png" for index in range(3)), HOSTILE, "4.png")
    for name in names:
        (base / "data").mkdir(exist_ok=True)
        (base / "data" / name.replace("/", "_")).write_bytes(png(size=(640, 480)))
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]], np.float32)
    labels = np.array([0, 0, 1, 0, 1])
    predictions = Predictions(names, ("cat<b>", "dog"), chances.argmax(axis=1), labels, chances)
    score = {"top1": Score(0.6, 0.2, 0.9, 5)}
    write_evaluation(base / "first", Evaluation(predictions, score, (), np.array([[2, 1], [1, 1]]), (), (), (), (), ()))
    return base


@pytest.fixture(scope="module")
def server(folder):
    evaluation = (("first", str(folder / "first")),)
    with served(runs=evaluation, data=str(folder / "data"), max_bytes=100_000) as client:
        yield client


def test_a_picture_that_is_chosen_is_looked_at(server, browser):
    with open_page(browser, server.address) as page:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a picture").click()
        chooser.value.set_files([{"name": HOSTILE, "mimeType": "image/png", "buffer": b"echo"}])
        page.locator("#viewer canvas").first.wait_for()
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_picture_that_is_dropped_or_pasted_is_looked_at(server, browser):
    event = """([kind, target]) => {
      const data = new DataTransfer();
      data.items.add(new File(["echo"], "dropped.png", {type: "image/png"}));
      const made = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
                                   : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
      document.querySelector(target).dispatchEvent(made);
    }"""
    for kind in ("drop", "paste"):
        with open_page(browser, server.address) as page:
            page.evaluate(event, [kind, "h1"])
            page.locator("#viewer canvas").first.wait_for()


def test_a_caption_is_asked_for_and_stands_beside_the_maps(server, browser):
    with open_page(browser, server.address) as page:
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "a.png", "mimeType": "image/png", "buffer": b"echo"}]
        )
        page.locator("#viewer canvas").first.wait_for()
        page.get_by_role("button", name="Caption it").click()
        page.get_by_role("heading", name="Caption").wait_for()
        expect(page.locator("#viewer canvas").first).to_be_visible()
        page.get_by_label(
            "Check the words of its caption"
        ).check()  # a caption that stands there is asked for again at once
        expect(page.get_by_text("Checked as: quick")).to_be_visible()


def test_another_method_asks_again_and_none_is_refused(server, browser):
    with open_page(browser, server.address) as page:
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "a.png", "mimeType": "image/png", "buffer": b"echo"}]
        )
        page.locator("#viewer canvas").first.wait_for()
        page.get_by_text("Methods: attention, legrad").click()
        with page.expect_response("**/api/inspect"):
            page.get_by_role("checkbox", name="legrad").uncheck()
        page.get_by_role("checkbox", name="attention").uncheck()
        page.get_by_text("No method is chosen").wait_for()
        assert page.get_by_role("checkbox", name="shapley").count() == 0  # costs a forward for every patch and sample


def test_what_the_server_refuses_is_said_in_its_own_words(server, browser):
    with open_page(browser, server.address) as page:
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "a.png", "mimeType": "image/png", "buffer": b"refuse"}]
        )
        page.get_by_text("this is not a picture").wait_for()
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "a.png", "mimeType": "image/png", "buffer": b"0" * 200_000}]
        )
        page.get_by_text("the server takes up to 0.1").wait_for()


def test_work_that_goes_on_is_shown_and_can_be_cancelled(server, browser):
    with open_page(browser, server.address) as page:
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "a.png", "mimeType": "image/png", "buffer": b"slow"}]
        )
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("cancelled").wait_for()
        page.locator("input[type=file]").first.set_input_files(
            [{"name": "b.png", "mimeType": "image/png", "buffer": b"echo"}]
        )
        page.locator("#viewer canvas").first.wait_for()


def test_a_run_is_looked_through_with_its_pictures_on_demand(server, browser):
    with open_page(browser, server.address) as page:
        page.get_by_role("link", name="first").click()
        page.get_by_role("heading", name="first").wait_for()
        tiles = page.locator("button.tile")
        tiles.first.wait_for()
        assert tiles.count() == 5
        loaded = "[...document.querySelectorAll('.tile img')].some((each) => each.naturalWidth === 320)"
        for _ in range(200):  # playwright's own polling evaluates text in the page, which the policy refuses
            if page.evaluate(loaded):
                break
            page.wait_for_timeout(50)
        assert page.evaluate(loaded)
        page.evaluate(
            "document.querySelectorAll('.tile img').forEach((each) => each.remove())"
        )  # one is gone: its 404 is known
        tiles.nth(0).click()
        page.locator("dialog canvas").first.wait_for()
        expect(page.get_by_text("0.600 [0.200, 0.900]")).to_be_visible()


def test_the_api_of_a_run(server):
    assert server.ask("GET", "/api/runs").json[0]["name"] == "first"
    assert server.ask("GET", "/api/runs/first").json["top1"]["value"] == 0.6
    columns = server.ask("GET", "/api/runs/first/pictures").json
    assert (columns["n"], columns["true"], columns["predicted"]) == (5, [0, 0, 1, 0, 1], [0, 1, 0, 0, 1])
    thumbnail = server.ask("GET", "/api/runs/first/pictures/0/thumbnail?side=100")
    assert Image.open(io.BytesIO(thumbnail.body)).size == (160, 120)
    assert server.ask("GET", "/api/runs/first/pictures/3/thumbnail").status == 200
    assert server.ask("GET", "/api/runs/first/pictures/5/thumbnail").status == 404
    assert server.ask("GET", "/api/runs/first/pictures/0/explain?method=attention").json["name"] == "picture 0"
    assert server.ask("GET", "/api/runs/first/pictures/0/explain?nonsense=1").status == 422
    assert server.ask("GET", "/api/runs/first/pictures/0/nonsense").status == 404


def test_pictures_that_are_not_at_hand_are_said_with_what_to_do(folder, tmp_path):
    (tmp_path / "0.png").write_bytes(png())
    for data, part in ((None, "was started without --data"), (str(tmp_path), "does not find it in --data")):
        with served(runs=(("first", str(folder / "first")),), data=data) as client:
            answer = client.ask("GET", "/api/runs/first/pictures/1/thumbnail")
            assert answer.status == 404
            assert part in answer.error
            assert "--data" in client.ask("GET", "/runs/first").body.decode() or data


def test_the_address_with_the_token_leads_a_browser_in_and_is_left_behind(browser):
    with served(host="0.0.0.0", token="a-token-of-the-tests") as client:
        address = f"http://127.0.0.1:{client.port}/"
        with open_page(browser, f"{address}?token={client.token}") as page:
            page.get_by_role("heading", name="What does the network look at?").wait_for()
            assert page.url == address
            page.locator("input[type=file]").first.set_input_files(
                [{"name": "a.png", "mimeType": "image/png", "buffer": b"echo"}]
            )
            page.locator("#viewer canvas").first.wait_for()


def test_every_page_has_a_policy_that_knows_its_script_and_lets_nobody_frame_it(server):
    for path in ("/", "/runs/first", "/docs"):
        answer = server.ask("GET", path)
        rules = answer.headers["content-security-policy"]
        assert "script-src 'sha256-" in rules
        assert "unsafe-inline" not in rules.replace("style-src 'unsafe-inline'", "")
        assert "frame-ancestors 'none'" in rules
        assert "connect-src 'self'" in rules
        assert "<b>" not in answer.body.decode().replace("\\u003cb\\u003e", "")


def test_thumbnails_are_kept_within_bounds(server, folder, monkeypatch):
    monkeypatch.setattr(runs, "CACHED", 3000)
    kept = runs.Thumbnails()
    run = runs.ServedRun("first", folder / "first", str(folder / "data"))
    for side in runs.SIDES:
        for index in range(3):
            assert kept.get(run, index, side) == kept.get(run, index, side)
    assert kept._size <= 3000


def test_a_run_whose_scores_are_damaged_says_so(tmp_path):
    write_json(tmp_path / "scores.json", {"classes": 3})
    (tmp_path / "predictions.parquet").write_bytes(b"")
    with served(runs=(("broken", str(tmp_path)),)) as client:
        for path in ("/runs/broken", "/api/runs/broken", "/api/runs/broken/pictures"):
            assert client.ask("GET", path).status == 422


def test_the_docs_name_every_operation_and_field(server, browser):
    with open_page(browser, f"{server.address}docs") as page:
        for text in ("POST /api/inspect", "GET /api/runs/{name}/pictures", "curve"):
            expect(page.get_by_text(text, exact=True).first).to_be_visible()


@pytest.mark.parametrize("width", [390, 1400])
def test_no_page_is_wider_than_its_window(server, browser, width):
    for path in ("", "runs/first", "docs"):
        with open_page(browser, f"{server.address}docs", width=width) as page:
            page.goto(f"{server.address}{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", ["", "runs/first", "docs"])
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1400, False)])
def test_axe_finds_no_violation(server, browser, path, width, dark):
    script = axe_script()
    with open_page(browser, f"{server.address}{path}", width=width, dark=dark) as page:
        if path == "":
            page.locator("input[type=file]").first.set_input_files(
                [{"name": "a.png", "mimeType": "image/png", "buffer": b"echo"}]
            )
            page.locator("#viewer canvas").first.wait_for()
            page.locator("summary").first.click()
        if path == "runs/first":
            page.locator("button.tile").first.wait_for()
        assert violations(page, script) == []
