"""A copy of a network, trained on with patches gone: its answer falls for what is missing, and not for the holes.

The copy learns to answer a picture of which random patches are left as the network answers the whole. No label is
needed, and what it says of whole pictures stays near to what the network says. It is a function of the network, the
pictures and the seed.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.data.dataset import Picture
from regard.data.images.preparation import read_pixels
from regard.errors import DataError, NetworkError
from regard.measurement.faithfulness.occluders import TOKENS
from regard.networks.attention.removal import Tokens
from regard.networks.cells import cell_of_pixels, cells
from regard.networks.guard import is_quantised, is_sealed
from regard.networks.network import Network
from regard.progress import Progress, silent

STEPS = 300
BATCH = 16
RATE = 1e-4
"""The highest learning rate of AdamW; it rises over a tenth of the steps, and falls as a cosine."""
FEWEST = 16
"""Pictures that the copy must have to learn from."""
ROUND = 2.5
"""About how many forwards of a batch a step takes: the network's own, and forward and backward of half as much."""


def check_adaptable(network: Network, count: int) -> None:
    """Raise `NetworkError` for weights that cannot be trained, `DataError` for too few pictures."""
    if is_sealed(network.module) or is_quantised(network.module):
        raise NetworkError(f"a copy of {network.name} cannot be trained, as it is compiled; give the module itself")
    if count < FEWEST:
        raise DataError(
            f"{count} pictures of DATA are not audited, and --in-domain needs {FEWEST} others to train a copy on; give "
            "DATA with more, or a --split that leaves some"
        )


def expected_seconds(network: Network) -> float:
    """About how long `adapted` takes, from a few forwards."""
    pixels = network.blank().expand(BATCH, -1, -1, -1)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        network.logits(pixels)
        times.append(time.perf_counter() - start)
    return min(times) * ROUND * STEPS


@torch.inference_mode(mode=False)
def adapted(
    network: Network,
    pictures: Sequence[Picture],
    occluder: str,
    *,
    seed: int = 0,
    steps: int = STEPS,
    progress: Progress = silent,
) -> Network:
    """The copy, for removal by this `occluder`: tokens, or else the mean colour. Pictures that cannot be read are left
    out; the network, and torch's chance, stay as they are. Raises what `check_adaptable` does."""
    check_adaptable(network, len(pictures))
    module = copy.deepcopy(network.module)
    twin = replace(network, module=module, name=f"{network.name}, in-domain", messages=(), folder=None)
    weights = [weight.requires_grad_(True) for weight in module.parameters() if weight.is_floating_point()]
    descent = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.05)
    random = np.random.default_rng((seed, len(pictures)))
    order: list[int] = []
    with progress("training a copy with patches gone", steps) as advance:
        for step in range(steps):
            while len(order) < BATCH:
                order += random.permutation(len(pictures)).tolist()
            batch, order = order[:BATCH], order[BATCH:]
            pixels = _pixels(network, [pictures[index] for index in batch])
            share = float(random.random())
            seeds = torch.Generator().manual_seed(int(random.integers(2**62)))
            if len(pixels):
                for group in descent.param_groups:
                    group["lr"] = RATE * min((step + 1) / (steps / 10), 0.5 + 0.5 * math.cos(math.pi * step / steps))
                _step(network, twin, pixels, share, seeds, occluder).backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                descent.step()
                descent.zero_grad(set_to_none=True)
            advance(1)
    for weight in weights:
        weight.requires_grad_(False)
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        raise NetworkError(f"training a copy of {network.name} with patches gone diverged; leave --in-domain out")
    return twin


def _pixels(network: Network, pictures: Sequence[Picture]) -> Tensor:
    """(pictures that can be read, 3, height, width), normalised."""
    rows = []
    for picture in pictures:
        try:
            rows.append(read_pixels(picture.opener, network.preparation)[0])
        except DataError:
            continue
    if not rows:
        return torch.empty(0)
    return network.preparation.normalise(torch.from_numpy(np.stack(rows)).to(network.device))


def _step(
    network: Network, twin: Network, pixels: Tensor, share: float, seeds: torch.Generator, occluder: str
) -> Tensor:
    """The mean loss of the twin on pictures of which a `share` of the patches is gone, other ones of each."""
    rows, columns = cells(network, pixels)
    count = rows * columns
    remaining = torch.rand(len(pixels), count, generator=seeds).argsort(dim=1)[:, round(count * share) :]
    with network.borrow(), torch.no_grad():
        whole = Tokens.of(network, pixels, count) if occluder == TOKENS else None
        logits = network.forward(pixels) if whole is None else whole.logits
        targets = network.probabilities(logits.float())  # (pictures, classes)
    with twin.borrow():
        if whole is not None:
            left = replace(whole, network=twin).logits_with(torch.arange(len(pixels)), remaining)
        else:
            visible = torch.zeros(len(pixels), count + 1, dtype=torch.bool)
            visible[:, -1] = True
            visible.scatter_(1, remaining, True)
            mask = visible.to(pixels.device)[:, cell_of_pixels(network, pixels).to(pixels.device)][:, None]
            left = twin.forward(torch.where(mask, pixels, torch.zeros_like(pixels)))
    left = left.float()
    if bool((targets.sum(dim=1) - 1).abs().max() > 1e-3):  # each class by itself
        return F.binary_cross_entropy_with_logits(left, targets)
    return F.cross_entropy(left, targets)
