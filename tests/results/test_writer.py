"""The resumable writer: what is committed stays, what is not is cut off, and what is not ours is left alone."""

import json
from pathlib import Path

import pytest

from regard.errors import OutputError
from regard.results.predictions import PredictionWriter
from regard.results.writer import ResumableWriter


class Lines(ResumableWriter):
    command = "test"
    flush_every = 2


def _interrupted(out: Path, fingerprint: str = "a", count: int = 3) -> None:
    with pytest.raises(KeyboardInterrupt), Lines.open(out, fingerprint, 9) as writer:
        for number in range(count):
            writer.add({"number": number})
            writer.commit(number + 1)
        writer.add({"number": "not committed"})
        raise KeyboardInterrupt


def test_what_is_committed_is_there_after_an_interruption(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _interrupted(tmp_path / "out")
    with caplog.at_level("INFO", "regard"), Lines.open(tmp_path / "out", "a", 9) as writer:
        assert (writer.n, writer.pictures) == (3, 3)
        writer.add({"number": 3})
        writer.commit(5)
        assert [entry["number"] for entry in writer.entries()] == [0, 1, 2, 3]
        writer.remove()
    assert caplog.messages == ["going on after 3 of 9 pictures"]
    assert not list(tmp_path.iterdir())


def test_another_fingerprint_starts_anew_and_nothing_committed_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _interrupted(tmp_path / "out")
    with caplog.at_level("INFO", "regard"), Lines.open(tmp_path / "out", "b", 9) as writer:
        assert (writer.n, writer.pictures) == (0, 0)
    assert "starting anew" in caplog.messages[0]
    assert not list(tmp_path.iterdir())


def test_another_command_of_regard_is_replaced_and_a_stranger_is_not(tmp_path: Path) -> None:
    part = tmp_path / "out.part"
    part.mkdir()
    for kind in ("regard thesis", "my own, unfinished", "regard x, unfinished and more", 3):
        (part / "progress.json").write_text(json.dumps({"kind": kind}))
        with pytest.raises(OutputError, match="in the way"), Lines.open(tmp_path / "out", "a", 9):
            pass
    (part / "progress.json").write_text(json.dumps({"kind": "regard caption, unfinished"}))
    with Lines.open(tmp_path / "out", "a", 9) as writer:
        assert writer.n == 0


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "out.csv.part").write_text("mine")
    with pytest.raises(OutputError, match="in the way"), PredictionWriter.open(tmp_path / "out.csv", "a", 9):
        pass
    assert (tmp_path / "out.csv.part").read_text() == "mine"


ROWS = "filename,label\na.png,cat\nb.png,dog\n"


def _older(out: Path, fingerprint: str) -> None:
    """What `regard predict` left when it was stopped, before it wrote a folder."""
    out.with_name("out.csv.part").write_text(f"{ROWS}c.p")
    progress = {"of": fingerprint, "bytes": len(ROWS), "rows": 2, "pictures": 3}
    out.with_name("out.csv.part.json").write_text(json.dumps(progress))


def test_what_an_earlier_version_left_is_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    _older(out, "a")
    with PredictionWriter.open(out, "a", 9) as writer:
        assert (writer.n, writer.pictures) == (2, 3)
        writer.append("c.png", "cat")
        writer.commit(4)
        writer.finish_file(out)
    assert out.read_text() == f"{ROWS}c.png,cat\n"
    assert list(tmp_path.iterdir()) == [out]


def test_what_an_earlier_version_left_of_other_pictures_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out.csv"
    _older(out, "b")
    with caplog.at_level("INFO", "regard"), PredictionWriter.open(out, "a", 9) as writer:
        assert writer.n == 0
        writer.columns = ("cat",)
        writer.append("c.png", "cat", (1.0,))
        writer.commit(1)
        writer.finish_file(out)
    assert "starting anew" in caplog.messages[0]
    assert out.read_text() == "filename,label,p:cat\nc.png,cat,1\n"
