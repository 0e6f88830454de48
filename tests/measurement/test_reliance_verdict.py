"""What is said of a network's reliance on the background, by the rules in order, and in a sentence."""

import re

import numpy as np
import pytest
import torch

from regard.audit.sentences import sentences
from regard.data.images.preparation import Preparation
from regard.measurement.intervals import NOWHERE, mean, paired
from regard.measurement.reliance.compositing import background_alone
from regard.measurement.reliance.swaps import flipped, reliance, swaps
from regard.measurement.reliance.verdict import CHANGES, HARDLY, MOSTLY, RELIES, UNDECIDED, verdict
from regard.networks.load import load
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
        (between(0.6, 0.8), r"Most of its answers are those of the background: 70% \[60, 80\] of them change with it"),
        (between(0.2, 0.4), r"Its answers change with the background, though its accuracy does not fall: 30%"),
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


class Pixel(torch.nn.Module):
    """Its class is whether one pixel is bright."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self.scale = torch.nn.Parameter(torch.tensor(20.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = self.scale * x[:, 0, self.place, self.place]
        return torch.stack([-bright, bright], dim=1)


@pytest.mark.parametrize(("place", "expected"), [(0, MOSTLY), (7, HARDLY)])
def test_what_follows_a_background_that_has_nothing_to_do_with_the_labels_is_told_so(place, expected):
    """Bright or dark object, bright or dark background, all four as often: following the background loses nothing."""
    objects, grounds = np.meshgrid([0, 1], [0, 1], indexing="ij")
    labels, behind = (np.tile(each.ravel(), 40) for each in (objects, grounds))
    pictures = torch.from_numpy(np.where(behind, 0.9, 0.1)).float()[:, None, None, None].repeat(1, 3, 16, 16)
    pictures[:, :, 6:10, 6:10] = torch.from_numpy(np.where(labels, 0.9, 0.1)).float()[:, None, None, None]
    masks = torch.zeros(160, 16, 16, dtype=torch.bool)
    masks[:, 6:10, 6:10] = True
    others = background_alone(pictures, masks)[np.arange(160) ^ 1]  # the picture of the same object on the other ground
    network = load(Pixel(place), preparation=Preparation(16, 16))
    found = swaps(network, pictures, masks, labels, {"random": (others, np.ones(160, bool))})
    lost = reliance(found.correct(labels), found.variants)
    ends = paired(float((lost > 0).sum()), float((lost < 0).sum()), 160)
    flips = mean(flipped(*(found.of(name)[0] for name in ("original", "control", "random"))))
    assert lost.mean() == 0 and flips.value == (expected == MOSTLY)
    assert verdict(Score(0.0, *ends, 160), flips) == expected
    assert verdict(Score(0.0, *ends, 160), NOWHERE) in (HARDLY, UNDECIDED)  # the accuracy alone does not tell
