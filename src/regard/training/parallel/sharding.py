"""Weights in shards: each process holds its part of every weight, gradient and moment (FSDP, torch's `fully_shard`).

A copy is trained in the place of the network, whose own weights are let go meanwhile and come back whole. What the loop
works on (averages, the best epoch) are this process's parts; a checkpoint has them whole, as that of any run.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from regard.training.processes import World
from regard.training.trainable import Trainable

Named = dict[str, Tensor]


@dataclass
class Shards:
    """A module whose weights lie in shards, and how to make them whole: all processes have to call that together."""

    module: nn.Module
    mesh: DeviceMesh
    like: dict[str, DTensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.module.state_dict().items():
            if isinstance(value, DTensor):
                self.like[name] = value

    def whole(self, state: Named) -> Named:
        """Of this process's parts, by the names of weights (behind `/`, where there is one), the whole on the CPU."""
        result: Named = {}
        for path in sorted(state):  # in one order in all processes, which what a checkpoint was read into has not
            value = state[path]
            like = self.like.get(path.rpartition("/")[2])
            if like is not None and not isinstance(value, DTensor):
                part = value.detach().to(like.device)
                value = DTensor.from_local(part, self.mesh, like.placements, shape=like.shape, stride=like.stride())
            result[path] = (value.full_tensor() if isinstance(value, DTensor) else value).detach().cpu()
        return result

    def parts(self, state: Named) -> Named:
        """The way back: what of whole values this process holds."""
        result: Named = {}
        for path, value in state.items():
            like = self.like.get(path.rpartition("/")[2])
            result[path] = value if like is None else part_of(value, like).to_local()
        return result

    def slots(self, slots: dict[int, Named], optimiser: torch.optim.Optimizer) -> dict[int, Named]:
        """What the optimiser keeps of each weight, by number, whole; returns this process's parts."""
        weights: list[Any] = [value for group in optimiser.param_groups for value in group["params"]]
        result: dict[int, Named] = {}
        for number, each in slots.items():
            result[number] = {
                name: part_of(value, weights[number]) if value.ndim else value for name, value in each.items()
            }
        return result


def part_of(value: Tensor, like: DTensor) -> DTensor:
    """A whole value in shards as another is. Every process has the whole, so that nothing travels."""
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


@contextmanager
def sharded(network: Trainable, world: World) -> Iterator[Shards]:
    """Inside, `network.module` is a copy in shards; afterwards its own module again, with the copy's weights.

    Each block is a unit, whose weights are whole in all processes only while it computes; the rest is one too.
    """
    module: Any = network.module
    module.to("cpu")  # on a GPU there is never more than the shards and one block
    learner = copy.deepcopy(module)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for path in network.anatomy.blocks:
        fully_shard(learner.get_submodule(path), mesh=mesh)
    fully_shard(learner, mesh=mesh, reshard_after_forward=True)
    shards = Shards(learner, mesh)
    for value in module.parameters():
        value.data = torch.empty(0)
    holder: Any = network
    holder.module = learner
    try:
        yield shards
        state = shards.whole(learner.state_dict())
        for name, value in [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]:
            value.data = state.get(name, value.data)
    finally:
        holder.module = module.to(world.device)
