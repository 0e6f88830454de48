"""Shards: how long an index of members takes, and what a store's latency costs.

    python bench/shards.py [--shards 1000] [--members 100] [--pictures 1000] [--latency 0.03] [--runs 5] [--json FILE]

Three tables. Index: SHARDS tars of MEMBERS pictures (each with a .cls beside it), members listed with nothing in the
cache, then from it. Bulk: PICTURES photographs of 224 px in tars of 100, their bytes read in sequence and decoded, from
the disk and from a real HTTP server that waits LATENCY seconds before each answer, alternating; beside it the same
without decoding (for information: a disk's memory against a network), and the number of requests. Training: the same
pictures in the order of an epoch, by a loader with two workers. Exit code 1 where the index takes more than 10 s, or
bulk reading has less than 0.8 of the local rate.
"""

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from object_server import Objects, object_server
from PIL import Image

from regard.data.images.decode import open_picture
from regard.data.images.preparation import Preparation, batches
from regard.data.order import BlockOrder, runs_of
from regard.data.shards import Source, cache, open_source
from regard.data.shards.tars import _indexed


def write(folder: Path, shards: int, members: int, content: Callable[[int], bytes]) -> Path:
    """Tars of so many pictures each, with their classes."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:06d}.tar", "w") as tar:
            for number in range(shard * members, (shard + 1) * members):
                for ending, data in (("jpg", content(number)), ("cls", str(number % 10).encode())):
                    info = tarfile.TarInfo(f"{number:08d}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return folder


def photograph(number: int) -> bytes:
    """A picture with as many bytes as a photograph of that size: smooth shapes and some noise."""
    random = np.random.default_rng(number % 50)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(np.int16) + random.integers(-12, 13, (224, 224, 3))
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def listed(source: Source) -> int:
    _indexed.cache_clear()
    return sum(len(members) for _, members in source.listing())


def read(source: Source, decoded: bool) -> int:
    """The pictures of all shards, in sequence; a shard is read while the one before is decoded, as by bulk work."""
    count = 0
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(lambda: list(source.read(source.shards[0])))
        for place in range(len(source.shards)):
            members = following.result()
            if place + 1 < len(source.shards):
                following = pool.submit(lambda shard=source.shards[place + 1]: list(source.read(shard)))
            for member in members:
                count += 1
                if decoded:
                    open_picture(member.data).resize((224, 224))
    return count


def trained(source: Source) -> int:
    """The pictures in the order of an epoch, prepared, by two workers."""
    cache.runs.cache_clear()
    pictures = [picture for shard in source.shards for picture in source.pictures(shard)]
    order, sizes = runs_of([picture.opener.block for picture in pictures])
    epoch = [pictures[index] for index in order[BlockOrder(sizes, 0, 0).indices()]]
    return sum(len(batch) for batch in batches(epoch, Preparation(224, 224), 32, workers=2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0.03)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        small = [photograph(number)[:9000] for number in range(50)]
        source = open_source(write(folder / "many", options.shards, options.members, lambda at: small[at % 50]))
        rows["index, s"] = seconds(lambda: listed(source))
        rows["index from the cache, s"] = seconds(lambda: listed(source))

        local = write(folder / "photographs", max(1, options.pictures // 100), 100, photograph)
        files = {f"data/{file.name}": file.read_bytes() for file in sorted(local.iterdir())}
        rows["bytes of a photograph"] = sum(map(len, files.values())) / options.pictures
        with object_server(Objects(files, latency=options.latency)) as server:
            address = f"{server.address}/data/{{000000..{len(files) - 1:06d}}}.tar"
            places = {"disk": open_source(local), "store": open_source(address)}
            server.requests.clear()
            rows["index of the store, s"] = seconds(lambda: listed(places["store"]))
            rows["requests of the index"] = len(server.requests)
            listed(places["disk"])
            kinds: dict[str, Callable[[Source], object]] = {
                "bytes": lambda source: read(source, False),
                "bulk": lambda source: read(source, True),
                "training": trained,
            }
            for kind, work in kinds.items():
                rates: dict[str, list[float]] = {"disk": [], "store": []}
                for _ in range(options.runs):
                    for place, each in places.items():
                        server.requests.clear()
                        rates[place].append(options.pictures / seconds(lambda work=work, each=each: work(each)))
                        if place == "store":
                            rows[f"{kind}: requests for {options.pictures} pictures"] = len(server.requests)
                for place, values in rates.items():
                    rows[f"{kind}: pictures/s from the {place}"] = median(values)
                rows[f"{kind}: store / disk"] = median(np.array(rates["store"]) / np.array(rates["disk"]))
    for label, value in rows.items():
        print(f"{label:45} {value:12,.2f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return int(rows["index, s"] > 10 or rows["bulk: store / disk"] < 0.8)


if __name__ == "__main__":
    sys.exit(main())
