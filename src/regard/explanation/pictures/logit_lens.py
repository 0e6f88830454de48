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
    blocks = readable_blocks(network)
    (chosen,) = indices("layer", len(blocks) - 1 if layer is None else layer, len(blocks))
    with network.borrow() as hooks, torch.no_grad():
        outputs = watch(network, hooks, (blocks[chosen],))
        logits = network.forward(pixels)
        targets = resolve(logits, target)
        hooks.pop().remove()
        rows, columns = cells(network, pixels)
        read = read_tokens(network, pixels, outputs[blocks[chosen]], rows * columns).flatten(0, 1)
    each = [one for one in targets for _ in range(rows * columns)]
    of_pair = isinstance(targets[0], tuple)
    values = torch.sigmoid(scores(read, each)) if of_pair else scores(network.probabilities(read), each)
    return as_maps(values.reshape(len(pixels), rows, columns), targets, logits=logits)


ADVICE = "use occlusion, or legrad where it has attention"


def readable_blocks(network: Network) -> tuple[str, ...]:
    """The paths of the blocks behind which tokens can be read.

    Raises `NetworkError` where no head of classes lies right behind them.
    """
    blocks = token_blocks(network)
    if not blocks or blocks != network.anatomy.blocks:
        raise NetworkError(f"{network.name} has no head right behind the blocks of its patches; {ADVICE}")
    if not network.has_classes:
        raise NetworkError(f"{network.name} has no head of classes that a token could be read by; {ADVICE}")
    return blocks


def read_tokens(network: Network, pixels: Tensor, tokens: Tensor, patches: int) -> Tensor:
    """(batch, patches, classes): the logits of each patch's token as blocks leave it (batch, tokens, width), alone.

    Each stands in the place of all tokens. To be called while the network is borrowed, without gradients. Raises
    `NetworkError` for tokens on a grid.
    """
    if tokens.ndim != 3:
        raise NetworkError(f"the head of {network.name} reads neighbouring tokens together, none alone; {ADVICE}")
    each = tokens[:, -patches:].flatten(0, 1)  # (batch · patches, width)
    alone = each[:, None].expand(-1, network.anatomy.prefix + 1, -1)  # no more than a head needs to read
    behind = len(token_blocks(network))
    logits = [resume(network, pixels, chunk, behind) for chunk in alone.split(AT_ONCE)]
    return torch.cat(logits).unflatten(0, (len(tokens), patches))
