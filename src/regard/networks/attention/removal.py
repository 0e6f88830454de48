"""Taking patches out of a picture as tokens, before the first block: which networks can, and what they answer."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.networks.attention.readout import prefix_readout
from regard.networks.attention.replay import resume, token_blocks, watch
from regard.networks.guard import replaced_forwards
from regard.networks.network import Network

RELATIVE = ("beit", "relpos", "sam", "eva", "Data2Vec", "BEiT", "DINOv3", "SigLIP 2")
"""Families whose attention knows places by the number of tokens: none can be taken out."""

DISCOVERED = "discovered"
"""The family of networks that regard does not know, whose attention was found by their grid."""

AVERAGING = ("huggingface DINOv2", "huggingface DINOv2 with registers")
"""Families that read the average of the patches beside CLS."""


def can_remove_tokens(network: Network) -> bool:
    """Whether patches can be taken out as tokens: it has blocks of them, and no attention that counts on all."""
    family = network.anatomy.family or ""
    rotated = any(path.rpartition(".")[2] == "rope" for path, _ in network.module.named_modules())
    if rotated or not token_blocks(network) or any(each in family for each in RELATIVE):
        return False
    return family != DISCOVERED or not _counts_on_order(network)


def _counts_on_order(network: Network) -> bool:
    """Whether a network of no declared family answers otherwise when its patches come in another order, each with what
    was added for its place: then it knows places by the order, and would take a patch for its neighbour."""
    height, width = network.preparation.height, network.preparation.width
    noise = torch.randn(1, network.preparation.channels, height, width, generator=torch.Generator().manual_seed(0))
    rows, columns = network.anatomy.grid(height, width)
    with network.borrow() as hooks, torch.no_grad():
        values = watch(network, hooks, token_blocks(network)[:1], before=True)
        logits = network.forward(noise)
        hooks.pop().remove()
        (tokens,) = values.values()
        prefix = tokens.shape[1] - rows * columns
        if tokens.ndim != 3 or prefix < 0:
            return True
        turned = torch.cat([tokens[:, :prefix], tokens[:, prefix:].flip(1)], dim=1)
        change = (resume(network, noise, turned, 0) - logits).abs().max()
        return bool(change > 1e-3 * logits.abs().max())


def check_removal(network: Network) -> None:
    """Raise `NetworkError` where tokens cannot be taken out."""
    if not can_remove_tokens(network):
        raise NetworkError(
            f"tokens of {network.name} cannot be taken out, as its attention counts on all; use occlusion"
        )


@dataclass(frozen=True)
class Tokens:
    """What goes into the first block of some pictures: (batch, prefix + patches, width), places added.

    `picture` (1, 3, height, width) is any of their size, `logits` (batch, classes) are those of the whole pictures. To
    be used while the network is borrowed and no gradient is taken.
    """

    network: Network
    picture: Tensor
    tokens: Tensor
    patches: int
    logits: Tensor

    @classmethod
    def of(cls, network: Network, pixels: Tensor, patches: int) -> Self:
        """The tokens of pictures (batch, 3, height, width) of so many patches, in one forward."""
        check_removal(network)
        (first, *_) = token_blocks(network)
        hooks: list[torch.utils.hooks.RemovableHandle] = []
        values = watch(network, hooks, (first,), before=True)
        try:
            logits = network.forward(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        tokens = values[first]
        if tokens.ndim != 3 or tokens.shape[1] < patches:
            raise NetworkError(
                f"tokens of {network.name} cannot be taken out: its first block gets {tuple(tokens.shape)} where "
                f"(pictures, {patches} patches and more, width) were to come; use occlusion"
            )
        return cls(network, pixels[:1], tokens, patches, logits)

    def logits_with(self, pictures: Tensor, patches: Tensor) -> Tensor:
        """(n, classes): the logits of `pictures` (n,), by index, with the `patches` (n, kept) of each alone.

        Prefix tokens stay, and every patch has its place. Where nothing is left to be averaged or pooled, one token of
        zeros stands for the patches.
        """
        prefix = self.tokens.shape[1] - self.patches
        anatomy = self.network.anatomy
        averaged = anatomy.reads != "cls" or anatomy.family in AVERAGING or bool(self.network.edits)
        pictures = pictures.to(self.tokens.device)
        before = self.tokens[pictures, :prefix]  # (n, prefix, width)
        if not patches.shape[1] and averaged:
            left = before.new_zeros(len(before), 1, self.tokens.shape[2])
        else:
            order = patches.to(self.tokens.device).sort(dim=1).values  # tokens stay in the picture's order
            left = self.tokens[pictures[:, None], prefix + order]  # (n, kept, width)
        with replaced_forwards(self.network.module, prefix_readout(self.network)):
            return resume(self.network, self.picture, torch.cat([before, left], dim=1), 0)
