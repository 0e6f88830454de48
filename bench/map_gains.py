"""The symmetric relevance gain (SRG) of methods' maps side by side, as an audit measures it, with intervals.

    python bench/map_gains.py [--methods direct_logit,logit_lens,attention,edges,centre] [--model pets-tiny]
        [--data ../shared/data/pets] [--split val]

Each picture's map is of the class that is predicted; patches are left out as tokens, ten steps (docs/audit.md). Beside
each method: its SRG less that of the first one, paired by picture. Intervals are of 2,000 resamples of pictures.
"""

import argparse
from pathlib import Path

import numpy as np

from regard.data.layouts import read
from regard.explanation import METHODS
from regard.measurement.faithfulness.curves import on_grid, removal_curves
from regard.networks.cells import cells
from regard.networks.load import load
from regard.networks.predict import prepared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="direct_logit,logit_lens,attention,libra_fullgrad_plus,edges,centre")
    parser.add_argument("--model", default="pets-tiny")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/pets"))
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    names = options.methods.split(",")
    network = load(options.model)
    gains = []
    pictures = read(options.data).part(options.split).pictures
    for _, pixels in prepared(network, pictures, batch_size=8, workers=0):
        targets = network.logits(pixels).argmax(dim=1).tolist()
        grid = cells(network, pixels)
        maps = np.stack([on_grid(METHODS.load(name)(network, pixels).values, *grid) for name in names])
        gains.append(removal_curves(network, pixels, maps, targets).srg)
    srg = np.concatenate(gains, axis=1)  # (methods, pictures)
    print(f"{options.model}, {srg.shape[1]} pictures of {options.data.name}, {options.split}\n")
    print(f"| method | SRG | less {names[0]} |\n|---|---|---|")
    for name, values in zip(names, srg, strict=True):
        beside = "" if name == names[0] else interval(values - srg[0])
        print(f"| {name} | {interval(values)} | {beside} |")


def interval(values: np.ndarray) -> str:
    """Mean and 95 % percentile interval over pictures."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
