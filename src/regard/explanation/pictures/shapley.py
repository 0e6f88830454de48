"""Shapley values of patches by removing tokens: the slow reference, with its error."""

import numpy as np
import torch
from torch import Tensor

from regard.errors import UsageError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells, completeness_of
from regard.explanation.pictures.targets import resolve, scores
from regard.networks.attention.removal import Tokens, check_removal
from regard.networks.network import Network

CHUNK = 32
"""Orders, each with its reverse, that are computed at once."""


def shapley(network: Network, pixels: Tensor, *, target: Target = None, samples: int = 8, seed: int = 0) -> Maps:
    """Maps (batch, rows, columns) of Shapley values in logits, with their standard errors; they have a sign.

    φ_p is the mean, over orders of the patches, of what p adds to the class's logit when it comes; a patch that has not
    come is no token at all. Of the orders `samples` are drawn, each with its reverse (antithetic), as in Castro et al.
    2009, eq. 4; the error is that of the mean over drawn pairs, estimated from as many: with 2 samples two errors to
    each side hold the exact value in .63 of cases, not .95. The values of a picture sum to y(all) - y(none), where
    "none" leaves prefix tokens alone or, where the head does not read CLS alone, those and one token of zeros.
    """
    if samples < 2:
        raise UsageError(f"samples is {samples}; at least 2 are needed, so that their error is known")
    check_removal(network)
    network.check(pixels)
    rows, columns = cells(network, pixels)
    with network.borrow(), torch.no_grad():
        tokens = Tokens.of(network, pixels, rows * columns)
        targets = resolve(tokens.logits, target)
        results = [_one(tokens, index, targets[index], samples, seed) for index in range(len(pixels))]
    values, errors, nothing = map(torch.stack, zip(*results, strict=True))
    values = values.unflatten(1, (rows, columns))
    completeness = completeness_of(values, scores(tokens.logits, targets), nothing)
    return as_maps(values, targets, errors.unflatten(1, (rows, columns)), completeness=completeness)


def _one(tokens: Tokens, picture: int, target: Target, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(patches,) values, their standard errors, and the score of no patch, for one picture of some."""
    count = tokens.patches
    generator = np.random.default_rng(seed)
    orders = np.empty((samples, count), np.int32 if count > 32767 else np.int16)
    for row in orders:
        row[:] = generator.permutation(count)

    def score(coalition: Tensor) -> Tensor:  # (orders, n) → (orders,)
        logits = tokens.logits_with(torch.full((len(coalition),), picture), coalition)
        return scores(logits, [target] * len(logits))

    nothing = score(torch.empty(1, 0, dtype=torch.long))
    pairs = torch.empty(samples, count, dtype=torch.float64)
    for first in range(0, samples, CHUNK):  # so that memory does not grow with the samples
        chunk = orders[first : first + CHUNK]
        both = torch.from_numpy(np.concatenate([chunk, chunk[:, ::-1]])).long()  # (2 · orders, patches)
        added = torch.zeros(len(both), count, dtype=torch.float64)
        before = nothing.expand(len(both))
        for place in range(count):
            after = score(both[:, : place + 1])
            added[torch.arange(len(both)), both[:, place]] = (after - before).cpu().double()
            before = after
        pairs[first : first + CHUNK] = (added[: len(chunk)] + added[len(chunk) :]) / 2
    return pairs.mean(dim=0), pairs.std(dim=0) / samples**0.5, nothing[0]
