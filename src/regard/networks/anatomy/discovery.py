"""The anatomy of a module that no table knows, by recording it once, where the user gives its patch grid.

Nothing is guessed: an attention layer is a part that hands queries and keys of all patches to torch's attention, and
what of it is shown is what it handed over. Attention that does not pass there is not found.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from regard.errors import NetworkError, UsageError
from regard.networks.anatomy.anatomy import Anatomy, Pair
from regard.networks.guard import borrowed


def discover(module: nn.Module, anatomy: Anatomy, size: Pair, grid: Pair, channels: int = 3) -> Anatomy:
    """`anatomy` with the patches of `grid` (rows, columns) and with the layers that attend to them, in their order.

    `size` is the input's (height, width), of so many `channels`. Tokens that attention has beyond the patches come
    before them, the first of them read by the head. Raises `UsageError` for a grid that does not divide the input.
    """
    rows, columns = grid
    if rows < 1 or columns < 1 or size[0] % rows or size[1] % columns:
        raise UsageError(
            f"a grid of {rows} × {columns} patches does not divide pictures of {size[0]} × {size[1]} pixels; give "
            "(rows, columns) of the network's own patches"
        )
    anatomy = replace(anatomy, patch=(size[0] // rows, size[1] // columns), family="discovered")
    calls = _attention_calls(module, size, channels)
    paths = tuple(path for path, tokens in calls if tokens >= rows * columns)
    prefixes = {tokens - rows * columns for path, tokens in calls if path in paths}
    if not paths or len(prefixes) > 1 or len(set(paths)) < len(paths):
        return anatomy  # no attention among patches, or not the same everywhere: methods by gradient still work
    (prefix,) = prefixes
    blocks = tuple(path.rpartition(".")[0] for path in paths)
    distinct = all(blocks) and len(set(blocks)) == len(blocks)
    return replace(
        anatomy,
        attentions=paths,
        blocks=blocks if distinct else (),
        prefix=prefix,
        cls=prefix > 0,
        reads="cls" if prefix else "patches",
    )


def _attention_calls(module: nn.Module, size: Pair, channels: int) -> list[tuple[str, int]]:
    """(path of the innermost part, tokens) of each call of attention from tokens to themselves, in a blank picture."""
    recorder = _CallRecorder()
    weight = next(module.parameters(), torch.zeros(()))

    def leave(*_: Any) -> None:  # what a hook returns would take the output's place
        recorder.stack.pop()

    with borrowed(module) as hooks, torch.no_grad(), recorder:
        for path, part in module.named_modules():
            hooks.append(part.register_forward_pre_hook(lambda *_, path=path: recorder.stack.append(path)))
            hooks.append(part.register_forward_hook(leave))
        try:
            module(torch.zeros(1, channels, *size, device=weight.device, dtype=weight.dtype))
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:160]
            raise NetworkError(f"this module does not take pictures of {size[0]} × {size[1]}: {reason}") from error
    return recorder.calls


class _CallRecorder(TorchFunctionMode):
    """Records where attention is computed, and over how many tokens; `stack` has the paths of the parts that run."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.calls: list[tuple[str, int]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in (F.scaled_dot_product_attention, F.multi_head_attention_forward):
            query, key = (args[at] if len(args) > at else kwargs[name] for at, name in enumerate(("query", "key")))
            axis = -2 if function is F.scaled_dot_product_attention else 0  # multi-head: (tokens, batch, width)
            if query.shape[axis] == key.shape[axis] and self.stack:
                self.calls.append((self.stack[-1], int(query.shape[axis])))
        return function(*args, **kwargs)
