"""What virtual ranks cost at one process: seconds of the same training with and without them, in turns, in one run.

    python bench/ranks.py [--ranks 8] [--pictures 128] [--batch-size 32] [--rounds 5] [--network vit_tiny_patch16_224]
                          [--dropout 0.1] [--precisions float32 bfloat16] [--threads N]

Drawn pictures, random weights, one epoch, augmentation off, no checkpoints: what is timed is the loop, by the wall and
by the processor's time of all threads, which other programs disturb less. Prints a table: median seconds of each, the
median of the rounds' ratios, and the least and largest of them.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import torch
from tiny_training import draw_pictures

from regard.data.hashes import picture_hashes
from regard.data.layouts import read
from regard.networks.load import load
from regard.training.recipe import read_recipe
from regard.training.tasks import finetune


def seconds(data: Path, given: argparse.Namespace, precision: str, ranks: int) -> tuple[float, float]:
    """Of the phase `train`, as timing.jsonl has them, and of the processor in the whole training."""
    dataset = read(data).labelled()
    dataset = dataset.select(range(given.pictures))
    recipe = read_recipe("finetune").changed(
        {
            "epochs": 1,
            "batch_size": given.batch_size,
            "precision": precision,
            "dropout": given.dropout,
            "virtual_ranks": ranks,
            "head": "new",
            "search": "never",
            "crop": 1.0,
            "brightness": 0.0,
            "contrast": 0.0,
            "saturation": 0.0,
        }
    )
    network = load(f"random:{given.network}", classes=dataset.classes)
    with tempfile.TemporaryDirectory() as folder:
        hashes = picture_hashes(dataset.pictures)
        out = Path(folder) / "run"
        start = time.process_time()
        finetune.run(network, dataset, dataset.select([]), hashes, recipe, out, every=10**9)
        spent = time.process_time() - start
        rows = [json.loads(line) for line in (out / "timing.jsonl").read_text(encoding="utf-8").splitlines()]
    return float(next(row["seconds"] for row in rows if row["phase"] == "train")), spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", default="vit_tiny_patch16_224")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{given.network}, batches of {given.batch_size}, dropout {given.dropout:g}, {given.threads} threads\n")
    print(f"| precision | seconds | plain | {given.ranks} virtual ranks | times as long | least | largest |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as base:
        data = draw_pictures(Path(base) / "data", each=-(-given.pictures // 4))
        for precision in given.precisions:
            rounds = []
            for _ in range(given.rounds):
                rounds.append([seconds(data, given, precision, ranks) for ranks in (0, given.ranks)])
            for place, kind in enumerate(("by the wall", "of the processor")):
                pairs = [(plain[place], virtual[place]) for plain, virtual in rounds]
                ratios = sorted(virtual / plain for plain, virtual in pairs)
                plain, virtual = (statistics.median(each) for each in zip(*pairs, strict=True))
                cells = [plain, virtual, statistics.median(ratios), ratios[0], ratios[-1]]
                print(f"| {precision} | {kind} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
