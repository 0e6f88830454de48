"""What stands around a word and decides what its checks can say of it."""

import pytest

from regard.explanation.words.support.context import CONTEXTS, EXPECTED, UNSUPPORTED, contexts


@pytest.mark.parametrize(
    ("text", "settings", "right"),
    [
        ("cat . <end>", {}, ["alone", "", ""]),
        ("A CAT", {"prompt": "what colour is the cat"}, ["", "prompt"]),
        ("the cats are red", {"prompt": "Which colour is the cat's fur?"}, ["prompt", "prompt", "", ""]),
        ("猫 很 红", {"prompt": "猫是什么颜色？"}, ["foreign"] * 3),
        ("a red cat and a red dog", {}, ["", "", "", "", "repeated", "repeated", ""]),
        ("a glass , a class .", {}, ["", "", "", "repeated", "", ""]),  # signs are no words
        ("a zyzzyva zyzzyva <end>", {"unknown": ["zyzzyva"]}, ["", "unknown", "unknown", ""]),
        ("a cat sits", {"finished": False}, ["", "", "cut"]),
        ("a 😺 <end>", {"unknown": ["😺"]}, ["alone", "unknown", ""]),
        ("zyzzyva", {"unknown": ["zyzzyva"]}, ["unknown"]),
        ("a [UNK] sits", {}, ["", "unknown", ""]),  # what the network said itself
        ("", {"prompt": "cat", "finished": False}, []),
        ("кот naïve", {}, ["foreign", ""]),
    ],
)
def test_the_context_of_each_word(text: str, settings: dict, right: list[str]) -> None:
    assert list(contexts(text.split(), **settings)) == right


def test_what_is_named_twice_on_the_prompt_and_before_is_the_prompts() -> None:
    assert contexts(["cat", "cat"], prompt="a cat") == ("prompt", "prompt")
    assert {*UNSUPPORTED, *EXPECTED, "cut"} == {*CONTEXTS}
