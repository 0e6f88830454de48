"""Virtual ranks: each batch in a fixed number of shares, whose gradients are added up along a fixed tree.

A share's gradient is computed by itself, on one thread, and its dropout is a function of (seed, phase, epoch, picture).
Whoever holds a share, the numbers are the same; and as floating-point addition commutes, though it does not associate,
the tree alone decides the sum. So 1, 2, 4 or 8 processes, with any number of threads, give the same bytes.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.utils._python_dispatch import TorchDispatchMode

from regard.errors import NetworkError, UsageError
from regard.training.processes import World
from regard.training.settings import Settings

CHUNK = 16 << 20
"""Numbers that travel between two processes at a time."""

Item = TypeVar("Item")
Value = TypeVar("Value")

_active = threading.local()


@dataclass(frozen=True)
class VirtualRanks:
    """`count` shares of every batch, a power of two; this process holds those of `indices`, on as many `threads`."""

    count: int
    world: World
    pool: Executor | None = None
    threads: int = 1

    @property
    def indices(self) -> range:
        """The virtual ranks of this process: neighbours, so that each process adds up a whole branch of the tree."""
        each = self.count // self.world.size
        return range(self.world.rank * each, (self.world.rank + 1) * each)

    def map(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
        """What `function` gives of each item, in order; a thread works on one at a time."""
        if self.pool is None:
            yield from map(function, items)
            return
        rest = iter(items)
        while several := list(islice(rest, self.threads)):  # no more at a time: each item may be large
            yield from self.pool.map(function, several)

    def total(
        self, compute: Callable[[int], list[Tensor] | None], filled: int, shapes: Sequence[torch.Size]
    ) -> list[Tensor]:
        """The sum over virtual ranks of the tensors (of these `shapes`) that each gives; the same in all processes.

        The first `filled` virtual ranks give some, the others None. At most log2(count) sums are held at a time.
        """
        branches: list[tuple[int, list[Tensor] | None]] = []  # how many virtual ranks are in it, and their sum
        for terms in self.map(compute, self.indices):
            width = 1
            while branches and branches[-1][0] == width:
                terms = _added(branches.pop()[1], terms)
                width *= 2
            branches.append((width, terms))
        ((width, terms),) = branches
        while width < self.count:
            partner = self.world.rank ^ (width // len(self.indices))
            sends = self.indices.start // width * width < filled
            receives = partner * len(self.indices) // width * width < filled
            terms = self._exchanged(terms if sends else None, partner, receives, shapes)
            width *= 2
        assert terms is not None  # the first virtual rank always has a picture
        return terms

    def _exchanged(
        self, terms: list[Tensor] | None, partner: int, receives: bool, shapes: Sequence[torch.Size]
    ) -> list[Tensor] | None:
        """This process's branch and its partner's in one; both processes come to the same."""
        result: list[Tensor] = []
        for part in _chunks(shapes):
            values = None if terms is None else torch.cat([terms[place].flatten() for place in part])
            sizes = [shapes[place].numel() for place in part]
            arrived = torch.empty(sum(sizes), device=self.world.device) if receives else None
            sent = [] if values is None else [distributed.P2POp(distributed.isend, values, partner)]
            awaited = [] if arrived is None else [distributed.P2POp(distributed.irecv, arrived, partner)]
            for work in distributed.batch_isend_irecv(sent + awaited) if sent or awaited else []:
                work.wait()
            both = values if arrived is None else arrived if values is None else arrived.add_(values)
            if both is not None:
                result += [each.view(shapes[at]) for at, each in zip(part, both.split(sizes), strict=True)]
        return result or None


def _chunks(shapes: Sequence[torch.Size]) -> Iterator[list[int]]:
    """Places of tensors that travel together."""
    part: list[int] = []
    size = 0
    for place, shape in enumerate(shapes):
        if part and size + shape.numel() > CHUNK:
            yield part
            part = []
            size = 0
        part.append(place)
        size += shape.numel()
    yield part


def apart(gradients: Iterable[Tensor]) -> list[Tensor]:
    """The same, each in memory of its own and in order: of one picture, two gradients may be views of one tensor."""
    seen: set[int] = set()
    result = []
    for each in gradients:
        place = each.untyped_storage().data_ptr()
        result.append(each.clone(memory_format=torch.contiguous_format) if place in seen else each.contiguous())
        seen.add(place)
    return result


def _added(first: list[Tensor] | None, second: list[Tensor] | None) -> list[Tensor] | None:
    """Their sum, in the memory of the first."""
    if first is None or second is None:
        return second if first is None else first
    torch._foreach_add_(first, second)
    return first


@contextmanager
def virtual_ranks(
    settings: Settings | None, module: nn.Module, name: str, world: World
) -> Iterator[VirtualRanks | None]:
    """The virtual ranks that the settings ask for, if they do; inside, torch computes on one thread at a time.

    Raises `UsageError` where the processes cannot share them evenly, or the network cannot be trained so.
    """
    if settings is None or not settings.virtual_ranks:
        yield None
        return
    count = settings.virtual_ranks
    while count > settings.batch_size:  # fewer where the batch is smaller
        count //= 2
    if count % world.size:
        several = [str(2**power) for power in range(count.bit_length())]
        raise UsageError(
            f"{world.size} processes cannot share {count} virtual ranks (batches of {settings.batch_size}) evenly; "
            f"start {' or '.join(several)}, or give --virtual-ranks 0"
        )
    for path, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats:
            raise UsageError(
                f"{name} normalises over the batch ({path}), and its running means would depend on how many processes "
                "there are; give --virtual-ranks 0, or a network without batch normalisation"
            )
    before = torch.get_num_threads()
    threads = min(before, count // world.size) if world.device.type == "cpu" else 1
    try:
        # Sums over pictures and tokens are taken in another order by each number of threads.
        torch.set_num_threads(1)
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield VirtualRanks(count, world, pool if threads > 1 else None, threads)
    finally:
        torch.set_num_threads(before)


class _Keyed(TorchDispatchMode):
    """Random numbers from a generator of each picture, in the place of the process's own."""

    def __init__(self, generators: list[torch.Generator]) -> None:
        super().__init__()
        self.generators = generators

    def __enter__(self) -> Any:
        _active.mode = self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        _active.mode = None
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        names = (
            [] if torch.Tag.nondeterministic_seeded not in func.tags else [each.name for each in func._schema.arguments]
        )
        fused = "dropout_p" in names and not dict(zip(names, args, strict=False)).get("dropout_p")  # without dropout
        if not names or fused:
            return func(*args, **(kwargs or {}))
        target = args[0] if args else None
        in_place = func._schema.name.endswith("_") and "generator" in names
        count = len(self.generators)
        if not in_place or not isinstance(target, Tensor) or not target.ndim or target.shape[0] % count:
            raise NetworkError(
                f"the network draws random numbers in a way that is not keyed by picture ({func}); give --dropout 0 "
                "where that is its dropout, or --virtual-ranks 0"
            )
        # Pictures come first in a batch, with their heads (n · heads, ...) in attention weights.
        for rows, generator in zip(target.chunk(count), self.generators, strict=True):
            func(rows, *args[1:], **{**(kwargs or {}), "generator": generator})
        return target


def keyed(key: str, pictures: Sequence[int], device: torch.device) -> AbstractContextManager[Any]:
    """Inside, random numbers are a function of `key` and of the pictures in the batch; on a CPU of each one alone."""
    if device.type == "cpu":
        return _Keyed([torch.Generator().manual_seed(_number(f"{key}/{index}")) for index in pictures])
    torch.manual_seed(_number(f"{key}/{list(pictures)}"))
    return nullcontext()


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])  # torch's CPU generator takes 32 bits


def replayed() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """For `torch.utils.checkpoint(context_fn=replayed)`: computed again, a part draws the same numbers again."""
    mode: _Keyed | None = getattr(_active, "mode", None)
    if mode is None:
        return nullcontext(), nullcontext()
    return nullcontext(), _Keyed([generator.clone_state() for generator in mode.generators])
