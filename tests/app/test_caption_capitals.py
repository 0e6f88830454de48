"""Given captions that are wholly in capitals, which captioners hardly ever write."""

import json
from pathlib import Path
from typing import Any

import captioners
import pytest
from planted import Planted

import regard
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network
from regard.predictors.captions.job import text_read


@pytest.fixture(scope="module")
def cased(tmp_path_factory: pytest.TempPathFactory) -> CaptionNetwork:
    """A vocabulary of bytes, to which a capital is another letter."""
    return load_caption_network(str(captioners.encoder_decoder(tmp_path_factory.mktemp("cased"))))


def given(folder: Path, text: str) -> Path:
    folder.mkdir()
    captioners.picture(40, 60).save(folder / "a.png")
    (folder / "captions.csv").write_text(f"filename,caption\na.png,{text}\n")
    return folder


def entry(out: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((out / "captions.json").read_text())[0]
    return stored


def test_a_caption_in_capitals_is_read_in_small_letters(cased: Any, tmp_path: Path, caplog: Any) -> None:
    """Word by word it has what the same has in small letters; its text stays, and a line says so."""
    stored = {}
    for name, text in (("capitals", "A SMALL CAT"), ("small", "a small cat")):
        folder = given(tmp_path / name, text)
        file = folder / "captions.csv"
        regard.caption(folder, tmp_path / f"{name}.out", cased, captions=file, check="quick")
        stored[name] = entry(tmp_path / f"{name}.out")
        assert ("1 caption in capitals (a.png), which" in caplog.text) == (name == "capitals")
        caplog.clear()
    assert stored["capitals"]["text"] == "A SMALL CAT" and stored["capitals"]["unknown"] == []
    assert stored["capitals"]["words"] == stored["small"]["words"]
    assert [word["text"] for word in stored["capitals"]["words"]] == ["a", "small", "cat", "<end>"]


@pytest.mark.parametrize("text", ["A small CAT", "TV Tower", "A", "猫が好き", "3 & 4"])
def test_other_captions_are_read_as_they_are_written(cased: Any, text: str) -> None:
    assert text_read(cased, text) == text


def test_a_vocabulary_of_small_letters_reads_capitals_as_ever(tmp_path: Path, caplog: Any) -> None:
    folder = given(tmp_path / "in", "A CAT NAPS")
    regard.caption(folder, tmp_path / "out", Planted(), captions=folder / "captions.csv")
    assert entry(tmp_path / "out")["text"] == "A CAT NAPS" and "capitals" not in caplog.text
    assert text_read(Planted(), "A CAT NAPS") == "A CAT NAPS"
