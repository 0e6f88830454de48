"""Several labels a picture on drawn scenes: what is there and where, learnt by a probe and by fine-tuning.

    .venv/bin/python bench/multilabel.py [--scenes 600] [--size 128] [--epochs 10]

The labels of a scene are the kinds of all that is drawn in it and its ground. Prints one table: mAP with its interval
and what guessing reaches on scenes set aside, the lowest label, the share with exactly the right labels, and seconds.
"""

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import regard


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    print("| recipe | scenes set aside | mAP | guessing | lowest label | exactly right | seconds |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        table = several_labels(Path(scratch) / "drawn", options.scenes, options.size)
        for recipe, settings in (("probe", {}), ("multilabel", {"epochs": options.epochs})):
            start = time.perf_counter()
            run = regard.train(table, Path(scratch) / recipe, task="multilabel", recipe=recipe, val=0.25, **settings)
            seconds = time.perf_counter() - start
            scored = run.evaluation
            lowest = min(scored.per_label, key=lambda each: each.ap.value)
            print(
                f"| {recipe} | {scored.n} | {scored.scores['map']} | {scored.baseline['map']:.3f} | {lowest.name} "
                f"{lowest.ap} | {scored.scores['exact_match']} | {seconds:.0f} |"
            )


def several_labels(folder: Path, scenes: int, size: int) -> Path:
    """A table of drawn scenes with the kinds of all things in each, and its ground."""
    regard.scenes(scenes, folder, size=size)
    rows = [json.loads(line) for line in (folder / "scenes.jsonl").read_text().splitlines()]
    table = folder / "several.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "label"])
        for row in rows:
            labels = {each["kind"] for each in row["facts"]["items"]} | {row["facts"]["ground"]}
            writer.writerow([row["filename"], "|".join(sorted(labels))])
    return table


if __name__ == "__main__":
    main()
