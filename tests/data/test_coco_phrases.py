"""Which noun an adjective or a verb belongs to, by the order of words and their tags."""

import pytest

from regard.data.regions.coco_phrases import described


def tagged(text: str) -> list[tuple[str, str | None]]:
    """ "red/JJ bus/NN" as words with their tags; "," has none."""
    pairs = (word.rpartition("/") for word in text.split())
    return [(word or tag, tag if word else None) for word, _, tag in pairs]


@pytest.mark.parametrize(
    ("text", "nouns", "right"),
    [
        ("a/DT big/JJ , red/JJ bus/NN", {"bus"}, {("big", "adjective", "bus"), ("red", "adjective", "bus")}),
        ("a/DT stone/NN grey/JJ garden/NN bench/NN", {"bench"}, {("grey", "adjective", "bench")}),
        ("the/DT bus/NN is/VBZ very/RB red/JJ", {"bus"}, {("red", "adjective", "bus")}),
        ("a/DT bus/NN red/JJ", {"bus"}, set()),  # nothing links them
        ("white/JJ cabinets/NNS silver/NN oven/NN", {"oven"}, set()),  # the cabinets are white
        ("a/DT man/NN riding/VBG a/DT horse/NN", {"man", "horse"}, {("riding", "verb", "man")}),
        ("a/DT man/NN has/VBZ been/VBN slowly/RB walking/VBG", {"man"}, {("walking", "verb", "man")}),
        ("a/DT man/NN in/IN a/DT hat/NN walks/VBZ", {"man"}, set()),  # whose verb it is cannot be told
        ("a/DT vase/NN filled/VBN with/IN cake/NN is/VBZ served/VBN", {"vase", "cake"}, set()),  # nobody acts
        ("a/DT cat/NN is/VBZ on/IN a/DT chair/NN", {"cat", "chair"}, set()),
        ("猫/FW 睡/FW red", {"猫"}, set()),
        ("sleeping/VBG", set(), set()),
    ],
)
def test_a_word_beside_a_noun(text: str, nouns: set[str], right: set[tuple[str, str, str]]) -> None:
    words = tagged(text)
    places = {place: word for place, (word, _) in enumerate(words) if word in nouns}
    assert {(words[place][0], part, words[noun][0]) for place, part, noun in described(words, places)} == right
