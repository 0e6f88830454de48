"""`regard caption --check`: raw checks of words in JSON, Parquet and the printed table, what they cost, and what is
said of a network that cannot give them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from planted import Planted
from word_check_twins import small_describer

import regard
from regard.errors import UsageError
from regard.explanation.words.checks import WORD_CHECKS
from regard.explanation.words.checks.run import rows_of
from regard.networks.captioners.families.encoder_decoder import EncoderDecoderCaptioner
from regard.results.caption_table import read_caption_table
from regard.results.captions import read_captions

Run = Callable[..., tuple[int, str, str]]
QUICK = ("log_probability", "gain_over_none", "gain_over_another", "text_attention", "concentration", "glsim")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, seed in (("a.png", 0), ("b.png", 1)):
        blots = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(blots).resize((40, 40)).save(folder / name)
    images = [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]
    texts = [(0, "w5 w6##s w9"), (1, "W7 zyzzyva")]
    annotations = [{"image_id": number, "caption": text} for number, text in texts]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


@pytest.fixture(scope="module")
def network() -> EncoderDecoderCaptioner:
    return small_describer()


def words_of(out: Path) -> list[list[dict[str, Any]]]:
    return [entry["words"] for entry in json.loads((out / "captions.json").read_text())]


def test_every_word_has_its_checks_wherever_it_is_written(pictures: Path, tmp_path: Path, network: Any) -> None:
    result = regard.caption(pictures, tmp_path / "out", network, limit=6, check="quick", depends=True)
    stored = words_of(tmp_path / "out")
    names = list(result.settings["checks"])
    assert set(QUICK) < set(names) and not {"viser", "picture_attention", "removal"} & set(names)
    for word in (word for words in stored for word in words):
        assert list(word["checks"]) == names
        assert word["checks"]["log_probability"] == pytest.approx(word["log_probability"], abs=1e-4)
        assert word["checks"]["gain_over_none"] == pytest.approx(word["depends"]["over_none"], abs=1e-5)
        assert word["checks"]["gain_over_another"] == pytest.approx(word["depends"]["over_other"], abs=1e-5)
    table = tmp_path / "out.parquet"
    regard.caption(pictures, table, network, limit=6, check="quick")
    frame = pd.read_parquet(table)
    flat = [word for words in stored for word in words]
    for name in names:
        assert frame[f"check_{name}"].tolist() == pytest.approx([word["checks"][name] for word in flat], abs=1e-5)
    for captions in (read_captions(tmp_path / "out"), read_caption_table(table)):
        assert [list(word.checks or ()) for caption in captions for word in caption.words] == [names] * len(flat)


def test_full_takes_patches_out_too(pictures: Path, tmp_path: Path, network: Any) -> None:
    result = regard.caption(pictures, tmp_path / "out", network, limit=3, check="full")
    assert {row.name for row in rows_of("full") if row.level == "full"} < {*result.settings["checks"]}
    word = words_of(tmp_path / "out")[0][0]["checks"]
    assert word["removal"] == pytest.approx(word["deletion"] + word["insertion"], abs=1e-4)


def test_a_given_caption_is_checked_word_by_word(pictures: Path, tmp_path: Path, network: Any) -> None:
    """In capitals, with a word that the vocabulary lacks: each word as it is written."""
    regard.caption(pictures, tmp_path / "out", network, captions=pictures, check="quick")
    stored = words_of(tmp_path / "out")
    assert [word["text"] for word in stored[1]] == ["w7", "zyzzyva", "<end>"]
    assert all(math.isfinite(value) for words in stored for word in words for value in word["checks"].values())


def passes(network: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(captions, tokens) of each pass of the decoder over more than one token at once."""
    calls: list[tuple[int, int]] = []
    original = network.module.decode

    def decode(tokens: Any, memory: Any, cache: Any = None) -> Any:
        if cache is None:
            calls.append((memory.pictures, tokens.shape[1]))
        return original(tokens, memory, cache)

    monkeypatch.setattr(network.module, "decode", decode)
    return calls


def test_what_checks_cost(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most three passes over a finished caption, with what a word owes to its picture too; none without."""
    network = small_describer()
    calls = passes(network, monkeypatch)
    given = {"captions": pictures, "batch_size": 1}
    regard.caption(pictures, tmp_path / "plain", network, **given)
    assert len(calls) == 2  # each caption read once, as ever
    for number, more in enumerate(({"check": "quick"}, {"check": "quick", "depends": True})):
        calls.clear()
        regard.caption(pictures, tmp_path / f"checked{number}", network, **given, **more)
        assert sum(count for count, _ in calls) == 2 + 2 * 3  # its own, another picture, none
    calls.clear()
    regard.caption(pictures, tmp_path / "made", network, limit=6)
    assert not calls  # a caption that is made is not read again


def test_one_picture_alone_has_no_other(run: Run, pictures: Path, tmp_path: Path) -> None:
    """And the words of the shipped captioner have their support all the same."""
    words = ("caption", pictures / "a.png", "--model", "scenes-captioner", "--out", tmp_path / "out")
    code, stdout, _ = run(*words, "--check")
    assert code == 0
    assert all(word["checks"]["gain_over_another"] is None for word in words_of(tmp_path / "out")[0])
    assert any(word["support"] for word in words_of(tmp_path / "out")[0])
    assert "Support measured on" in stdout and "drawn scenes" in stdout
    code, stdout, _ = run(*words, "--overwrite", "--json", "--check", "quick")
    settings = json.loads(stdout)["settings"]
    assert code == 0 and settings["check"] == "quick" and settings["support"]["auroc"]["value"] > 0.86


def test_without_a_measure_the_raw_checks_are_printed(pictures: Path, tmp_path: Path, network: Any) -> None:
    """And what the numbers are not."""
    result = regard.caption(pictures, tmp_path / "out", network, limit=6, check="quick")
    assert "No support: which of its words are wrong has not been measured on" in result.checks
    assert "lacks one attention over picture and words together" in result.checks
    lines = result.checks.splitlines()
    assert lines[1].split()[1:] == list(words_of(tmp_path / "out")[0][0]["checks"])
    assert len(lines[2].split()) == len(lines[1].split())


def test_the_start_has_no_checks_and_an_unknown_level_is_refused(pictures: Path, tmp_path: Path) -> None:
    result = regard.caption(pictures, tmp_path / "out", Planted(), row="reading", check="quick")
    words = words_of(tmp_path / "out")[0]
    assert words[0]["text"] == "<start>" and words[0]["checks"] is None and words[1]["checks"] is not None
    assert result.settings["missing_checks"]["text_attention"] == "attention to the words before"
    assert "lacks attention to the words before, without which there is no text_attention" in result.checks
    with pytest.raises(UsageError, match="unknown check 'ful'; did you mean 'full'"):
        regard.caption(pictures, tmp_path / "no", Planted(), check="ful")


def test_a_captioner_in_memory_checks_too(network: Any) -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    caption = regard.Captioner(network)(picture, limit=4, check="quick")
    assert caption.words[0].checks is not None and set(QUICK) < set(caption.words[0].checks)
    assert set(caption.words[0].checks) < set(WORD_CHECKS.names)
    assert next(iter(regard.Captioner(network).stream(iter([picture]), limit=4))).words[0].checks is None
