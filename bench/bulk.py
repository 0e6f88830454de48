"""Bulk work: planning a million keys, memory that stays flat, the same bytes by any engine, and the rate.

    python bench/bulk.py --part plan [--keys 1000000] [--shards 200]
    python bench/bulk.py --part memory [--pictures 100000] [--shards 200] [--jobs local|ray]
    python bench/bulk.py --part rate [--pictures 5000] [--rounds 5] [--threads 2] [--model pets-tiny]

`plan`: tars of so many members, indexed from their headers (cold) and planned from that index (warm), each in a process
of its own. `memory`: small pictures through a tiny network, the process's memory from 10 % of the pictures to 100 %;
then some units in another order, half by Ray: the same files? `rate`: pictures of 224 pixels from JPEG to Parquet
against the bare loop of decoding and network with as many threads, in turns; ratios are medians over rounds. Starting
Python and Ray and loading the network are in none of them. With fewer processors than threads the rates say nothing.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        {"plan": _plan, "memory": _memory, "rate": _rate}[options.part](options, Path(scratch))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("plan", "memory", "rate"), required=True)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=0, help="100,000 for memory, 5,000 for rate")
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--jobs", choices=("local", "ray"), default="local")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--model", default="pets-tiny")
    parser.add_argument("--scratch", help="a folder for some gigabytes; by default the system's")
    return parser.parse_args()


# planning


PLAN = """
import json, sys, threading, time
from pathlib import Path
from regard.data.shards import open_source
from regard.jobs.bulk.plan import plan
from regard.jobs.bulk.work import Work

def memory(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))

before = memory("VmRSS")
start = time.perf_counter()
source = open_source(sys.argv[1])
work = Work("predict", source, "out", "pets-tiny", {}, {}, ("label",), 32, 1, 10**9, 1000, digest="0", versions={})
planned = plan(work)
print(json.dumps([time.perf_counter() - start, before, memory("VmHWM"), len(planned.units), planned.pictures]))
"""


def _plan(options: argparse.Namespace, scratch: Path) -> None:
    each = options.keys // options.shards
    start = time.perf_counter()
    content = _picture(0, 8)
    for shard in range(options.shards):
        _write_tar(
            scratch / f"{shard:06d}.tar", ((f"{shard * each + place:08d}.png", content) for place in range(each))
        )
    print(f"{options.shards} tars of {each} members, written in {time.perf_counter() - start:.0f} s\n")
    print("| planning | seconds (target ≤ 30) | peak memory, MB (target ≤ 300) | of it before |\n|---|---|---|---|")
    pattern = f"{scratch}/{{000000..{options.shards - 1:06d}}}.tar"
    environment = {**os.environ, "XDG_CACHE_HOME": str(scratch / "cache"), "REGARD_CACHE": str(scratch / "cache")}
    for name in ("index made", "index there"):
        words = [sys.executable, "-c", PLAN, pattern]
        answer = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        seconds, before, peak, units, pictures = json.loads(answer.stdout.splitlines()[-1])
        assert (units, pictures) == (options.shards, each * options.shards)
        print(f"| {pictures:,} keys in {units} units, {name} | {seconds:.1f} | {peak:.0f} | {before:.0f} |", flush=True)


# memory and exactness


def _memory(options: argparse.Namespace, scratch: Path) -> None:
    from regard.jobs.bulk.engine_local import run as run_local

    count = options.pictures or 100_000
    pattern = small_shards(scratch, count, options.shards)
    model = str(tiny_run(scratch / "tiny"))
    job = _Job(pattern, model, options.batch_size, 1)
    run, units = job.begin(scratch / "out", options.jobs)
    samples: list[tuple[float, float]] = []
    done = 0

    def sample(outcome: Any) -> None:
        nonlocal done
        done += outcome.pictures
        samples.append((done / count, _resident(options.jobs)))

    start = time.perf_counter()
    run(job.work, units, sample)
    seconds = time.perf_counter() - start
    flat = [memory for share, memory in samples if share >= 0.1]
    print(f"{count} pictures in {len(units)} units by {options.jobs}: {seconds:.0f} s, {count / seconds:.0f} a second")
    print("\n| of the pictures | memory, MB |\n|---|---|")
    for goal in (0.1, 0.25, 0.5, 0.75, 1.0):
        print(f"| {goal:.0%} | {next(memory for share, memory in samples if share >= goal - 1e-9):.0f} |")
    low, high = min(flat), max(flat)
    print(f"\nfrom 10 % to 100 %: {low:.0f} to {high:.0f} MB, {high - flat[0]:+.0f} over that at 10 % (target ± 50)")
    first = _files(scratch / "out")
    assert len(first) == len(units)
    run, units = job.begin(scratch / "again", "local")
    part = units[:: max(1, len(units) // 40)]
    if options.jobs == "local":
        from regard.jobs.bulk.engine_ray.driver import run as run_ray

        run_ray(job.work, part[: len(part) // 2], lambda outcome: None)
    run_local(job.work, part[::-1], lambda outcome: None)
    again = _files(scratch / "again")
    same = sum(first[name] == content for name, content in again.items())
    print(f"{len(again)} units again, in another order, half by Ray: {same} files are the same bytes")
    assert same == len(again) == len(part)
    keys = _keys(scratch / "out")
    print(f"{len(keys)} rows with {len(set(keys))} different keys of {count}")
    assert len(keys) == len(set(keys)) == count


def small_shards(scratch: Path, count: int, shards: int) -> str:
    """Tars of so many small pictures over all, by a pattern."""
    each = count // shards
    contents = [_picture(seed) for seed in range(500)]
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        members = ((f"{number:08d}.png", contents[number % len(contents)]) for number in numbers)
        _write_tar(scratch / f"{shard:06d}.tar", members)
    return f"{scratch}/{{000000..{shards - 1:06d}}}.tar"


def tiny_run(folder: Path) -> Path:
    """A run of a network that costs next to nothing."""
    from regard.networks.load import load
    from regard.networks.run import save_network

    classes = [f"c{index}" for index in range(10)]
    network = load("random:vit_tiny_patch16_224", classes=classes, size=32, arguments={"depth": 1})
    return save_network(network, folder)


def _resident(jobs: str) -> float:
    """Megabytes of this process, with Ray of its workers as well."""
    pids = [os.getpid()]
    if jobs == "ray":
        pids += [
            int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit() and b"BulkActor" in _title(each)
        ]
    total = 0.0
    for pid in pids:
        try:
            lines = Path("/proc", str(pid), "status").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
    return total


def _title(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


# rate


def _rate(options: argparse.Namespace, scratch: Path) -> None:
    import ray

    count = options.pictures or 5000
    each = -(-count // options.shards) if options.shards < 200 else 125
    pattern = _shards_of_scenes(scratch, count, each)
    plain = _Job(pattern, options.model, options.batch_size, options.threads)
    parted = _Job(pattern, options.model, options.batch_size, max(1, options.threads // 2))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local", num_cpus=options.threads, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    bare = _Bare(pattern, options.model, options.batch_size, options.threads)
    rates: dict[str, list[float]] = {"bare": [], "local": [], "ray": []}
    try:
        for number in range(options.rounds):
            rates["bare"].append(count / bare.run())
            for name, job in (("local", plain), ("ray", parted)):
                rates[name].append(count / job.seconds(scratch / f"{name}{number}", name))
            print({name: round(values[-1], 1) for name, values in rates.items()}, file=sys.stderr, flush=True)
    finally:
        ray.shutdown()
    print(
        f"{count} pictures at 224 px, {options.model}, batches of {options.batch_size}, {options.threads} threads, "
        f"{options.rounds} rounds in turns\n"
    )
    print("| | pictures a second | ratio to the bare loop of its round, median (all) | target |\n|---|---|---|---|")
    texts = {"bare": "the bare loop", "local": "`--jobs local`", "ray": "`--jobs ray`, two workers"}
    targets = {"bare": "", "local": "≥ 0.95", "ray": "≥ 0.85"}
    for name, values in rates.items():
        ratios = [value / beside for value, beside in zip(values, rates["bare"], strict=True)]
        listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"| {texts[name]} | {statistics.median(values):.1f} | {statistics.median(ratios):.3f} ({listed}) | "
            f"{targets[name]} |"
        )


def _shards_of_scenes(scratch: Path, count: int, each: int) -> str:
    """JPEGs of drawn scenes at 224 pixels, some hundred different ones again and again."""
    from regard.scenes import render, sample

    contents = []
    for seed in range(min(count, 300)):
        stream = io.BytesIO()
        Image.fromarray(render(sample(seed)).picture).resize((224, 224)).save(stream, "JPEG", quality=90)
        contents.append(stream.getvalue())
    shards = -(-count // each)
    for shard in range(shards):
        numbers = range(shard * each, min(count, (shard + 1) * each))
        _write_tar(
            scratch / f"{shard:06d}.tar",
            ((f"{number:08d}.jpg", contents[number % len(contents)]) for number in numbers),
        )
    return f"{scratch}/{{000000..{shards - 1:06d}}}.tar"


class _Bare:
    """The bare loop: a tar read in sequence, two threads that decode, batches through the network; nothing written."""

    def __init__(self, pattern: str, model: str, batch_size: int, threads: int) -> None:
        from regard.data.shards.patterns import expand
        from regard.networks.load import load

        self.paths = [str(path) for path in expand(pattern)]
        self.network = load(model)
        self.batch_size = batch_size
        self.threads = threads

    def run(self) -> float:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        start = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            rest = iter(_ahead(pool, self._decode, self._contents(), 2 * self.batch_size))
            while rows := list(islice(rest, self.batch_size)):
                pixels = self.network.preparation.normalise(torch.from_numpy(np.stack(rows)))
                self.network.logits(pixels).argmax(dim=1).tolist()
        seconds = time.perf_counter() - start
        torch.set_num_threads(before)
        return seconds

    def _contents(self) -> Iterator[bytes]:
        for path in self.paths:
            with tarfile.open(path, "r|") as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    assert file is not None
                    yield file.read()

    def _decode(self, content: bytes) -> np.ndarray:
        from regard.data.images.preparation import read_pixels
        from regard.data.openers import BytesOpener

        return read_pixels(BytesOpener(content, "picture"), self.network.preparation)[0]


def _ahead(pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterator[Any], count: int) -> Iterator[Any]:
    """`map` in order, no more than `count` ahead."""
    from collections import deque

    waiting = deque(pool.submit(function, item) for item in islice(items, count))
    while waiting:
        result = waiting.popleft().result()
        for item in islice(items, 1):
            waiting.append(pool.submit(function, item))
        yield result


# what parts share


class _Job:
    """A job of predictions, planned once, for engines that are called without a command around them."""

    def __init__(self, pattern: str, model: str, batch_size: int, threads: int) -> None:
        from regard.data.shards import open_source
        from regard.jobs.bulk.tasks import load_task
        from regard.jobs.bulk.work import Work, versions

        names = ("label", "confidence")
        source = open_source(pattern)
        network = {"device": "cpu"}
        work = Work("predict", source, "", model, network, {}, names, batch_size, threads, 10**9, 1000)
        self.task = load_task(work)
        self.work = replace(work, digest=self.task.digest, versions=versions("predict"))

    def begin(self, out: Path, engine: str) -> tuple[Callable[..., None], Sequence[Any]]:
        """The engine, and the units of this job for an output."""
        from functools import partial

        from regard.jobs.bulk import engine_local
        from regard.jobs.bulk.engine_ray import driver
        from regard.jobs.bulk.plan import plan

        self.work = replace(self.work, out=str(out))
        units = plan(self.work).units
        return (driver.run if engine == "ray" else partial(engine_local.run, task=self.task)), units

    def seconds(self, out: Path, engine: str) -> float:
        """From the beginning of the first unit to the end of the last."""
        run, units = self.begin(out, engine)
        spans: list[tuple[float, float]] = []
        lock = threading.Lock()

        def report(outcome: Any) -> None:
            with lock:
                now = time.perf_counter()
                spans.append((now - outcome.seconds, now))

        run(self.work, units, report)
        assert len(spans) == len(units)
        return max(end for _, end in spans) - min(start for start, _ in spans)


def _picture(seed: int, side: int = 16) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _write_tar(path: Path, members: Any) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def _keys(out: Path) -> list[str]:
    from pyarrow.parquet import read_table

    return [
        key for path in sorted(out.rglob("*.parquet")) for key in read_table(path, columns=["name"])["name"].to_pylist()
    ]


if __name__ == "__main__":
    main()
