"""Waking random networks: as initialised their attention is uniform and their head nearly zero, so that a test of
parity would pass whatever was wrong (removing all attention would change their logits by 2e-5)."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

PEAK = 0.3
"""Every layer's largest attention weight must exceed this (a tenth would be uniform in the smallest networks here)."""


def wake(module: nn.Module, queries_keys: Iterable[Tensor], attention: Callable[[], list[Tensor]]) -> nn.Module:
    """Random values for all that starts at zero or one, then q and k scaled until each layer's attention is peaked.

    `attention` runs the network's own written-out attention and gives (B, heads, tokens, tokens) for each layer.
    """
    generator = torch.Generator().manual_seed(1)
    queries_keys = list(queries_keys)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            if (parameter.ndim == 1 and name.endswith("weight")) or "gamma" in name or "lambda" in name:
                parameter.copy_(1 + 0.1 * noise)
            elif parameter.ndim == 1 or "pos" in name or "token" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
        for parameter in queries_keys:
            parameter *= 2
        for _ in range(30):
            if is_awake(attention()):
                return module
            for parameter in queries_keys:
                parameter *= 1.3
    raise AssertionError("the network did not wake")


def is_awake(attention: list[Tensor]) -> bool:
    """Whether there are layers and each of them looks somewhere."""
    return bool(attention) and min(float(layer.max()) for layer in attention) > PEAK


def written_out(module: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A timm ViT with fused attention switched off: logits, and what goes into each block's attention dropout."""
    attentions = [part for part in module.modules() if hasattr(part, "qkv")]
    fused = [part.fused_attn for part in attentions]
    rows: list[Tensor] = []
    hooks = [part.attn_drop.register_forward_pre_hook(lambda part, args: rows.append(args[0])) for part in attentions]
    try:
        for part in attentions:
            part.fused_attn = False
        with torch.no_grad():
            return module.eval()(x), rows
    finally:
        for part, was in zip(attentions, fused, strict=True):
            part.fused_attn = was
        for hook in hooks:
            hook.remove()


def wake_timm(module: nn.Module, x: Tensor) -> nn.Module:
    """A timm ViT, awake on x."""
    parts = [part.qkv.weight for part in module.modules() if hasattr(part, "qkv")]
    scaled = [weight.detach()[: 2 * len(weight) // 3] for weight in parts]
    return wake(module, scaled, lambda: written_out(module, x)[1])


def error(came: Tensor, right: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((came.double() - right.double()).abs().max() / right.double().abs().max())
