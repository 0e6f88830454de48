"""Which transform loses least when attention becomes bytes: the table in docs/quantised.md.

    .venv/bin/python bench/quantised.py ../shared/data/pets

Errors of one byte a patch, as shares of each map's extent; `relative` is the median error over the value itself.
"""

import sys
from collections.abc import Callable

import numpy as np
import torch

from regard.data.images.preparation import read_pixels
from regard.data.layouts import read_pictures
from regard.networks.attention.trace import trace
from regard.networks.load import load

PICTURES = 10
SMALLEST = 1e-12  # of what a logarithm is taken

Code = Callable[[np.ndarray], np.ndarray]


def power(exponent: float) -> Code:
    """The map after a byte that stands for the `exponent`-th root."""

    def decoded(maps: np.ndarray) -> np.ndarray:
        low, extent = maps.min((-2, -1), keepdims=True), np.ptp(maps, axis=(-2, -1), keepdims=True)
        levels = np.rint(255 * ((maps - low) / extent) ** (1 / exponent))
        return low + extent * (levels / 255) ** exponent

    return decoded


def logarithm(maps: np.ndarray) -> np.ndarray:
    """The map after a byte that stands for the logarithm."""
    return np.exp(power(1)(np.log(np.maximum(maps, SMALLEST))))


def attention(folder: str) -> dict[str, np.ndarray]:
    """Of `pets-tiny`: (pictures, layers, heads, rows, columns), and (pictures, patches, rows, columns) of patches."""
    network = load("pets-tiny")
    pictures = read_pictures(folder).pictures
    some = pictures[:: max(1, len(pictures) // PICTURES)][:PICTURES]
    pixels = [read_pixels(each.opener, network.preparation)[0] for each in some]
    x = network.preparation.normalise(torch.from_numpy(np.stack(pixels)))
    _, cls = trace(network, x, layers="all")
    _, last = trace(network, x, queries="all")
    rows = torch.stack([cls.attention[layer][:, :, 0] for layer in sorted(cls.attention)], dim=1)
    (square,) = last.attention.values()
    found = {"CLS, all layers and heads": rows, "patches, last layer": square.mean(1)[:, cls.prefix :]}
    shape = cls.rows, cls.columns
    return {name: each[..., cls.prefix :].unflatten(-1, shape).double().numpy() for name, each in found.items()}


def main() -> None:
    codes: dict[str, Code] = {"linear": power(1), "sqrt": power(2), "cube root": power(3), "log": logarithm}
    print("| maps | transform | mean | root mean square | largest | relative |")
    print("|---|---|---|---|---|---|")
    for name, maps in attention(sys.argv[1]).items():
        extent = np.ptp(maps, axis=(-2, -1), keepdims=True)
        for code, decoded in codes.items():
            off = np.abs(decoded(maps) - maps)
            share = off / extent
            numbers = share.mean(), np.sqrt((share**2).mean()), share.max(), np.median(off / maps)
            print(f"| {name} | {code} | " + " | ".join(f"{100 * number:.3f} %" for number in numbers) + " |")


if __name__ == "__main__":
    main()
