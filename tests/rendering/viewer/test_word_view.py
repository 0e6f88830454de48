"""A caption in a real browser: words that answer the picture, a picture that answers with words."""

import re

import pytest
from browser import open_page
from inspections import made
from playwright.sync_api import expect

from regard.records import WordSupport
from regard.records.inspection import InspectedCaption, InspectedWord
from regard.rendering.pages.inspections import InspectedPage, inspection_page

HOSTILE = "<img src=x onerror=alert(1)>"
WORDS = (
    InspectedWord("a", "determiner", 0.9, (("the", 0.08),), 0.88, 0),
    InspectedWord(
        HOSTILE,
        "noun",
        0.6,
        (("cow", 0.1), (HOSTILE, 0.6), ("\u05d0\u05d1", 0.2)),
        0.01,
        1,
        {"box": (100.0, 80.0, 300.0, 300.0)},
    ),
    InspectedWord("on", "preposition", 0.5, (), 0.0, None),
    InspectedWord("grass", "NNS", 0.7, (), 0.69, 3, None, True),
)


def written(folder, words, count=1, measured=None):
    """A page of captions; the maps of words are made: see `inspections.made`."""
    pictures = {}
    for seed in range(count):
        made_one = made(seed, caption=True, heads=2, layers=2, crop=True)
        caption = InspectedCaption(" ".join(word.text for word in words), words, measured)
        pictures[made_one.name] = [made_one.__class__(**{**vars(made_one), "caption": caption})]
    path = folder / "page.html"
    path.write_text(inspection_page(InspectedPage("Captions", pictures)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return written(tmp_path_factory.mktemp("words"), WORDS)


def chosen(page):
    return page.get_by_role("option", selected=True).inner_text()


def test_words_are_stepped_through_and_say_what_they_owe_to_the_picture(browser, path):
    with open_page(browser, path) as page:
        line = page.get_by_role("listbox", name="Words of the caption")
        line.wait_for()
        expect(page.get_by_text("As likely without the picture: “a”, “grass”.")).to_be_visible()
        page.get_by_role("option", name="a, as likely without the picture").click()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text(f"Where it looked for “{HOSTILE}”")).to_be_visible()
        assert chosen(page) == HOSTILE
        facts = page.locator(".word-others")
        expect(facts.get_by_text("60 times as likely with the picture")).to_be_visible()
        assert facts.locator("dl").nth(1).locator("dt").all_inner_texts() == ["\u05d0\u05d1", "cow"]  # likelier first
        expect(facts.get_by_text("noun")).to_be_visible()
        assert page.locator("rect.region").count() == 1
        page.get_by_label("True region").uncheck()
        assert page.locator("rect.region").count() == 0
        page.get_by_role("option", name="on", exact=True).click()
        expect(page.get_by_text("No map is held for “on”.")).to_be_visible()
        expect(facts.get_by_text("more than 1000 times as likely with the picture")).to_be_visible()
        page.keyboard.press("End")
        expect(facts.get_by_text("noun")).to_be_visible()
        assert chosen(page) == "grass" and page.url.endswith("#word=3")
        expect(page.get_by_role("option", name="grass, wrong, as likely without the picture")).to_be_visible()
        assert page.locator("img[src='x']").count() == 0


def test_a_place_answers_with_the_words_that_looked_there(browser, path):
    with open_page(browser, path) as page:
        stage = page.get_by_role("slider", name=re.compile("A place in the picture"))
        stage.wait_for()
        said = page.get_by_text(re.compile("Where it looked for “a”")).inner_text()
        row, column = map(int, re.search(r"row (\d+), column (\d+)", said).groups())
        stage.focus()
        page.keyboard.press("ArrowUp")  # the middle
        for _ in range(14):
            page.keyboard.press("ArrowUp")
            page.keyboard.press("ArrowLeft")
        assert "row 0, column 0" in stage.get_attribute("aria-valuetext")
        for _ in range(row):
            page.keyboard.press("ArrowDown")
        for _ in range(column):
            page.keyboard.press("ArrowRight")
        assert re.search(rf"At row {row}, column {column} looked: .*“a” \(1.00", stage.get_attribute("aria-valuetext"))
        assert "lit" in page.get_by_role("option", name="a, as").get_attribute("class")
        page.get_by_role("button", name="No place").click()
        assert page.locator(".word.lit").count() == 0
        box = stage.bounding_box()
        page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)  # outside what the network saw
        expect(page.get_by_text("Click a place in the picture")).to_be_visible()


def test_a_caption_plays_through_and_stops(browser, path):
    with open_page(browser, path) as page:
        page.get_by_role("option").first.wait_for()
        page.clock.install()
        page.get_by_role("button", name="Play through").click()
        page.clock.run_for(2400)
        assert chosen(page) == "on"
        page.get_by_role("button", name="Stop").click()
        page.clock.run_for(5000)
        assert chosen(page) == "on"
        page.get_by_role("button", name="Play through").click()
        page.clock.run_for(9000)
        expect(page.get_by_role("button", name="Play through")).to_be_visible()
        assert chosen(page) == "grass"


def test_words_and_the_picture_are_two_views_of_it(browser, path):
    with open_page(browser, path, width=390, touch=True) as page:
        page.get_by_role("option", name="grass").tap()
        expect(page.get_by_text("Where it looked for “grass”")).to_be_visible()
        assert chosen(page) == "grass"
        page.get_by_role("button", name="Picture", exact=True).tap()
        page.get_by_role("application").wait_for()
        page.get_by_role("button", name="Words", exact=True).click()
        expect(page.get_by_role("listbox")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_was_not_measured_is_said(browser, tmp_path):
    words = (InspectedWord("cat", None, None, (), None, 0), InspectedWord("<end>", None, 0.25))
    with open_page(browser, written(tmp_path, words, count=2)) as page:
        page.get_by_label("Find a name, class or caption").fill("cat <e")
        assert page.get_by_role("gridcell").count() == 2
        page.get_by_role("gridcell").first.get_by_role("button").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("option").first.wait_for()
        expect(dialog.get_by_text("was not measured (regard caption --depends)")).to_be_visible()
        assert dialog.locator(".word-others dl").first.inner_text() == ""
        page.get_by_role("button", name="Next").click()
        dialog.get_by_role("option", name="<end>").click()
        assert "picture=" in page.url and "word=1" in page.url
        page.keyboard.press("Escape")
        page.evaluate("new Promise(requestAnimationFrame)")  # the dialog tells that it closes a moment later
        assert "word" not in page.url


DOUBTED = (
    InspectedWord("a", None, 0.9, (), 0.88, 0),
    InspectedWord(
        "boy",
        "NN",
        0.6,
        (("girl", 0.3),),
        0.9,
        1,
        support=WordSupport(0.21, "noun", ("as likely without the picture", HOSTILE), "girl"),
        checks={"gain_over_none": -0.0001, "glsim": None},
    ),
    InspectedWord("runs", "VBZ", 0.8, (), 0.1, 2, support=WordSupport(0.93, "verb")),
)
MEASURED = "Support measured on 9,120 words of 1,000 scenes: AUROC 0.91 (0.89 to 0.93)."


def test_doubtful_words_are_marked_and_say_why(browser, tmp_path):
    with open_page(browser, written(tmp_path, DOUBTED, measured=MEASURED)) as page:
        expect(page.get_by_text("1 of 2 words that claim something is doubtful")).to_be_visible()
        expect(page.get_by_text(MEASURED)).to_be_visible()
        expect(page.get_by_text("As likely without the picture: ")).to_have_count(0)  # the reasons say it
        word = page.get_by_role("option", name="boy, doubtful, better supported: girl, as likely without the picture")
        style = "getComputedStyle(document.querySelector('.word.doubtful')).textDecorationStyle"
        assert page.evaluate(style) == "wavy" and page.locator(".word.doubtful").count() == 1
        page.locator(".word-doubts").get_by_role("button", name="boy").click()
        expect(word).to_be_focused()
        facts = page.locator(".word-others")
        expect(facts.get_by_text("0.21: doubtful")).to_be_visible()
        expect(facts.get_by_text("0.900: likelier without the picture")).to_be_visible()
        expect(facts.locator(".word-why")).to_have_text(
            f"better supported: “girl”; as likely without the picture; {HOSTILE}"
        )
        facts.get_by_text("Raw checks").click()
        assert facts.locator(".word-checks dd").all_inner_texts() == ["0.000", "–"]
        page.keyboard.press("Escape")
        page.get_by_role("option", name="runs").click()
        expect(facts.locator(".support .word-bar + span")).to_have_text("0.93")
        assert page.locator("img[src='x']").count() == 0


def test_many_doubtful_words_are_behind_a_button_and_no_support_is_said(browser, tmp_path):
    many = tuple(
        InspectedWord(f"w{place}", None, 0.5, index=0, support=WordSupport(place / 20, "noun")) for place in range(8)
    )
    with open_page(browser, written(tmp_path, many, count=2), state="#sort=doubtful") as page:
        assert "8 doubtful words" in page.get_by_role("gridcell").first.inner_text()
        page.get_by_role("gridcell").first.get_by_role("button").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator(".word-doubts li:visible")).to_have_count(5)
        dialog.get_by_role("button", name="All 8 doubtful words").click()
        expect(dialog.locator(".word-doubts li:visible")).to_have_count(8)
        expect(dialog.locator(".word-doubts button").nth(5)).to_be_focused()
    raw = (InspectedWord("boy", "NN", 0.6, (), 0.59, 1, checks={"gain_over_none": 1.25}),)
    with open_page(browser, written(tmp_path, raw, measured="No support: these are raw checks.")) as page:
        expect(page.get_by_text("No support: these are raw checks.")).to_be_visible()
        expect(page.locator(".word-checks dd")).to_have_text("1.250")
        assert page.locator(".word.doubtful, .word-doubts").count() == 0


def test_doubtful_words_are_said_where_no_script_runs(tmp_path):
    page = written(tmp_path, DOUBTED, measured=MEASURED).read_text(encoding="utf-8")
    assert '<li><bdi class="strong">boy</bdi> <bdi>0.21; better supported: girl; as likely without' in page
    assert f"<bdi>{MEASURED}</bdi>" in page and '"doubtful": 1' in page
