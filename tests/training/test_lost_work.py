"""A finished training is never lost: not to a name, not to its report, not to a second command."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny_captions import draw_captioned
from tiny_training import draw_pictures

from regard.data.splits import read_split
from regard.errors import OutputError
from regard.files import claimed
from regard.results.writer import ResumableWriter
from regard.training.folder import state_of

TINY = ("--model", "random:test_vit", "--size", "32", "--workers", "0")
PROBE = ("--recipe", "probe", *TINY)
TUNED = (*TINY, "--epochs", 1, "--search", "never", "--open-layers", 1, "--precision", "float32")
DECODER = ("--decoder-layers", 1, "--decoder-width", 32, "--decoder-heads", 2, "--longest", 8)
CAPTIONER = ("--task", "caption", *TINY, *DECODER, "--epochs", 1, "--precision", "float32")
BYTES = b"caf\xe9"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of tests stay among the tests."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "data", each=6)


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_captioned(tmp_path_factory.mktemp("captioned") / "data", each=2)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the times."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "timing.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a file name be any bytes")
@pytest.mark.parametrize("recipe", [TUNED, PROBE], ids=["finetune", "probe"])
def test_names_of_pictures_and_classes_that_are_no_text(recipe: tuple, tmp_path: Path, run: Run) -> None:
    data = draw_pictures(tmp_path / "data", each=4)
    odd = Path(os.fsdecode(os.fsencode(data) + b"/" + BYTES))
    (data / "red").rename(odd)
    for path in list(odd.iterdir()):
        path.rename(odd / os.fsdecode(path.stem.encode() + BYTES + b".png"))
    code, out, err = run("train", data, "--out", tmp_path / "run", *recipe, "--json")
    assert code == 0, err
    assert os.fsdecode(BYTES) in json.loads(out)["classes"]
    assert (tmp_path / "run" / "report.html").is_file()
    scores = (tmp_path / "run" / "evaluation" / "scores.json").read_text(encoding="utf-8")  # valid UTF-8
    assert os.fsdecode(BYTES) in json.loads(scores)["classes"]
    if recipe == TUNED:
        code, out, err = run("train", data, "--out", tmp_path / "run", *recipe, "--resume")
        assert code == 0, err
        assert "finished already" in err
    words = ("--model", tmp_path / "run", "--workers", 0)
    if recipe == PROBE:  # its answers out of fold are found again under names that are no text
        code, out, err = run("evaluate", data, *words, "--json")
        assert code == 0 and json.loads(out)["note"] == "cross-validated" and json.loads(out)["n"] == 16, err
    code, out, err = run("evaluate", data, *words, "--split", "all", "--keep-seen", "--out", tmp_path / "e", "--json")
    assert code == 0, err
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    code, out, err = run("compare", tmp_path / "run", tmp_path / "copy", "--out", tmp_path / "compared")
    assert code == 0, err
    made = tmp_path / "made.csv"
    assert run("predict", data, *words, "--probs", "--out", made)[0] == 0
    code, out, err = run("evaluate", data, "--predictions", made, "--json")
    assert code == 0, err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a file name be any bytes")
def test_a_captioners_pictures_whose_names_are_no_text(tmp_path: Path, run: Run) -> None:
    """The names come from a table of captions as COCO has it, where JSON holds any of them."""
    table = draw_captioned(tmp_path / "data", each=2)
    odd = os.fsdecode(BYTES) + ".png"
    images: dict[str, dict] = {}
    captions = []
    for row in csv.DictReader(table.read_text().splitlines()):
        path = table.parent / row["filename"]
        if path.name.startswith("blue_left_0"):
            path = path.rename(path.with_name(odd)) if path.exists() else path.with_name(odd)
        name = path.relative_to(table.parent).as_posix()
        image = images.setdefault(name, {"id": len(images), "file_name": name, "width": 32, "height": 32})
        captions.append({"id": len(captions), "image_id": image["id"], "caption": row["caption"]})
    table.unlink()
    file = table.with_name("captions.json")
    file.write_text(json.dumps({"images": list(images.values()), "annotations": captions}))
    code, _, err = run("train", file, "--out", tmp_path / "run", *CAPTIONER)
    assert code == 0, err
    lines = (tmp_path / "run" / "evaluation" / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = read_split(tmp_path / "run" / "split.csv")
    assert f"images/{odd}" in {row.filename for row in rows}
    assert {json.loads(line)["name"] for line in lines} == {row.filename for row in rows if row.split == "val"}
    code, _, err = run(
        "evaluate", file, "--model", tmp_path / "run", "--split", "all", "--keep-seen", "--out", tmp_path / "e"
    )
    assert code == 0, err
    lines = (tmp_path / "e" / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    assert f"images/{odd}" in {json.loads(line)["name"] for line in lines}


@pytest.mark.parametrize(("what", "fails"), [("finetune", "table"), ("probe", "page"), ("captioner", "score")])
def test_what_fails_after_the_training_costs_no_network(
    what: str, fails: str, data: Path, captions: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is there and can be used; `--resume` writes the rest, to the bytes of a run that had no trouble."""
    source = captions if what == "captioner" else data
    words = {"finetune": TUNED, "probe": PROBE, "captioner": CAPTIONER}[what]
    assert run("train", source, "--out", tmp_path / "whole" / "run", *words)[0] == 0
    out = tmp_path / "broken" / "run"
    places = {
        "score": "regard.training.tasks.captioning.score_captions",
        "table": "regard.results.evaluations.write_manifest",
        "page": "regard.app.report.report",
    }

    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("something nobody thought of")

    with monkeypatch.context() as patch:
        patch.setattr(places[fails], broken)
        with pytest.raises(RuntimeError, match="nobody thought of"):
            run("train", source, "--out", out, *words)
    assert (out / "model.json").is_file() and not (out / "report.html").exists()
    assert state_of(out) == "begun"
    pictures = captions.parent / "images" if what == "captioner" else data
    command = "caption" if what == "captioner" else "predict"
    code, _, err = run(command, pictures, "--model", out, "--out", tmp_path / "used.csv")
    assert code == 0, err
    code, _, err = run("train", source, "--out", out, *words)
    assert code == 1 and "--resume goes on" in err
    code, _, err = run("train", source, "--out", out, *words, "--resume")
    assert code == 0, err
    assert contents(out) == contents(tmp_path / "whole" / "run")


def test_ctrl_c_and_a_full_disk_at_the_report(data: Path, tmp_path: Path, run: Run, monkeypatch) -> None:
    out = tmp_path / "run"
    for error, said, code in [
        (KeyboardInterrupt(), "interrupted while results were written", 130),
        (OSError(28, "No space left on device"), "the disk is full", 1),
    ]:

        def broken(*arguments: object, error: BaseException = error, **options: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("regard.app.report.report", broken)
            found, _, err = run("train", data, "--out", out, *TUNED, "--resume")
        assert found == code
        assert said in err and "the network is trained and saved" in err and "--resume writes the rest" in err
        assert len(err.strip().splitlines()[-1].split("Traceback")) == 1
    assert run("train", data, "--out", out, *TUNED, "--resume")[0] == 0


def test_a_finished_run_names_what_is_different_now(data: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "run"
    assert run("train", data, "--out", out, *TUNED)[0] == 0
    before = contents(out)
    other = draw_pictures(tmp_path / "other", each=6, seed=1)
    fewer = draw_pictures(tmp_path / "fewer", each=5)
    for source, words, code, said in [
        (data, ("--epochs", 30), 2, "epochs was 1 and is now 30"),
        (data, ("--seed", 3), 2, "seed was 0 and is now 3"),
        (tmp_path / "nowhere", (), 1, "nowhere"),
        (other, (), 1, "the data changed since"),
        (fewer, (), 1, "gone"),
        (data, ("--model", "random:test_vit2"), 2, "network was"),
        (data, ("--recipe", "dlcv"), 2, "recipe was 'finetune' and is now 'dlcv'"),
    ]:
        found, _, err = run("train", source, "--out", out, *TUNED, *words, "--resume")
        assert found == code, err
        assert said in err, err
        assert len(err.strip().splitlines()) >= 1 and "Traceback" not in err
    found, _, err = run("train", data, "--out", out, *TUNED, "--resume")
    assert found == 0 and "finished already" in err
    assert contents(out) == before
    (out / "run.json").unlink()  # as runs of older versions are
    found, _, err = run("train", other, "--out", out, *TUNED, "--resume")
    assert found == 1 and "the data changed since" in err
    assert run("train", data, "--out", out, *TUNED, "--resume")[0] == 0


HOLDER = """
import sys
from regard.files import claimed
with claimed(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="locks are those of POSIX")
def test_two_at_once_into_one_place(data: Path, tmp_path: Path, run: Run) -> None:
    """One line while the other lives, nothing is touched; a dead owner holds nothing, and no lock is left behind."""
    commands = {
        "run": ("train", data, *TUNED),
        "maps": ("explain", data, *TINY),
        "made.csv": ("predict", data, *TINY),
        "scores": ("evaluate", data, "--predictions", tmp_path / "answers.csv"),
    }
    rows = [f"{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
    (tmp_path / "answers.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    for name, words in commands.items():
        out = tmp_path / name
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with holder:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            code, _, err = run(*words, "--out", out)
            assert code == 1, err
            assert f"{name} is being written by another regard; wait" in err.splitlines()[-1]
            assert not out.exists() and not out.with_name(f"{name}.part").exists()
            holder.kill()
        code, _, err = run(*words, "--out", out)
        assert code == 0, err
        assert not list(tmp_path.glob(".*")), name


def test_a_place_is_claimed_by_one_thread_and_again_inside_it(tmp_path: Path) -> None:
    with claimed(tmp_path / "out"), claimed(tmp_path / "also" / ".." / "out"):
        with ThreadPoolExecutor(1) as pool, pytest.raises(OutputError, match="by another regard"):
            pool.submit(lambda: claimed(tmp_path / "out").__enter__()).result()
        with claimed(tmp_path / "other"):
            pass
    assert [path.name for path in tmp_path.iterdir()] == []


def test_ctrl_c_says_what_is_kept(data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `predict`, `explain` and `caption`, whose writer says it; with nothing done, that nothing is kept."""
    commit = ResumableWriter.commit
    for command, words, after in [
        ("predict", (*TINY, "--batch-size", 4), 2),
        ("explain", (*TINY, "--batch-size", 4), 2),
        ("predict", (*TINY, "--batch-size", 4), 0),
    ]:
        calls = iter(range(100))

        def stopped(self, pictures: int, calls=calls, after: int = after) -> None:
            if next(calls) == after:
                raise KeyboardInterrupt
            commit(self, pictures)

        out = tmp_path / f"{command}{after}"
        with monkeypatch.context() as patch:
            patch.setattr(ResumableWriter, "commit", stopped)
            code, _, err = run(command, data, *words, "--out", out)
        assert code == 130
        if after:
            assert f"interrupted; 8 of 24 pictures are done and kept in {out}.part" in err
            assert "the same command goes on" in err
        else:
            assert "nothing is kept" in err
        code, _, err = run(command, data, *words, "--out", out)
        assert code == 0
        assert ("going on after 8 of 24 pictures" in err) == bool(after)
