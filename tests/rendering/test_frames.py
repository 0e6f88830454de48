"""`.view()` in a notebook: the same viewer in a frame that reaches nothing."""

import numpy as np
from browser import open_page
from inspections import made
from PIL import Image

from regard.records import Caption, Captions, Explanation, Heatmap, PatchGrid, RemovalCurve, Word


def image(longest):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8))


def explanation(count=1):
    grid = PatchGrid.whole(4, 6, 1, (60, 90))
    values = np.random.default_rng(1).random((4, 6)).astype(np.float32)
    curve = RemovalCurve(1, "tokens", tuple(np.linspace(0.9, 0, 11)), tuple(np.linspace(0.9, 0.5, 11)))
    maps = tuple(Heatmap(values, grid, f"{n}.jpg", 1, image=image, curve=curve) for n in range(count))
    return Explanation(maps, "gradcam", provenance={"network": "net"}, classes=("cat", "dog"), verdict="supported: why")


def caption():
    grid = PatchGrid.whole(4, 6, 1, (60, 90))
    heatmap = Heatmap(np.random.default_rng(2).random((4, 6)).astype(np.float32), grid, "a.jpg")
    words = tuple(Word(text, 0.9, heatmap, "noun") for text in ("cats", "sleep"))
    return Caption("a.jpg", "cats sleep", words, {"network": "speaker"}, grid=grid, image=image)


def shown(browser, frame, tmp_path):
    """The frame as a notebook has it: inside another page."""
    path = tmp_path / "notebook.html"
    path.write_text(
        f"<!doctype html><title>n</title><main>{frame._repr_html_()}</main>", encoding="utf-8", newline="\n"
    )
    return open_page(browser, path)


def test_an_inspection_is_looked_at_in_a_frame(browser, tmp_path):
    frame = made(layers=2, heads=2, rows=4, columns=4).view(height=700)
    assert 'sandbox="allow-scripts allow-downloads"' in frame._repr_html_() and "height:700px" in frame._repr_html_()
    with shown(browser, frame, tmp_path) as page:
        inside = page.frame_locator("iframe")
        inside.get_by_role("application").wait_for()
        assert page.evaluate("document.querySelector('iframe').contentDocument") is None  # an origin of its own
    assert frame.save(tmp_path / "saved.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "MB" in repr(frame) and "<" not in repr(frame)


def test_explanations_and_captions_can_be_viewed(browser, tmp_path):
    with shown(browser, explanation().view(), tmp_path) as page:
        inside = page.frame_locator("iframe")
        inside.get_by_role("application").wait_for()
        inside.get_by_text("supported").first.wait_for()
    with shown(browser, caption().view(), tmp_path) as page:
        page.frame_locator("iframe").get_by_text("sleep").first.wait_for()
    several = Captions((caption(), caption())).view()
    assert several.page.count('class="inspection"') >= 2


def test_many_pictures_are_the_first_of_them():
    assert "Shown are the first 48 of 50 pictures." in explanation(50).view().page


def test_the_default_stays_a_picture():
    assert explanation()._repr_png_().startswith(b"\x89PNG") and not hasattr(explanation(), "_repr_html_")
