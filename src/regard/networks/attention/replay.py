"""Going on from the middle of a network: what comes out when a block gets other tokens than it had."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regard.networks.attention.readout import prefix_readout
from regard.networks.guard import replaced_forwards
from regard.networks.network import Network

Edit = Callable[[Tensor], Tensor]


def token_blocks(network: Network) -> tuple[str, ...]:
    """The paths of the blocks that patches go through: all but those of class attention."""
    anatomy = network.anatomy
    readers = anatomy.attentions[len(anatomy.attentions) - anatomy.readers :]
    behind = sum(path.startswith(f"{block}.") for path in readers for block in anatomy.blocks)
    return anatomy.blocks[: len(anatomy.blocks) - behind]


def resume(
    network: Network, like: Tensor, tokens: Tensor, block: int, edits: Mapping[str, Edit] | None = None
) -> Tensor:
    """The logits (n, classes) when `tokens` (n, ...) go into block number `block`; behind the last, into the head.

    The blocks before are left out. What stands before them still runs on `like` (1, 3, height, width), little as it is,
    so that nothing of the network needs to be known but its blocks; behind the last block once for all tokens. `edits`
    change what a block gives, by its path. To be called while the network is borrowed.
    """
    behind = block == len(token_blocks(network))
    with ExitStack() as stack:
        stack.enter_context(replaced_forwards(network.module, _entering(network, block, lambda: tokens)))
        for path, edit in (edits or {}).items():
            hook = network.module.get_submodule(path).register_forward_hook(_editing(edit))
            stack.callback(hook.remove)
        stack.enter_context(replaced_forwards(network.module, _once(network)))
        return network.forward(like[:1] if behind else like[:1].expand(len(tokens), -1, -1, -1))


def _once(network: Network) -> dict[str, Callable[..., Any]]:
    """The forwards, by path, with which what reads pixels reads one picture of a batch that are all the same.

    Inside the blocks nothing reads pixels: a convolution over three heads is none of them.
    """
    inside = tuple(f"{path}." for path in network.anatomy.blocks)

    def first(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda x: forward(x[:1]).expand(len(x), -1, -1, -1)

    return {
        path: first(part.forward)
        for path, part in network.module.named_modules()
        if isinstance(part, nn.Conv2d) and part.in_channels <= 4 and not path.startswith(inside)
    }


@contextmanager
def from_block(network: Network, like: Tensor, block: int) -> Iterator[None]:
    """Inside, the module itself takes what goes into block number `block` (n, ...) where it took pictures.

    As `resume`, for a module that is trained: gradients, dropout and hooks are as ever.
    """
    forward = network.module.forward
    entered: list[Tensor] = []

    def with_tokens(tokens: Tensor) -> Any:
        entered[:] = [tokens]
        return forward(like[:1].expand(len(tokens), -1, -1, -1))

    entering = _entering(network, block, lambda: entered[0])
    forwards = _once(network) | prefix_readout(network) | entering | {"": with_tokens}
    with replaced_forwards(network.module, forwards):
        yield


def tokens_before(network: Network, pixels: Tensor, block: int) -> Tensor:
    """What goes into block number `block` (n, ...) of pictures; behind the last, what comes out. None after it runs.

    The module is called as a training calls it, under whatever autocast is on.
    """
    paths = token_blocks(network)

    def passed(*args: Any, **kwargs: Any) -> Any:
        x = args[0] if args else kwargs["hidden_states"]
        return (x,) if network.anatomy.tupled else x

    with network.borrow() as hooks, torch.no_grad():
        path = paths[min(block, len(paths) - 1)]
        tokens = watch(network, hooks, (path,), before=block < len(paths))
        with replaced_forwards(network.module, dict.fromkeys(paths[block:], passed)):
            network.module(pixels)
    return tokens[path]


def _entering(network: Network, block: int, tokens: Callable[[], Tensor]) -> dict[str, Callable[..., Any]]:
    """The forwards, by path, with which `tokens` go into a block, whatever came before it."""
    paths = token_blocks(network)

    def as_block(x: Tensor) -> Any:
        return (x,) if network.anatomy.tupled else x

    forwards: dict[str, Callable[..., Any]] = {path: lambda x, *args, **kwargs: as_block(x) for path in paths[:block]}
    if block:
        forwards[paths[block - 1]] = lambda *args, **kwargs: as_block(tokens())
    else:
        first = network.module.get_submodule(paths[0]).forward
        forwards[paths[0]] = lambda x, *args, **kwargs: first(tokens(), *args, **kwargs)
    return forwards


def _editing(edit: Edit) -> Callable[..., Any]:
    def hook(part: Any, inputs: Any, output: Any) -> Any:
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    return hook


def watch(network: Network, hooks: list[Any], paths: tuple[str, ...], before: bool = False) -> dict[str, Tensor]:
    """What the blocks at these paths give, or, `before`, what they get; filled by the next forward."""
    values: dict[str, Tensor] = {}

    def store_input(path: str) -> Callable[..., None]:
        def hook(part: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            values[path] = args[0] if args else kwargs["hidden_states"]

        return hook

    def store_output(path: str) -> Callable[..., None]:
        def hook(part: Any, inputs: Any, output: Any) -> None:
            values[path] = output[0] if isinstance(output, tuple) else output

        return hook

    for path in paths:
        part = network.module.get_submodule(path)
        if before:
            hooks.append(part.register_forward_pre_hook(store_input(path), with_kwargs=True))
        else:
            hooks.append(part.register_forward_hook(store_output(path)))
    return values
