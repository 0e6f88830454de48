"""The page around every content: one script, which its policy knows by hash, of fragments that share a scope."""

import re
from pathlib import Path

import numpy as np
import pytest
from browser import open_page
from inspections import made, made_page
from markup import Reader, check_safe

from regard.records.inspection.parts import PREFIX
from regard.rendering.pages import shell as pages

VIEWER = Path(pages.__file__).parents[1] / "viewer"


def names_of(text):
    """What a fragment binds at its top level."""
    return re.findall(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", text, re.MULTILINE)


def test_fragments_share_a_scope_without_sharing_a_name():
    fragments = {path: names_of(path.read_text(encoding="utf-8")) for path in VIEWER.glob("*/*.js")}
    names = [name for each in fragments.values() for name in each]
    assert names and len(names) == len({*names}), sorted(name for name in {*names} if names.count(name) > 1)
    for path in fragments:
        text = path.read_text(encoding="utf-8")
        assert "innerHTML" not in text and "</script" not in text and "<!--" not in text, path.name
        assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE), path.name


def test_no_template_has_a_handler_of_events():
    for path in VIEWER.glob("*/*.html"):
        assert not re.search(r"<[^>]*\son[a-z]+=", path.read_text(encoding="utf-8")), path.name


def test_a_folder_of_the_viewer_has_room():
    for folder in VIEWER.iterdir():
        files = [path for path in folder.iterdir() if path.is_file()]
        assert len(files) <= 15, folder.name
        for path in files:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


def test_a_block_stands_in_the_page_as_data():
    reader = check_safe(pages.shell("t", "b", inspections=[b"abc", b"\x00\xff"]))
    blocks = [attrs for tag, attrs in reader.elements if attrs.get("class") == "inspection"]
    assert [attrs["data-index"] for attrs in blocks] == ["0", "1"]
    assert reader.scripts[:2] == ["YWJj", "AP8="]


def test_a_served_page_may_ask_its_server_and_none_other():
    (rules,) = [
        attrs["content"]
        for _, attrs in Reader(pages.shell("t", "b", rules=pages.SERVED)).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert (
        "connect-src 'self'" in rules and "unsafe" not in rules.split("script-src")[1] and rules.count("img-src") == 1
    )


def test_the_script_runs_and_another_does_not(browser, tmp_path):
    text = pages.shell("t", "<p>", bar=pages.Bar([("a", "A")]), data={"pictures": []})
    assert "<script>(() =>" in text
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8", newline="\n")
    with open_page(browser, path) as page:
        assert page.title() == "t"
    other = str.replace(text, "</main>", "</main><script>document.title = 'x'</script>")
    path.write_text(other, encoding="utf-8", newline="\n")
    with pytest.raises(AssertionError, match="Content Security Policy"), open_page(browser, path) as page:
        assert page.title() == "t"


READING = """async () => {
  %s
  const inspection = await inspectionOf(0);
  const cls = readArray(inspection, "cls");
  const patches = readArray(inspection, "patches");
  return {
    name: inspection.name,
    shape: cls.shape,
    value: valueAt(cls, 2 * 3 + 1, 5),
    head: [...readerMap(inspection, 2, 1)],
    mean: [...readerMap(inspection, 2)],
    row: [...patchMap(inspection, 7)],
    column: [...lookersAt(inspection, 7)],
    keys: keysOf(inspection, 0, 3),
    lens: lensOf(inspection, 1, 4),
    method: [...methodMap(inspection, inspection.maps[0])],
    nothing: [readArray(inspection, "words"), keysOf(inspection, 3, 0), readerMap(inspection, 9)],
    picture: pictureAddress(inspection).slice(0, 5),
    thumb: thumbAddress(0).slice(0, 22),
  };
}"""


STILLS = """(text) => {
  const page = new DOMParser().parseFromString(text, "text/html");
  document.body.append(page.getElementById("stills"));
}"""
"""What the page's own script took out when it began, put back for another copy of it."""


def reading():
    return READING % (VIEWER / "shell" / "inspections.js").read_text(encoding="utf-8")


def test_a_page_reads_what_python_wrote(browser, tmp_path):
    inspection = made(layers=4, heads=3, rows=4, columns=5)
    path = tmp_path / "page.html"
    text = made_page(1, layers=4, heads=3, rows=4, columns=5)
    path.write_text(text, encoding="utf-8", newline="\n")
    with open_page(browser, path) as page:
        page.evaluate(STILLS, text)
        read = page.evaluate(reading())
    cls, patches = inspection.values("cls"), inspection.values("patches")
    assert read["name"] == inspection.name and read["shape"] == [4, 3, 4, 5] and read["nothing"] == [None] * 3
    assert read["value"] == pytest.approx(cls[2, 1].ravel()[5], rel=1e-6)
    np.testing.assert_allclose(read["head"], cls[2, 1].ravel(), rtol=1e-6)
    np.testing.assert_allclose(read["mean"], cls[2].mean(axis=0).ravel(), rtol=1e-6)
    np.testing.assert_allclose(read["row"], patches.reshape(20, 20)[7], rtol=1e-6)
    np.testing.assert_allclose(read["column"], patches.reshape(20, 20)[:, 7], rtol=1e-6)
    np.testing.assert_allclose(read["method"], inspection.map_of(inspection.maps[0]).ravel(), rtol=1e-6)
    places = [None if each == PREFIX else int(each) for each in inspection.keys.indices[0, 3]]
    assert [each["patch"] for each in read["keys"]] == places
    np.testing.assert_allclose([each["weight"] for each in read["keys"]], inspection.keys.weights()[0, 3], rtol=1e-6)
    assert read["lens"]["name"] == inspection.lens.names[inspection.lens.classes[1, 4]]
    assert read["picture"] == "blob:" and read["thumb"] == "data:image/jpeg;base64"


@pytest.mark.parametrize("damage", ["cut", "changed", "index"])
def test_a_damaged_block_is_said_in_the_page(browser, tmp_path, damage):
    text = str.replace(made_page(1, layers=4, heads=3, rows=4, columns=5), "", "")
    block = re.search(r'class="inspection" data-index="0">([^<]+)<', text)[1]
    if damage == "index":
        text = text.replace('id="data">{', 'id="data">{"cut')
    else:
        middle = len(block) // 2
        other = block[:middle] if damage == "cut" else block[:middle] + "AAAA" + block[middle + 4 :]
        text = text.replace(block, other)
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8", newline="\n")
    with open_page(browser, path) as page:
        if damage != "index":
            page.evaluate(reading().partition("const inspection")[0] + "await inspectionOf(0).catch(() => {}); }")
        problem = page.get_by_role("alert")
        problem.wait_for()
        assert "was probably cut off. Copy it again." in problem.inner_text()
