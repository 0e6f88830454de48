"""The page of an audit of a captioner: claims, evidence, numbers and wrong words, nothing unsafe, and no overflow."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import open_page
from markup import check_safe
from word_audits import PARTS, example_word_audit, verdict

from regard.audit.words import rules
from regard.explanation.words.support.kinds import KINDS
from regard.records import AuditedWord, Score, WordAudit
from regard.records.audits.words import CLAIMS, EVIDENCE, WORDS
from regard.rendering.pages.audits import claims
from regard.rendering.pages.audits.captioner import FEWEST, SENTENCES, word_audit_page

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e'


def _text(page: str) -> str:
    return " ".join(check_safe(page).text.split())


def _support() -> dict[str, Any]:
    score = {"value": 0.912, "low": 0.881, "high": 0.94, "n": 300}
    error = {"value": 0.031, "low": 0.012, "high": 0.05, "n": 300}
    of = {"n_right": 2911, "n_wrong": 121, "units": 300, "auroc": score, "calibration_error": error}
    return {"measured": {"all": of, "noun": of}, "data": "scenes, <b>300</b> captions", "version": "0.1"}


def test_the_page_has_words_for_all_that_an_audit_of_words_has() -> None:
    assert set(claims.EXAMPLES) == set(claims.GROUPS_OF) == set(CLAIMS)
    assert FEWEST == rules.FEWEST
    assert tuple(claims.EVIDENCE_WORDS) == EVIDENCE and set(claims.GROUPS) == set(WORDS)
    assert {"all", *KINDS} - {"other"} == set(claims.KINDS)


def test_the_page_says_of_each_claim_what_each_kind_of_evidence_says() -> None:
    audit = example_word_audit()
    page = word_audit_page(audit)
    text = _text(page)
    for sentence in audit.sentences:
        assert sentence in text
    matrix = text[text.index("What the words look at", 200) : text.index("Do the maps lie where")]
    assert "right words ✓ supported ✓ supported +0.310 ✓ supported +2.140 – wrong words ? not decidable" in matrix
    assert "right words ✕ contradicted ✕ contradicted -0.070 ≈ no better than a control +0.010 –" in matrix
    assert "all words ✓ supported – – ✓ supported +0.020" in matrix
    for each in audit.verdicts:
        assert f"{each.value:+.3f}" in text and f"{each.low:+.3f} to {each.high:+.3f}" in text
        assert each.why[1:] in text
    assert "1 planted map " in text and "by the map “random” ✕ contradicted" in text
    assert "what was left out" not in matrix and "there are 3 of them" in text
    assert "region failed on 2 pictures" in text


def test_each_kind_of_evidence_has_a_scale_of_its_own() -> None:
    page = word_audit_page(example_word_audit())
    ends = re.findall(r"All on one scale, from ([^ ]+) to ([^\"]+)\"", page)
    assert ends[0] == ("\N{MINUS SIGN}0.15", "0.35") and ("\N{MINUS SIGN}0.1", "2.2") in ends
    assert page.index('id="by-map"') < page.index('id="by-removal"') < page.index('id="by-gain"')


def test_every_number_has_its_interval_and_what_it_is_read_against() -> None:
    audit = example_word_audit()
    paired = replace(audit.findings[0], condition="over centre", score=Score(0.123, 0.1, 0.2, 300), baseline=None)
    text = _text(word_audit_page(replace(audit, findings=(*audit.findings, paired))))
    assert "nouns, right words , over centre 0.123" in text and "paired word by word 1 number " in text
    for each in audit.findings:
        assert each.baseline is not None
        numbers = f"{each.score.value:.3f} {each.score.low:.3f} to {each.score.high:.3f}"
        assert f"{numbers} {each.against} {each.baseline.value:.3f}" in text


def test_captions_with_a_wrong_word_stand_whole_with_what_was_measured() -> None:
    words = tuple(
        AuditedWord(
            f"{picture}.png",
            place,
            each,
            "noun",
            "nouns",
            each != "girl",
            {"fall": 1.234, "fall:elsewhere": 9, "glsim": 9},
        )
        for picture in range(SENTENCES + 3)
        for place, each in reversed([*enumerate(("a", "girl", "sits"))])
    )
    right = AuditedWord("right.png", 0, "cat", "noun", "nouns", True)
    page = word_audit_page(replace(example_word_audit(), words=(right, *words)))
    text = _text(page)
    assert page.count('a <del class="wrong strong">girl</del> sits</bdi>') == SENTENCES
    assert f"{SENTENCES + 3} of 300 captions; {SENTENCES} are listed" in text
    assert "girl – 1.23 – –" in text and "elsewhere 9" not in text and "glsim" not in text and "right.png" not in text


def test_examples_are_drawn_unless_pictures_are_not_wanted() -> None:
    audit = example_word_audit()
    page = word_audit_page(audit)
    assert page.count('<figure class="panel"><img src="data:image/jpeg;base64,') == 1
    assert "The map of each word of the caption of 1.png" in page
    bare = word_audit_page(audit, pictures=False)
    assert "data:image" not in bare and 'href="#examples"' in page and 'href="#examples"' not in bare


def test_what_finds_wrong_words_stands_with_what_it_was_measured_on() -> None:
    assert "Which words can be believed?" not in _text(word_audit_page(example_word_audit()))
    text = _text(word_audit_page(replace(example_word_audit(), support=_support())))
    assert "Fitted on scenes, <b>300</b> captions" in text
    assert "nouns 2911 right and 121 wrong words 0.912 0.881 to 0.940 guessing 0.500 300" in text
    assert "0.031 0.012 to 0.050" in text


@pytest.mark.parametrize("audit", [WordAudit(()), WordAudit(("Nothing was measured.",), n=1, support={}), replace(
    example_word_audit(), verdicts=tuple(replace(verdict(*key), value=math.nan, low=math.nan, high=math.nan)
                                         for key in PARTS),
    findings=tuple(replace(each, score=Score(math.nan, math.nan, math.nan, 0), baseline=None)
                   for each in example_word_audit().findings),
    words=(), skipped={}, failures=(), settings={}, provenance={})])  # fmt: skip
def test_what_is_not_there_makes_no_page_fail(audit: WordAudit) -> None:
    assert not re.search(r"\b(nan|inf|None)\b", _text(word_audit_page(audit)))


def test_hostile_words_stay_text_and_paths_stay_off_the_page() -> None:
    audit = example_word_audit()
    page = word_audit_page(
        replace(
            audit,
            sentences=(HOSTILE,),
            verdicts=tuple(replace(each, why=HOSTILE, method=HOSTILE) for each in audit.verdicts),
            findings=tuple(replace(each, against=HOSTILE, condition=HOSTILE) for each in audit.findings),
            words=(AuditedWord(HOSTILE, 0, HOSTILE, "noun", "nouns", False, {HOSTILE: 1.0}),),
            skipped={HOSTILE: "no file at /home/somebody/masks"},
            settings={HOSTILE: HOSTILE},
        ),
        title=HOSTILE,
    )
    assert "<script>alert(1)</script>" in check_safe(page).text
    assert "somebody" not in page


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_browser_shows_the_page_without_overflow(browser, tmp_path: Path, width: int, dark: bool) -> None:
    path = tmp_path / "page.html"
    audit = replace(example_word_audit(), support=_support())
    path.write_text(word_audit_page(audit, "long" * 40), encoding="utf-8")
    with open_page(browser, path, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        places = "#claims .status, #by-map .why, #by-removal .why"
        ends = page.locator(places).evaluate_all("all => all.map(each => each.getBoundingClientRect().right)")
        assert ends and max(ends) <= width + 1
