"""What stands where patches of a picture are gone: no token at all, or other pixels.

Tokens are left out before the first block, so that the network sees no picture that was never taken; pixels can be
given to any network, but a grey square is something to see, too. How far each may be believed, `reliability` measures.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import torch
from torch import Tensor

from regard.errors import NetworkError, UsageError, unknown
from regard.measurement.blur import blurred
from regard.networks.attention.removal import Tokens, can_remove_tokens
from regard.networks.cells import cell_of_pixels, cells
from regard.networks.guard import lock_of
from regard.networks.network import Network

TOKENS, MEAN, BLUR, OTHER = "tokens", "mean", "blur", "other"
OCCLUDERS = {
    TOKENS: "left out as tokens before the first block",
    MEAN: "the mean colour of what the network was trained on",
    BLUR: "the picture behind a Gaussian blur, one patch wide",
    OTHER: "the same place of another picture",
}
"""Each occluder by its name, and what stands where a patch is gone."""

AT_ONCE = 1600
"""Tokens (or cells) that go through the network at once: more take memory, and on CPUs no less time."""

ON_ACCELERATORS = 32
"""How many times as many elsewhere than on CPUs."""


class Occluded(Protocol):
    """Some pictures of which patches can be taken away; `whole` (batch, classes) are their logits as they are."""

    whole: Tensor

    def logits(self, pictures: Tensor, remaining: Tensor) -> Tensor:
        """(n, classes): of `pictures` (n,), by index, with the patches `remaining` (n, any) of each alone."""


def occluders_of(network: Network) -> tuple[str, ...]:
    """The occluders that this network can be visible, the one to prefer first."""
    return tuple(OCCLUDERS) if can_remove_tokens(network) else tuple(OCCLUDERS)[1:]


@contextmanager
def occluding(network: Network, pixels: Tensor, occluder: str, donors: Tensor | None = None) -> Iterator[Occluded]:
    """Inside, the network answers pictures (batch, 3, height, width), normalised, with patches gone; no gradients.

    `donors` of the same shape are the other pictures of the occluder "other". Raises `UsageError` for an occluder that
    there is not or that lacks its donors, `NetworkError` for tokens that cannot be taken out.
    """
    if occluder not in OCCLUDERS:
        raise unknown("occluder", occluder, OCCLUDERS)
    if occluder == TOKENS and not can_remove_tokens(network):
        raise NetworkError(
            f"patches of {network.name} cannot be left out as tokens; take one of {', '.join(occluders_of(network))}"
        )
    if occluder == OTHER and (donors is None or donors.shape != pixels.shape):
        shape = None if donors is None else tuple(donors.shape)
        raise UsageError(f"occluder 'other' needs donors of shape {tuple(pixels.shape)}; came {shape}; give as many")
    network.check(pixels)
    with ExitStack() as stack:
        stack.enter_context(lock_of(network.module))
        stack.enter_context(network.borrow())
        stack.enter_context(torch.no_grad())
        if occluder == TOKENS:
            rows, columns = cells(network, pixels)
            yield _Tokens(Tokens.of(network, pixels, rows * columns))
        else:
            yield _Pixels(network, pixels, _fills(network, pixels, occluder, donors))


def _fills(network: Network, pixels: Tensor, occluder: str, donors: Tensor | None) -> Tensor:
    if occluder == OTHER and donors is not None:
        return donors.to(pixels)
    if occluder == MEAN:
        return torch.zeros_like(pixels)
    rows, columns = cells(network, pixels)
    return blurred(pixels, min(pixels.shape[2] / rows, pixels.shape[3] / columns))


def _at_once(network: Network, tokens: int) -> int:
    """How many pictures of so many tokens go through the network at once."""
    most = AT_ONCE if network.device.type == "cpu" else AT_ONCE * ON_ACCELERATORS
    return max(1, most // max(1, tokens))


class _Tokens:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.whole = tokens.logits

    def logits(self, pictures: Tensor, remaining: Tensor) -> Tensor:
        prefix = self.tokens.tokens.shape[1] - self.tokens.patches
        rows = _at_once(self.tokens.network, prefix + remaining.shape[1])
        parts = zip(pictures.split(rows), remaining.split(rows), strict=True)
        return torch.cat([self.tokens.logits_with(*part) for part in parts])


class _Pixels:
    def __init__(self, network: Network, pixels: Tensor, fills: Tensor) -> None:
        self.network = network
        self.pixels = pixels
        self.fills = fills
        self.cell = cell_of_pixels(network, pixels).to(pixels.device)
        rows, columns = cells(network, pixels)
        self.patches = rows * columns
        self.whole = network.forward(pixels)

    def logits(self, pictures: Tensor, remaining: Tensor) -> Tensor:
        rows = _at_once(self.network, self.patches)
        logits = []
        for some, patches in zip(pictures.split(rows), remaining.split(rows), strict=True):
            visible = torch.zeros(len(some), self.patches + 1, dtype=torch.bool)
            visible[:, -1] = True  # where the network cuts the edge off, pixel and fill are one
            visible.scatter_(1, patches, True)
            mask = visible.to(self.pixels.device)[:, self.cell][:, None]  # (n, 1, height, width)
            some = some.to(self.pixels.device)
            logits.append(self.network.forward(torch.where(mask, self.pixels[some], self.fills[some])))
        return torch.cat(logits)
