"""What networks compute in: float32, or bfloat16 where the machine multiplies it itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from regard.networks.arguments import check_arguments

_MULTIPLIES_BFLOAT16 = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def best_precision(precision: str, device: torch.device) -> str:
    """float32 or bfloat16: as given, or for `auto` the faster of the two on this machine.

    On CPUs that is bfloat16 only where they multiply it themselves (AMX tiles, or the AVX-512 instructions for it:
    twice as fast as float32); with AVX-512 alone it was 1.6 times slower. On GPUs it is where they do not emulate it.
    Raises `UsageError` for a precision that there is not.
    """
    check_arguments(None, precision=precision)
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    multiplied = device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in _MULTIPLIES_BFLOAT16)
    return "bfloat16" if multiplied else "float32"


@contextmanager
def computing(module: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
    """Inside, a module computes in float32 or bfloat16.

    In bfloat16 the convolution that reads the pixels stays in float32: it is a fortieth of the work, and what it rounds
    would be in all that follows.
    """
    reduced = precision == "bfloat16"
    parts = module.modules() if reduced else ()
    stems = [part for part in parts if isinstance(part, nn.Conv2d) and part.in_channels <= 4]
    before: list[bool] = []

    def widen(part: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        before.append(torch.is_autocast_enabled(device.type))
        torch.set_autocast_enabled(device.type, False)
        return tuple(each.to(part.weight.dtype) if isinstance(each, torch.Tensor) else each for each in args)

    def narrow(part: Any, args: Any, output: Any) -> None:
        torch.set_autocast_enabled(device.type, before.pop())

    hooks = [part.register_forward_pre_hook(widen) for part in stems]
    hooks += [part.register_forward_hook(narrow) for part in stems]
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            yield
    finally:
        for hook in hooks:
            hook.remove()
