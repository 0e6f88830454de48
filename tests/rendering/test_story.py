"""The four panels of a mended network: on the run's page, and between two audits."""

import re
from dataclasses import replace

import numpy as np
import pytest
from audits import example_audit, score

from regard.measurement.audits import compare_audits
from regard.measurement.classification.evaluation import evaluate
from regard.records import Audit, Evaluation, Finding, Mending, PairedMeasure, Predictions, Score
from regard.rendering.pages.audits.comparison import audits_page
from regard.rendering.pages.mending.story import of_audits, of_run
from regard.rendering.pages.report import Report, report

TRAP = "/home/me/<b>snow"


def _row(name: str, before: float, after: float, *, slice: bool = False, where: tuple[str, ...] = ()) -> PairedMeasure:
    gain, none = Score(after - before, after - before - 0.1, after - before + 0.1, 40), Score(0.02, -0.08, 0.12, 40)
    scores = (score(before, n=40), score(after, n=40), score(before + 0.02, n=40))
    return PairedMeasure(name, *scores, gain, none, gain, where, slice)


@pytest.fixture
def mending() -> Mending:
    slices = (f"cat, ground={TRAP}", "cat, ground=grass", "dog, ground=grass")
    rows = (
        _row("worst slice", 0.1, 0.7, where=(slices[0], slices[2], slices[0])),
        _row("slice that was worst", 0.12, 0.8),
        _row("mean over slices", 0.5, 0.75),
        _row("accuracy", 0.9, 0.8),
        _row(slices[0], 0.1, 0.8, slice=True),
        _row(slices[1], 0.9, 0.75, slice=True),
        _row(slices[2], 0.5, 0.7, slice=True),
    )
    done = "All of the network was trained on 60 pictures."
    return Mending(("ground",), rows, 40, 60, empty=("dog, ground=snow",), recipe="recombine", done=done)


@pytest.fixture
def evaluation(mending: Mending) -> Evaluation:
    labels = np.arange(40) % 2
    names = tuple(f"{TRAP}_{number}.jpg" for number in range(40))
    return replace(evaluate(Predictions(names, ("cat", "dog"), labels, labels)), mending=mending)


def _panels(page: str) -> list[str]:
    """The text of each panel."""
    story = page[page.index('<ol class="story">') :]
    story = story[: story.index("</ol>")]
    parts = re.split(r"<h3>", story)[1:]
    return [" ".join(re.sub(r"<[^>]+>", " ", part).split()) for part in parts]


def test_the_page_of_a_mended_run_tells_it_in_four_panels(evaluation: Evaluation) -> None:
    page = report(Report("mended", evaluation))
    before, found, done, after = _panels(page)
    assert before.startswith("1 Before As it was, on 40 pictures that it had not learnt.")
    assert "Worst slice" in before and "0.100 0.060 to 0.140, n 40" in before
    assert found.startswith("2 What was found Sliced by class and ground, it is right on 10% of")
    assert "No picture is in dog, ground=snow" in found
    assert "All of the network was trained on 60 pictures. It is not judged by the 60 pictures" in done
    assert "change, paired +0.600 [+0.500, +0.700] placebo +0.020 [-0.080, +0.120], to 0.120" in after
    assert "change, paired -0.100 [-0.200, +0.000]" in after
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "Mended: the worst slice went from 0.100 to 0.700, and with the placebo to 0.120" in text
    assert "Every slice, the worst before first 3" in text
    assert "<b>snow" not in page
    assert 'href="#story"' in page


def test_a_page_for_others_hides_paths(evaluation: Evaluation) -> None:
    page = report(Report("mended", evaluation, anonymise=True))
    assert "/home/me" not in page
    assert len(_panels(page)) == 4


def test_without_mending_there_is_no_story(evaluation: Evaluation) -> None:
    assert 'class="story"' not in report(Report("plain", replace(evaluation, mending=None)))


def test_the_slice_that_was_worst_may_not_be_known(mending: Mending) -> None:
    nowhere = Score(float("nan"), float("nan"), float("nan"), 0)
    rows = list(mending.rows)
    rows[1] = replace(rows[1], **dict.fromkeys(("before", "after", "placebo", "gain", "placebo_gain"), nowhere))
    story = of_run(replace(mending, rows=tuple(rows)))
    assert [each["text"] for each in story["panels"][3]["numbers"]][1] == "–"


# Between two audits.


def _audit(right: float, mending: Mending | None = None) -> Audit:
    """Twelve in twenty pictures of each slice, of which a share is right."""
    whole = example_audit()
    pictures = tuple(
        replace(each, predicted=each.label if place % 20 < 20 * right else "pug" if each.label != "pug" else "beagle",
                slices={"ground": "snow" if place % 2 else "grass"})
        for place, each in enumerate(whole.pictures)
    )  # fmt: skip
    findings = (
        Finding("quality", "top1", "", score(right, label="Accuracy")),
        Finding("quality", "top1", f"ground: {TRAP}", score(right / 2), note="the worst slice"),
        Finding("quality", "top1", "ground: grass", score(right)),
        Finding("reliance", "background_reliance", "", score(0.3)),
    )
    return replace(whole, pictures=pictures, findings=findings, mending=mending)


def test_two_audits_tell_it_too(mending: Mending) -> None:
    comparison = compare_audits({"audited": _audit(0.4), "this audit": _audit(0.9, mending)})
    story = of_audits(comparison)
    assert story is not None and [each["heading"] for each in story["panels"]] == [
        "Before",
        "What was found",
        "What was done",
        "After",
    ]
    page = audits_page(comparison, "again")
    before, found, done, after = _panels(page)
    assert "Accuracy 0.400" in before and "Accuracy lost on other backgrounds 0.300" in before
    assert "The network relies on the object" in found
    assert "All of the network was trained on 60 pictures." in done
    assert re.search(
        r"Accuracy 0\.900 .* change, paired \+0\.\d\d\d \[.*placebo \+0\.020 .*, when it was mended", after
    )
    assert "<b>snow" not in page
    unknown = compare_audits({"audited": _audit(0.4), "this audit": _audit(0.9)})
    assert "What was done between the two is not written in the network" in _panels(audits_page(unknown, "again"))[2]
    assert "/home/me" not in audits_page(comparison, "again", anonymise=True)


def test_audits_that_cannot_be_paired_tell_no_story() -> None:
    first = _audit(0.4)
    other = replace(first, provenance={**first.provenance, "data": "others"})
    assert of_audits(compare_audits({"a": first, "b": other})) is None
    assert of_audits(compare_audits({"a": first, "b": first, "c": first})) is None
    assert 'class="story"' not in audits_page(compare_audits({"a": first, "b": other}), "both")


def test_an_audit_keeps_what_mending_did(mending: Mending) -> None:
    audit = _audit(0.9, mending)
    assert Audit.from_json(audit.as_json()).mending == mending
    assert "mending" not in _audit(0.9).as_json()
