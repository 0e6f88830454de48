"""What another library makes of an exported folder, held against the network: logits and inputs, to 1e-5."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from regard.errors import NetworkError
from regard.exports.parity import Parity, measured, probes
from regard.exports.source import ExportSource
from regard.scenes import render, sample

EXACT = 1e-5
"""The largest relative difference of logits and inputs: weights and pictures are the same, so their sums must be."""
SIDES = ((1.1, 1.5), (1.5, 1.1), (1.23, 1.27), (0.7, 0.6))
"""(height, width) of the pictures that are prepared by both, in those of the input."""
OTHERS = "`--to pt2` and `--to onnx` carry any network whose forward pass can be traced"


def owner(source: ExportSource) -> str:
    """Whose a network is that is not timm's, in words."""
    owners = {"huggingface": "transformers' own", "torchvision": "torchvision's"}
    return owners.get(str(source.network.architecture.get("kind")), "a module of your own")


def check_weights(source: ExportSource) -> None:
    """Raise `NetworkError` for a network that is more than weights in an architecture of a library's."""
    network = source.network
    if network.edits:
        kinds = ", ".join(str(each["kind"]) for each in network.edits)
        raise NetworkError(
            f"{source.name} carries an edit ({kinds}) that is steps of its forward pass and no weights, which neither "
            f"timm nor transformers knows; {OTHERS}, with the edit inside"
        )
    if not network.has_classes:
        raise NetworkError(
            f"{source.name} has no head, so that its outputs are features and no classes; train one on it: `regard "
            "train DATA --model NETWORK --recipe probe --out RUN`"
        )


def same_logits(source: ExportSource, logits: Callable[[Tensor], Any]) -> Parity:
    """How far the logits of what was opened again are from the network's, on `probes`."""
    x = probes(source)
    with torch.inference_mode():
        return measured("logits", logits(x).numpy(), source.network.logits(x).numpy(), EXACT)


def same_inputs(source: ExportSource, transform: Callable[[Image.Image], Any], library: str) -> Parity:
    """How far another library's inputs are from the network's, of drawn pictures of its input's size and half as large
    again: there both resize in one step, to the bit.

    Raises `NetworkError` where a picture comes in another shape, and `OutputError` where it comes with other values.
    """
    preparation = source.preparation
    theirs = []
    ours = []
    for seed, (tall, wide) in enumerate(SIDES):
        height = min(max(round(tall * preparation.height), 16), 4096)
        width = min(max(round(wide * preparation.width), 16), 4096)
        image = Image.fromarray(render(sample(seed), size=(height, width)).picture)
        theirs.append(np.asarray(transform(image)))
        ours.append(preparation.tensor(image).numpy())
        if theirs[-1].shape != ours[-1].shape:
            raise NetworkError(f"{source.name} prepares its pictures in a way that {library} cannot; {OTHERS}")
    return measured("inputs", np.stack(theirs), np.stack(ours), EXACT)
