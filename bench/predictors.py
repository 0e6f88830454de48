"""What a predictor adds to the bare method, for a tensor of a user's module in memory, side by side in one run.

    python bench/predictors.py [--models vit_base_patch16_224 vit_tiny_patch16_224] [--methods gradcam attention]

In each round every row is timed once, right behind the bare method on the same prepared pixels; a row's ratio is the
median over rounds, with the 95 % interval of the median. Modules are random: what they say does not matter to the time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import timm
import torch

from regard import Explainer
from regard.explanation import METHODS

LIMIT = 1.05
"""What the issue asks for, of a prepared tensor."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, float32, {options.rounds} rounds; x the bare method\n")
    print("| module | method | bare, ms | prepared tensor | tensor in 0..1 | reached |\n|---|---|---|---|---|---|")
    for name in options.models:
        explainer = Explainer(timm.create_model(name), classes=[str(index) for index in range(1000)])
        for method in options.methods:
            _row(explainer, name, method, options.rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit_base_patch16_224", "vit_tiny_patch16_224"])
    parser.add_argument("--methods", nargs="+", default=["gradcam", "attention"])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _row(explainer: Explainer, name: str, method: str, rounds: int) -> None:
    network, function = explainer.network, METHODS.load(method)
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(3, network.preparation.height, network.preparation.width, generator=generator)
    prepared = torch.randn(3, network.preparation.height, network.preparation.width, generator=generator)
    work: dict[str, Callable[[], object]] = {
        "prepared": lambda: explainer(prepared, method=method, prepared=True),
        "picture": lambda: explainer(picture, method=method),
    }
    for run in work.values():
        run()
    bare: list[float] = []
    ratios: dict[str, list[float]] = {row: [] for row in work}
    for _ in range(rounds):
        for row, run in work.items():
            bare.append(_timed(lambda: function(network, prepared[None])))
            ratios[row].append(_timed(run) / bare[-1])
    reached = "yes" if statistics.median(ratios["prepared"]) <= LIMIT else "no"
    cells = [name, method, f"{1000 * statistics.median(bare):.1f}", *map(_text, ratios.values()), reached]
    print("| " + " | ".join(cells) + " |", flush=True)


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _text(ratios: list[float]) -> str:
    """The median of the rounds' ratios, and the 95 % interval of it."""
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return f"{statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
