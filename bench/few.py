"""Few pictures: `finetune` against `probe`, paired, over stratified re-splits of a labelled folder.

    .venv/bin/python bench/few.py ../shared/data/pets --weights FILE [--each 5] [--splits 5]

Each re-split puts `--each` pictures of every class into training and the others aside. Both recipes get the same
pictures and the same seed. Prints one table: the share right of each, the difference with its paired 95 % interval
(Tango's) over all pictures set aside, and what the fine-tuning chose.
"""

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from regard.app.commands.train import train
from regard.data.layouts import read
from regard.measurement.classification.scoring import stored_predictions
from regard.measurement.intervals import paired


def main() -> None:
    options = _options()
    print("| re-split | pictures set aside | probe | finetune | difference | mix | open layers | minutes |")
    print("|---|---|---|---|---|---|---|---|")
    counts = np.zeros(4, int)
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.splits):
            table = _resplit(options.data, Path(scratch) / f"{seed}.csv", options.each, seed)
            counts += _one(table, Path(scratch) / str(seed), options, seed)
    _, only_probe, only_tuned, _ = map(int, counts)
    gain = (only_tuned - only_probe) / counts.sum()
    low, high = paired(only_tuned, only_probe, int(counts.sum()))
    print(f"\nmean difference {gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} over {counts.sum()} pictures")
    print(f"right with finetune alone {only_tuned}, with the probe alone {only_probe}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--splits", type=int, default=5)
    return parser.parse_args()


def _resplit(data: Path, table: Path, each: int, seed: int) -> Path:
    """A CSV with another split of the same pictures, from the seed."""
    dataset = read(data)
    random = np.random.default_rng(seed)
    split = np.full(len(dataset), "val", dtype=object)
    for label in range(len(dataset.classes)):
        split[random.permutation(np.flatnonzero(dataset.labels == label))[:each]] = "train"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "label", "split"])
        rows = zip(dataset.pictures, split, strict=True)
        writer.writerows([str(picture.path.resolve()), picture.label, side] for picture, side in rows)
    return table


def _one(table: Path, out: Path, options: argparse.Namespace, seed: int) -> np.ndarray:
    """Both recipes on one re-split; prints its row and returns (both, only probe, only tuned, neither) right."""
    right, start = {}, time.perf_counter()
    for recipe in ("probe", "finetune"):
        train(table, out / recipe, recipe=recipe, model=options.model, weights=options.weights, seed=seed)
        found = stored_predictions(out / recipe)
        right[recipe] = found.predicted == found.labels
    probe, tuned = right["probe"], right["finetune"]
    lines = [json.loads(line) for line in (out / "finetune" / "metrics.jsonl").read_text().splitlines()]
    rows = [line for line in lines if line["phase"] == "search"]
    whole = max(row["pictures"] for row in rows)  # a candidate that was given up has fewer
    chosen = min((row for row in rows if row["pictures"] == whole), key=lambda row: row["log_loss"])["settings"]
    print(
        f"| {seed} | {len(probe)} | {probe.mean():.3f} | {tuned.mean():.3f} | {tuned.mean() - probe.mean():+.3f} "
        f"| {chosen['mix']} | {chosen['open_layers'] or 'all'} | {(time.perf_counter() - start) / 60:.1f} |",
        flush=True,
    )
    return np.array([(probe & tuned).sum(), (probe & ~tuned).sum(), (~probe & tuned).sum(), (~probe & ~tuned).sum()])


if __name__ == "__main__":
    main()
