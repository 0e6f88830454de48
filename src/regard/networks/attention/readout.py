"""The last block of a network whose head reads the class token: what its other tokens become there, nothing reads."""

from collections.abc import Callable
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor
from torch.nn import functional

from regard.networks.network import Network

Forwards = dict[str, Callable[..., Tensor]]


def prefix_readout(network: Network) -> Forwards:
    """The forward, by path, with which the last block gives its prefix tokens alone; empty where more may be read.

    Every token is still a key and a value, so the logits are the same to rounding, and the block costs a quarter:
    queries, projection and MLP are of the prefix tokens (CLS, registers). For plain ViTs of timm without edits, and
    while nobody watches what comes behind the attention; with gradients and dropout as ever.
    """
    module: Any = network.module
    anatomy = network.anatomy
    plain = type(module) is VisionTransformer and anatomy.reads == "cls" and module.attn_pool is None
    if not plain or network.edits or not anatomy.prefix:
        return {}
    block: Any = module.blocks[-1]
    if type(block) is not Block or type(block.attn) is not Attention or block.attn.gate is not None:
        return {}
    behind = [*block.modules(), *module.norm.modules(), *module.fc_norm.modules(), *module.head_drop.modules()]
    if any(part._forward_hooks or part._forward_pre_hooks for part in behind):
        return {}

    whole = block.forward

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs:  # a mask, say
            return whole(x, *args, **kwargs)
        attended = _attention(block.attn, block.norm1(x), anatomy.prefix)
        x = x[:, : anatomy.prefix] + block.drop_path1(block.ls1(attended))  # (batch, prefix, width)
        return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))

    return {anatomy.blocks[-1]: forward}


def _attention(attention: Any, x: Tensor, queries: int) -> Tensor:
    """(batch, tokens, width) → (batch, queries, width): what the first tokens read of all."""
    shape = (attention.num_heads, attention.head_dim)
    weight = attention.qkv.weight
    bias = attention.qkv.bias
    width = attention.attn_dim
    q = functional.linear(x[:, :queries], weight[:width], None if bias is None else bias[:width])
    kv = functional.linear(x, weight[width:], None if bias is None else bias[width:])
    q = attention.q_norm(q.unflatten(2, shape).transpose(1, 2))  # (batch, heads, queries, d)
    k, v = kv.unflatten(2, (2, *shape)).permute(2, 0, 3, 1, 4)  # (batch, heads, tokens, d) each
    k = attention.k_norm(k)
    weights = attention.attn_drop(torch.softmax(q * attention.scale @ k.transpose(2, 3), dim=-1))
    x = (weights @ v).transpose(1, 2).flatten(2)  # (batch, queries, heads · d)
    return attention.proj_drop(attention.proj(attention.norm(x)))
