"""Gradient checkpointing: the same gradients, dropout's draws among them, for less memory."""

import copy
from dataclasses import replace

import pytest
import torch
from samples import SAMPLES, Sample, awake
from torch import Tensor

from regard.errors import UsageError
from regard.networks.load import load
from regard.networks.network import Network, logits_of
from regard.training.layers.recompute import recomputed
from regard.training.optimise import dropout
from regard.training.parallel.ranks import keyed
from regard.training.settings import Settings

FAMILIES = ("timm vit", "torchvision vit", "timm eva", "huggingface ViTForImageClassification")
PLAIN = Settings(dropout=0.2)


def gradients(network: Network, pictures: Tensor, settings: Settings) -> tuple[dict[str, Tensor], int]:
    """Of one step with dropout, and how many bytes were kept for the way back."""
    sizes: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    network.module.train()
    network.module.zero_grad(set_to_none=True)
    settings = settings if network.anatomy.family in ("timm vision_transformer", "torchvision vit") else Settings()
    with dropout(network, settings), recomputed(network, settings):
        torch.manual_seed(7)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            loss = logits_of(network.module(pictures)).square().sum()
        loss.backward()
    own = {value.untyped_storage().data_ptr() for value in network.module.parameters()}
    kept = sum(size for place, size in sizes.items() if place not in own)
    return {
        name: value.grad.clone() for name, value in network.module.named_parameters() if value.grad is not None
    }, kept


@pytest.mark.parametrize("sample", [each for each in SAMPLES if each.name in FAMILIES], ids=lambda each: each.name)
def test_gradients_are_the_same_to_the_bit(sample: Sample) -> None:
    network = load(copy.deepcopy(awake(sample)[0]), size=sample.size)
    right, all_of_it = gradients(network, sample.pictures, PLAIN)
    came, less = gradients(network, sample.pictures, replace(PLAIN, recompute="blocks"))
    assert right.keys() == came.keys() and len(right) > 10
    for name, value in right.items():
        assert torch.equal(value, came[name]), name
    assert all("forward" not in vars(part) for part in network.module.modules())
    if network.anatomy.family in ("timm vision_transformer", "torchvision vit"):
        assert less < 0.5 * all_of_it


def test_dropout_keyed_by_picture_draws_the_same_again() -> None:
    sample = next(each for each in SAMPLES if each.name == "timm vit")
    network = load(copy.deepcopy(awake(sample)[0]), size=sample.size)
    pictures = sample.pictures
    values = [value for value in network.module.train().parameters() if value.requires_grad]
    came = []
    for settings in (Settings(drop_path=0.5), Settings(drop_path=0.5, recompute="blocks")):
        with dropout(network, settings), recomputed(network, settings):
            with keyed("step", [3, 5], network.device):
                loss = logits_of(network.module(pictures)).square().sum()
            came.append(torch.autograd.grad(loss, values))
    assert all(torch.equal(one, other) for one, other in zip(*came, strict=True))


def test_a_network_without_known_blocks_says_what_else_helps() -> None:
    network = load("random:resnet18")
    with (
        pytest.raises(UsageError, match="has none that regard knows; leave it out, and give a smaller --batch-size"),
        recomputed(network, Settings(recompute="blocks")),
    ):
        pass
