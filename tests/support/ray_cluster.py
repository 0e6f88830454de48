"""A real Ray cluster of several nodes on this machine: a head by `ray start`, more raylets beside it, killed at will.

Every process that is started here is ended here, by its id. A cluster has a token of its own, and sends no statistics.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
RAY = Path(sys.executable).with_name("ray")
OBJECTS = 80_000_000
"""Bytes of memory that a node sets aside for objects; the least that Ray takes is 75 MB."""
START = 180.0
"""Seconds within which a node has started, however busy the machine is; three where it is not."""


class Node:
    """A node that `ray start --block` holds; it and all below it are ended by `stop`."""

    def __init__(self, words: list[str], log: Path, environment: Mapping[str, str], cpus: int) -> None:
        self.log = log
        words = [sys.executable, str(RAY), "start", *words, f"--num-cpus={cpus}", "--num-gpus=0", "--block"]
        words += ["--disable-usage-stats", f"--object-store-memory={OBJECTS}"]
        with log.open("w+b") as file:
            self.process = subprocess.Popen(
                words,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=True,
                cwd=log.parent,
            )

    def wait(self) -> None:
        """Until the node has started. Raises `RuntimeError` where it does not."""
        until = time.monotonic() + START
        while "Ray runtime started" not in self.text():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"a node of Ray did not start: {self.text()[-1000:]}")
            time.sleep(0.1)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def below(self, name: str = "") -> list[int]:
        """The ids of all processes below this one with `name` in their command line."""
        return [pid for pid in descendants(self.process.pid) if name in command_line(pid)]

    @property
    def raylet(self) -> int:
        """The id of the node's raylet. Raises `IndexError` where it is dead."""
        return self.below("raylet/raylet")[0]

    def stop(self) -> None:
        """End the node and what it started."""
        pids = [self.process.pid, *descendants(self.process.pid)]
        for pid in pids:
            kill(pid)
        self.process.wait()


class Cluster:
    """A head and other nodes. In its `environment` a driver joins it."""

    def __init__(self, folder: Path, cpus: int = 1) -> None:
        self.folder = folder
        self.cpus = cpus
        self._count = 0
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(SRC),
            "OMP_NUM_THREADS": "1",
        }
        self.nodes: list[Node] = []
        words = ["--head", "--port=0", "--include-dashboard=false", f"--ray-client-server-port={_free_port()}"]
        self.nodes.append(self._start([*words, f"--temp-dir={folder}"]))
        found = re.search(r"ray start --address='([^']+)'", self.nodes[0].text())
        if found is None:
            raise RuntimeError(f"the head does not say where it is: {self.nodes[0].text()}")
        self.address = found[1]
        self.environment["RAY_ADDRESS"] = self.address

    def add(self) -> Node:
        """Start one more node."""
        self.nodes.append(self._start([f"--address={self.address}"]))
        return self.nodes[-1]

    def stop(self) -> None:
        """End all nodes and what they started."""
        for node in reversed(self.nodes):
            node.stop()
        for pid in processes():
            if self._has_token(pid):  # what a killed node left behind
                kill(pid)

    def _has_token(self, pid: int) -> bool:
        """Whether a process, beside this one, is of this cluster: no other one has its token."""
        try:
            environment = Path("/proc", str(pid), "environ").read_bytes()
        except OSError:
            return False
        return pid != os.getpid() and self.environment["RAY_AUTH_TOKEN"].encode() in environment

    def _start(self, words: list[str]) -> Node:
        self._count += 1
        node = Node(words, self.folder / f"node{self._count}.txt", self.environment, self.cpus)
        try:
            node.wait()
        except BaseException:
            node.stop()
            raise
        return node


@contextmanager
def ray_cluster(nodes: int = 2, cpus: int = 1) -> Iterator[Cluster]:
    """A cluster of some nodes with some processors each; nothing of it is left at the end."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # not below a test's folder: paths of sockets are short
    cluster = None
    try:
        cluster = Cluster(folder, cpus)
        for _ in range(nodes - 1):
            cluster.add()
        yield cluster
    finally:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def processes() -> list[int]:
    """The ids of all processes."""
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def descendants(pid: int) -> list[int]:
    """The ids of all processes below one."""
    children: dict[int, list[int]] = {}
    for each in processes():
        try:
            fields = (
                Path("/proc", str(each), "stat")
                .read_text(encoding="utf-8", errors="replace")
                .rpartition(")")[2]
                .split()
            )
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(each)
    found: list[int] = []
    rest = [pid]
    while rest:
        rest = [child for parent in rest for child in children.get(parent, [])]
        found += rest
    return found


def command_line(pid: int) -> str:
    """How a process was called; "" where it is gone."""
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
