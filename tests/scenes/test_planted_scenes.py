"""What is planted in scenes: the shortcut of a folder, parts left undrawn, the same scene with one thing changed."""

import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regard
from regard.data.regions import regions_of
from regard.errors import DataError, UsageError
from regard.scenes import (
    ANIMALS,
    GROUND_OF,
    GROUNDS,
    VERSION,
    Item,
    Scene,
    captions,
    other_grounds,
    read_scenes,
    render,
    sample,
    with_animal,
    with_ground,
    without_parts,
    write_scenes,
)
from regard.scenes.planted.bias import Bias

# the frozen version


def test_the_scenes_of_this_version_are_these_bytes():
    """Methods are judged on them: whoever changes one of these raises `VERSION`, and measures everything again."""
    drawn = [render(sample(f"0/{k}", kind=kind), size=64) for k, kind in enumerate(sorted(ANIMALS))]
    told = [
        hashlib.sha256(each.picture.tobytes() + each.parts.astype("<i2").tobytes()).hexdigest()[:16] for each in drawn
    ]
    assert (VERSION, told) == (1, PINNED)


PINNED = [
    "fb481826ee690314",
    "ef800c2cf81b1911",
    "e06351896622e259",
    "5aa80c81df741945",
    "18474bcd71b88ed9",
    "80c64f5d979697ad",
    "d214fb0bdd906647",
    "504921ad246e98c1",
]


def _rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines()))


def test_a_folder_says_its_version_and_one_of_another_is_refused(tmp_path):
    out = write_scenes(2, tmp_path / "out", size=16)
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["version"] == VERSION and "bias" not in manifest
    former = {name: value for name, value in manifest.items() if name != "version"}
    (out / "manifest.json").write_text(json.dumps(former), encoding="utf-8")  # as the first folders were
    assert len(list(read_scenes(out))) == 2
    (out / "manifest.json").write_text(json.dumps({**manifest, "version": 99}), encoding="utf-8")
    for reader in (read_scenes, lambda folder: iter([regions_of(folder)])):
        with pytest.raises(DataError, match=r"scenes of version 99.*write the folder again"):
            list(reader(out))


# the bias


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 1.0])
def test_the_ground_goes_with_the_class_in_that_share(tmp_path, share):
    result = regard.scenes(80, tmp_path / "out", size=16, val=0.5, bias=f"ground={share}")
    rows = _rows(tmp_path / "out")
    for part in ("train", "val"):
        for kind in ANIMALS:
            among = [row for row in rows if row["split"] == part and row["label"] == kind]
            assert len(among) == 5
            follows = [row for row in among if row["ground"] == GROUND_OF[kind]]
            assert abs(len(follows) - share * 5) < 1
            assert {row["bias"] for row in follows} <= {"follows"}
            others = Counter(row["ground"] for row in among if row["bias"] == "conflicts")
            assert sum(others.values()) == 5 - len(follows) and max(others.values(), default=0) <= 1
        part_follows = sum(row["bias"] == "follows" for row in rows if row["split"] == part)
        assert abs(part_follows - share * 40) < 1
    count = sum(row["bias"] == "follows" for row in rows)
    assert count == round(share * 80)
    told = result.bias["ground"]
    assert (told["share"], told["follows"], told["of"]) == (share, count, 80) and told["grounds"] == GROUND_OF
    assert f"in {count} of 80" in str(result) and "bird on grass" in str(result) and "by chance" in str(result)


def test_the_facts_and_pictures_of_a_biased_folder_agree_with_its_table(tmp_path):
    folder = write_scenes(8, tmp_path / "out", size=32, bias="ground=1")
    stored = dict(read_scenes(folder))
    for row in _rows(folder):
        scene = stored[row["filename"]]
        assert scene.ground == row["ground"] == GROUND_OF[scene.label]
        assert (np.asarray(Image.open(folder / row["filename"])) == render(scene, size=32).picture).all()


def test_without_a_bias_a_folder_is_as_it_was(tmp_path):
    """All but the manifest, which now says the version."""
    folder = write_scenes(8, tmp_path / "out", seed=3, size=32)
    texts = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("index.csv", "scenes.jsonl", "captions.json")
    )
    pixels = b"".join(np.asarray(Image.open(path)).tobytes() for path in sorted(folder.glob("*/*.png")))
    assert hashlib.sha256(texts.encode() + pixels).hexdigest()[:16] == UNBIASED


UNBIASED = "31ba50ed2ad52b6c"


def test_the_same_seed_gives_the_same_biased_scenes_and_another_seed_others(tmp_path):
    labels, splits = [*sorted(ANIMALS)] * 6, ["train"] * 48
    first, again, other = (Bias(0.5).grounds(labels, splits, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_the_bias_of_val_can_be_another():
    labels = [sorted(ANIMALS)[k % 8] for k in range(400)]
    splits = ["val" if k % 5 == 0 else "train" for k in range(400)]
    bias = Bias.of("ground=0.95, val=0.5")
    assert (bias.ground, bias.val) == (0.95, 0.5)
    grounds = bias.grounds(labels, splits, 3)
    for split, share in (("train", 0.95), ("val", 0.5)):
        among = [GROUND_OF[a] == g for a, g, s in zip(labels, grounds, splits, strict=True) if s == split]
        assert sum(among) == round(share * len(among))
    assert bias.report(labels, grounds)["ground"]["val"] == 0.5
    with pytest.raises(UsageError, match="from 0 to 1"):
        Bias.of("ground=0.95,val=5")
    with pytest.raises(UsageError, match="from 0 to 1"):
        Bias.of("ground=0.95,test=0.5")


@pytest.mark.parametrize(
    ("bias", "says"),
    [
        ("ground", "a bias is NAME=SHARE; got 'ground'; give ground=0.95"),
        ("", "a bias is NAME=SHARE"),
        ("grond=0.95", "unknown bias 'grond'; did you mean 'ground'"),
        ("sky=0.95", r"unknown bias 'sky'; there is: ground"),
        ("ground=", "a number from 0 to 1; got ''"),
        ("ground=95%", "a number from 0 to 1; got '95%'"),
        ("ground=95", "a number from 0 to 1; got '95'"),
        ("ground=-0.1", "a number from 0 to 1"),
        ("ground=nan", "a number from 0 to 1; got 'nan'"),
        ("ground=0.5=0.6", "a number from 0 to 1"),
    ],
)
def test_an_impossible_bias_is_a_usage_error_and_leaves_nothing(tmp_path, bias, says):
    with pytest.raises(UsageError, match=says):
        regard.scenes(4, tmp_path / "out", size=16, bias=bias)
    assert not list(tmp_path.iterdir())


# parts left undrawn


def test_a_scene_with_parts_missing_is_drawn_without_them_and_survives_json():
    scene = sample(3, things=1)
    tail = scene.names[0]
    less = replace(scene, missing=(tail,))
    assert (render(less, size=48).picture == render(scene, without=tail, size=48).picture).all()
    again = Scene.from_json(json.loads(json.dumps(less.as_json())))
    assert again == less and hash(again) == hash(less)
    assert tail.split(".")[1] not in less.facts()["items"][0]["parts"]
    assert "missing" not in scene.as_json()
    with pytest.raises(UsageError, match="unknown part"):
        replace(scene, missing=("0.fifth leg",))


def test_parts_are_left_undrawn_by_chance_and_never_all_or_the_one_that_acts():
    scenes = [sample(seed) for seed in range(60)]
    drawn = [without_parts(scene, 0.5, seed=1) for scene in scenes]
    assert drawn == [without_parts(scene, 0.5, seed=1) for scene in scenes]
    assert drawn != [without_parts(scene, 0.5, seed=2) for scene in scenes]
    share = [len(less.missing) / len(scene.items[0].parts) for scene, less in zip(scenes, drawn, strict=True)]
    assert 0.35 < np.mean(share) < 0.55
    for scene in scenes:
        assert without_parts(scene, 0.0) == scene
        bare = without_parts(scene, 1.0)
        acting = scene.facts()["items"][0]["acting"]
        (left,) = bare.facts()["items"][0]["parts"]
        assert acting in (None, left)
        captions(bare, n=1)
    with pytest.raises(UsageError, match=r"must lie in \[0, 1\]; got 2"):
        without_parts(scenes[0], 2)
    with pytest.raises(UsageError, match="no animal"):
        without_parts(Scene((Item("ball", "red", 0.5, 0.9),)))


def test_a_folder_of_animals_without_some_parts(tmp_path):
    regard.scenes(8, tmp_path / "whole", size=32)
    folder = Path(regard.scenes(8, tmp_path / "less", size=32, missing=0.5).out)
    stored, whole = dict(read_scenes(folder)), dict(read_scenes(tmp_path / "whole"))
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["missing"] == 0.5
    assert {name: replace(scene, missing=()) for name, scene in stored.items()} == whole
    assert sum(len(scene.missing) for scene in stored.values()) > 16
    regions = regions_of(folder)
    for name, scene in stored.items():
        place = Path(name).name
        assert (np.asarray(Image.open(folder / name)) == render(scene, size=32).picture).all()
        mask = np.asarray(Image.open(folder / "masks" / place)) == 255
        assert (regions.find(name).mask(["0"]) == mask).all() and (render(scene, size=32).masks["0"] == mask).all()
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"missing, the share .* must lie in \[0, 1\]; got"):
            regard.scenes(2, tmp_path / "none", size=16, missing=share)
    assert not (tmp_path / "none").exists()


def test_a_caption_of_a_paw_that_is_not_drawn_is_refused():
    scene = Scene((Item("cat", "red", 0.5, 0.9, pose="raising its left paw"),))
    captions(replace(scene, missing=("0.tail",)))
    with pytest.raises(UsageError, match=r"tells of 0\.left front leg, which this scene leaves undrawn"):
        captions(replace(scene, missing=("0.left front leg",)))


# the same scene again


def test_another_ground_changes_the_ground_alone():
    scene = sample(11)
    grounds = other_grounds(scene)
    assert sorted([*grounds, scene.ground]) == sorted(GROUNDS)
    here = render(scene, size=64)
    for ground, other in grounds.items():
        there = render(other, size=64)
        assert other.items == scene.items and other.ground == ground and other.label == scene.label
        assert (here.parts == there.parts).all()
        items = here.parts > 0
        assert (here.picture[items] == there.picture[items]).all()
        assert (here.picture[~items] != there.picture[~items]).any(-1).mean() > 0.4
    with pytest.raises(UsageError, match="did you mean 'grass'"):
        with_ground(scene, "gras")


@pytest.mark.parametrize("kind", sorted(ANIMALS))
def test_another_animal_stands_in_the_place_of_the_first_and_nothing_else_changes(kind):
    for seed in range(12):
        scene = sample(f"other {seed}", things=1)
        other = with_animal(scene, kind)
        assert other.label == kind and other.items[1:] == scene.items[1:]
        was, now = scene.items[0], other.items[0]
        assert (now.colour, now.pattern, now.y, now.depth, now.mirrored) == (
            was.colour, was.pattern, was.y, was.depth, was.mirrored)  # fmt: skip
        assert now.pose == was.pose or was.pose not in ANIMALS[kind][1] or kind == "fish"
        assert now.pose != "swimming" or scene.ground == "water"
        left, high, right, _ = now.box
        assert left >= 0.019 and high >= 0.019 and right <= 0.981
        assert replace(other, items=scene.items) == scene
        before, after = render(scene, size=48), render(other, size=48)
        touched = np.any([each.masks[name] for each in (before, after) for name in ("0", "0.shadow")], axis=0)
        assert (before.picture[~touched] == after.picture[~touched]).all()


def test_another_animal_keeps_what_it_has_of_the_missing_parts():
    scene = Scene((Item("cat", "red", 0.5, 0.9),), missing=("0.tail", "0.left ear"))
    assert with_animal(scene, "dog").missing == tuple(
        name for name in scene.missing if name in with_animal(scene, "dog").names
    )
    assert with_animal(scene, "fish").missing == ("0.tail",)
    with pytest.raises(UsageError, match="unknown kind of animal"):
        with_animal(scene, "table")
    with pytest.raises(UsageError, match="no animal"):
        with_animal(Scene((Item("ball", "red", 0.5, 0.9),)), "cat")
