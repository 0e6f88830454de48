"""The maps of a captioner that learnt where to look, and what common mistakes would make of them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from trained_captioner import COLOURS, PATCH, picture, trained

from regard.explanation.words.alignment import read_words
from regard.measurement.localisation.words import BASELINES, TrueWord, measure
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> CaptionNetwork:
    return load_caption_network(trained(tmp_path_factory.mktemp("trained") / "tiny"))


def colour_words(captioner: CaptionNetwork) -> tuple[list[TrueWord], list[NDArray[np.float32]]]:
    """The colours that are said of 40 pictures, right ones, with the maps of all of their captions' tokens."""
    words = []
    maps = []
    for seed in range(40):
        pixels, truth, where = picture(seed)
        prepared = captioner.prepare(Image.fromarray(pixels))
        (decoding,) = captioner.generate([prepared], capture=Capture(None, "mean"))
        read = read_words(decoding, captioner.pieces(decoding.tokens), prepared.grid, f"{seed}.png")
        for place, word in enumerate(read):
            if word.text in COLOURS and word.heatmap is not None and word.text == truth.split()[place]:
                row, column = where[read[place + 1].text]
                region = np.zeros(pixels.shape[:2], bool)
                region[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH] = True
                words.append(TrueWord(f"{seed}.png", word.text, "adjective", True, word.heatmap, region))
                maps.append(decoding.predicting[-1, 0, place : place + 2].numpy())
    return words, maps


def with_maps(words: list[TrueWord], maps: list[NDArray[np.float32]]) -> list[TrueWord]:
    return [
        replace(word, heatmap=replace(word.heatmap, values=values)) for word, values in zip(words, maps, strict=True)
    ]


def test_a_colour_looks_at_what_it_is_said_of_and_mistakes_lose(captioner: CaptionNetwork) -> None:
    words, maps = colour_words(captioner)
    assert len(words) >= 72  # of 80: it learnt what there was to learn
    own = measure(words).rows[0].scores
    for base in BASELINES:
        assert own[f"pointing_over_{base}"].low > 0.2
        assert own[f"share_over_{base}"].low > 0.2
    late = measure(with_maps(words, [rows[1] for rows in maps])).rows[0].scores
    turned = measure(with_maps(words, [np.ascontiguousarray(rows[0].T) for rows in maps])).rows[0].scores
    for name in ("pointing", "share"):
        assert own[name].low > late[name].high + 0.1
        assert own[name].low > turned[name].high + 0.1
