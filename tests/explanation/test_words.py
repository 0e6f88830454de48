"""Words and their maps: pieces of three kinds of vocabularies, planted attention, the row rule, focus."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.errors import UsageError
from regard.explanation.words.alignment import read_words, source_panels, spans, word_maps
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.pieces import Pieces
from regard.records import PatchGrid
from regard.records.captions import focus

ROWS, COLUMNS = 3, 4
GRID = PatchGrid.whole(ROWS, COLUMNS)
WORDS = {
    "wordpiece": ("a", "cat", "un", "##believ", "##ably", "naps", "."),
    "bytes": ("a", "Ġcat", "Ġun", "believ", "ably", "Ġnaps", "."),
    "sentencepiece": ("▁a", "▁cat", "▁un", "believ", "ably", "▁naps", "."),
}
"""A word of three pieces in the middle of a sentence."""


def pieces(texts: tuple[str, ...], marks: str, special: tuple[str, ...] = ("[SEP]",)) -> Pieces:
    return Pieces(texts, marks, tuple(text in special for text in texts))


def split(marks: str, *texts: str) -> list[str]:
    found = spans(pieces(texts, marks))
    assert [place for span in found for place in range(span.start, span.stop)] == list(range(len(texts)))
    return [span.text for span in found]


def planted(count: int, finished: bool = True) -> Decoding:
    """Row i of layer 1, head 0 looks at patch i alone; the other layer and head at the last patch."""
    attention = torch.zeros(2, 2, count + 1, ROWS * COLUMNS)
    attention[..., -1] = 1
    attention[1, 0] = torch.eye(ROWS * COLUMNS)[: count + 1]
    logs = torch.arange(1, count + 1).float().neg() / 10
    none = torch.zeros(count, 0)
    whole = attention.unflatten(-1, (ROWS, COLUMNS))
    return Decoding(tuple(range(count)), logs, none.long(), none, whole, finished)


def only(decoding: Decoding, layer: int, head: int) -> Decoding:
    """The caption with the attention of one layer and head alone, as a captioner keeps it."""
    kept: Tensor = decoding.attention[layer : layer + 1, head : head + 1]  # type: ignore[index]
    return Decoding(decoding.tokens, *_noted(decoding), kept, decoding.finished)


def _noted(decoding: Decoding) -> tuple[Tensor, Tensor, Tensor]:
    return decoding.log_probabilities, decoding.alternatives, decoding.alternative_log_probabilities


def patches(values: np.ndarray) -> dict[int, float]:
    flat = values.ravel()
    return {int(place): round(float(flat[place]), 5) for place in np.flatnonzero(flat)}


@pytest.mark.parametrize("marks", WORDS)
def test_a_word_of_three_pieces_in_the_middle_moves_no_map(marks: str) -> None:
    """Slip by one: `naps` is the fourth word and the sixth piece; `.` and the end come after it."""
    said = pieces((*WORDS[marks], "[SEP]"), marks)
    words = read_words(only(planted(8), 1, 0), said, GRID, "a.png")
    assert [word.text for word in words] == ["a", "cat", "unbelievably", "naps", ".", "<end>"]
    third = round(1 / 3, 5)
    found = [patches(word.heatmap.values) for word in words if word.heatmap]
    assert found == [{0: 1.0}, {1: 1.0}, {2: third, 3: third, 4: third}, {5: 1.0}, {6: 1.0}, {7: 1.0}]
    assert words[2].probability == pytest.approx(math.exp(-0.3 - 0.4 - 0.5))
    assert words[5].probability == pytest.approx(math.exp(-0.8))
    assert {word.heatmap.name for word in words if word.heatmap} == {"a.png"}


def test_the_reading_row_comes_one_later_and_the_start_has_its_own() -> None:
    said = pieces((*WORDS["wordpiece"], "[SEP]"), "wordpiece")
    words = read_words(only(planted(8), 1, 0), said, GRID, "a.png", "reading")
    assert [word.text for word in words][:2] == ["<start>", "a"]
    found = [patches(word.heatmap.values) for word in words if word.heatmap]
    assert found[0] == {0: 1.0} and found[1] == {1: 1.0} and found[4] == {6: 1.0} and found[6] == {8: 1.0}
    assert list(found[3]) == [3, 4, 5]


def test_several_layers_and_heads_are_averaged() -> None:
    maps = word_maps(planted(2), spans(pieces(("a", "cat"), "wordpiece")))
    assert [patches(each) for each in maps] == [{0: 0.25, 11: 0.75}, {1: 0.25, 11: 0.75}]
    assert maps.dtype == np.float32
    with pytest.raises(UsageError, match="unknown row 'read'; did you mean 'reading'"):
        word_maps(planted(1), spans(pieces(("a",), "wordpiece")), "read")


def test_an_unfinished_caption_has_no_end_and_special_pieces_are_no_words() -> None:
    words = read_words(planted(3, finished=False), pieces(("a", "[SEP]", "cat"), "wordpiece"), GRID, "a.png")
    assert [word.text for word in words] == ["a", "cat"]


# the source's own figure


def test_the_source_shows_what_it_showed() -> None:
    """Bare, none, then the predicting rows; the full stop has no panel, and <end> shows its row."""
    said = pieces((*WORDS["wordpiece"], "[SEP]"), "wordpiece")
    panels = source_panels(read_words(only(planted(8), 1, 0), said, GRID, "a.png"))
    assert [title for title, _ in panels] == ["<start>", "a", "cat", "unbelievably", "naps.", "<end>"]
    found = [None if heatmap is None else list(patches(heatmap.values)) for _, heatmap in panels]
    assert found == [None, None, [1], [2, 3, 4], [5], [6]]


def test_the_source_without_a_full_stop_or_without_an_end() -> None:
    ended = source_panels(read_words(only(planted(3), 1, 0), pieces(("a", "cat", "[SEP]"), "wordpiece"), GRID, "a"))
    assert [title for title, _ in ended] == ["<start>", "a", "cat", "<end>"]
    assert ended[3][1] is not None and list(patches(ended[3][1].values)) == [2]
    open_ = source_panels(read_words(planted(2, finished=False), pieces(("a", "."), "wordpiece"), GRID, "a"))
    assert [(title, heatmap) for title, heatmap in open_] == [("<start>", None), ("a.", None)]
    assert source_panels(read_words(planted(1), pieces(("[SEP]",), "wordpiece"), GRID, "a"))[0] == ("<start>", None)


# pieces


@pytest.mark.parametrize(
    ("marks", "texts", "words"),
    [
        ("bytes", ("the", "Ġdog", "'s", "Ġball", ",", "Ġred"), ["the", "dog's", "ball", ",", "red"]),
        ("bytes", ("Ġblack", "-", "and", "-", "white"), ["black-and-white"]),
        ("bytes", ("Ġ3", ".", "5", "Ġkm", "."), ["3.5", "km", "."]),
        ("bytes", ("Ġat", "Ġ10", ":", "30", ".", "Ċ"), ["at", "10:30", ".", ""]),
        ("bytes", ("wait", ".", ".", ".", "Ġ\"", "no", "\""), ["wait", "...", '"', "no", '"']),
        ("bytes", ("Ġ", "cat"), ["cat"]),
        ("bytes", ("Ġcaf", "Ã", "©", "Ġnoir"), ["café", "noir"]),
        ("bytes", ("Ġcat", "ĠðŁ", "ĺ", "º"), ["cat", "😺"]),
        ("bytes", ("æĪĳ", "åĸľæ", "¬", "¢", "çĮ«", "ãĢĤ"), ["我", "喜欢", "猫", "。"]),
        ("sentencepiece", ("▁", "我", "喜欢", "猫", "。"), ["我", "喜欢", "猫", "。"]),
        ("sentencepiece", ("▁c", "af", "<0xC3>", "<0xA9>", "▁noir"), ["café", "noir"]),
        ("sentencepiece", ("▁นี่", "คือ", "แมว"), ["นี่", "คือ", "แมว"]),
        ("sentencepiece", ("▁ein", "▁Schnee", "mann", "!"), ["ein", "Schneemann", "!"]),
        ("sentencepiece", ("▁кош", "ка", "▁спит"), ["кошка", "спит"]),
        ("wordpiece", ("dog", "'", "s", "##ball", "##"), ["dog", "'", "sball", "##"]),
        ("wordpiece", ("[SEP]", "##s", "[SEP]"), ["[SEP]", "s", "[SEP]"]),
        ("bytes", ("Ã", "Ġcat"), ["\ufffd", "cat"]),
    ],
)  # fmt: skip
def test_pieces_become_words(marks: str, texts: tuple[str, ...], words: list[str]) -> None:
    assert split(marks, *texts) == words


def test_a_caption_of_two_languages_keeps_the_words_of_the_one_that_has_spaces() -> None:
    assert split("sentencepiece", "▁a", "▁cat", "は", "猫", "▁na", "ps") == ["a", "cat", "は", "猫", "naps"]


def test_pieces_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(UsageError, match="one of wordpiece, bytes, sentencepiece"):
        Pieces(("a",), "unigram", (False,))


# beside the map


def test_focus_by_hand() -> None:
    alike = focus(np.full((4, 5), 0.05, np.float32))
    assert alike is not None
    assert alike.entropy == pytest.approx(math.log(20)) and alike.top_tenth == pytest.approx(0.1)
    one = np.zeros((4, 5), np.float32)
    one[1, 2] = 0.3  # of another sum than one
    narrow = focus(one)
    assert narrow is not None and narrow.entropy == 0 and narrow.top_tenth == 1
    half = focus(np.array([[0.5, 0.25, 0.25]], np.float32))
    assert half is not None
    assert half.entropy == pytest.approx(1.5 * math.log(2)) and half.top_tenth == 0.5
    assert focus(np.zeros((2, 2), np.float32)) is None
    with pytest.raises(UsageError, match="negative values"):
        focus(np.array([[-1.0]], np.float32))
