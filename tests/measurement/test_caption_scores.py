"""Scores of captions: by hand, from the papers' formulas, and as pycocoevalcap's own numbers for a corpus."""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from regard.errors import DataError, UsageError
from regard.measurement import METRICS
from regard.measurement.captions.captioned import Captioned, tokens
from regard.measurement.captions.scores import bleu_1, caption_scores, cider, exact, rouge_l
from regard.measurement.intervals import Jackknife, share, unskewed
from regard.records import Score

COCO = [row.name for row in METRICS if "pycocoevalcap" in row.needs]
WORDS = ("a", "cat", "dog", "red", "small", "runs", "sleeps", "on", "the", "grass")


def sentence(generator: np.random.Generator) -> str:
    return " ".join(generator.choice(WORDS, generator.integers(2, 9)))


def corpus(count: int, seed: int = 0) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions that are like their references in part: some words of one of them are exchanged."""
    generator = np.random.default_rng(seed)
    references = {f"{k}.png": [sentence(generator) for _ in range(generator.integers(1, 5))] for k in range(count)}
    said = {}
    for name, texts in references.items():
        words = texts[0].split()
        words[generator.integers(len(words))] = str(generator.choice(WORDS))
        said[name] = " ".join(words)
    return said, references


def of(said: str, *references: str) -> Captioned:
    return Captioned.of({"a.png": said}, {"a.png": references})


def values(scores: Mapping[str, Score]) -> list[float]:
    return [score.value for score in scores.values()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog DOESN'T run.", ["a", "man", "'s", "dog", "does", "n't", "run"]),
        ("Black-and-white cat - two of 3.5, or 1,000!", ["black-and-white", "cat", "two", "of", "3.5", "or", "1,000"]),
        ("\"a (red) o’clock\"; the dogs' bowl: '80s...", ["a", "red", "o'clock", "the", "dogs", "bowl", "80s"]),
        ("été\u0301 e\u0301te\u0301 हिन्दी", ["été\u0301", "été", "हिन्दी"]),
        ("the cat,dog", ["the", "cat", "dog"]),
        (" ... ", []),
    ],
)
def test_words_are_split_as_written_down(text: str, words: list[str]) -> None:
    assert tokens(text) == words
    assert tokens(" ".join(words)) == words


def test_bleu_by_hand() -> None:
    """All 3 words and both pairs are there, but 3 words stand against 4; of `the the the` one is there."""
    said = {"a": "The cat sat.", "b": "the the the"}
    references = {"a": ["the cat sat down"], "b": ["the cat", "a dog runs fast here"]}
    first = caption_scores({"a": said["a"]}, references)
    assert [first[f"bleu_{n}"].value for n in (1, 2, 3)] == pytest.approx([math.exp(1 - 4 / 3)] * 3)
    assert first["bleu_4"].value < 0.03  # no four words in a row were said: 1e-15 of 1e-9, and its fourth root
    both = caption_scores(said, references)
    short = math.exp(1 - 6 / 6)  # 3 + 3 words said, 4 + 2 in the closest references
    assert both["bleu_1"].value == pytest.approx(short * 4 / 6)
    assert both["bleu_2"].value == pytest.approx(short * math.sqrt(4 / 6 * 2 / 4))
    assert both["bleu_1"].n == 2


def test_of_references_equally_close_bleu_takes_the_shorter() -> None:
    assert bleu_1(of("a b c", "a b c x", "a b")).value == pytest.approx(1)
    assert bleu_1(of("a b c", "a b c x", "a")).value == pytest.approx(math.exp(1 - 4 / 3))


def test_rouge_by_hand() -> None:
    """`a c d` is common: precision 3/4 and recall 3/5; the second reference has the better recall, 2/2."""
    assert rouge_l(of("a b c d", "a c d e f")).value == pytest.approx(2.44 * 0.75 * 0.6 / (0.6 + 1.44 * 0.75))
    assert rouge_l(of("a b c d", "a c d e f", "b d")).value == pytest.approx(2.44 * 0.75 * 1 / (1 + 1.44 * 0.75))
    assert rouge_l(of("x", "a b")).value == 0


def test_cider_by_hand() -> None:
    """Every word is in one of two pictures: words and pairs agree fully, there are no three in a row: 2/4 of 10."""
    references = {"a": ["red cat"], "b": ["blue dog"]}
    right = Captioned.of({"a": "red cat", "b": "blue dog"}, references)
    half = Captioned.of({"a": "red cat", "b": "red cat"}, references)
    assert (cider(right).value, cider(half).value) == (pytest.approx(5), pytest.approx(2.5))


def grams(text: str) -> Counter[tuple[str, ...]]:
    words = text.split()
    return Counter(tuple(words[at : at + n]) for n in range(1, 5) for at in range(len(words) - n + 1))


def twin_of_cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D, a picture and an n at a time; lengths are in pairs of words, as the authors' code counts them."""
    frequency = Counter(gram for texts in references for gram in set().union(*map(grams, texts)))

    def weights(text: str, n: int) -> dict[tuple[str, ...], float]:
        rare = math.log(len(references))
        return {g: k * (rare - math.log(max(1, frequency[g]))) for g, k in grams(text).items() if len(g) == n}

    total = 0.0
    for text, texts in zip(said, references, strict=True):
        for other in texts:
            for n in range(1, 5):
                one, two = weights(text, n), weights(other, n)
                norms = math.sqrt(sum(v * v for v in one.values())) * math.sqrt(sum(v * v for v in two.values()))
                alike = sum(min(v, two.get(g, 0.0)) * two.get(g, 0.0) for g, v in one.items()) / norms if norms else 0
                apart = max(len(text.split()) - 1, 0) - max(len(other.split()) - 1, 0)
                total += 10 / 4 / len(texts) * alike * math.exp(-(apart**2) / (2 * 6.0**2))
    return total / len(said)


def test_cider_is_the_formula() -> None:
    captioned = Captioned.of(*corpus(12))
    found = cider(captioned).value
    assert 0.5 < found < 10
    assert found == pytest.approx(twin_of_cider(captioned.captions, captioned.references), rel=1e-12)


def test_the_numbers_are_those_of_pycocoevalcap() -> None:
    said, references = corpus(30)
    scores = caption_scores(said, references, resamples=50)
    given = {name: [text] for name, text in said.items()}
    whole = [*Bleu(4).compute_score(references, given, verbose=0)[0]]
    whole += [scorer.compute_score(references, given)[0] for scorer in (Rouge(), Cider())]
    assert list(scores) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider", "exact"]
    assert values(scores)[:6] == pytest.approx(whole, rel=1e-9)
    assert min(whole) > 0.1
    assert {score.n for score in scores.values()} == {30}
    assert all(score.low <= score.value <= score.high for score in scores.values())
    assert all(score.low < score.high for score in scores.values())


def test_the_interval_of_bleu_is_of_corpora_that_lack_a_picture() -> None:
    """Each picture left out in turn, and the rest scored anew by pycocoevalcap."""
    said, references = corpus(9, seed=2)
    lacking = []
    for left_out in said:
        pair = [{k: v for k, v in each.items() if k != left_out} for each in (references, {k: [said[k]] for k in said})]
        lacking.append(Bleu(4).compute_score(*pair, verbose=0)[0])
    scores = caption_scores(said, references)
    for n in range(4):
        found = scores[f"bleu_{n + 1}"]
        without = np.array([each[n] for each in lacking])
        expected = unskewed(Jackknife(found.value, 8 * (without.mean() - without), 9), 9)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-5)
        assert found.high - found.low > 0.02


@pytest.mark.parametrize("name", ["bleu_4", "rouge_l", "cider"])
def test_whole_groups_are_drawn(name: str) -> None:
    """Ten copies of each picture tell no more than one: by group the interval stays as wide as that of the few."""
    said, references = corpus(8, seed=3)
    copies = {f"{name}/{k}": name for name in said for k in range(10)}
    many = (
        {copy: said[name] for copy, name in copies.items()},
        {copy: references[name] for copy, name in copies.items()},
    )
    single, grouped, blind = (
        METRICS.load(name)(Captioned.of(*each), seed=1) for each in ((said, references), (*many, copies), many)
    )
    wide = [score.high - score.low for score in (single, grouped, blind)]
    assert wide[1] > 2 * wide[2] > 0
    if name != "cider":  # whose rarities are of pictures
        assert (grouped.value, grouped.low, grouped.high) == pytest.approx(
            (single.value, single.low, single.high), abs=1e-4
        )


def test_exact_is_of_words_and_keeps_groups() -> None:
    said = {"a": "A cat.", "b": "a dog", "c": "the cat", "d": ""}
    references = {"a": ["dogs", "a cat"], "b": ["a dog runs"], "c": ["The cat!"], "d": ["a"]}
    groups = {"a": "x", "b": "x", "c": "y", "d": "y"}
    hits = np.array([True, False, True, False])
    assert exact(Captioned.of(said, references)) == share(hits)
    assert exact(Captioned.of(said, references, groups)) == share(hits, np.array(["x", "x", "y", "y"]))


def test_perfect_captions_and_empty_ones() -> None:
    _, references = corpus(6)
    perfect = caption_scores({name: texts[0] for name, texts in references.items()}, references)
    assert values(perfect)[:5] == pytest.approx([1] * 5, rel=1e-6)
    assert perfect["exact"].value == perfect["exact"].high == perfect["rouge_l"].high == 1
    assert perfect["exact"].low == perfect["rouge_l"].low < 0.7  # six pictures say no more
    assert perfect["bleu_4"].low == pytest.approx(perfect["exact"].low, abs=1e-6)
    silent = caption_scores(dict.fromkeys(references, "..."), references)
    assert values(silent) == pytest.approx([0] * 7, abs=1e-9)


def test_cider_of_one_picture_is_not_defined() -> None:
    score = cider(of("a cat", "a cat"))
    assert math.isnan(score.value)
    assert str(score) == "\N{EN DASH} (it needs two pictures or more)"
    assert score.as_json() == {"value": None, "low": None, "high": None, "note": "it needs two pictures or more"}


def test_only_what_was_captioned_counts() -> None:
    said, references = corpus(5)
    assert caption_scores(said, {**references, "else.png": ["a cat"]}) == caption_scores(said, references)


@pytest.mark.parametrize(
    ("said", "references", "groups", "message"),
    [
        ({}, {}, None, "there are no captions to be scored; give one for each picture"),
        ({"a": "x", "b": "x"}, {"a": ["x"]}, None, r"1 picture \('b'\) is without a reference; give each"),
        ({"a": "x", "b": "x"}, {"a": [], "b": []}, None, r"2 pictures \('a', 'b'\) are without a reference"),
        ({"a": "x"}, {"a": ["x"]}, {}, r"1 picture \('a'\) is without a group"),
    ],
)
def test_what_is_missing_is_named(said: dict, references: dict, groups: dict | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        caption_scores(said, references, groups=groups)


def test_without_pycocoevalcap_only_exact_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("bleu.bleu_scorer", "rouge.rouge", "cider.cider_scorer"):
        monkeypatch.setitem(sys.modules, f"pycocoevalcap.{module}", None)
    captioned = Captioned.of({"a": "a cat", "b": "x"}, {"a": ["a cat"], "b": ["y"]})
    assert exact(captioned).value == 0.5
    for name in COCO:
        with pytest.raises(UsageError, match=r"pip install 'regard\[captions\]'") as error:
            METRICS.load(name)(captioned)
        assert "\n" not in str(error.value)


def test_nothing_of_java_is_touched() -> None:
    caption_scores(*corpus(3), resamples=5)
    assert not [
        name for name in sys.modules if name.startswith("pycocoevalcap") and ("spice" in name or "meteor" in name)
    ]
