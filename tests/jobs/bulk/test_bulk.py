"""Bulk work: the same bytes whoever does it, nothing missing or doubled, and whatever goes wrong said in one line."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tars import png, write_shards, write_tar
from tiny_vits import CLASSES, CLS, awake

import regard
from regard.data.shards import UNIT, Shard, open_source
from regard.errors import DataError, OutputError, UsageError
from regard.jobs.bulk import job, tasks, work
from regard.jobs.bulk.columns import columns_of
from regard.jobs.bulk.engine_local import StoppedError, in_turn
from regard.jobs.bulk.job import run_job
from regard.jobs.bulk.pace import Pace
from regard.jobs.bulk.plan import plan
from regard.jobs.bulk.worker import Worker
from regard.results.bulk import BulkResult

NAMES = [f"class {index}" for index in range(CLASSES)]


@pytest.fixture(scope="module")
def network():
    return regard.load(awake(CLS), classes=NAMES)


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three shards of four pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_shards(tmp_path / "shards")


def work_of(data: Path, out: Path, network, *, unit: int = UNIT, command: str = "predict", **more) -> work.Work:
    settings = {"method": "gradcam"} if command == "explain" else {}
    values = {
        "columns": tuple(column.name for column in columns_of(command, None)),
        "settings": settings,
        "batch_size": 3,
        "threads": 1,
        **more,
    }
    return work.Work(
        command,
        open_source(data, unit=unit, skip_bad=True),
        str(out),
        network,
        {},
        values["settings"],
        values["columns"],
        values["batch_size"],
        values["threads"],
        10**8,
        unit,
    )


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int, action) -> None:
    """Have `action` called when the task begins with its batch `at`, from 0."""
    count = iter(range(10**6))
    before = tasks._Prediction.columns

    def columns(self, pictures):
        if next(count) == at:
            action()
        return before(self, pictures)

    monkeypatch.setattr(tasks._Prediction, "columns", columns)


def test_each_picture_has_its_row_with_its_hash_and_what_the_command_says(
    shards: Path, tmp_path: Path, network
) -> None:
    result = regard.predict(
        shards, tmp_path / "out", model=network, jobs="local", columns="label,confidence,top5,probs,artifacts,truth"
    )
    assert str(result) == f"12 pictures in 3 units, 3 of them new, in {tmp_path / 'out'}"
    rows = list(result.result.rows())
    assert [row["name"] for row in rows] == [f"{number:07d}" for number in range(12)]
    classifier = regard.Classifier(network)
    for number, row in enumerate(rows):
        record = classifier(png(number))
        np.testing.assert_allclose(row["probs"], record.probabilities[0], rtol=1e-5)
        assert row["label"] == record.labels[0] == row["top5"][0]
        assert row["confidence"] == row["top5_probability"][0] == max(row["probs"])
        assert row["truth"] == ("cat", "dog")[number % 2] and row["error"] is None
        assert 0 <= row["artifact_share"] < 1
    import hashlib

    assert rows[5]["sha256"] == hashlib.sha256(png(5)).hexdigest()
    import pandas as pd

    assert len(pd.read_parquet(tmp_path / "out" / "pictures")) == 12
    metadata = json.loads(pq.read_schema(next((tmp_path / "out" / "pictures").iterdir())).metadata[b"regard"])
    assert (metadata["batch_size"], metadata["precision"], metadata["device"][:3]) == (32, "float32", "cpu")


def test_a_second_run_does_only_what_is_new(shards: Path, tmp_path: Path, network) -> None:
    out = tmp_path / "out"
    run_job(work_of(shards, out, network))
    before = content(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = run_job(work_of(shards, out, network))
    assert (again.before, again.units) == (3, 3) and content(out) == before
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    write_tar(shards / "000003.tar", {"new.png": png(99), "broken.png": b"no picture"})
    more = run_job(work_of(shards, out, network))
    assert (more.before, more.units, more.pictures, more.errors) == (3, 4, 14, 1)
    after = content(out)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    row = next(row for row in BulkResult.open(out).rows() if row["error"])
    assert row["name"] == "broken" and "broken" in row["error"] and row["label"] is None and len(row["sha256"]) == 64
    run_job(work_of(shards, tmp_path / "fresh", network))  # what is gone on with has the bytes of what was not
    assert content(tmp_path / "fresh") == after


def test_ranks_share_units_without_a_word_and_steal_what_is_left(
    shards: Path, tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_turn(range(7), 1, 3) == [1, 4, 6, 5, 3, 2, 0]
    run_job(work_of(shards, tmp_path / "one", network))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    run_job(work_of(shards, tmp_path / "two", network))  # the other rank never came: this one has done all of it
    assert "manifest.json" not in content(tmp_path / "two")
    monkeypatch.setenv("RANK", "0")
    run_job(work_of(shards, tmp_path / "two", network))
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_a_rank_that_says_nothing_ends_well(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run("methods") == (0, "", "")


def test_two_jobs_at_once_on_one_output_give_one_result(
    shards: Path, tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(work_of(shards, tmp_path / "one", network))
    interrupt(monkeypatch, 1, lambda: run_job(work_of(shards, tmp_path / "two", network)))
    run_job(work_of(shards, tmp_path / "two", network))
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_between_units_and_the_same_command_goes_on(
    shards: Path, tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        interrupt(patch, 2, lambda: signal.raise_signal(number))
        with pytest.raises(StoppedError, match="1 of 3 units are there, whole; the same command goes on") as stopped:
            run_job(work_of(shards, tmp_path / "out", network))
    assert stopped.value.exit_code == code and signal.getsignal(number) == before
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 1
    run_job(work_of(shards, tmp_path / "out", network))
    run_job(work_of(shards, tmp_path / "whole", network))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_other_settings_and_other_shards_are_refused_and_nothing_is_lost(shards: Path, tmp_path: Path, network) -> None:
    out = tmp_path / "out"
    run_job(work_of(shards, out, network))
    before = content(out)
    with pytest.raises(OutputError, match=r"batch size 3, here 4\); choose another --out, or --overwrite"):
        run_job(work_of(shards, out, network, batch_size=4))
    write_tar(shards / "000001.tar", {"another.png": png(7)})
    with pytest.raises(OutputError, match=r"1 result of shards that changed .*the first is of 000001\.tar"):
        run_job(work_of(shards, out, network))
    assert content(out) == before
    replaced = run_job(work_of(shards, out, network), overwrite=True)
    assert (replaced.before, replaced.units) == (2, 3)
    assert len(list((out / "pictures").iterdir())) == 3
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds what no bulk job wrote there"):
        run_job(work_of(shards, out, network), overwrite=True)


def test_a_disk_that_fills_is_one_line_and_what_was_done_stays(
    shards: Path, tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    before = os.fsync
    count = iter(range(100))

    def full(descriptor: int) -> None:
        if next(count) == 3:  # job.json and two units fit
            raise OSError(28, "No space left on device")
        before(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="the disk is full"):
            run_job(work_of(shards, out, network))
    files = content(out)
    assert len(files) == 3 and not [name for name in files if "/." in name]
    run_job(work_of(shards, out, network))
    assert len(content(out)) == 5


def test_a_shard_that_goes_while_the_job_runs_ends_no_other_unit(
    shards: Path, tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, 0, (shards / "000002.tar").unlink)
    with pytest.raises(
        DataError, match=r"1 unit of 3 could not be read \(the first: .*000002.tar.*goes on with the rest"
    ):
        run_job(work_of(shards, tmp_path / "out", network))
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 2
    with pytest.raises(DataError, match="is not finished"):
        BulkResult.open(tmp_path / "out")


def test_a_name_is_of_content_and_settings_and_keys_are_there_once(shards: Path, tmp_path: Path, network) -> None:
    def names(**more) -> list[str]:
        return [unit.name for unit in plan(work_of(shards, tmp_path / "out", network, **more)).units]

    first = names()
    assert names() == first
    assert not {*names(batch_size=4)} & {*first} and not {*names(columns=("label",))} & {*first}
    os.utime(shards / "000001.tar", ns=(1, 1))
    assert [here == there for here, there in zip(names(), first, strict=True)] == [True, False, True]
    write_tar(shards / "000003.tar", {"0000005.png": png(5)})
    with pytest.raises(DataError, match=r"1 key \('0000005'\) is there more than once, over all its shards"):
        names()


def test_workers_with_other_versions_or_another_network_are_refused(shards: Path, tmp_path: Path, network) -> None:
    planned = work_of(shards, tmp_path / "out", network)
    here = work.versions("predict")
    with pytest.raises(UsageError, match=r"other versions than the job \(torch .* for 1.0\)"):
        Worker(replace(planned, versions={**here, "torch": "1.0"}))
    with pytest.raises(UsageError, match="another network"):
        Worker(replace(planned, versions=here, digest="0" * 64))


def test_maps_are_those_of_explain_whole_or_in_sixteen_by_sixteen_cells(
    tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    regard.scenes(5, tmp_path / "drawn", size=64)
    data = tmp_path / "drawn" / "images"
    how = {"model": network, "method": "gradcam"}
    expected = regard.explain(data, workers=0, **how).explanation
    result = regard.explain(data, tmp_path / "out", jobs="local", unit=2, columns="map,box,target,map16", **how)
    assert result.units == 3
    records = list(result.result.explanations())
    assert [len(each) for each in records] == [2, 2, 1]
    maps = [heatmap for each in records for heatmap in each]
    for mine, theirs in zip(maps, expected, strict=True):
        assert (mine.name, mine.grid, mine.target) == (theirs.name, theirs.grid, theirs.target)
        np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-4, atol=1e-6)
    for row, heatmap in zip(result.result.rows(), expected, strict=True):
        cells = row["map16_low"] + np.array(row["map16"]) / 255 * (row["map16_high"] - row["map16_low"])
        step = (row["map16_high"] - row["map16_low"]) / 255
        assert cells.size == 256 and abs(cells.mean() - heatmap.values.mean()) <= step
    with pytest.raises(DataError, match="kind 'bulk', not 'explanation'"):
        regard.records.Explanation.load(tmp_path / "out")


def test_captions_are_those_of_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    regard.scenes(2, tmp_path / "drawn", size=64)
    captioner = regard.Captioner("scenes-captioner")
    how = {"model": captioner.network, "limit": 4}
    data = tmp_path / "drawn" / "images"
    result = regard.caption(data, tmp_path / "out", jobs="local", columns="caption,words,maps", **how)
    for row in result.result.rows():
        caption = captioner(data / row["name"], limit=4)
        assert row["caption"] == caption.text and row["words"] == [word.text for word in caption.words]
        maps = np.array(row["word_maps"], np.float32).reshape(-1, row["rows"], row["columns"])
        np.testing.assert_allclose(maps, caption.maps, atol=1e-5)


def test_a_dry_run_writes_nothing_and_says_how_much_there_is(
    shards: Path, tmp_path: Path, network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "SAMPLE", 0.2)
    result = regard.predict(shards, tmp_path / "out", model=network, jobs="local", dry_run=True, batch_size=3)
    assert not (tmp_path / "out").exists()
    assert (result.units, result.before, result.pictures, result.requests) == (3, 0, 12, 9)
    assert result.hours is not None and 0 < result.hours < 1 and "nothing was written" in str(result)
    alone = regard.predict(shards, tmp_path / "out", model=network, jobs="local", dry_run=True, batch_size=300)
    assert alone.hours is None or alone.hours > 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--jobs", "loca"), "unknown engine of --jobs 'loca'; did you mean 'local'?"),
        (
            ("--jobs", "local", "--columns", "lable"),
            "unknown column of `regard predict` 'lable'; did you mean 'label'?",
        ),
        (("--jobs", "local", "--probs"), "--probs is not for bulk work"),
        (("--columns", "label"), "--columns is of bulk work; give --jobs local with it"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(shards: Path, tmp_path: Path, run, words, line: str) -> None:
    code, _, errors = run("predict", shards, "--out", tmp_path / "out", *words)
    assert code == 2 and line in errors and errors.count("\n") == 1


def test_a_straggler_takes_several_times_as_long_as_the_others() -> None:
    pace = Pace(1000)
    assert pace.late(9.0, 10) is None and pace.left() is None
    for _ in range(5):
        pace.add(1.0, 10)
    assert pace.late(3.9, 10) is None and pace.late(5.0, 10) == pytest.approx(5.0)
    assert pace.late(2.9, 1) is None  # too short to be worth a line
    assert pace.late(3.9, 2) == pytest.approx(19.5)  # fewer pictures, as of the last shard
    assert pace.left() is not None


def test_a_unit_is_what_was_planned_or_nothing(shards: Path, tmp_path: Path, network) -> None:
    planned = replace(work_of(shards, tmp_path / "out", network), versions=work.versions("predict"))
    unit = plan(planned).units[0]
    outcome = Worker(planned).do(replace(unit, name="0" * 24))
    assert "has other pictures than when the job was planned" in outcome.failure and not outcome.wrote
    gone = replace(unit, shard=Shard(str(shards / "none.tar"), 1, "1"))
    assert "none.tar" in Worker(planned).do(gone).failure
    assert not (tmp_path / "out").exists()
