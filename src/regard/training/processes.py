"""The processes of one training: alone, or several under torchrun (GPUs, machines, or two on a CPU).

`torchrun --nproc_per_node 2 -m regard train ...` starts them; accelerate joins them (nccl on GPUs, gloo on CPUs).
`accelerate launch --num_processes 2` silently starts one process on a CPU, so torchrun it is.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from regard.errors import DataError, UsageError

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class World:
    """This process among the others: `rank` of `size`, and where it computes. The first one writes and speaks."""

    rank: int
    size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes; `values` stays on its device and is changed in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def most(self, number: int) -> int:
        """The largest of all processes' numbers."""
        box = torch.tensor([number], device=self.device)
        if self.size > 1:
            distributed.all_reduce(box, op=distributed.ReduceOp.MAX)
        return int(box)

    def shared(self, thing: Thing) -> Thing:
        """What the first process has, in all of them."""
        box: list[Any] = [thing]
        if self.size > 1:
            distributed.broadcast_object_list(box, src=0, device=self.device)
        shared: Thing = box[0]
        return shared

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()

    def check_same(self, facts: Mapping[str, str], what: str) -> None:
        """Raise `DataError` in every process when one of them has other facts than the first; they are named."""
        if self.size == 1:
            return
        all_facts: list[Any] = [None] * self.size
        distributed.all_gather_object(all_facts, dict(facts))
        for rank, other in enumerate(all_facts):
            different = sorted(name for name in facts if other.get(name) != all_facts[0].get(name))
            if different:
                raise DataError(
                    f"process {rank} has other {what} than process 0 ({', '.join(different)}); give all processes the "
                    "same command and the same files"
                )

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over processes (DDP); itself where there is one process."""
        if self.size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)

    def unsynchronised(self, module: nn.Module) -> AbstractContextManager[Any]:
        """While gradients are only added up, they need not travel."""
        return module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) else nullcontext()


ALONE = World(0, 1, torch.device("cpu"))
"""One process on the CPU."""


def first_process() -> bool:
    """Whether this process is the one that writes, before it has joined the others."""
    return os.environ.get("RANK", "0") == "0"


def join(device: torch.device | str = "cpu") -> World:
    """This process's place; under torchrun it meets the others, each on its own GPU where there are some.

    May be called often. Raises `UsageError` when several processes share a device that cannot be shared.
    """
    device = torch.device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World(0, 1, device)
    from accelerate.state import PartialState  # type: ignore[import-untyped]

    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"several processes cannot train on {device.type}; give --device cpu, or start one process")
    state = PartialState(cpu=device.type == "cpu")
    if state.device.type != device.type:
        raise UsageError(
            f"these processes met on {state.device.type}, but {device.type} was asked for; start them again"
        )
    return World(state.process_index, state.num_processes, torch.device(state.device))
