"""A page of inspections: nothing user-given acts in it, and what stands where no script runs."""

import json
from base64 import b64decode
from dataclasses import replace

from browser import open_page
from inspections import CLASSES, made
from markup import check_safe
from playwright.sync_api import expect

from regard.records import Inspection
from regard.rendering.pages.inspections import InspectedPage, inspection_page, sentence

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202egpj.exe",
    "{{ 7 * 7 }}",
    "a\x00b",
)
SMALL = {"layers": 3, "heads": 2, "rows": 4, "columns": 5}


def hostile_page(**options):
    pictures = {}
    for seed, mark in enumerate(HOSTILE):
        classes = tuple(f"{mark} {number}" for number in range(6))
        each = made(seed, name=f"{mark}/{seed}.jpg", network=mark, classes=classes, caption=seed == 1, **SMALL)
        pictures[each.name] = [each]
    provenance = {"network": HOSTILE[0], HOSTILE[1]: [HOSTILE[2]]}
    return InspectedPage(HOSTILE[0], pictures, HOSTILE, {HOSTILE[1]: HOSTILE[0]}, HOSTILE, provenance, **options)


def test_hostile_names_stay_text_in_page_index_and_blocks():
    reader = check_safe(inspection_page(hostile_page()))
    assert "<img src=x onerror=alert(1)>" in reader.text and "{{ 7 * 7 }}" in reader.text and "<U+202E>" in reader.text
    index = json.loads(reader.scripts[0])
    assert index["title"] == HOSTILE[0] and "<U+202E>" in json.dumps(index, ensure_ascii=False)
    for block in reader.scripts[1:-1]:
        header = json.dumps(Inspection.unpack(b64decode(block)).to_json(), ensure_ascii=False)
        assert not set(header) & set("\u202e\x00") and "u0000" not in header


def test_nothing_hostile_runs(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(inspection_page(hostile_page()), encoding="utf-8", newline="\n")
    with open_page(browser, path) as page:
        page.locator(".tile").first.wait_for()
        assert "onerror=alert(1)" in page.locator(".tile").nth(1).inner_text()
        page.locator(".tile").nth(1).click()
        page.get_by_role("dialog").wait_for()
        page.wait_for_timeout(200)
        assert page.locator("img[src='x']").count() == 0


def test_an_anonymous_page_holds_no_name():
    names = ("anna/IMG_1.jpg", "anna/IMG_2.jpg")
    pictures = {name: [made(seed, name=name, **SMALL)] for seed, name in enumerate(names)}
    first = pictures[names[0]][0]
    verdict = {"status": "supported", "text": "measured on 3 pictures of /home/anna/pets: IMG_2.jpg"}
    pictures[names[0]] = [
        replace(first, maps=(replace(first.maps[0], verdict=verdict),), absent={"keys": "no /srv/anna/file"})
    ]
    page = InspectedPage("On anna/IMG_1.jpg", pictures, CLASSES, provenance={"command": "regard x /home/anna"})
    reader = check_safe(inspection_page(replace(page, anonymise=True)))
    blocks = [json.dumps(Inspection.unpack(b64decode(block)).to_json()) for block in reader.scripts[1:-1]]
    everything = reader.text + reader.scripts[0] + "".join(blocks)
    assert "anna" not in everything and "IMG_" not in everything and "picture-0002" in everything


def test_without_script_picture_overlay_sentence_and_numbers_stand(browser, tmp_path):
    inspection = made(1, **SMALL)
    path = tmp_path / "page.html"
    page = InspectedPage("t", {inspection.name: [inspection]}, CLASSES)
    path.write_text(inspection_page(page), encoding="utf-8", newline="\n")
    context = browser.new_context(java_script_enabled=False)
    try:
        view = context.new_page()
        view.goto(path.as_uri())
        still = view.locator(".still")
        expect(still.locator("img.picture")).to_be_visible()
        expect(still.locator("img.map")).to_be_visible()
        assert sentence(inspection) in still.inner_text()
        for name, share in inspection.answer.probabilities:
            expect(still.get_by_role("row", name=f"{name} {share:.3f}").first).to_be_visible()
        expect(still.get_by_role("row", name="random").first).to_be_visible()
        box = still.locator("img.map").bounding_box()
        assert box["width"] > 100 and abs(box["width"] - still.locator("img.picture").bounding_box()["width"]) < 1
    finally:
        context.close()
    with open_page(browser, path) as view:
        view.get_by_role("application").wait_for()
        assert view.locator(".still").count() == 0  # the script takes over


def test_the_sentence_is_of_the_first_answer():
    inspection = made(1, **SMALL)
    first, second = (name for name, _ in inspection.answer.probabilities[:2])
    text = sentence(inspection)
    assert text.startswith(f"vit_base_patch16_224 says {first} (") and f"then {second} (" in text
    assert ("which is right" in text) == (inspection.answer.true == first)
    assert sentence(made(1, caption=True, **SMALL)) == "vit_base_patch16_224: a grey cat sits on the grass"


def test_a_caption_stands_with_its_words_where_no_script_runs():
    inspection = made(1, caption=True, **SMALL)
    inspection = replace(inspection, maps=(), answer=None)
    reader = check_safe(inspection_page(InspectedPage("t", {inspection.name: [inspection]})))
    assert "Over the picture: where it looked for “cat”." in " ".join(reader.text.split()).replace(" .", ".").replace(
        "“ ", "“"
    )
    for word in inspection.caption.words:
        assert f"{word.probability:.3f}" in reader.text and f"{word.without:.3f}" in reader.text
    assert sum(attrs.get("class") == "map" for _, attrs in reader.elements) == 1
