"""How much of what is said of drawn scenes is true: counted by hand."""

import pytest

from regard.errors import DataError
from regard.measurement.captions.scores import caption_scores
from regard.records import Score
from regard.scenes import Item, Scene

CAT = Scene((Item("cat", "red", 0.5, 0.9, pose="sitting"),), ground="snow")
DOGS = Scene(
    (Item("dog", "blue", 0.25, 0.9), Item("dog", "green", 0.75, 0.8)),
    ground="grass",
)


def true_words(captions: dict[str, str], scenes: dict[str, Scene]) -> dict[str, Score]:
    scores = caption_scores(captions, {name: ["a cat"] for name in captions}, scenes=scenes, coco=False)
    return {name: score for name, score in scores.items() if name != "exact"}


def test_content_words_are_counted_over_all_pictures() -> None:
    """Of the cat all five: red, cat, sits, in, snow. Of the dogs, which stand on grass, none: two, cats, in, snow."""
    found = true_words({"one": "a red cat sits in the snow", "two": "two cats in the snow"}, {"one": CAT, "two": DOGS})
    values = {name: score.value for name, score in found.items()}
    assert values == {
        "true_words": 5 / 9,
        "true_noun": 2 / 4,
        "true_adjective": 1,
        "true_verb": 1,
        "true_relation": 1 / 2,
        "true_count": 0,
    }
    assert all(score.n == 2 and 0 <= score.low <= score.value <= score.high <= 1 for score in found.values())


def test_all_true_and_an_unknown_word() -> None:
    assert true_words({"one": "a red cat sits"}, {"one": CAT})["true_words"].value == 1
    assert true_words({"one": "a red cat sits zealously"}, {"one": CAT})["true_words"].value == 3 / 4


def test_a_rare_part_of_speech_has_an_interval_without_nan() -> None:
    """Only one picture in ten has a count; half of the resamples have none or several, none is divided by zero."""
    said = {str(k): "a red cat sits" for k in range(9)} | {"9": "two dogs"}
    found = true_words(said, {**{str(k): CAT for k in range(9)}, "9": DOGS})
    assert (found["true_count"].value, found["true_count"].n) == (1, 10)


def test_a_picture_without_a_scene_is_named() -> None:
    with pytest.raises(DataError, match="no scene is known of 'other'"):
        true_words({"other": "a cat"}, {"one": CAT})
