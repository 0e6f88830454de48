"""Whether maps of words lie on what they speak of: by hand, pixel by pixel, and with regions of scenes and COCO."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as official
from skimage.filters import threshold_otsu
from skimage.measure import points_in_poly

from regard.data.dataset import Picture
from regard.data.layouts.coco import read_coco
from regard.data.openers import FileOpener
from regard.data.regions import NamedRegions, regions_of
from regard.data.regions.coco import categories_of, mask_of, unpack_runs
from regard.data.regions.coco_nouns import NOUNS, nouns_for
from regard.errors import DataError
from regard.explanation.pictures import baselines
from regard.explanation.words.tagging import parts_of_speech
from regard.measurement.intervals import wilson
from regard.measurement.localisation.captions import CaptionScores, measure_captions, true_words, words_of
from regard.measurement.localisation.measures import MEASURES, Cover, centre, cover, iou, otsu, pointing, share
from regard.measurement.localisation.word_text import word_scores_text
from regard.measurement.localisation.words import ALL, TrueWord, WordRow, WordScores, measure, shuffled
from regard.records import Caption, Heatmap, PatchGrid, Word, write_manifest
from regard.scenes import Item, Scene, judge, read_scenes, render, write_scenes
from regard.scenes.folder import SceneRegions
from regard.scenes.judging import referents

GRID = PatchGrid.whole(2, 3, picture=(4, 9))  # patches of 2 × 3 pixels
SQUARE = PatchGrid.whole(2, 2, picture=(4, 4))


def region(grid: PatchGrid, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """(H, W) bool: the pixels in boxes (left, top, right, bottom)."""
    found = np.zeros(grid.picture, bool)
    for left, top, right, bottom in boxes:
        found[top:bottom, left:right] = True
    return found


def values(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def word(
    picture: str,
    own: np.ndarray,
    where: np.ndarray,
    part: str = "noun",
    right: bool | None = True,
    grid: PatchGrid = SQUARE,
) -> TrueWord:
    return TrueWord(picture, "cat", part, right, Heatmap(own, grid, picture), where)


def row(scores: WordScores, part: str = ALL, right: bool | None = True) -> WordRow:
    (found,) = [each for each in scores.rows if each.part == part and each.right is right]
    return found


# One map


def test_a_region_at_the_edge_of_a_wide_picture_by_hand() -> None:
    """The patch at the right edge above has 4 of its 6 pixels in the region, the one below 2."""
    found = cover(GRID, region(GRID, (7, 0, 9, 3)))
    assert found.area.tolist() == [[6, 6, 6], [6, 6, 6]]
    assert found.inside.tolist() == [[0, 0, 4], [0, 0, 2]]
    own = values([0, 1, 5], [0, 1, 1])
    assert pointing(own, found) == pytest.approx(4 / 6)
    assert iou(own, found) == pytest.approx(4 / (6 + 6 - 4))  # 5 stands against 1 and 0
    assert share(own, found) == pytest.approx((5 * 4 + 1 * 2) / (8 * 6))


def test_the_largest_patches_share_the_point() -> None:
    found = cover(GRID, region(GRID, (0, 0, 3, 2)))
    assert pointing(values([2, 0, 0], [0, 0, 2]), found) == 0.5
    assert pointing(values([2, 0, 0], [0, 0, 1]), found) == 1.0


def test_a_constant_map_knows_nothing() -> None:
    found = cover(GRID, region(GRID, (1, 1, 4, 3)))
    for constant in (0.0, 0.25):
        own = np.full((2, 3), constant, np.float32)
        assert (pointing(own, found), iou(own, found)) == (pytest.approx(6 / 36), 0.0)
        assert share(own, found) == pytest.approx(6 / 36)


def test_negative_values_have_no_share_and_unknown_ones_are_not_seen() -> None:
    found = cover(SQUARE, region(SQUARE, (0, 0, 2, 4)))
    assert share(values([1, 1], [-7, 1]), found) == pytest.approx(1 / 3)
    assert share(values([1, np.nan], [1, 2]), found) == pytest.approx(2 / 4)
    assert pointing(values([1, np.nan], [0, 0]), found) == 1.0


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((2.0, 0.0, 6.0, 4.0), [[4, 4], [4, 4]]),  # the middle was cropped
        ((-4.0, 0.0, 12.0, 4.0), [[8, 8], [8, 8]]),  # the sides were padded
        ((0.0, 0.0, 8.0, 8.0), [[16, 16], [0, 0]]),  # below there is padding alone
    ],
)
def test_only_what_the_network_saw_counts(box: tuple[float, float, float, float], area: list[list[int]]) -> None:
    grid = PatchGrid(2, 2, 0, (4, 8), box)
    found = cover(grid, np.ones((4, 8), bool))
    assert found.area.tolist() == found.inside.tolist() == area
    own = values([3, 1], [9, 9]) if area[1] == [0, 0] else values([3, 1], [1, 1])
    assert [score(own, found) for score in (pointing, share)] == [1.0, 1.0]
    assert iou(own, found) == pytest.approx(area[0][0] / sum(map(sum, area)))


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="a region is 9 × 4 and its picture 4 × 9 pixels; give regions at the size"):
        cover(GRID, np.zeros((9, 4), bool))


def pixel_by_pixel(own: np.ndarray, grid: PatchGrid, where: np.ndarray) -> dict[str, float]:
    """The measures from single pixels, of which each takes the value of the patch that `cell_at` finds."""
    height, width = grid.picture
    cells = [(grid.cell_at(x + 0.5, y + 0.5), bool(where[y, x])) for y in range(height) for x in range(width)]
    pixels = [(float(own[cell]), inside) for cell, inside in cells if cell is not None]
    top = max(value for value, _ in pixels)
    hits = [inside for value, inside in pixels if value == top]
    total = sum(value for value, _ in pixels)
    best, threshold = -1.0, math.inf
    for cut in sorted({value for value, _ in pixels})[:-1]:
        low, high = [v for v, _ in pixels if v <= cut], [v for v, _ in pixels if v > cut]
        between = len(low) * len(high) * (math.fsum(low) / len(low) - math.fsum(high) / len(high)) ** 2
        if between > best * (1 + 1e-9):
            best, threshold = between, cut
    both = sum(value > threshold and inside for value, inside in pixels)
    either = sum(value > threshold or inside for value, inside in pixels)
    within = sum(value for value, inside in pixels if inside)
    return {"pointing": sum(hits) / len(hits), "iou": both / either, "share": within / total}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    shift=st.tuples(*[st.floats(-3.0, 3.0)] * 4),
)
def test_measures_are_those_of_single_pixels(
    seed: int, rows: int, columns: int, shift: tuple[float, float, float, float]
) -> None:
    generator = np.random.default_rng(seed)
    height, width = 11, 17
    left, top, right, bottom = (edge + math.sqrt(2) / 7 for edge in shift)  # no pixel's centre lies on an edge
    grid = PatchGrid(rows, columns, 0, (height, width), (left, top, width + right, height + bottom))
    own = generator.integers(1, 6, (rows, columns)).astype(np.float32)
    where = generator.random((height, width)) < generator.random()
    where[5, 8] = True
    found = cover(grid, where)
    twin = pixel_by_pixel(own, grid, where)
    assert {name: score(own, found) for name, score in MEASURES.items()} == pytest.approx(twin)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_holds_of_any_map(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(2, 7, 2)
    grid = PatchGrid.whole(rows, columns, picture=(2 * rows, 3 * columns))
    hot = generator.random((rows, columns)) < 0.4
    hot[0, 0], hot[-1, -1] = True, False
    where = np.kron(hot, np.ones((2, 3))).astype(bool)
    found = cover(grid, where)
    assert [score(hot.astype(np.float32), found) for score in MEASURES.values()] == [1.0, 1.0, 1.0]
    own = generator.random((rows, columns))
    had = {name: score(own, found) for name, score in MEASURES.items()}
    assert all(0 <= value <= 1 for value in had.values())
    turned = cover(grid, where[:, ::-1])
    assert {name: score(own[:, ::-1], turned) for name, score in MEASURES.items()} == pytest.approx(had)
    assert iou(7 * own + 3, found) == pytest.approx(had["iou"])
    assert share(own / 9, found) == pytest.approx(had["share"])
    rest = cover(grid, ~where)
    assert share(own, rest) + share(own, found) == pytest.approx(1)
    everything = cover(grid, np.ones_like(where))
    assert (pointing(own, everything), share(own, everything)) == (1.0, pytest.approx(1.0))


@settings(max_examples=30, deadline=None)
@given(numbers=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=2, max_size=30))
def test_the_threshold_is_otsus(numbers: list[tuple[int, int]]) -> None:
    """As scikit-image finds it for whole numbers, each as often as its weight says."""
    levels, weights = (np.array(each) for each in zip(*numbers, strict=True))
    if len(set(levels.tolist())) < 2:
        assert otsu(levels.astype(float), weights) == math.inf
        return
    found, known = otsu(levels.astype(float), weights), threshold_otsu(np.repeat(levels, weights))
    spread = [_between(np.repeat(levels, weights), cut) for cut in (found, known)]
    assert spread[0] == pytest.approx(spread[1])
    assert found in levels


def _between(pixels: np.ndarray, cut: float) -> float:
    low, high = pixels[pixels <= cut], pixels[pixels > cut]
    return len(low) * len(high) * float(low.mean() - high.mean()) ** 2


def test_of_thresholds_that_are_equally_good_the_least_is_taken() -> None:
    assert otsu(np.array([2.0, 5.0, 8.0]), np.ones(3)) == 2  # whose variances differ in the last digit alone
    for scale in (1, 1 / 3, 0.1, 1e-6):
        assert otsu(np.array([1, 3, 5]) * scale, np.ones(3)) == scale
        assert otsu(np.array([5, 1, 3, 1]) * scale, np.array([2, 1, 2, 1])) == scale


def test_the_centre_is_that_of_the_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "cells", lambda network, pixels: (3, 5))
    own = baselines.centre(None, torch.zeros(1, 3, 6, 10))  # type: ignore[arg-type]
    np.testing.assert_allclose(centre(3, 5), own.values[0], atol=1e-6)
    assert centre(3, 5).argmax() == 7


# Many words


def test_words_borrow_maps_of_their_part_from_another_picture() -> None:
    generator = np.random.default_rng(0)
    pictures = [str(each) for each in generator.integers(5, size=40)]
    parts = [str(each) for each in generator.choice(["noun", "verb", "adjective"], 40)]
    found = shuffled(pictures, parts, seed=3)
    assert all(lent is not None for lent in found)
    assert all(pictures[at] != pictures[lent] and parts[at] == parts[lent] for at, lent in enumerate(found))  # type: ignore[index]
    nouns = {(pictures[at], pictures[lent]) for at, lent in enumerate(found) if parts[at] == "noun"}  # type: ignore[index]
    assert len(nouns) == len({to for _, to in nouns}) == len({of for of, _ in nouns})  # a circle: each lends to one
    assert found == shuffled(pictures, parts, seed=3)
    assert found != shuffled(pictures, parts, seed=4)
    assert shuffled(["a", "a", "b"], ["noun", "noun", "verb"]) == [None, None, None]
    assert shuffled(["a", "a", "b"], ["noun"] * 3) == [2, 2, 0]


def test_two_pictures_by_hand() -> None:
    """The noun of `a` is met and the one of `b` missed; each has the other's map as its shuffled baseline."""
    left, right = region(SQUARE, (0, 0, 2, 2)), region(SQUARE, (2, 0, 4, 4))
    at = values([1, 0], [0, 0])
    scores = measure([word("a", at, left), word("b", at, right), word("b", at, np.zeros((4, 4), bool))], resamples=200)
    assert (scores.words, scores.pictures, scores.left_out) == (2, 2, 1)
    assert [(each.part, each.right, each.words) for each in scores.rows] == [(ALL, True, 2), ("noun", True, 2)]
    found = row(scores).scores
    assert found["pointing"].value == found["share"].value == 0.5
    assert found["iou"].value == 0.5
    assert found["pointing_of_random"].value == found["share_of_random"].value == pytest.approx((4 + 8) / 16 / 2)
    assert found["pointing_of_centre"].value == pytest.approx((0.25 + 0.5) / 2)  # all four are as near to it
    assert found["pointing_of_shuffled"].value == 0.5
    assert found["pointing_over_random"].value == pytest.approx((0.75 - 0.5) / 2)
    assert found["pointing_over_shuffled"].value == 0
    assert (found["pointing"].low, found["pointing"].high, found["pointing"].n) == pytest.approx((*wilson(1, 2), 2))


def test_the_iou_of_noise_is_about_that_of_half_the_picture() -> None:
    grid = PatchGrid.whole(20, 20)
    where = region(grid, (0, 0, 8, 20))
    found = measure([word(name, np.eye(20, dtype=np.float32), where, grid=grid) for name in "ab"], resamples=20)
    assert row(found).scores["iou_of_random"].value == pytest.approx(0.2 / 0.7, abs=0.03)


def test_maps_that_look_beat_all_baselines_and_maps_that_do_not_beat_none() -> None:
    generator = np.random.default_rng(1)
    grid = PatchGrid.whole(6, 8, picture=(24, 40))
    looking, blind = [], []
    for number in range(30):
        row_, column = generator.integers(6), generator.integers(8)
        hot = generator.random((6, 8)).astype(np.float32)
        blind.append(word(f"{number}", hot.copy(), _cell(grid, row_, column), grid=grid))
        hot[row_, column] += 25
        looking.append(word(f"{number}", hot, _cell(grid, row_, column), grid=grid))
    over = [f"{name}_over_{base}" for name in MEASURES for base in ("random", "centre", "shuffled")]
    sees, does_not = (row(measure(each, resamples=300)).scores for each in (looking, blind))
    assert all(sees[name].low > 0.05 for name in over)
    assert all(does_not[name].low < 0.02 for name in over)


def _cell(grid: PatchGrid, row_: int, column: int) -> np.ndarray:
    left, top, right, bottom = (round(edge) for edge in grid.cell(row_, column))
    return region(grid, (left, top, right, bottom))


def test_right_and_wrong_words_and_parts_stand_apart() -> None:
    here, at, away = region(SQUARE, (0, 0, 2, 2)), values([1, 0], [0, 0]), values([0, 0], [0, 1])
    words = [
        word("a", at, here),
        word("b", away, here, right=False),
        word("b", at, here, "verb"),
        word("c", away, here, "verb", None),
    ]
    scores = measure(words, resamples=20)
    assert [(each.part, each.right, each.words, each.scores["pointing"].value) for each in scores.rows] == [
        (ALL, True, 2, 1.0),
        (ALL, False, 1, 0.0),
        (ALL, None, 1, 0.0),
        ("noun", True, 1, 1.0),
        ("noun", False, 1, 0.0),
        ("verb", True, 1, 1.0),
        ("verb", None, 1, 0.0),
    ]
    assert row(scores, "noun", False).scores["pointing_of_shuffled"].value == 1.0  # whatever is true of the other


def test_intervals_are_of_pictures_and_not_of_words() -> None:
    generator = np.random.default_rng(2)
    where = region(SQUARE, (0, 0, 2, 2))
    single = [word(str(k), generator.random((2, 2)).astype(np.float32), where) for k in range(12)]
    once, often = (measure(each, resamples=400) for each in (single, [each for each in single for _ in range(9)]))
    for name in ("pointing", "iou", "share", "share_over_centre"):
        one, many = row(once).scores[name], row(often).scores[name]
        assert (many.value, many.low, many.high, many.n) == pytest.approx((one.value, one.low, one.high, 12))
        assert one.high - one.low > 0.1


def test_one_picture_has_no_other_to_be_shuffled_with() -> None:
    scores = row(measure([word("a", values([1, 0], [0, 0]), region(SQUARE, (0, 0, 2, 2)))], resamples=20))
    assert math.isnan(scores.scores["iou_of_shuffled"].value) and scores.scores["iou_of_shuffled"].n == 0
    assert math.isnan(scores.scores["iou_over_shuffled"].value)
    assert 0 < scores.scores["pointing"].low < 0.3  # one picture is one trial
    assert -1 < scores.scores["pointing_over_random"].low < 0  # and says nothing of a difference
    assert json.dumps(scores.as_json(), allow_nan=False)


def test_a_map_of_another_shape_is_laid_on_the_grid() -> None:
    wide = PatchGrid.whole(1, 4, picture=(4, 8))
    lent = values([0, 0, 0, 9])  # to the right
    words = [
        word("a", values([1, 0], [0, 0]), region(SQUARE, (2, 0, 4, 4))),
        word("b", lent, _cell(wide, 0, 0), grid=wide),
    ]
    found = measure(words, resamples=20)
    assert row(found).scores["pointing"].value == 0
    assert row(found).scores["pointing_of_shuffled"].value == 1  # right for `a`, and left for `b`


def test_words_are_taken_one_by_one_and_none_is_an_error() -> None:
    nothing = (word(name, np.ones((2, 2), np.float32), np.zeros((4, 4), bool)) for name in "ab")
    with pytest.raises(DataError, match="none of the 2 words has a region in its picture; there is nothing to measure"):
        measure(nothing)


def test_a_region_that_the_network_did_not_see_is_left_out() -> None:
    grid = PatchGrid(2, 2, 0, (4, 8), (2.0, 0.0, 6.0, 4.0))
    edge, middle = region(grid, (0, 0, 2, 4)), region(grid, (3, 0, 5, 4))
    found = measure([word("a", np.eye(2, dtype=np.float32), each, grid=grid) for each in (edge, middle)], resamples=20)
    assert (found.words, found.left_out) == (1, 1)


# Regions of drawn scenes

CAT = Item("cat", "orange", 0.3, 0.8, 0.4, pose="sitting")
BALL = Item("ball", "blue", 0.8, 0.85, 0.2)
TREE = Item("tree", "green", 0.6, 0.7, 0.5)
SCENE = Scene((CAT, BALL), ground="grass")


def said(text: str, name: str = "a.png", size: tuple[int, int] = (48, 64), tags: Sequence[str | None] = ()) -> Caption:
    """A caption whose words look at one patch each, in the order of the grid of 3 × 4."""
    grid = PatchGrid.whole(3, 4, picture=size)
    maps = np.eye(12, dtype=np.float32).reshape(12, 3, 4)
    texts = text.split()
    words = [
        Word(each, 0.5, Heatmap(maps[at % 12], grid, name), tags[at] if tags else None)
        for at, each in enumerate([*texts, "<end>"])
    ]
    return Caption(name, text, tuple(words))


def refers(text: str, scene: Scene = SCENE) -> dict[str, tuple[str, ...]]:
    judged = judge(text, scene)
    pairs = zip(judged, referents(judged, scene), strict=True)
    return {word.text: names for word, names in pairs if word.true is not None}


def test_true_words_mean_what_the_scene_says() -> None:
    found = refers("an orange cat is sitting on the grass")
    assert found == {
        "orange": ("0",),
        "cat": ("0",),
        "sitting": ("0",),
        "on": ("0", "background"),
        "grass": ("background",),
    }


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "a white dog jumping on the snow",
            {"white": ("0",), "dog": ("0",), "jumping": ("0",), "on": (), "snow": ("background",)},
        ),
        ("a red cat", {"red": ("0",), "cat": ("0",)}),
        ("an orange cat and a dog", {"orange": ("0",), "cat": ("0",), "dog": ()}),  # the cat has its word
        ("a green box", {"green": ("1",), "box": ("1",)}),
        ("three dogs", {"three": ("0",), "dogs": ("0",)}),
        ("jumping", {"jumping": ()}),
        (
            "a red cat and a yellow ball jumping",
            {"red": ("0",), "cat": ("0",), "yellow": ("1",), "ball": ("1",), "jumping": ("0",)},
        ),
        ("a white ball flying", {"white": ("1",), "ball": ("1",), "flying": ("1",)}),
        ("an unheard word", {"unheard": (), "word": ()}),
    ],
)
def test_wrong_words_mean_what_they_were_said_of(text: str, meaning: dict[str, tuple[str, ...]]) -> None:
    judged = {each.text: each.true for each in judge(text, SCENE)}
    found = refers(text)
    assert found == meaning
    wrong = set(meaning) - {"cat", "orange", "ball"}
    assert not any(judged[each] for each in wrong)


def test_a_wrong_word_that_may_mean_two_things_has_no_region() -> None:
    two = Scene((CAT, BALL, TREE), ground="grass")
    assert refers("a white box", two) == {"white": (), "box": ()}
    assert refers("a white dog", two) == {"white": ("0",), "dog": ("0",)}


def test_words_of_a_scene_have_its_masks_at_the_pictures_size(monkeypatch: pytest.MonkeyPatch) -> None:
    caption = said("a red cat , on the grass")
    regions = NamedRegions("scenes", "", {caption.name: SceneRegions(SCENE, (48, 64))})
    found = list(words_of(caption, regions).values())
    masks = render(SCENE, size=(48, 64)).masks
    assert [(each.text, each.part, each.right) for each in found] == [
        ("red", "adjective", False),
        ("cat", "noun", True),
        ("on", "relation", True),
        ("grass", "noun", True),
    ]
    for each, mask in zip(found, ("0", "0", None, "background"), strict=True):
        assert (each.region == (masks[mask] if mask else masks["0"] | masks["background"])).all()
    assert [int(each.heatmap.values.argmax()) for each in found] == [
        1,
        2,
        4,
        6,
    ]  # commas and function words move nothing
    assert words_of(said(""), regions) == {}


def folder_of(out: Path, captions: Sequence[Caption]) -> Path:
    """A finished folder as `regard caption` leaves it, as far as it is read again."""
    (out / "maps").mkdir(parents=True)
    stored = []
    for at, caption in enumerate(captions):
        maps = [each.heatmap.values for each in caption.words if each.heatmap]
        np.save(out / "maps" / f"{at}.npy", np.stack(maps))
        words = [
            {"text": each.text, "probability": 0.5, "part_of_speech": each.part_of_speech} for each in caption.words
        ]
        grid = asdict(caption.words[0].heatmap.grid)  # type: ignore[union-attr]
        stored.append(
            {"name": caption.name, "text": caption.text, "grid": grid, "maps": f"maps/{at}.npy", "words": words}
        )
    lines = ",\n".join(map(json.dumps, stored))
    (out / "captions.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    write_manifest(out, "captions", provenance={})
    return out


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(6, tmp_path_factory.mktemp("scenes") / "scenes", seed=3, size=(48, 64))


def looking(scene: Scene, name: str) -> Caption:
    """The kind of the main animal is said, right or wrong, by a map that is its mask, once among function words."""
    grid = PatchGrid.whole(6, 8, picture=(48, 64))
    mask = cover(grid, render(scene, size=(48, 64)).masks["0"]).inside.astype(np.float32)
    kinds = [scene.items[0].kind, "turtle" if scene.items[0].kind != "turtle" else "horse"]
    words = [Word(each, 1.0, Heatmap(mask, grid, name)) for each in ("the", kinds[len(name) % 2], "is")]
    return Caption(name, " ".join(each.text for each in words), tuple(words))


def test_a_folder_of_captions_of_scenes_is_measured(scenes: Path, tmp_path: Path) -> None:
    drawn = dict(read_scenes(scenes))
    captions = [looking(scene, name.removeprefix("images/")) for name, scene in drawn.items()]
    captions.append(replace(captions[0], name="elsewhere.png"))
    result = measure_captions(folder_of(tmp_path / "said", captions), scenes, resamples=50)
    assert (result.unknown, result.scores.words, result.scores.left_out) == (1, 6, 0)
    right, wrong = (row(result.scores, "noun", each) for each in (True, False))
    assert right.words + wrong.words == 6 and right.words and wrong.words
    for each in (right, wrong):
        assert each.scores["pointing"].value > 0.8
        assert each.scores["iou_over_random"].value > 0.3
    assert measure_captions(captions, scenes, resamples=50) == result
    content = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert content["unknown"] == 1 and content["rows"][0]["part"] == ALL
    assert content["rows"][0]["scores"]["iou"]["value"] == pytest.approx(row(result.scores).scores["iou"].value)
    lines = word_scores_text(result).splitlines()
    assert lines[1].split()[:4] == ["all", "right", str(right.words), "pointing"]
    assert str(row(result.scores).scores["pointing_over_centre"]) in lines[1]
    assert lines[-1].startswith("6 words of 6 pictures; 0 words without a region and 1 pictures")


# Regions of COCO


def coco(folder: Path, annotations: Sequence[dict], categories: Sequence[str] = ("person", "hot dog", "dog")) -> Path:
    """A COCO file of two pictures of 6 × 8 pixels; masks are of the first one."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 6)).save(folder / name)
    ids = {name: number for number, name in enumerate(categories, 7)}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}, {"id": 2, "file_name": "b.png"}],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": [
            {"id": at, "image_id": 1, "category_id": ids[each["of"]], **{k: v for k, v in each.items() if k != "of"}}
            for at, each in enumerate(annotations)
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "instances.json"


def person(where: np.ndarray) -> dict:
    return {"of": "person", "segmentation": {"size": [6, 8], "counts": runs(where)}}


def runs(where: np.ndarray) -> list[int]:
    """Run lengths down the columns, outside first, one pixel at a time."""
    counts, last = [0], False
    for pixel in where.T.ravel().tolist():
        if pixel != last:
            counts.append(0)
            last = pixel
        counts[-1] += 1
    return counts


def test_nouns_of_a_category_have_the_union_of_its_masks(tmp_path: Path) -> None:
    one, two = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    one[1:5, 2:4] = two[0, 7] = True
    box = {"of": "hot dog", "bbox": [5, 2, 2.4, 3]}
    file = coco(tmp_path, [person(one), person(two), box])
    text = "Two women and a hot dog , dogs"
    found = list(true_words([said(text, "a.png", (6, 8)), said(text, "b.png", (6, 8))], regions_of(file)))
    assert [(each.text, each.part, each.right) for each in found] == [
        ("women", "noun", True),
        ("hot", "noun", True),
        ("dog", "noun", True),
    ]
    eaten = np.zeros((6, 8), bool)
    eaten[2:5, 5:7] = True  # 5 to 7.4: the centre of the third pixel lies beyond
    for each, mask in zip(found, (one | two, eaten, eaten), strict=True):
        np.testing.assert_array_equal(each.region, mask)
    result = measure_captions([said(text, "a.png", (6, 8)), said(text, "b.png", (6, 8))], file, resamples=20)
    assert (result.unknown, result.scores.words, result.scores.left_out) == (1, 3, 0)


def test_a_category_that_is_not_in_the_picture_is_wrong_and_has_no_region(tmp_path: Path) -> None:
    file = coco(tmp_path, [person(np.ones((6, 8), bool)), {"of": "dog", "bbox": [0, 0, 1, 1]}])
    content = json.loads(file.read_text())
    content["annotations"].append({**content["annotations"][0], "image_id": 2})
    file.write_text(json.dumps(content))
    found = list(true_words([said("a man with a puppy", "b.png", (6, 8))], regions_of(file)))
    assert [(each.text, each.right, bool(each.region.any())) for each in found] == [
        ("man", True, True),
        ("puppy", False, False),
    ]


def test_names_of_categories_in_the_singular_and_plural() -> None:
    nouns = nouns_for(["person", "bus", "knife", "teddy bear", "bear", "Traffic_Light", "puppet", "cow"])
    text = "people men lady ladies bus buses knives a teddy bear Bears. traffic lights puppets cattle calves glass"
    found = categories_of([(each, None) for each in text.split()], nouns)
    named = [(each, found.get(at)) for at, each in enumerate(text.split())]
    assert [category for _, category in named] == (
        ["person"] * 4 + ["bus"] * 2 + ["knife", None] + ["teddy bear"] * 2 + ["bear"]
        + ["Traffic_Light"] * 2 + ["puppet"] + ["cow"] * 2 + [None]
    )  # fmt: skip


def test_what_is_tagged_as_another_part_of_speech_names_nothing() -> None:
    nouns = nouns_for(["orange", "person", "hot dog"])
    tagged = [("orange", "JJ"), ("orange", "NN"), ("man", "NN1"), ("hot", "JJ"), ("dog", "NN"), ("man", "VB")]
    assert categories_of(tagged, nouns) == {1: "orange", 2: "person", 3: "hot dog", 4: "hot dog"}
    foreign = [("猫", "FW"), ("睡", None)]  # of which an English tagger knows nothing
    assert categories_of(foreign, nouns_for(["猫", "睡"])) == {0: "猫", 1: "睡"}


def test_a_noun_names_one_category_of_coco_alone() -> None:
    taken = [noun for own, more in NOUNS.items() for noun in [own, *more.split()]]
    assert len(taken) == len(set(taken))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_run_lengths_are_read_as_coco_packs_them(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 60, 2)
    where = np.asfortranarray(generator.random((height, width)) < generator.random(), np.uint8)
    packed = official.encode(where)["counts"].decode()
    assert unpack_runs(packed) == runs(where)
    annotation = {"category": "cat", "segmentation": {"size": [int(height), int(width)], "counts": packed}}
    found = mask_of(annotation, Picture("a.png", FileOpener(Path("a.png"))), (int(height), int(width)))
    np.testing.assert_array_equal(found, where.astype(bool))


def test_polygons_by_hand() -> None:
    """A triangle, a square, and what reaches out of the picture on all sides."""
    shapes = [[0, 0, 3.8, 0, 0, 3.8], [5, 1, 7, 1, 7, 3, 5, 3]]
    found = mask_of({"category": "cat", "segmentation": shapes}, Picture("a.png", FileOpener(Path("a.png"))), (4, 8))
    assert found.astype(int).tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1, 1, 0],
        [1, 0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    beyond = {"category": "cat", "segmentation": [[-9, -9, 20, -9, 20, 2, -9, 2]]}
    assert mask_of(beyond, Picture("a.png", FileOpener(Path("a.png"))), (4, 8)).sum(axis=1).tolist() == [8, 8, 0, 0]
    for x, y in ((-9, 1), (30, 1), (1, -9), (1, 30)):  # and what is not in it at all
        outside = {"category": "cat", "segmentation": [[x, y, x + 2, y, x, y + 2]]}
        assert not mask_of(outside, Picture("a.png", FileOpener(Path("a.png"))), (4, 8)).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_polygons_hold_the_pixels_whose_centre_is_inside(seed: int) -> None:
    generator = np.random.default_rng(seed)
    corners = generator.uniform(-4, 24, (generator.integers(3, 9), 2))  # may cross itself
    annotation = {"category": "cat", "segmentation": [corners.ravel().tolist()]}
    centres = np.stack(np.mgrid[:15, :20][::-1], -1).reshape(-1, 2) + 0.5
    known = points_in_poly(centres, corners).reshape(15, 20)
    np.testing.assert_array_equal(mask_of(annotation, Picture("a.png", FileOpener(Path("a.png"))), (15, 20)), known)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools under NumPy 2
def test_masks_of_coco_are_as_its_own_code_draws_them(shared: Path) -> None:
    pictures = read_coco(shared / "data" / "coco-free" / "instances.json", labels=False)
    checked = 0
    for picture in pictures[:16]:
        size = int(picture.columns["height"]), int(picture.columns["width"])
        for each in picture.annotations:
            found = each["segmentation"]
            packed = official.frPyObjects(found, *size)
            known = official.decode(packed).astype(bool)  # (H, W), of polygons (H, W, polygons)
            known = known.any(axis=2) if known.ndim == 3 else known
            own = mask_of(each, picture, size)
            border = 2 * (np.ptp(np.nonzero(own), axis=1).sum() + 2) if own.any() else 4
            assert (own ^ known).sum() <= border + 0.02 * known.sum()
            checked += 1
    assert checked > 80


@pytest.mark.shared
def test_human_captions_name_what_is_there(shared: Path) -> None:
    """Two thirds of the nouns that name a category do so rightly, of most pictures."""
    folder = shared / "data" / "coco-free"
    content = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    names = {each["id"]: (each["file_name"], (each["height"], each["width"])) for each in content["images"]}
    chosen = [each for each in content["annotations"] if each["id"] % 5 == 1][:40]
    tags = [[*parts_of_speech(each["caption"].split()), None] for each in chosen]  # of <end>, too
    captions = [said(each["caption"], *names[each["image_id"]], of) for each, of in zip(chosen, tags, strict=True)]
    unknown: list[str] = []
    spoken = list(true_words(captions, regions_of(folder / "instances.json"), unknown))
    found = [each for each in spoken if each.right is not None]
    right = [each for each in found if each.right]
    assert all(each.region.any() for each in right) and not any(each.region.any() for each in found if not each.right)
    assert len({each.picture for each in right}) > 0.6 * (len(captions) - len(unknown))
    assert len(right) / len(found) > 2 / 3
    others = [each for each in spoken if each.right is None]
    assert {each.part for each in others} == {"adjective", "verb"} and all(each.region.any() for each in others)


@pytest.mark.parametrize(
    ("annotation", "size", "message"),
    [
        (
            {"segmentation": {"size": [6, 8], "counts": [40]}},
            (6, 8),
            "a mask of 'cat' cannot be read .run lengths of 40",
        ),
        ({"segmentation": {"size": [8, 6], "counts": [48]}}, (6, 8), "run lengths of 48 pixels for a picture of 6 × 8"),
        ({"segmentation": {"size": [6, 8], "counts": "??\x7f"}}, (6, 8), "a mask of 'cat' cannot be read"),
        ({"segmentation": [[1, 2, 3]]}, (6, 8), "a mask of 'cat' cannot be read"),
        ({"segmentation": {"counts": [48]}}, (6, 8), "a mask of 'cat' cannot be read .'size'."),
        ({"bbox": [1, "x", 3, 4]}, (6, 8), "there must be polygons, run lengths or a box, as COCO has them"),
        (
            {"bbox": [1, 2, 3, 4]},
            (12, 16),
            "a.png: its masks are for 6 × 8 pixels and the captioned picture has 12 × 16",
        ),
    ],
)
def test_masks_that_cannot_be_read_are_named(annotation: dict, size: tuple[int, int], message: str) -> None:
    picture = Picture("a.png", FileOpener(Path("a.png")), columns={"height": "6", "width": "8"})
    with pytest.raises(DataError, match=message) as error:
        mask_of({"category": "cat", **annotation}, picture, size)
    assert "\n" not in str(error.value)


def test_data_without_regions_is_refused(scenes: Path, tmp_path: Path) -> None:
    file = coco(tmp_path, [])
    with pytest.raises(DataError, match="has no masks or boxes of categories; give the instances"):
        regions_of(file)
    with pytest.raises(
        DataError, match="tells no regions of words; give a folder that `regard scenes` wrote, or a COCO"
    ):
        regions_of(tmp_path, words=True)
    with pytest.raises(DataError, match="knows nothing of these captions: 1 of the pictures are not there"):
        measure_captions([said("a cat", "strange.png")], scenes)


def test_names_that_two_pictures_share_are_not_guessed(tmp_path: Path) -> None:
    masks = NamedRegions("masks", "", dict.fromkeys(("x/a.png", "y/a.png", "y/b.png"), SceneRegions(SCENE, (48, 64))))
    unknown: list[str] = []
    list(true_words([said("", name) for name in ("a.png", "z/b.png", "x/a.png", "c.png")], masks, unknown))
    assert unknown == ["a.png", "c.png"]


def test_a_result_without_rows_for_some_words_is_printed() -> None:
    scores = measure([word("a", np.eye(2, dtype=np.float32), region(SQUARE, (0, 0, 2, 2)), right=None)], resamples=20)
    text = word_scores_text(CaptionScores(scores, 0))
    assert "\N{EN DASH}" in text and "nan" not in text and "right" not in text


def test_covers_are_not_mixed_up_between_grids() -> None:
    """Words of pictures in turn: what is kept of the last grids must be theirs."""
    grids = [PatchGrid.whole(2, 2, picture=(4, width)) for width in (4, 6, 8)]
    for _ in range(2):
        for grid in grids:
            found = cover(grid, np.ones(grid.picture, bool))
            assert isinstance(found, Cover) and found.area.sum() == grid.picture[0] * grid.picture[1]
