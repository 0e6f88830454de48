"""The probe's accuracy on labelled folders, by the command that a user gives, one row each.

.venv/bin/python bench/accuracy.py ../shared/data/pets ../shared/data/clothing --weights FILE [--recipe probe]
"""

import argparse
import tempfile
import time
from pathlib import Path

from regard.app.commands.train import train


def main() -> None:
    options = _options()
    print("| pictures | recipe | set aside | top-1 | 95 % interval | minutes |")
    print("|---|---|---|---|---|---|")
    for data in options.data:
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            run = train(
                data, Path(scratch) / "run", recipe=options.recipe, model=options.model, weights=options.weights
            )
            top1, minutes = run.evaluation.scores["top1"], (time.perf_counter() - start) / 60
        interval = f"{top1.low:.3f} to {top1.high:.3f}"
        print(
            f"| {data.name} | {options.recipe} | {top1.n} | {top1.value:.3f} | {interval} | {minutes:.1f} |", flush=True
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipe", default="probe")
    return parser.parse_args()


if __name__ == "__main__":
    main()
