"""What the methods cost, in plain forwards and in forward + backward to the pixels, side by side in one run.

    python bench/explain.py [--models vit_base_patch16_224 vit_small_patch16_384] [--batches 1 8] [--rounds 9]

In each round every row is timed once, right behind a plain forward of the same pictures; a row's ratio is the median
over rounds, with the 95 % interval of the median. Networks are random: what they say does not matter to the time. Last,
the memory beyond a forward for the CLS rows of all layers of a ViT-L/14 at 518, against all maps.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from regard.explanation import METHODS
from regard.networks.attention.trace import trace
from regard.networks.load import load
from regard.networks.network import Network

ROWS = ("rollout", "gradcam", "grad_attention", "legrad", "libra_fullgrad", "libra_fullgrad_plus")
LIMITS = {  # what the issue asks for: (model's patches of 224, of 384), of what
    "CLS rows of all layers": (1.03, 1.05, "forward"),
    "rollout": (1.06, 1.25, "forward"),
    "gradcam": (1.08, 1.10, "forward"),
    "legrad": (1.25, 1.25, "forward"),
    "grad_attention": (1.05, 1.25, "both"),
    "libra_fullgrad": (1.15, 1.35, "both"),
    "libra_fullgrad_plus": (1.15, 1.35, "both"),
}


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, float32, {options.rounds} rounds; x forward, and x forward + backward\n")
    for name in options.models:
        network = load(f"random:{name}")
        for batch in options.batches:
            _table(network, name, batch, options.rounds)
    if options.memory:
        _memory()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit_base_patch16_224", "vit_small_patch16_384"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    return parser.parse_args()


def _table(network: Network, name: str, batch: int, rounds: int) -> None:
    height, width = network.preparation.height, network.preparation.width
    x = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    work: dict[str, Callable[[], object]] = {
        "forward": lambda: network.logits(x),
        "both": lambda: _both(network, x),
        "CLS rows of all layers": lambda: trace(network, x, layers="all"),
        **{row: _method(row, network, x) for row in ROWS},
    }
    for run in work.values():
        run()
    seconds: dict[str, list[float]] = {row: [] for row in work}
    beside: dict[str, list[float]] = {row: [] for row in work}
    for _ in range(rounds):
        for row, run in work.items():
            beside[row].append(_timed(work["forward"]))
            seconds[row].append(_timed(run))
    _print(name, batch, seconds, beside)


def _timed(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _method(row: str, network: Network, x: torch.Tensor) -> Callable[[], object]:
    function = METHODS.load(row)
    return lambda: function(network, x)


def _both(network: Network, x: torch.Tensor) -> None:
    """A plain forward and the backward to the pixels, no gradient of any weight."""
    with network.borrow(frozen=True):
        pixels = x.clone().requires_grad_()
        torch.autograd.grad(network.forward(pixels).max(dim=1).values.sum(), [pixels])


def _print(name: str, batch: int, seconds: dict[str, list[float]], beside: dict[str, list[float]]) -> None:
    each = statistics.median(seconds["forward"]) / batch
    print(f"\n{name}, batch {batch}: a forward takes {1000 * each:.1f} ms a picture\n")
    print("| what | × forward | × forward + backward | allowed | reached |\n|---|---|---|---|---|")
    for row in seconds:
        if row == "forward":
            continue
        forward, both = _ratio(seconds[row], beside[row]), _ratio(seconds[row], seconds["both"])
        limit = LIMITS.get(row)
        if limit is None:
            print(f"| forward + backward to the pixels | {_text(forward)} | 1 | | |")
            continue
        allowed = limit[1] if "384" in name else limit[0]
        found = forward if limit[2] == "forward" else both
        reached = "yes" if found[0] <= allowed else "within the interval" if found[1] <= allowed else "no"
        print(f"| {row} | {_text(forward)} | {_text(both)} | {allowed} × {limit[2]} | {reached} |", flush=True)


def _ratio(row: list[float], base: list[float]) -> tuple[float, float, float]:
    """The median of the rounds' ratios, and the 95 % interval of it (order statistics)."""
    ratios = sorted(a / b for a, b in zip(row, base, strict=True))
    medians = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return statistics.median(ratios), float(low), float(high)


def _text(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[0]:.3f} [{ratio[1]:.3f}, {ratio[2]:.3f}]"


def _memory() -> None:
    """What the CLS rows of all layers take beyond a forward, from the tensors that are kept."""
    network = load("random:vit_large_patch14_dinov2")
    x = torch.randn(1, 3, network.preparation.height, network.preparation.width)
    _, traced = trace(network, x, layers="all")
    kept = sum(rows.numel() * rows.element_size() for rows in traced.attention.values())
    tokens, heads = next(iter(traced.attention.values())).shape[-1], len(traced.heads)
    whole = len(traced.attention) * heads * tokens**2 * 4
    largest = 2 * heads * tokens * 4 + heads * tokens * 64 * 4  # one layer's scores and rows, and its keys
    print(
        f"\nViT-L/14 at 518, CLS rows of all layers: {kept / 1e6:.1f} MB a picture are kept and at most "
        f"{largest / 1e6:.1f} MB more used at a time; all maps would be {whole / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
