"""Kinds of words, the file of judged words, and what a support model makes of checks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from regard.errors import DataError, UsageError
from regard.explanation.words.support.judged import JudgedWord, read_judged, write_judged
from regard.explanation.words.support.kinds import KINDS, kinds_of
from regard.explanation.words.support.model import SupportModel, SupportScore
from regard.records import Score, WordSupport


@pytest.mark.parametrize(
    ("words", "tags", "kinds"),
    [
        ("its LEFT paw", "PRP$ VBN NN", "other side noun"),
        ("a cat left of a dog", "DT NN VBD IN DT NN", "other noun relation other other noun"),
        ("he turned left", "PRP VBD RB", "other verb verb"),
        ("he left it", "PRP VBD PRP", "other verb other"),
        ("an orange cat", "DT JJ NN", "other colour noun"),
        ("an orange cat", "DT NN NN", "other colour noun"),
        ("an orange on a plate", "DT NN IN DT NN", "other noun relation other noun"),
        ("one bird flies over three fish .", "CD NN NNS IN CD NN None", "count noun verb relation count noun other"),
        ("a dog in front of it <end>", "DT NN IN NN IN PRP None", "other noun other relation other other other"),
        ("12 small dogs", "CD JJ NNS", "count adjective noun"),
        ("two grey cats are sitting", "None None None None None", "count colour noun other verb"),
    ],
)
def test_the_kind_of_a_word_is_by_its_tag_and_what_stands_beside_it(words: str, tags: str, kinds: str) -> None:
    listed = [None if tag == "None" else tag for tag in tags.split()]
    assert " ".join(kinds_of(words.split(), listed)) == kinds
    assert {*kinds.split()} <= {*KINDS}


def test_judged_words_come_back_from_their_file(tmp_path: Path) -> None:
    words = [
        JudgedWord("s1", 'a "cat", so', "noun", True, {"log_probability": -0.1 / 3, "glsim": math.nan}),
        JudgedWord("s2", "blau", "colour", False, {"concentration": 0.5}, "planted", "occluded", "ab12"),
    ]
    write_judged(tmp_path / "words.csv", words)
    first, second = read_judged(tmp_path / "words.csv")
    assert (first.unit, first.text, first.kind, first.right) == ("s1", 'a "cat", so', "noun", True)
    assert first.checks["log_probability"] == -0.1 / 3 and math.isnan(first.checks["glsim"])
    assert (second.errors, second.condition, second.network) == ("planted", "occluded", "ab12")
    assert not second.right and second.checks["concentration"] == 0.5
    assert [word.unit for word in read_judged(tmp_path / "words.csv")] == ["s1", "s2"]


def test_what_is_no_judged_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kind 'nouns' is none of a judged word"):
        JudgedWord("s", "cat", "nouns", True, {})
    (tmp_path / "other.csv").write_text("name,label\na.png,cat\n")
    with pytest.raises(DataError, match="no column condition, errors, kind, network, right, text, unit"):
        read_judged(tmp_path / "other.csv")
    write_judged(tmp_path / "words.csv", [JudgedWord("s", "cat", "noun", True, {})])
    (tmp_path / "words.csv").write_text((tmp_path / "words.csv").read_text().replace("noun", "thing"))
    with pytest.raises(DataError, match="of another regard: kind 'thing'"):
        read_judged(tmp_path / "words.csv")


def model_of(**changes: object) -> SupportModel:
    score = SupportScore(40, 20, 30, Score(0.9, 0.85, 0.95, 60), Score(0.02, 0.01, math.nan, 60))
    values = {
        "checks": ("log_probability", "glsim"),
        "centre": (-1.0, 0.5),
        "scale": (2.0, 0.25),
        "coefficients": {"all": (0.5, 1.0, 2.0), "noun": (-0.5, 0.0, 1.0)},
        "aligned": {},
        "measured": {"all": score},
        "planted": {},
        "networks": ("ab12",),
        "data": "drawn scenes",
        "version": "0",
    }
    return SupportModel(**{**values, **changes})  # type: ignore[arg-type]


def test_probabilities_solved_by_hand() -> None:
    checks = {"log_probability": [1.0, 1.0, np.nan, 1.0], "glsim": np.array([0.75, 0.75, 0.25, 9.0])}
    probabilities = model_of().probabilities(checks, ["noun", "verb", "noun", "noun"])
    logits = [-0.5 + 1.0, 0.5 + 1.0 + 2.0, -0.5 - 1.0, -0.5 + 4.0]  # of missing none, of 9 as far as 4 scales
    assert probabilities.dtype == np.float64
    assert probabilities == pytest.approx([1 / (1 + math.exp(-logit)) for logit in logits])
    assert np.isnan(model_of().probabilities({}, ["other"])[0])
    assert model_of().probabilities({}, ["noun"])[0] == pytest.approx(1 / (1 + math.exp(0.5)))
    assert model_of().probabilities({}, []).shape == (0,)


def test_a_model_comes_back_from_json() -> None:
    model = model_of()
    again = SupportModel.from_json(json.loads(json.dumps(model.as_json(), allow_nan=False)))
    assert again.as_json() == model.as_json() and again.coefficients == model.coefficients
    assert again.measured["all"].auroc == Score(0.9, 0.85, 0.95, 60)
    assert again.summary()["data"] == "drawn scenes"


def test_a_doubtful_word_is_below_one_half() -> None:
    assert WordSupport(0.49, "noun").is_doubtful and not WordSupport(0.5, "noun").is_doubtful
