"""A page with a network inside, in a real browser, from `file://`, without a network: it answers, or says why not."""

import base64
import io
import itertools

import numpy as np
import PIL
import pytest
from axe import axe_script, violations
from browser import open_page
from live import content, serving, written
from PIL import Image
from playwright.sync_api import expect

from regard.data.images.preparation import WHOLE, Preparation
from regard.rendering.pages.live import live_page
from regard.rendering.pages.shell import resource

HOSTILE = "<img src=x onerror=alert(1)>.png"
DOWN_FIRST = int(PIL.__version__.partition(".")[0]) >= 13
EVENT = """([kind, letters, name]) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(letters), (each) => each.charCodeAt(0))], name, {type: "image/png"}));
  const made = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})
                               : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
  document.querySelector("h1").dispatchEvent(made);
}"""


def picture(colour, size=(64, 48)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def choose(page, name, buffer):
    files = [{"name": name, "mimeType": "image/png", "buffer": buffer}]
    page.locator("input[type=file]").first.set_input_files(files)


@pytest.fixture(scope="module", autouse=True)
def patience():
    """A network is unpacked and compiled before it answers, which takes its time beside other work."""
    expect.set_options(timeout=20_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("live") / "page.html")


def test_a_picture_that_is_chosen_has_a_class_a_map_and_its_verdict(file, browser):
    with open_page(browser, file, offline=True) as page:
        expect(page.get_by_text("colours is in this page, and tells 3 classes apart.")).to_be_visible()
        choose(page, HOSTILE, picture((255, 0, 0)))
        says = page.locator(".look-says")
        expect(says).to_have_text("The network says red panda (1.000).")
        expect(page.locator(".look-title")).to_have_text("Direct logit for red panda")
        expect(page.locator(".look-verdict")).to_have_text("Audit: supported; measured on 74 pictures")
        expect(page.locator(".look-bars li")).to_have_count(3)
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
        page.get_by_label("Map", exact=True).select_option("attention")
        expect(page.locator(".look-verdict")).to_have_text("No audit has judged this method on this model.")
        page.get_by_label("Map", exact=True).select_option("direct_logit")
        page.get_by_label("For class").select_option("blue_whale")
        expect(page.locator(".look-title")).to_have_text("Direct logit for blue whale")
        choose(page, "broken.png", picture("red")[:60])
        expect(page.get_by_role("alert")).to_contain_text("This browser cannot read the file as a picture; JPEG, PNG")
        choose(page, "blue.png", picture("blue"))
        expect(says).to_have_text("The network says blue whale (1.000).")
        expect(page.locator(".fault")).to_have_text("")
        expect(page.locator(".work [role=status]")).to_contain_text("s on this computer.")


def test_what_is_dropped_or_pasted_is_looked_at_by_everybody(file, browser):
    script = axe_script()
    with open_page(browser, file, width=390, height=844, dark=True, touch=True, offline=True) as page:
        for kind, colour, name in (("drop", (20, 200, 30), "green frog"), ("paste", (20, 30, 200), "blue whale")):
            page.evaluate(EVENT, [kind, base64.b64encode(picture(colour)).decode(), f"{name}.png"])
            expect(page.locator(".look-says")).to_contain_text(name)
        expect(page.get_by_role("button", name="Take a photograph")).to_be_visible()
        page.locator(".look:not(.unpacking)").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        assert violations(page, script) == []


def test_nothing_may_be_asked_for_by_the_page_or_its_worker(file, browser):
    with open_page(browser, file, offline=True) as page:
        expect(page.get_by_text("Ready.")).to_be_visible()
        refused = page.evaluate("""async () => {
          const address = (text) => URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
          const ask = `fetch("data:,x").then(() => postMessage("asked"), () => postMessage("refused"))`;
          const worker = new Worker(address(ask));
          const inside = await new Promise((done) => (worker.onmessage = ({data}) => done(data)));
          const violated = (done) => document.addEventListener("securitypolicyviolation", done);
          const heard = new Promise(violated);
          const outside = await fetch("data:,x").then(() => "asked", () => "refused");
          return [inside, outside, (await heard).effectiveDirective];
        }""")
        assert refused == ["refused", "refused", "connect-src"]
        policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
        assert "default-src 'none'" in policy and "connect-src" not in policy and "'unsafe-eval'" not in policy
        assert "'wasm-unsafe-eval'" in policy and "worker-src blob:" in policy
        page.heard.clear()  # what was refused is on the console, and was meant to be


def test_what_cannot_work_is_said_in_the_page(file, tmp_path, browser):
    with open_page(browser, file, script="delete window.WebAssembly") as page:
        expect(page.get_by_role("alert")).to_contain_text("this browser lacks WebAssembly")
        choose(page, "red.png", picture("red"))
        expect(page.get_by_role("alert")).to_contain_text("Open the page in a recent Chrome, Edge, Firefox or Safari.")
    cut = tmp_path / "cut.html"
    cut.write_bytes(file.read_bytes()[:-3000])
    with open_page(browser, cut) as page:
        expect(page.get_by_role("alert")).to_contain_text(
            "A part of this page is missing: the file was probably cut off"
        )


def test_a_folder_is_served_by_any_server_and_has_no_map_where_the_network_has_none(tmp_path, browser):
    names = {"runtime": "runtime.bin", "network": "network.bin"}
    page_content = content(maps=False)
    (tmp_path / "index.html").write_text(live_page(page_content, names), encoding="utf-8", newline="\n")
    for name, file in names.items():
        (tmp_path / file).write_bytes(getattr(page_content, name))
    with serving(tmp_path) as address, open_page(browser, address) as page:
        choose(page, "red.png", picture("red"))
        expect(page.locator(".look-says")).to_have_text("The network says red panda (1.000).")
        expect(page.locator(".look-message")).to_contain_text("this network has no map")
    with open_page(browser, tmp_path / "index.html") as page:
        expect(page.get_by_role("alert")).to_contain_text("run `python -m http.server` there")


def test_pictures_are_prepared_to_the_pixel(browser):
    """The page's own resize beside Pillow's, of noise, over modes, filters, sizes and sides."""
    code = resource("live/inside/prepare.js")
    rng = np.random.default_rng(0)
    modes = (
        {"mode": "crop"},
        {"mode": "squash"},
        {"mode": "centre"},
        {"mode": "crop", "resized": (40, 60)},
        {"mode": "squash", "resized": (20, 24)},
    )
    filters = ("bicubic", "bilinear", "lanczos", "hamming", "box", "nearest")
    sizes = ((60, 90), (231, 300), (800, 20), (33, 50), (32, 48))
    cases = []
    for number, (mode, interpolation) in enumerate(itertools.product(modes, filters)):
        preparation = Preparation(32, 48, crop=0.875, interpolation=interpolation, **mode)
        pixels = rng.integers(0, 256, (*sizes[number % len(sizes)], 3), np.uint8)
        cases.append((preparation, pixels))
    page = browser.new_page()
    for preparation, pixels in cases:
        rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
        about = {"whole": WHOLE, "downFirst": DOWN_FIRST, "resized": None, "colours": "RGB"}
        prepared = page.evaluate(
            f"""([settings, [height, width], letters]) => {{ {code}
              const bytes = Uint8ClampedArray.from(atob(letters), (each) => each.charCodeAt(0));
              const rows = (top, count) => bytes.subarray(4 * width * top, 4 * width * (top + count));
              return [...preparedPixels({{height, width, rows}}, settings)];
            }}""",
            [{**about, **preparation.as_json()}, pixels.shape[:2], base64.b64encode(rgba.tobytes()).decode()],
        )
        expected = preparation.pixels(Image.fromarray(pixels))
        np.testing.assert_array_equal(np.array(prepared, np.uint8).reshape(expected.shape), expected, str(preparation))
    page.close()
