"""Taking patches out of a picture as tokens, before the first block: which networks can, and what they answer."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from regard.errors import NetworkError
from regard.networks.attention.replay import resume, token_blocks, watch
from regard.networks.network import Network

RELATIVE = ("beit", "relpos", "sam", "eva", "Data2Vec", "BEiT", "DINOv3", "SigLIP 2")
"""Families whose attention knows places by the number of tokens: none can be taken out."""

AVERAGING = ("huggingface DINOv2", "huggingface DINOv2 with registers")
"""Families that read the average of the patches beside CLS."""


def can_remove_tokens(network: Network) -> bool:
    """Whether patches can be taken out as tokens: it has blocks of them, and no attention that counts on all."""
    family = network.anatomy.family or ""
    rotated = any(path.rpartition(".")[2] == "rope" for path, _ in network.module.named_modules())
    return bool(token_blocks(network)) and not rotated and not any(each in family for each in RELATIVE)


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
        return cls(network, pixels[:1], values[first], patches, logits)

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
        return resume(self.network, self.picture, torch.cat([before, left], dim=1), 0)
