"""The logit lens: what class the network's own head would read a patch's token as, behind any block."""

import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.explanation import Maps, Target
from regard.explanation.pictures.cells import as_maps, cells
from regard.explanation.pictures.targets import resolve, scores
from regard.networks.attention.replay import resume, token_blocks, watch
from regard.networks.attention.trace import indices
from regard.networks.network import Network

AT_ONCE = 1024
"""Tokens that the head reads at once."""


def logit_lens(network: Network, pixels: Tensor, *, layer: int | None = None, target: Target = None) -> Maps:
    """Maps (batch, rows, columns) of the class's probability where a patch's token is read alone: from 0 to 1.

    The token as block `layer`, by default the last, leaves it goes through the network's final norm and head as if it
    were what they read: CLS, every patch that is averaged, all that is pooled. A probability rather than a logit, since
    that alone says whether the class wins there: what lifts all logits of a token lifts no class. Of one class against
    another it is the probability of the first between the two, σ(y₁ - y₂). It is a reading, not what the network does
    with the token: the head never saw a patch's token where it reads CLS.
    """
    network.check(pixels)
    blocks = token_blocks(network)
    advice = "use occlusion, or legrad where it has attention"
    if not blocks or blocks != network.anatomy.blocks:
        raise NetworkError(f"{network.name} has no head right behind the blocks of its patches; {advice}")
    if not network.has_classes:
        raise NetworkError(f"{network.name} has no head of classes that a token could be read by; {advice}")
    (chosen,) = indices("layer", len(blocks) - 1 if layer is None else layer, len(blocks))
    with network.borrow() as hooks, torch.no_grad():
        outputs = watch(network, hooks, (blocks[chosen],))
        logits = network.forward(pixels)
        targets = resolve(logits, target)
        tokens = outputs[blocks[chosen]]
        if tokens.ndim != 3:
            raise NetworkError(f"the head of {network.name} reads neighbouring tokens together, none alone; {advice}")
        hooks.pop().remove()
        rows, columns = cells(network, pixels)
        patches = tokens[:, -rows * columns :].flatten(0, 1)  # (batch · patches, width)
        each = [one for one in targets for _ in range(rows * columns)]
        values = [
            _probability(network, pixels, chunk, each[start : start + AT_ONCE])
            for start, chunk in zip(range(0, len(patches), AT_ONCE), patches.split(AT_ONCE), strict=True)
        ]
    return as_maps(torch.cat(values).reshape(len(pixels), rows, columns), targets, logits=logits)


def _probability(network: Network, pixels: Tensor, tokens: Tensor, targets: list[Target]) -> Tensor:
    """(n,): the probability of its class that each of `tokens` (n, width) has in the place of all tokens."""
    alone = tokens[:, None].expand(-1, network.anatomy.prefix + 1, -1)  # no more than a head needs to read
    logits = resume(network, pixels, alone, len(token_blocks(network)))
    if isinstance(targets[0], tuple):
        return torch.sigmoid(scores(logits, targets))
    return scores(network.probabilities(logits), targets)
