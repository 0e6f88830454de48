"""The page of an audit: every verdict and number with what it is read against, nothing unsafe, and no overflow."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from audits import SRG, example_audit, score
from browser import open_page
from markup import check_safe
from PIL import Image
from playwright.sync_api import expect

from regard.audit import rules
from regard.measurement import METRICS
from regard.measurement.metric import AUDITED
from regard.records import Audit, Failure, Finding, RemovalCurves, Score
from regard.records.audits.verdicts import PARTS, STATUSES
from regard.rendering.pages import removal
from regard.rendering.pages.audits.audit import audit_page, picture_names
from regard.rendering.pages.audits.pictures import CARDS
from regard.rendering.pages.audits.words import HEADINGS, MARKS, RULE

NOTHING = Score(math.nan, math.nan, math.nan, 0)
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e'


def _text(page: str) -> str:
    return " ".join(check_safe(page).text.split())


def _pictures(audit: Audit) -> dict[str, Image.Image]:
    return {name: Image.new("RGB", (90, 60), (90, 120, 40)) for name in picture_names(audit)}


def test_the_rule_on_the_page_is_the_rule_of_the_verdicts() -> None:
    assert {"alpha": rules.ALPHA, "margin": rules.MARGIN, "draws": rules.DRAWS} == RULE
    assert tuple(MARKS) == STATUSES and tuple(HEADINGS) == PARTS
    text = _text(audit_page(example_audit()))
    assert "10,000 draws" in text and "± 0.05" in text and "5 % of audits" in text


def test_the_page_says_what_was_found_and_how_it_follows() -> None:
    audit = example_audit()
    text = _text(audit_page(audit))
    for sentence in audit.sentences:
        assert sentence in text
    assert "A faithful map is no evidence that the model is safe to use." in text
    assert "rollout 0.390 [0.350, 0.430] edges 0.194 [0.154, 0.234] +0.196 , +0.156 to +0.236" in text
    assert "all of it is above 0: ✓ supported" in text and "all of it is below 0: ✕ contradicted" in text
    assert "Picked on the Method SRG there SRG on the other half" in text
    assert "it is measured with --full alone" in text and "gradcam failed on 1 picture" in text


def test_every_number_has_its_interval_its_baseline_its_n_and_is_explained() -> None:
    audit = example_audit()
    page = audit_page(audit)
    text = _text(page)
    for each in audit.findings:
        found = f"{each.score.value:.3f}"
        assert found in text and f"{each.score.low:.3f} to {each.score.high:.3f}" in text
        if each.baseline is not None and each.subject:
            assert re.search(rf"<bdi>{each.against}</bdi> {each.baseline.value:.3f}", page), each
        if each.score.description:
            assert each.score.description[1:] in text, each.measure
    assert page.count('data-name="n">74') >= len(audit.findings) - 1


def test_measures_of_an_audit_have_words_for_readers() -> None:
    for row in METRICS:
        if row.kind in AUDITED:
            finding = Finding("reliance", row.name, "", score(0.5))
            assert row.description[1:] not in _text(audit_page(Audit((), findings=(finding,))))
            told = Finding("reliance", row.name, "", replace(score(0.5), label=row.label, description=row.description))
            assert row.description[1:] in _text(audit_page(Audit((), findings=(told,))))


def test_every_measure_of_an_audit_is_explained_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    chapter = text[text.index("## What each number means") :]
    rows = [row.name for row in METRICS if row.kind in AUDITED]
    explained = re.findall(r"\*\*`(\w+)`\*\*", chapter)
    assert sorted(explained) == sorted(rows)
    assert chapter.count("Weak:") >= len(rows) - 8  # some share a paragraph
    links = set(re.findall(r"arxiv.org/abs/([\d.]+)", chapter))
    assert {
        number for row in METRICS if row.kind in AUDITED for number in re.findall(r"arXiv ([\d.]+)", row.source)
    } <= links


def test_curves_lie_where_the_numbers_say_with_controls_behind() -> None:
    line = (score(1.0, 0.0), score(0.5, 0.1), score(0.0, 0.0))
    broken = (score(1.0, 0.0), NOTHING, score(0.0, 0.0))
    curves = (RemovalCurves("rollout", line, line), RemovalCurves("randomised rollout", broken, line))
    others = (RemovalCurves("randomised attention", line, line), RemovalCurves("edges", line, line))
    (group,) = removal.panels(Audit((), curves=(*curves, *others)))
    (panel,) = group["panels"]
    assert panel["lines"][1]["path"] == "M0.0 0.0L125.0 75.0L250.0 150.0"
    assert panel["lines"][1]["band"].startswith("0.0,0.0 125.0,60.0 250.0,150.0 250.0,150.0 125.0,90.0")
    assert [each["name"] for each in panel["behind"]] == ["randomised rollout"] * 2 + ["edges"] * 2
    assert panel["behind"][1]["path"] == "M0.0 0.0M250.0 150.0"  # a gap where there is no number
    assert panel["hits"][1]["text"].startswith("50% gone: least important first 0.500 [0.400, 0.600]")
    assert [each["name"] for each in removal.panels(example_audit())[0]["panels"]] == list(SRG)


def test_a_verdict_on_positions_is_no_verdict_on_a_map() -> None:
    audit = example_audit()
    asked = replace(audit.verdicts[0], method="neighbours", question="Are neighbours more alike?", why="all is above")
    text = _text(audit_page(replace(audit, verdicts=(*audit.verdicts, asked))))
    maps, _, rest = text.partition("How the verdicts follow")
    assert "neighbours" not in maps and "Are neighbours more alike? ✓ supported +0.383" in rest


def test_a_bar_that_the_scale_cannot_hold_is_not_drawn() -> None:
    loss = Finding("quality", "nll", "", Score(0.9, 0.1, 5.8, 8))
    assert 'class="interval' not in audit_page(Audit((), findings=(loss,))).partition('id="quality"')[2]


def test_a_map_has_the_verdict_of_its_own_settings_alone() -> None:
    audit = example_audit()
    assert "no verdict on these settings" not in _text(audit_page(audit, _pictures(audit)))
    other = replace(audit, examples=(replace(audit.examples[3], settings={"layer": 3}),))
    assert _text(audit_page(other)).count("no verdict on these settings") == 4


@pytest.mark.parametrize("audit", [Audit(()), Audit(("Nothing was measured.",), n=1), replace(
    example_audit(), verdicts=tuple(replace(each, value=math.nan, low=math.nan, high=math.nan)
                                    for each in example_audit().verdicts),
    findings=tuple(replace(each, score=NOTHING, baseline=NOTHING) for each in example_audit().findings),
    pictures=(), examples=(), best=(), skipped={}, failures=(), settings={}, provenance={})])  # fmt: skip
def test_what_is_not_there_makes_no_page_fail(audit: Audit) -> None:
    text = _text(audit_page(audit))
    assert not re.search(r"\b(nan|inf|None)\b", text)


def test_hostile_names_stay_text_and_paths_stay_off_the_page() -> None:
    audit = example_audit()
    verdicts = tuple(replace(each, method=HOSTILE, why=HOSTILE) for each in audit.verdicts)
    findings = tuple(replace(each, subject=HOSTILE, against=HOSTILE, condition=HOSTILE) for each in audit.findings)
    pictures = tuple(replace(each, name=HOSTILE, label=HOSTILE, flips={HOSTILE: HOSTILE}) for each in audit.pictures)
    failure = Failure("gradcam", 1, ("a.jpg",), "cannot read /home/somebody/a.jpg")
    page = audit_page(
        replace(
            audit,
            sentences=(HOSTILE,) * 3,
            verdicts=verdicts,
            findings=findings,
            pictures=pictures,
            curves=tuple(replace(each, method=HOSTILE) for each in audit.curves),
            failures=(failure,),
            skipped={HOSTILE: "no file at /home/somebody/masks"},
            settings={HOSTILE: HOSTILE},
            examples=tuple(replace(each, method=HOSTILE) for each in audit.examples),
        ),
        title=HOSTILE,
    )
    assert "<script>alert(1)</script>" in check_safe(page).text
    assert "somebody" not in page


def test_pictures_are_asked_for_and_shown_without_their_metadata() -> None:
    audit = example_audit()
    names = picture_names(audit)
    flipped = [each.name for each in audit.pictures if each.flips]
    assert names[:4] == [heatmap.name for heatmap in audit.examples[0]]
    assert set(flipped[:CARDS]) <= set(names)
    image = Image.new("RGB", (90, 60))
    image.info["comment"] = b"secret"
    image.getexif()[270] = "secret"
    opened = replace(audit.examples[0], heatmaps=tuple(replace(each, image=lambda size: 1 / 0)  # type: ignore[arg-type]
                                                       for each in audit.examples[0]))  # fmt: skip
    assert audit_page(replace(audit, examples=(opened,)))  # no picture but those that it is handed
    page = audit_page(audit, dict.fromkeys(names, image))
    assert page.count('class="card"') >= len(flipped) and "secret" not in page
    assert flipped[0] in _text(audit_page(audit))  # listed by name where there is no picture


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_browser_shows_the_page_without_overflow(browser, tmp_path: Path, width: int, dark: bool) -> None:
    audit = example_audit()
    path = tmp_path / "page.html"
    path.write_text(audit_page(audit, _pictures(audit), "long" * 40), encoding="utf-8")
    with open_page(browser, path, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        inside = "each => { const b = each.getBoundingClientRect(); return b.right <= innerWidth + 1; }"
        assert page.locator("#verdicts .status").first.evaluate(inside)
        assert page.locator(".removal").last.evaluate(inside)
        why = page.locator("#verdicts .why").first
        expect(why).to_be_visible()
        assert why.evaluate(inside)
