"""Bulk work on a real object store, whose conditional writes are asserted first."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from azurite import assert_conditional_writes, azurite
from tars import write_shards

from regard.data.shards import UNIT, open_source
from regard.data.stores import Store
from regard.jobs.bulk import engine_local
from regard.jobs.bulk.job import run_job
from regard.jobs.bulk.plan import plan
from regard.jobs.bulk.tasks import load_task
from regard.jobs.bulk.work import Work, versions
from regard.networks.load import load


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `az://pictures/` is a store on this machine."""
    with azurite(Path(tmp_path_factory.mktemp("azurite"))) as environment:
        assert_conditional_writes(environment)
        yield environment


def test_two_jobs_at_once_leave_in_a_store_what_one_leaves_on_a_disk(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards from the store, results into it; another job is at the same units, and writes some of them first."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store.of("az://pictures/shards")
    for path in sorted(write_shards(tmp_path / "shards", shards=4).glob("*.tar")):
        store.put(path.name, path.read_bytes())
    network = load("random:vit_tiny_patch16_224", classes=("cat", "dog"), size=32, arguments={"depth": 1})

    def work(data: str, out: str) -> Work:
        source = open_source(data, unit=UNIT, skip_bad=True)
        names = ("label", "confidence")
        undone = Work("predict", source, out, network, {}, {}, names, 3, 1, 10**8, UNIT)
        return replace(undone, digest=load_task(undone).digest, versions=versions("predict"))

    pattern = "{000000..000003}.tar"
    there = work(f"az://pictures/shards/{pattern}", "az://pictures/out")
    units = plan(there).units
    outcomes = []
    engine_local.run(there, units[1:3], outcomes.append)  # the other job
    result = run_job(there)
    assert (result.units, result.before, result.pictures) == (4, 2, 16)
    assert run_job(there).before == 4

    run_job(work(f"{tmp_path}/shards/{pattern}", str(tmp_path / "out")))
    assert rows("az://pictures/out") == rows(str(tmp_path / "out"))
    names = sorted(entry.key for entry in Store.of("az://pictures/out").entries())
    assert len(names) == 6 and [name for name in names if not name.endswith(".parquet")] == [
        "job.json",
        "manifest.json",
    ]


def rows(out: str) -> list[dict[str, object]]:
    """All rows of a result, in the order of its pictures' keys."""
    store = Store.of(out)
    parts = [entry.key for entry in store.entries() if entry.key.endswith(".parquet")]
    tables = [pq.read_table(io.BytesIO(store.read(part))) for part in parts]
    return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["name"])
