"""`regard caption --check` of captions that are odd: what is said of a word that the network could not read, that the
prompt names, that was said before, or that was cut."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import captioners
import numpy as np
import pytest
from PIL import Image
from test_caption_support import WORDS, support_file
from word_check_twins import small_describer

import regard
from regard.explanation.words.support.context import CONTEXTS
from regard.explanation.words.support.model import SupportModel
from regard.files import write_json
from regard.networks.captioners.load import load_caption_network


@pytest.fixture(scope="module")
def network() -> Any:
    """A captioner that says English words."""
    network = small_describer()
    pieces = (*network.vocabulary.pieces[:4], *WORDS, *network.vocabulary.pieces[4 + len(WORDS) :])
    vocabulary = type(network.vocabulary)(pieces, {piece: token for token, piece in enumerate(pieces)})
    object.__setattr__(network, "vocabulary", vocabulary)
    return network


def doubting(folder: Path, network: Any) -> Path:
    """A support model by which every word is doubtful, the more the less it gains over a grey picture."""
    stored = json.loads(support_file(folder / "plain.json", network).read_text())
    both = {"coefficients": {"all": [-50.0, 1.0]}, "aligned": {"all": [-50.0, 1.0]}}
    stored |= {"checks": ["gain_over_none"], "centre": [10.0], **both}
    return write_json(folder / "support.json", SupportModel.from_json(stored).as_json())


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        blots = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(blots).resize((40, 40)).save(folder / f"{number}.png")
    return folder


def said(folder: Path, texts: Sequence[str], network: Any, prompt: str | None = None) -> list[dict[str, Any]]:
    """The words of given captions, each of a picture of its own, with their support."""
    source = pictures(folder / "odd", len(texts))
    rows = "".join(f"{number}.png,{text}\n" for number, text in enumerate(texts))
    (source / "captions.csv").write_text(f"filename,caption\n{rows}", encoding="utf-8")
    settings = {"check": "quick", "support": doubting(folder, network), "skip_bad": True, "prompt": prompt}
    regard.caption(source, folder / "out", network, captions=source / "captions.csv", **settings)
    entries = json.loads((folder / "out" / "captions.json").read_text(encoding="utf-8"))
    return [{word["text"]: word["support"] for word in entry["words"]} for entry in entries]


def test_words_that_could_not_be_read_have_no_probability(tmp_path: Path, network: Any) -> None:
    """A caption of one word, which is no sentence; a word that the vocabulary lacks; letters that are not Latin."""
    one, unknown, foreign, capitals = said(tmp_path, ["cat", "the zyzzyva sits", "猫 кот", "THE GREY CAT"], network)
    assert set(one.values()) == set(foreign.values()) == {None}
    assert unknown["zyzzyva"] is None and unknown["sits"]["probability"] < 0.5
    assert capitals["cat"]["kind"] == "noun" and capitals["grey"]["kind"] == "colour"
    shown = {}
    for name in ("0.png", "2.png"):
        settings = {
            "captions": tmp_path / "odd" / "captions.csv",
            "check": "quick",
            "support": tmp_path / "support.json",
        }
        shown[name] = regard.caption(tmp_path / "odd" / name, tmp_path / name[0], network, **settings).checks
    assert "0.png: no probability: one word is no sentence" in shown["0.png"]
    assert "2.png: no probability: its words are no English ones" in shown["2.png"]
    assert not any("no word is doubtful" in text for text in shown.values())


def test_a_word_said_twice_is_as_likely_because_it_was_said(
    tmp_path: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is gained, the first is as likely without the picture, and the second as it was said before."""
    from regard.explanation.words.checks import gain

    monkeypatch.setattr(gain, "gain_over_none", lambda caption: np.zeros(len(caption.words)))
    (words,) = said(tmp_path, ["cat sits dog cat"], network)
    assert words["dog"]["reasons"] == ["as likely without the picture"]
    assert words["cat"]["reasons"] == [f"as likely without the picture, as {CONTEXTS['repeated']}"]  # the second


def test_a_word_that_the_prompt_names_is_as_likely_because_of_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind "a small cat" the cat is no news, its colour is."""
    from regard.explanation.words.checks import gain

    asked = load_caption_network(str(captioners.git(tmp_path_factory.mktemp("asked"))))
    monkeypatch.setattr(gain, "gain_over_none", lambda caption: np.zeros(len(caption.words)))
    (words,) = said(tmp_path, ["cat red"], asked, "a small cat")
    assert words["cat"]["reasons"] == [f"as likely without the picture, as {CONTEXTS['prompt']}"]
    assert words["red"]["reasons"] == ["as likely without the picture"]


def test_the_last_word_of_a_caption_that_was_cut_is_said_to_be(tmp_path: Path, network: Any) -> None:
    source = pictures(tmp_path / "in", 2)
    settings = {"check": "quick", "support": doubting(tmp_path, network), "limit": 3}
    result = regard.caption(source, tmp_path / "out", network, **settings)
    cut = [
        [word["support"] and word["support"]["reasons"][0] == CONTEXTS["cut"] for word in entry["words"]]
        for entry in json.loads((tmp_path / "out" / "captions.json").read_text())
        if entry["limit_reached"] and entry["words"][-1]["support"]
    ]
    assert result.cut and cut and all(each[-1] and not any(each[:-1]) for each in cut)
