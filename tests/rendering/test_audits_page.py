"""Audits side by side: verdicts and numbers in columns, paired differences of the same pictures alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audits import SRG, N, example_audit
from browser import open_page
from markup import check_safe

import regard
from regard.errors import UsageError
from regard.measurement.audits import compare_audits
from regard.records import Audit
from regard.rendering.pages.audits.comparison import audits_page
from regard.results.audits import write_audit


def _better(audit: Audit, by: float = 0.1) -> Audit:
    """With more SRG of rollout on every other picture, and three pictures right that were wrong."""
    pictures = []
    mistakes = 0
    for place, each in enumerate(audit.pictures):
        numbers = {**each.numbers, "srg:rollout": each.numbers["srg:rollout"] + 2 * by * (place % 2)}
        mended = not each.right and mistakes < 3
        mistakes += mended
        pictures.append(replace(each, numbers=numbers, predicted=each.label if mended else each.predicted))
    return replace(audit, pictures=tuple(pictures))


def test_differences_are_paired_by_picture() -> None:
    plain = example_audit()
    found = compare_audits({"plain": plain, "repaired": _better(plain)})
    by = {(each.measure, each.subject): each.score for each in found.differences}
    assert by["top1", ""].value == pytest.approx(3 / N) and by["top1", ""].low < 0 < by["top1", ""].high
    gain = by["srg", "rollout"]
    assert gain.value == pytest.approx(0.1, abs=1e-9) and gain.n == N
    assert gain.high - gain.low == pytest.approx(4 * 0.1 / np.sqrt(N), rel=0.05)  # about two standard errors each way
    assert next(each for each in found.differences if each.subject == "attention").gain == "+0.000 (all alike)"
    assert ("background_reliance", "") not in by  # not on these pictures
    again = replace(plain, pictures=plain.pictures[::-1])
    assert compare_audits({"plain": plain, "same": again}).differences[0].score.value == 0


def test_other_pictures_other_settings_and_groups_have_no_differences() -> None:
    plain = example_audit()
    elsewhere = replace(plain, provenance={**plain.provenance, "data": "other"})
    found = compare_audits({"plain": plain, "elsewhere": elsewhere})
    assert not found.differences and "elsewhere has other pictures than plain" in found.text
    grouped = replace(plain, settings={**plain.settings, "group": "animal"})
    assert not compare_audits({"plain": plain, "grouped": grouped}).differences
    other = replace(plain, verdicts=tuple(replace(each, settings={"layer": 3}) for each in plain.verdicts))
    found = compare_audits({"plain": plain, "other": other})
    assert {each.measure for each in found.differences} == {"top1"}
    assert len(found.verdicts) == 2 * len(SRG)  # a row for each of the settings


def test_the_text_and_the_page_lay_audits_side_by_side() -> None:
    plain = example_audit()
    found = compare_audits({"plain": plain, "<i>two</i>": _better(plain)})
    assert "supported +0.196 [+0.156, +0.236]" in found.text and "srg of rollout" in found.text
    page = audits_page(found, "two <b>audits</b>")
    text = " ".join(check_safe(page).text.split())
    assert "two <b>audits</b>" in text and "<i>two</i>" in text
    assert text.count("✓ supported") == 6 and "D), with its corrected interval" in text
    assert "Symmetric relevance gain of rollout" in text and "no evidence that the model is safe" in text
    assert "edges 0" not in text and "Differences" in text
    hidden = audits_page(compare_audits({"/home/me/a": plain, "/home/me/b": plain}), "/home/me/c", anonymise=True)
    assert "/home/me" not in hidden and "audit 1" in hidden


def test_the_command_takes_folders_of_audits(tmp_path: Path) -> None:
    plain = example_audit()
    for name, audit in {"first": plain, "second": _better(plain)}.items():
        (tmp_path / name).mkdir()
        write_audit(tmp_path / name, replace(audit, examples=()))
    found = regard.compare([tmp_path / "first", tmp_path / "second"], out=tmp_path / "out")
    assert list(found.audits) == ["first", "second"]
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in stored["audits"]] == ["first", "second"]
    assert stored["differences"][0]["score"]["value"] == pytest.approx(3 / N)
    assert "second" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="compared as they are"):
        regard.compare([tmp_path / "first", tmp_path / "second"], data=tmp_path)
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="compare audits with audits alone"):
        regard.compare([tmp_path / "first", tmp_path / "run"])


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_browser_shows_the_page_without_overflow(browser, tmp_path: Path, width: int, dark: bool) -> None:
    plain = example_audit()
    path = tmp_path / "page.html"
    audits = {"long" * 20: plain, "other" * 20: _better(plain), "third": plain}
    path.write_text(audits_page(compare_audits(audits), "long" * 40), encoding="utf-8")
    with open_page(browser, path, width=width, dark=dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
