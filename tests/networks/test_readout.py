"""The last block computed for the class token alone: the same logits and gradients, only where nothing else reads."""

import pytest
import timm
import torch
from woken import wake_timm

from regard.networks.attention.readout import prefix_readout
from regard.networks.guard import replaced_forwards
from regard.networks.load import load

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}
"""A network of 4 × 4 patches."""


def small(**arguments):
    torch.manual_seed(0)
    module = timm.models.vision_transformer.VisionTransformer(**SMALL | arguments)
    return load(wake_timm(module.double(), torch.randn(1, 3, 32, 32, dtype=torch.float64)))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reg_tokens": 3},
        {"qk_norm": True, "init_values": 0.5, "qkv_bias": False},
        {"pre_norm": True, "scale_attn_norm": True, "no_embed_class": True},
    ],
)
def test_logits_and_gradients_are_those_of_the_whole_block(arguments):
    network = small(**arguments)
    module = network.module
    pixels = torch.randn(2, 3, 32, 32, dtype=torch.float64)

    def measured():
        module.zero_grad()
        logits = module(pixels)
        logits.logsumexp(1).sum().backward()
        return logits.detach(), [value.grad.clone() for value in module.parameters()]

    logits, gradients = measured()
    forwards = prefix_readout(network)
    assert list(forwards) == ["blocks.2"]
    with replaced_forwards(module, forwards):
        seen = []
        hook = module.norm.register_forward_pre_hook(lambda part, args: seen.append(args[0].shape[1]))
        alone, others = measured()
        hook.remove()
    assert seen == [1 + arguments.get("reg_tokens", 0)]  # the patches are gone behind the block
    torch.testing.assert_close(alone, logits, rtol=1e-12, atol=1e-12)
    for left, right in zip(others, gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "arguments", [{"global_pool": "avg"}, {"class_token": False, "global_pool": "avg"}, {"global_pool": "map"}]
)
def test_where_the_head_reads_patches_the_whole_block_is_computed(arguments):
    assert prefix_readout(small(**arguments)) == {}


def test_where_somebody_watches_the_whole_block_is_computed():
    network = small()
    block = network.module.blocks[-1]
    for part in (block, block.mlp.fc1, block.attn, network.module.norm):
        hook = part.register_forward_hook(lambda *args: None)
        assert prefix_readout(network) == {}
        hook.remove()
    assert prefix_readout(network) != {}


def test_other_networks_are_left_alone():
    torch.manual_seed(0)
    for name in ("deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224", "convnext_atto"):
        assert prefix_readout(load(timm.create_model(name, num_classes=2))) == {}
