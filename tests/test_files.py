"""Nothing half-written, nothing lost: files and folders appear whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regard.errors import OutputError
from regard.files import MARKERS, check_free, file_hash, new_folder, write_file, write_json, writing


def test_write_file_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_file(path, "first")
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_file(tmp_path / "b.txt", "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("regard.files.os.fsync", full)
    with pytest.raises(OutputError, match="disk is full; free some space"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.txt"]


@pytest.mark.parametrize(("number", "words"), [(errno.EROFS, "read-only"), (errno.EACCES, "no permission")])
def test_errors_of_the_system_are_said_in_one_line(number: int, words: str) -> None:
    with pytest.raises(OutputError, match=words) as caught, writing("some/place"):
        raise OSError(number, "refused")
    assert "some/place" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_input_is_not_called_a_failure_to_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "absent").read_bytes()


def test_json_refuses_what_json_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not (tmp_path / "a.json").exists()


def _fill(folder: Path, content: str) -> None:
    (folder / "text").write_text(content)
    write_json(folder / MARKERS[0], {})


KILLED = """
import os, signal, sys
from regard.files import new_folder, write_json
with new_folder(sys.argv[1], overwrite=True) as aside:
    write_json(aside / "manifest.json", {"half": True})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_named_and_removed_by_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    write_json(out / "manifest.json", {"whole": True})
    users = [tmp_path / name for name in (".out.settings", ".out2.abcdefgh.part", ".out.abcdefgh.part2")]
    for each in users:
        each.mkdir()
    assert subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False).returncode == -signal.SIGKILL
    assert "whole" in (out / "manifest.json").read_text()
    left = [entry for entry in tmp_path.iterdir() if entry not in (*users, out) and entry.is_dir()]
    assert len(left) == 1
    with caplog.at_level("INFO", "regard"), new_folder(out, overwrite=True) as aside:
        write_json(aside / "manifest.json", {"new": True})
    assert str(left[0]) in caplog.text
    assert {*tmp_path.iterdir()} == {out, *users}


def test_new_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as aside:
        _fill(aside, "one")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "text").read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as aside:
        _fill(aside, "one")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out", overwrite=True) as aside:
        _fill(aside, "two")
        raise KeyboardInterrupt
    assert (tmp_path / "out" / "text").read_text() == "one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_overwrite_exchanges(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with new_folder(tmp_path / "out", overwrite=True) as aside:
            _fill(aside, content)
    assert (tmp_path / "out" / "text").read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_exists_is_kept_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="exists already; choose another --out, or --overwrite"):
        check_free(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        check_free(tmp_path / "thesis.txt")
    check_free(tmp_path / "new")


def test_overwrite_never_replaces_a_folder_that_regard_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not written by regard"), new_folder(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_path_through_a_file_is_said(tmp_path: Path) -> None:
    write_file(tmp_path / "file", "x")
    with (
        pytest.raises(OutputError, match=r"a file is in the way|is a file, not a folder"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pass


def test_file_hash_is_sha256(tmp_path: Path) -> None:
    path = write_file(tmp_path / "abc", "abc")
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4's example


def test_write_json_is_readable(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"näme": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"näme": [1, None]}
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_files_of_many_threads_leave_the_mask_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.umask

    def slow(mask: int) -> int:
        before = original(mask)
        time.sleep(0.01)
        return before

    mask = original(0o077)
    try:
        monkeypatch.setattr(os, "umask", slow)
        with ThreadPoolExecutor(4) as pool:
            files = list(pool.map(lambda at: write_file(tmp_path / f"{at}", "x"), range(8)))
        assert original(mask) == 0o077
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    finally:
        original(mask)
