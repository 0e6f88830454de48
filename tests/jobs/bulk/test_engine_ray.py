"""Units done by Ray: the same bytes, whoever dies; addresses that are none are refused before Ray waits for them."""

import os
import pickle
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray_cluster import command_line, descendants, kill
from tars import write_shards

import regard
from regard.data.shards import UNIT, open_source
from regard.errors import OutputError, UsageError
from regard.jobs.bulk import engine_local, tasks
from regard.jobs.bulk.engine_ray import driver
from regard.jobs.bulk.engine_ray.actor import BulkActor
from regard.jobs.bulk.engine_ray.address import ray_address
from regard.jobs.bulk.engine_ray.queue import Place, Queue
from regard.jobs.bulk.plan import Unit, plan
from regard.jobs.bulk.tasks import load_task
from regard.jobs.bulk.work import Work, versions
from regard.jobs.bulk.worker import Outcome
from regard.networks.load import load
from regard.networks.run import save_network

# where Ray is


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ray://head:10001", "Ray Client, which is not for long work.*ray job submit.*docs/ray.md"),
        ("http://head:8265", "where jobs are submitted; `ray job submit`"),
        ("head", "'head'; give HOST:PORT of a cluster's head, or local"),
        ("head:", "'head:'; give HOST:PORT"),
    ],
)
def test_an_address_of_another_kind_is_refused(address: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        ray_address(address)


def test_where_nothing_listens_is_no_ray() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(UsageError, match=r"where no Ray is \(Connection refused\); give HOST:PORT as `ray start"):
            ray_address(f"127.0.0.1:{unused.getsockname()[1]}")


@contextmanager
def web_server() -> Iterator[str]:
    """What listens and is no Ray."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    thread.join()
    server.server_close()


def test_what_listens_and_is_no_ray_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with web_server() as address, pytest.raises(UsageError, match=r"where no Ray is \(what is there does not speak"):
        ray_address(address)


@pytest.mark.parametrize(("address", "joined"), [("", None), ("local", None), ("auto", "auto")])
def test_without_an_address_ray_starts_here(address: str, joined: str | None) -> None:
    assert ray_address(address) == joined


@pytest.mark.parametrize("address", ["", "ray://head:10001"])
def test_what_is_missing_is_said_before_anything_is_loaded(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(driver, "find_spec", lambda name: None)
    monkeypatch.setenv("RAY_ADDRESS", address)
    write_shards(tmp_path / "shards")
    with pytest.raises(UsageError, match=r"ray job submit" if address else r"pip install 'regard\[ray\]'"):
        regard.predict(tmp_path / "shards", tmp_path / "out", jobs="ray")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match=r"ray job submit" if address else r"pip install 'regard\[ray\]'"):
        driver.run(None, [], print)


# the queue


def unit(name: str) -> Unit:
    return Unit(name, None, 4, 100)


def test_units_go_round_and_come_back_from_who_died() -> None:
    queue = Queue.of([unit(name) for name in "abcd"])
    places = [Place(None, "n", None) for _ in range(2)]
    first = queue.take(places[0], places)
    assert (first.name, places[0].ahead.name) == ("a", "b")
    assert queue.take(places[1], places).name == "c"
    queue.give_back(places[0])
    assert queue.take(Place(None, "n", None), places).name == "a"
    assert queue.finish(first) and not queue.finish(first)


def test_at_the_end_units_are_taken_from_who_is_late() -> None:
    queue = Queue.of([unit("a"), unit("b")])
    slow, quick = places = [Place(None, "n", None) for _ in range(2)]
    assert queue.take(slow, places).name == "a"
    assert queue.take(quick, places).name == "b"  # what the slow one has not begun
    quick.unit = None
    assert queue.take(quick, places) is None
    slow.is_late = True
    assert queue.take(quick, places).name == "a"
    third = Place(None, "n", None)
    assert queue.take(third, [*places, third]) is None  # two are at it


# the driver, over a Ray that does what it is told


ONE, TWO = "1" * 56, "2" * 56
"""Two nodes."""


class Call:
    def __init__(self, function) -> None:
        self.function = function


class FakeRay:
    """As much of Ray as the driver uses: calls are done at once, by `script(node, unit)`, which answers or raises."""

    class exceptions:  # noqa: N801
        class RayError(Exception): ...

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                self.cause = cause

    def __init__(self, script, nodes: tuple[str, ...] = (ONE, TWO), begin=lambda node: "") -> None:
        self.script = script
        self.names = nodes
        self.begin = begin
        self.killed: list[str] = []
        self.turn = 0

    def nodes(self):
        return [{"NodeID": name, "Alive": True, "Resources": {"CPU": 1.0}} for name in self.names]

    def put(self, value):
        return value

    def remote(self, kind):
        def options(scheduling_strategy, **_):
            node = scheduling_strategy.node_id
            begin = SimpleNamespace(remote=lambda *_: Call(lambda: self.begin(node)))
            do = SimpleNamespace(remote=lambda unit, ahead: Call(lambda: self.script(node, unit)))
            return SimpleNamespace(remote=lambda: SimpleNamespace(node=node, begin=begin, do=do))

        return SimpleNamespace(options=options)

    def wait(self, calls, num_returns, timeout):
        self.turn += 1
        return [calls[self.turn % len(calls)]], []

    def get(self, call):
        return call.function()

    def kill(self, actor):
        self.killed.append(actor.node)


def done(unit: Unit, **values) -> Outcome:
    return replace(Outcome(unit.name, unit.pictures, 0, 1.0, True), **values)


def drive(monkeypatch: pytest.MonkeyPatch, fake: FakeRay, names: str = "abcdef") -> list[Outcome]:
    """The outcomes of a job over a fake Ray."""
    pytest.importorskip("ray")
    monkeypatch.setattr(driver, "leaving_nodes", getattr(fake, "leaving", set))
    monkeypatch.setattr(driver, "LOOK", 0.0)
    outcomes: list[Outcome] = []
    work = SimpleNamespace(threads=1, network={}, versions={}, command="predict")
    driver.Driver(fake, work, [unit(name) for name in names], outcomes.append).run([])
    return outcomes


def test_each_unit_is_done_once_over_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def script(node: str, each: Unit) -> Outcome:
        calls.append((node, each.name))
        return done(each)

    outcomes = drive(monkeypatch, FakeRay(script))
    assert sorted(each.name for each in outcomes) == sorted(name for _, name in calls) == [*"abcdef"]
    assert {node for node, _ in calls} == {ONE, TWO}


def test_a_unit_that_workers_die_of_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(node: str, each: Unit) -> Outcome:
        if each.name == "c":
            raise FakeRay.exceptions.RayError("killed")
        return done(each)

    monkeypatch.setattr(Unit, "label", property(lambda self: self.name))
    outcomes = {each.name: each for each in drive(monkeypatch, FakeRay(script))}
    assert sorted(outcomes) == [*"abcdef"]
    assert outcomes["c"].failure.startswith("4 workers died at c")
    assert not any(each.failure for name, each in outcomes.items() if name != "c")


def test_what_a_worker_raises_is_tried_again_and_then_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 2

    def script(node: str, each: Unit) -> Outcome:
        nonlocal failures
        if each.name == "b" and failures:
            failures -= 1
            raise FakeRay.exceptions.RayTaskError(OutputError("the disk is full"))
        return done(each)

    monkeypatch.setattr(Unit, "label", property(lambda self: self.name))
    assert len(drive(monkeypatch, FakeRay(script))) == 6
    failures = 3
    with pytest.raises(OutputError, match="the disk is full"):
        drive(monkeypatch, FakeRay(script))


def test_a_node_that_is_refused_gets_nothing_and_if_all_are_that_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: list[str] = []

    def script(node: str, each: Unit) -> Outcome:
        nodes.append(node)
        return done(each)

    fake = FakeRay(script, begin=lambda node: "other versions" if node == TWO else "")
    assert len(drive(monkeypatch, fake)) == 6
    assert set(nodes) == {ONE}
    with pytest.raises(UsageError, match="other versions"):
        drive(monkeypatch, FakeRay(script, begin=lambda node: "other versions"))


def test_workers_that_never_begin_end_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(node: str) -> str:
        raise FakeRay.exceptions.RayError("The actor died\nModuleNotFoundError: No module named 'regard'")

    with pytest.raises(UsageError, match=r"die before they begin .ModuleNotFoundError: No module named 'regard'"):
        drive(monkeypatch, FakeRay(done, begin=begin))


def test_a_node_that_is_told_to_end_gets_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def script(node: str, each: Unit) -> Outcome:
        calls.append((node, each.name))
        return done(each)

    fake = FakeRay(script)
    fake.leaving = lambda: {TWO} if len(calls) > 2 else set()
    assert sorted(each.name for each in drive(monkeypatch, fake)) == [*"abcdef"]
    assert {node for node, _ in calls[3:]} == {ONE} and TWO in fake.killed


# Ray itself


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("bulk")
    network = load("random:vit_tiny_patch16_224", classes=("cat", "dog"), size=32, arguments={"depth": 1})
    save_network(network, folder / "run")
    source = open_source(write_shards(folder / "shards", shards=8), unit=UNIT, skip_bad=True)
    names = ("label", "confidence")
    undone = Work("predict", source, "", str(folder / "run"), {}, {}, names, 3, 1, 10**8, UNIT)
    task = load_task(undone)
    return replace(undone, digest=task.digest, versions=versions("predict"))


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.rglob("*.parquet")}


@pytest.fixture
def actor() -> Iterator[BulkActor]:
    """What Ray runs, in this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield BulkActor()
    signal.signal(signal.SIGTERM, before)


def test_a_worker_of_other_versions_refuses(actor: BulkActor, work: Work) -> None:
    planned = {**work.versions, "torch": "1.0"}
    assert re.search(
        r"other versions than the job \(torch .* for 1.0\), and would give other results",
        actor.begin(planned, "predict", b"no pickle", "/"),
    )
    assert actor.do(unit("a"), None) is None


def test_sigterm_ends_a_unit_without_a_trace(
    actor: BulkActor, work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = replace(work, out="out")
    (tmp_path / "elsewhere").mkdir()
    first, second, *_ = plan(here).units
    assert actor.begin(dict(here.versions), "predict", pickle.dumps(here), str(tmp_path / "elsewhere")) == ""
    assert actor.do(first, second).wrote
    assert len(files(tmp_path / "elsewhere" / "out")) == 1
    columns = tasks._Prediction.columns

    def stopped(self, pictures):
        os.kill(os.getpid(), signal.SIGTERM)
        return columns(self, pictures)

    monkeypatch.setattr(tasks._Prediction, "columns", stopped)
    assert actor.do(second, None) is None
    assert len(files(tmp_path / "elsewhere" / "out")) == 1


def test_a_worker_that_is_killed_changes_no_byte(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray, started here for the while, with one worker that is killed by SIGKILL in the middle."""
    ray = pytest.importorskip("ray")
    there = replace(work, out=str(tmp_path / "local"))
    units = plan(there).units
    engine_local.run(there, units, lambda outcome: None)
    outcomes: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 3:
            (worker,) = [pid for pid in descendants(os.getpid()) if "BulkActor" in command_line(pid)]
            kill(worker)

    monkeypatch.setattr(ray, "init", partial(ray.init, num_cpus=1))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    handler = signal.getsignal(signal.SIGTERM)
    with caplog.at_level("INFO", "regard"):
        driver.run(replace(work, out=str(tmp_path / "ray")), units, report)
    assert sorted(outcome.name for outcome in outcomes) == sorted(each.name for each in units)
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and "usage statistics switched off" in caplog.text
    assert "Ray on this machine: 1 node, 1 processor" in caplog.text and "died" in caplog.text
    assert not ray.is_initialized() and signal.getsignal(signal.SIGTERM) == handler
