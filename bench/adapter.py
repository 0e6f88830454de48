"""Is an adapter as good as training everything? LoRA against full fine-tuning, same pictures, same seeds, paired.

    .venv/bin/python bench/adapter.py ../shared/data/clothing --weights FILE [--pictures 1000] [--epochs 3] [--seeds 0]
    .venv/bin/python bench/adapter.py ... --rates 1e-3 2e-3 4e-3 --pictures 300 --scored 300

Trains on so many pictures, drawn from the seed, with the recipe `finetune` without its search: once all layers at the
recipe's rate, once `--adapter lora` at its own (or at each of `--rates`). Both are scored on the same pictures that
were not drawn. Prints, for each seed and over all: accuracy, weights trained, size of the run, time, and the paired
difference in points with its 95 % interval (Tango 1998). Goal: its lower bound at least -3 points with at most 5 % of
the weights trained.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from regard.app.commands.train import train
from regard.data.dataset import Dataset
from regard.data.layouts import read
from regard.measurement.intervals import paired
from regard.networks.load import load


def main() -> None:
    options = _options()
    dataset = read(options.data).labelled().unsplit()
    rates = options.rates or [None]
    right: dict[float | None, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            table = _table(dataset, Path(scratch) / f"{seed}.csv", seed, options)
            full = _run(table, Path(scratch) / f"full{seed}", seed, options)
            for rate in rates:
                more = {"adapter": "lora", "rank": options.rank, "learning_rate": rate}
                lora = _run(table, Path(scratch) / f"lora{seed}-{rate}", seed, options, **more)
                right.setdefault(rate, []).append(np.stack([full, lora]))
    for rate, several in right.items():
        full, lora = np.concatenate(several, axis=1)  # (scored pictures of all seeds,) bool each
        gained = float((lora & ~full).sum())
        lost = float((full & ~lora).sum())
        low, high = paired(gained, lost, len(full))
        points = 100 * (gained - lost) / len(full)
        print(
            f"\n{len(full)} answers, rate {rate or 'its own'}: full {full.mean():.4f}, lora {lora.mean():.4f}; "
            f"difference {points:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
        )


def _run(table: Path, out: Path, seed: int, options: argparse.Namespace, **more: object) -> np.ndarray:
    """(scored pictures,) bool: which were right."""
    start = time.perf_counter()
    run = train(
        table, out, model=options.model, weights=options.weights, seed=seed, workers=options.workers, search="never",
        epochs=options.epochs, precision=options.precision, no_pictures=True, **more,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    module = load(out).module
    size = (out / "model.safetensors").stat().st_size
    right = run.evaluation.predictions.right
    learnt = size / 4 if more else sum(value.numel() for value in module.parameters())
    share = learnt / sum(value.numel() for value in module.parameters())
    what = {name: value for name, value in more.items() if value is not None} or "full"
    print(
        f"seed {seed}, {what}: {right.mean():.4f} of {len(right)}, {share:.1%} of the weights trained, "
        f"{size / 1e6:.2f} MB, {seconds:.0f} s",
        flush=True,
    )
    return np.asarray(right, bool)


def _table(dataset: Dataset, path: Path, seed: int, options: argparse.Namespace) -> Path:
    """A table of the pictures drawn (`train`) and of those that are scored (`val`), classes as they are in DATA."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    places = {int(index): place for place, index in enumerate(order)}
    rank = np.zeros(len(dataset))
    for label in range(len(dataset.classes)):  # evenly through each class
        within = sorted(np.flatnonzero(dataset.labels == label).tolist(), key=places.__getitem__)
        rank[within] = (np.arange(len(within)) + 0.5) / len(within)
    order = np.argsort(rank, kind="stable")
    lines = ["filename,label,split"]
    parts = {"train": order[: options.pictures], "val": order[options.pictures :][: options.scored]}
    for split, indices in parts.items():
        for index in indices:
            picture = dataset.pictures[index]
            lines.append(f'"{picture.path.resolve()}",{picture.label},{split}')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--scored", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rates", type=float, nargs="*")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
