"""Audits of captioners side by side: claims and numbers in columns, paired differences of the same pictures alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audits import example_audit
from markup import check_safe
from word_audits import example_word_audit

import regard
from regard.errors import UsageError
from regard.measurement.word_audits import compare_word_audits
from regard.records import AuditedWord, WordAudit
from regard.rendering.pages.audits.captioners import word_audits_page
from regard.results.audits import write_audit
from regard.results.word_audits import write_word_audit

PICTURES = 40


def _audit(more: float = 0.0, wrong: int = 10, shift: int = 0) -> WordAudit:
    """Two nouns and an article in each of forty captions, the first noun of some wrong; `more` share on every other
    picture."""
    words = []
    for picture in range(shift, PICTURES + shift):
        unit = f"{picture}.png"
        share = 0.4 + 0.1 * np.sin(picture)
        words += [
            AuditedWord(unit, 0, "a", "other", "anywhere", None, {"fall": 0.1}),
            AuditedWord(unit, 1, "cat", "noun", "nouns", picture >= wrong, {"map_share": share, "log_probability": -1}),
            AuditedWord(unit, 2, "hat", "noun", "nouns", True, {"map_share": share + 2 * more * (picture % 2)}),
        ]
    return replace(example_word_audit(), words=tuple(words), n=PICTURES)


def test_differences_are_paired_by_caption_over_the_mean_of_its_words() -> None:
    found = compare_word_audits({"first": _audit(), "second": _audit(0.1, wrong=4)})
    by = {(each.measure, each.subject): each.score for each in found.differences}
    right = by["right_words", "nouns"]
    assert right.value == pytest.approx(6 / 2 / PICTURES) and right.n == PICTURES and right.low > 0
    # of the 10 first captions the second noun alone is right before: it has 0.2 more where the picture is odd
    share = by["map_share", "nouns, right"]
    halves = [0.2 if place % 2 else 0.0 for place in range(PICTURES)]
    singly = [half if place < 4 else half / 2 for place, half in enumerate(halves)]
    assert share.value == pytest.approx(np.mean(singly)) and share.low < share.value < share.high
    assert ("map_share", "nouns, wrong") not in by  # only four captions have such in both
    again = compare_word_audits({"first": _audit(), "again": _audit()})
    assert {each.score.note for each in again.differences} == {"all alike"}
    assert by["fall", "anywhere, all"].value == 0
    assert "log_probability" not in {measure for measure, _ in by}  # no number of these audits
    assert [each.score.label for each in found.differences if each.measure == "right_words"] == ["Share of right words"]


def test_captions_of_one_picture_are_drawn_together() -> None:
    """Five times the same caption of each picture says no more than once."""

    def several(audit: WordAudit) -> WordAudit:
        words = [
            replace(word, unit=f"{number} {word.unit}", picture=word.unit)
            for word in audit.words
            for number in range(5)
        ]
        return replace(audit, words=tuple(words))

    once, often = (
        {(each.measure, each.subject): each.score for each in compare_word_audits(audits).differences}
        for audits in (
            {"first": _audit(), "second": _audit(0.1, wrong=4)},
            {"first": several(_audit()), "second": several(_audit(0.1, wrong=4))},
        )
    )
    for about in (("right_words", "nouns"), ("map_share", "nouns, right")):
        one, many = once[about], often[about]
        assert (many.n, many.low, many.high) == (one.n, pytest.approx(one.low), pytest.approx(one.high))


def test_other_pictures_have_no_differences_and_other_words_are_said() -> None:
    plain = _audit()
    elsewhere = replace(_audit(0.1), provenance={**plain.provenance, "data": "other"})
    found = compare_word_audits({"plain": plain, "elsewhere": elsewhere})
    assert not found.differences and "elsewhere has other pictures than plain" in found.text
    assert "other words" not in compare_word_audits({"plain": plain, "again": _audit(0.1)}).text
    words = tuple(replace(each, text="dog") if each.text == "cat" else each for each in plain.words)
    assert "b has other words than a" in compare_word_audits({"a": plain, "b": replace(plain, words=words)}).text
    assert not compare_word_audits({"a": plain, "b": _audit(shift=PICTURES)}).differences  # no caption of both


def test_the_text_and_the_page_lay_claims_side_by_side() -> None:
    score = {"value": 0.912, "low": 0.881, "high": 0.94, "n": 300}
    support = {"measured": {"noun": {"auroc": score, "calibration_error": score}}}
    second = replace(_audit(0.1), support=support, verdicts=example_word_audit().verdicts[:1])
    found = compare_word_audits({"first": _audit(), "<i>two</i>": second})
    assert found.claims["verbs", "right"].keys() == {"first"}
    lines = found.text.splitlines()
    row = ["Nouns", "look", "at", "their", "object", "right", "words", "supported", "supported"]
    assert row in [line.split() for line in lines]
    assert "auroc of noun" in found.text and "map_share of nouns, right, <i>two</i> minus first: +0.0" in found.text
    assert json.loads(json.dumps(found.as_json()))["audits"][1]["name"] == "<i>two</i>"
    text = " ".join(check_safe(word_audits_page(found, "two <b>audits</b>")).text.split())
    assert "two <b>audits</b>" in text and "By map: ✕ contradicted, -0.070" in text
    assert "nouns – 0.912 0.881 to 0.940" in text and "map_share: nouns, right words <i>two</i>" in text
    hidden = word_audits_page(
        compare_word_audits({"/home/me/a": _audit(), "/home/me/b": second}), "/home/me/c", anonymise=True
    )
    assert "/home/me" not in hidden and "audit 1" in hidden


def test_the_command_takes_folders_of_audits_of_one_kind(tmp_path: Path) -> None:
    for name, audit in {"first": _audit(), "second": _audit(0.1)}.items():
        (tmp_path / name).mkdir()
        write_word_audit(tmp_path / name, audit)
    found = regard.compare([tmp_path / "first", tmp_path / "second"], out=tmp_path / "out")
    assert list(found.audits) == ["first", "second"]
    assert "first" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["differences"]
    (tmp_path / "plain").mkdir()
    write_audit(tmp_path / "plain", replace(example_audit(), examples=()))
    with pytest.raises(UsageError, match="first: an audit of a captioner, but another of them is of a classifier"):
        regard.compare([tmp_path / "first", tmp_path / "plain"])
    with pytest.raises(UsageError, match="nothing: no audit"):
        (tmp_path / "nothing").mkdir()
        regard.compare([tmp_path / "first", tmp_path / "nothing"])
