"""Run a network once and get its logits and, beside them, what passed inside: attention rows, norms, queries and keys.

Fused attention stays on; the rows in question are computed again from the recorded queries and keys, so those of the
class token in all layers cost about a hundredth of a forward, and memory is layers × heads × queries × tokens.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from regard.errors import NetworkError, UsageError
from regard.networks.attention.recorder import AttentionRecorder, LayerAttention, of_each_head
from regard.networks.attention.windows import Windows
from regard.networks.guard import borrowed
from regard.networks.network import Network

Queries = str | Iterable[int] | Iterable[tuple[int, int]]
PARTS = ("norms", "inputs", "queries", "keys", "values")
_AT_ONCE = 512
"""How many rows of attention are computed at once where only their mean is needed."""


@dataclass(frozen=True)
class Trace:
    """What a network attended to.

    `attention` maps a layer to (batch, heads, queries, tokens), whose rows sum to one (but where a network subtracts
    or mixes attentions, or attends to the padding of a window); float32, or float64 where the network is. The last
    `rows` × `columns` tokens are patches, row by row; of a layer that no prefix tokens take part in, they are all there
    are. `heads` and `queries` are those that were asked for, in that order, `queries` as token indices, or as "pool".

    On request, by layer: `norms` (batch, tokens), the length of each token as the block leaves it; `inputs` (batch,
    tokens, width), as the block gets it; `queries`, `keys`, `values` (batch, heads, tokens, d), as attention gets them.
    """

    attention: Mapping[int, Tensor]
    heads: tuple[int, ...]
    queries: tuple[int, ...] | str
    prefix: int
    rows: int
    columns: int
    norms: Mapping[int, Tensor] = field(default_factory=dict)
    inputs: Mapping[int, Tensor] = field(default_factory=dict)
    parts: Mapping[str, Mapping[int, Tensor]] = field(default_factory=dict)

    def patches(self, layer: int) -> Tensor:
        """(batch, heads, queries, rows, columns): the attention that a layer pays to each patch."""
        return self.attention[layer][..., -self.rows * self.columns :].unflatten(-1, (self.rows, self.columns))


def trace(
    network: Network,
    x: Tensor,
    *,
    layers: int | str | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
    queries: Queries = "cls",
    also: Iterable[str] = (),
) -> tuple[Tensor, Trace]:
    """Normalised pictures (B, 3, H, W) → the logits (B, classes) and the attention rows that were asked for.

    `layers` are indices from 0, "all", or None for the last that has such queries; a pooling by attention is the layer
    behind the blocks.
    `heads` are indices, or None for all; `queries` is "cls", "all" (every token: the full N × N), (row, column) pairs
    of patches, token indices, or "pool": what the network's head reads, which is CLS, the pooling's own query, or,
    where it averages the patches, the average of their rows. `also` names more of `PARTS` to keep. The network is left
    as it was found, after an exception too. Raises `UsageError` for an index out of range, naming the range, and
    `NetworkError` for a network whose attention regard does not know.
    """
    network.check(x)
    count = layer_count(network)
    names = frozenset(also)
    if not names <= set(PARTS):
        raise UsageError(f"unknown parts {sorted(names - set(PARTS))} of a trace; there are: {', '.join(PARTS)}")
    rows, columns = network.anatomy.grid(int(x.shape[-2]), int(x.shape[-1]))
    tokens = _queries(queries, network, rows, columns)
    pooled = network.anatomy.reads != "patches" and tokens in ("cls", "pool")
    default = count - 1 if pooled else count - 1 - network.anatomy.readers
    numbers = _layers(layers, count, default)
    reader = RowReader(network, len(x), (rows, columns), heads, tokens, names)
    with recording(network, numbers, reader.add) as hooks, torch.no_grad():
        streams = watch_blocks(network, hooks, names & {"norms", "inputs"}, numbers)
        logits = network.forward(x)
    silent = sorted(set(numbers) - set(reader.attention))
    if silent:
        raise NetworkError(f"{network.name} ran without its attention in layers {silent}")
    attention = {layer: reader.attention[layer] for layer in numbers}
    shape = (network.anatomy.prefix, rows, columns)
    return logits, Trace(attention, reader.numbers, tokens, *shape, streams["norms"], streams["inputs"], reader.parts)


@contextmanager
def recording(
    network: Network,
    layers: Iterable[int],
    on_layer: Callable[[LayerAttention], None],
    *,
    gradients: bool = False,
    frozen: bool = False,
) -> Iterator[list[Any]]:
    """The network lent out with its attention recorded at these layers; yields the list for more hooks.

    `gradients` and `frozen`: see `AttentionRecorder` and `borrowed`.
    """
    module = network.module
    attentions = [(layer, module.get_submodule(network.anatomy.attentions[layer])) for layer in layers]
    with borrowed(module, frozen=frozen, switches=network.anatomy.switches) as hooks:
        AttentionRecorder(attentions, on_layer, gradients).attach(hooks)
        yield hooks


GIVE_GRID = (
    "give the grid of its patches, where it has one (`regard explain` takes --grid ROWS,COLUMNS, Python "
    "grid=(rows, columns))"
)
"""What to do where a network's patches are not known."""


def layer_count(network: Network) -> int:
    """The number of layers; the clear error for a network that has no attention rows that regard could show."""
    if not network.anatomy.attentions:
        raise NetworkError(
            f"{network.name} ({type(network.module).__name__}) has no attention from token to token that regard can "
            f"read; {GIVE_GRID}; methods by gradient or perturbation work there, and it can be trained and evaluated"
        )
    return len(network.anatomy.attentions)


def watch_blocks(
    network: Network, hooks: list[Any], names: Iterable[str], layers: Iterable[int]
) -> dict[str, dict[int, Tensor]]:
    """What goes into the blocks of these layers ("inputs") or the lengths of what comes out ("norms"), once it ran."""
    values: dict[str, dict[int, Tensor]] = {"norms": {}, "inputs": {}}

    def store_input(layer: int) -> Callable[..., None]:
        def hook(part: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            values["inputs"][layer] = stream(args[0] if args else kwargs["hidden_states"])

        return hook

    def store_norm(layer: int) -> Callable[..., None]:
        def hook(part: Any, inputs: Any, output: Any) -> None:
            values["norms"][layer] = stream(output).float().norm(dim=-1)  # (batch, tokens)

        return hook

    for layer in layers:
        path = network.anatomy.block_of(layer)
        if path is not None and "inputs" in names:
            block = network.module.get_submodule(path)
            hooks.append(block.register_forward_pre_hook(store_input(layer), with_kwargs=True))
        if path is not None and "norms" in names:
            hooks.append(network.module.get_submodule(path).register_forward_hook(store_norm(layer)))
    return values


def stream(value: Any) -> Tensor:
    """The residual stream (batch, tokens, width) in what goes into a block or comes out of it."""
    x: Tensor = value[0] if isinstance(value, tuple) else value
    return x.flatten(1, 2) if x.ndim == 4 else x  # (batch, rows, columns, width) in SAM


@dataclass
class RowReader:
    """Computes the rows in question of each layer as it is recorded, and stores nothing else: see `trace`.

    `grid` is (rows, columns) of patches; `add` takes each layer, `attention` has its rows then.
    """

    network: Network
    batch: int
    grid: tuple[int, int]
    heads: int | Iterable[int] | None
    queries: tuple[int, ...] | str
    names: frozenset[str]
    attention: dict[int, Tensor] = field(default_factory=dict)
    parts: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    numbers: tuple[int, ...] = ()  # of the heads

    def add(self, layer: LayerAttention) -> None:
        self.numbers = tuple(range(layer.heads)) if self.heads is None else indices("head", self.heads, layer.heads)
        heads = None if self.heads is None else torch.tensor(self.numbers, device=layer.handle.device)
        for name, letter in (("queries", "q"), ("keys", "k"), ("values", "v")):
            if name in self.names and layer.calls:
                self.parts.setdefault(name, {})[layer.layer] = of_each_head(
                    getattr(layer.calls[0], letter), layer.heads
                )
        prefix = self.network.anatomy.prefix
        rows = attention_rows(layer, self.batch, self.grid, self._queries_of(layer), heads, prefix)
        self.attention[layer.layer] = rows  # (batch, heads, queries, tokens)

    def _queries_of(self, layer: LayerAttention) -> tuple[int, ...] | str:
        """The queries as this layer has them: its tokens may be fewer than the network's."""
        patches = self.grid[0] * self.grid[1]
        _, queries, keys = layer.shape
        prefix = keys - patches  # prefix tokens that take part in this layer
        if queries == keys and self.queries == "cls" and prefix < 1:
            raise UsageError(f"layer {layer.layer} of {self.network.name} has no class token; {self._offer()}")
        if queries != keys:  # class attention, or the pooling's: it has its own query, and no other
            if self.queries not in ("cls", "pool", "all"):
                raise UsageError(
                    f"layer {layer.layer} of {self.network.name} has the query of its "
                    f"{'class token' if self.network.anatomy.cls else 'pooling'} only; leave the query out there"
                )
            return "all" if self.queries == "all" else (0,)
        if self.queries == "pool":
            return (0,) if self.network.anatomy.reads == "cls" and prefix > 0 else "mean"
        if isinstance(self.queries, str):
            return (0,) if self.queries == "cls" else self.queries
        shift = max(self.network.anatomy.prefix - prefix, 0) if keys >= patches else 0
        if min(self.queries) < shift:
            raise UsageError(
                f"layer {layer.layer} of {self.network.name} has no token {min(self.queries)}; {self._offer()}"
            )
        return tuple(index - shift for index in self.queries)

    def _offer(self) -> str:
        rows, columns = self.grid
        return f"give patches as queries: (row, column) from (0, 0) to ({rows - 1}, {columns - 1}), or 'pool'"


def attention_rows(
    layer: LayerAttention,
    batch: int,
    grid: tuple[int, int],
    queries: tuple[int, ...] | str,
    heads: Tensor | None = None,
    prefix: int = 0,
) -> Tensor:
    """(batch, heads, queries, tokens): rows of one layer, of windowed attention too, whose rows are zero elsewhere.

    `queries` are token indices of this layer, "all", or "mean", the average over patches as one row.
    """
    rows, columns = grid
    patches = rows * columns
    count, tokens, keys = layer.shape
    windows = Windows.of(rows, columns, count // batch, keys, prefix) if tokens == keys else None
    if windows is not None:
        weights = layer.weights(heads=heads)  # (batch · windows, heads, side², side²)
        if queries == "mean":
            return windows.mean(weights, batch)
        return windows.full(weights, batch) if isinstance(queries, str) else windows.some(weights, batch, queries)
    if count != batch or not patches <= keys <= patches + max(prefix, 1):  # class attention adds one of its own
        raise NetworkError(
            f"layer {layer.layer} attends to {count} × {keys} tokens, where {batch} pictures of {patches} patches with "
            f"up to {prefix} more were expected; give pictures that hold whole patches"
        )
    if queries == "all":
        return layer.weights(heads=heads)
    if queries == "mean":
        return _mean(layer, tokens - patches, heads)
    return layer.weights(torch.tensor(queries, device=layer.handle.device), heads)


def _mean(layer: LayerAttention, first: int, heads: Tensor | None) -> Tensor:
    """The mean over the rows from `first` on, a few at a time: all at once would be the full N × N."""
    tokens = layer.shape[1]
    chunks = torch.arange(first, tokens, device=layer.handle.device).split(_AT_ONCE)
    total = sum(layer.weights(rows, heads).sum(dim=2, keepdim=True) for rows in chunks)
    return torch.as_tensor(total) / (tokens - first)  # (batch, heads, 1, tokens)


def _layers(layers: int | str | Iterable[int] | None, count: int, default: int) -> tuple[int, ...]:
    if layers is None:
        return (default,)
    if isinstance(layers, str):
        if layers != "all":
            raise UsageError(
                f"unknown layers {layers!r}; give indices from 0 to {count - 1}, 'all', or None for the last"
            )
        return tuple(range(count))
    return indices("layer", layers, count)


def _queries(queries: Queries, network: Network, rows: int, columns: int) -> tuple[int, ...] | str:
    """The queries as token indices, or a word."""
    prefix = network.anatomy.prefix
    if isinstance(queries, str):
        if queries not in ("all", "cls", "pool"):
            raise UsageError(
                f"unknown queries {queries!r}; give 'cls', 'pool', 'all', (row, column) pairs or token indices"
            )
        if queries == "cls" and not network.anatomy.cls:
            raise UsageError(
                f"{network.name} has no class token; give patches as queries: (row, column) from (0, 0) to "
                f"({rows - 1}, {columns - 1}), or 'pool' for what its head reads"
            )
        return queries
    items = [item if isinstance(item, Sequence) else int(operator.index(item)) for item in queries]
    patches = list[int]()
    for item in items:
        if isinstance(item, Sequence):
            if not (len(item) == 2 and 0 <= item[0] < rows and 0 <= item[1] < columns):
                raise UsageError(
                    f"there is no patch {tuple(item)}; (row, column) goes from (0, 0) to ({rows - 1}, {columns - 1})"
                )
            patches.append(item[0] * columns + item[1] + prefix)
    if patches and len(patches) == len(items):
        return tuple(patches)
    if patches:
        raise UsageError("queries mixes patches and tokens; give (row, column) pairs only, or token indices only")
    tokens = [item for item in items if isinstance(item, int)]
    return indices("query token", tokens, prefix + rows * columns)


def indices(kind: str, value: int | Iterable[int], count: int) -> tuple[int, ...]:
    """Indices from 0, each of which must exist. Raises `UsageError`, naming the range."""
    numbers = (value,) if isinstance(value, int) else tuple(int(operator.index(index)) for index in value)
    wrong = [index for index in numbers if not 0 <= index < count]
    if wrong or not numbers:
        raise UsageError(f"there is no {kind} {wrong[0] if wrong else '()'}; it goes from 0 to {count - 1}")
    return numbers
