"""What is said of a network's reliance on the background, by the rules in order, and in a sentence."""

import re

import numpy as np
import pytest

from regard.audit.sentences import sentences
from regard.measurement.intervals import NOWHERE
from regard.measurement.reliance.swaps import flipped
from regard.measurement.reliance.verdict import CHANGES, HARDLY, MOSTLY, RELIES, UNDECIDED, verdict
from regard.records import Finding, Score

NAN = float("nan")


def between(low: float, high: float) -> Score:
    return Score((low + high) / 2, low, high, 50)


CASES = [
    (between(0.3, 0.5), between(0.51, 0.7), MOSTLY),
    (between(-0.1, 0.1), between(0.51, 0.7), MOSTLY),  # labels and backgrounds apart: no accuracy is lost, all changes
    (between(0.01, 0.2), between(0.5, 0.7), RELIES),
    (between(0.01, 0.2), between(0.0, 0.05), RELIES),
    (between(0.01, 0.2), NOWHERE, RELIES),
    (between(0.0, 0.2), between(0.11, 0.4), CHANGES),
    (between(-0.05, 0.04), between(0.11, 0.4), CHANGES),
    (between(-0.05, 0.04), between(0.1, 0.4), HARDLY),
    (between(-0.05, 0.04), NOWHERE, HARDLY),
    (between(-0.05, 0.05), between(0.0, 0.1), UNDECIDED),
    (between(0.0, 0.2), NOWHERE, UNDECIDED),
    (NOWHERE, NOWHERE, UNDECIDED),
    (Score(-0.2, NAN, NAN, 1), NOWHERE, UNDECIDED),
]


@pytest.mark.parametrize(("lost", "flips", "expected"), CASES)
def test_the_first_rule_that_holds_decides(lost, flips, expected):
    assert verdict(lost, flips) == expected


@pytest.mark.parametrize(
    ("flips", "says"),
    [
        (between(0.6, 0.8), r"Most of its answers are those of the background: there 70% \[60, 80\] of the answers"),
        (between(0.2, 0.4), r"Its answers change with the background, though its accuracy does not fall: there 30%"),
        (between(0.0, 0.04), "It hardly relies on the background: the object on another"),
        (None, "It hardly relies on the background: the object on another"),
    ],
)
def test_the_sentence_says_what_the_rule_says(flips, says):
    findings = [Finding("reliance", "background_reliance", "", between(-0.02, 0.02))]
    if flips is not None:
        condition = "on the background of a picture of another class"
        findings.append(Finding("reliance", "flips", "", flips, condition=condition))
    found = sentences(50, None, findings, (), (), {})[1]
    assert re.match(says, found), found


def test_flips_count_where_pasting_alone_changes_nothing_and_there_is_a_swap():
    whole, control, swapped = np.array([1, 1, 1, 1, 1]), np.array([1, 1, 0, 1, -1]), np.array([1, 2, 2, -1, 2])
    np.testing.assert_array_equal(flipped(whole, control, swapped), [0, 1, NAN, NAN, NAN])
