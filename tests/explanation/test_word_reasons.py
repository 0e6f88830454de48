"""Why a word has little support, by rules that stand in the documents."""

import math
from pathlib import Path

import pytest

from regard.explanation.words.checks import WORD_CHECKS
from regard.explanation.words.support.context import CONTEXTS
from regard.explanation.words.support.reasons import MOST, REASONS, TOGETHER, reasons_of

PAGE = (Path(__file__).parents[2] / "docs" / "caption-files.md").read_text(encoding="utf-8")
NONE = "as likely without the picture"


@pytest.mark.parametrize(
    ("checks", "right"),
    [
        ({"gain_over_none": 0.0}, (NONE,)),
        ({"gain_over_none": -1.0}, ("likelier without the picture",)),
        ({"gain_over_none": 0.3, "gain_over_another": 0.1}, ("another picture gives it as much",)),
        ({"margin": 0.5}, ("the network hesitated between it and another word",)),
        ({"margin": -3.0}, ("the network would rather have written another word",)),
        ({"repetition": -0.9, "margin": 5.0}, ("it was named before, at the same place",)),
        ({"gain_over_none": math.nan, "margin": math.nan}, (TOGETHER,)),
        ({}, (TOGETHER,)),
        ({"glsim": -1.0, "log_probability": -0.1}, (TOGETHER,)),
    ],
)
def test_a_reason_is_a_check_below_its_bound(checks: dict[str, float], right: tuple[str, ...]) -> None:
    assert reasons_of(checks) == right


def test_what_speaks_against_a_word_most_comes_first_and_what_speaks_for_it_not() -> None:
    checks = {"margin": 0.1, "gain_over_none": 0.1, "gain_over_another": 0.1, "concentration": 0.05}
    assert len(reasons_of(checks)) == MOST
    weights = {"margin": 0.4, "gain_over_none": -0.1, "gain_over_another": -2.0}
    assert reasons_of(checks, contributions=weights) == ("another picture gives it as much", NONE)
    assert reasons_of({"margin": 0.1}, contributions={"margin": 0.4}) == (TOGETHER,)


@pytest.mark.parametrize(
    ("margin", "lead", "right"),
    [
        (0.3, -0.3, 'the network hesitated between it and "girl"'),
        (0.3, -4.0, "the network hesitated between it and another word"),  # of another kind: the girl is unlikely
        (-2.0, 2.0, 'the network would rather have written "girl"'),
        (-2.0, -0.3, "the network would rather have written another word"),
    ],
)
def test_a_rival_is_named_where_the_reason_is_true_of_it(margin: float, lead: float, right: str) -> None:
    assert reasons_of({"margin": margin}, rival="girl", lead=lead) == (right,)


def test_what_stands_around_a_word_is_said() -> None:
    checks = {"margin": 0.1, "gain_over_none": 0.1}
    assert reasons_of(checks, context="prompt", rival="dog") == (
        'the network hesitated between it and "dog"',
        f"{NONE}, as the prompt names it already",
    )
    assert reasons_of(checks, context="repeated")[1] == f"{NONE}, as it was said before"
    assert reasons_of(checks, context="cut")[0] == CONTEXTS["cut"] and len(reasons_of(checks, context="cut")) == 3
    assert reasons_of({}, context="unknown") == (CONTEXTS["unknown"],)
    assert reasons_of({}, context="repeated") == (TOGETHER,)


def test_the_rules_are_of_checks_and_stand_in_the_documents() -> None:
    for rule in REASONS:
        sentence = rule.sentence.format(rival='"girl"')
        assert rule.check in WORD_CHECKS and f"| {sentence} |" in PAGE
