"""DAVE: LibraGrad's gradient at the pixels, averaged over small shifts and rotations of the picture."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import UsageError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells
from regard.explanation.pictures.gradients import gradients_of, gradients_on
from regard.explanation.pictures.libra import Libra, fullgrad
from regard.explanation.pictures.targets import scores
from regard.networks.attention.recorder import precise
from regard.networks.attention.trace import layer_count, recording
from regard.networks.network import Network

TURN = 20.0
"""The largest rotation to either side, in degrees."""
SHIFT = 0.5
"""The largest shift in each direction, in patches: so that every place meets the grid of patches in every way."""
BLUR = 0.25
"""The Gaussian's standard deviation, in patches."""
AT_ONCE = 8
"""Pictures, shifted and turned, that are computed at once."""


def dave(network: Network, pixels: Tensor, *, target: Target = None, samples: int = 50, seed: int = 0) -> Maps:
    """Maps (batch, height, width), a value a pixel of the network's input, of DAVE (2602.06613); they have a sign.

    G_σ * mean over `samples` draws of T⁻¹(∇ ⊙ T(x)), summed over colours: ∇ is the gradient of the class's logit at the
    picture T(x) under LibraGrad's rules, in which statistics of norms, attention and gates are constants; T shifts by
    up to half a patch and turns by up to 20° about the centre, bilinear, with the same draws, uniform and from `seed`,
    for every picture. Border rule: what T brings in from outside is the picture mirrored at its edge, and what is found
    there is given to no pixel; a pixel's mean is over the draws that show it (0 where none does). G_σ is a Gaussian of
    a quarter of a patch that counts what lies inside alone. Shift, border and width of the Gaussian are our reading.
    The class is that of the picture as it is. Raises `NetworkError` where LibraGrad has no rule for what is computed.
    """
    if samples < 1:
        raise UsageError(f"samples is {samples}; at least 1 is needed")
    _, targets = fullgrad(network, pixels, target)  # also refuses what there is no rule for
    x = precise(pixels.detach()).to(network.device)
    height, width = map(int, x.shape[-2:])
    rows, columns = cells(network, pixels)
    patch = torch.tensor([height / rows, width / columns], dtype=torch.float64)
    total = torch.zeros(len(x), height, width, dtype=x.dtype, device=x.device)
    coverage = torch.zeros(height, width, dtype=x.dtype, device=x.device)
    draws = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (samples, 3)))
    for some in draws.split(max(1, AT_ONCE // len(x))):
        sources, back = _places(some[:, 0] * math.radians(TURN), some[:, 1:] * SHIFT * patch, (height, width))
        sources, back = sources.to(x), back.to(x)  # each (draws, height, width, 2)
        values = _attributed(network, x, sources, targets)  # (draws, batch, height, width)
        total += F.grid_sample(values, back, padding_mode="zeros", align_corners=False).sum(dim=0)
        ones = torch.ones_like(values[:, :1])
        coverage += F.grid_sample(ones, back, padding_mode="zeros", align_corners=False).sum(dim=(0, 1))
    mean = torch.where(coverage > 0, total / coverage.clamp_min(torch.finfo(x.dtype).tiny), 0.0)
    blurs = []
    for count, side in zip((height, width), patch, strict=True):
        place = torch.arange(count, dtype=torch.float64)
        weights = torch.exp(-(((place[:, None] - place) / (BLUR * float(side))) ** 2) / 2)
        blurs.append((weights / weights.sum(dim=1, keepdim=True)).to(mean))  # (count, count): a row for each pixel
    down, across = blurs
    return as_maps(down @ mean @ across.T, targets)


def _attributed(network: Network, x: Tensor, sources: Tensor, targets: tuple[Target, ...]) -> Tensor:
    """(draws, batch, height, width): moved pictures times their gradients, for `sources` (draws, height, width, 2)."""
    count = len(sources)
    pictures = x.repeat(count, 1, 1, 1)  # (draws · batch, 3, height, width)
    places = sources.repeat_interleave(len(x), dim=0)
    layers = range(layer_count(network))
    with gradients_on():
        moved = F.grid_sample(pictures, places, padding_mode="reflection", align_corners=False).requires_grad_()
        with Libra() as libra, recording(network, layers, lambda layer: None, frozen=True) as hooks:
            libra.watch(network.module, hooks)
            score = scores(network.forward(moved), targets * count).sum()
            (gradient,) = gradients_of(score, [moved])
    return (moved.detach() * gradient).sum(dim=1).unflatten(0, (count, -1))


def _places(turns: Tensor, shifts: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where each pixel of a moved picture comes from, and each of the picture goes to, as `grid_sample` has places:
    (draws, height, width, 2), across and down from -1 to 1. `turns` (draws,) are in radians, `shifts` (draws, 2) in
    pixels, down and across."""
    height, width = size
    down, across = torch.meshgrid(
        torch.arange(height, dtype=turns.dtype) + 0.5 - height / 2,
        torch.arange(width, dtype=turns.dtype) + 0.5 - width / 2,
        indexing="ij",
    )  # pixels from the centre
    cosine, sine = (each(turns)[:, None, None] for each in (torch.cos, torch.sin))
    lower, aside = (shifts[:, axis, None, None] for axis in (0, 1))
    sources = (cosine * across - sine * down + aside, sine * across + cosine * down + lower)
    across, down = across - aside, down - lower
    back = (cosine * across + sine * down, cosine * down - sine * across)
    ends = torch.tensor([2 / width, 2 / height], dtype=turns.dtype)
    return torch.stack(sources, dim=-1) * ends, torch.stack(back, dim=-1) * ends
