"""Parts of speech by the taggers themselves, by taggers of our own, and without any."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from regard.explanation.words.alignment import read_words
from regard.explanation.words.tagging import PENN, parts_of_speech
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import Pieces
from regard.records import PatchGrid

TAGGERS = ("HanTa", "HanTa.HanoverTagger", "textblob", "textblob.en", "textblob.en.taggers")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No tagger is installed."""
    for name in TAGGERS:
        monkeypatch.setitem(sys.modules, name, None)
    return monkeypatch


def offer(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    """A module of this name, with all above it."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), ModuleType(parts[depth - 1]))
    module = ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


class Shouting:
    """textblob's kind: names each word in capitals."""

    def tag(self, text: str, tokenize: bool) -> list[tuple[str, str]]:
        assert not tokenize
        return [(word, word.upper()) for word in text.split(" ")]


class Hanover:
    """HanTa's kind: a noun is what ends in t, all else is a verb."""

    def __init__(self, file: str) -> None:
        assert file == "morphmodel_en.pgz"

    def tag_sent(self, words: list[str]) -> list[tuple[str, str, str]]:
        return [(word, word, "NN1" if word.endswith("t") else "VVZ") for word in words]


def test_there_are_none_without_a_tagger(without: pytest.MonkeyPatch) -> None:
    assert parts_of_speech(["a", "cat"]) == [None, None]


def test_what_has_no_letters_gets_no_tag_and_moves_none(without: pytest.MonkeyPatch) -> None:
    offer(without, "textblob.en.taggers", PatternTagger=Shouting)
    assert parts_of_speech(["a", ",", "cat", "", "naps"]) == ["A", None, "CAT", None, "NAPS"]
    assert parts_of_speech([]) == [] and parts_of_speech(["", "."]) == [None, None]
    assert parts_of_speech(["New York", "naps"]) == ["NEW_YORK", "NAPS"]
    decoding = Decoding(
        (0, 1, 2), torch.zeros(3), torch.zeros(3, 0), torch.zeros(3, 0), torch.ones(1, 1, 4, 1, 2), True
    )
    pieces = Pieces(("a", "cat", "[SEP]"), "wordpiece", (False, False, True))
    said = read_words(decoding, pieces, PatchGrid.whole(1, 2, 0, (20, 40)), "a.png")
    assert [(word.text, word.part_of_speech) for word in said] == [("a", "A"), ("cat", "CAT"), ("<end>", None)]


def test_a_foreign_word_is_no_noun(without: pytest.MonkeyPatch) -> None:
    """textblob's own takes every word that it does not know for a noun."""
    offer(without, "textblob.en.taggers", PatternTagger=Shouting)
    assert parts_of_speech(["猫", "睡", "кот", "😺", "3", "café", "y"]) == ["FW", "FW", "FW", None, "3", "CAFÉ", "Y"]


def test_a_word_has_the_tag_of_what_stands_before_its_ending(without: pytest.MonkeyPatch) -> None:
    offer(without, "textblob.en.taggers", PatternTagger=Shouting)
    words = ["dog's", "don't", "they’ll", "'s", "rock'n'roll", "naps"]
    assert parts_of_speech(words) == ["DOG", "DO", "THEY", "'S", "ROCK'N'ROLL", "NAPS"]


def test_a_tagger_that_counts_otherwise_tags_nothing(without: pytest.MonkeyPatch) -> None:
    class Splitting(Shouting):
        def tag(self, text: str, tokenize: bool) -> list[tuple[str, str]]:
            return super().tag(f"{text} more", tokenize)

    offer(without, "textblob.en.taggers", PatternTagger=Splitting)
    assert parts_of_speech(["a", "cat"]) == [None, None]


def test_hanta_comes_first_and_its_tags_are_translated(without: pytest.MonkeyPatch) -> None:
    offer(without, "textblob.en.taggers", PatternTagger=Shouting)
    offer(without, "HanTa.HanoverTagger", HanoverTagger=Hanover)
    assert parts_of_speech(["cat", ",", "naps"]) == ["NN", None, "VBZ"]


def test_hanta_itself_sees_the_whole_sentence() -> None:
    """ "left" is an adjective beside a paw, a noun or verb elsewhere: what textblob cannot tell."""
    pytest.importorskip("HanTa")
    words = ["a", "cat", "raises", "its", "left", "paw", "."]
    assert parts_of_speech(words) == ["DT", "NN", "VBZ", "PRP$", "JJ", "NN", None]
    words = ["two", "dogs'", "toys", "and", "the", "girl's", "hat", "aren't", "big"]
    found = dict(zip(words, parts_of_speech(words), strict=True))
    assert (found["two"], found["toys"], found["girl's"], found["hat"], found["big"]) == ("CD", "NNS", "NN", "NN", "JJ")
    assert parts_of_speech(["猫", "я", "😺", "_"]) == ["FW", "FW", None, None]


def test_every_tag_of_hanta_is_known() -> None:
    tagger = pytest.importorskip("HanTa.HanoverTagger").HanoverTagger("morphmodel_en.pgz")
    tags = {tagger.int2tag[-number] for number in tagger.int2tag if number < 0 and -number in tagger.int2tag}
    assert {tag for tag in tags if tag not in PENN} <= {"!!!", "PUN", "PUL", "PUR", "PUQ", "UNKNOWN", "EMPTY", "END"}
    assert {"NN1", "VVZ", "AJ0"} <= tags


@pytest.mark.filterwarnings("ignore")  # textblob leaves its lexicon's file open
def test_textblob_itself_tags_nouns_and_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textblob")
    monkeypatch.setitem(sys.modules, "HanTa.HanoverTagger", None)
    monkeypatch.setitem(sys.modules, "HanTa", None)
    assert parts_of_speech(["a", "small", "cat", "sleeps", "."]) == ["DT", "JJ", "NN", "VBZ", None]
