"""What bfloat16 changes of the maps of each method, of classes and of captions, and how much faster it is than float32.

    python bench/precision.py PETS CLOTHING_RUN CLOTHING/validation SCENES [--rounds 9] [--methods legrad gradcam]

PETS are the pets with their `split` (the `val` ones are explained, by `pets-tiny`), CLOTHING_RUN is a run of `regard
train CLOTHING/train --recipe probe`, SCENES come of `regard scenes 200 --val 0`. Rank correlations are Spearman's over
the patches of a map, both maps of the class that float32 predicts; a method holds with a median of at least 0.99 and
none below 0.97. A ratio of speed is float32's time by bfloat16's, one right behind the other on a batch of prepared
pixels, the median over rounds. Run it with OMP_NUM_THREADS=1.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from regard import Captioner, load
from regard.data.layouts import read_labelled, read_pictures
from regard.explanation import METHODS, Method
from regard.networks.network import Network
from regard.networks.predict import prepared, probabilities

MEDIAN = 0.99
WORST = 0.97
"""What the issue asks of rank correlations."""


def main() -> None:
    options = _options()
    print(f"{torch.get_num_threads()} threads, {options.rounds} rounds\n")
    _print_maps(options)
    if options.run is not None:
        _print_classes(options)
    if options.scenes is not None:
        _print_captions(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pets", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("clothing", type=Path, nargs="?")
    parser.add_argument("scenes", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--methods", nargs="+", default=[row.name for row in METHODS if row.kind == "picture"])
    parser.add_argument("--pictures", type=int, default=74)
    return parser.parse_args()


def _print_maps(options: argparse.Namespace) -> None:
    network = load("pets-tiny")
    dataset = read_labelled(options.pets).part("val")
    pixels = torch.cat([each for _, each in prepared(network, dataset.pictures[: options.pictures])])
    classes = network.logits(pixels).argmax(1).tolist()
    same = np.mean([a == b for a, b in zip(classes, reduced(network).logits(pixels).argmax(1).tolist(), strict=True)])
    print(f"pets-tiny, {len(pixels)} pictures; same top-1: {same:.3f}\n")
    print("| method | rank correlation, median | worst | pictures | time of float32 by bfloat16's | holds |")
    print("|---|---|---|---|---|---|")
    for name in options.methods:
        _print_method(METHODS[name], network, pixels, classes, options.rounds)


def _print_method(method: Method, network: Network, pixels: Tensor, classes: Sequence[int], rounds: int) -> None:
    slow = method.cost_per or method.cost > 10
    count = min(len(pixels), 8 if slow else len(pixels))
    function = METHODS.load(method.name)

    def maps(network: Network, index: int) -> np.ndarray:
        target = {"target": classes[index]} if method.class_specific else {}
        return np.asarray(function(network, pixels[index : index + 1], **target).values[0])

    correlations = []
    for index in range(count):
        first, second = maps(network, index).ravel(), maps(reduced(network), index).ravel()
        correlations.append(1.0 if np.array_equal(first, second) else float(spearmanr(first, second).statistic))
    batch = pixels[: 1 if slow else 8]
    how = {"target": classes[0]} if method.class_specific else {}
    ratio = speed(*(lambda each=each: function(each, batch, **how) for each in (network, reduced(network))), rounds)
    median, worst = statistics.median(correlations), min(correlations)
    holds = "yes" if median >= MEDIAN and worst >= WORST else "no"
    print(f"| {method.name} | {median:.4f} | {worst:.4f} | {count} | {ratio:.2f} | {holds} |", flush=True)


def _print_classes(options: argparse.Namespace) -> None:
    network = load(options.run)
    pictures = read_pictures(options.clothing).pictures
    tops = []
    for each in (network, reduced(network)):
        rows = [values for _, values in probabilities(each, pictures)]
        tops.append(torch.cat(rows))
    same = (tops[0].argmax(1) == tops[1].argmax(1)).float().mean()
    change = (tops[0] - tops[1]).abs().max()
    pixels = next(each for _, each in prepared(network, pictures[:32]))
    ratio = speed(*(lambda each=each: each.logits(pixels) for each in (network, reduced(network))), options.rounds)
    print(f"\n{len(pictures)} pictures classified: same top-1 {same:.4f}, probabilities off by at most {change:.4f}")
    print(f"float32's time by bfloat16's: {ratio:.2f}")


def _print_captions(options: argparse.Namespace) -> None:
    paths = [picture.path for picture in read_pictures(options.scenes / "images").pictures]
    captioners = [Captioner("scenes-captioner", precision=precision) for precision in ("float32", "bfloat16")]
    for method in ("cross_attention", "grad_cross_attention"):
        count = len(paths) if method == "cross_attention" else 20
        captions = [list(each.stream(paths[:count], method=method, batch_size=8)) for each in captioners]
        pairs = [(a, b) for a, b in zip(*captions, strict=True) if a.text == b.text]
        correlations = [
            float(spearmanr(x.heatmap.values.ravel(), y.heatmap.values.ravel()).statistic)
            for a, b in pairs
            for x, y in zip(a.words, b.words, strict=True)
            if x.heatmap is not None and y.heatmap is not None
        ]
        ratio = speed(
            *(lambda each=each, method=method: each(paths[:8], method=method) for each in captioners), options.rounds
        )
        print(
            f"\n{method}: {count} scenes, the same caption on {len(pairs) / count:.3f}, rank correlation of words' maps"
        )
        print(f"median {statistics.median(correlations):.4f}, worst {min(correlations):.4f}; time by time {ratio:.2f}")


def reduced(network: Network) -> Network:
    return replace(network, precision="bfloat16")


def speed(first: Callable[[], object], second: Callable[[], object], rounds: int) -> float:
    """The median over rounds of the first's time by the second's, after one round that does not count."""
    ratios = []
    for _ in range(rounds + 1):
        times = []
        for run in (first, second):
            begun = time.perf_counter()
            run()
            times.append(time.perf_counter() - begun)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


if __name__ == "__main__":
    main()
