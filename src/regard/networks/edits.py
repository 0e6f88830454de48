"""Edits of a network that is there: registers added at test time, as a run's `model.json` carries them.

An edit is JSON, so that a repaired network is a run like any other: {"kind": "registers", "neurons": [[block, neuron],
...]}. It is made of hooks that stay on the module; the weights are not touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError
from regard.networks.attention.replay import token_blocks
from regard.networks.network import Network

Edit = Mapping[str, Any]


def applied(network: Network, edits: Sequence[Edit]) -> Network:
    """The network with these edits made, in the order given; its module is changed. Raises `NetworkError`."""
    for edit in edits:
        make = _EDITS.get(str(edit.get("kind")))
        if make is None:
            raise NetworkError(
                f"the network carries an edit of kind {edit.get('kind')!r}; known are {', '.join(_EDITS)}"
            )
        network = make(network, edit)
    return network


def with_registers(network: Network, edit: Edit) -> Network:
    """One token more, behind the other prefix tokens, which takes over what some neurons do at patches.

    Test-time registers (arXiv 2506.08010): the token starts at zero and goes through all blocks; of each of `neurons`
    (block, neuron), as they leave the MLP's activation, the token gets the value that is largest in size over the
    patches, sign kept, and the patches get 0. For every picture of a batch by itself. The head never sees the token.
    """
    neurons = [(int(block), int(neuron)) for block, neuron in edit["neurons"]]
    blocks = token_blocks(network)
    module = network.module
    prefix = network.anatomy.prefix
    if not blocks:
        raise NetworkError(f"{network.name} has no blocks of tokens that regard knows, so no token can be added")
    by_block: dict[int, list[int]] = {}
    for block, neuron in neurons:
        by_block.setdefault(block, []).append(neuron)
    wrong = [block for block in by_block if not 0 <= block < len(blocks)]
    if wrong:
        raise NetworkError(f"the edit names block {wrong[0]}; {network.name} has blocks 0 to {len(blocks) - 1}")
    for block, chosen in by_block.items():
        part = mlp_output(module.get_submodule(blocks[block]))
        beyond = [neuron for neuron in chosen if not 0 <= neuron < part.in_features]
        if beyond:
            raise NetworkError(f"block {block} has neurons 0 to {part.in_features - 1}; the edit names {beyond[0]}")
        part.register_forward_pre_hook(_Shift(tuple(chosen), prefix))
    module.get_submodule(blocks[0]).register_forward_pre_hook(_Add(prefix), with_kwargs=True)
    module.get_submodule(blocks[-1]).register_forward_hook(_Remove(prefix))
    for attention in network.anatomy.attentions:  # rotary positions start behind as many tokens as that
        part_ = module.get_submodule(attention)
        if isinstance(getattr(part_, "num_prefix_tokens", None), int):
            part_.num_prefix_tokens += 1  # type: ignore[operator,assignment]
    anatomy = replace(network.anatomy, prefix=prefix + 1)
    return replace(network, anatomy=anatomy, edits=(*network.edits, dict(edit)))


def mlp_output(block: nn.Module) -> Any:
    """The linear layer of a block's MLP that reads its hidden neurons: the last one outside of attention."""
    heads = ("num_heads", "num_attention_heads")  # what any class of attention has
    attentions = [path for path, part in block.named_modules() if path and any(hasattr(part, name) for name in heads)]
    linears = [
        part
        for path, part in block.named_modules()
        if isinstance(part, nn.Linear) and not any(path.startswith(f"{each}.") for each in attentions)
    ]
    if not linears:
        raise NetworkError(f"a block of class {type(block).__name__} has no MLP that regard can find")
    return max(reversed(linears), key=lambda part: part.in_features)


@dataclass(frozen=True)
class _Add:
    """Into the first block: a token of zeros behind `prefix` others."""

    prefix: int

    def __call__(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        x = args[0] if args else kwargs["hidden_states"]
        if x.ndim != 3:
            raise NetworkError("tokens on a grid (SAM) cannot be joined by a register")
        longer = torch.cat([x[:, : self.prefix], torch.zeros_like(x[:, :1]), x[:, self.prefix :]], dim=1)
        if args:
            return (longer, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": longer}


@dataclass(frozen=True)
class _Remove:
    """Behind the last block: the token is taken out, so that the head reads what it always read."""

    prefix: int

    def __call__(self, block: nn.Module, inputs: Any, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        shorter = torch.cat([x[:, : self.prefix], x[:, self.prefix + 1 :]], dim=1)
        return (shorter, *output[1:]) if isinstance(output, tuple) else shorter


@dataclass(frozen=True)
class _Shift:
    """Before an MLP's last layer: some neurons' largest values go from the patches to the register."""

    neurons: tuple[int, ...]
    prefix: int

    def __call__(self, part: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        hidden = args[0].clone()  # (batch, tokens, neurons)
        chosen = list(self.neurons)
        patches = hidden[:, self.prefix + 1 :, chosen]  # (batch, patches, chosen)
        largest = patches.gather(1, patches.abs().argmax(dim=1, keepdim=True))
        hidden[:, self.prefix : self.prefix + 1, chosen] = largest
        hidden[:, self.prefix + 1 :, chosen] = 0
        return (hidden,)


_EDITS = {"registers": with_registers}
