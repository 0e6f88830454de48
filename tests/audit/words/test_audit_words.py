"""An audit of a captioner from end to end, small: it goes on to the same bytes, and says what does not fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.app.commands.audit import AuditResult
from regard.app.commands.audit import audit as command
from regard.audit.words import audit as auditing
from regard.audit.words.audit import WordAuditOutput, audit_words
from regard.audit.words.settings import WordAuditSettings
from regard.data.layouts import read
from regard.data.regions import regions_of
from regard.errors import DataError, UsageError
from regard.networks.captioners import is_captioner
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network
from regard.predictors.captions.options import CaptionInput
from regard.records import WordAudit
from regard.results.word_audits import read_word_audit
from regard.scenes.folder import write_scenes

FEW = WordAuditSettings(elsewhere=1, batch_size=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(2, tmp_path_factory.mktemp("words") / "drawn", seed=8_200_000, size=96)


@pytest.fixture(scope="module")
def network() -> CaptionNetwork:
    return load_caption_network("scenes-captioner", "cpu")


def inputs(drawn: Path) -> list[CaptionInput]:
    return [CaptionInput(picture) for picture in read(drawn, labels=False).pictures]


@pytest.fixture(scope="module")
def audited(drawn: Path, network: CaptionNetwork) -> tuple[Path, WordAudit]:
    out = drawn.with_name("audited")
    record = audit_words(
        network, inputs(drawn), regions_of(drawn, words=True), FEW, output=WordAuditOutput(out), note="for a test"
    )
    return out, record


def test_it_stores_what_it_measured_of_every_word(audited: tuple[Path, WordAudit], drawn: Path) -> None:
    out, record = audited
    assert read_word_audit(out).as_json() == record.as_json() and read_word_audit(out).words == record.words
    assert record.n == 2 and record.note == "for a test"
    nouns = [word for word in record.words if word.claim == "nouns" and word.right]
    assert nouns and all(0 <= word.numbers["map_share"] <= 1 for word in nouns)
    animals = [word for word in nouns if "fall" in word.numbers]
    assert np.mean([word.numbers["fall"] - word.numbers["fall:elsewhere"] for word in animals]) > 1
    others = [word for word in record.words if word.claim == "anywhere"]
    assert others and all(word.right is None and "gain_over_another" in word.numbers for word in others)
    assert {each.status for each in record.verdicts} == {"not decidable"}  # two pictures decide nothing
    assert "fewer than 10 decide nothing" in record.text
    assert "20 of each" in record.skipped["support"] and record.support is None


def test_it_goes_on_where_it_was_stopped_to_the_same_bytes(
    audited: tuple[Path, WordAudit], drawn: Path, network: CaptionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = drawn.with_name("stopped")
    real = auditing.entries

    def stopped(*arguments: Any) -> Any:
        for number, entry in enumerate(real(*arguments)):
            if number == 1:
                raise KeyboardInterrupt
            yield entry

    how: Any = (network, inputs(drawn), regions_of(drawn, words=True), FEW)
    with monkeypatch.context() as patch:
        patch.setattr(auditing, "entries", stopped)
        with pytest.raises(KeyboardInterrupt, match="1 of 2 pictures are done"):
            audit_words(*how, output=WordAuditOutput(out), note="for a test")
    assert not out.exists()
    starts = []

    def counted(plan: Any, start: int, on_bad: Any) -> Any:
        starts.append(start)
        return real(plan, start, on_bad)

    monkeypatch.setattr(auditing, "entries", counted)
    audit_words(*how, output=WordAuditOutput(out), note="for a test")
    assert starts == [1]
    for name in ("audit.json", "words.parquet"):
        assert (out / name).read_bytes() == (audited[0] / name).read_bytes()


def test_captions_that_are_given_are_audited_and_pictures_without_regions_counted(
    drawn: Path, tmp_path: Path, network: CaptionNetwork
) -> None:
    pictures = read(drawn, labels=False).pictures
    stranger = tmp_path / "stranger.png"
    Image.new("RGB", (64, 64)).save(stranger)
    (alone,) = read(tmp_path, labels=False).pictures
    both = [CaptionInput(pictures[0], "a blue table and a sheep", 0), CaptionInput(alone, "a cat", None)]
    settings = WordAuditSettings(elsewhere=1, captions={"captions": "people.json", "which": "all"})
    record = audit_words(network, both, regions_of(drawn, words=True), settings)
    assert [word.text for word in record.words][:5] == ["a", "blue", "table", "and", "a"]
    assert {word.text: word.right for word in record.words}["blue"] is False
    assert record.words[0].unit.endswith("_0.png") and record.n == 1
    assert {word.picture for word in record.words} == {pictures[0].name}
    assert "1" in record.skipped["captions"] and record.settings["captions"]["captions"] == "people.json"


def test_a_word_that_the_network_could_not_read_is_judged_by_nobody(
    drawn: Path, network: CaptionNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    """It read another in its place, whose numbers are not this word's."""
    pictures = read(drawn, labels=False).pictures
    settings = WordAuditSettings(elsewhere=1, captions={"captions": "people.json", "which": "all"})
    given = [CaptionInput(pictures[0], "a hippopotamus stands on a table")]
    record = audit_words(network, given, regions_of(drawn, words=True), settings)
    assert [word.text for word in record.words] == ["a", "stands", "on", "a", "table"]
    assert "words that scenes-captioner cannot read are left out: 1 (hippopotamus in " in caplog.text


def test_a_run_has_the_support_of_its_own_captions_by_the_maps_that_check_reads(
    drawn: Path, tmp_path: Path, network: CaptionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of other maps, of given captions, or of scenes of its training it would be taken for one of these."""
    monkeypatch.setattr(auditing, "fitted_support", lambda *words, **how: ({"kind": "support"}, ""))
    regions = regions_of(drawn, words=True)
    for name, note, maps in (("other", "", {"layer": 0}), ("usual", "", {}), ("noted", "captions given", {})):
        run = tmp_path / name
        run.mkdir()
        settings = WordAuditSettings(elsewhere=1, **maps)
        out = tmp_path / f"{name} audit"
        record = audit_words(network, inputs(drawn)[:1], regions, settings, note=note, output=WordAuditOutput(out, run))
        assert (record.support is None) == (name == "other")
        assert ("maps of the last layer" in record.skipped.get("support", "")) == (name == "other")
        assert (run / "support.json").is_file() == (name == "usual")
        assert (out / "support.json").is_file() == (name != "other")


def test_one_room_decides_which_kind_of_audit_a_model_has(tmp_path: Path, network: CaptionNetwork) -> None:
    (tmp_path / "blip").mkdir()
    (tmp_path / "blip" / "config.json").write_text(json.dumps({"model_type": "blip"}))
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text(json.dumps({"model_type": "vit"}))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    (tmp_path / "a.pth").write_bytes(b"no checkpoint")
    captioners = ["scenes-captioner", "catr-v2", network, str(tmp_path / "blip")]
    others = ["pets-tiny", "vit_tiny_patch16_224", "nothing", tmp_path / "vit", tmp_path / "broken", tmp_path / "a.pth"]
    assert [is_captioner(model) for model in captioners] == [True] * 4
    assert [is_captioner(model) for model in others] == [False] * 6


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("scenes-captioner", {"masks": "masks"}, "--masks is of audits of a classifier.*DATA say"),
        ("scenes-captioner", {"in_domain": True}, "--in-domain is of audits of a classifier"),
        ("pets-tiny", {"captions": "c.json"}, "--captions is of audits of a captioner, and pets-tiny is a classifier"),
        ("pets-tiny", {"head": 0}, "--head is of audits of a captioner"),
        ("scenes-captioner", {"methods": ["gradcam"]}, "gradcam makes maps of pictures, not of words"),
        ("scenes-captioner", {"methods": ["cross_attention,tam"]}, "one method, and 2 came"),
        ("scenes-captioner", {"which": "1"}, "--which 1 is of captions that are given"),
        ("scenes-captioner", {"require": ["top1>=0.5"]}, "top1"),
        ("scenes-captioner", {"layer": 9}, "there is no layer 9"),
        ("scenes-captioner", {"methods": ["tam"]}, "tam needs"),
    ],
)
def test_what_does_not_go_together_is_said_at_once(
    drawn: Path, model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        command(drawn, model=model, **options)


def test_data_without_regions_or_of_other_pictures_are_refused(drawn: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(drawn / "images", images)
    with pytest.raises(DataError, match="tells no regions of words; give a folder that `regard scenes` wrote"):
        command(images, model="scenes-captioner")
    (tmp_path / "captions.csv").write_text("filename,caption\nnowhere.png,a cat\n", encoding="utf-8")
    with pytest.raises(DataError, match="there is no picture 'nowhere"):
        command(drawn, model="scenes-captioner", captions=tmp_path / "captions.csv", split="all")


def test_the_command_writes_a_page_and_holds_it_against_rules(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = drawn / "captions.json"
    result = command(drawn, out, "scenes-captioner", captions=given, which="0", split="all",
                     require=["verdict:nouns:right=supported"])  # fmt: skip
    assert isinstance(result, AuditResult) and len(result.unmet) == 1 and "not decidable" in result.unmet[0]
    assert (out / "report.html").is_file() and read_word_audit(out).note == "captions given"
