"""The page of a comparison, the order of slices, and long names that stay apart wherever they are shortened."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import open_page
from hypothesis import example, given
from hypothesis import strategies as st
from markup import check_safe
from PIL import Image

from regard.measurement.classification.compare import compare
from regard.measurement.classification.evaluation import evaluate
from regard.records import Comparison, Evaluation, Predictions, Score, SliceScore
from regard.rendering import lettering
from regard.rendering.figures import charts, sheets
from regard.rendering.pages import views
from regard.rendering.pages.comparison import CARDS, ComparisonPage, changed_names, comparison_page
from regard.rendering.pages.report import Report, report

HOSTILE = "<script>alert(1)</script>"
COUNT = 40


def _predictions(wrong: range, classes: tuple[str, ...] = ("cat", "dog"), prefix: str = "") -> Predictions:
    """Right but in `wrong`; two sites, of which "b" holds the second half."""
    labels = np.arange(COUNT) % 2
    predicted = np.where(np.isin(np.arange(COUNT), list(wrong)), 1 - labels, labels)
    sure = np.where(np.arange(COUNT)[:, None] % 4 == 0, 0.9, 0.7) * np.eye(2)[predicted]
    probabilities = np.where(sure > 0, sure, 1 - sure.max(axis=1, keepdims=True)).astype(np.float32)
    names = tuple(f"{prefix}{index}.jpg" for index in range(COUNT))
    return Predictions(
        names, classes, predicted, labels, probabilities, slices={"site": np.array(["a", "b"]).repeat(COUNT // 2)}
    )


def _comparison(**settings: str) -> Comparison:
    runs = {"first": _predictions(range(10, 16), **settings), "second": _predictions(range(14, 32), **settings)}  # type: ignore[arg-type]
    return compare(runs, notes={"second": "seen in training"})


def test_parts_and_changes_by_hand() -> None:
    comparison = _comparison()
    assert [(part.value, part.difference.only_this, part.difference.only_first) for part in comparison.classes] == [
        ("cat", 2, 8),
        ("dog", 2, 8),
    ]
    assert [(part.column, part.value, part.first.value, part.this.value) for part in comparison.slices] == [
        ("site", "a", 0.7, 0.7),
        ("site", "b", 1.0, 0.4),
    ]
    assert [change.picture for change in comparison.changes if change.right] == ["12.jpg", "10.jpg", "11.jpg", "13.jpg"]
    assert {change.picture for change in comparison.changes if not change.right} == {f"{n}.jpg" for n in range(16, 32)}
    lost = next(change for change in comparison.changes if not change.right)  # of a wrong answer that is surest
    assert (lost.picture, lost.label, lost.predicted, lost.first) == ("16.jpg", "cat", "dog", "cat")
    assert lost.confidence == lost.first_confidence == pytest.approx(0.9)
    assert sum(part.difference.only_first for part in comparison.classes) == comparison.differences[0].only_first


def test_the_page_says_what_changed_and_where() -> None:
    comparison = _comparison()
    pictures = {name: Image.new("RGB", (60, 40), (9, 9, 9)) for name in changed_names(comparison)[:6]}
    page = comparison_page(ComparisonPage("second against first", comparison, pictures, ("comparison.csv",)))
    text = " ".join(check_safe(page).text.split())
    assert "second alone is right on 4 of 40 pictures, first alone on 16: a difference of -0.300" in text
    assert "first is the better one on pictures like these" in text
    assert "second: Seen in training" in text and "comparison.csv" in text
    assert "Right only in second" in text and "Right only in first" in text
    rows = re.findall(r'<th scope="row"><bdi>(\w+)</bdi></th><td class="n strong" data-value="[^"]+">([^<]+)', page)
    assert rows == [("cat", "-0.300"), ("dog", "-0.300"), ("b", "-0.600"), ("a", "+0.000")]
    assert page.count('class="card"') == 6


def test_the_page_of_runs_that_cannot_be_told_apart_says_so() -> None:
    runs = {"first": _predictions(range(10)), "second": _predictions(range(1, 10)), "third": _predictions(range(10))}
    text = check_safe(comparison_page(ComparisonPage("t", compare(runs)))).text
    assert "These pictures do not tell which of the two is better." in text
    assert "Classes of second" in text and "Changed pictures of third" not in text  # nothing changed there


def test_the_page_is_safe_and_shows_no_more_than_it_may() -> None:
    comparison = _comparison(prefix=f"/home/somebody/{HOSTILE}")
    runs = {run.name: replace(run, name=f"{HOSTILE} {run.name}") for run in comparison.runs}
    hostile = replace(
        comparison,
        runs=tuple(runs.values()),
        differences=tuple(
            replace(each, name=runs[each.name].name, first=runs[each.first].name) for each in comparison.differences
        ),
        changes=tuple(replace(each, run=runs[each.run].name) for each in comparison.changes),
    )
    assert HOSTILE in check_safe(comparison_page(ComparisonPage(HOSTILE, hostile))).text
    hidden = comparison_page(ComparisonPage("t", comparison, anonymise=True))
    assert "somebody" not in hidden and "picture-0001" in hidden
    many = compare({"a": _predictions(range(0)), "b": _predictions(range(COUNT))})
    assert len(changed_names(many)) == CARDS


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (360, False)])
def test_browser_shows_the_page_without_overflow(browser, tmp_path: Path, width: int, dark: bool) -> None:
    comparison = _comparison(classes=("cat" * 40, "dog" * 40), prefix="long" * 30)
    pictures = {name: Image.new("RGB", (60, 40), (9, 9, 9)) for name in changed_names(comparison)}
    path = tmp_path / "page.html"
    path.write_text(comparison_page(ComparisonPage("long" * 40, comparison, pictures)), encoding="utf-8")
    with open_page(browser, path, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        shown = page.locator("#changes-1 .file").all_inner_texts()
        assert len(set(shown)) == len(pictures)
        assert page.locator("#changes-1 .file").first.get_attribute("title") in pictures
        middle = "each => { const b = each.getBoundingClientRect(); return b.left + b.width / 2; }"
        zero = page.locator("#differences .scale").evaluate(middle)
        assert page.locator("#differences .interval").evaluate(middle) == pytest.approx(zero, abs=1)


def test_browser_writes_every_row_of_a_matrix_in_one_line(browser, tmp_path: Path) -> None:
    classes = tuple(f"Canis lupus familiaris, breed {place}, of the mountains in the north" for place in range(15))
    labels = np.arange(60) % 15
    predictions = Predictions(tuple(map(str, range(60))), classes, (labels + (labels % 3 == 0)) % 15, labels)
    path = tmp_path / "page.html"
    path.write_text(report(Report("t", evaluate(predictions))), encoding="utf-8")
    with open_page(browser, path, width=390) as page:
        names = page.locator(".matrix tbody th")
        assert len({*names.all_inner_texts()}) == 15
        cells = "rows => rows.map(row => [row.scrollWidth <= row.clientWidth + 1, row.getBoundingClientRect().height])"
        assert all(whole and height < 40 for whole, height in names.evaluate_all(cells))
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_slices_of_all_columns_come_the_worst_first_on_the_page() -> None:
    """By value, of equals the larger, across columns; what is not defined last."""
    half = Score(0.5, 0.2, 0.8, 10)
    slices = (
        SliceScore("site", "a", Score(0.9, 0.8, 0.95, 30)),
        SliceScore("site", "b", half),
        SliceScore("site", "c", Score(float("nan"), float("nan"), float("nan"), 0)),
        SliceScore("camera", "old", Score(0.2, 0.1, 0.4, 5)),
        SliceScore("camera", "mended", Score(0.5, 0.4, 0.6, 90)),
        SliceScore("camera", "new", Score(0.95, 0.9, 0.99, 90)),
    )
    evaluation: Evaluation = replace(evaluate(_predictions(range(3))), slices=slices)
    order = [("camera", "old"), ("camera", "mended"), ("site", "b"), ("site", "a"), ("camera", "new"), ("site", "c")]
    assert [(row["column"], row["group"]) for row in views.slices(evaluation)] == order
    section = report(Report("t", evaluation)).split('<section id="slices">')[1].split("</section>")[0]
    assert re.findall(r'<td><bdi>(\w+)</bdi></td><th scope="row">(?:<span[^>]*>)?<bdi>(\w+)</bdi>', section) == order


LONG = [
    "patient_0001_left_eye_visit_2024_final_version_of_the_image.png",
    "patient_0002_left_eye_visit_2024_final_version_of_the_image.png",
    "patient_0001_right_eye_visit_2024_final_version_of_the_image.png",
    "cat.png",
]


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(12, 40))
@example(LONG, 16)
@example(["a" * 90 + place + "b" * 90 for place in "xyz"], 12)
@example(["a" * 9000, "a" * 9001], 12)
def test_no_two_names_are_shortened_to_one(names: list[str], most: int) -> None:
    lines = lettering.distinct(names, lambda line: len(line) <= most)
    assert all(len(line) <= most for line in lines)
    whole = [" ".join(lettering.visible(name).split()) for name in names]
    for name, line in zip(whole, lines, strict=True):
        assert line == name or len(name) > most or "(" in line
    for one, first in zip(whole, lines, strict=True):
        for other, second in zip(whole, lines, strict=True):
            assert (first == second) <= (one == other or min(len(one), len(other)) > 2 * lettering.END)


def test_what_tells_names_apart_is_what_stays() -> None:
    lines = lettering.distinct(LONG[:2], lambda line: len(line) <= 20)
    assert "0001" in lines[0] and "0002" in lines[1]
    assert lettering.distinct(
        ["breed_of_the_north_black", "breed_of_the_north_white"], lambda each: len(each) <= 12
    ) == [
        "breed_…black",
        "breed_…white",
    ]


def test_figures_and_pages_shorten_names_apart() -> None:
    classes = tuple(f"Canis lupus familiaris, breed {place}, of the mountains in the north" for place in range(3))
    labels = [
        text.get_text() for text in charts.confusion_chart(np.eye(3, dtype=int), classes).axes[0].get_yticklabels()
    ]
    assert len(set(labels)) == 3 and max(map(len, labels)) <= charts.LONGEST
    predictions = Predictions(("a", "b", "c"), classes, np.array([0, 1, 1]), np.array([0, 1, 2]))
    page = report(Report("t", evaluate(predictions)))
    matrix = page.split('<table class="matrix')[1].split("</table>")[0]
    assert len(set(re.findall(r'<th scope="col" title="([^"]+)"><span><bdi>([^<]+)', matrix))) == 3
    short = re.findall(r'pictures"><bdi>([^<]+)', matrix)
    assert len(set(short)) == 3 and max(map(len, short)) <= views.NAME
    drawn = sheets.contact_sheet([(Image.new("RGB", (90, 90)), None, name) for name in LONG[:2]], tile=90)
    left, right = (np.asarray(drawn.crop((place, 100, place + 90, drawn.height))) for place in (16, 116))
    assert drawn.width > 200 and not np.array_equal(left, right)
