"""Bad input: one clear line, the right exit code, nothing lost, no traceback."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.app.cli import main

TINY = ("--model", "random:test_vit", "--size", "32", "--workers", "0")
PROBE = ("--recipe", "probe", *TINY)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]):
    """Run a command line that must fail; returns its one line."""

    def command(*words: object, code: int = 1) -> str:
        capsys.readouterr()  # what was said until here
        found = main([str(word) for word in words])
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if line.startswith("regard: ")]
        assert found == code, said.err
        assert len(lines) == 1, said.err
        assert "Traceback" not in said.err
        assert said.out == ""
        return lines[0]

    return command


def _picture(path: Path, level: int = 128, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed + level).normal(level, 20, (40, 60, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders of two classes, five pictures each."""
    for index in range(5):
        _picture(tmp_path / "data" / "cat" / f"{index}.png", 60, index)
        _picture(tmp_path / "data" / "dog" / f"{index}.jpg", 190, index)
    return tmp_path / "data"


def test_an_empty_folder(fails, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in fails("train", tmp_path / "empty", "--out", tmp_path / "run", *PROBE)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_there(fails, tmp_path: Path) -> None:
    assert "absent" in fails("train", tmp_path / "absent", "--out", tmp_path / "run", *PROBE)


def test_one_class_only(fails, folder: Path, tmp_path: Path) -> None:
    for path in (folder / "dog").iterdir():
        path.unlink()
    (folder / "dog").rmdir()
    assert "class" in fails("train", folder, "--out", tmp_path / "run", *PROBE)


def test_a_class_with_one_picture(fails, folder: Path, tmp_path: Path) -> None:
    _picture(folder / "eel" / "only.png")
    assert "'eel'" in fails("train", folder, "--out", tmp_path / "run", *PROBE)


def test_several_labels_per_picture(fails, folder: Path, tmp_path: Path) -> None:
    table = folder / "index.csv"
    table.write_text("filename,label\ncat/0.png,cat\ncat/0.png,dog\ndog/0.jpg,dog\n")
    assert "several labels" in fails("train", table, "--out", tmp_path / "run", *PROBE)


def test_labels_that_do_not_fit_the_network(fails, folder: Path, tmp_path: Path) -> None:
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), *PROBE]) == 0
    (folder / "dog").rename(folder / "wolf")
    line = fails("evaluate", folder, "--model", tmp_path / "run", "--workers", 0)
    assert "'wolf'" in line
    assert "do not fit the network" in line


def test_a_network_whose_outputs_have_no_names(fails, folder: Path) -> None:
    assert "have no names" in fails("evaluate", folder, *TINY)


def test_a_truncated_jpeg_is_named_and_skipped_on_request(fails, folder: Path, tmp_path: Path, capsys) -> None:
    victim = folder / "dog" / "3.jpg"
    victim.write_bytes(victim.read_bytes()[:400])
    words = ("train", folder, "--out", tmp_path / "run", *PROBE)
    assert "3.jpg" in fails(*words)
    assert not (tmp_path / "run").exists()
    assert main([*map(str, words), "--skip-bad"]) == 0
    assert "skipped: " in capsys.readouterr().err
    assert "3.jpg" not in (tmp_path / "run" / "split.csv").read_text()


def test_a_text_file_named_jpg(fails, folder: Path, tmp_path: Path) -> None:
    (folder / "dog" / "notes.jpg").write_text("not a picture at all")
    assert "notes.jpg" in fails("predict", folder, "--out", tmp_path / "out.csv", *TINY)


def test_an_enormous_png_is_refused_by_its_header(fails, tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(content)
    line = fails("predict", tmp_path / "bomb.png", "--out", tmp_path / "out.csv", *TINY)
    assert "bomb.png" in line
    assert "30000" in line.replace(",", "").replace(" ", "")


def test_a_csv_with_a_missing_file(fails, folder: Path, tmp_path: Path) -> None:
    table = folder / "list.csv"
    table.write_text("filename,label\ncat/0.png,cat\ncat/absent.png,cat\ndog/0.jpg,dog\n")
    assert "absent.png" in fails("train", table, "--out", tmp_path / "run", *PROBE)


def test_a_hostile_pickle_runs_nothing(fails, folder: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Hostile()}))
    words = ("train", folder, "--out", tmp_path / "run", "--model", "test_vit", "--weights", tmp_path / "evil.pth")
    assert "evil.pth" in fails(*words)
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_leaves_nothing_half(fails, folder: Path, tmp_path: Path, monkeypatch) -> None:
    import errno

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("regard.files.os.fsync", full)
    assert "the disk is full" in fails("train", folder, "--out", tmp_path / "run", *PROBE)
    assert not (tmp_path / "run").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".run")]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place that nobody can write, such as /proc")
def test_a_place_that_cannot_be_written(fails, folder: Path) -> None:
    assert "cannot write /proc/" in fails("positions", "--out", "/proc/run", *TINY[:4])


def test_an_output_that_exists(fails, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    for more in ((), ("--overwrite",)):
        line = fails("train", folder, "--out", tmp_path / "run", *PROBE, *more)
        assert "choose another --out" in line
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "out.csv").write_text("mine")
    assert "exists already" in fails("predict", folder, "--out", tmp_path / "out.csv", *TINY)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("explain", "x", "--out", "y", "--method", "atention"), "'attention'"),
        (("train", "x", "--out", "y", "--recipe", "prob"), "'probe'"),
        (("positions", "--out", "y", "--model", "vit_tiny_patch16_242"), "'vit_tiny_patch16_224'"),
        (("positions", "--out", "y", "--scale", "share", *TINY[:4]), "'shared'"),
        (("positions", "--out", "y", *TINY[:4], "--colours", "virids"), "'viridis'"),
        (("tran", "x"), "'train'"),
        (("train", "x", "--out", "y", "--precision", "float23", *PROBE), ""),
    ],
)
def test_an_unknown_name_offers_the_nearest(fails, words, near: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    _picture(tmp_path / "x" / "cat" / "1.png")
    _picture(tmp_path / "x" / "cat" / "2.png", 100)
    _picture(tmp_path / "x" / "dog" / "1.png", 50)
    _picture(tmp_path / "x" / "dog" / "2.png", 20)
    assert near in fails(*words, code=2)


def test_an_unknown_column_offers_the_nearest(fails, folder: Path, tmp_path: Path) -> None:
    (folder / "index.csv").write_text(
        "filename,label,animal\n"
        + "".join(f"{kind}/{i}.{end},{kind},{i}\n" for kind, end in (("cat", "png"), ("dog", "jpg")) for i in range(5))
    )
    assert "'animal'" in fails("train", folder, "--out", tmp_path / "run", "--group", "anmal", *PROBE, code=2)


def test_no_network_for_a_hub_name(fails, folder: Path, tmp_path: Path) -> None:
    line = fails("train", folder, "--out", tmp_path / "run", "--model", "vit_tiny_patch16_224")
    assert "cannot fetch the weights of vit_tiny_patch16_224" in line
    assert "--weights" in line


def test_html_in_names_of_files_and_classes(folder: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    names = folder / "index.csv"
    rows = [f'cat/{i}.png,"{evil}"' for i in range(5)] + [f"dog/{i}.jpg,dog" for i in range(5)]
    names.write_text("filename,label\n" + "\n".join(rows) + "\n")
    (folder / "cat" / "4.png").rename(folder / "cat" / "<img src=x onerror=alert(2)>.png")
    names.write_text(names.read_text().replace("cat/4.png", '"cat/<img src=x onerror=alert(2)>.png"'))
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), *PROBE]) == 0
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert evil not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;" in html


def test_a_run_that_is_damaged(fails, folder: Path, tmp_path: Path) -> None:
    assert main(["train", str(folder), "--out", str(tmp_path / "run"), *PROBE]) == 0
    weights = tmp_path / "run" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "model.safetensors" in fails("predict", folder, "--model", tmp_path / "run", "--out", tmp_path / "p.csv")
    stored = json.loads((tmp_path / "run" / "model.json").read_text())
    (tmp_path / "run" / "model.json").write_text(json.dumps(stored | {"schema": 99}))
    assert "upgrade regard" in fails("predict", folder, "--model", tmp_path / "run", "--out", tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("--help",), 0), (("train", "absent-folder", "--out", "run"), 1), (("explain", "x"), 2)],
)
def test_exit_codes_of_the_real_program(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "regard", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
