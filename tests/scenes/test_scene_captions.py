"""Captions of drawn scenes: true, every word with its region; and a judge that is right about wrong sentences too."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.data.layouts import read
from regard.errors import DataError, UsageError
from regard.scenes import (
    ANIMALS,
    COLOURS,
    GROUNDS,
    LEXICON,
    PATTERNS,
    RELATIONS,
    THINGS,
    Item,
    Scene,
    SceneCaption,
    captions,
    judge,
    read_scene_captions,
    read_scenes,
    relation,
    render,
    sample,
    write_scenes,
)
from regard.scenes.kinds import top
from regard.scenes.lexicon import ACTIONS, COUNTS, THIRD_PERSON, article, plural


@cache
def scenes() -> tuple[Scene, ...]:
    """300 of all sorts: by default, with every relation, and with two animals."""
    related = [sample(k, relation=name, animals=1 + k % 2, things=1 + k % 3) for name in RELATIONS for k in range(15)]
    return (*(sample(k) for k in range(150)), *related, *(sample(k, animals=2) for k in range(60)))


@cache
def told() -> tuple[tuple[Scene, SceneCaption], ...]:
    return tuple((scene, caption) for scene in scenes() for caption in captions(scene))


def false_words(text: str, scene: Scene) -> list[str]:
    return [word.text for word in judge(text, scene) if word.true is False]


# what is said


def test_every_caption_is_judged_wholly_true_with_the_parts_of_speech_it_was_told_with():
    assert len(scenes()) == 300
    for scene, caption in told():
        judged = judge(caption.text, scene)
        assert [(word.text, word.part) for word in judged] == [(word.text, word.part) for word in caption.words]
        assert [word.true for word in judged] == [word.part != "other" or None for word in caption.words], caption.text


def test_every_word_agrees_with_the_facts_of_its_regions():
    """Without the judge: straight from the facts."""
    for scene, caption in told():
        facts = scene.facts()
        items = facts["items"]
        for word in caption.words:
            of = [int(name.split(".")[0]) for name in word.regions if name != "background"]
            kinds = {items[k]["kind"] for k in of}
            acting = [f"{k}.{items[k]['acting']}" if items[k]["acting"] else str(k) for k in of]
            if word.part == "other":
                assert not word.regions
            elif word.text == facts["ground"]:
                assert word.regions == ("background",)
            elif word.part == "count":
                assert len(of) == COUNTS[word.text] == facts["count"][kinds.pop()] and not kinds
            elif word.part == "verb" or word.text in ("leg", "paw", "wing"):
                assert list(word.regions) == acting and {ACTIONS.get(word.text, word.text)} <= {
                    *items[of[0]]["pose"].split()
                }
            elif word.part == "noun":
                assert kinds == {word.text} if len(of) == 1 else {plural(kind) for kind in kinds} == {word.text}
            elif word.part == "adjective" and word.text in ("left", "right"):
                assert list(word.regions) == acting and f"its {word.text}" in items[of[0]]["pose"]
            elif word.part == "adjective":
                assert word.text in [items[of[0]][what] for what in ("colour", "pattern", "size")]
            elif word.regions[-1] != "background":
                assert word.part == "relation" and any(
                    word.text in name.split() for a, name, b in facts["relations"] if [a, b] == of
                )


def test_every_caption_has_the_animal_its_colour_what_it_does_and_the_ground():
    for scene, caption in told():
        main, said = scene.items[0], {(word.text, word.regions[:1]) for word in caption.words}
        assert {(main.kind, ("0",)), (main.colour, ("0",)), (scene.ground, ("background",))} <= said
        assert any(ACTIONS[word.text] == main.pose.split()[0] for word in caption.words if word.part == "verb")


def test_what_an_animal_stands_on_is_never_kept_quiet():
    for scene, caption in told():
        under = [k for k, item in enumerate(scene.items) if k and relation(scene.items[0], item) == "on"]
        assert not under or {str(under[0])} <= {name for word in caption.words for name in word.regions}


def test_words_make_the_text_and_it_is_short_plain_english():
    vocabulary = set()
    for _, caption in told():
        words = [word.text for word in caption.words]
        assert " ".join(words) == caption.text == caption.text.lower() and len(words) <= 22
        assert all(word == article(after) for word, after in pairwise(words) if word in ("a", "an"))
        if words[0] == "there":
            assert words[1] == ("are" if words[2] in COUNTS else "is")
        vocabulary |= {*words}
    assert vocabulary <= {*LEXICON} and len(LEXICON) < 120
    assert {*COLOURS, *ANIMALS, *THINGS, *GROUNDS, "an", "two", "small", "large", "front", "over"} <= vocabulary
    assert "medium" not in vocabulary and "plain" not in vocabulary


def test_regions_are_masks_of_the_rendering():
    for scene in scenes()[::10]:
        masks = render(scene, size=32).masks
        assert {name for caption in captions(scene) for word in caption.words for name in word.regions} <= {*masks}


def test_plurals_articles_and_verbs():
    assert [plural(kind) for kind in ("box", "fish", "cat")] == ["boxes", "fish", "cats"]
    assert [article(word) for word in ("orange", "umbrella", "elephant", "yellow")] == ["an", "an", "an", "a"]
    assert {pose.split()[0] for _, poses in ANIMALS.values() for pose in poses} == {*THIRD_PERSON}
    assert [ACTIONS[verb] for verb in ("fly", "lies", "raise", "stand")] == ["flying", "lying", "raising", "standing"]


def test_wordings_are_different_the_same_again_and_others_by_another_seed():
    starts = Counter()
    for scene in scenes()[:60]:
        texts = [caption.text for caption in captions(scene)]
        assert len({*texts}) == 5 and captions(scene) == captions(scene)
        assert captions(scene, n=2) == captions(scene)[:2]
        starts[texts[0].split()[0], texts[0].split()[1] == scene.ground] += 1
    assert len(starts) >= 4  # the first wording is not of one template in all scenes
    other = [captions(scene, seed=1) for scene in scenes()[:60]]
    assert sum(one == captions(scene) for one, scene in zip(other, scenes(), strict=False)) < 5


def test_another_process_with_another_hash_seed_says_the_same():
    code = "from regard.scenes import *; print([one.text for one in captions(sample(5, things=3))])"
    came = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True
    )
    assert came.stdout.strip() == str([one.text for one in captions(sample(5, things=3))]), came.stderr


def test_sizes_are_said_in_about_a_third_and_never_near_a_threshold():
    def sized(scale: float) -> list[str]:
        many = [captions(Scene((Item("cat", "red", 0.5, 0.9, scale),), seed=k)) for k in range(40)]
        return [word.text for each in many for caption in each for word in caption.words if word.part == "adjective"]

    for scale, word in ((0.2, "small"), (0.5, "large")):
        assert 40 < sized(scale).count(word) < 100  # of 200
    for scale in (0.277, 0.3, 0.323, 0.35, 0.387, 0.42, 0.453):
        assert {*sized(scale)} == {"red"}
    assert {*sized(0.275)} == {"red", "small"} and {*sized(0.455)} == {"red", "large"}


def test_a_scene_of_little_has_few_wordings_and_they_end():
    few = captions(Scene((Item("cat", "red", 0.5, 0.9),)), n=100)
    assert {caption.text for caption in few} == {
        "a red cat is standing on the grass",
        "a red cat stands on the grass",
        "there is a red cat standing on the grass",
        "on the grass a red cat is standing",
        "the cat is red and stands on the grass",
    }


def test_of_two_cats_none_is_the_cat_and_counts_leave_nothing_out():
    cats = Item("cat", "red", 0.2, 0.9, 0.3), Item("cat", "blue", 0.8, 0.85, 0.3)
    texts = {caption.text for caption in captions(Scene((*cats, Item("tree", "green", 0.5, 0.7, 0.4))), n=60)}
    assert not any("the cat" in text or "cats" in text for text in texts)
    assert "a red cat stands on the grass with a green tree" in texts
    assert "a blue cat is right of a red cat standing on the grass" in texts


def test_what_flies_is_over_the_ground_and_not_on_it():
    bird, tree = Item("bird", "red", 0.2, 0.9, 0.3, pose="flying"), Item("tree", "green", 0.7, 0.7, 0.4)
    texts = {caption.text for caption in captions(Scene((bird, tree), ground="sand"), n=60)}
    assert not any("are on the sand" in text for text in texts)
    assert "on the sand" not in " ".join(text for text in texts if not text.startswith("there is a green tree"))
    assert "there is a green tree on the sand and a red bird flies" in texts
    pair = Scene((bird, tree, replace(tree, x=0.4)), ground="sand")
    assert "there are two trees on the sand and a red bird flies" in {caption.text for caption in captions(pair, n=60)}
    assert "over the sand a red bird is flying left of a green tree" in texts


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: captions(sample(0), n=0), "at least 1; got 0"),
        (lambda: captions(Scene((Item("ball", "red", 0.5, 0.9),))), "there is none among the items"),
        (lambda: captions(Scene(())), "there is none among the items"),
    ],
)
def test_what_cannot_be_told_is_a_usage_error(wrong, says):
    with pytest.raises(UsageError, match=says):
        wrong()


# left and right


def swapped(text: str) -> str:
    other = {"left": "right", "right": "left"}
    return " ".join(other.get(word, word) for word in text.split())


def mirrored(scene: Scene) -> Scene:
    items = (replace(item, x=1 - item.x, mirrored=not item.mirrored, pose=swapped(item.pose)) for item in scene.items)
    return replace(scene, items=tuple(items), light=-scene.light)


def test_left_and_right_turn_into_each_other_in_the_mirror():
    sided = 0
    for scene, caption in told():
        other = mirrored(scene)
        assert not false_words(swapped(caption.text), other), caption.text
        if (
            swapped(caption.text) != caption.text
            and Counter(item.kind for item in scene.items).most_common(1)[0][1] < 2
        ):
            sided += 1
            wrong = false_words(caption.text, other)
            assert wrong and {*wrong} <= {"left", "right"}
    assert sided > 300


# what is judged


def marked(text: str, scene: Scene) -> str:
    """Each true word with its regions ("cat=0"), each false one with none ("cat="), a function word as it is."""
    return " ".join(
        word.text + ("" if word.true is None else "=" + ",".join(name.replace(" ", "_") for name in word.regions))
        for word in judge(text, scene)
    )


CAT = Scene(
    (
        Item("cat", "brown", 0.3, 0.8, 0.35, pose="raising its left paw", pattern="spotted"),
        Item("ball", "red", 0.75, 0.8, 0.2),
    )
)
BIRD = Scene(
    (
        Item("bird", "white", 0.5, 0.6, 0.3, pose="flying"),
        Item("tree", "green", 0.2, 0.7, 0.3),
        Item("tree", "orange", 0.8, 0.7, 0.5),
    ),
    ground="sand",
)
DOG = Scene(
    (
        Item("dog", "black", 0.5, 0.9 - 0.4 * top("box").y, 0.25, depth=0.9, pose="sitting"),
        Item("box", "red", 0.5, 0.9, 0.4),
    ),
    ground="snow",
)
CATS = Scene(
    (
        Item("cat", "brown", 0.2, 0.9, 0.25, pose="sitting"),
        Item("cat", "white", 0.8, 0.9, 0.25, pose="lying"),
        Item("car", "blue", 0.5, 0.7, 0.45),
    ),
    ground="street",
)
FISH = Scene(
    (Item("fish", "blue", 0.4, 0.8, 0.5, pose="swimming"), Item("fish", "blue", 0.8, 0.6, 0.2)), ground="water"
)


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (
            CAT,
            "a spotted=0 brown=0 cat=0 raises=0.left_front_leg its left=0.left_front_leg paw=0.left_front_leg "
            "on=0,background the grass=background left=0,1 of a red=1 ball=1",
        ),
        (
            CAT,
            "the striped= cat=0 is brown=0 and raises=0.left_front_leg its right= wing= in= the room= "
            "behind= a red= car=",
        ),
        (CAT, "a red=1 ball=1 is right=1,0 of a brown=0 cat=0 sitting= in front= of three= trees="),
        (CAT, "a brown=0 cat=0 left= of its left=0.left_front_leg paw=0.left_front_leg"),
        (CATS, "a cat= left= of a cat=0 left=0,1 of a white=1 cat=1"),
        (CAT, "two= balls=1 and one=0 cat=0 are on=0,background the grass=background"),
        (BIRD, "there are two=1,2 trees=1,2 on=1,2,background the sand=background and a white=0 bird=0 flies=0"),
        (BIRD, "a bird=0 flies=0 over=0,background the sand=background right=0,1 of a small= green=1 tree=1"),
        (BIRD, "a bird=0 left=0,2 of a large=2 orange=2 tree=2 is standing= on= the sand=background"),
        (BIRD, "three= green= trees=1,2 and a white= elephant="),
        (DOG, "a small=0 black=0 dog=0 sits=0 on=0,1 a red=1 box=1 in=1,background the snow=background"),
        (DOG, "a black=0 dog=0 sits=0 under= a red= moon= on= the table="),
        (CATS, "a white=1 cat=1 lies=1 right=1,0 of a brown=0 cat=0"),
        (CATS, "a white=1 cat=1 sits="),
        (CATS, "a white=1 cat=1 is left= of a brown=0 cat=0 sitting=0 over= the street=background"),
        (CATS, "two=0,1 cats=0,1 lie= on=0,1,background the street=background"),
        (FISH, "Two=0,1 blue=0,1 fish=0,1 swim=0,1 IN=0,1,background the water.=background"),
        (FISH, "a large=0 blue=0 fish=0 , swims=0 in=0,background the purple= water=background !"),
    ],
)
def test_hand_made_scenes_are_judged_as_solved_by_hand(scene, expected):
    text = " ".join(word.split("=")[0] for word in expected.split())
    assert marked(text, scene) == expected


SORTS = (tuple(COLOURS), PATTERNS, ("small", "medium", "large"), tuple(COUNTS), tuple(THIRD_PERSON), ("left", "right"))


def test_exactly_the_word_that_is_exchanged_becomes_false():
    """Adjectives, verbs, counts, left and right, each for all others of its sort, of which the facts bear out none."""
    tried = Counter()
    for scene, caption in told()[::2]:
        crowded = len({item.kind for item in scene.items}) < len(scene.items)
        words = caption.text.split()
        for place, word in enumerate(caption.words):
            if crowded and word.part != "count":
                continue  # of two cats "a black cat" may mean the other one
            for other in {other for sort in SORTS if word.text in sort for other in sort} - {word.text}:
                tried[word.part] += 1
                judged = judge(" ".join([*words[:place], other, *words[place + 1 :]]), scene)
                assert [at for at, each in enumerate(judged) if each.true is False] == [place], (other, caption.text)
    assert min(tried[part] for part in ("adjective", "verb", "count", "relation")) > 20


def test_an_animal_that_is_not_there_takes_what_is_said_of_it_with_it():
    for scene, caption in told()[::7]:
        absent = next(kind for kind in ANIMALS if all(item.kind != kind for item in scene.items))
        text = " ".join(absent if word == scene.items[0].kind else word for word in caption.text.split())
        for word, judged in zip(caption.words, judge(text, scene), strict=True):
            if word.regions == ("0",) and sum(item.kind == scene.items[0].kind for item in scene.items) == 1:
                assert judged.true is False, text


def test_of_two_that_fit_the_sentence_means_the_one_of_which_most_is_true():
    """Two cats and two trees: no single choice makes the relation true, both together do."""
    cats = Item("cat", "red", 0.9, 0.9, 0.15), Item("cat", "red", 0.3, 0.9, 0.15)
    trees = Item("tree", "green", 0.1, 0.6, 0.15), Item("tree", "green", 0.6, 0.6, 0.15)
    scene = Scene((*cats, *trees))
    assert marked("a red cat is left of a green tree", scene) == "a red=1 cat=1 is left=1,3 of a green=3 tree=3"


def test_what_is_brought_up_twice_must_be_there_twice():
    twice = marked("a brown cat with a red ball and a red ball", CAT)
    assert twice == "a brown=0 cat=0 with a red=1 ball=1 and a red= ball="
    assert marked("a red ball and the ball is red", CAT) == "a red=1 ball=1 and the ball=1 is red=1"
    assert false_words("a bird with a green tree and an orange tree", BIRD) == []
    assert false_words("a bird with a green tree and a green tree", BIRD) == ["green"]
    assert false_words("a bird with two trees and a green tree", BIRD) == []
    assert marked("a cat and a cat and a cat", CATS) == "a cat=0 and a cat=1 and a cat="


@given(st.lists(st.sampled_from([*LEXICON, "moon", "", ".", "of", "its", "left"]), max_size=24), st.integers(0, 299))
@settings(max_examples=150, deadline=None)
def test_any_words_in_any_order_are_judged(words, number):
    scene = scenes()[number]
    judged = judge(" ".join(words), scene)
    assert [word.text for word in judged] == " ".join(words).split()
    regions = {"background", *scene.names, *map(str, range(len(scene.items)))}
    for word in judged:
        assert bool(word.regions) == bool(word.true) and {*word.regions} <= regions
        assert word.true is not None or word.part == "other"
        assert word.true is False or word.text != "moon"
    assert judge(" ".join(words), Scene(())) is not None


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_judged(text):
    assert [word.text for word in judge(text, CAT)] == text.split()


def test_babble_about_a_crowd_does_not_take_for_ever():
    crowd = Scene(tuple(Item("cat", "red", 0.1 * k, 0.9, 0.1) for k in range(9)))
    assert len(judge("a cat left of a cat and " * 12, crowd)) == 84


# the folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scenes(16, tmp_path_factory.mktemp("told") / "scenes", seed=3, size=32, val=0.5)


def test_the_folder_has_five_true_wordings_for_each_picture(folder):
    stored = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    scenes_by_name = dict(read_scenes(folder))
    files = {image["id"]: image["file_name"] for image in stored["images"]}
    assert [*files.values()] == [*scenes_by_name] and all((folder / name).is_file() for name in files.values())
    assert {image["split"] for image in stored["images"]} == {"train", "val"}
    assert [each["id"] for each in stored["annotations"]] == list(range(80))
    assert Counter(each["image_id"] for each in stored["annotations"]) == dict.fromkeys(files, 5)
    for each in stored["annotations"]:
        assert not false_words(each["caption"], scenes_by_name[files[each["image_id"]]])
        assert " ".join(text for text, _, _ in each["words"]) == each["caption"]


def test_the_captions_are_read_back_as_they_were_told(folder):
    read_back = dict(read_scene_captions(folder))
    assert read_back == {name: captions(scene) for name, scene in read_scenes(folder)} and len(read_back) == 16


def test_the_folder_is_read_by_its_table_and_its_captions_as_coco(folder):
    assert read(folder).layout == "index" and read(folder).classes == tuple(sorted(ANIMALS))
    coco = read(folder / "captions.json", labels=False)
    assert coco.names == read(folder).names and len(coco.part("val")) == 8
    assert all(len(picture.annotations) == 5 for picture in coco.pictures)


def test_equal_seeds_give_equal_bytes(folder, tmp_path):
    again, other = (write_scenes(16, tmp_path / str(seed), seed=seed, size=32, val=0.5) for seed in (3, 4))
    assert (again / "captions.json").read_bytes() == (folder / "captions.json").read_bytes()
    assert (other / "captions.json").read_bytes() != (folder / "captions.json").read_bytes()


def test_a_folder_without_captions_or_with_broken_ones_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no manifest\.json"):
        list(read_scene_captions(tmp_path))
    out = write_scenes(1, tmp_path / "out", size=16)
    file = out / "captions.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    del stored["annotations"][2]["words"]
    file.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(DataError, match=r"a caption of 'images/bird_00000\.png' is amiss \('words'\)"):
        list(read_scene_captions(out))
    file.unlink()
    with pytest.raises(DataError, match=r"without captions\.json; write the folder again"):
        list(read_scene_captions(out))
