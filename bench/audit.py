"""What the measures of an audit cost, in plain forwards a picture, side by side in one run.

    python bench/audit.py [--model pets-tiny] [--batch 8] [--rounds 9] [--threads 2]

In each round every row is timed once, right behind a plain forward of the same pictures; a row's ratio is the median
over rounds, with the 95 % interval of the median. A map is random: what it says does not matter to the time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from regard.measurement.faithfulness.curves import curves_of, influence, removal_curves
from regard.measurement.faithfulness.deletion import single_deletion
from regard.measurement.faithfulness.occluders import occluders_of, occluding
from regard.measurement.faithfulness.reliability import reliability
from regard.networks.cells import cells
from regard.networks.load import load
from regard.networks.network import Network

LIMIT = 15
"""What the issue asks of a curve of 28 steps where tokens can be left out, in forwards' time a picture."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    network = load(options.model)
    height, width = network.preparation.height, network.preparation.width
    x = torch.randn(options.batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    work = _work(network, x)
    for run in work.values():
        run()
    seconds: dict[str, list[float]] = {row: [] for row in work}
    beside: dict[str, list[float]] = {row: [] for row in work}
    for _ in range(options.rounds):
        for row, run in work.items():
            beside[row].append(_timed(work["forward"]))
            seconds[row].append(_timed(run))
    each = statistics.median(seconds.pop("forward")) / options.batch
    print(
        f"{options.model}, float32, batch {options.batch}, {options.threads} threads, {options.rounds} rounds: ", end=""
    )
    print(f"a forward takes {1000 * each:.1f} ms a picture\n")
    print("| what | × forward | allowed | reached |\n|---|---|---|---|")
    for row, times in seconds.items():
        middle, low, high = _ratio(times, beside[row])
        limited = row == "a curve of 28 steps, tokens"
        reached = ("yes" if middle <= LIMIT else "no") if limited else ""
        print(f"| {row} | {middle:.1f} [{low:.1f}, {high:.1f}] | {LIMIT if limited else ''} | {reached} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pets-tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _work(network: Network, x: Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by its name; the first is what all else is held against."""
    maps = np.random.default_rng(0).random((1, len(x), *cells(network, x)))
    targets = network.logits(x).argmax(dim=1)
    (preferred, *_) = occluders_of(network)
    work: dict[str, Callable[[], object]] = {"forward": lambda: network.logits(x)}
    for occluder in (preferred, *({"mean"} - {preferred})):
        work[f"a curve of 28 steps, {occluder}"] = _curve(network, x, maps, targets, occluder)
    work[f"SRG: both curves of 10 steps, {preferred}"] = lambda: removal_curves(
        network, x, maps, targets, occluder=preferred
    )
    work[f"single deletion, {preferred}"] = lambda: single_deletion(network, x, maps, targets, occluder=preferred)
    work[f"reliability of the occluder, {preferred}"] = lambda: reliability(network, x, targets, occluder=preferred)
    return work


def _curve(network: Network, x: Tensor, maps: np.ndarray, targets: Tensor, occluder: str) -> Callable[[], object]:
    """The most influential first alone, from the map to the probabilities."""

    def run() -> object:
        orders = np.stack([influence(maps[:, place].reshape(1, -1), x[place], 0) for place in range(len(x))], axis=1)
        with occluding(network, x, occluder) as occluded:
            return curves_of(network, occluded, orders, targets, 28)

    return run


def _timed(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _ratio(row: list[float], base: list[float]) -> tuple[float, float, float]:
    """The median of the rounds' ratios, and the 95 % interval of it."""
    ratios = sorted(a / b for a, b in zip(row, base, strict=True))
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return statistics.median(ratios), float(low), float(high)


if __name__ == "__main__":
    main()
