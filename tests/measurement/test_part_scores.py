"""The scores of parts, by cases solved by hand and by a planted network that looks at known parts of drawn scenes."""

import numpy as np
import pytest

from regard.audit.requirements import Requirement
from regard.errors import UsageError
from regard.measurement.parts.scores import (
    THRESHOLDS,
    background_independence,
    best_threshold,
    deletion_check,
    distractibility,
    important,
    irrelevant,
    part_deletion,
    part_importances,
    preservation_check,
)
from regard.scenes import Scene, render, sample

NAN = float("nan")


def test_importances_are_the_sums_over_what_is_seen_of_each_part():
    maps = np.array([[[1.0, 2.0], [-4.0, NAN]]])
    masks = np.array([[[[1, 1], [0, 0]], [[0, 0], [1, 1]], [[0, 0], [0, 0]]]], bool)
    sums, totals = part_importances(maps, masks)
    np.testing.assert_allclose(sums, [[3.0, -4.0, NAN]])
    np.testing.assert_allclose(totals, [3.0])


def test_a_part_is_important_from_more_than_a_share_of_the_map():
    sums = np.array([[2.0, 1.0, -1.0, NAN], [0.0, 0.0, 0.0, 0.0]])
    called = important(sums, np.array([4.0, 0.0]), np.array([0.1, 0.25, 0.5]))
    assert called[:, 0].tolist() == [[True, True, False, False], [True, False, False, False], [False] * 4]
    assert not called[:, 1].any()  # a map of nothing calls nothing important
    cancelling = important(np.array([[5.0, 1.0]]), np.array([6.0]), np.array([0.5]))
    assert cancelling.tolist() == [[[True, False]]]
    assert (len(THRESHOLDS), THRESHOLDS[0], THRESHOLDS[-1]) == (80, 0.01, 0.5)


def test_the_answer_stays_or_changes():
    whole = np.array([3, 1, 2])
    answers = np.array([[3, 0, 2], [1, 1, 2]])
    assert preservation_check(whole, answers).tolist() == [[1, 0, 1], [0, 1, 1]]
    assert deletion_check(whole, answers).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_irrelevant_is_what_the_score_does_not_fall_without():
    """Of a score of 10 a fall of 0.4 is nothing, one of 0.5 is not; rising by any amount is; of -10 it is the same."""
    without = np.array([[9.6, 9.5, 2.0, 14.0, NAN], [-10.4, -10.5, -12.0, -2.0, NAN]])
    expected = [[True, False, False, True, False]] * 2
    assert irrelevant(np.array([10.0, -10.0]), without).tolist() == expected


def test_distractibility_is_how_little_of_the_irrelevant_is_called_important():
    no_use = np.array([[True, True, False, True], [False] * 4])
    called = np.array([[[True, False, True, False], [True] * 4], [[True, True, True, True], [False] * 4]])
    np.testing.assert_allclose(distractibility(called, no_use), [[2 / 3, NAN], [0.0, NAN]])


def test_background_independence_is_by_thing():
    values = background_independence(np.array([10.0, 10.0]), np.array([[9.6, 9.0], [12.0, NAN]]))
    np.testing.assert_allclose(values, [[1, 0], [1, NAN]])
    assert np.nanmean(values) == pytest.approx(2 / 3)


def test_single_deletion_of_parts_by_hand():
    """Drops 1, 2, 3 against a map of 1, 3, 2: ρ = 1 - 6 · 2 / (3 · 8) = 0.5, so SD is 0.75."""
    whole = np.full(5, 10.0)
    without = np.array([[9.0, 8, 7], [9.0, 8, 7], [9.0, 8, NAN], [9.0, 9, 9], [9.0, NAN, NAN]])
    given = np.array([[1.0, 3, 2], [3.0, 2, 1], [5.0, 5, 9], [1.0, 2, 3], [1.0, 2, 3]])
    np.testing.assert_allclose(part_deletion(given, whole, without), [0.75, 0.0, 0.5, NAN, NAN])


def test_the_best_threshold_weighs_both_checks_as_much_as_distractibility():
    kept = np.array([[1.0, 1.0], [1.0, 0.5], [0.0, 0.0]])
    gone = np.array([[1.0, 1.0], [1.0, 0.5], [0.0, 0.0]])
    distracted = np.array([[0.0, NAN], [0.9, NAN], [1.0, NAN]])
    assert best_threshold(kept, gone, distracted) == 1
    assert best_threshold(kept, gone, np.zeros((3, 2))) == 0


def _score(scene: Scene, parts: tuple[str, ...], without: list[str]) -> float:
    """A network's score that is the number of the parts that are seen, and 10."""
    masks = render(scene, without=without, size=48).masks
    return 10.0 + 5 * sum(bool(masks[name].any()) for name in parts)


def test_a_map_of_what_a_network_looks_at_is_right_on_drawn_scenes_and_one_beside_it_is_wrong():
    scenes = [
        scene for scene in (sample(f"parts {k}", kind="cat", things=2) for k in range(6)) if len(scene.items) == 3
    ]
    scene = scenes[0]
    looked_at = ("0.head", "0.body")
    drawn = render(scene, size=48)
    units = [*(name for name in scene.names if name.startswith("0.") and drawn.masks[name].any()), "1", "2"]
    masks = np.stack([drawn.masks[name] for name in units])[None]
    right = sum(drawn.masks[name] / drawn.masks[name].sum() for name in looked_at)[None]
    wrong = (drawn.masks["1"] | drawn.masks["2"])[None].astype(float)
    whole = np.array([_score(scene, looked_at, [])])
    without = np.array([[_score(scene, looked_at, [name]) for name in units]])
    results = []
    for maps in (right, wrong):
        sums, totals = part_importances(maps, masks)
        called = important(sums, totals, np.array([0.3]))[0, 0]
        kept = [name for name, use in zip(units, called, strict=True) if not use and name not in ("1", "2")]
        gone = [name for name, use in zip(units, called, strict=True) if use]
        answers = [int(_score(scene, looked_at, names) > 15) for names in ([], kept, gone)]
        pc = preservation_check(np.array([answers[0]]), np.array([answers[1]]))
        dc = deletion_check(np.array([answers[0]]), np.array([answers[2]]))
        d = distractibility(called[None], irrelevant(whole, without))
        results.append((pc[0], dc[0], d[0], part_deletion(sums, whole, without)[0]))
    assert results[0][:3] == (1.0, 1.0, 1.0) and results[0][3] == pytest.approx(1.0)
    assert results[1][:2] == (0.0, 0.0) and results[1][2] < 1 and results[1][3] < 0.5
    things = background_independence(whole, without[:, -2:])
    assert things.tolist() == [[1.0, 1.0]]


def test_an_audit_cannot_be_required_to_measure_parts():
    rule = Requirement.parse("part_deletion>=0.6")
    with pytest.raises(UsageError, match="names nothing: an audit does not draw scenes anew"):
        rule.check(("attention",), (), True, True)
