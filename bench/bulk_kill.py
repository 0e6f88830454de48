"""Bulk work that is killed at random: workers, raylets and the driver of a real cluster, a real object store under it.

    python bench/bulk_kill.py [--kills 30] [--seed 0] [--units 40] [--pictures 60]

Two nodes of Ray on this machine, azurite as the store (`make azurite`; its conditional writes are asserted first). A
job is begun, and something of it is killed by SIGKILL after a random while, again and again; a driver that dies is
followed by one that goes on, with Ray, alone or as two ranks of torchrun, with another number of workers. A job that
is done is compared with one that nobody disturbed: the same files, the same bytes, each key once; then the next one
begins.
"""

import argparse
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from azurite import assert_conditional_writes, azurite
from ray_cluster import Cluster, kill, ray_cluster

from bulk import small_shards, tiny_run

CONTAINER = "pictures"
SLOWEST = 900.0
"""Seconds after which a job that is not disturbed any more must be done."""


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # nothing is left behind
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, azurite(Path(scratch) / "azurite", CONTAINER) as environment:
        assert_conditional_writes(environment, CONTAINER)
        print("the store refuses to create what is there: asserted", flush=True)
        os.environ.update(environment)  # of the cluster's processes too
        with ray_cluster() as cluster:
            trial = Trial(options, Path(scratch), cluster)
            trial.run()
    print(f"\n{options.kills} kills, {time.monotonic() - start:.0f} s")
    trial.print_table()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--units", type=int, default=40)
    parser.add_argument("--pictures", type=int, default=60, help="of a unit")
    parser.add_argument("--longest", type=float, default=3.0, help="seconds until the next kill, at most")
    return parser.parse_args()


@dataclass
class Kill:
    """What was killed, how many units were there, and by what the job then went on."""

    job: int
    what: str
    units: int
    after: str


class Trial:
    """Jobs and kills, until there were enough of these."""

    def __init__(self, options: argparse.Namespace, scratch: Path, cluster: Cluster) -> None:
        self.options = options
        self.cluster = cluster
        self.scratch = scratch
        self.random = random.Random(options.seed)
        self.pattern = small_shards(scratch, options.units * options.pictures, options.units)
        self.model = str(tiny_run(scratch / "tiny"))
        self.kills: list[Kill] = []
        self.jobs: list[str] = []
        self.engine = ""
        self.expected: dict[str, str] = {}

    def run(self) -> None:
        reference = self._start("reference", "local")
        assert reference.wait(SLOWEST) == 0, self._log()
        self.expected = self._files("reference")
        print(f"undisturbed: {len(self.expected)} files", flush=True)
        while len(self.kills) < self.options.kills:
            self._job(len(self.jobs))

    def _job(self, number: int) -> None:
        """One job from its beginning to its end, however often it is killed meanwhile."""
        out = f"job{number}"
        driver = self._start(out, "ray")
        until = time.monotonic() + SLOWEST
        try:
            while driver.poll() is None or driver.returncode != 0:
                assert time.monotonic() < until, self._log()
                if driver.poll() is not None:
                    driver = self._start(out, self.random.choice(("ray", "ray", "ray", "local", "ranks")))
                if len(self.kills) >= self.options.kills:
                    driver.wait(SLOWEST)
                    continue
                pause = time.monotonic() + self.random.uniform(0.2, self.options.longest)
                while time.monotonic() < pause and driver.poll() is None:
                    time.sleep(0.05)
                if driver.poll() is None and self._has_begun(out):
                    self._kill(number, out, driver)
                    until = time.monotonic() + SLOWEST
        finally:
            end(driver)
        self._verify(out)

    def _kill(self, number: int, out: str, driver: subprocess.Popen[bytes]) -> None:
        """Kill a worker, a raylet or the driver; a node that is gone is replaced, sometimes by none for a while."""
        units = self._count(out)
        workers = [pid for node in self.cluster.nodes for pid in node.below("BulkActor")]
        targets = ["driver"]
        if self.engine == "ray":
            targets += ["worker"] * 2 * bool(workers) + ["raylet"] * 2 * (len(self.cluster.nodes) > 1)
        what = self.random.choice(targets)
        if what == "worker":
            kill(self.random.choice(workers))
        elif what == "raylet":
            node = self.cluster.nodes[-1]
            kill(node.raylet)
            node.stop()
            self.cluster.nodes.remove(node)
        else:
            end(driver)
        if len(self.cluster.nodes) < 2 and self.random.random() < 0.7:
            self.cluster.add()
        workers_after = f"{len(self.cluster.nodes)} nodes"
        self.kills.append(Kill(number, f"{what} ({self.engine})", units, workers_after))
        print(f"kill {len(self.kills)}: {what} of job {number} ({self.engine}) at {units} units", flush=True)

    def _has_begun(self, out: str) -> bool:
        """Whether units came since the last kill; now and then it is not waited for, and the start is disturbed."""
        before = self.kills[-1].units if self.kills and self.kills[-1].job == len(self.jobs) else 0
        return before < self._count(out) < self.options.units or self.random.random() < 0.04

    def _count(self, out: str) -> int:
        """The units that are there."""
        from regard.data.stores import Store

        return sum(entry.key.endswith(".parquet") for entry in Store.of(f"az://{CONTAINER}/{out}").entries())

    def _start(self, out: str, engine: str) -> subprocess.Popen[bytes]:
        self.engine = engine
        ranks = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"] if engine == "ranks" else []
        words = [sys.executable, "-m", *ranks, "regard", "predict", self.pattern, "--out", f"az://{CONTAINER}/{out}"]
        words += ["--jobs", "ray" if engine == "ray" else "local", "--model", self.model, "--device", "cpu"]
        words += ["--batch-size", "8", "--threads", "1"]
        with (self.scratch / "driver.txt").open("ab") as log:
            return subprocess.Popen(
                words,
                env=self.cluster.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _log(self) -> str:
        return (self.scratch / "driver.txt").read_text(encoding="utf-8")[-3000:]

    def _files(self, out: str) -> dict[str, str]:
        """The digests of an output's result files, by name."""
        from regard.data.stores import Store

        store = Store.of(f"az://{CONTAINER}/{out}")
        names = sorted(entry.key for entry in store.entries() if entry.key.endswith(".parquet"))
        return {name: hashlib.sha256(store.read(name)).hexdigest() for name in names}

    def _verify(self, out: str) -> None:
        from pyarrow.parquet import read_table

        from regard.data.stores import Store

        files = self._files(out)
        assert files == self.expected, f"{out} has other files: {set(files) ^ set(self.expected)}"
        store = Store.of(f"az://{CONTAINER}/{out}")
        tables = [read_table(io.BytesIO(store.read(name)), columns=["name"]) for name in files]
        keys = Counter(key for table in tables for key in table["name"].to_pylist())
        assert len(keys) == self.options.units * self.options.pictures and set(keys.values()) == {1}
        reference = Store.of(f"az://{CONTAINER}/reference")
        assert store.read("manifest.json") == reference.read("manifest.json")
        self.jobs.append(out)
        print(
            f"{out}: {len(files)} files and the manifest, all as undisturbed; {len(keys)} keys, each once", flush=True
        )

    def print_table(self) -> None:
        """What was killed, and what came of it."""
        counts = Counter(each.what for each in self.kills)
        print("\n| killed | times |\n|---|---|")
        for what, count in sorted(counts.items()):
            print(f"| {what} | {count} |")
        total = self.options.units * self.options.pictures
        print(
            f"\n{len(self.jobs)} jobs of {self.options.units} units and {total} pictures were disturbed "
            f"{len(self.kills)} times; all have the files of the undisturbed one, byte for byte"
        )


def end(driver: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a driver, and for the ranks that it started."""
    if driver.poll() is None:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()


if __name__ == "__main__":
    main()
