"""Drawn scenes: exact masks, true facts, the same bytes every time, and not solvable by a linear classifier."""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regard.errors import DataError, OutputError, UsageError
from regard.scenes import (
    ANIMALS,
    BACKGROUNDS,
    GROUNDS,
    RELATIONS,
    THINGS,
    Item,
    Scene,
    read_scenes,
    relation,
    relations,
    render,
    sample,
    write_scenes,
)
from regard.scenes.shapes import Shape, ellipse, limb, rectangle

HAND = Scene(
    (
        Item("cat", "brown", x=0.3, y=0.8, scale=0.3, pose="raising its left paw"),
        Item("ball", "red", x=0.75, y=0.8, scale=0.2),
        Item("table", "green", x=0.5, y=0.7, scale=0.4),
    ),
    ground="grass",
    seed=7,
)
"""A cat left of a ball, both before a table."""


def digest(scene: Scene, **how: object) -> str:
    return hashlib.sha256(render(scene, **how).picture.tobytes()).hexdigest()


# the same every time


def test_the_same_scene_gives_the_same_bytes_whatever_happened_before():
    first = [digest(sample(seed), size=64) for seed in range(4)]
    random.seed(1)
    np.random.seed(1)
    sample(99), render(sample(98), size=40)
    random.seed(2)
    assert [digest(sample(seed), size=64) for seed in range(4)] == first
    assert len(set(first)) == 4


def test_sampling_is_pinned():
    """Whoever changes this changes every folder and every number that names a seed: do it knowingly."""
    told = json.dumps([sample(seed, animals=1 + seed).as_json() for seed in range(3)])
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "805075cc1ad764e6"


def test_the_global_random_state_is_left_alone():
    random.seed(3), np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    render(sample(0), size=32)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_another_process_with_another_hash_seed_draws_the_same():
    code = "import hashlib; from regard.scenes import *; "
    code += "print(hashlib.sha256(render(sample(5), size=64).picture.tobytes()).hexdigest())"
    came = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True
    )
    assert came.stdout.strip() == digest(sample(5), size=64), came.stderr


def test_a_scene_survives_json():
    for seed in range(8):
        scene = sample(seed, animals=2, things=2)
        again = Scene.from_json(json.loads(json.dumps(scene.as_json())))
        assert again == scene and digest(again, size=32) == digest(scene, size=32)
    json.dumps(scene.facts(), allow_nan=False)


@pytest.mark.parametrize("stored", [{}, {"items": 3}, {"items": [{"kind": "cat"}]}, {"items": [], "colour": "red"}])
def test_what_is_no_scene_is_refused(stored):
    with pytest.raises(DataError, match="not a drawn scene"):
        Scene.from_json(stored)


# masks


@given(st.integers(0, 10_000), st.sampled_from([48, (40, 72), (70, 44)]))
@settings(max_examples=12, deadline=None)
def test_part_masks_tile_their_item_and_all_masks_the_picture(seed, size):
    scene = sample(seed, animals=2)
    drawn = render(scene, size=size)
    assert drawn.picture.shape[:2] == ((size, size) if isinstance(size, int) else size)
    total = np.stack([drawn.masks[name] for name in (*scene.names, "background")]).sum(0)
    assert (total == 1).all()
    for index in range(len(scene.items)):
        own = [drawn.masks[name] for name in scene.names if name.startswith(f"{index}.")]
        assert (np.any(own, axis=0) == drawn.masks[str(index)]).all()
        assert not (drawn.masks[f"{index}.shadow"] & ~drawn.masks["background"]).any()
    for name in scene.names:
        assert not (drawn.masks[name] & ~drawn.extents[name]).any()
        assert (drawn.masks[name] == (drawn.parts == scene.names.index(name) + 1)).all()


@given(st.integers(0, 10_000), st.data())
@settings(max_examples=15, deadline=None)
def test_a_part_left_out_changes_its_own_pixels_and_no_other(seed, data):
    scene = sample(seed, animals=2)
    name = data.draw(st.sampled_from(scene.names))
    whole, less = render(scene, size=(64, 80)), render(scene, without=name, size=(64, 80))
    hole = whole.masks[name]
    assert not less.masks[name].any()
    assert (whole.picture[~hole] == less.picture[~hole]).all()
    for other in scene.names:
        gained = less.masks[other] & ~whole.masks[other]
        assert not (gained & ~hole).any() and not (whole.masks[other] & ~less.masks[other] & ~hole).any()


def test_behind_a_part_left_out_appears_what_is_there():
    ball, cat = Item("ball", "red", 0.5, 0.8, 0.5), Item("cat", "black", 0.5, 0.85, 0.3)
    both, alone = Scene((ball, cat)), Scene((ball, replace(cat, x=1.9)))
    bare = render(both, without="1", size=96)
    behind = bare.masks["0"]
    assert (bare.picture[behind] == render(alone, size=96).picture[behind]).all()
    assert (bare.masks["0"] == render(both, size=96).extents["0"]).all()


def test_an_item_left_out_takes_its_shadow_and_nothing_else():
    whole, less = render(HAND, size=96), render(HAND, without="0", size=96)
    touched = whole.masks["0"] | whole.masks["0.shadow"]
    assert whole.masks["0.shadow"].any() and not less.masks["0.shadow"].any()
    assert (whole.picture[~touched] == less.picture[~touched]).all()


@pytest.mark.parametrize("without", [(0, "tail"), ["0.tail"], [(0, "tail")], "0.tail", {"0.tail"}])
def test_parts_can_be_named_in_every_way(without):
    assert digest(HAND, without=without, size=48) == digest(HAND, without=("0.tail",), size=48) != digest(HAND, size=48)


@pytest.mark.parametrize("background", [name for name in BACKGROUNDS if name != "grass"])
def test_another_background_leaves_the_items_as_they_are(background):
    here, there = render(HAND, size=(48, 64)), render(HAND, background=background, size=(48, 64))
    items = ~here.masks["background"]
    assert (here.picture[items] == there.picture[items]).all() and (here.parts == there.parts).all()
    assert (here.picture[~items] != there.picture[~items]).any(-1).mean() > 0.4  # the sky stays over another ground
    assert there.masks["0.shadow"].any() == (background in GROUNDS)


def test_a_disc_covers_its_area():
    """A ball of scale s is s wide and high: its extent must be pi/4 of the square, its outline included."""
    drawn = render(Scene((Item("ball", "red", 0.5, 0.9, 0.8),)), size=200)
    rows, columns = np.nonzero(drawn.extents["0"])
    stroke = 0.011 * 0.8**0.5 * 200
    assert abs(np.ptp(rows) + 1 - (160 + 2 * stroke)) <= 2 and abs(np.ptp(columns) + 1 - (160 + 2 * stroke)) <= 2
    assert abs(len(rows) / (np.pi / 4 * (160 + 2 * stroke) ** 2) - 1) < 0.01


def test_wider_pictures_show_the_same_items_in_the_middle():
    square, wide, high = (render(HAND, size=size) for size in (60, (60, 100), (100, 60)))
    assert (wide.parts[:, 20:80] == square.parts).all() and (high.parts[20:80] == square.parts).all()


def test_outlines_grow_outwards_in_either_sense():
    for shape in (rectangle(0, 0, 2, 1), ellipse(1, 1, 2, 1), limb([(0, 0), (1, 0), (2, 0.2)], (0.3, 0.3, 0.2))):
        middle = shape.points.mean(0)
        for one in (shape, Shape(shape.points[::-1])):
            grown = np.abs(one.points + 0.1 * one.normals - middle).max(0)
            assert (grown > np.abs(one.points - middle).max(0) + 0.05).all()


# facts


def test_relations_of_a_hand_built_scene():
    assert [0, "left of", 1] in HAND.facts()["relations"]
    assert (1, "right of", 0) in relations(HAND)
    assert (0, "in front of", 2) in relations(HAND) and (2, "behind", 0) in relations(HAND)


def test_on_and_under_follow_from_geometry():
    table = Item("table", "brown", x=0.5, y=0.9, scale=0.6)
    cat = Item("cat", "grey", 0.5, table.box[1], 0.2, depth=0.9)
    assert relation(cat, table) == "on" and relation(table, cat) is None
    assert relation(replace(cat, pose="jumping"), table) != "on"
    assert relation(replace(cat, x=0.95), table) != "on"
    below = Item("cat", "grey", 0.5, 0.92, 0.2)
    assert relation(below, table) == "under" and relation(replace(below, scale=0.6), table) == "in front of"
    assert relation(replace(below, y=0.7, depth=0.7), table) == "behind"


@pytest.mark.parametrize("wanted", RELATIONS)
def test_sampled_relations_hold(wanted):
    for seed in range(6):
        scene = sample(seed, relation=wanted, animals=1 + seed % 2, things=1)
        assert [0, wanted, 1] in scene.facts()["relations"]


def test_left_of_is_seen_in_the_masks():
    drawn, (cat, ball) = render(HAND), ("0", "1")
    assert np.nonzero(drawn.masks[cat])[1].mean() < np.nonzero(drawn.masks[ball])[1].mean() - 50


def test_boxes_are_where_the_pixels_are():
    for seed in range(6):
        scene = sample(seed)
        extents = render(scene, size=200).extents
        for index, item in enumerate(scene.items):
            rows, columns = np.nonzero(extents[str(index)])
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(seen - np.clip(np.array(item.box) * 200, 0, 200)).max() < 6, item


def test_sizes_and_counts():
    assert [Item("cat", "red", 0.5, 0.9, scale).size for scale in (0.29, 0.3, 0.42)] == ["small", "medium", "large"]
    facts = Scene((HAND.items[0], HAND.items[1], HAND.items[1]), ground="room").facts()
    assert facts["count"] == {"cat": 1, "ball": 2} and facts["label"] == "cat" and facts["sky"] is None
    assert Scene((HAND.items[1],)).label is None


# left and right


def _middle(scene: Scene, part: str) -> float:
    return float(np.nonzero(render(scene, size=160).extents[f"0.{part}"])[1].mean())


@pytest.mark.parametrize("kind", ["cat", "dog", "rabbit", "horse", "elephant", "turtle"])
def test_the_near_legs_are_the_right_ones_facing_right_and_the_left_ones_mirrored(kind):
    for mirrored, near, far in ((False, "right", "left"), (True, "left", "right")):
        parts = Item(kind, "grey", 0.5, 0.9, mirrored=mirrored).parts
        assert parts.index(f"{far} hind leg") < parts.index(f"{near} hind leg")
        assert parts.index(f"{far} front leg") < parts.index(f"{near} front leg")


def test_of_a_face_that_looks_at_us_the_left_eye_is_on_our_right_mirrored_or_not():
    for mirrored in (False, True):
        scene = Scene((Item("cat", "grey", 0.5, 0.9, 0.6, mirrored=mirrored),))
        assert _middle(scene, "left eye") > _middle(scene, "right eye") + 5
        assert _middle(scene, "left ear") > _middle(scene, "right ear") + 5


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", sorted(kind for kind in ANIMALS if kind != "fish"))
def test_a_raised_limb_is_higher_than_the_other(kind, side, mirrored):
    pose = next(pose for pose in ANIMALS[kind][1] if pose.startswith(f"raising its {side}"))
    scene = Scene((Item(kind, "grey", 0.5, 0.9, 0.5, pose=pose, mirrored=mirrored),))
    acting = scene.facts()["items"][0]["acting"]
    assert acting.startswith(side) and acting in scene.items[0].parts
    other = acting.replace(side, {"left": "right", "right": "left"}[side])
    extents = render(scene, size=160).extents
    lowest = {name: np.nonzero(extents[f"0.{name}"])[0] for name in (acting, other)}
    if kind == "bird":
        assert lowest[acting].min() < lowest[other].min() - 10
    else:
        assert lowest[acting].max() < lowest[other].max() - 2


def test_mirroring_turns_the_animal_round():
    for kind in ANIMALS:
        plain = Item(kind, "grey", 0.5, 0.9)
        turned = replace(plain, mirrored=True)
        assert (plain.facing, turned.facing) == ("right", "left")
        assert turned.box[0] == pytest.approx(1 - plain.box[2]) and turned.box[2] == pytest.approx(1 - plain.box[0])


# sampling


def test_the_main_animal_is_one_of_its_kind_and_well_seen():
    for seed in range(40):
        scene = sample(seed)
        assert [item.kind for item in scene.items if item.is_animal] == [scene.label]
        drawn = render(scene, size=64)
        assert drawn.masks["0"].sum() > 0.6 * drawn.extents["0"].sum(), seed
        left, high, right, low = scene.items[0].box
        assert min(left, high) >= 0 and max(right, low) <= 1.03


def test_every_kind_pose_and_thing_can_be_drawn():
    items = [Item(kind, "red", 0.5, 0.9, pose=pose) for kind in ANIMALS for pose in ANIMALS[kind][1]]
    for item in [*items, *(Item(kind, "red", 0.5, 0.9) for kind in THINGS)]:
        assert render(Scene((item,), noise=0), size=64).masks["0"].sum() > 60


def test_a_linear_classifier_on_raw_pixels_is_near_chance():
    from sklearn.linear_model import LogisticRegression

    kinds = sorted(ANIMALS)
    labels = np.arange(320) % len(kinds)
    pixels = [render(sample(f"linear {k}", kind=kinds[label]), size=32).picture for k, label in enumerate(labels)]
    x = np.stack(pixels).reshape(len(labels), -1) / 255.0 - 0.5
    # what the classifier can use lies in the span of the 240 it is trained on: 240 numbers a picture say all, and fast
    span = np.linalg.svd(x[:240], full_matrices=False)[2]
    fitted = LogisticRegression(C=1e-3, max_iter=300).fit(x[:240] @ span.T, labels[:240])
    assert fitted.score(x[240:] @ span.T, labels[240:]) < 2 / len(kinds)


# the folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_scenes(40, tmp_path_factory.mktemp("drawn") / "scenes", seed=3, size=(32, 48))


def test_the_folder_has_balanced_classes_and_splits(folder):
    rows = list(csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 40 and set(Counter(row["label"] for row in rows).values()) == {5}
    assert set(Counter(row["label"] for row in rows if row["split"] == "val").values()) == {1}
    assert {row["split"] for row in rows} == {"train", "val"}
    assert all((folder / row["filename"]).is_file() for row in rows)
    assert {row["ground"] for row in rows} <= set(GROUNDS) and (folder / "manifest.json").is_file()


def test_the_folder_can_be_drawn_again_with_its_masks(folder):
    lines = [json.loads(line) for line in (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines()]
    stored = dict(read_scenes(folder))
    assert len(stored) == 40
    for line in lines[:5]:
        name = Path(line["filename"]).name
        drawn = render(stored[line["filename"]], size=(32, 48))
        assert (np.asarray(Image.open(folder / "images" / name)) == drawn.picture).all()
        assert ((np.asarray(Image.open(folder / "masks" / name)) == 255) == drawn.masks["0"]).all()
        parts, objects = (np.asarray(Image.open(folder / what / name)) for what in ("parts", "objects"))
        assert parts.shape == (32, 48)
        for number, part in enumerate(line["parts"], 1):
            assert ((parts == number) == drawn.masks[part]).all()
        assert all(((objects == k + 1) == drawn.masks[str(k)]).all() for k in range(len(line["facts"]["items"])))
        assert stored[line["filename"]].label == line["label"] == line["facts"]["label"]


def test_the_data_contract_reads_the_folder(folder):
    data = pytest.importorskip("regard.data.layouts")
    read = data.read(folder)
    assert read.classes == tuple(sorted(ANIMALS)) and len(read) == 40
    assert len(read.part("val")) == 8


@pytest.mark.parametrize(
    "how",
    [
        {"n": 0},
        {"n": -3},
        {"n": 2, "val": 1.0},
        {"n": 2, "val": -0.1},
        {"n": 2, "size": 8},
        {"n": 2, "size": (32, 9999)},
    ],
)
def test_impossible_folders_are_usage_errors_and_leave_nothing(tmp_path, how):
    with pytest.raises(UsageError):
        write_scenes(out=tmp_path / "new", **how)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept_unless_told(tmp_path):
    out = write_scenes(1, tmp_path / "out", size=16)
    with pytest.raises(OutputError, match="exists already"):
        write_scenes(2, out, size=16)
    assert len(list((out / "images").iterdir())) == 1
    write_scenes(2, out, size=16, overwrite=True)
    assert len(list((out / "images").iterdir())) == 2


def test_other_folders_and_broken_lines_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json"):
        list(read_scenes(tmp_path))
    out = write_scenes(1, tmp_path / "out", size=16)
    (out / "scenes.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="line 1"):
        list(read_scenes(out))


# errors


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Item("cow", "red", 0.5, 0.9), "unknown kind"),
        (lambda: Item("cat", "rde", 0.5, 0.9), "did you mean 'red'"),
        (lambda: Item("cat", "red", 0.5, 0.9, pose="flying"), "unknown pose of a cat"),
        (lambda: Item("cat", "red", 0.5, 0.9, scale=3), "scale must lie between"),
        (lambda: Item("cat", "red", float("nan"), 0.9), "x must lie between"),
        (lambda: Scene((), ground="gras"), "did you mean 'grass'"),
        (lambda: Scene((), horizon=0.95), "horizon must lie between"),
        (lambda: render(HAND, without="0.tial", size=32), r"did you mean '0\.tail'"),
        (lambda: render(HAND, without="7", size=32), "unknown item or part"),
        (lambda: render(HAND, background="lava", size=32), "unknown background"),
        (lambda: render(HAND, size=2), "size must lie between"),
        (lambda: sample(0, kind="table"), "unknown kind of animal"),
        (lambda: sample(0, relation="near"), "unknown relation"),
        (lambda: sample(0, animals=9), "1 to 4 animals"),
        (lambda: sample(0, relation="on", things=0), "needs a second item"),
    ],
)
def test_wrong_names_and_values_are_usage_errors(wrong, says):
    with pytest.raises(UsageError, match=says):
        wrong()


def test_scenes_are_frozen():
    with pytest.raises(FrozenInstanceError):
        HAND.ground = "sand"
