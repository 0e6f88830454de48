"""What bfloat16 changes of the maps of each method, of classes and of captions, and how much faster it is than float32.

    python bench/precision.py --pets PETS [--methods legrad gradcam] [--rounds 9]
    python bench/precision.py --run CLOTHING_RUN --clothing CLOTHING/validation --scenes SCENES

PETS are the pets with their `split` (the `val` ones are explained, by `pets-tiny`), CLOTHING_RUN is a run of `regard
train CLOTHING/train --recipe probe`, SCENES come of `regard scenes 200 --val 0 --seed 99`: of captions only the encoder
computes in bfloat16. Each part is run where its data is given. Rank correlations are Spearman's over the patches of a
map, both maps of the class that float32 predicts; a method holds with a median of at least 0.99 and none below 0.97. A
ratio of speed is float32's time by bfloat16's, one right behind the other on a batch of prepared pixels, the median
over rounds. Run it with OMP_NUM_THREADS=1.
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

from regard import load
from regard.data.images.decode import open_picture
from regard.data.layouts import read_labelled, read_pictures
from regard.explanation import METHODS, Method
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network
from regard.networks.network import Network
from regard.networks.predict import prepared, probabilities
from regard.predictors.captions.job import CaptionJob
from regard.predictors.captions.options import CaptionInput, CaptionOptions
from regard.records import Caption

MEDIAN = 0.99
WORST = 0.97
"""What the issue asks of rank correlations."""


def main() -> None:
    options = _options()
    print(f"{torch.get_num_threads()} threads, {options.rounds} rounds\n")
    if options.pets is not None:
        _print_maps(options)
    if options.run is not None:
        _print_classes(options)
    if options.scenes is not None:
        _print_captions(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pets", "run", "clothing", "scenes"):
        parser.add_argument(f"--{name}", type=Path)
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
    inputs = [CaptionInput(picture) for picture in read_pictures(options.scenes / "images").pictures]
    captioners = [load_caption_network("scenes-captioner", precision=each) for each in ("float32", "bfloat16")]
    pictures = [captioners[0].prepare(open_picture(item.picture.opener)) for item in inputs[:8]]

    def encode(captioner: CaptionNetwork) -> None:
        with torch.no_grad():
            captioner.memory(pictures)

    def captions(captioner: CaptionNetwork, method: str, count: int | None = None) -> list[Caption]:
        job = CaptionJob(captioner, CaptionOptions(method=method).fitted(captioner), {})
        return [caption for _, caption, _ in job.captions(inputs[:count])]

    ratio = speed(*(lambda each=each: encode(each) for each in captioners), options.rounds)
    print(f"\n{len(inputs)} scenes captioned; the encoder's time of float32 by bfloat16's: {ratio:.2f}\n")
    print("| method | same caption | rank correlation of a word's maps, median | worst | words | time | holds |")
    print("|---|---|---|---|---|---|---|")
    for method in ("cross_attention", "grad_cross_attention"):
        pairs = list(zip(*(captions(each, method) for each in captioners), strict=True))
        same = [(a, b) for a, b in pairs if a.text == b.text]
        correlations = [
            float(spearmanr(x.heatmap.values.ravel(), y.heatmap.values.ravel()).statistic)
            for a, b in same
            for x, y in zip(a.words, b.words, strict=True)
            if x.heatmap is not None and y.heatmap is not None
        ]
        ratio = speed(
            *(lambda each=each, method=method: captions(each, method, 8) for each in captioners), options.rounds
        )
        median, worst = statistics.median(correlations), min(correlations)
        holds = "yes" if median >= MEDIAN and worst >= WORST else "no"
        share = len(same) / len(pairs)
        print(f"| {method} | {share:.3f} | {median:.4f} | {worst:.4f} | {len(correlations)} | {ratio:.2f} | {holds} |")


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
