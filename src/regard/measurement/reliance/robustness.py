"""How far accuracy holds under blur, noise, JPEG and brightness, at three strengths each.

The first, third and fifth of the strengths of Hendrycks and Dietterich 2019 (arXiv 1903.12261; the code of ImageNet-C),
at the network's input, for which they were chosen (224 pixels; σ of blur is in these pixels and scales with the shorter
side).
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regard.errors import unknown
from regard.measurement.blur import blurred
from regard.measurement.reliance.answers import Answers, answers, noise
from regard.networks.network import Network

STRENGTHS: dict[str, tuple[float, float, float]] = {
    "blur": (1, 3, 6),  # σ in pixels of 224
    "noise": (0.08, 0.18, 0.38),  # σ, where white is 1
    "jpeg": (25, 15, 7),  # quality
    "brightness": (0.1, 0.3, 0.5),  # added to the largest of red, green and blue
}


def corrupted(pictures: Tensor, kind: str, strength: float, seed: int = 0) -> Tensor:
    """Pictures (pictures, 3, height, width) in [0, 1] under one of `STRENGTHS`; noise is a function of the seed and of
    each picture's values."""
    if kind == "blur":
        return blurred(pictures, strength * min(pictures.shape[-2:]) / 224)
    if kind == "noise":
        return (pictures + strength * next(noise(pictures, seed, 1))).clamp(0, 1)
    if kind == "jpeg":
        return torch.stack([_compressed(each, int(strength)) for each in pictures]).to(pictures)
    if kind != "brightness":
        raise unknown("corruption", kind, STRENGTHS)
    value = pictures.amax(dim=1, keepdim=True)  # HSV's V: hue and saturation stay as they are
    raised = (value + strength).clamp(max=1)
    return torch.where(value > 0, pictures * (raised / value.clamp(min=1e-12)), raised)


def _compressed(picture: Tensor, quality: int) -> Tensor:
    array = picture.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255


def robustness(
    network: Network, pictures: Tensor, targets: NDArray[Any], *, seed: int = 0, batch_size: int = 32
) -> Answers:
    """What the network answers to each of `STRENGTHS`; the variants are "blur 0", "blur 1", ..., from weak to strong.

    `targets` (pictures,) are the classes whose probability is wanted.
    """

    def variants() -> Iterator[tuple[str, Tensor, None]]:
        for kind, strengths in STRENGTHS.items():
            for level, strength in enumerate(strengths):
                yield f"{kind} {level}", corrupted(pictures, kind, strength, seed), None

    return answers(network, variants(), targets, batch_size)
