"""`--require` of an audit of a captioner: rules on claims, numbers and what finds wrong words."""

from dataclasses import replace
from typing import Any

import pytest
from word_audits import example_word_audit

from regard.audit.words.measures import MEASURES, OF_SUPPORT
from regard.audit.words.requirements import WordRequirement, unmet
from regard.errors import UsageError
from regard.records import Finding, Score, WordAudit


def _audit() -> WordAudit:
    score = {"value": 0.95, "low": 0.91, "high": 0.98, "n": 300}
    error = {"value": 0.03, "low": 0.01, "high": 0.06, "n": 300}
    of: dict[str, Any] = {"n_right": 9, "n_wrong": 9, "units": 9, "auroc": score, "calibration_error": error}
    audit = replace(example_word_audit(), support={"measured": {"all": of, "noun": of}})
    (first, *rest) = audit.findings
    right = Finding("nouns", "right_words", "", Score(0.97, 0.95, 0.98, 300))
    return replace(audit, findings=(right, replace(first, condition="over centre"), first, *rest))


@pytest.mark.parametrize(
    "rule",
    [
        "verdict:nouns:right=supported",
        "verdict:adjectives:wrong=no better than a control",
        "verdict:verbs:right:removal=no better than a control",
        "verdict:anywhere=supported",
        "verdict:words_before:all:gain=supported",
        "map_share:nouns:right.low>=0.59",
        "map_share:nouns:right:over centre>0.6",
        "fall:anywhere<=0.34",
        "right_words:nouns.low>=0.95",
        "auroc:noun.low>=0.9",
        "auroc>=0.9",
        "calibration_error:all<=0.05",
    ],
)
def test_a_rule_that_holds_is_met(rule: str) -> None:
    assert unmet(_audit(), [WordRequirement.parse(rule)]) == ()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("verdict:nouns:wrong=supported", "Nouns look at their object, wrong words: not decidable"),
        ("verdict:verbs:right=supported", "contradicted"),
        ("verdict:verbs:wrong=supported", "no verdict"),
        ("verdict:nouns:right:gain=supported", "no verdict"),
        ("map_share:nouns:right.low>=0.6", "it is 0.610 [0.590, 0.630], whose low end counts"),
        ("calibration_error:noun.high<=0.05", "it is 0.030 [0.010, 0.060], whose high end counts"),
        ("map_pointing:nouns:right>=0", "it names nothing that was measured"),
        ("map_share:verbs:wrong>=0", "there are: map_share:nouns:right:over centre; map_share:nouns:right; "),
        ("auroc:side>=0", "there are: auroc:all; auroc:noun"),
    ],
)
def test_a_rule_that_does_not_hold_is_named_with_what_there_is(rule: str, why: str) -> None:
    (line,) = unmet(_audit(), [WordRequirement.parse(rule)])
    assert line.startswith(f"{rule} is not met: ") and why in line
    (line,) = unmet(WordAudit(()), [WordRequirement.parse(rule)])  # nothing was measured at all
    assert "no verdict" in line or "names nothing" in line


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("fall", "is no rule"),
        ("fall:nouns:right>=much", "'much', which is no number"),
        ("fall:nouns:right=1", "is no rule"),
        ("fall:nouns:right>=nan", "is no rule"),
        ("top1>=0.8", "unknown measure of words"),
        ("fall>=0", "unknown claim"),
        ("fall:noun:right>=0", "did you mean 'nouns'"),
        ("fall:nouns>=0", "nouns are right, wrong, unjudged"),
        ("fall:nouns:all>=0", "nouns are right, wrong, unjudged"),
        ("fall:anywhere:right>=0", "anywhere are all"),
        ("verdict:nouns:right=good", "a verdict is one of"),
        ("verdict:nouns:right>=supported", "a verdict is one of"),
        ("verdict:nouns:right:maps=supported", "did you mean 'map'"),
        ("right_words:nouns:right>=0.9", "unknown claim behind right_words"),
        ("right_words:anywhere>=0.9", "nouns"),
        ("auroc:nouns>=0.9", "did you mean 'noun'"),
        ("auroc:other>=0.9", "unknown kind of word"),
    ],
)
def test_a_rule_that_names_nothing_is_refused(rule: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        WordRequirement.parse(rule)


def test_every_measure_has_words() -> None:
    assert all(label and meaning and not meaning.endswith(".") for label, meaning in MEASURES.values())
    assert all(OF_SUPPORT.values())
