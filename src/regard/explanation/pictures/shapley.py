"""Shapley values of patches by removing tokens: the slow reference, with its error."""

import numpy as np
import torch
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells, completeness_of
from regard.explanation.pictures.targets import resolve, scores
from regard.networks.attention.replay import resume, token_blocks, watch
from regard.networks.network import Network

RELATIVE = ("beit", "relpos", "sam", "eva", "Data2Vec", "BEiT", "DINOv3", "SigLIP 2")
"""Families whose attention knows places by the number of tokens: none can be taken out."""

AVERAGING = ("huggingface DINOv2", "huggingface DINOv2 with registers")
"""Families that read the average of the patches beside CLS."""

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
    blocks = token_blocks(network)
    family = network.anatomy.family or ""
    rotated = getattr(network.module, "rope", None) is not None
    if not blocks or rotated or any(each in family for each in RELATIVE):
        raise NetworkError(
            f"tokens of {network.name} cannot be taken out, as its attention counts on all; use occlusion"
        )
    network.check(pixels)
    with network.borrow() as hooks, torch.no_grad():
        first = watch(network, hooks, blocks[:1], before=True)
        logits = network.forward(pixels)
        targets = resolve(logits, target)
        tokens = first[blocks[0]]
        hooks.pop().remove()
        results = [
            _one(network, pixels[index : index + 1], tokens[index], targets[index], samples, seed)
            for index in range(len(pixels))
        ]
    rows, columns = cells(network, pixels)
    values, errors, nothing = map(torch.stack, zip(*results, strict=True))
    values = values.unflatten(1, (rows, columns))
    completeness = completeness_of(values, scores(logits, targets), nothing)
    return as_maps(values, targets, errors.unflatten(1, (rows, columns)), completeness=completeness)


def _one(
    network: Network, picture: Tensor, tokens: Tensor, target: Target, samples: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(patches,) values, their standard errors, and the score of no patch, for one picture's tokens (tokens, width)."""
    rows, columns = cells(network, picture)
    count = rows * columns
    generator = np.random.default_rng(seed)
    orders = np.empty((samples, count), np.int32 if count > 32767 else np.int16)
    for row in orders:
        row[:] = generator.permutation(count)
    prefix = tokens[: len(tokens) - count]
    patches = tokens[len(tokens) - count :]
    pairs = torch.empty(samples, count, dtype=torch.float64)
    for first in range(0, samples, CHUNK):  # so that memory does not grow with the samples
        chunk = orders[first : first + CHUNK]
        both = torch.from_numpy(np.concatenate([chunk, chunk[:, ::-1]])).long()  # (2 · orders, patches)
        added = torch.zeros(len(both), count, dtype=torch.float64)
        before = _coalition_score(network, picture, prefix, patches, both[:, :0], target)
        nothing = before[0]
        for place in range(count):
            after = _coalition_score(network, picture, prefix, patches, both[:, : place + 1], target)
            added[torch.arange(len(both)), both[:, place]] = (after - before).cpu().double()
            before = after
        pairs[first : first + CHUNK] = (added[: len(chunk)] + added[len(chunk) :]) / 2
    return pairs.mean(dim=0), pairs.std(dim=0) / samples**0.5, nothing


def _coalition_score(
    network: Network, picture: Tensor, prefix: Tensor, patches: Tensor, coalition: Tensor, target: Target
) -> Tensor:
    """(orders,): the score with the prefix tokens and the patches of the `coalition` (orders, n) alone."""
    averaged = network.anatomy.reads != "cls" or network.anatomy.family in AVERAGING
    if not coalition.shape[1] and averaged:  # what is averaged or pooled must not be empty
        tokens = torch.cat([prefix, patches.new_zeros(1, patches.shape[1])])[None]
    else:
        order = coalition.sort(dim=1).values.to(patches.device)  # tokens stay in the picture's order
        tokens = torch.cat([prefix.expand(len(order), -1, -1), patches[order]], dim=1)  # (orders, tokens, width)
    logits = resume(network, picture, tokens, 0)
    return scores(logits, [target] * len(logits)).expand(len(coalition))
