"""Run a network once and get its logits and the attention rows that are wanted, fused attention left on.

The rows are made again from the queries and keys that pass by (softmax(q kᵀ / √d), Vaswani et al., 1706.03762,
eq. 1): those of the class token cost about a hundredth of a forward, and memory is layers × heads × queries × tokens.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import NetworkError, UsageError
from regard.networks.anatomy import PROJECTIONS, Projection, kind_of
from regard.networks.guard import borrowed
from regard.networks.network import Network

Queries = str | Iterable[int] | Iterable[tuple[int, int]]


@dataclass(frozen=True)
class Trace:
    """What a network attended to.

    `attention` maps a layer to (batch, heads, queries, tokens), whose rows sum to one; float32, or float64 where the
    network is. The first `prefix` tokens are no patches; the others are `rows` × `columns` patches, row by row.
    `heads` and `queries` (as token indices) are those that were asked for, in that order.
    """

    attention: Mapping[int, Tensor]
    heads: tuple[int, ...]
    queries: tuple[int, ...]
    prefix: int
    rows: int
    columns: int


def trace(
    network: Network,
    x: Tensor,
    *,
    layers: int | str | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
    queries: Queries = "cls",
) -> tuple[Tensor, Trace]:
    """Normalised pictures (B, 3, H, W) → the logits (B, classes) and the attention rows that were asked for.

    `layers` are indices from 0, "all", or None for the last; `heads` are indices, or None for all; `queries` is
    "cls", "all" (every token: the full N × N), (row, column) pairs of patches, or token indices. The network is left
    as it was found, after an exception too. Raises `UsageError` for an index out of range, naming the range, and
    `NetworkError` for a network whose attention regard does not know.
    """
    anatomy = network.anatomy
    network.check(x)
    count = _check_known(network)
    rows, columns = anatomy.grid(int(x.shape[-2]), int(x.shape[-1]))
    tokens = anatomy.prefix + rows * columns
    wanted = _layers(layers, count)
    asked = _queries(queries, network, rows, columns)
    found: dict[int, Tensor] = {}
    with borrowed(network.module) as hooks, torch.no_grad():
        for layer in wanted:
            attention = network.module.get_submodule(anatomy.attentions[layer])
            chosen = _heads(heads, attention)
            _tap(attention, hooks, _Rows(layer, chosen, asked, tokens, found))
        logits = network.forward(x)
    if set(found) != set(wanted):
        raise NetworkError(f"{network.name} ran without its attention in layers {sorted(set(wanted) - set(found))}")
    kept = {layer: found[layer] for layer in wanted}
    return logits, Trace(kept, chosen, asked, anatomy.prefix, rows, columns)


def _check_known(network: Network) -> int:
    """The number of layers; the clear error for a network that has no attention rows that regard could show."""
    module, attentions = network.module, network.anatomy.attentions
    kinds = {kind_of(module.get_submodule(path)) for path in attentions}
    if not attentions or not kinds <= PROJECTIONS.keys():
        raise NetworkError(
            f"{network.name} ({type(module).__name__}) has no attention from token to token that regard can read; "
            "it can be trained and evaluated, and methods by gradient or perturbation work there"
        )
    return len(attentions)


@dataclass(frozen=True)
class _Rows:
    """What is wanted of one layer, and where it goes."""

    layer: int
    heads: tuple[int, ...]
    queries: tuple[int, ...]
    tokens: int
    found: dict[int, Tensor]

    def take(self, attention: nn.Module, projection: Projection, taps: Mapping[str, Tensor]) -> None:
        """Make the wanted rows from what the taps gave."""
        first = next(iter(taps.values()))
        if first.ndim != 3 or first.shape[1] != self.tokens:
            raise NetworkError(f"layer {self.layer} has {first.shape[1]} tokens where {self.tokens} were expected")
        with torch.autocast(first.device.type, enabled=False):
            q, k = projection.read(attention, taps, torch.tensor(self.queries, device=first.device))
            chosen = torch.tensor(self.heads, device=first.device)
            q, k = _precise(q[:, chosen]), _precise(k[:, chosen])
            self.found[self.layer] = (q @ k.transpose(-2, -1)).softmax(dim=-1)  # (batch, heads, queries, tokens)


def _precise(x: Tensor) -> Tensor:
    """Half precision is widened before the softmax, as fused attention does inside."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _tap(attention: nn.Module, hooks: list[Any], rows: _Rows) -> None:
    """Hook what the projection needs; the rows are made when the last of it has come, and nothing else is kept."""
    projection = PROJECTIONS[kind_of(attention)]
    taps: dict[str, Tensor] = {}

    def give(path: str, value: Tensor) -> None:
        taps[path] = value
        if len(taps) == len(projection.taps):
            rows.take(attention, projection, taps)
            taps.clear()

    for path in projection.taps:
        if path:
            hooks.append(attention.get_submodule(path).register_forward_hook(_output(give, path)))
        else:
            hooks.append(attention.register_forward_pre_hook(_input(give), with_kwargs=True))


def _output(give: Callable[[str, Tensor], None], path: str) -> Callable[..., None]:
    return lambda part, inputs, output: give(path, output)


def _input(give: Callable[[str, Tensor], None]) -> Callable[..., None]:
    return lambda part, args, kwargs: give("", args[0] if args else kwargs["query"])


def _layers(layers: int | str | Iterable[int] | None, count: int) -> tuple[int, ...]:
    if layers is None:
        return (count - 1,)
    if isinstance(layers, str):
        if layers != "all":
            raise UsageError(
                f"unknown layers {layers!r}; give indices from 0 to {count - 1}, 'all', or None for the last"
            )
        return tuple(range(count))
    return _indices("layer", layers, count)


def _heads(heads: int | Iterable[int] | None, attention: Any) -> tuple[int, ...]:
    count = getattr(attention, "num_heads", None) or attention.num_attention_heads
    return tuple(range(count)) if heads is None else _indices("head", heads, count)


def _queries(queries: Queries, network: Network, rows: int, columns: int) -> tuple[int, ...]:
    """Token indices of the wanted rows."""
    prefix = network.anatomy.prefix
    if isinstance(queries, str):
        if queries == "all":
            return tuple(range(prefix + rows * columns))
        if queries != "cls":
            raise UsageError(f"unknown queries {queries!r}; give 'cls', 'all', (row, column) pairs or token indices")
        if not network.anatomy.cls:
            raise UsageError(
                f"{network.name} has no class token; give patches as queries: (row, column) from (0, 0) to "
                f"({rows - 1}, {columns - 1})"
            )
        return (0,)
    items = [item if isinstance(item, Sequence) else int(operator.index(item)) for item in queries]
    patches = [_patch(item, rows, columns) + prefix for item in items if isinstance(item, Sequence)]
    if patches and len(patches) == len(items):
        return tuple(patches)
    if patches:
        raise UsageError("queries mixes patches and tokens; give (row, column) pairs only, or token indices only")
    return _indices("query token", [item for item in items if isinstance(item, int)], prefix + rows * columns)


def _patch(place: Sequence[int], rows: int, columns: int) -> int:
    if len(place) == 2 and 0 <= place[0] < rows and 0 <= place[1] < columns:
        return place[0] * columns + place[1]
    raise UsageError(f"there is no patch {tuple(place)}; (row, column) goes from (0, 0) to ({rows - 1}, {columns - 1})")


def _indices(kind: str, came: int | Iterable[int], count: int) -> tuple[int, ...]:
    """Indices from 0, each of which must exist."""
    indices = (came,) if isinstance(came, int) else tuple(int(operator.index(index)) for index in came)
    wrong = [index for index in indices if not 0 <= index < count]
    if wrong or not indices:
        raise UsageError(f"there is no {kind} {wrong[0] if wrong else '()'}; it goes from 0 to {count - 1}")
    return indices
