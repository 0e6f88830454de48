"""What is claimed of words, by hand: which words, where their maps lie, what is elsewhere, and what follows."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from regard.audit.rules import Difference
from regard.audit.summary import Digests
from regard.audit.words import rules
from regard.audit.words.claims import claimed_words, noun_regions
from regard.audit.words.gathered import Gathered
from regard.audit.words.measure import elsewhere, touched
from regard.audit.words.summary import findings, verdicts
from regard.audit.words.support import fitted_support, judged_words
from regard.data.regions import Bools, Claim
from regard.measurement.localisation.measures import Cover
from regard.records import Heatmap, PatchGrid, Word
from regard.records.audits.words import PLANTED

LEFT = [[1, 1], [0, 0]]  # of 2 × 2 patches: the upper row
DIGESTS = Digests("model", "data")
ABOUT = {"layer": 3, "head": None, "row": "predicting"}


def difference(low: float, high: float, n: int = 40, control: str = "centre", **of: tuple[float, float]) -> Difference:
    ends = {name: ((one + two) / 2, one, two) for name, (one, two) in of.items()}
    value = (low + high) / 2
    return Difference(value, low, high, n, control, "", {control: (value, low, high), **ends})


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (difference(0.01, 0.3), "supported"),
        (difference(0.01, 0.3, n=9), "not decidable"),
        (difference(-0.01, 0.3), "not decidable"),
        (difference(-0.3, 0.04), "no better than a control"),
        (difference(-0.3, -0.1, random=(0.1, 0.2)), "no better than a control"),  # by the centre, but not by chance
        (difference(-0.3, -0.1, random=(-0.2, -0.1)), "contradicted"),
        (difference(-0.3, 0.04, random=(-0.2, -0.1)), "contradicted"),
    ],
)
def test_words_look_where_it_is_claimed_if_more_than_by_each_control(given: Difference, status: str) -> None:
    assert rules.looks(given, rules.MAP).status == status


def test_a_word_that_loses_less_without_its_region_contradicts() -> None:
    assert rules.looks(difference(-0.4, -0.2, control="elsewhere"), rules.REMOVAL).status == "contradicted"
    assert rules.looks(difference(-0.4, 0.09, control="elsewhere"), rules.REMOVAL).status == "no better than a control"


@pytest.mark.parametrize(
    ("given", "nouns", "status"),
    [  # of intervals the margin is taken off
        (difference(0.01, 0.2), "supported", "contradicted"),
        (difference(-0.2, -0.01), "supported", "supported"),
        (difference(-0.2, -0.01), "not decidable", "no better than a control"),
        (difference(-0.2, -0.01), "", "no better than a control"),
        (difference(-0.2, 0.01), "supported", "not decidable"),
    ],
)
def test_other_words_look_anywhere_if_nouns_do_not(given: Difference, nouns: str, status: str) -> None:
    assert rules.looks_nowhere(given, rules.NEARNESS, nouns).status == status


@pytest.mark.parametrize(
    ("given", "content", "status"),
    [  # of what the picture adds, taken off the margin
        (difference(0.01, 0.1, control="none"), difference(0.5, 2.0), "supported"),
        (difference(0.01, 0.1, control="none"), difference(-0.5, 2.0), "no better than a control"),
        (difference(-3.0, -0.5, control="none"), difference(0.5, 2.0), "contradicted"),
        (difference(-0.1, 0.05, control="none"), difference(0.5, 2.0), "not decidable"),
    ],
)
def test_other_words_follow_from_those_before_if_the_picture_adds_nothing(
    given: Difference, content: Difference, status: str
) -> None:
    assert rules.follows(given, content).status == status


class _Picture:
    """A picture whose cat (right) and dog (wrong, said of the cat) are the upper half."""

    objects = ("cat",)

    def mask(self, names: Any, size: Any = None) -> Bools:
        raise AssertionError("no claim needs a mask")

    def claims(self, words: Any) -> Iterator[Claim]:
        for place, (text, _) in enumerate(words):
            part = {"cat": "noun", "grey": "adjective", "two": "count", "sits": "verb"}.get(text)
            if part is not None:
                yield Claim(place, part, text != "grey", ("cat",))


def test_words_that_claim_nothing_are_claimed_to_look_anywhere_and_counts_are_in_no_claim() -> None:
    grid = PatchGrid.whole(1, 1)
    words = ["<start>", "two", "grey", "cat", "sits", "with", "a", "hydrant", ".", "<end>"]
    tags = [None, "CD", "JJ", "NN", "VBZ", "IN", "DT", "NN", None, None]
    blank = Heatmap(np.ones((1, 1), np.float32), grid, "a.png")
    claimed = claimed_words([Word(text, 1.0, blank, tag) for text, tag in zip(words, tags, strict=True)], _Picture())
    assert {word.text: (word.place, word.claim, word.right) for word in claimed} == {
        "two": (1, "", True),
        "grey": (2, "adjectives", False),
        "cat": (3, "nouns", True),
        "sits": (4, "verbs", True),
        "with": (5, "anywhere", None),
        "a": (6, "anywhere", None),
        "hydrant": (7, "", None),
    }
    assert noun_regions(claimed) == (("cat",),)


def test_a_region_is_taken_out_with_a_tenth_of_a_patch_and_its_like_lies_where_it_does_not() -> None:
    area = np.full((2, 3), 10)
    assert touched(Cover(area, np.array([[10, 1, 0], [0, 0, 0]]))).tolist() == [[True, True, False], [False] * 3]
    assert touched(Cover(np.full((1, 2), 100), np.array([[4, 3]]))).tolist() == [[True, False]]
    patches = np.array([[True, True, False, False], [False] * 4])
    others = elsewhere(patches, 3, np.random.default_rng(0))
    assert others is not None and len(others) == 3
    assert all(each.sum() == 2 and not (each & patches).any() for each in others)
    most = np.array([[True, True], [True, False]])
    assert elsewhere(most, 1, np.random.default_rng(0)) is None


@dataclass(frozen=True)
class Said:
    """A word of a made-up caption: its map on 2 × 2 patches, and what it loses without the upper row."""

    text: str
    kind: str
    claim: str
    values: Any
    right: bool | None = None
    fall: float = 0.0
    gain: float = 0.0
    check: float = 0.0


def gathered(captions: list[list[Said]]) -> Gathered:
    """Captions of pictures whose object is the upper row."""
    lines = []
    maps = b""
    for number, words in enumerate(captions):
        entries = []
        for place, word in enumerate(words):
            numbers = {"fall": word.fall, "fall:elsewhere": 0.0, "log_probability": word.check}
            numbers |= {"gain_over_another": word.gain, "gain_over_none": word.gain}
            about = {"place": place, "text": word.text, "kind": word.kind, "claim": word.claim, "right": word.right}
            region = None if word.claim == "anywhere" else 0
            entries.append({**about, "ground": False, "region": region, "animal": None, "numbers": numbers})
            maps += np.array(word.values, np.float32).tobytes()
        name = f"{number}.png"
        inside = [(np.array(LEFT) * 10).ravel().tolist()]
        shape = {"grid": [2, 2], "area": [10] * 4, "inside": inside, "nouns": [0], "maps": len(words)}
        lines.append({"index": number, "unit": name, "picture": name, "words": entries, **shape})
    return Gathered.of([*lines, {"index": 99, "unknown": True}], io.BytesIO(maps), seed=0)


def test_where_maps_lie_is_solved_by_hand() -> None:
    words = gathered([
        [Said("cat", "noun", "nouns", [[3, 3], [1, 1]], True), Said("a", "other", "anywhere", [[1, 1], [1, 1]])],
        [Said("dog", "noun", "nouns", [[1, 1], [1, 1]], False), Said("a", "other", "anywhere", [[0, 4], [0, 0]])],
    ])  # fmt: skip
    assert words.unknown == 1 and words.captions == 2
    maps = {name: values.round(6).tolist() for name, values in words.maps.items()}
    assert maps["map_share"][::2] == [0.75, 0.5]
    assert maps["map_share:random"][::2] == [0.5, 0.5]
    assert maps["map_share:shuffled"][::2] == [0.5, 0.75]  # each has the other's map
    assert maps["map_share:sentence"][::2] == [0.5, 1.0]  # the map of "a" beside it
    assert maps["map_pointing"][::2] == [1.0, 0.5]
    assert maps["map_nearness"] == [0.25, 0.0, 0.0, 0.5]  # of the area the object is a half
    assert maps["map_nearness:random"] == [0.0] * 4
    assert np.isnan(maps["map_share"][1])


def test_a_map_that_is_even_over_the_animal_is_one_of_patches() -> None:
    word = {"place": 0, "text": "raises", "kind": "verb", "claim": "verbs", "right": True, "ground": False}
    inside = [[2, 0, 0, 0], [2, 8, 0, 0]]  # of 10 pixels a patch: the paw, and the animal, that is in two patches
    line = {"unit": "a", "picture": "a", "grid": [2, 2], "area": [10] * 4, "inside": inside, "nouns": [], "maps": 1}
    entry = {**line, "words": [{**word, "region": 0, "animal": 1, "numbers": {}}]}
    words = Gathered.of([entry], io.BytesIO(np.ones(4, np.float32).tobytes()), seed=0)
    assert words.maps["map_share:animal"].tolist() == pytest.approx([0.2 * 2 / (0.2 * 10 + 0.8 * 10)])
    assert words.maps["map_share:random"].tolist() == pytest.approx([2 / 40])


def noisy(number: int) -> Any:
    """Some weight on any patch, so that pictures differ."""
    return np.random.default_rng(number).uniform(0, 0.4, (2, 2)) + np.array([[0.0, 0.0], [1.0, 1.0]]) * 0.02


def caption(number: int, on: float, off: float, fall: float, gain: float = 0.0) -> list[Said]:
    base = noisy(number)
    noun = base + np.array([[on, on], [off, off]])
    jitter = float(np.random.default_rng(number + 1000).uniform(-0.03, 0.03))
    return [
        Said("a", "other", "anywhere", 1 + noisy(number + 500), gain=gain + jitter),
        Said("cat", "noun", "nouns", noun, True, fall + jitter, gain=2.0 - jitter),
    ]


@pytest.mark.parametrize(
    ("on", "off", "fall", "by_map", "by_removal"),
    [
        (3.0, 0.0, 1.5, "supported", "supported"),
        (0.0, 3.0, -1.5, "contradicted", "contradicted"),
        (1.0, 1.0, 0.0, "no better than a control", "no better than a control"),
    ],
)
def test_planted_looks_have_their_verdicts(on: float, off: float, fall: float, by_map: str, by_removal: str) -> None:
    captions = [caption(number, on, off, fall) for number in range(24)]
    for number in range(0, 24, 2):  # such a word elsewhere has its map elsewhere
        captions[number][1] = Said("cat", "noun", "nouns", np.flip(captions[number][1].values, 0), None)
    words = gathered(captions)
    asked = [each for each in verdicts(words, "cross_attention", ABOUT, DIGESTS, 0) if each.method not in PLANTED]
    made = {tuple(each.settings[name] for name in ("claim", "words", "by")): each for each in asked}
    assert made["nouns", "right", "map"].status == by_map
    assert made["nouns", "right", "removal"].status == by_removal
    assert made["nouns", "right", "removal"].value == pytest.approx(fall, abs=0.05)
    assert made["nouns", "right", "map"].settings["layer"] == 3


def test_other_words_are_told_from_nouns_by_what_the_picture_adds() -> None:
    by = {}
    for gain in (0.0, 3.0):
        words = gathered([caption(number, 3.0, 0.0, 1.5, gain) for number in range(24)])
        of_words = verdicts(words, "cross_attention", ABOUT, DIGESTS, 0)
        (by[gain],) = (each for each in of_words if each.settings["claim"] == "words_before")
        planted = [each.status for each in of_words if each.method in PLANTED]
        assert len(planted) == 3 and "supported" not in planted
        numbers = {(each.measure, each.condition): each.score.value for each in findings(words)
                   if each.part == "words_before"}  # fmt: skip
        assert numbers["gain_over_none", ""] == pytest.approx(gain, abs=0.05)
        assert numbers["follows", ""] == (1.0 if gain == 0 else 0.0)
        assert numbers["gain_over_none", "over content words"] == pytest.approx(gain - 2.0, abs=0.05)
    assert by[0.0].status == "supported" and by[3.0].status == "contradicted"
    assert by[3.0].value == pytest.approx(3.0, abs=0.05) and by[3.0].low < by[3.0].value < by[3.0].high


def test_a_support_model_is_fitted_to_words_whose_truth_is_known_where_enough_are_wrong() -> None:
    chance = np.random.default_rng(0)
    captions = []
    for number in range(60):
        right = number % 2 == 0
        check = float(chance.normal(0 if right else -3, 0.5))
        captions.append([Said("cat", "noun", "nouns", noisy(number), right, check=check),
                         Said("a", "other", "anywhere", noisy(number))])  # fmt: skip
    words = gathered(captions)
    assert {word.kind for word in judged_words(words, "hash")} == {"noun"}
    support, why = fitted_support(words, "hash", "60 captions of made up")
    assert why == "" and support is not None
    assert support["networks"] == ["hash"] and support["measured"]["noun"]["auroc"]["value"] > 0.95
    few, why = fitted_support(gathered(captions[:10]), "hash", "10 captions")
    assert few is None and "5 wrong ones" in why
