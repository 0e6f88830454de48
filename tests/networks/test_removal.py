"""Which networks can have patches taken out as tokens: declared ones by their family, others by trying."""

from typing import Any

import pytest
import timm
import torch
from test_discovery import GRID, SIZE, CustomAttention, custom, pictures
from tiny_vits import TINY, Tiny
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.attention.removal import Tokens, can_remove_tokens
from regard.networks.load import load


class ByOrder(CustomAttention):
    """Knows places by the order of its tokens, as rotary positions do."""

    def forward(self, x: Tensor) -> Tensor:
        order = torch.arange(x.shape[1], dtype=x.dtype)[:, None] / x.shape[1]
        return super().forward(x + torch.sin(order * torch.arange(1, 25)))


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_network_that_is_not_known_is_tried(tokens: int) -> None:
    module = custom(tokens=tokens)
    assert can_remove_tokens(load(module, size=SIZE, grid=GRID))
    module.steps[1].attend = ByOrder()  # type: ignore[union-attr]
    network = load(module, size=SIZE, grid=GRID)
    assert network.anatomy.blocks
    assert not can_remove_tokens(network)
    with pytest.raises(NetworkError, match="cannot be taken out, as its attention counts on all"):
        Tokens.of(network, pictures(), 6)


@pytest.mark.parametrize(("name", "can"), [("vit_tiny_patch16_224", True), ("eva02_tiny_patch14_224", False)])
def test_a_declared_one_is_known_by_its_family(name: str, can: bool) -> None:
    assert can_remove_tokens(load(timm.create_model(name, depth=1, num_classes=3))) == can
    assert not can_remove_tokens(load(nn.Sequential(nn.Conv2d(3, 4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())))


@pytest.mark.parametrize("tiny", TINY, ids=[tiny.name for tiny in TINY])
def test_with_all_patches_it_is_the_network(tiny: Tiny) -> None:
    network, pixels = tiny.network(torch.float64), tiny.pictures.double()
    with network.borrow(), torch.no_grad():
        tokens = Tokens.of(network, pixels, 6)
        every: Any = torch.randperm(6, generator=torch.Generator().manual_seed(0)).expand(2, 6)
        again = tokens.logits_with(torch.tensor([1, 0]), every)
    torch.testing.assert_close(again.flip(0), network.logits(pixels))
    torch.testing.assert_close(tokens.logits, again.flip(0))
