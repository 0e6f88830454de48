"""What else could stand in a word's place, and whether the picture supports it better: with planted probabilities, and
boy → girl with the captioner that ships."""

import math
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from regard.explanation.words.alignment import spans
from regard.explanation.words.finished import FinishedCaption
from regard.explanation.words.support import alternatives
from regard.explanation.words.support.alternatives import alternatives_of, candidates_of
from regard.explanation.words.support.kinds import kinds_of
from regard.explanation.words.tagging import parts_of_speech
from regard.networks.captioners.decoding import Decoding
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.pieces import Pieces
from regard.scenes import captions, render, sample
from regard.scenes.lexicon import ITEM_NOUNS

WORDS = ("[SEP]", "a", "boy", "girl", "boys", "sits", "red", "##ish", "猫", "dog", "cat")
Chances = Mapping[str, float]


def decoding(tokens: Sequence[int], chances: Sequence[Chances]) -> Decoding:
    """Each step with these probabilities, and nothing else among the likeliest."""
    listed = [sorted(each, key=lambda word: -each[word]) for each in chances]
    indices = torch.tensor([[WORDS.index(word) for word in words] for words in listed])
    values = torch.tensor(
        [[math.log(each[word]) for word in words] for words, each in zip(listed, chances, strict=True)]
    )
    logs = torch.tensor([math.log(each.get(WORDS[token], 1e-4)) for token, each in zip(tokens, chances, strict=True)])
    return Decoding(tuple(tokens), logs, indices, values, None, False)


def caption(monkeypatch: pytest.MonkeyPatch, own: Chances, none: Chances, another: Chances | None = None) -> Any:
    """ "a boy", whose second word has these probabilities with its picture, a grey one and another one. By this tagger
    all are nouns but "a", "sits" and "red"."""
    tags = {"a": "DT", "sits": "VBZ", "red": "JJ"}
    monkeypatch.setattr(alternatives, "parts_of_speech", lambda texts: [tags.get(text, "NN") for text in texts])
    tokens = (1, 2)
    first = {"a": 0.9, **dict.fromkeys(list(own)[:-1], 0.01)}  # as many as the second has
    passes = [decoding(tokens, [first, each]) for each in (own, *([] if another is None else [another]), none)]

    def pieces(tokens: Sequence[int]) -> Pieces:
        return Pieces(tuple(WORDS[token] for token in tokens), "wordpiece", tuple(token == 0 for token in tokens))

    return SimpleNamespace(
        network=SimpleNamespace(pieces=pieces),
        tokens=tokens,
        words=spans(pieces(tokens)),
        trace=SimpleNamespace(decoding=passes[0]),
        contrast_decodings=passes[1:],
        other=None if another is None else object(),
    )


LISTED = ("girl", "boy", "dog", "boys", "sits", "red", "##ish", "[SEP]")


def chances(*values: float) -> Chances:
    return dict(zip(LISTED, [*values, *[1e-3] * (len(LISTED) - len(values))], strict=True))


@pytest.mark.parametrize(
    ("own", "none", "another", "aligned", "right"),
    [
        (chances(0.6, 0.1), chances(0.3, 0.3), chances(0.2, 0.3), True, "girl"),
        (chances(0.6, 0.1), chances(0.3, 0.3), None, True, "girl"),
        (chances(0.1, 0.6), chances(0.3, 0.3), None, True, None),  # the word is the likelier
        (chances(0.6, 0.1), chances(0.65, 0.1), None, True, None),  # usual there, whatever the picture
        (chances(0.6, 0.1), chances(0.3, 0.3), chances(0.65, 0.1), True, None),  # so it is of the other picture
        (chances(0.3, 0.4), chances(0.2, 0.4), None, False, "girl"),  # made: nearly as likely, and it gains
        (chances(0.15, 0.4), chances(0.01, 0.4), None, False, None),  # not half as likely
        (chances(0.3, 0.4, 0.2), chances(0.4, 0.4, 0.01), None, False, None),  # a dog gains, and is less than half
        (chances(0.5, 0.1, 0.3), chances(0.9, 0.1, 0.01), None, True, "dog"),  # the next that gains
        (chances(0.6, 0.1, 0.25), chances(0.9, 0.1, 0.01), None, True, None),  # which a girl is far likelier than
    ],
)
def test_what_the_picture_supports_better(
    own: Chances, none: Chances, another: Chances | None, aligned: bool, right: str | None, monkeypatch: Any
) -> None:
    finished = caption(monkeypatch, own, none, another)
    found = candidates_of(finished, ("other", "noun"))
    assert alternatives_of(found, aligned=aligned) == (None, right)
    assert [each.text for each in found[1]] == ["girl", "dog"]  # no plural, verb, adjective, ending or end
    assert found[1][0].likelier == pytest.approx(math.log(own["girl"] / own["boy"]), abs=1e-6)
    gain = math.log(own["girl"] / own["boy"]) - math.log(none["girl"] / none["boy"])
    assert found[1][0].over_none == pytest.approx(gain, abs=1e-6)
    assert math.isnan(found[1][0].over_another) == (another is None)
    assert candidates_of(finished, ("other", "noun"), places={0}) == [[], []]


def test_a_token_that_the_grey_picture_does_not_list_gains_what_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    none = {"boy": 0.3, **dict.fromkeys(("a", "boys", "sits", "red", "##ish", "dog", "cat"), 0.02)}
    finished = caption(monkeypatch, chances(0.6, 0.1), none)
    (girl, *_) = candidates_of(finished, ("other", "noun"))[1]
    assert girl.over_none == pytest.approx(math.log(6) - math.log(0.02 / 0.3), abs=1e-6)


def test_a_wrong_word_of_a_given_caption_has_the_right_one_beside_it() -> None:
    """A noun of a true caption exchanged: the right one is named instead, but for one time at most."""
    network = load_caption_network("scenes-captioner")
    named = tried = 0
    for seed in range(3):
        scene = sample(9_100_000 + seed)
        (true, *_) = captions(scene, 1, seed)
        words = true.text.split()
        place = next(place for place, word in enumerate(words) if not ITEM_NOUNS.get(word, ("", True))[1])
        wrong = "cat" if words[place] != "cat" else "dog"
        picture, other = (
            network.prepare(Image.fromarray(render(each).picture)) for each in (scene, sample(9_200_000 + seed))
        )
        tokens = tuple(network.tokenize(" ".join([*words[:place], wrong, *words[place + 1 :]])))
        pieces = network.pieces(tokens)
        spoken = tuple(span for span in spans(pieces) if not pieces.special[span.start])
        finished = FinishedCaption(network, picture, tokens, spoken, other)
        texts = [span.text for span in spoken]
        kinds = kinds_of(texts, parts_of_speech(texts))
        found = alternatives_of(candidates_of(finished, kinds, {place}), aligned=True)
        tried += 1
        named += found[place] == words[place]
    assert named >= tried - 1
