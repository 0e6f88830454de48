"""The probe from JPEGs on disk, against the bare network fed from memory; and a second time, from the cache.

    .venv/bin/python bench/probe.py [FOLDER_OF_PICTURES] [--pictures 3000] [--weights FILE]

Prints one table. Both rates come from the same run and the same threads: the bare network is measured in slices before,
between and after the others, as these machines are noisy. Without a folder, scenes are drawn as JPEGs of 500 × 375.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from regard.app.commands.train import train
from regard.data.layouts import read_pictures
from regard.networks.load import load
from regard.scenes import render
from regard.scenes.sampling import sample

SLICE = 8  # batches in each slice of the bare network's measurement
BATCH = 16


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["REGARD_CACHE"] = str(Path(scratch) / "cache")
        data = options.folder or _drawn(Path(scratch) / "drawn", options.pictures)
        chosen = _chosen(data, Path(scratch) / "data", options.pictures)
        count = len(read_pictures(chosen))
        network = load(options.model, weights=options.weights)
        before = _bare(network)
        first = _train(chosen, Path(scratch) / "first", options)
        after = _bare(network)
        second = _train(chosen, Path(scratch) / "second", options)
    bare = statistics.mean([before, after])
    print(f"\n{count} pictures, {options.model}, float32, {options.threads} threads, batch {BATCH}\n")
    print("| what | seconds | pictures per second | of the bare network's rate |")
    print("|---|---|---|---|")
    print(f"| bare network, fed from memory ({before:.1f} before, {after:.1f} after) | | {bare:.1f} | 1.00 |")
    for what, seconds in (
        ("JPEGs on disk to a trained head", first),
        ("the same from the cache", second),
    ):
        print(f"| {what} | {seconds:.1f} | {count / seconds:.1f} | {count / seconds / bare:.2f} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--model", default=None)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.model = options.model or ("vit_tiny_patch16_224" if options.weights else "random:vit_tiny_patch16_224")
    return options


def _bare(network) -> float:
    """Pictures per second of the network alone, on one batch that stays in memory: the median of several slices."""
    height, width = network.preparation.height, network.preparation.width
    pixels = torch.randn(BATCH, 3, height, width)
    rates = []
    with torch.inference_mode():
        network.module(pixels)
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(SLICE):
                network.module(pixels)
            rates.append(SLICE * BATCH / (time.perf_counter() - start))
    return statistics.median(rates)


def _train(data: Path, out: Path, options: argparse.Namespace) -> float:
    start = time.perf_counter()
    train(data, out, recipe="probe", model=options.model, weights=options.weights, batch_size=BATCH)
    whole = time.perf_counter() - start
    lines = [json.loads(line) for line in (out / "timing.jsonl").read_text(encoding="utf-8").splitlines()]
    head = sum(line["seconds"] for line in lines if line["phase"] in ("reading", "features", "fit"))
    print(f"to a trained head {head:.1f} s, with score and report {whole:.1f} s")
    return head


def _chosen(data: Path, out: Path, pictures: int) -> Path:
    """Class folders of links to the first so many pictures of each class in turn, so that all classes are there."""
    queues = {}
    for path in (picture.path for picture in read_pictures(data).pictures):
        queues.setdefault(path.parent.name, []).append(path)
    taken = 0
    while taken < pictures and any(queues.values()):
        for name, queue in queues.items():
            if queue and taken < pictures:
                path = queue.pop(0)
                target = out / name / f"{taken:05}{path.suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(path.resolve())
                taken += 1
    return out


def _drawn(folder: Path, pictures: int) -> Path:
    for index in range(pictures):
        scene = sample(index)
        target = folder / str(scene.label) / f"{index:05}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(scene, size=(375, 500)).picture).save(target, quality=90)
    return folder


if __name__ == "__main__":
    main()
