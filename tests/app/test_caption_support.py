"""`regard caption --check` where a support model was measured on the network: probabilities in records, JSON, Parquet
and on the terminal, what they cost, and where there are none."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from word_check_twins import small_describer

import regard
from regard.app.commands.caption import as_text
from regard.errors import DataError, UsageError
from regard.explanation.words import tagging
from regard.explanation.words.checks.run import fitting_checks
from regard.explanation.words.support.find import support_of
from regard.explanation.words.support.kinds import CONTENT
from regard.explanation.words.support.model import SupportModel, SupportScore
from regard.files import write_json
from regard.networks.captioners.load import load_caption_network
from regard.predictors.captions.options import CaptionOptions
from regard.predictors.captions.support import CaptionSupport
from regard.records import Score, support_text
from regard.results.caption_table import read_caption_table
from regard.results.captions import EXAMPLES, Tally, read_captions
from regard.results.check_text import checks_text

Run = Callable[..., tuple[int, str, str]]
WORDS = ("cat", "dog", "two", "grey", "the", "sits")
"""What the small network's first words are called here, so that they have kinds."""


@pytest.fixture(scope="module")
def network() -> Any:
    """A captioner that says English words."""
    network = small_describer()
    pieces = [*network.vocabulary.pieces]
    pieces[4 : 4 + len(WORDS)] = WORDS
    vocabulary = type(network.vocabulary)(tuple(pieces), {piece: token for token, piece in enumerate(pieces)})
    object.__setattr__(network, "vocabulary", vocabulary)
    return network


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, seed in (("a.png", 0), ("b.png", 1)):
        blots = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
        Image.fromarray(blots).resize((40, 40)).save(folder / name)
    images = [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]
    annotations = [{"image_id": number, "caption": text} for number, text in ((0, "the grey cat"), (1, "two zyzzyva"))]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def support_file(file: Path, network: Any, hash: str | None = None) -> Path:
    """A model by which a word is right with logistic(log-probability + 3), colours never."""
    score = SupportScore(900, 100, 300, Score(0.95, 0.93, 0.97, 1000), Score(0.02, 0.01, 0.03, 1000))
    model = SupportModel(
        checks=("log_probability",),
        centre=(0.0,),
        scale=(1.0,),
        coefficients={"all": (3.0, 1.0), "colour": (-9.0, 0.0)},
        aligned={"all": (1.0, 0.0)},
        measured={"all": score, "noun": score},
        planted={"all": score},
        networks=(hash or network.weights_hash(),),
        data="drawn scenes",
        version="0.1",
        cut=100.0,
    )
    return write_json(file, model.as_json())


def test_every_word_that_claims_something_has_its_probability(pictures: Path, tmp_path: Path, network: Any) -> None:
    support = support_file(tmp_path / "support.json", network)
    result = regard.caption(pictures, tmp_path / "out", network, limit=6, check="quick", support=support)
    entries = json.loads((tmp_path / "out" / "captions.json").read_text())
    words = [word for entry in entries for word in entry["words"]]
    claims = [word for word in words if word["support"] is not None]
    assert 0 < len(claims) < len(words)
    assert {word["text"] for word in words if word["support"] is None}.isdisjoint({"cat", "dog", "two", "grey", "sits"})
    for word in claims:
        logit = -9.0 if word["support"]["kind"] == "colour" else 3.0 + word["log_probability"]
        assert word["support"]["probability"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
    assert result.settings["support"]["data"] == "drawn scenes" and result.settings["support"]["n"] == 1000
    regard.caption(pictures, tmp_path / "out.parquet", network, limit=6, check="quick", support=support)
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert list(frame["support"].notna()) == [word["support"] is not None for word in words]
    assert frame["kind"].dropna().tolist() == [word["support"]["kind"] for word in claims]
    folder, table = read_captions(tmp_path / "out"), read_caption_table(tmp_path / "out.parquet")
    for first, second in zip(folder, table, strict=True):
        for one, two in zip(first.words, second.words, strict=True):
            assert (one.support is None) == (two.support is None)
            if one.support is not None and two.support is not None:
                assert one.support.probability == pytest.approx(two.support.probability, abs=1e-5)
                assert (one.support.kind, one.support.reasons) == (two.support.kind, two.support.reasons)
                assert one.support.alternative == two.support.alternative


def test_given_captions_have_their_own_probabilities_and_unknown_words_none(
    pictures: Path, tmp_path: Path, network: Any
) -> None:
    support = support_file(tmp_path / "support.json", network)
    result = regard.caption(pictures, tmp_path / "out", network, captions=pictures, check="quick", support=support)
    entries = json.loads((tmp_path / "out" / "captions.json").read_text())
    supports = {word["text"]: word["support"] for entry in entries for word in entry["words"]}
    assert supports["the"] is None and supports["zyzzyva"] is None and supports["<end>"] is None
    for word in ("cat", "grey"):
        assert supports[word]["probability"] == pytest.approx(1 / (1 + np.exp(-1)), 1e-5)
    assert result.settings["support"]["errors"] == "planted"


def test_the_terminal_names_doubtful_words_and_what_they_were_measured_on(
    pictures: Path, tmp_path: Path, network: Any
) -> None:
    support = support_file(tmp_path / "support.json", network)
    result = regard.caption(pictures, tmp_path / "out", network, limit=6, check="quick", support=support)
    doubtful = [
        (caption.name, word)
        for caption in result.captions
        for word in caption.words
        if word.support is not None and word.support.is_doubtful
    ]
    lines = result.checks.splitlines()
    assert len(lines) == len(doubtful) + 1
    for line, (name, word) in zip(lines, doubtful, strict=False):
        assert line.startswith(f'{name}: doubtful "{word.text}" ({word.support.kind}) 0.')
    assert lines[-1].startswith("Support measured on 1,000 words (")
    hidden = replace(result, checks='a\N{RIGHT-TO-LEFT OVERRIDE}\udcff.png: doubtful "cat"\n' + result.checks)
    assert 'a<U+202E>\N{REPLACEMENT CHARACTER}.png: doubtful "cat"' in as_text(hidden).splitlines()
    assert " wrong) of drawn scenes: AUROC 0.95 (0.93 to 0.97)" in lines[-1]


def test_doubtful_words_behind_the_first_captions_are_counted() -> None:
    """No caption but the first is shown, but of all of them it is said whether a word is doubtful."""
    score = SupportScore(900, 100, 300, Score(0.95, 0.93, 0.97, 1000), Score(0.02, 0.01, 0.03, 1000)).as_json()
    support = {"measured": {"all": score}, "errors": "natural", "data": "drawn scenes"}

    def text(*probabilities: float) -> str:
        stored = [{"probability": each, "kind": "noun", "reasons": [], "alternative": None} for each in probabilities]
        words = [[{"text": "cat", "checks": {"margin": 1.0}, "support": each}] * 2 for each in stored]
        entries = [{"name": "a", "text": "cat cat", "limit_reached": False, "words": each} for each in words]
        return checks_text(Tally(entries), "net", {"check": "quick", "checks": ["margin"], "support": support})

    right = (0.9,) * EXAMPLES
    assert text(*right, 0.9).splitlines()[0] == "no word is doubtful"
    first, measured = text(*right, 0.1, 0.9, 0.2).splitlines()
    assert first == "4 doubtful words in the captions behind these" and measured.startswith("Support measured on")
    assert len(text(0.1, *right, 0.2).splitlines()) == 4


def test_a_model_of_another_network_is_refused(pictures: Path, tmp_path: Path, network: Any) -> None:
    other = support_file(tmp_path / "other.json", network, hash="0" * 64)
    with pytest.raises(UsageError, match=r"was measured on 1 other network, not on .*; fit one with `regard audit"):
        regard.caption(pictures, tmp_path / "out", network, check="quick", support=other)
    with pytest.raises(UsageError, match="give --check with it"):
        regard.caption(pictures, tmp_path / "out", network, support=other)
    with pytest.raises(DataError, match="no file that holds a support model"):
        regard.caption(pictures, tmp_path / "out", network, check="quick", support=tmp_path / "none.json")
    write_json(tmp_path / "odd.json", {"schema": 1, "kind": "evaluation"})
    with pytest.raises(DataError, match="holds no support model"):
        regard.caption(pictures, tmp_path / "out", network, check="quick", support=tmp_path / "odd.json")
    assert not (tmp_path / "out").exists()


def test_where_nothing_was_measured_there_are_raw_checks(pictures: Path, tmp_path: Path, network: Any) -> None:
    """Also with maps of another layer than those that it was measured on."""
    result = regard.caption(pictures, tmp_path / "out", network, limit=6, check="quick")
    sentence = "which of its words are wrong has not been measured on"
    assert sentence in result.settings["support"]["none"] and sentence in result.checks
    words = json.loads((tmp_path / "out" / "captions.json").read_text())[0]["words"]
    assert all(word["support"] is None and word["checks"] for word in words)
    support = support_file(tmp_path / "support.json", network)
    result = regard.caption(pictures, tmp_path / "layer", network, limit=6, check="quick", support=support, layer=0)
    assert result.settings["support"] == {"none": "it was measured on other maps than --layer makes"}
    assert "No support: it was measured on other maps" in result.checks


def test_a_model_speaks_of_the_captions_that_it_was_measured_on(pictures: Path, tmp_path: Path, network: Any) -> None:
    """Of given ones or of the network's own, and by checks that were asked for: else raw checks, and why."""
    stored = json.loads(support_file(tmp_path / "support.json", network).read_text())
    own = write_json(tmp_path / "own.json", {**stored, "aligned": {}, "planted": {}})
    given = write_json(tmp_path / "given.json", {**stored, "errors": "planted"})
    full = write_json(tmp_path / "full.json", {**stored, "checks": ["removal"]})
    for number, (file, captions, why) in enumerate((
        (own, pictures, "it was measured on captions that the network makes itself, not on captions that are given"),
        (given, None, "it was measured on captions that are given, not on captions that the network makes itself"),
        (full, None, "it goes by removal too, which --check quick does not give"),
        (own, None, None),
        (given, pictures, None),
    )):  # fmt: skip
        how: dict[str, Any] = {"limit": 6} if captions is None else {"captions": captions}
        result = regard.caption(pictures, tmp_path / str(number), network, check="quick", support=file, **how)
        none = result.settings["support"].get("none")
        assert (none or "").startswith(why or "") and (none is None) == (why is None)
        assert ("No support: " in result.checks) == (why is not None)


def test_how_captions_differ_from_those_that_it_was_measured_on_is_said(
    pictures: Path, tmp_path: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beams are of captions that are made; without a tagger most words of photographs have no kind, and so no support,
    which would read as if none were doubtful."""
    support = support_file(tmp_path / "support.json", network)
    picture = np.full((40, 40, 3), 90, np.uint8)
    captioner = regard.Captioner(network)

    def measured(**how: Any) -> str:
        return support_text(captioner(picture, check="quick", support=support, limit=4, **how).settings)

    assert measured().endswith("(0.010 to 0.030).") and measured(captions="the cat", beams=2) != measured()
    assert measured(beams=2).endswith(" It was measured with one beam.")
    assert "beam" not in measured(captions="the cat", beams=2)
    monkeypatch.setattr(tagging, "_tagger", lambda: None)
    assert "No tagger is installed (the extra `words`)" in measured()
    asked = CaptionOptions(prompt="a cat", beams=2, check="quick", support=support)
    assert CaptionSupport.of(network, asked, False).unlike.startswith("It was measured without a prompt and with one")


def test_the_file_beside_a_network_is_taken_where_it_is_of_these_weights(tmp_path: Path, network: Any) -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    network.folder = tmp_path
    try:
        support_file(tmp_path / "support.json", network)
        caption = regard.Captioner(network)(picture, limit=4, check="quick")
        assert any(word.support is not None for word in caption.words)
        support_file(tmp_path / "support.json", network, hash="0" * 64)
        caption = regard.Captioner(network)(picture, limit=4, check="quick")
        assert caption.settings["support"]["none"].endswith("was measured on other weights; these are raw checks")
        assert not any(word.support is not None for word in caption.words)
    finally:
        network.folder = None


def test_support_costs_no_pass_more(
    pictures: Path, tmp_path: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three over a finished caption: its own picture, another, none."""
    calls: list[int] = []
    original = network.module.decode

    def decode(tokens: Any, memory: Any, cache: Any = None) -> Any:
        calls.append(memory.pictures)
        return original(tokens, memory, cache)

    monkeypatch.setattr(network.module, "decode", decode)
    support = support_file(tmp_path / "support.json", network)
    for number, more in enumerate(({}, {"check": "quick", "support": support})):
        calls.clear()
        regard.caption(pictures, tmp_path / str(number), network, captions=pictures, batch_size=1, **more)
        assert sum(calls) == 2 * (1 + 3 * number)  # both captions are read once for the words and maps themselves


def test_what_ships_was_measured_on_the_weights_that_ship() -> None:
    """And holds what is claimed of it, on sentences that its fit had no part in."""
    network = load_caption_network("scenes-captioner")
    model = support_of(network)
    assert model is not None and model.networks == (network.weights_hash(),)
    assert {*model.checks} == {*fitting_checks(network, "quick")}
    assert model.measured["all"].units >= 1000 and model.measured["all"].n_wrong >= 500
    assert model.measured["noun"].auroc.low >= 0.90 and model.measured["all"].auroc.low >= 0.86
    assert model.measured["all"].calibration_error.high <= 0.05
    assert model.planted["all"].auroc.value >= 0.86 and set(model.measured) <= {"all", *CONTENT}
