"""A module around a network of a known family: what is known of the network inside holds for the whole.

It is checked by one pass of a random picture: the network inside must get the picture at its own size, once.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.anatomy.anatomy import Anatomy, Pair
from regard.networks.anatomy.description import describe
from regard.networks.guard import borrowed
from regard.networks.network import logits_of


def path_inside(module: nn.Module) -> str | None:
    """The path of the one part of a known family, or None where there are none or several side by side."""
    paths = list[str]()
    for path, part in module.named_modules():  # a part comes before those inside it
        if not any(path.startswith(f"{outer}.") for outer in paths) and describe(part).family is not None:
            paths.append(path)
    return paths[0] if len(paths) == 1 else None


def describe_wrapped(module: nn.Module, path: str, size: Pair, channels: int = 3) -> Anatomy | None:
    """The anatomy of a module by the network at `path`; None where that gets no picture of `size`, or more than one."""
    anatomy = describe(module.get_submodule(path)).inside(path)
    calls: Counter[str] = Counter()
    shapes = list[tuple[int, ...]]()
    tokens = list[Tensor]()

    def enter(name: str) -> Any:
        def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls[name] += 1
            first = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
            shapes.append(() if first is None else tuple(first.shape))

        return hook

    def leave(part: nn.Module, inputs: Any, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        tokens.append(x if x.requires_grad else x.requires_grad_())

    weight = next(module.parameters(), torch.zeros(()))
    picture = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0)).to(weight.device, weight.dtype)
    with borrowed(module, frozen=True, switches=anatomy.switches) as hooks, torch.enable_grad():
        for name, part in module.get_submodule(path).named_modules(prefix=path):
            hooks.append(part.register_forward_pre_hook(enter(name), with_kwargs=True))
        if anatomy.blocks:
            hooks.append(module.get_submodule(anatomy.blocks[-1]).register_forward_hook(leave))
        try:
            logits = logits_of(module(picture))
        except (RuntimeError, TypeError, ValueError, AssertionError, NetworkError):
            return None
    if not shapes or shapes[0] != tuple(picture.shape) or any(calls[block] != 1 for block in anatomy.blocks):
        return None
    attentions = tuple(attention for attention in anatomy.attentions if calls[attention])
    readers = anatomy.readers - (len(anatomy.attentions) - len(attentions))  # a pooling may be left out
    anatomy = replace(anatomy, attentions=attentions, readers=readers)
    if readers or not tokens or not logits.requires_grad:
        return anatomy
    return replace(anatomy, reads=_read_tokens(logits, tokens[0], anatomy))


def _read_tokens(logits: Tensor, tokens: Tensor, anatomy: Anatomy) -> str:
    """Which of the last block's tokens (1, tokens, width) the module around goes on with: those with a gradient."""
    weights = torch.arange(1, logits.shape[1] + 1, device=logits.device)  # a plain sum may not depend on any token
    (gradient,) = torch.autograd.grad((logits * weights).sum(), tokens, allow_unused=True, materialize_grads=True)
    used = gradient.flatten(1, -2).abs().sum(dim=-1)[0] > 0  # (tokens,)
    if not used[: anatomy.prefix].any():
        return "patches" if used.any() else anatomy.reads
    return "cls" if anatomy.cls and not used[1:].any() else anatomy.reads
