"""How large pages become: within their budget by the number of pictures, leaving out what was agreed in that order."""

import io
from dataclasses import replace

import numpy as np
import pytest
from inspections import CLASSES, made
from PIL import Image

from regard.records import Inspection
from regard.records.inspection import MOST_ON_A_PAGE, InspectedPicture
from regard.rendering.pages.budget import Budget, Packed, reduced, with_fitted_picture
from regard.rendering.pages.inspections import InspectedPage, inspection_page

MB = 1e6


def noisy(seed: int, side: int = 512, **settings) -> Inspection:
    """One whose picture is as hard to compress as a photograph of grass."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((side, 3 * side // 4)).save(file, "JPEG", quality=85)
    return replace(made(seed, **settings), picture=InspectedPicture(file.getvalue(), 3 * side // 4, side))


@pytest.mark.parametrize(("count", "most"), [(1, 1.5), (100, 15), (500, 30)])
def test_budgets_are_those_agreed(count: int, most: float) -> None:
    budget = Budget(count)
    assert budget.total <= most * MB
    assert count * budget.each * 4 / 3 < budget.total


def test_budgets_grow_and_shares_do_not() -> None:
    budgets = [Budget(count) for count in range(1, 600)]
    totals = [each.total for each in budgets]
    assert totals == sorted(totals) and min(each.each for each in budgets) > 20_000
    assert budgets[0].each > budgets[99].each > budgets[499].each


def test_what_goes_first() -> None:
    inspection = made(layers=6, heads=4, rows=8, columns=8)
    first, second, third = (reduced(inspection, level) for level in (1, 2, 3))
    assert first.keys is None and "patches" in first.arrays
    assert "patches" not in second.arrays and second.layers["cls"] == tuple(range(6))
    assert third.layers["cls"] == (4, 5) and third.layers["cls_mean"] == (0, 1, 2, 3)
    assert third.layers["cls_repaired"] == (4, 5) and third.arrays["cls_repaired"].levels.shape == (2, 4, 8, 8)
    assert all("to keep this file small" in third.absent[part] for part in ("keys", "patches", "heads"))
    sides = [max(reduced(inspection, level).picture.height, reduced(inspection, level).picture.width)
             for level in range(4, 9)]  # fmt: skip
    assert sides == sorted(sides, reverse=True) and len({*sides}) == 5


def test_a_picture_is_as_large_as_fits() -> None:
    inspection = noisy(0)
    most = 20_000
    fitted = with_fitted_picture(inspection, most)
    assert len(fitted.picture.content) <= most < len(inspection.picture.content)
    assert with_fitted_picture(inspection, 10 * MB).picture == inspection.picture


def test_a_page_keeps_within_its_budget_and_says_what_it_leaves_out() -> None:
    inspections = {f"{seed}.jpg": [replace(noisy(seed), name=f"{seed}.jpg")] for seed in range(6)}
    budget = Budget(400)
    html = inspection_page(InspectedPage("t", inspections, CLASSES), budget)
    packed = Packed(budget)
    for name, (inspection,) in inspections.items():
        packed.add(name, inspection)
    assert all(len(each) <= budget.each for each in packed.content)
    assert packed.blocks == {name: [place] for place, name in enumerate(inspections)}
    (line,) = packed.messages
    assert line in html.unescape() and "where patches look in the last layer" in line
    unpacked = [Inspection.unpack(each) for each in packed.content]
    assert all("keys" in each.absent and each.picture for each in unpacked)


def test_more_than_a_page_holds_is_said() -> None:
    packed = Packed(Budget(MOST_ON_A_PAGE + 2))
    small = made(layers=2, heads=2, rows=3, columns=3)
    packed.content = [b""] * (MOST_ON_A_PAGE - 1)
    for number in range(3):
        packed.add(f"{number}", small)
    assert len(packed.content) == MOST_ON_A_PAGE and packed.blocks == {"0": [MOST_ON_A_PAGE - 1]}
    assert any("2 more are left out" in line for line in packed.messages)


def test_a_layer_with_other_heads_keeps_its_mean() -> None:
    inspection = made(layers=4, heads=2, rows=3, columns=3, artifacts=False)
    pooled = replace(
        inspection,
        arrays={**inspection.arrays, "cls_mean": inspection.arrays["maps"].__class__.of(np.ones((1, 3, 3)))},
        layers={**inspection.layers, "cls_mean": (4,)},
    )
    smaller = reduced(pooled, 3)
    assert smaller.layers["cls_mean"] == (0, 1, 4) and smaller.values("cls_mean")[2].tolist() == [[1.0] * 3] * 3
